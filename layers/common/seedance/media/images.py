"""Checks an image file: its type, its size in pixels, and whether it is complete. Pure.

Only headers and the markers between parts are parsed, never pixels. The file is read as a stream and nothing of it is
kept. A file that a decoder would still open passes, such as one with bytes after the image's end.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from seedance.media import whole
from seedance.media.formats import HEAD_BYTES, IMAGE_FORMATS, image_type, other_image

MAX_PIXELS = 178_956_970
"""Above this, Pillow, the usual decoder of services in Python, refuses an image as a decompression bomb
(``Image.DecompressionBombError``). Five times the limit of ByteDance's own API, 6000 x 6000."""

SHORTEST_SIDE = 300
NARROWEST, WIDEST = 0.4, 2.5
"""ByteDance's own limits for a first frame: pixels a side, and width divided by height (Volcengine's and BytePlus'
pages on creating a video task). The provider makes the video there, so it fails after it was queued."""

_CHUNK = 64 * 1024
_MOST_PARTS = 100_000
"""Segments, chunks or bytes between them in a file. Images have at most some thousands; more of them would only cost
time."""


@dataclass(frozen=True)
class Picture:
    """An image: its media type, its stored width and height in pixels, and whether it is shown turned by 90 degrees."""

    media_type: str
    width: int
    height: int
    turned: bool = False
    ended: bool = True
    """Whether the file has its end marker. If not, its picture may be incomplete (see whole)."""

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height as programs show it."""
        return (self.height, self.width) if self.turned else (self.width, self.height)


def check_rest(picture: Picture, body: bytes) -> None:
    """Check a file without its end marker. ``body``: all of it.

    Raises ValueError, with a message that follows the image's name, if a part of the picture is missing, or if that
    can't be told: half of a picture makes a video that nobody wants, but pays for.
    """
    there = whole.is_whole(picture.media_type, body)
    if there is None:
        raise ValueError(
            "has no end marker, and it is unclear whether the picture is complete; save it again with an image program"
        )
    if not there:
        raise CutOff


def check_shape(picture: Picture) -> None:
    """Raises ValueError, with a message that follows the image's name, if ByteDance does not accept the shape."""
    width, height = picture.shown
    if min(width, height) < SHORTEST_SIDE:
        raise ValueError(
            f"is {width} x {height} pixels; each side must have at least {SHORTEST_SIDE}. Use a larger image, "
            "or allow it with the stack parameter AllowUnusualImages"
        )
    if not NARROWEST <= width / height <= WIDEST:
        raise ValueError(
            f"is {width} x {height} pixels; the width may be {NARROWEST} to {WIDEST} times the height. Crop it or "
            "add a margin, or allow it with the stack parameter AllowUnusualImages"
        )


class CutOff(ValueError):
    """The file ends in the middle of the image."""

    def __init__(self) -> None:
        super().__init__("is cut off: it ends in the middle of the image; upload it again")


class Source(Protocol):
    """A stream of bytes, such as a file or a response body."""

    def read(self, amount: int, /) -> bytes:
        """The next bytes, at most ``amount`` of them. Empty at the end."""


def look_through(source: Source, length: int) -> Picture:
    """The image in a source of ``length`` bytes. Reads no further than needed.

    Raises ValueError, with a message that follows the image's name, if it is not an image, cut off, damaged or too
    large.
    """
    bytes_in = _Bytes(source, length)
    head = bytes_in.peek(HEAD_BYTES)
    media_type = image_type(head)
    if media_type is None:
        unknown = f"is not an image by its content; it must be {IMAGE_FORMATS}, whatever its name"
        raise ValueError(other_image(bytes_in.peek(_CHUNK)) or unknown)
    return Picture(media_type, *_LOOKS[media_type](bytes_in))


Look = tuple[int, int, bool, bool]
"""What Picture says: width, height, turned, ended."""


class _Bytes:
    """Reads exact numbers of bytes from a source."""

    def __init__(self, source: Source, length: int) -> None:
        self.length = length
        self._source = source
        self._chunk, self._used = b"", 0
        self._before = 0  # bytes in the earlier chunks
        self._parts = 0

    @property
    def at(self) -> int:
        """The position: how many bytes were taken or skipped."""
        return self._before + self._used

    def next_part(self) -> None:
        """Count a part of the file. Raises ValueError if there are too many."""
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise _damaged(f"it has more than {_MOST_PARTS:,} parts")

    def peek(self, amount: int) -> bytes:
        """Up to ``amount`` of the next bytes, without advancing the position."""
        if len(self._chunk) - self._used < amount:
            self._before, self._chunk, self._used = self.at, self._chunk[self._used :], 0
            while len(self._chunk) < amount and (more := self._source.read(_CHUNK)):
                self._chunk += more
        return self._chunk[self._used : self._used + amount]

    def take(self, amount: int) -> bytes:
        """The next ``amount`` bytes. Raises ValueError if there are fewer."""
        found = self.peek(amount)
        if len(found) < amount:
            raise CutOff
        self._used += amount
        return found

    def skip(self, amount: int) -> None:
        if self.at + amount > self.length:
            raise CutOff
        while amount > 0:
            amount -= len(self.take(min(amount, _CHUNK)))

    def skip_past(self, mark: bytes, *, required: bool = True) -> bool:
        """Skip to the byte after the next ``mark``. Without one: ValueError if it is required, else returns False."""
        while (found := self._chunk.find(mark, self._used)) < 0:
            # The mark's first byte may be the last of this chunk.
            self._used = max(self._used, len(self._chunk) - len(mark) + 1)
            if len(self.peek(len(mark))) < len(mark):
                if required:
                    raise CutOff
                return False
        self._used = found + len(mark)
        return True


