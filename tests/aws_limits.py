"""AWS's documented limits (``limit_table``), enforced on every call of every client in this process.

moto and the emulator accept much that AWS refuses. What botocore's service models say about lengths (``min``, ``max``)
is enforced too; botocore itself only checks ``min``.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import dynamodb_limits
from botocore.client import BaseClient
from botocore.model import OperationModel, Shape
from limit_table import KEYS, LIMITS, Refusal, first, over

__all__ = ["KEYS", "LIMITS", "SUBJECT", "Refusal", "enforced", "hook", "refusal"]


def refusal(operation: OperationModel, params: Mapping[str, Any]) -> Refusal | None:
    """Why AWS refuses a call, or None if it accepts it as far as the limits are concerned."""
    service = operation.service_model.service_name
    rules = _RULES.get(f"{service}.{operation.name}", ())
    for rule in (*_RULES.get(service, ()), *rules):
        if found := rule(params):
            return found
    if why := _by_model(operation.input_shape, params, ""):
        return Refusal("ValidationException", why)
    return None


def hook() -> tuple[type, str, Any]:
    """What to patch, so that each client refuses what AWS refuses: a class, an attribute, and its new value.

    A link that can't work is an AssertionError, because signing never fails.
    """
    emit = BaseClient._emit_api_params

    def checked(self: Any, api_params: Any, operation_model: Any, context: Any) -> Any:
        params = emit(self, api_params, operation_model, context)
        if found := refusal(operation_model, params):
            if context.get("is_presign_request"):
                raise AssertionError(f"a signed link that can't work: {found.message}")
            answer = {
                "Error": {"Code": found.code, "Message": found.message},
                "ResponseMetadata": {"HTTPStatusCode": 400},
            }
            raise self.exceptions.from_code(found.code)(answer, operation_model.name)
        return params

    return BaseClient, "_emit_api_params", checked


@contextmanager
def enforced() -> Iterator[None]:
    """Enforce the limits for as long as the block lasts."""
    with patch.object(*hook()):
        yield


def too_large_for_lambda(answer: Any, *, asynchronous: bool = False) -> str | None:
    """Why Lambda refuses an event or an answer."""
    return over("lambda event" if asynchronous else "lambda answer", len(json.dumps(answer).encode()))


def too_large_for_a_state(data: Any) -> str | None:
    """Why Step Functions fails an execution whose state has this input or output (States.DataLimitExceeded)."""
    return over("states input", len(json.dumps(data, separators=(",", ":")).encode()))


# what the service models say ----------------------------------------------------------------------------------


def _by_model(shape: Shape | None, value: Any, path: str) -> str | None:
    if shape is None or value is None:
        return None
    size = value if shape.type_name in ("integer", "long") else len(value) if hasattr(value, "__len__") else None
    if isinstance(size, (int, float)):
        least, most = shape.metadata.get("min"), shape.metadata.get("max")
        if (least is not None and size < least) or (most is not None and size > most):
            return f"{path}: {size} is not between {least} and {most} ({shape.name} in the service model)"
    return next(
        filter(None, (_by_model(inner, part, f"{path}.{name}") for name, inner, part in _parts(shape, value))), None
    )


def _parts(shape: Any, value: Any) -> Iterator[tuple[str, Shape, Any]]:
    if shape.type_name == "structure" and isinstance(value, Mapping):
        yield from ((name, shape.members[name], part) for name, part in value.items() if name in shape.members)
    elif shape.type_name == "map" and isinstance(value, Mapping):
        for name, part in value.items():
            yield name, shape.key, name
            yield name, shape.value, part
    elif shape.type_name == "list" and isinstance(value, (list, tuple)):
        yield from ((str(number), shape.member, part) for number, part in enumerate(value))


# SQS and SNS --------------------------------------------------------------------------------------------------

ALLOWED = re.compile(r"[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")
"""The characters of an SQS message. With raw delivery, SNS's attributes become attributes of an SQS message."""

