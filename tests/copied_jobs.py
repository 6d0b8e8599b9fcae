"""Copies of a job's record in a local stack: a full wall for the console, without making two hundred videos."""

import copy
import time
from collections.abc import Callable, Mapping
from typing import Any

from local import aws
from local.stack import Stack


def record(stack: Stack, job_id: str) -> dict[str, Any]:
    """A job's record, in DynamoDB's form."""
    table = stack.outputs["JobTableName"]
    answer = aws.client(stack.access, "dynamodb").get_item(TableName=table, Key={"job_id": {"S": job_id}})
    return dict(answer["Item"])


def copies(
    stack: Stack,
    item: Mapping[str, Any],
    numbers: range,
    name: Callable[[int], str] = "Copy {}".format,
    **changed: Any,
) -> None:
    """Write copies of a job's record, numbered, each as many minutes older as its number.

    They have no lasting link and no request, and nothing is booked for them: the stack's balance is as before.
    """
    db = aws.client(stack.access, "dynamodb")
    for number in numbers:
        created = float(item["created_at"]["N"]) - 60 * number
        one = copy.deepcopy(dict(item)) | {
            "job_id": {"S": f"api-{number:032x}"},
            "name": {"S": name(number)},
            "created_at": {"N": f"{created:.3f}"},
            "month": {"S": time.strftime("%Y-%m", time.gmtime(created))},
        }
        for own in ("link_token", "request_id", "reserved_usd", "reserved_day", "settled_usd", "settled_days"):
            one.pop(own, None)
        db.put_item(TableName=stack.outputs["JobTableName"], Item=one | changed)