def _damaged(what: str) -> ValueError:
    return ValueError(f"is damaged: {what}")


def _sides(width: int, height: int) -> tuple[int, int]:
    """Width and height. Raises ValueError if they are invalid or too large."""
    if width < 1 or height < 1:
        raise _damaged(f"its header gives a size of {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise ValueError(f"is {width:,} x {height:,} pixels; at most {MAX_PIXELS:,} pixels in total are allowed")
    return width, height


def _is_turned(exif: bytes) -> bool:
    """Whether EXIF says that the picture is shown turned by 90 degrees (EXIF 2.32, tag 0x0112, values 5 to 8)."""
    order = "<" if exif[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind = struct.unpack_from(order + "HH", exif, at)
            if tag == 0x0112:
                # It must be a SHORT; some programs write a LONG.
                (value,) = struct.unpack_from(order + ("I" if kind == 4 else "H"), exif, at + 8)
                return bool(5 <= value <= 8)
    except struct.error:
        pass  # readers ignore EXIF that they can't read
    return False


def _jpeg(image: _Bytes) -> Look:
    """Reads the segments up to the image data, then looks for its end (ITU T.81, annex B)."""
    image.take(2)
    sides, turned = None, False
    while True:
        image.next_part()
        image.skip_past(b"\xff")
        while (kind := image.take(1)[0]) == 0xFF:
            image.next_part()
        if kind == 0xD9:
            raise _damaged("it contains no image data")
        if kind in (0x00, 0x01) or 0xD0 <= kind <= 0xD8:
            continue
        (length,) = struct.unpack(">H", image.take(2))
        if length < 2:
            raise _damaged("it has a segment that is shorter than its own length field")
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC) and length >= 7:
            _, height, width = struct.unpack(">BHH", image.take(5))
            sides, length = _sides(width, height), length - 5
        elif kind == 0xE1:
            block, length = image.take(length - 2), 2
            turned = turned or (block.startswith(b"Exif\0\0") and _is_turned(block[6:]))
        image.skip(length - 2)
        if kind == 0xDA:
            break
    if sides is None:
        raise _damaged("it does not contain its size in pixels")
    # In image data 0xFF is never followed by 0xD9. A motion photo's video follows after the end.
    return *sides, turned, image.skip_past(b"\xff\xd9", required=False)


def _png(image: _Bytes) -> Look:
    """Reads all chunks up to IEND (PNG, 3rd edition, section 5)."""
    image.take(8)
    sides, turned, pixels, ended, kind = None, False, False, True, b""
    try:
        while kind != b"IEND":
            image.next_part()
            length, kind = struct.unpack(">I4s", image.take(8))
            pixels = pixels or (kind == b"IDAT" and length > 0)
            if kind == b"IHDR" and length >= 8:
                sides, length = _sides(*struct.unpack(">II", image.take(8))), length - 8
            elif kind == b"eXIf" and length <= _CHUNK:
                turned, length = _is_turned(image.take(length)), 0
            image.skip(length + 4)
    except CutOff:
        if not pixels:
            raise
        ended = False
    if sides is None or not pixels:
        raise _damaged("it contains no image data")
    return *sides, turned, ended


def _webp(image: _Bytes) -> Look:
    """Reads the size in pixels from the first chunk, the length from the container, and EXIF if any (RFC 9649)."""
    turned = False
    _, length, _, kind, size = struct.unpack("<4sI4s4sI", image.take(20))
    if kind == b"VP8X":
        about = image.take(10)
        width, height = (int.from_bytes(about[at : at + 3], "little") + 1 for at in (4, 7))
    elif kind == b"VP8L":
        bits = int.from_bytes(image.take(5)[1:], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        _, width, height = struct.unpack("<6sHH", image.take(10))
        width, height = width & 0x3FFF, height & 0x3FFF  # the upper two bits are a display scale
    else:
        raise _damaged("it contains no image data")
    sides = _sides(width, height)
    if 8 + length > image.length + 1:  # some encoders omit the last byte, which is only padding
        raise CutOff
    if kind == b"VP8X" and about[0] & 0x08 and size >= 10:
        image.skip(min(size - 10 + size % 2, image.length - image.at))
        while image.at + 8 <= image.length:
            image.next_part()
            kind, size = struct.unpack("<4sI", image.take(8))
            if kind == b"EXIF" and size <= _CHUNK:
                turned = _is_turned(image.take(size).removeprefix(b"Exif\0\0"))
                break
            image.skip(min(size + size % 2, image.length - image.at))
    return *sides, turned, True


_LOOKS: dict[str, Callable[[_Bytes], Look]] = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/webp": _webp,
}
