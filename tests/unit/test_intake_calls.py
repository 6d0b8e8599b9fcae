"""Intake of API calls: bodies, refusals that name the field and the allowed values, fingerprints, idempotency keys."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.errors import InvalidRequest
from seedance.jobs.requests import Defaults, api_request, check_idempotency_key, fingerprint

DEFAULTS = Defaults(model="seedance-1.0-pro-fast", prompt="The camera moves slowly.", transport="v2")
IMAGE = "https://example.com/shoe.png"


def refusal(body: str | None) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        api_request(body, DEFAULTS)
    return caught.value


def test_the_smallest_body_is_a_prompt() -> None:
    request = api_request('{"prompt": "a shoe turns"}', DEFAULTS)
    assert (request.model.slug, request.transport, request.image_key) == ("seedance-1.0-pro-fast", "v2", None)
    assert request.parameters["prompt"] == "a shoe turns"


def test_a_full_body_is_accepted_unchanged() -> None:
    body = {
        "model": "seedance-2.0-fast",
        "prompt": "a shoe turns",
        "image": IMAGE,
        "transport": "v1",
        "parameters": {"duration": 8, "aspect_ratio": "21:9", "seed": -1},
    }
    request = api_request(json.dumps(body), DEFAULTS)
    assert (request.model.slug, request.transport) == ("seedance-2.0-fast", "v1")
    assert (
        request.parameters.items()
        >= {
            "prompt": "a shoe turns",
            "first_frame_url": IMAGE,
            "duration": 8,
            "aspect_ratio": "21:9",
            "seed": -1,
        }.items()
    )


def test_an_image_in_the_bucket_is_named_by_its_key() -> None:
    request = api_request('{"prompt": "x", "image_key": "uploads/a.png"}', DEFAULTS)
    assert request.image_key == "uploads/a.png"
    assert "image_url" not in request.parameters


def test_nulls_count_as_missing() -> None:
    body = '{"prompt": "x", "model": null, "image": null, "image_key": null, "parameters": null, "transport": null}'
    assert api_request(body, DEFAULTS) == api_request('{"prompt": "x"}', DEFAULTS)


@pytest.mark.parametrize(
    "body", [None, "", "  ", "{", "[]", '"text"', "1", "null", "{'prompt': 'x'}", "<xml/>", "[" * 100_000]
)
def test_a_body_that_is_not_a_json_object_is_refused(body: str | None) -> None:
    error = refusal(body)
    assert (error.field, "must be a JSON object" in error.message) == ("body", True)


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "prompt", "is missing; it must be text of 1 to 5000 characters"),
        ({"prompt": ""}, "prompt", "must be text of 1 to 5000 characters"),
        ({"prompt": "   "}, "prompt", "must be text of 1 to 5000 characters"),
        ({"prompt": 5}, "prompt", "must be text"),
        ({"prompt": ["x"]}, "prompt", "must be text"),
        ({"prompt": "bell\u0007"}, "prompt", "control characters"),
        ({"parameters": {"prompt": "bell\u0007"}}, "prompt", "control characters"),
        ({"prompt": "\ud800"}, "prompt", "has half of a character in it"),
        ({"prompt": "caf\ufffd"}, "prompt", "has lost characters"),
        ({"prompt": "x", "parameters": {"prompt": "y"}}, "prompt", "given twice"),
        ({"prompt": "x", "image": IMAGE, "parameters": {"image": IMAGE}}, "image", "given twice"),
        ({"prompt": "x", "image": IMAGE, "parameters": {"image_url": IMAGE}}, "image_url", "given twice"),
        ({"prompt": "x", "image": IMAGE, "image_key": "a"}, "image", "use only one of them"),
        ({"prompt": "x", "image": "shoe.png"}, "image", "must be an http or https address"),
        ({"prompt": "x", "image": "ftp://example.com/a"}, "image", "must be an http or https address"),
        ({"prompt": "x", "image": "https://e.com/" + "a" * 2048}, "image", "at most 2048 characters"),
        ({"prompt": "x", "image": {"url": IMAGE}}, "image", "must be an http or https address"),
        ({"prompt": "x", "model": "seedance-2.0"}, "model", "did you mean seedance-2.0-"),
        ({"prompt": "x", "model": "sora"}, "model", "available: seedance-pro, seedance-1.0-pro-fast"),
        ({"prompt": "x", "model": 5}, "model", "must be text, not int"),
        ({"prompt": "x", "transport": "v1"}, "transport", "must be v2 for seedance-1.0-pro-fast, not 'v1'"),
        ({"prompt": "x", "transport": ""}, "transport", "must be v2"),
        ({"prompt": "x", "transport": True}, "transport", "must be text, not bool"),
        ({"prompt": "x", "image_key": 7}, "image_key", "must be text, not int"),
        ({"prompt": "x", "image_key": "é" * 513}, "image_key", "at most 1024 bytes"),
        ({"prompt": "x", "image_key": "\ud800"}, "image_key", "must be UTF-8"),
        ({"prompt": "x", "parameters": []}, "parameters", "must be a JSON object"),
        ({"prompt": "x", "parameters": "duration=5"}, "parameters", "must be a JSON object"),
        ({"prompt": "x", "duration": 5}, "duration", "put it under parameters"),
        ({"prompt": "x", "promt": "y"}, "promt", "did you mean prompt?"),
        ({"prompt": "x", "webhook": "y"}, "webhook", "model, prompt, parameters, image, image_key, transport"),
        ({"prompt": "x", "parameters": {"duration": 7}}, "duration", "must be 5 or 10, not 7"),
        ({"prompt": "x", "parameters": {"duratoin": 5}}, "duratoin", "did you mean duration?"),
        ({"prompt": "x", "parameters": {"seed": True}}, "seed", "a whole number from 1 to 999999"),
        ({"prompt": "x", "parameters": {"seed": 1.5}}, "seed", "a whole number from 1 to 999999"),
        ({"prompt": "x", "parameters": {"seed": float("nan")}}, "seed", "a whole number"),
        ({"prompt": "x", "parameters": {"seed": float("inf")}}, "seed", "a whole number"),
        ({"prompt": "x", "parameters": {"seed": 10**40}}, "seed", "a whole number"),
        ({"prompt": "x", "parameters": {"camera_fixed": "perhaps"}}, "camera_fixed", "true or false"),
    ],
)
def test_a_refusal_names_the_field_and_the_allowed_values(body: dict[str, Any], field: str, words: str) -> None:
    error = refusal(json.dumps(body))
    assert error.field == field
    assert words in error.message


def test_the_longest_key_that_s3_allows_is_accepted() -> None:
    assert api_request(json.dumps({"prompt": "x", "image_key": "é" * 512}), DEFAULTS).image_key == "é" * 512


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["model", "prompt", "parameters", "image", "image_key", "transport"]) | st.text()
PARAMETERS = st.dictionaries(st.sampled_from(["duration", "seed", "image_url", "camera_fixed"]) | st.text(), JSON)


@given(st.dictionaries(NAMES, JSON | PARAMETERS, max_size=6))
def test_any_json_is_a_request_or_a_refusal(body: dict[str, Any]) -> None:
    try:
        request = api_request(json.dumps(body), DEFAULTS)
    except InvalidRequest as error:
        assert error.field is not None
        assert error.message
    else:
        assert request.parameters["prompt"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a": 1, "b": 2}', '{"b":2,\n"a":1}', True),
        ('{"a": "\\u00e9"}', '{"a": "é"}', True),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', False),
        ('{"a": 1}', '{"a": "1"}', False),
        ('{"a": 1}', '{"a": 1, "b": null}', False),
    ],
)
def test_order_and_whitespace_do_not_change_the_fingerprint(one: str, other: str, same: bool) -> None:
    assert (fingerprint(one) == fingerprint(other)) is same


def test_a_body_with_a_lone_surrogate_has_a_fingerprint_too() -> None:
    assert fingerprint('{"a": "\\ud800"}') != fingerprint('{"a": "\\ud801"}')


@pytest.mark.parametrize("key", ["a", "order-4711", "!~", "x" * 255])
def test_a_printable_idempotency_key_is_accepted(key: str) -> None:
    assert check_idempotency_key(key) == key


@pytest.mark.parametrize("key", ["", "two words", "é", "x" * 256, "line\n", "\x00", " a"])
def test_any_other_idempotency_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest, match=r"Idempotency-Key: must be 1 to 255 visible ASCII characters"):
        check_idempotency_key(key)
