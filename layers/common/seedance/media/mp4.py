"""Checks that a stream of bytes is a complete MP4, by its boxes at the top level (ISO/IEC 14496-12, section 4.2). Pure.

The contents of boxes are not read, and no list of boxes is kept: the check needs the same memory for every file.
"""

import struct

_HEADER = struct.Struct(">I4s")
_EMPTY = 8
"""The size of a box without contents: its size and its kind, four bytes each."""

_NEEDED = frozenset({b"moov", b"mdat", b"moof"})
"""The boxes with the pictures and their index."""

_UNFINISHED = _NEEDED | {b"styp", b"sidx", b"ssix", b"prft", b"emsg"}
"""If one of these is cut off, a part of the video is missing: itself, or the fragment that it introduces."""

_FIRST = _UNFINISHED | {b"ftyp", b"pdin", b"free", b"skip", b"wide", b"uuid", b"pnot"}
"""What a file may begin with. A QuickTime file needs no ``ftyp``, and may begin with a filler (``wide``)."""


class Mp4Check:
    """Checks an MP4 while its bytes are streamed.

    A file is complete if it has ``moov`` and ``mdat`` (or fragments), and its last box ends where the file ends. This
    detects a cut-off file even without a Content-Length.
    """

    def __init__(self) -> None:
        self._held = b""  # the beginning of a header that continues in the next bytes
        self._skip = 0  # remaining bytes of the current box
        self._kind = b""  # of the current box
        self._seen: set[bytes] = set()  # which of _NEEDED
        self._over = False  # no box follows

    def feed(self, data: bytes | memoryview) -> None:
        """Check the next bytes. Raises ValueError as soon as they can't be an MP4."""
        if self._over or self._skip >= len(data):
            self._skip = max(0, self._skip - len(data))
            return
        at, self._skip = self._skip, 0
        if self._held:
            data, self._held = self._held + bytes(data), b""
        at = self._walk(data, at)
        if not self._over:
            self._skip, self._held = max(0, at - len(data)), bytes(data[at:])

    def finish(self, *, framed: bool = False) -> None:
        """Call this after the last bytes. Raises ValueError if they were not a complete MP4.

        ``framed``: all bytes of the file have certainly arrived. Then bytes behind the video are accepted, because
        players ignore them. Otherwise they may be the beginning of another part of the video.
        """
        if not self._kind:
            raise ValueError(f"it is cut off, after {len(self._held)} bytes" if self._held else "it is empty")
        if self._skip or self._held:
            last = self._held[4:8] if self._held else self._kind
            if not framed or not self._has_video or last in _UNFINISHED:
                raise ValueError(f"it is cut off, {self._skip or 'some'} bytes before the end")
        if not self._has_video:
            raise ValueError("it contains no video data")

    @property
    def _has_video(self) -> bool:
        return b"moov" in self._seen and bool(self._seen & {b"mdat", b"moof"})

    def _walk(self, data: bytes | memoryview, at: int) -> int:
        """Follow the boxes from a header on. Returns where the next one begins, or one that is not complete yet."""
        # Written for speed: the loop runs 130,000 times for a MB of empty boxes (benchmarks/walkers.py).
        unpack, end, kind = _HEADER.unpack_from, len(data) - _EMPTY, self._kind
        if not kind and at <= end:
            kind = bytes(data[at + 4 : at + 8])
            if kind not in _FIRST:
                raise ValueError(f"it does not begin like an MP4 but with {bytes(data[at : at + 8])!r}")
        while at <= end:
            size, kind = unpack(data, at)
            if size <= _EMPTY:
                if size == _EMPTY:
                    at += size
                    continue
                if size == 1:
                    if at + 16 > len(data):
                        break
                    size = int.from_bytes(data[at + 8 : at + 16], "big")
                    if size == 16:
                        at += size
                        continue
                self._over = size < 16  # 0: the box extends to the end of the file
                if size and self._over and not self._has_video:
                    raise ValueError("it has a box that is smaller than its own header")
            if kind in _NEEDED:
                self._seen.add(kind)
            if self._over:
                break
            at += size
        self._kind = kind
        return at
