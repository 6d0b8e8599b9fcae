"""Secrets in responses: every way a text may contain the key or a signature, and what must stay readable."""

import json
import logging
from typing import Any
from urllib.parse import quote

import pytest
from seedance import masking
from seedance.masking import KEPT_BYTES, MASK

pytestmark = pytest.mark.hostile(kind="answer", risk="leaked")

KEY = "SG_0123456789abcdef"
SIGNATURE, CREDENTIAL, TOKEN = (
    "5d6e7f" * 10,
    "ASIAEXAMPLE%2F20261126%2Feu-central-1%2Fs3%2Faws4_request",
    "FwoGZXIvYXdz%2B",
)
OBJECT = "https://example-uploads.s3.amazonaws.com/uploads/shoe.png"
SIGNED = (
    f"{OBJECT}?versionId=v1&response-content-disposition=inline%3B%20filename%3D%22up-1%22&X-Amz-Algorithm=AWS4-HMAC"
    f"-SHA256&X-Amz-Credential={CREDENTIAL}&X-Amz-Expires=7200&X-Amz-Security-Token={TOKEN}&X-Amz-Signature={SIGNATURE}"
)
RESULT = f"https://images.segmind.com/v.mp4?X-Amz-Signature={SIGNATURE}"
SECRETS = (SIGNATURE, "ASIAEXAMPLE", "FwoGZXIvYXdz")


def assert_masked(said: str) -> None:
    assert not [secret for secret in (KEY, *SECRETS) if secret in said], said
    assert MASK in said


@pytest.mark.parametrize(
    "said",
    [
        SIGNED,
        f"cannot fetch {SIGNED}, sorry",
        f'<a href="{SIGNED.replace("&", "&amp;")}">',
        json.dumps({"image_url": SIGNED}),
        json.dumps({"image_url": SIGNED}).replace("&", "\\u0026"),
        json.dumps(json.dumps({"image_url": SIGNED})),
        repr({"image_url": SIGNED}),
        f"https://proxy.example/?url={quote(SIGNED, safe='')}",
        f"https://proxy.example/?url={quote(quote(SIGNED, safe=''), safe='')}",
        json.dumps({"query": {"X-Amz-Credential": "ASIAEXAMPLE/2026", "X-Amz-Signature": SIGNATURE}}),
        SIGNED.replace("X-Amz-", "x-amz-"),
        f"{OBJECT}?AWSAccessKeyId=ASIAEXAMPLE&Signature={SIGNATURE}&Expires=1",
        f"{OBJECT}?Expires=1&Key-Pair-Id=K1&Signature={SIGNATURE}",
        f"https://x.blob.example/v?sv=1&sig={SIGNATURE}",
        SIGNED[: -len(SIGNATURE) // 2],
    ],
)
def test_a_signed_link_keeps_its_object_and_loses_its_signature(said: str) -> None:
    masked = masking.signatures(said)
    assert_masked(masked)
    assert "Signature=" not in masked
    assert "shoe.png" in masked or "shoe.png" not in said
    assert masking.signatures(masked) == masked


def test_the_job_id_in_a_link_stays_readable() -> None:
    masked = masking.signatures(SIGNED)
    assert masked.startswith(f"{OBJECT}?versionId=v1&response-content-disposition=inline%3B%20filename%3D%22up-1%22&")
    assert "X-Amz-Expires=7200" in masked


@pytest.mark.parametrize(
    "said",
    ["", "no link", "the signature=ring is missing", "sig=5", f"{OBJECT}?v=1", "a prompt with & and ?", '{"sig": 5}'],
)
def test_other_text_is_unchanged(said: str) -> None:
    assert masking.signatures(said) == said
    assert masking.keys(said, [KEY]) == said


SLASHED = 'k/1"2\\3%456'


@pytest.mark.parametrize("key", [KEY, SLASHED])
@pytest.mark.parametrize(
    "escaped",
    [
        lambda key: key,
        lambda key: quote(key, safe=""),
        lambda key: json.dumps(key)[1:-1],
        lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
        lambda key: "".join(f"\\u{ord(letter):04X}" for letter in key),
        lambda key: "".join(f"%{ord(letter):02x}" for letter in key),
    ],
    ids=["plain", "in a link", "JSON", "JSON of PHP", "by numbers", "all of it in a link"],
)
def test_a_key_is_masked_however_it_is_escaped(key: str, escaped: Any) -> None:
    said = f"Invalid key {escaped(key)}!"
    assert masking.keys(said, ["SG_another_key", key]) == f"Invalid key {MASK}!"
    assert masking.keys(said.encode(), [key]) == f"Invalid key {MASK}!".encode()


def test_a_short_word_is_not_mistaken_for_a_key() -> None:
    assert masking.keys("key: the key", ["key", ""]) == "key: the key"


def test_an_exception_is_masked_including_its_causes(caplog: pytest.LogCaptureFixture) -> None:
    error = OSError("could not send", LookupError(SIGNED))
    error.__cause__ = ValueError(f"illegal header {KEY}", 5)
    masking.scrub(error, [KEY])
    assert_masked(repr(error))
    logging.getLogger("test").error("it broke", exc_info=error)
    assert_masked(caplog.text)


def test_an_exception_that_refers_to_itself_causes_no_endless_loop() -> None:
    error = ValueError(KEY)
    error.__context__ = LookupError()
    error.__context__.__context__ = error
    masking.scrub(error, [KEY])
    assert str(error) == MASK


def kept(said: object) -> str:
    return masking.kept(said, json.dumps(said).encode(), lambda url: url.startswith("https://images.segmind.com/"))


def test_a_kept_response_is_masked_except_links_that_may_be_the_video() -> None:
    text = kept({"output": [RESULT, "https://images.segmind.com/w.mp4"], "request": {"image_url": SIGNED}})
    assert f'"{RESULT}"' in text
    assert text.count(SIGNATURE) == 1
    assert "ASIAEXAMPLE" not in text


def test_a_link_of_ours_inside_an_allowed_one_is_masked() -> None:
    assert_masked(kept({"output": f"https://images.segmind.com/get?from={quote(SIGNED, safe='')}"}))
    assert_masked(kept({"output": f"https://images.segmind.com/get?from={SIGNED}"}))


@pytest.mark.parametrize(
    ("said", "body", "text"),
    [(None, b"<html>", "<html>"), (None, b"\xff\xfe", "��"), ([], b"[ ]", "[]"), ({"a": "ü\ud83d"}, b"", '{"a":"ü?"}')],
)
def test_a_response_of_any_kind_is_kept(said: object, body: bytes, text: str) -> None:
    assert masking.kept(said, body, lambda _: True) == text


@pytest.mark.parametrize("letter", ["x", "ü", "\U0001f600"])
def test_a_kept_response_has_a_maximum_length(letter: str) -> None:
    for said in (None, {"a": letter * KEPT_BYTES}):
        text = masking.kept(said, (letter * KEPT_BYTES).encode(), lambda _: True)
        assert KEPT_BYTES - 4 < len(text.encode()) <= KEPT_BYTES
