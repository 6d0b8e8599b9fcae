"""A manifest's bytes as lines of text, within limits. Pure."""

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain

from seedance.errors import InvalidRequest

MAX_BYTES = 500 * 1024 * 1024
MAX_LINE_BYTES = 1024 * 1024

_HEAD_BYTES = 1024
_ENOUGH_NULS = 4
"""The name of a column, such as image, has that many letters. In UTF-16 each of them has a NUL byte; UTF-8 has none."""


def too_large() -> InvalidRequest:
    """The refusal of a manifest of more than MAX_BYTES."""
    return InvalidRequest("manifest", f"is larger than {MAX_BYTES // 1024 // 1024} MB; split it")


class LongLine(InvalidRequest):
    """A line is too long to be read."""


class Lines:
    """The file's lines. ``number`` is the line number of the last line returned."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.number = 0
        self._notes: list[str] = []
        self._fault: InvalidRequest | None = None
        self._raw = _split(self._utf8(chunks))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = next(self._raw)
        self.number += 1
        if self.number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if len(raw) > MAX_LINE_BYTES:
            raise LongLine(f"line {self.number}", f"is longer than {MAX_LINE_BYTES // 1024} KB")
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            # Commas and quotes are the same in all common encodings, so the other rows can be read.
            said = f"is not UTF-8 (byte 0x{raw[error.start]:02x}); save the file as UTF-8"
            self._fault = self._fault or InvalidRequest(f"line {self.number}", said)
            return raw.decode(errors="replace")

    def fault(self) -> InvalidRequest | None:
        """What was wrong with the lines since the last call."""
        fault, self._fault = self._fault, None
        return fault

    def note(self, text: str) -> None:
        """Remember something about the whole file."""
        self._notes.append(text)

    def noted(self) -> tuple[str, ...]:
        """What was noted since the last call."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def _utf8(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The file as UTF-8, if it is UTF-16; other files are returned unchanged."""
        pieces, head = iter(chunks), b""
        while b"\n" not in head and len(head) < _HEAD_BYTES and (piece := next(pieces, None)) is not None:
            head += piece
        encoding = _utf16(head[:_HEAD_BYTES])
        if encoding is None:
            yield from chain([head], pieces)
            return
        self.note("The file is UTF-16 and was read as such")
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            for piece in chain([head], pieces):
                yield decoder.decode(piece).encode()
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise InvalidRequest("manifest", "is damaged UTF-16; save the file as UTF-8") from None


def _utf16(head: bytes) -> str | None:
    """The encoding of a file that begins like this, if it is UTF-16, with or without a byte order mark."""
    if head.startswith(codecs.BOM_UTF32_LE):
        raise InvalidRequest("line 1", "is UTF-32; save the file as UTF-8")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    line = head.partition(b"\n")[0]
    even, odd = line[::2].count(0), line[1::2].count(0)
    if max(even, odd) < _ENOUGH_NULS or 2 * min(even, odd) > max(even, odd):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    size, rest = 0, b""
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_BYTES:
            raise too_large()
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
        rest = rest[: MAX_LINE_BYTES + 1]  # the caller will refuse a longer line, so the rest of it is not kept
    if rest:
        yield rest
