"""The table of AWS's limits with their sources (see aws_limits, which enforces them).

"model" is botocore's service model, as installed; the other sources are pages of AWS's documentation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Limit:
    """The most (or the exact range) that AWS accepts, of what, and where that is written."""

    most: int
    of: str
    source: str


_CONSTRAINTS = "DynamoDB developer guide, Constraints"
_QUEUES = "SQS developer guide, message quotas; model: SendMessage"
_PUBLISH = "SNS API reference, Publish; model: Publish"

LIMITS = {
    "dynamodb item": Limit(400 * KIB, "bytes of an item, names and values", _CONSTRAINTS),
    "dynamodb partition key": Limit(2048, "bytes of a partition key; at least 1, also in an index", _CONSTRAINTS),
    "dynamodb sort key": Limit(1024, "bytes of a sort key; at least 1, also in an index", _CONSTRAINTS),
    "dynamodb digits": Limit(38, "digits of a number, between 1E-130 and 1E+126", _CONSTRAINTS),
    "dynamodb depth": Limit(32, "levels of lists and maps", _CONSTRAINTS),
    "dynamodb expression": Limit(4 * KIB, "bytes of an expression, without reserved words", _CONSTRAINTS),
    "dynamodb placeholder": Limit(255, "bytes of a placeholder's name; each is defined and used", _CONSTRAINTS),
    "dynamodb operators": Limit(300, "operators and functions of an expression", _CONSTRAINTS),
    "dynamodb values": Limit(2 * MIB, "bytes of an expression's names and values", _CONSTRAINTS),
    "dynamodb transaction": Limit(100, "actions of a transaction, each on another item", "model: TransactWriteItems"),
    "dynamodb transaction size": Limit(4 * MIB, "bytes of a transaction's items", "model: TransactWriteItems"),
    "dynamodb batch": Limit(100, "keys of BatchGetItem, all different", "model: BatchGetItem"),
    "sqs message": Limit(MIB, "bytes of a message and its attributes, of a batch together; at least 1", _QUEUES),
    "sqs batch": Limit(10, "entries of a batch, with different ids of at most 80 characters", _QUEUES),
    "sqs entry id": Limit(80, "letters, digits, hyphens and underscores of an entry's id", _QUEUES),
    "sqs delay": Limit(900, "seconds of delay", _QUEUES),
    "sqs attributes": Limit(10, "attributes of a message", _QUEUES),
    "sqs receive": Limit(10, "messages of one ReceiveMessage", "model: ReceiveMessage"),
    "sqs wait": Limit(20, "seconds of waiting for messages", "model: ReceiveMessage"),
    "sqs visibility": Limit(43_200, "seconds for which a received message is invisible", _QUEUES),
    "events entries": Limit(10, "entries of PutEvents, at least 1", "model: PutEvents"),
    "events size": Limit(
        256 * KIB,
        "bytes of a request's entries. The model says 1 MB by now, older pages 256 KB",
        "EventBridge user guide, calculating entry size",
    ),
    "events detail type": Limit(128, "characters of DetailType", "model: PutEvents"),
    "sns message": Limit(256 * KIB, "bytes of a message and its attributes, unless the topic says more", _PUBLISH),
    "sns subject": Limit(
        99,
        "characters of a subject, without control characters. Older wording: ASCII, and no space first",
        _PUBLISH,
    ),
    "sns raw attributes": Limit(
        10, "attributes, so that raw delivery to SQS keeps the message", "SNS guide, attributes"
    ),
    "states name": Limit(80, "characters of an execution's name, without those of a list", "model: StartExecution"),
    "states input": Limit(256 * KIB, "bytes of an input, an output or a state's data", "Step Functions guide, quotas"),
    "lambda answer": Limit(6 * MIB, "bytes of a synchronous invocation's event or answer", "Lambda API, Invoke"),
    "lambda event": Limit(MIB, "bytes of an asynchronous invocation's event", "Lambda API, Invoke"),
    "s3 key": Limit(1024, "bytes of a key; at least 1", "S3 user guide, object keys"),
    "s3 metadata": Limit(2 * KIB, "bytes of user metadata, names and values", "S3 user guide, object metadata"),
    "s3 headers": Limit(8 * KIB, "bytes of a request's headers", "S3 user guide, object metadata"),
    "s3 part": Limit(10_000, "parts of an upload, from number 1", "S3 user guide, multipart upload limits"),
    "secretsmanager name": Limit(2048, "characters of a secret's name or ARN", "model: GetSecretValue"),
}

KEYS = {"job_id": "S", "request_id": "S", "state": "S", "updated_at": "N", "month": "S", "created_at": "N"}
"""The keys of the table and of its indexes, with their types, as in template.yaml."""


class Refusal(NamedTuple):
    """AWS's error for a call."""

    code: str
    message: str


def over(name: str, value: float) -> str | None:
    limit = LIMITS[name]
    return f"{value} exceeds the limit of {limit.most} {limit.of} ({limit.source})" if value > limit.most else None


def first(found: Iterator[str | None]) -> str | None:
    """The first reason, if there is any."""
    return next(filter(None, found), None)
