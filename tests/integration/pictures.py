"""Image files for the integration tests."""

import io
from fractions import Fraction
from pathlib import Path

import av

RED, BLUE = (200, 16, 16), (16, 16, 200)
DRAWN = Path(__file__).parents[1] / "unit/pictures"
"""JPEGs of 333 x 303 pixels; see test_whole.py."""

_PIXELS = {"mjpeg": "yuvj420p", "libwebp": "yuv420p", "libwebp_anim": "yuv420p", "gif": "rgb8", "bmp": "bgr24"}
_FILES = {"gif": "gif", "libwebp": "webp", "libwebp_anim": "webp", "apng": "apng"}


def picture(
    colour: tuple[int, int, int] = RED,
    size: tuple[int, int] = (400, 300),
    codec: str = "png",
    *,
    pixels: str | None = None,
    frames: int = 1,
    **options: str,
) -> bytes:
    """An image file of one colour; with several ``frames``, an animated one."""
    frame = av.VideoFrame(*size, "rgb24")
    row = bytes(colour) * size[0]
    plane = frame.planes[0]
    plane.update(b"".join(row.ljust(plane.line_size, b"\0") for _ in range(size[1])))
    file = io.BytesIO()
    with av.open(file, "w", format=_FILES.get(codec, "image2pipe")) as container:
        stream = container.add_stream(codec, rate=1, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = pixels or _PIXELS.get(codec, "rgb24")
        for number in range(frames):
            shown = frame.reformat(format=stream.pix_fmt)
            shown.pts, shown.time_base = number, Fraction(1, 1)
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))
    return file.getvalue()


def turned(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an orientation in its EXIF."""
    entry = b"\x01\x12" + (3).to_bytes(2) + (1).to_bytes(4) + orientation.to_bytes(2) + bytes(2)
    exif = b"Exif\0\0MM\0*" + (8).to_bytes(4) + (1).to_bytes(2) + entry + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif + jpeg[2:]
