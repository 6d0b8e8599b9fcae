"""Recognises file formats: images by their first bytes, an MP4 by its boxes. Pure."""

import struct

IMAGE_FORMATS = "JPEG, PNG or WebP"
MAX_IMAGE_BYTES = 30 * 1024 * 1024
"""The largest accepted image, 30 MB: the limit that ByteDance's own Seedance API states for an input image."""

HEAD_BYTES = 64
"""The number of first bytes that ``image_type`` and ``other_image`` need."""

_CAMERA = "On an iPhone, choose Settings > Camera > Formats > Most Compatible"
_BRANDS = {
    "HEIC": ((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), _CAMERA),
    "AVIF": ((b"avif", b"avis"), ""),
    "camera RAW": ((b"crx ",), ""),
}
_OTHERS = {
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    # Most cameras' raw formats (DNG, NEF, ARW, CR2, ORF, RW2) begin as a TIFF does, or nearly so.
    "TIFF or camera RAW": (b"II*\0", b"MM\0*", b"IIRO", b"IIRS", b"IIU\0", b"FUJIFILMCCD-RAW", b"II+\0", b"MM\0+"),
    "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
}


def image_type(head: bytes) -> str | None:
    """The media type of an image by its signature, or None if it is not one of IMAGE_FORMATS.

    The signatures are from the WHATWG MIME Sniffing standard. The file extension and the declared content type are
    ignored, because the uploader may have set them to anything.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head[:4] == b"RIFF" and head[8:14] == b"WEBPVP":
        return "image/webp"
    return None


def other_image(head: bytes) -> str | None:
    """What to tell the owner of an image in a format that is not supported: its name and a way out; None if unknown."""
    if head[4:8] == b"ftyp":
        for name, (brands, advice) in _BRANDS.items():
            if head[8:12] in brands:
                return f"is in {name} format; convert it to {IMAGE_FORMATS}" + (f". {advice}" if advice else "")
    for name, signatures in _OTHERS.items():
        # "BM" alone would match ordinary text, so that header's reserved fields must be zero as well.
        if head.startswith(signatures) and (name != "BMP" or head[6:10] == b"\0\0\0\0"):
            return f"is in {name} format; convert it to {IMAGE_FORMATS}"
    return None


class Mp4Check:
    """Checks an MP4's top-level boxes while its bytes are streamed, keeping only a box header in memory.

    A file is complete if it begins with ``ftyp``, has ``moov`` and ``mdat`` (or fragments), and its last box ends
    where the file ends. This detects a cut-off file even without a Content-Length (ISO/IEC 14496-12, section 4.2).
    """

    def __init__(self) -> None:
        self._header = b""
        self._skip = 0  # remaining bytes of the current box
        self._to_the_end = False  # a box of size 0 extends to the end of the file
        self._seen: list[bytes] = []

    def feed(self, data: bytes | memoryview) -> None:
        """Check the next bytes. Raises ValueError as soon as they can't be an MP4."""
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
        """Call this after the last bytes. Raises ValueError if they were not a complete MP4."""
        if not self._seen:
            raise ValueError("it is empty")
        if self._skip or self._header:
            raise ValueError(f"it is cut off, {self._skip or 'some'} bytes before the end")
        if b"moov" not in self._seen or not {b"mdat", b"moof"} & set(self._seen):
            raise ValueError("it contains no video data")
