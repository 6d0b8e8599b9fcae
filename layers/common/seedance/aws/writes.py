"""Writes to DynamoDB items that other functions write at the same time: which errors are temporary, which are final.

Errors: the DynamoDB API reference, TransactWriteItems and UpdateItem. botocore retries a throttled call, but neither a
transaction that was cancelled by throttling nor the two kinds of conflict.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from seedance.aws.attributes import Record, read_item, written_item
from seedance.clock import Clock
from seedance.errors import Conflict

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import UpdateTypeDef

ATTEMPTS = 8
"""Attempts at a write that conflicts with others. With the waits between them, up to 5 seconds."""

FAILED_CONDITION = "ConditionalCheckFailed"
_CONFLICT = "TransactionConflict"
_PASSING = frozenset({_CONFLICT, "ThrottlingError", "ProvisionedThroughputExceeded"})
"""Reasons for a cancelled transaction that are temporary, so that a retry may succeed."""

T = TypeVar("T")


def insist(write: Callable[[], T], clock: Clock) -> T:
    """Do a write, with retries while it conflicts with a transaction on one of its items or is throttled there.

    Raises Conflict if every attempt conflicted with others, else the error of the last attempt.
    """
    for attempt in clock.attempts(ATTEMPTS, 0.02):
        try:
            return write()
        except ClientError as error:
            if not _passes(error) or (attempt == ATTEMPTS and not met_a_transaction(error)):
                raise
            last = error
    raise Conflict(f"other writes to the same items conflicted with this one in {ATTEMPTS} attempts") from last


def reasons(error: ClientError) -> list[str]:
    """Why a transaction was cancelled: a code for each of its parts ("None" for a part without a problem)."""
    return [str(reason.get("Code")) for reason in error.response.get("CancellationReasons", [])]


def update(table: str, key: str, values: Mapping[str, object], condition: str, extra: Record) -> "UpdateTypeDef":
    """A conditional update. None removes an attribute; a dot in a name addresses a map's entry.

    In the condition, ``#name`` stands for the attribute or entry ``name``.
    """
    names: dict[str, str] = {f"#{name}": name for name in re.findall(r"#(\w+)", condition)}
    written = written_item({**extra, ":write_id": write_id()})
    sets, removes = ["write_id = :write_id"], []
    for number, (path, value) in enumerate(values.items()):
        names |= {f"#{step}": step for step in path.split(".")}
        target = ".".join(f"#{step}" for step in path.split("."))
        if value is None:
            removes.append(target)
        else:
            sets.append(f"{target} = :v{number}")
            written |= written_item({f":v{number}": value})
    return {
        "TableName": table,
        "Key": {"job_id": {"S": key}},
        "UpdateExpression": "SET " + ", ".join(sets) + (" REMOVE " + ", ".join(removes) if removes else ""),
        "ConditionExpression": condition,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": written,
    }


def write_id() -> str:
    """A unique id for a write, so that a retry after a lost response recognises its own earlier write."""
    return uuid.uuid4().hex[:16]


def failed_condition(error: ClientError) -> bool:
    """Whether a single write was refused because its condition does not hold."""
    return error.response["Error"]["Code"] == "ConditionalCheckFailedException"


def is_invalid(error: ClientError) -> bool:
    """Whether a write is invalid for the item's present values, such as adding a number to a text."""
    return error.response["Error"]["Code"] == "ValidationException" or "ValidationError" in reasons(error)


def record_found(error: ClientError) -> Record:
    """The record that failed a condition, if the write requested it. Empty if there is none."""
    answer: Any = error.response
    return read_item(answer.get("Item", {}))


def is_ours(error: ClientError, update: "UpdateTypeDef") -> bool:
    """Whether this very call had done a refused update: its first response was lost, and botocore retried."""
    answer: Any = error.response
    found = answer.get("Item", {}).get("write_id")
    return found is not None and found == update.get("ExpressionAttributeValues", {}).get(":write_id")


def met_a_transaction(error: ClientError) -> bool:
    """Whether a write was refused only because of a concurrent transaction on one of its items."""
    if error.response["Error"]["Code"] == "TransactionConflictException":
        return True
    return _CONFLICT in reasons(error) and _passes(error)


def _passes(error: ClientError) -> bool:
    if error.response["Error"]["Code"] == "TransactionConflictException":
        return True
    refusals = set(reasons(error)) - {"None"}
    return bool(refusals) and refusals <= _PASSING