SUBJECT = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,98}")
NAME = re.compile(r"(?!aws\.|amazon\.)(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)", re.IGNORECASE)


def _attribute(name: str, value: Mapping[str, Any]) -> str | None:
    text, kind = value.get("StringValue", ""), value.get("DataType", "")
    if not NAME.fullmatch(name) or not kind:
        return f"The message attribute '{name}' has an invalid name or type"
    if not text:
        return f"The message attribute '{name}' must contain non-empty message attribute value"
    return None if ALLOWED.fullmatch(text) else f"The message attribute '{name}' has characters that are not allowed"


def _attributes_bytes(attributes: Mapping[str, Any]) -> int:
    texts = [text for name, one in attributes.items() for text in (name, one["DataType"], one.get("StringValue", ""))]
    return sum(len(text.encode()) for text in texts)


def _sent(entry: Mapping[str, Any]) -> Refusal | None:
    body, attributes = entry.get("MessageBody", ""), entry.get("MessageAttributes", {})
    if not body or not ALLOWED.fullmatch(body):
        return Refusal("InvalidMessageContents", "The message is empty or contains characters outside the allowed set")
    delay = entry.get("DelaySeconds", 0)
    if not isinstance(delay, int) or delay < 0 or over("sqs delay", delay):
        return Refusal("InvalidParameterValue", f"Value {delay} for parameter DelaySeconds is invalid")
    why = (
        over("sqs message", len(body.encode()) + _attributes_bytes(attributes))
        or over("sqs attributes", len(attributes))
        or first(_attribute(name, value) for name, value in attributes.items())
    )
    return Refusal("InvalidParameterValue", why) if why else None


