"""Images of the tests' own, whose pixels nobody looks at."""

import struct
import zlib


def png(colour: tuple[int, int, int] = (200, 16, 16), width: int = 400, height: int = 300) -> bytes:
    """An image of one colour."""
    rows = (b"\0" + bytes(colour) * width) * height
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body
