"""Limits on a response body before it is parsed: its length, nesting depth and number of values. Pure.

A body is untrusted until it is parsed. A few kilobytes can unpack to gigabytes, a hundred kilobytes of brackets
exhaust the parser's stack, one number of 5000 digits makes a whole response unreadable, and half of a surrogate pair
is a string that can't be stored.
"""

import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

ANSWER_BYTES = 1_000_000
"""For a response about one request. A real one is under 4 KB, most of it the prompt, with up to 5000 characters."""

PAGE_BYTES = 8_000_000
"""For a page of the history: 100 rows of 80 KB each. A row with its prompt is 2 to 10 KB. A function has 512 MB."""

DEEPEST = 64
"""Nesting levels. Documented responses have 4. This keeps the parser and recursive code far from their limits."""

MOST_VALUES = 250_000
"""Commas and brackets. Parsed values take up to 100 times the memory of their text. A history page has about 5000."""

LONGEST_NUMBER = 40
"""Digits. DynamoDB stores 38; Python does not parse more than 4300."""

_STEP_BYTES = 64 * 1024
_STRING = r'"(?:[^"\\]+|\\.?)*+(?:"|\Z)'
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Unreadable(ValueError):
    """The body exceeds a limit or is not in the format that its headers say. The message says which, for people."""


def decoded(chunks: Iterable[bytes], encoding: str, limit: int) -> Iterator[bytes]:
    """The decoded body, from its raw ``chunks`` and its Content-Encoding.

    Raises Unreadable as soon as there are more than ``limit`` bytes; no more than that is held in memory.
    """
    count = 0
    for part in _unpacked(chunks, encoding.strip().lower()):
        count += len(part)
        if count > limit:
            raise Unreadable(f"it is larger than {limit / 1e6:g} MB")
        yield part


def parsed(body: bytes) -> Any:
    """The body as JSON. Numbers that a record can't store become None: NaN, infinities, those with too many digits.

    Raises Unreadable if it is not JSON or exceeds a limit.
    """
    text = body.decode(json.detect_encoding(body), errors="replace")
    brackets = text.count("[") + text.count("{")
    if brackets + text.count(",") > MOST_VALUES:
        raise Unreadable(f"it has more than {MOST_VALUES:,} values")
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
        raise Unreadable(f"it is compressed with {encoding[:40]}, which was not requested")
    unpacker, begun = zlib.decompressobj(_WINDOWS[encoding]), False
    try:
        for chunk in chunks:
            rest, begun = chunk, begun or bool(chunk)
            while rest and not unpacker.eof:  # bytes after the end are not part of the body
                yield unpacker.decompress(rest, _STEP_BYTES)
                rest = unpacker.unconsumed_tail
        while part := unpacker.decompress(unpacker.unconsumed_tail, _STEP_BYTES):
            yield part
    except zlib.error as error:
        raise Unreadable(f"it is not valid {encoding}") from error
    if begun and not unpacker.eof:
        raise Unreadable(f"its {encoding} data is cut off")


def _depth(text: str) -> int:
    """The nesting depth of the brackets outside strings. Takes linear time for any text."""
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
    """The value with each unpaired surrogate, which can't be encoded, replaced by a question mark."""
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case list():
            return [_with_whole_letters(item) for item in value]
        case dict():
            return {_with_whole_letters(name): _with_whole_letters(item) for name, item in value.items()}
    return value
