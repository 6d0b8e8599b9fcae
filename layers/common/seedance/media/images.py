"""What an image's bytes say of it: its type, its size in pixels, and whether they are all there. Pure.

Only headers and the marks between the parts are read, never a pixel; a stream is taken as it comes and nothing
of it is kept. What a decoder would still open passes: bytes behind the image's end, a GIF without its last byte.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from seedance.media.formats import HEAD_BYTES, IMAGE_FORMATS, image_type

MAX_PIXELS = 178_956_970
"""Above this Pillow, the usual decoder of a service in Python, takes an image for a decompression bomb and
refuses it (``Image.DecompressionBombError``). Five times what ByteDance's own API takes, 6000 x 6000."""

_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Picture:
    """An image: its media type, and its width and height in pixels."""

    media_type: str
    width: int
    height: int


class Source(Protocol):
    """Bytes to be read one after the other, such as a file or the body of an answer."""

    def read(self, amount: int, /) -> bytes:
        """The next bytes, at most ``amount`` of them; none at the end."""


def look_through(source: Source, length: int) -> Picture:
    """The image that a source of ``length`` bytes holds. Reads no further than needed to know.

    Raises ValueError, worded to follow the image's name, when it is no image, cut off, damaged or too large.
    """
    bytes_in = _Bytes(source, length)
    media_type = image_type(bytes_in.peek(HEAD_BYTES))
    if media_type is None:
        raise ValueError(f"is not an image by its content; it must be {IMAGE_FORMATS}, whatever its name")
    width, height = _LOOKS[media_type](bytes_in)
    return Picture(media_type, width, height)


class _Bytes:
    """A source, read by exact numbers of bytes."""

    def __init__(self, source: Source, length: int) -> None:
        self.length = length
        self._source = source
        self._chunk, self._used = b"", 0
        self._before = 0  # bytes of the chunks before this one

    @property
    def at(self) -> int:
        """How many bytes were taken or skipped."""
        return self._before + self._used

    def peek(self, amount: int) -> bytes:
        """Up to ``amount`` of the next bytes, which are not used up."""
        if len(self._chunk) - self._used < amount:
            self._before, self._chunk, self._used = self.at, self._chunk[self._used :], 0
            while len(self._chunk) < amount and (more := self._source.read(_CHUNK)):
                self._chunk += more
        return self._chunk[self._used : self._used + amount]

    def take(self, amount: int) -> bytes:
        """The next bytes, all of them."""
        found = self.peek(amount)
        if len(found) < amount:
            raise _cut_off()
        self._used += amount
        return found

    def skip(self, amount: int) -> None:
        if self.at + amount > self.length:
            raise _cut_off()
        while amount:
            amount -= len(self.take(min(amount, _CHUNK)))

    def skip_past(self, mark: bytes) -> None:
        """To behind the next ``mark``."""
        while (found := self._chunk.find(mark, self._used)) < 0:
            # Its first byte may be the chunk's last.
            self._used = max(self._used, len(self._chunk) - len(mark) + 1)
            if len(self.peek(len(mark))) < len(mark):
                raise _cut_off()
        self._used = found + len(mark)


def _cut_off() -> ValueError:
    return ValueError("is cut off: it ends in the middle of the image; upload it again")


def _damaged(what: str) -> ValueError:
    return ValueError(f"is damaged: {what}")


def _sides(width: int, height: int) -> tuple[int, int]:
    """Width and height, if anybody can be asked to open such an image."""
    if width < 1 or height < 1:
        raise _damaged(f"it says that it is {width} x {height} pixels large")
    if width * height > MAX_PIXELS:
        raise ValueError(f"is {width:,} x {height:,} pixels large; at most {MAX_PIXELS:,} in all are allowed")
    return width, height


def _jpeg(image: _Bytes) -> tuple[int, int]:
    """Segments up to the picture's data, then its end (ITU T.81, annex B)."""
    image.take(2)
    sides = None
    while True:
        image.skip_past(b"\xff")
        while (kind := image.take(1)[0]) == 0xFF:
            pass
        if kind == 0xD9:
            raise _damaged("it has no picture in it")
        if kind in (0x00, 0x01) or 0xD0 <= kind <= 0xD8:
            continue
        (length,) = struct.unpack(">H", image.take(2))
        if length < 2:
            raise _damaged("it has a segment that is shorter than its own length")
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC) and length >= 7:
            _, height, width = struct.unpack(">BHH", image.take(5))
            sides, length = _sides(width, height), length - 5
        image.skip(length - 2)
        if kind == 0xDA:
            break
    if sides is None:
        raise _damaged("it does not say how large it is")
    # In a picture's data 0xFF is always followed by something else, and a phone's video comes behind the end.
    image.skip_past(b"\xff\xd9")
    return sides


