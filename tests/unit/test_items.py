"""DynamoDB items: written and read as boto3 does, but with plain numbers."""

from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st
from seedance.aws.attributes import read_item, written_item
from seedance.jobs.job import State

NUMBERS = st.integers(-(10**18), 10**18) | st.floats(-1e15, 1e15).filter(lambda x: x == 0 or abs(x) > 1e-15)
VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=8,
)


def plain(value: Any) -> Any:
    """What boto3 reads, with its Decimals as plain numbers."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=4))
def test_boto3_reads_what_we_write(record: dict[str, Any]) -> None:
    item = written_item(record)
    theirs = {name: plain(TypeDeserializer().deserialize(value)) for name, value in item.items()}
    assert theirs == record
    assert read_item(item) == record


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9))
def test_we_read_what_boto3_writes(number: Decimal) -> None:
    item = {"number": TypeSerializer().serialize(number)}
    assert read_item(item) == {"number": plain(number)}


@pytest.mark.parametrize("text", ["1E+2", "100", "1e2", "100.0"])
def test_a_whole_number_is_an_int_however_it_is_written(text: str) -> None:
    assert repr(read_item({"n": {"N": text}})) == repr({"n": 100})


def test_a_number_of_any_length_is_kept_exactly() -> None:
    assert read_item({"n": {"N": "12345678901234567890123"}}) == {"n": 12345678901234567890123}


def test_a_state_is_stored_as_its_name() -> None:
    assert written_item({"state": State.QUEUED}) == {"state": {"S": "QUEUED"}}
    assert type(written_item({"state": State.QUEUED})["state"]["S"]) is str


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object()])
def test_an_unsupported_type_is_not_written(value: Any) -> None:
    with pytest.raises(TypeError, match="can't be stored in an item"):
        written_item({"x": value})


@pytest.mark.parametrize(
    ("stored", "read"), [({"B": b"x"}, b"x"), ({"SS": ["a"]}, ["a"]), ({"NS": ["1"]}, ["1"]), ({"BS": [b"x"]}, [b"x"])]
)
def test_an_unsupported_stored_type_does_not_make_the_item_unreadable(stored: dict[str, Any], read: Any) -> None:
    assert read_item({"x": stored, "y": {"N": "1"}}) == {"x": read, "y": 1}
