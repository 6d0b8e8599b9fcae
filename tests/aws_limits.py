"""AWS's documented limits, in one table with their sources, enforced on every call of every client in this process.

moto and the emulator accept much that AWS refuses. What botocore's service models say about lengths (``min``, ``max``)
is enforced too; botocore itself only checks ``min``.

Sources: "model" is botocore's service model, as installed; the others are pages of AWS's documentation.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, NamedTuple
from unittest.mock import patch

from botocore.client import BaseClient
from botocore.model import OperationModel, Shape
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

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

KEYS = {"job_id": "S", "request_id": "S", "state": "S", "updated_at": "N"}
"""The keys of the table and of its indexes, with their types, as in template.yaml."""


class Refusal(NamedTuple):
    """AWS's error for a call."""

    code: str
    message: str


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
    return _over("lambda event" if asynchronous else "lambda answer", len(json.dumps(answer).encode()))


def too_large_for_a_state(data: Any) -> str | None:
    """Why Step Functions fails an execution whose state has this input or output (States.DataLimitExceeded)."""
    return _over("states input", len(json.dumps(data, separators=(",", ":")).encode()))


def _over(name: str, value: float) -> str | None:
    limit = LIMITS[name]
    return f"{value} exceeds the limit of {limit.most} {limit.of} ({limit.source})" if value > limit.most else None


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


# DynamoDB -----------------------------------------------------------------------------------------------------

_EXPRESSIONS = (
    "UpdateExpression",
    "ConditionExpression",
    "KeyConditionExpression",
    "FilterExpression",
    "ProjectionExpression",
)
_WORD = re.compile(r"[#:]?[A-Za-z_][A-Za-z0-9_]*")
_GRAMMAR = frozenset(["SET", "REMOVE", "ADD", "DELETE", "AND", "OR", "NOT", "IN", "BETWEEN"])
_FUNCTIONS = frozenset(
    [
        "attribute_exists",
        "attribute_not_exists",
        "attribute_type",
        "begins_with",
        "contains",
        "size",
        "if_not_exists",
        "list_append",
    ]
)
_COMPARISON = re.compile(r"<>|<=|>=|=|<|>")


@cache
def _reserved() -> frozenset[str]:
    """The words of the developer guide's list (Reserved words in DynamoDB), in the copy that moto ships."""
    return frozenset(ReservedKeywords.get_reserved_keywords())


def _valid(why: str | None) -> Refusal | None:
    return Refusal("ValidationException", f"One or more parameter values were invalid: {why}") if why else None


def _dynamodb(params: Mapping[str, Any]) -> Refusal | None:
    return _valid(_first(_of_write(part) for part in _writes(params)))


def _first(found: Iterator[str | None]) -> str | None:
    return next(filter(None, found), None)


