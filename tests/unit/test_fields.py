"""Arbitrary text in fields that a service restricts: it is always made to fit, and valid text is left unchanged."""

import json
from email.message import Message
from typing import Any

import aws_limits
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance import bounds
from seedance.aws import fields

pytestmark = pytest.mark.hostile(kind="input")

ANY = st.text(st.characters(codec=None, exclude_categories=()), max_size=400)
NASTY = [
    *("", " ", "\n", "\x00", "\x7f", "\x85", "\ud800", "\udfff\ud800", "\ufffe", "\u2028", "é", "鞋", "👟", "\u202e"),
    *("a\r\nBcc: x@example.com", '"; filename="x.exe', "a" * 5000, "👟" * 5000, "\x01" * 5000, "\\" * 5000, "%0a;\\"),
]
TEXTS = pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))


@TEXTS
def test_a_subject_is_accepted_by_sns(text: str) -> None:
    assert aws_limits.SUBJECT.fullmatch(fields.subject(text))


@given(ANY)
def test_any_subject_is_accepted_by_sns(text: str) -> None:
    assert aws_limits.SUBJECT.fullmatch(fields.subject(text))


@pytest.mark.parametrize("text", ["Video ready: shoe", "x" * 99, "?", "(a)"])
def test_a_valid_subject_is_unchanged(text: str) -> None:
    assert fields.subject(text) == text


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("shoe", "Ready: shoe (8 s)"),
        ("café", "Ready: cafe (8 s)"),
        ("x" * 100, f"Ready: {'x' * 83}... (8 s)"),
        ("鞋" * 100, "Ready: ? (8 s)"),
    ],
)
def test_a_subjects_name_is_cut_and_its_end_is_not(name: str, subject: str) -> None:
    assert fields.subject("Ready: ", name, " (8 s)") == subject


@given(ANY, ANY, ANY)
def test_any_parts_of_a_subject_are_accepted_by_sns(begin: str, name: str, end: str) -> None:
    assert aws_limits.SUBJECT.fullmatch(fields.subject(begin, name, end))


def sns_takes(text: str) -> None:
    attributes = fields.attributes({"status": "REJECTED", "model": text, "batch": None})
    body = fields.message(
        {"prompt": text, "error": {"message": text}, "name": text}, lambda told: f"{told['prompt']}\n"
    )
    assert aws_limits.publish_refusal(body, fields.subject(text), "json", attributes) is None
    assert attributes["status"] == {"DataType": "String", "StringValue": "REJECTED"}
    assert "batch" not in attributes
    json.loads(json.loads(body)["default"])["prompt"].encode()


@TEXTS
def test_a_message_and_its_attributes_are_accepted_by_sns(text: str) -> None:
    sns_takes(text)


@given(ANY)
def test_any_message_and_its_attributes_are_accepted_by_sns(text: str) -> None:
    sns_takes(text)


@pytest.mark.parametrize("value", ["", " ", "\n\x00", None])
def test_an_attribute_without_a_value_is_left_out(value: str | None) -> None:
    assert fields.attributes({"model": value}) == {}


@pytest.mark.parametrize("letter", ["x", '"', "\\", "\n", "\x01", "é", "👟"])
def test_in_a_message_that_is_too_long_only_the_ends_of_its_texts_are_cut(letter: str) -> None:
    facts: dict[str, Any] = {
        "job_id": "up-1",
        "prompt": letter * 200_000,
        "video": {"url": "https://x/" + "a" * 6000, "bytes": 7},
        "error": {"code": "X", "message": letter * 200_000},
        "cost_usd": 0.25,
    }
    body = fields.message(facts, lambda told: told["prompt"])
    assert len(body.encode()) <= fields.MESSAGE_BYTES - 8000
    told = json.loads(json.loads(body)["default"])
    assert told["prompt"][:-1] == letter * (len(told["prompt"]) - 1)
    assert told["prompt"].endswith("…")
    assert told["video"] == facts["video"]
    assert (told["job_id"], told["cost_usd"], told["error"]["code"]) == ("up-1", 0.25, "X")
    assert json.loads(body)["email"] == told["prompt"]


def test_a_message_that_fits_is_unchanged() -> None:
    facts = {"prompt": "x" * 20_000, "batch": None, "list": ["a"]}
    assert json.loads(json.loads(fields.message(facts, lambda told: "mail"))["default"]) == facts


def s3_takes(metadata: dict[str, str]) -> None:
    assert sum(len(name) + len(value) for name, value in metadata.items()) <= 2048
    for value in metadata.values():
        assert value.isascii()
        assert value.isprintable()
        assert value == value.strip() != ""


@TEXTS
def test_metadata_is_accepted_by_s3(text: str) -> None:
    metadata = fields.metadata({"job-id": "up-1", "model": text, "request-id": text, "none": None})
    s3_takes(metadata)
    assert metadata["job-id"] == "up-1"
    assert "none" not in metadata


@given(st.dictionaries(st.sampled_from(["job-id", "model", "request-id"]), ANY | st.none()))
def test_any_metadata_is_accepted_by_s3(values: dict[str, str | None]) -> None:
    s3_takes(fields.metadata(values))


def test_valid_metadata_is_unchanged() -> None:
    values = {"job-id": "up-1", "model": "m" * 900, "request-id": "r" * 900}
    assert fields.metadata(values) == values


def a_header_carries(stem: str) -> None:
    header = fields.disposition("attachment", stem, ".mp4")
    assert header.isascii()
    assert header.isprintable()
    assert len(header) < 2000
    message = Message()
    message["Content-Disposition"] = header
    name = message.get_filename()  # as a browser reads it: the full name takes precedence over the plain one
    assert name is not None
    assert name.endswith(".mp4")
    assert len(name.encode()) <= fields.FILE_NAME_BYTES
    assert message.get_content_disposition() == "attachment"


@TEXTS
def test_a_file_name_fits_into_a_header(text: str) -> None:
    a_header_carries(text)


@given(ANY)
def test_any_file_name_fits_into_a_header(text: str) -> None:
    a_header_carries(text)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        *(("", False), ("a", True), ("a" * 2048, True), ("a" * 2049, False), ("é" * 1024, True), ("é" * 1025, False)),
        *(("\ud800", False), (None, False), (5, False), (True, False), (["a"], False), (b"a", False)),
    ],
)
def test_a_table_key_has_1_to_2048_bytes(text: object, fits: bool) -> None:
    assert fields.is_table_key(text) is fits


@pytest.mark.parametrize("text", ["", "a" * 3000, "\ud800"])
def test_an_impossible_key_is_not_found(world: Any, text: str) -> None:
    assert world.store.get(text) is None
    assert world.store.owner_of(text) is None
    assert world.store.jobs_of_request(text) == []


@given(ANY, st.sampled_from(["", ".results.csv", "-01234567.rejected.csv"]))
def test_an_object_key_keeps_its_whole_suffix(stem: str, ending: str) -> None:
    key = fields.object_key(stem * 20, ending)
    assert len(key.encode()) <= fields.OBJECT_KEY_BYTES
    assert key.endswith(ending)


@given(ANY)
def test_a_line_has_no_line_breaks(text: str) -> None:
    line = bounds.one_line(text)
    line.encode()
    assert len(line.splitlines()) <= 1
    assert bounds.one_line("Ein Schuh, Größe 42 👟") == "Ein Schuh, Größe 42 👟"