def _sent_batch(params: Mapping[str, Any]) -> Refusal | None:
    entries = params["Entries"]
    ids = [entry["Id"] for entry in entries]
    if not entries:
        return Refusal("AWS.SimpleQueueService.EmptyBatchRequest", "The batch request doesn't contain any entries")
    if why := over("sqs batch", len(entries)):
        return Refusal("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", why)
    if len(set(ids)) < len(ids):
        return Refusal("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "Two or more entries have the same Id")
    if any(not re.fullmatch(r"[A-Za-z0-9_-]+", one) or over("sqs entry id", len(one)) for one in ids):
        return Refusal("AWS.SimpleQueueService.InvalidBatchEntryId", "an entry's Id is invalid")
    size = sum(len(entry.get("MessageBody", "").encode()) for entry in entries)
    if why := over("sqs message", size):
        return Refusal("AWS.SimpleQueueService.BatchRequestTooLong", why)
    return next(filter(None, map(_sent, entries)), None)


def _postponed(params: Mapping[str, Any]) -> Refusal | None:
    why = over("sqs visibility", params["VisibilityTimeout"]) or (
        "negative" if params["VisibilityTimeout"] < 0 else None
    )
    return Refusal("InvalidParameterValue", why) if why else None


def _put_events(params: Mapping[str, Any]) -> Refusal | None:
    """What makes EventBridge refuse the whole request, or an entry: none of ours may be such an entry."""
    entries = params["Entries"]
    size = 0
    for entry in entries:
        if (
            not isinstance(json.loads(entry["Detail"]), dict)
            or not entry["Source"]
            or entry["Source"].startswith("aws.")
        ):
            return Refusal("InvalidArgument", "the detail is not an object, or the source is missing or not ours")
        if why := over("events detail type", len(entry["DetailType"])):
            return Refusal("InvalidArgument", why)
        texts = [entry["Source"], entry["DetailType"], entry["Detail"], *entry.get("Resources", [])]
        size += sum(len(text.encode()) for text in texts) + (14 if "Time" in entry else 0)
    why = over("events entries", len(entries)) or over("events size", size)
    return Refusal("ValidationException", why) if why else None


def _received(params: Mapping[str, Any]) -> Refusal | None:
    number, wait = params.get("MaxNumberOfMessages", 1), params.get("WaitTimeSeconds", 0)
    why = over("sqs receive", number) or over("sqs wait", wait) or ("less than one message" if number < 1 else None)
    return Refusal("InvalidParameterValue", why) if why else None


def _published(params: Mapping[str, Any]) -> Refusal | None:
    why = publish_refusal(
        params.get("Message", ""),
        params.get("Subject"),
        params.get("MessageStructure"),
        params.get("MessageAttributes", {}),
    )
    return Refusal("InvalidParameter", why) if why else None


def publish_refusal(
    message: str, subject: str | None, structure: str | None, attributes: Mapping[str, Any]
) -> str | None:
    """Why SNS refuses a Publish, or None if it accepts it."""
    if not message:
        return "Empty message"
    if subject is not None and not SUBJECT.fullmatch(subject):
        return "Subject"
    if why := first(_attribute(name, value) for name, value in attributes.items()):
        return why
    size = len(message.encode()) + _attributes_bytes(attributes)
    if why := over("sns message", size) or over("sns raw attributes", len(attributes)):
        return f"Message too long: {why}"
    return _structure(message) if structure == "json" else None


def _structure(message: str) -> str | None:
    try:
        texts = json.loads(message)
        for text in texts.values():
            text.encode()
    except (ValueError, AttributeError):
        return "Message Structure - JSON message body failed to parse"
    return None if "default" in texts else "Message Structure - No default entry in JSON message body"


# Step Functions and S3 ----------------------------------------------------------------------------------------

_NOT_IN_A_NAME = re.compile('[\\s<>{}\\[\\]?*"#%\\\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff\U0010ffff]')


def _started(params: Mapping[str, Any]) -> Refusal | None:
    name, given = params.get("name", "x"), params.get("input", "{}")
    if not name or _NOT_IN_A_NAME.search(name) or over("states name", len(name)):
        return Refusal("InvalidName", f"Invalid Name: '{name}'")
    try:
        json.loads(given)
    except ValueError:
        return Refusal("InvalidExecutionInput", "the input is not JSON")
    why = over("states input", len(given.encode()))
    return Refusal("ValidationException", why) if why else None


def _s3(params: Mapping[str, Any]) -> Refusal | None:
    key, metadata = params.get("Key"), params.get("Metadata", {})
    if key is not None and (not key or over("s3 key", len(key.encode()))):
        return Refusal("KeyTooLongError", "Your key is empty or too long")
    if why := over("s3 metadata", sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())):
        return Refusal("MetadataTooLarge", why)
    headers = [value for name, value in params.items() if isinstance(value, str) and name not in ("Bucket", "Key")]
    if why := over("s3 headers", sum(len(value.encode()) for value in [*metadata.values(), *headers])):
        return Refusal("RequestHeaderSectionTooLarge", why)
    if (why := over("s3 part", params.get("PartNumber", 1))) or params.get("PartNumber", 1) < 1:
        return Refusal("InvalidArgument", f"Part number must be an integer between 1 and 10000: {why}")
    return None


def _secret(params: Mapping[str, Any]) -> Refusal | None:
    why = over("secretsmanager name", len(params["SecretId"]))
    return Refusal("InvalidParameterException", why or "empty") if why or not params["SecretId"] else None


_RULES: dict[str, tuple[Any, ...]] = {
    "dynamodb": (dynamodb_limits.any_call,),
    "dynamodb.TransactWriteItems": (dynamodb_limits.transaction,),
    "dynamodb.BatchGetItem": (dynamodb_limits.batch_get,),
    "sqs.SendMessage": (_sent,),
    "sqs.SendMessageBatch": (_sent_batch,),
    "sqs.ReceiveMessage": (_received,),
    "sqs.ChangeMessageVisibility": (_postponed,),
    "events.PutEvents": (_put_events,),
    "sns.Publish": (_published,),
    "stepfunctions.StartExecution": (_started,),
    "s3": (_s3,),
    "secretsmanager.GetSecretValue": (_secret,),
}
