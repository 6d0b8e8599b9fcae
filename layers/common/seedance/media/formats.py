"""Recognises image formats by their first bytes. Pure."""

import struct

IMAGE_FORMATS = "JPEG, PNG or WebP"
MAX_IMAGE_BYTES = 30 * 1024 * 1024
"""The largest accepted image, 30 MB: the limit that ByteDance's own Seedance API states for an input image."""

HEAD_BYTES = 64
"""The number of first bytes that ``image_type`` needs."""

_CAMERA = (
    "On an iPhone, choose Settings > Camera > Formats > Most Compatible; on an Android phone, turn off High efficiency "
    "pictures in the camera's settings"
)
_BRANDS = {
    "AVIF": (b"avif", b"avis"),
    "HEIC": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
    "CR3 (camera RAW)": (b"crx ",),
}
"""Brands in the first box of a file (ISO/IEC 23008-12; AV1 Image File Format). An AVIF file may have HEIC's, too."""
_OTHERS = {
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "ORF (camera RAW)": (b"IIRO", b"IIRS", b"MMOR"),
    "RW2 (camera RAW)": (b"IIU\0",),
    "RAF (camera RAW)": (b"FUJIFILMCCD-RAW",),
    "X3F (camera RAW)": (b"FOVb",),
    "TIFF": (b"II+\0", b"MM\0+"),
    "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
}
_RAW_OF = {b"NIKON": "NEF", b"SONY": "ARW", b"PENTAX": "PEF", b"SAMSUNG": "SRW"}
"""The raw formats that look like a TIFF, by the camera's maker. The others have marks of their own."""
_SUBFILE, _MAKE, _SUB_DIRECTORIES, _DNG_VERSION = 0x00FE, 0x010F, 0x014A, 0xC612


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
    """What to tell the owner of an image in a format that is not supported: its name and what to do; None if unknown.

    ``head``: the more first bytes, the better a camera's raw format is told from a TIFF.
    """
    name = _other(head)
    if name is None:
        return None
    return f"is in {name} format; convert it to {IMAGE_FORMATS}" + (f". {_CAMERA}" if name in ("HEIC", "AVIF") else "")


def _other(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        size = min(int.from_bytes(head[:4]), 256)
        brands = {head[at : at + 4] for at in (8, *range(16, size - 3, 4))}
        return next((name for name, known in _BRANDS.items() if brands & set(known)), None)
    if head.startswith((b"II*\0", b"MM\0*")):
        return _tiff(head)
    for name, signatures in _OTHERS.items():
        # "BM" alone would match ordinary text, so that header's reserved fields must be zero as well.
        if head.startswith(signatures) and (name != "BMP" or head[6:10] == b"\0\0\0\0"):
            return name
    return None


def _tiff(head: bytes) -> str:
    """TIFF, or a camera's raw format that is built like one.

    Its first directory is that of a thumbnail, or has others below it (TIFF 6.0; DNG 1.6; Exiftool's tag tables).
    """
    if head[8:10] == b"CR":
        return "CR2 (camera RAW)"
    order = "<" if head[:2] == b"II" else ">"
    tags: dict[int, int] = {}
    try:
        (start,) = struct.unpack_from(order + "I", head, 4)
        (entries,) = struct.unpack_from(order + "H", head, start)
        for number in range(entries):
            tag, _, _, value = struct.unpack_from(order + "HHII", head, start + 2 + 12 * number)
            tags[tag] = value
    except struct.error:
        return "TIFF or camera RAW"
    if _DNG_VERSION in tags:
        return "DNG (camera RAW)"
    if _SUB_DIRECTORIES not in tags and tags.get(_SUBFILE) != 1:
        return "TIFF"
    make = head[tags.get(_MAKE, len(head)) :].upper()
    return next((f"{raw} (camera RAW)" for maker, raw in _RAW_OF.items() if make.startswith(maker)), "camera RAW")