def _writes(params: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The single requests of a call."""
    if "TransactItems" in params:
        yield from (one for action in params["TransactItems"] for one in action.values())
    elif "RequestItems" in params:
        for table in params["RequestItems"].values():
            yield table
            yield from ({"Key": key} for key in table["Keys"])
    else:
        yield params


def _of_write(part: Mapping[str, Any]) -> str | None:
    return (
        _of_item(part.get("Item", {}))
        or _first(_of_key(name, value) for name, value in part.get("Key", {}).items())
        or _first(_of_key(name, value) for name, value in _assigned(part))
        or _first(_of_value(value, 1) for value in part.get("ExpressionAttributeValues", {}).values())
        or _of_expressions(part)
    )


def _of_item(item: Mapping[str, Any]) -> str | None:
    return (
        _first(_of_key(name, value) for name, value in item.items())
        or _first(_of_value(value, 1) for value in item.values())
        or _over("dynamodb item", sum(len(name.encode()) + item_bytes(value) for name, value in item.items()))
    )


def _of_key(name: str, value: Any) -> str | None:
    """A key attribute, of the table or of an index, has its declared type and is not empty."""
    if (kind := KEYS.get(name)) is None:
        return None
    ((given, content),) = value.items()
    if given != kind:
        return f"Type mismatch for key {name} expected: {kind} actual: {given}"
    if kind != "S":
        return None
    if not content:
        return f"The AttributeValue for a key attribute cannot contain an empty string value. Key: {name}"
    return _over("dynamodb partition key", len(content.encode()))


def _assigned(part: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The values that an update sets, and those with which a query compares keys, by attribute."""
    names, values = part.get("ExpressionAttributeNames", {}), part.get("ExpressionAttributeValues", {})
    for text in (part.get("UpdateExpression", ""), part.get("KeyConditionExpression", "")):
        for name, value in re.findall(r"(#?\w+)\s*(?:=|<=|>=|<|>)\s*(:\w+)", text):
            if value in values:
                yield names.get(name, name), values[value]


def _of_value(value: Any, depth: int) -> str | None:
    ((kind, content),) = value.items()
    if kind == "N":
        return _of_number(content)
    if kind in ("SS", "NS", "BS") and not content:
        return "An attribute value may not contain an empty set"
    if kind in ("M", "L"):
        inner = content.values() if kind == "M" else content
        return _over("dynamodb depth", depth) or _first(_of_value(each, depth + 1) for each in inner)
    return None


def _of_number(text: str) -> str | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return f"The parameter cannot be converted to a numeric value: {text}"
    if not number.is_finite():
        return f"The parameter cannot be converted to a numeric value: {text}"
    if number and not -130 <= number.adjusted() < 126:
        return f"Number overflow or underflow: {text}"
    return _over("dynamodb digits", len("".join(map(str, number.as_tuple().digits)).strip("0")))


def item_bytes(value: Any) -> int:
    """The size of an attribute's value (DynamoDB developer guide, item sizes and formats)."""
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return len(Decimal(content).as_tuple().digits) // 2 + 2
        case "B":
            return len(content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + item_bytes(inner) for name, inner in content.items())
        case "L":
            return 3 + sum(1 + item_bytes(inner) for inner in content)
        case "SS" | "NS" | "BS":
            return sum(map(len, content))
    return 1


def _of_expressions(part: Mapping[str, Any]) -> str | None:
    names, values = part.get("ExpressionAttributeNames", {}), part.get("ExpressionAttributeValues", {})
    texts = [part[name] for name in _EXPRESSIONS if part.get(name) is not None]
    used: set[str] = set()
    for text in texts:
        words = _WORD.findall(text)
        bare = [
            word for word in words if word[0] not in "#:" and word not in _FUNCTIONS and word.upper() not in _GRAMMAR
        ]
        if reserved := [word for word in bare if word.upper() in _reserved()]:
            return f"Invalid expression: Attribute name is a reserved keyword; reserved keyword: {reserved[0]}"
        used |= {word for word in words if word[0] in "#:"}
        operators = sum(word in _FUNCTIONS or word.upper() in _GRAMMAR for word in words) + len(
            _COMPARISON.findall(text)
        )
        if why := _over("dynamodb expression", len(text.encode())) or _over("dynamodb operators", operators):
            return why
        if not text.strip():
            return "The expression can not be empty"
    if unused := (set(names) | set(values)) - used:
        return f"Value provided in ExpressionAttributeNames or -Values unused in expressions: {sorted(unused)}"
    if undefined := used - set(names) - set(values):
        return f"An expression attribute name or value used in the expression is not defined: {sorted(undefined)}"
    size = sum(len(name) + len(of.encode()) for name, of in names.items())
    size += sum(len(name) + item_bytes(value) for name, value in values.items())
    return _over("dynamodb values", size) or _first(_over("dynamodb placeholder", len(name)) for name in used)


def _transaction(params: Mapping[str, Any]) -> Refusal | None:
    targets, size = [], 0
    for part in _writes(params):
        where = part.get("Key") or {name: part["Item"][name] for name in ("job_id",)}
        targets.append((part["TableName"], json.dumps(where, sort_keys=True)))
        size += sum(len(name.encode()) + item_bytes(value) for name, value in part.get("Item", {}).items())
    if len(set(targets)) < len(targets):
        return _valid("Transaction request cannot include multiple operations on one item")
    return _valid(_over("dynamodb transaction", len(targets)) or _over("dynamodb transaction size", size))


def _batch_get(params: Mapping[str, Any]) -> Refusal | None:
    keys = [json.dumps(key, sort_keys=True) for table in params["RequestItems"].values() for key in table["Keys"]]
    if len(set(keys)) < len(keys):
        return _valid("Provided list of item keys contains duplicates")
    return _valid(_over("dynamodb batch", len(keys)) or (None if keys else "no keys"))


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
    if not isinstance(delay, int) or delay < 0 or _over("sqs delay", delay):
        return Refusal("InvalidParameterValue", f"Value {delay} for parameter DelaySeconds is invalid")
    why = (
        _over("sqs message", len(body.encode()) + _attributes_bytes(attributes))
        or _over("sqs attributes", len(attributes))
        or _first(_attribute(name, value) for name, value in attributes.items())
    )
    return Refusal("InvalidParameterValue", why) if why else None


def _sent_batch(params: Mapping[str, Any]) -> Refusal | None:
    entries = params["Entries"]
    ids = [entry["Id"] for entry in entries]
    if not entries:
        return Refusal("AWS.SimpleQueueService.EmptyBatchRequest", "The batch request doesn't contain any entries")
    if why := _over("sqs batch", len(entries)):
        return Refusal("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", why)
    if len(set(ids)) < len(ids):
        return Refusal("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "Two or more entries have the same Id")
    if any(not re.fullmatch(r"[A-Za-z0-9_-]+", one) or _over("sqs entry id", len(one)) for one in ids):
        return Refusal("AWS.SimpleQueueService.InvalidBatchEntryId", "an entry's Id is invalid")
    size = sum(len(entry.get("MessageBody", "").encode()) for entry in entries)
    if why := _over("sqs message", size):
        return Refusal("AWS.SimpleQueueService.BatchRequestTooLong", why)
    return next(filter(None, map(_sent, entries)), None)


def _received(params: Mapping[str, Any]) -> Refusal | None:
    number, wait = params.get("MaxNumberOfMessages", 1), params.get("WaitTimeSeconds", 0)
    why = _over("sqs receive", number) or _over("sqs wait", wait) or ("less than one message" if number < 1 else None)
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
    if why := _first(_attribute(name, value) for name, value in attributes.items()):
        return why
    size = len(message.encode()) + _attributes_bytes(attributes)
    if why := _over("sns message", size) or _over("sns raw attributes", len(attributes)):
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
    if not name or _NOT_IN_A_NAME.search(name) or _over("states name", len(name)):
        return Refusal("InvalidName", f"Invalid Name: '{name}'")
    try:
        json.loads(given)
    except ValueError:
        return Refusal("InvalidExecutionInput", "the input is not JSON")
    why = _over("states input", len(given.encode()))
    return Refusal("ValidationException", why) if why else None


def _s3(params: Mapping[str, Any]) -> Refusal | None:
    key, metadata = params.get("Key"), params.get("Metadata", {})
    if key is not None and (not key or _over("s3 key", len(key.encode()))):
        return Refusal("KeyTooLongError", "Your key is empty or too long")
    if why := _over("s3 metadata", sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())):
        return Refusal("MetadataTooLarge", why)
    headers = [value for name, value in params.items() if isinstance(value, str) and name not in ("Bucket", "Key")]
    if why := _over("s3 headers", sum(len(value.encode()) for value in [*metadata.values(), *headers])):
        return Refusal("RequestHeaderSectionTooLarge", why)
    if (why := _over("s3 part", params.get("PartNumber", 1))) or params.get("PartNumber", 1) < 1:
        return Refusal("InvalidArgument", f"Part number must be an integer between 1 and 10000: {why}")
    return None


def _secret(params: Mapping[str, Any]) -> Refusal | None:
    why = _over("secretsmanager name", len(params["SecretId"]))
    return Refusal("InvalidParameterException", why or "empty") if why or not params["SecretId"] else None


_RULES: dict[str, tuple[Any, ...]] = {
    "dynamodb": (_dynamodb,),
    "dynamodb.TransactWriteItems": (_transaction,),
    "dynamodb.BatchGetItem": (_batch_get,),
    "sqs.SendMessage": (_sent,),
    "sqs.SendMessageBatch": (_sent_batch,),
    "sqs.ReceiveMessage": (_received,),
    "sns.Publish": (_published,),
    "stepfunctions.StartExecution": (_started,),
    "s3": (_s3,),
    "secretsmanager.GetSecretValue": (_secret,),
}