def _png(image: _Bytes) -> tuple[int, int]:
    """All chunks up to IEND (PNG, 3rd edition, section 5)."""
    image.take(8)
    sides, has_data = None, False
    while True:
        length, kind = struct.unpack(">I4s", image.take(8))
        if kind == b"IHDR" and length >= 8:
            sides, length = _sides(*struct.unpack(">II", image.take(8))), length - 8
        has_data = has_data or kind == b"IDAT"
        image.skip(length + 4)
        if kind == b"IEND":
            break
    if sides is None or not has_data:
        raise _damaged("it has no picture in it")
    return sides


def _webp(image: _Bytes) -> tuple[int, int]:
    """The first chunk says the size, the container the length (RFC 9649)."""
    _, length, _, kind, _ = struct.unpack("<4sI4s4sI", image.take(20))
    if kind == b"VP8X":
        about = image.take(10)
        width, height = (int.from_bytes(about[at : at + 3], "little") + 1 for at in (4, 7))
    elif kind == b"VP8L":
        bits = int.from_bytes(image.take(5)[1:], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        _, width, height = struct.unpack("<6sHH", image.take(10))
        width, height = width & 0x3FFF, height & 0x3FFF  # the upper two bits are a scale for showing it
    else:
        raise _damaged("it has no picture in it")
    sides = _sides(width, height)
    if 8 + length > image.length + 1:  # some encoders leave the last byte, which only fills up, away
        raise _cut_off()
    return sides


def _gif(image: _Bytes) -> tuple[int, int]:
    """Blocks up to the end of the first frame, the one that is used (GIF89a, section 12)."""
    _, width, height, flags, _ = struct.unpack("<6sHHBH", image.take(13))
    image.skip(_palette(flags))
    while (kind := image.take(1)) != b",":
        if kind == b";":
            raise _damaged("it has no picture in it")
        if kind == b"!":
            image.take(1)
            _skip_blocks(image)
    left, top, frame_width, frame_height, flags = struct.unpack("<HHHHB", image.take(9))
    sides = _sides(max(width, left + frame_width), max(height, top + frame_height))
    image.skip(_palette(flags) + 1)
    _skip_blocks(image)
    return sides


def _palette(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(image: _Bytes) -> None:
    while size := image.take(1)[0]:
        image.skip(size)


def _bmp(image: _Bytes) -> tuple[int, int]:
    """Its header, and for plain pixels how many bytes they need (Microsoft's BITMAPINFOHEADER)."""
    (start,) = struct.unpack("<10xI", image.take(14))
    (header,) = struct.unpack("<I", image.take(4))
    if header == 12:
        width, height, _, bits = struct.unpack("<HHHH", image.take(8))
        packed = 0
    else:
        width, height, _, bits, packed = struct.unpack("<iiHHI", image.take(16))
        packed = packed if header >= 40 else -1  # a shorter one does not have it
    sides = _sides(width, abs(height))  # a negative height: the first row is the top one
    row = (width * bits + 31) // 32 * 4
    needed = start + row * (abs(height) - 1) + (width * bits + 7) // 8
    if packed in (0, 3) and needed > image.length:  # 0 and 3: pixels as they are
        raise _cut_off()
    return sides


def _tiff(image: _Bytes) -> tuple[int, int]:
    """The first directory, wherever it stands, and a picture in one piece (TIFF 6.0, section 2)."""
    order = "<" if image.take(4)[:2] == b"II" else ">"
    (start,) = struct.unpack(order + "I", image.take(4))
    if start < image.at:
        raise _damaged("its directory stands inside its header")
    image.skip(start - image.at)
    (entries,) = struct.unpack(order + "H", image.take(2))
    found: dict[int, int] = {}
    for _ in range(entries):
        tag, kind, count, value = struct.unpack(order + "HHI4s", image.take(12))
        if count == 1 and kind in (3, 4):
            found[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), value)[0]
    if 256 not in found or 257 not in found:
        raise _damaged("it does not say how large it is")
    sides = _sides(found[256], found[257])
    if found.get(273, 0) + found.get(279, 0) > image.length:
        raise _cut_off()
    return sides


_LOOKS: dict[str, Callable[[_Bytes], tuple[int, int]]] = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/webp": _webp,
    "image/gif": _gif,
    "image/bmp": _bmp,
    "image/tiff": _tiff,
}
