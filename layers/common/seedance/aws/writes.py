"""Writes to items that others write at the same time: which refusals pass by themselves, and which are final.

Errors: the DynamoDB API reference, TransactWriteItems and UpdateItem. botocore repeats what a whole call is
throttled for, but not a transaction that is cancelled for it, and neither of the two kinds of conflict.
"""

import random
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from seedance.aws.attributes import read_item, written_item
from seedance.errors import Conflict

TURNS = 8
"""Tries of a write that meets others; with the waits between, up to 5 seconds."""

FAILED_CONDITION = "ConditionalCheckFailed"
_CONFLICT = "TransactionConflict"
_PASSING = frozenset({_CONFLICT, "ThrottlingError", "ProvisionedThroughputExceeded"})
"""Reasons of a cancelled transaction for which it is worth another try."""

T = TypeVar("T")


def insist(write: Callable[[], T], *, sleep: Callable[[float], None]) -> T:
    """The answer of a write, tried again while it meets a transaction on one of its items, or no room there.

    Raises Conflict when it met others every time, else what the last try raised.
    """
    turn = 1
    while True:
        try:
            return write()
        except ClientError as error:
            if not _passes(error):
                raise
            if turn == TURNS:
                if met_a_transaction(error):
                    raise Conflict(
                        f"others wrote to the same items at the same time, in each of {TURNS} tries"
                    ) from error
                raise
        sleep(random.uniform(0, 0.02 * 2**turn))  # noqa: S311 - spreads writers, hides nothing
        turn += 1


def reasons(error: ClientError) -> list[str]:
    """Why a transaction was cancelled, a word for each of its parts ("None" for one that could have been written)."""
    return [str(reason.get("Code")) for reason in error.response.get("CancellationReasons", [])]


def update(key: str, values: Mapping[str, Any], condition: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a conditional update; None removes an attribute, a dot steps into a map."""
    names: dict[str, str] = {"#state": "state"} if "#state" in condition else {}
    written: dict[str, Any] = written_item({**extra, ":write_id": write_id()})
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
        "Key": {"job_id": {"S": key}},
        "UpdateExpression": "SET " + ", ".join(sets) + (" REMOVE " + ", ".join(removes) if removes else ""),
        "ConditionExpression": condition,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": written,
    }


def write_id() -> str:
    """What tells a write from every other, so that who repeats it after a lost answer knows it for its own."""
    return uuid.uuid4().hex[:16]


def failed_condition(error: ClientError) -> bool:
    """Whether a plain write was refused because its condition does not hold."""
    return error.response["Error"]["Code"] == "ConditionalCheckFailedException"


def is_invalid(error: ClientError) -> bool:
    """Whether a write can't be done to an item as it is: nothing is added to a text."""
    return error.response["Error"]["Code"] == "ValidationException" or "ValidationError" in reasons(error)


def record_found(error: ClientError) -> dict[str, Any]:
    """The record that a failed condition was held against, where the write asked for it; empty when there is none."""
    answer: Any = error.response
    return read_item(answer.get("Item", {}))


def met_a_transaction(error: ClientError) -> bool:
    """Whether a write was refused only because a transaction was under way on one of its items."""
    if error.response["Error"]["Code"] == "TransactionConflictException":
        return True
    return _CONFLICT in reasons(error) and _passes(error)


def _passes(error: ClientError) -> bool:
    if error.response["Error"]["Code"] == "TransactionConflictException":
        return True
    refusals = set(reasons(error)) - {"None"}
    return bool(refusals) and refusals <= _PASSING
