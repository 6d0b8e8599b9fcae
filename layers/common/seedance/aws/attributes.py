"""Converts records to DynamoDB's attribute values and back: ``{"S": …}``, ``{"N": …}``. Pure.

boto3 can do this too, but only with its resources, which take longer to import than all of our own code.
Source: the DynamoDB API reference, AttributeValue.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item = dict[str, "AttributeValueTypeDef"]
Record = dict[str, object]
"""An item's values by name. Anybody may have edited the item, so each value is checked where it is used."""


def written_item(record: Mapping[str, object]) -> Item:
    """The item for a record. Values are text, numbers, booleans, None, and lists and maps of these."""
    return {name: _written(value) for name, value in record.items()}


def read_item(item: "Mapping[str, AttributeValueTypeDef]") -> Record:
    """The record in an item. A whole number becomes an int."""
    return {name: _read(value) for name, value in item.items()}


def _written(value: object) -> "AttributeValueTypeDef":
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": str(value)}
        case int() | float():
            return {"N": repr(value)}  # the shortest text that gives exactly this float
        case Mapping():
            return {"M": {name: _written(inner) for name, inner in value.items()}}
        case list() | tuple():
            return {"L": [_written(inner) for inner in value]}
    raise TypeError(f"a record has a value of type {type(value).__name__}, which can't be stored in an item")


def _read(value: Mapping[str, Any]) -> Any:
    ((kind, content),) = value.items()
    match kind:
        case "NULL":
            return None
        case "N":
            number = float(content)
            return int(content) if content.lstrip("-").isdigit() else int(number) if number.is_integer() else number
        case "M":
            return {name: _read(inner) for name, inner in content.items()}
        case "L":
            return [_read(inner) for inner in content]
    return (
        content  # text and booleans; also bytes and sets, which we never write: the code that uses the value checks it
    )
