"""Masks our secrets in text from the provider before it is stored, sent or logged. Pure.

Two kinds of secrets are sent to the provider: the API key, in a header of every call, and signed links to the images.
A response, or an exception that quotes one, may contain either. The host and path of a link stay readable, and so do
the parts of its query that describe the object: by these a job's own link is recognised.
"""

import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import AnyStr

MASK = "***"

SHORTEST_KEY = 8
"""A shorter text is not a key and would also match parts of ordinary words. The provider's keys have 19 characters."""

KEPT_BYTES = 16 * 1024
"""How much of a response is kept on a job's record. A DynamoDB item is limited to 400 KB in total."""

# The query parameters of Signature Version 4 and 2 of S3, of CloudFront, Google Cloud Storage, and Azure (`sig`).
_NAMES = "|".join(
    (
        "X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)",
        "AWSAccessKeyId",
        "GoogleAccessId",
        "Signature",
        "Key-Pair-Id",
        "Policy",
        "sig",
    )
)


def signatures(said: str) -> str:
    """The text with the signature parameters of links masked, name and value."""
    for pattern in _signed():
        said = pattern.sub(rf"\1{MASK}", said)
    return said


def keys(said: AnyStr, secret: Iterable[str]) -> AnyStr:
    """The text or bytes with every API key masked, however it is escaped."""
    for key in secret:
        if len(key) >= SHORTEST_KEY:
            pattern = _pattern(key)
            said = pattern.sub(MASK, said) if isinstance(said, str) else _in_bytes(key).sub(MASK.encode(), said)
    return said


def scrub(error: BaseException, secret: Iterable[str]) -> None:
    """Mask the messages of an exception and of its causes, in place, because a log prints all of them."""
    secret = tuple(secret)
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__, *(arg for arg in one.args if isinstance(arg, BaseException))]
        one.args = tuple(signatures(keys(arg, secret)) if isinstance(arg, str) else arg for arg in one.args)


def kept(said: object, body: bytes, allowed: Callable[[str], bool]) -> str:
    """A response for a job's record: masked, and at most KEPT_BYTES long.

    ``said`` is the body as JSON, None if it is not JSON. Links that are ``allowed`` keep their signatures, because
    one of them may be the video.
    """
    if said is None:
        text = body[: 2 * KEPT_BYTES].decode(errors="replace")
    else:
        text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    pieces, end = [], 0
    for link in re.finditer(r"https?://[^\s\"'<>\\]+", text, re.IGNORECASE):
        another = re.search(r"(?::|%(?:25)*3A)(?:/|%(?:25)*2F){2}", link[0][len("https://") :], re.IGNORECASE)
        if allowed(link[0]) and not another:  # a link inside this one may be ours
            pieces += [signatures(text[end : link.start()]), link[0]]
            end = link.end()
    whole = "".join([*pieces, signatures(text[end:])])
    return whole.encode(errors="replace")[:KEPT_BYTES].decode(errors="ignore")


@cache
def _signed() -> "tuple[re.Pattern[str], ...]":
    """Compiled when first needed, because that takes longer than the rest of our code in a poll's cold start."""
    # In a query the name follows `?` or `&`, plain or escaped for HTML, for JSON or for the query of another link.
    in_a_query = (
        rf"([?&;]|%(?:25)*(?:3F|26)|\\u0026|\\u003f)(?:{_NAMES})(?:=|%(?:25)*3D|\\u003d)"
        r"(?:%(?!(?:25)*26)|(?!\\u0026)[^%&;\s\"'<>])+"
    )
    # Each run of backslashes is read once: from every one of them to the end, a MB of them would take hours.
    in_an_object = rf"((?:(?<!\\)\\*+[\"'])(?:{_NAMES})\\*+[\"']\s*[:=]\s*\\*[\"'])[^\"'\\]+"
    return re.compile(in_a_query, re.IGNORECASE), re.compile(in_an_object, re.IGNORECASE)


@cache
def _pattern(key: str) -> "re.Pattern[str]":
    # Every character as it is, or escaped for a link, for JSON by its code, or for JSON by a backslash.
    escaped = ((re.escape(letter), ord(letter)) for letter in key)
    return re.compile("".join(rf"(?:{one}|%(?i:{number:02x})|\\u(?i:{number:04x})|\\{one})" for one, number in escaped))


@cache
def _in_bytes(key: str) -> "re.Pattern[bytes]":
    return re.compile(_pattern(key).pattern.encode())
