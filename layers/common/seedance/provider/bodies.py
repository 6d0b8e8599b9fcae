"""Unpacks a response body, and limits it before it is parsed: its length, nesting depth and number of values. Pure.

A body is untrusted until it is parsed. A few kilobytes can unpack to gigabytes, a hundred kilobytes of brackets
exhaust the parser's stack, one number of 5000 digits makes a whole response unreadable, and half of a surrogate pair
is a string that can't be stored.
"""

import itertools
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

LAYERS = 2
"""How many times a body may be compressed: by the server, and once more by a proxy in front of it."""

_STEP_BYTES = 64 * 1024
_PIECE_BYTES = 16 * 1024
_STRING = r'"(?:[^"\\]+|\\.?)*+(?:"|\Z)'
_GZIP = b"\x1f\x8b\x08"
_PLAIN = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*[\[{\"<]|.{4}(?:ftyp|styp|moov|moof|mdat|free|skip|wide|uuid|pnot)", re.DOTALL
)
"""How JSON, a web page and a video begin. No gzip, zlib or Brotli data that contains them begins like that."""


class Unreadable(ValueError):
    """The body exceeds a limit or is not in the format that its headers say. The message says which, for people."""


def decoded(chunks: Iterable[bytes], encoding: str, limit: int) -> Iterator[bytes]:
    """The body without compression, from its raw ``chunks`` and its Content-Encoding.

    Its first bytes decide, because the header can be missing or wrong: gzip is unpacked in any case, and what begins
    like JSON or a video is passed on in any case. Raises Unreadable as soon as there are more than ``limit`` bytes,
    packed or unpacked; no more than that is held in memory.
    """
    names = encoding.lower().replace(",", " ").split()
    for layer in range(LAYERS + 1):
        head, chunks = begun(_within(chunks, limit))
        gzipped = head.startswith(_GZIP)
        if not gzipped and ("deflate" not in names or not head or _PLAIN.match(head)):
            break
        if layer == LAYERS:
            raise Unreadable(f"it is compressed more than {LAYERS} times")
        name = "gzip" if gzipped else "deflate"
        names = [other for other in names if other.removeprefix("x-") != name]
        chunks = _unpacked(chunks, name, _window(head))
    unknown = next((name for name in names if name not in ("identity", "none", "aws-chunked")), None)
    if unknown and head and not _PLAIN.match(head):
        if unknown.removeprefix("x-") == "gzip":
            raise Unreadable("it is not valid gzip")
        raise Unreadable(f"it is compressed with {unknown[:40]}, which was not requested")
    yield from chunks


def begun(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, at least eight if there are as many, and all chunks."""
    head = b""
    while len(head) < 8 and (part := next(chunks, None)) is not None:
        head += part
    return head, itertools.chain([head], chunks)


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


def _within(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    count = 0
    for part in chunks:
        count += len(part)
        if count > limit:
            raise Unreadable(f"it is larger than {limit / 1e6:g} MB")
        yield part


def _window(head: bytes) -> int:
    """zlib's parameter for compressed data: with the header of gzip, with that of zlib, or without any."""
    if head.startswith(_GZIP):
        return 16 + zlib.MAX_WBITS
    # "deflate" means zlib data (RFC 9110, section 8.4.1.2), but some servers leave out its header.
    with_header = head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if with_header else -zlib.MAX_WBITS


def _unpacked(chunks: Iterable[bytes], name: str, window: int) -> Iterator[bytes]:
    unpacker, waiting = zlib.decompressobj(window), b""
    try:
        for chunk in chunks:
            for at in range(0, len(chunk), _PIECE_BYTES):
                rest, waiting = waiting + chunk[at : at + _PIECE_BYTES], b""
                while rest:
                    if unpacker.eof:
                        if window < 16 or not (_GZIP.startswith(rest) or rest.startswith(_GZIP)):
                            return  # bytes after the end are not part of the body
                        if len(rest) < len(_GZIP):
                            waiting = rest
                            break
                        unpacker = zlib.decompressobj(window)  # gzip data may have several members (RFC 1952)
                    yield unpacker.decompress(rest, _STEP_BYTES)
                    rest = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
        while part := unpacker.decompress(unpacker.unconsumed_tail, _STEP_BYTES):
            yield part
    except zlib.error as error:
        raise Unreadable(f"it is not valid {name}") from error
    if not unpacker.eof:
        raise Unreadable(f"its {name} data is cut off")


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
