"""A record as DynamoDB writes it, and back: ``{"S": …}``, ``{"N": …}``. Pure.

boto3 has this too, but as part of its resources, which take longer to load than all of our own code.
Source: the DynamoDB API reference, AttributeValue.
"""

from collections.abc import Mapping
from typing import Any


def written_item(record: Mapping[str, Any]) -> dict[str, Any]:
    """The item of a record. Values are text, numbers, booleans, None, and lists and maps of these."""
    return {name: _written(value) for name, value in record.items()}


def read_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """The record of an item; a number is an int where it is whole."""
    return {name: _read(value) for name, value in item.items()}


def _written(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": str(value)}
        case int() | float():
            return {"N": repr(value)}  # the shortest text that is exactly this float
        case Mapping():
            return {"M": {name: _written(inner) for name, inner in value.items()}}
        case list() | tuple():
            return {"L": [_written(inner) for inner in value]}
    raise TypeError(f"a record has a value of {type(value).__name__}, which no item can hold")


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
    return content  # text and booleans; bytes and sets too, which we never write: whoever uses the value checks it
