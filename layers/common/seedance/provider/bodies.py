"""An answer's body, before anything in it is believed: how long, how deep and how many values it may be. Pure.

A body is hostile until it is parsed. A few kilobytes can unpack to gigabytes, a hundred kilobytes of brackets
exhaust the parser's stack, one number of 5000 digits makes a whole answer unreadable, and half an emoji is a string
that nothing can store.
"""

import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

ANSWER_BYTES = 1_000_000
"""For an answer about one request. A real one is under 4 KB; the longest part is a prompt of some thousand letters."""

PAGE_BYTES = 8_000_000
"""For a page of the history: 100 rows of 80 KB each. A row with its prompt is 2 to 10 KB. A function has 512 MB."""

DEEPEST = 64
"""Levels of brackets. Documented answers have 4; the parser and all recursive readers stay far from their limits."""

MOST_VALUES = 250_000
"""Commas and brackets. A parsed value takes up to 100 times its text; a page of the history has about 5000."""

LONGEST_NUMBER = 40
"""Digits. DynamoDB stores 38; Python refuses more than 4300."""

_STEP_BYTES = 64 * 1024
_STRING = r'"(?:[^"\\]+|\\.?)*+(?:"|\Z)'
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Unreadable(ValueError):
    """The body is more than we read, or not what it says that it is. The message says why, for people."""


def decoded(chunks: Iterable[bytes], encoding: str, limit: int) -> Iterator[bytes]:
    """A body as it was meant, from its ``chunks`` as they come and its Content-Encoding.

    Raises Unreadable once there are more than ``limit`` bytes, having held no more than that.
    """
    count = 0
    for part in _unpacked(chunks, encoding.strip().lower()):
        count += len(part)
        if count > limit:
            raise Unreadable(f"it is longer than {limit / 1e6:g} MB")
        yield part


def parsed(body: bytes) -> Any:
    """A body as JSON. What no record can hold is None: NaN, infinities, numbers of more digits than it makes sense.

    Raises Unreadable when it is not JSON, or too much of it.
    """
    text = body.decode(json.detect_encoding(body), errors="replace")
    brackets = text.count("[") + text.count("{")
    if brackets + text.count(",") > MOST_VALUES:
        raise Unreadable(f"it has more than {MOST_VALUES} values")
    if brackets > DEEPEST and _depth(text) > DEEPEST:
        raise Unreadable(f"it is nested more than {DEEPEST} levels deep")
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=lambda _: None)
    except ValueError as error:
        raise Unreadable("it is not JSON") from error
    return _with_whole_letters(value) if re.search(r"\\u[dD][89a-fA-F]", text) else value


def _unpacked(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    if encoding in ("", "identity"):
        yield from chunks
        return
    if encoding not in _WINDOWS:
        raise Unreadable(f"it is compressed with {encoding[:40]}, which was not asked for")
    unpacker, begun = zlib.decompressobj(_WINDOWS[encoding]), False
    try:
        for chunk in chunks:
            rest, begun = chunk, begun or bool(chunk)
            while rest and not unpacker.eof:  # what comes after the end is not part of the body
                yield unpacker.decompress(rest, _STEP_BYTES)
                rest = unpacker.unconsumed_tail
        while part := unpacker.decompress(unpacker.unconsumed_tail, _STEP_BYTES):
            yield part
    except zlib.error as error:
        raise Unreadable(f"it is not the {encoding} that it says") from error
    if begun and not unpacker.eof:
        raise Unreadable(f"its {encoding} breaks off")


def _depth(text: str) -> int:
    """How deep the brackets outside of strings go. Linear in the text, whatever is in it."""
    deepest = depth = 0
    for bracket in re.findall(r"[\[{\]}]", re.sub(_STRING, "", text, flags=re.DOTALL)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= LONGEST_NUMBER else None


def _number(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _with_whole_letters(value: Any) -> Any:
    """The value with a question mark for each half of a surrogate pair, which no encoding can write."""
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case list():
            return [_with_whole_letters(item) for item in value]
        case dict():
            return {_with_whole_letters(name): _with_whole_letters(item) for name, item in value.items()}
    return value
