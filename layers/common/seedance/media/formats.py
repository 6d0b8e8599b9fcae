"""Recognises image formats by their first bytes. Pure."""

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
