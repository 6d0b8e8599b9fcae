"""What the provider repeats of our secrets, taken out again before anybody stores, tells or logs it. Pure.

Two kinds of secret go to the provider: the API key, in a header of every call, and signed links to the images. An
answer, or an exception that quotes one, may contain either. Host and path of a link stay readable, and so does what
its query says about the object: that is how a job's own link is recognised.
"""

import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import AnyStr

MASK = "***"

SHORTEST_KEY = 8
"""A shorter text is no key; it would also be found in ordinary words. The provider's keys have 19 characters."""

KEPT_BYTES = 16 * 1024
"""What is kept of an answer on a job's record; an item of DynamoDB has 400 KB for everything."""

# Signature Version 4 and 2 of S3, CloudFront, Google Cloud Storage, and Azure's `sig`.
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
    """The text with the parameters that make a link a signed one masked, name and value."""
    for pattern in _signed():
        said = pattern.sub(rf"\1{MASK}", said)
    return said


def keys(said: AnyStr, secret: Iterable[str]) -> AnyStr:
    """The text, or the bytes, with every one of the API keys masked, however it is escaped."""
    for key in secret:
        if len(key) >= SHORTEST_KEY:
            pattern = _pattern(key)
            said = pattern.sub(MASK, said) if isinstance(said, str) else _in_bytes(key).sub(MASK.encode(), said)
    return said


def scrub(error: BaseException, secret: Iterable[str]) -> None:
    """Mask, in place, what an exception says, and those that it came of: a log prints them all."""
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
    """An answer as a job's record keeps it: masked, at most KEPT_BYTES long.

    ``said`` is the body as JSON, None if it is none. The links that are ``allowed`` keep their signatures: one of
    them may be the video.
    """
    if said is None:
        text = body[: 2 * KEPT_BYTES].decode(errors="replace")
    else:
        text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    pieces, end = [], 0
    for link in re.finditer(r"https?://[^\s\"'<>\\]+", text, re.IGNORECASE):
        another = re.search(r"(?::|%(?:25)*3A)(?:/|%(?:25)*2F){2}", link[0][len("https://") :], re.IGNORECASE)
        if allowed(link[0]) and not another:  # which may be ours
            pieces += [signatures(text[end : link.start()]), link[0]]
            end = link.end()
    whole = "".join([*pieces, signatures(text[end:])])
    return whole.encode(errors="replace")[:KEPT_BYTES].decode(errors="ignore")


@cache
def _signed() -> "tuple[re.Pattern[str], ...]":
    """Made when first needed: to compile these takes longer than all the rest of a poll's own start."""
    # In a query the name follows `?` or `&`, plain or escaped for HTML, JSON or another link's query.
    in_a_query = (
        rf"([?&;]|%(?:25)*(?:3F|26)|\\u0026|\\u003f)(?:{_NAMES})(?:=|%(?:25)*3D|\\u003d)"
        r"(?:%(?!(?:25)*26)|(?!\\u0026)[^%&;\s\"'<>])+"
    )
    in_an_object = rf"((?:\\*[\"'])(?:{_NAMES})\\*[\"']\s*[:=]\s*\\*[\"'])[^\"'\\]+"
    return re.compile(in_a_query, re.IGNORECASE), re.compile(in_an_object, re.IGNORECASE)


@cache
def _pattern(key: str) -> "re.Pattern[str]":
    # Every character as it is, or escaped for a link, for JSON by its number, or for JSON by a backslash.
    escaped = ((re.escape(letter), ord(letter)) for letter in key)
    return re.compile("".join(rf"(?:{one}|%(?i:{number:02x})|\\u(?i:{number:04x})|\\{one})" for one, number in escaped))


@cache
def _in_bytes(key: str) -> "re.Pattern[bytes]":
    return re.compile(_pattern(key).pattern.encode())
