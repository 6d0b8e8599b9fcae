"""Real files to test with: a video of one second, and an image."""

from fractions import Fraction
from pathlib import Path

import av


def movie(file: Path, **options: str) -> bytes:
    with av.open(str(file), "w", format="mp4", options=options) as film:
        stream = film.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        for _ in range(4):
            film.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        film.mux(stream.encode())
    return file.read_bytes()


def small_png(width: int = 400, height: int = 300) -> bytes:
    """A black picture, by default of the usual shape, in about 1000 bytes."""
    frame = av.VideoFrame(width, height, "rgb24")
    frame.planes[0].update(bytes(frame.planes[0].buffer_size))
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, "rgb24", Fraction(1, 1)
    return b"".join(bytes(packet) for packet in encoder.encode(frame))
