"""DynamoDB's limits and rules for items, keys, numbers and expressions (see aws_limits, which enforces them)."""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

from limit_table import KEYS, Refusal, first, over
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

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


def any_call(params: Mapping[str, Any]) -> Refusal | None:
    return _valid(first(_of_write(part) for part in _writes(params)))


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
        or first(_of_key(name, value) for name, value in part.get("Key", {}).items())
        or first(_of_key(name, value) for name, value in _assigned(part))
        or first(_of_value(value, 1) for value in part.get("ExpressionAttributeValues", {}).values())
        or _of_expressions(part)
    )


def _of_item(item: Mapping[str, Any]) -> str | None:
    return (
        first(_of_key(name, value) for name, value in item.items())
        or first(_of_value(value, 1) for value in item.values())
        or over("dynamodb item", sum(len(name.encode()) + item_bytes(value) for name, value in item.items()))
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
    return over("dynamodb partition key", len(content.encode()))


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
        return over("dynamodb depth", depth) or first(_of_value(each, depth + 1) for each in inner)
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
    return over("dynamodb digits", len("".join(map(str, number.as_tuple().digits)).strip("0")))


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
        if why := over("dynamodb expression", len(text.encode())) or over("dynamodb operators", operators):
            return why
        if not text.strip():
            return "The expression can not be empty"
    if unused := (set(names) | set(values)) - used:
        return f"Value provided in ExpressionAttributeNames or -Values unused in expressions: {sorted(unused)}"
    if undefined := used - set(names) - set(values):
        return f"An expression attribute name or value used in the expression is not defined: {sorted(undefined)}"
    size = sum(len(name) + len(of.encode()) for name, of in names.items())
    size += sum(len(name) + item_bytes(value) for name, value in values.items())
    return over("dynamodb values", size) or first(over("dynamodb placeholder", len(name)) for name in used)


def transaction(params: Mapping[str, Any]) -> Refusal | None:
    targets, size = [], 0
    for part in _writes(params):
        where = part.get("Key") or {name: part["Item"][name] for name in ("job_id",)}
        targets.append((part["TableName"], json.dumps(where, sort_keys=True)))
        size += sum(len(name.encode()) + item_bytes(value) for name, value in part.get("Item", {}).items())
    if len(set(targets)) < len(targets):
        return _valid("Transaction request cannot include multiple operations on one item")
    return _valid(over("dynamodb transaction", len(targets)) or over("dynamodb transaction size", size))


def batch_get(params: Mapping[str, Any]) -> Refusal | None:
    keys = [json.dumps(key, sort_keys=True) for table in params["RequestItems"].values() for key in table["Keys"]]
    if len(set(keys)) < len(keys):
        return _valid("Provided list of item keys contains duplicates")
    return _valid(over("dynamodb batch", len(keys)) or (None if keys else "no keys"))
