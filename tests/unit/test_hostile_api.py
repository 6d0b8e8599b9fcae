"""Hostile bodies of API calls: each gets an answer of 2xx or 4xx with a short error, and only a 202 makes a job."""

import base64
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from footage import small_png
from hostile_calls import GOOD, TABLE, Function, event
from hostile_values import DEEP, TEXTS, VALUES, nested
from hypothesis import given
from hypothesis import strategies as st
from seedance.aws.attributes import written_item
from seedance.jobs.job import Job, State
from seedance.jobs.requests import BODY_FIELDS

pytestmark = pytest.mark.hostile(kind="input", risk=("5xx", "paid twice"))

# values in fields -----------------------------------------------------------------------------------------------------

FIELDS: dict[str, tuple[str, str]] = {
    "prompt": ('{"prompt": %s}', "prompt"),
    "model": ('{"prompt": "x", "model": %s}', "model"),
    "transport": ('{"prompt": "x", "transport": %s}', "transport"),
    "image": ('{"prompt": "x", "image": %s}', "image"),
    "image_key": ('{"prompt": "x", "image_key": %s}', "image_key"),
    "parameters": ('{"prompt": "x", "parameters": %s}', "parameters"),
    "an unknown field": ('{"prompt": "x", "webhook": %s}', "webhook"),
    "parameters.prompt": ('{"parameters": {"prompt": %s}}', "prompt"),
    "duration": ('{"prompt": "x", "parameters": {"duration": %s}}', "duration"),
    "seed": ('{"prompt": "x", "parameters": {"seed": %s}}', "seed"),
    "wide seed": ('{"prompt": "x", "model": "seedance-2.0-mini", "parameters": {"seed": %s}}', "seed"),
    "resolution": ('{"prompt": "x", "parameters": {"resolution": %s}}', "resolution"),
    "aspect_ratio": ('{"prompt": "x", "parameters": {"aspect_ratio": %s}}', "aspect_ratio"),
    "camera_fixed": ('{"prompt": "x", "parameters": {"camera_fixed": %s}}', "camera_fixed"),
    "image_url": ('{"prompt": "x", "parameters": {"image_url": %s}}', "image_url"),
    "last_image": (
        '{"prompt": "x", "model": "seedance-pro", "image": "https://e.com/a", "parameters": {"last_image": %s}}',
        "last_image",
    ),
    "references": (
        '{"prompt": "x", "model": "seedance-2.0-mini", "parameters": {"reference_images": %s}}',
        "reference_images",
    ),
    "a reference": (
        '{"prompt": "x", "model": "seedance-2.0-mini", "parameters": {"reference_images": [%s]}}',
        "reference_images",
    ),
    "name": ('{"prompt": "x", "name": %s}', "name"),
    "metadata": ('{"prompt": "x", "metadata": %s}', "metadata"),
    "a value of metadata": ('{"prompt": "x", "metadata": {"sku": %s}}', "metadata"),
    "an unknown parameter": ('{"prompt": "x", "parameters": {"duratoin": %s}}', "duratoin"),
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("place", FIELDS)
def test_a_hostile_value_is_refused_by_its_fields_name(function: Function, place: str, kind: str) -> None:
    form, field = FIELDS[place]
    status, body, _ = function.post(form % VALUES[kind])
    if status == 202:
        return
    error = body["error"]
    if status == 400:
        assert kind.startswith("shape")
        assert error["field"] == "body"
    elif place != "parameters":  # an object there has names of its own
        assert error["field"] == field


@pytest.mark.sampled(5)
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("place", FIELDS)
def test_an_estimate_refuses_what_a_video_does(function: Function, place: str, kind: str) -> None:
    form, field = FIELDS[place]
    status, body, _ = function.call({**event("POST", "/estimates"), "body": form % VALUES[kind]})
    if status == 400:
        assert body["field"] == "body"
    elif status != 200 and place != "parameters":
        assert (status, body["field"]) == (422, field)


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("form", ["%s", '{"reason": %s}'])
def test_a_hostile_reason_for_a_pause_is_refused(function: Function, form: str, kind: str) -> None:
    status, body, _ = function.call({**event("POST", "/pause"), "body": form % VALUES[kind]})
    function.call(event("POST", "/resume"))
    assert status in (200, 400, 422)
    if status == 422 and form != "%s":
        assert body["field"] == "reason"


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("form", ["%s", '{"name": %s}', '{"name": "a.png", "bytes": %s}', '{"name": "a.png", "x": %s}'])
def test_a_hostile_upload_is_refused(function: Function, form: str, kind: str) -> None:
    status, body, _ = function.call({**event("POST", "/uploads"), "body": form % VALUES[kind]})
    assert status in (200, 400, 422)
    if status == 200:
        assert body["key"].startswith("images/posted/")


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_hostile_id_has_no_link(function: Function, method: str, kind: str) -> None:
    assert function.call(event(method, "/videos/{job_id}/link", job_id=TEXTS[kind]))[0] == 404


@pytest.fixture
def failed(clients: dict[str, Any], make_job: Callable[..., Job]) -> Iterator[Job]:
    """A job that only a purchase can help."""
    job = make_job(State.FAILED, error={"code": "PROVIDER_JOB_FAILED", "message": "m"})
    clients["dynamodb"].put_item(TableName=TABLE, Item=written_item(job.to_record()))
    yield job
    clients["dynamodb"].delete_item(TableName=TABLE, Key={"job_id": {"S": job.job_id}})


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("form", ["%s", '{"pay": %s}', '{"pay": true, "max_usd": %s}', '{"pay": true, "max": %s}'])
def test_a_hostile_request_for_a_retry_is_refused(function: Function, failed: Job, form: str, kind: str) -> None:
    called = event("POST", "/videos/{job_id}/retry", job_id=failed.job_id)
    status, body, _ = function.call({**called, "body": form % VALUES[kind]})
    if status == 202:  # true, an amount, or null for "no limit"
        value = json.loads(VALUES[kind])
        assert value is None or value is True or 0.25 <= value <= 1000
        assert form != "%s"
    elif status == 409:  # nothing was said about paying, or too little
        assert body["code"] in ("NEEDS_PAYMENT", "DEARER_THAN_ALLOWED")
        assert body["estimate_usd"] == 0.25
    elif form != "%s":
        assert (status, body["field"]) in ((400, "body"), (422, "pay"), (422, "max_usd"), (422, "max"))


@pytest.mark.sampled(5)
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize(
    ("form", "field"),
    [
        ('{"manifest_key": %s}', "manifest_key"),
        ('{"manifest_key": "staged/spring.csv", "approve": %s}', "approve"),
        ('{"manifest_key": "staged/spring.csv", "approved": %s}', "approved"),
        ("%s", None),
    ],
)
def test_a_hostile_value_for_a_batch_is_refused_by_its_fields_name(
    function: Function, form: str, field: str | None, kind: str
) -> None:
    status, body, _ = function.call({**event("POST", "/batches"), "body": form % VALUES[kind]})
    assert status in (202, 400, 409, 422)
    if status == 202:
        assert field == "approve"
        assert VALUES[kind] in ("true", "false")  # the first of them; the other is a conflict
    elif status == 400:
        assert body["field"] == "body"
    elif field is not None and status == 422:
        assert body["field"] == field


@pytest.mark.parametrize("kind", TEXTS)
def test_a_hostile_manifest_key_is_refused_or_not_in_the_bucket(function: Function, kind: str) -> None:
    key = f"staged/{TEXTS[kind]}.csv"
    status, body, size = function.call({**event("POST", "/batches"), "body": json.dumps({"manifest_key": key})})
    assert (status, body["field"]) == (422, "manifest_key")
    assert size < 3000


@pytest.mark.parametrize("kind", TEXTS)
def test_a_hostile_key_is_refused_or_not_in_the_bucket(function: Function, kind: str) -> None:
    status, body, _ = function.post(json.dumps({"prompt": "x", "image_key": "images/" + TEXTS[kind]}))
    assert (status, body["error"]["field"]) == (422, "image_key")


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("form", ['{"prompt": "x", %s: 1}', '{"prompt": "x", "parameters": {%s: 1}}', "{%s: {}}"])
def test_a_hostile_name_is_shown_shortly(function: Function, form: str, kind: str) -> None:
    status, body, size = function.post(form % json.dumps(TEXTS[kind]))
    assert status in (400, 422)
    assert size < 6000
    assert len(body["error"]["field"]) <= 80


# whole bodies ---------------------------------------------------------------------------------------------------------

BODIES: dict[str, str | None] = {
    "none": None,
    "empty": "",
    "a blank": " ",
    "NUL": "\x00",
    "null": "null",
    "true": "true",
    "a number": "5",
    "a text": '"prompt"',
    "a list": "[]",
    "a list of objects": f"[{GOOD}]",
    "an empty object": "{}",
    "two objects": GOOD + GOOD,
    "lines": GOOD + "\n" + GOOD,
    "something behind": GOOD + "x",
    "a NUL behind": GOOD + "\x00",
    "cut off": GOOD[:-1],
    "only an end": "}",
    "single quotes": "{'prompt': 'x'}",
    "no quotes": "{prompt: x}",
    "a comment": '{"prompt": "x" /* y */}',
    "a comma too many": '{"prompt": "x",}',
    "a prompt twice": '{"prompt": "x", "prompt": "y"}',
    "a prompt twice, escaped": '{"prompt": "x", "pr\\u006fmpt": "y"}',
    "parameters twice": '{"prompt": "x", "parameters": {"duration": 5}, "parameters": {"duration": 10}}',
    "a parameter twice": '{"prompt": "x", "parameters": {"duration": 5, "duration": 10}}',
    "a raw line break": '{"prompt": "a\nb"}',
    "a raw tab": '{"prompt": "a\tb"}',
    "a bad escape": '{"prompt": "\\x"}',
    "half an escape": '{"prompt": "\\u12"}',
    "a raw half": '{"prompt": "\ud800"}',
    "a raw half as a name": '{"\ud800": 1}',
    "half outside": "\ud800",
    "two byte order marks": "\ufeff\ufeff" + GOOD,
    "a form": "prompt=x&model=seedance-pro",
    "multipart": '--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n--b--',
    "XML": '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "YAML": "!!python/object/apply:os.system ['true']",
    "other spaces": "\u00a0" + GOOD,
    "JavaScript": ")]}'\n" + GOOD,
    "deep lists": "[" * DEEP,
    "deep objects": '{"a":' * 40_000,
    "whole deep lists": nested(DEEP),
    "deep within": '{"prompt": "x", "parameters": {"a": ' + nested(900) + "}}",
    "a long name": '{"%s": 1}' % ("x" * 5_500_000),
    "a long value": '{"prompt": "%s"}' % ("x" * 5_500_000),
    "long white space": " " * 5_500_000 + GOOD,
    "long rubbish": "x" * 5_500_000,
    "long brackets": "[" * 5_500_000,
    "long quotes": '"' * 5_500_000,
    "long backslashes": '{"prompt": "' + "\\\\" * 2_000_000 + '"}',
    "long shoes": '{"prompt": "' + "👟" * 1_300_000 + '"}',
    "many names": "{" + ",".join(f'"{number}":1' for number in range(20_000)) + "}",
    "many equal names": "{" + ",".join(['"a":1'] * 30_000) + "}",
    "many commas": "{" + "," * 200_000 + "}",
    "many resembling names": "{" + ",".join(f'"promp{"t" * number}":1' for number in range(2, 500)) + "}",
}


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_is_refused(function: Function, name: str) -> None:
    status, body, size = function.post(BODIES[name])
    assert status in (400, 422)
    assert body["error"]["field"]
    assert size < 2000


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_is_refused_in_base64_too(function: Function, name: str) -> None:
    raw = (BODIES[name] or "").encode(errors="surrogatepass")
    status, *_ = function.post(base64.b64encode(raw).decode(), isBase64Encoded=True)
    assert status in (400, 422)


@pytest.mark.parametrize(
    "body", [GOOD, "\ufeff" + GOOD, " \n" + GOOD + "\r\n", '{"prompt": "👟"}', '{"prompt":"\\u00e9"}']
)
@pytest.mark.parametrize("encoded", [True, False])
def test_a_good_body_is_accepted_with_a_byte_order_mark_and_in_base64(
    function: Function, body: str, *, encoded: bool
) -> None:
    sent = base64.b64encode(body.encode()).decode() if encoded else body
    assert function.post(sent, isBase64Encoded=encoded)[0] == 202


@pytest.mark.parametrize(
    "raw",
    [
        GOOD.encode("utf-16"),
        GOOD.encode("utf-16-le"),
        GOOD.encode("utf-32"),
        '{"prompt": "é"}'.encode("latin-1"),
        gzip.compress(GOOD.encode(), mtime=0),
        b"\xff\xfe\xfd",
        b"\xed\xa0\x80",
        b"\xc0\xaf",
        bytes(range(256)),
        small_png(),
    ],
)
def test_bytes_that_are_no_text_are_refused(function: Function, raw: bytes) -> None:
    status, body, _ = function.post(base64.b64encode(raw).decode(), isBase64Encoded=True)
    assert (status, body["error"]["field"]) == (400, "body")
    # Without binary media types, API Gateway replaces what is no UTF-8.
    status, body, _ = function.post(raw.decode(errors="replace"))
    assert status in (400, 422)


@pytest.mark.parametrize("body", ["%%%", "e30", "e30=e30=", GOOD, "\ud800", "é", "=", " ", "e3\n0=", "A" * 5_500_000])
def test_a_body_that_is_not_the_base64_that_it_claims_is_refused(function: Function, body: str) -> None:
    assert function.post(body, isBase64Encoded=True)[0] == 400


PACKED = {
    "gzip": gzip.compress(GOOD.encode(), mtime=0),
    "deflate": zlib.compress(GOOD.encode()),
    "br": b"\x0b\x07\x80{}\x03",
}


@pytest.mark.parametrize("route", ["/videos", "/estimates", "/pause"])
@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("form", ["base64", "utf-8", "latin-1"])
def test_a_compressed_body_is_refused_in_words(function: Function, route: str, encoding: str, form: str) -> None:
    """API Gateway unpacks bodies or refuses them; emulators pass them on in one of these forms."""
    raw = PACKED[encoding]
    body = base64.b64encode(raw).decode() if form == "base64" else raw.decode(form, errors="replace")
    sent = {"body": body, "isBase64Encoded": form == "base64"}
    given = [{"Content-Encoding": encoding}] + ([{}] if encoding == "gzip" else [])
    for headers in given:
        status, said, _ = function.call({**event("POST", route), **sent, "headers": headers})
        assert (status, said["field"]) == (400, "body")
        assert f"not compressed with {encoding}" in said["detail"]


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("encoded", [True, False])
def test_a_body_that_the_gateway_has_unpacked_is_accepted(function: Function, encoding: str, *, encoded: bool) -> None:
    body = base64.b64encode(GOOD.encode()).decode() if encoded else GOOD
    assert function.post(body, isBase64Encoded=encoded, headers={"content-encoding": encoding})[0] == 202
    empty = {**event("POST", "/pause"), "body": "", "headers": {"content-encoding": encoding}}
    assert function.call(empty)[0] == 200
    function.call(event("POST", "/resume"))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(codec=None, exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from([*BODY_FIELDS, "duration", "seed"])


@given(st.dictionaries(NAMES | st.text(), JSON | st.dictionaries(NAMES, JSON), max_size=5), st.none() | JSON)
def test_any_json_gets_an_answer(function: Function, body: dict[str, Any], header: Any) -> None:
    function.post(json.dumps(body), headers={"Idempotency-Key": header})


@given(st.text(st.characters(codec=None, exclude_categories=())), st.booleans())
def test_any_text_gets_an_answer(function: Function, body: str, encoded: bool) -> None:
    function.post(body, isBase64Encoded=encoded)
