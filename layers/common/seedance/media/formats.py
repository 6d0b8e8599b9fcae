"""What bytes are: images by their first bytes, an MP4 by its boxes. Pure."""

import struct

IMAGE_FORMATS = "JPEG, PNG, WebP, GIF, BMP or TIFF"
MAX_IMAGE_BYTES = 30 * 1024 * 1024
"""Largest image we take, 30 MB: the limit that ByteDance's own Seedance API states for an input image."""

HEAD_BYTES = 64
"""How many first bytes ``image_type`` wants to see."""


def image_type(head: bytes) -> str | None:
    """The media type of an image by its signature, or None when it is none of IMAGE_FORMATS.

    Signatures as in the WHATWG MIME Sniffing standard, and TIFF 6.0 section 2 for TIFF. The name's
    extension and the declared content type are not asked: both are whatever the uploader said.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head[:4] == b"RIFF" and head[8:14] == b"WEBPVP":
        return "image/webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith((b"II*\x00", b"MM\x00*")):
        return "image/tiff"
    # Two letters alone would match prose: the header's reserved words must be zero as well.
    if head.startswith(b"BM") and len(head) >= 14 and head[6:10] == b"\0\0\0\0":
        return "image/bmp"
    return None


class Mp4Check:
    """Walks an MP4's top-level boxes as its bytes go by, keeping nothing but a header.

    A file is whole when it begins with ``ftyp``, has ``moov`` and ``mdat`` (or fragments), and its last
    box ends where the file does: that finds a cut-off file even where no length was announced
    (ISO/IEC 14496-12, section 4.2).
    """

    def __init__(self) -> None:
        self._header = b""
        self._skip = 0  # bytes of the current box still to come
        self._to_the_end = False  # a box of size 0 reaches to the end of the file
        self._seen: list[bytes] = []

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes. Raises ValueError as soon as they can't be an MP4."""
        view = memoryview(data)
        while view and not self._to_the_end:
            if self._skip:
                step = min(self._skip, len(view))
                self._skip -= step
                view = view[step:]
                continue
            wanted = 16 if self._header[:4] == b"\0\0\0\1" else 8
            step = min(wanted - len(self._header), len(view))
            self._header += bytes(view[:step])
            view = view[step:]
            if len(self._header) == wanted and not (wanted == 8 and self._header[:4] == b"\0\0\0\1"):
                self._open_box()

    def _open_box(self) -> None:
        size, kind = struct.unpack(">I4s", self._header[:8])
        if size == 1:
            size = struct.unpack(">Q", self._header[8:])[0]
        if not self._seen and kind != b"ftyp":
            raise ValueError(f"it does not begin like an MP4 but with {self._header[:8]!r}")
        if size != 0 and size < len(self._header):
            raise ValueError("it has a box that is smaller than its own header")
        self._seen.append(kind)
        self._skip = size - len(self._header) if size else 0
        self._to_the_end = size == 0
        self._header = b""

    def finish(self) -> None:
        """Say that that was all. Raises ValueError when it was not a whole MP4."""
        if not self._seen:
            raise ValueError("it is empty")
        if self._skip or self._header:
            raise ValueError(f"it is cut off, {self._skip or 'some'} bytes before the end")
        if b"moov" not in self._seen or not {b"mdat", b"moof"} & set(self._seen):
            raise ValueError("it has no pictures in it")
