"""A manifest's bytes as lines of text, within limits. Pure."""

from collections.abc import Iterable, Iterator

from seedance.errors import InvalidRequest

MAX_BYTES = 500 * 1024 * 1024
MAX_LINE_BYTES = 1024 * 1024


def too_large() -> InvalidRequest:
    """The refusal of a manifest of more than MAX_BYTES."""
    return InvalidRequest("manifest", f"is larger than {MAX_BYTES // 1024 // 1024} MB; split it")


class LongLine(InvalidRequest):
    """A line is too long to be read."""


class Lines:
    """The file's lines as text. ``number`` is the line number of the last line returned."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.number = 0
        self._fault: InvalidRequest | None = None
        self._raw = _split(chunks)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = next(self._raw)
        self.number += 1
        if self.number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise InvalidRequest("line 1", "is UTF-16; save the file as UTF-8")
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
