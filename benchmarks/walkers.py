"""Measures the walkers that read strangers' files: what a MB costs at its worst, compared with a SHA-256 of the bytes.

Each input is one that a walker has the most work with for its size, beside an ordinary one. Peers: a SHA-256, which
finalize calculates of every video anyway; libav, which opens the file to find its streams; and for MP4s a walker
that keeps a list of the boxes, as ours did before.

    python -m benchmarks.walkers [ROUNDS]
"""

import hashlib
import io
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import av
from seedance.media import images
from seedance.media.mp4 import Mp4Check

from benchmarks import report

ROUNDS = 7
MEGABYTE = 1_000_000
SMALL, LARGE = 1, 8
"""Megabytes: of the inputs, and of those for the ratio of large to small."""

CHUNK = 256 * 1024
_NOTE = """\
Medians of {rounds} rounds, inputs of {small} MB. Processor time of ours per MB, and times relative to a SHA-256 of the
same bytes in the same round; "refused": libav can't open it. Growth: the time at {large} MB, relative to {large} times
that at {small} MB; 1 is linear, and less means that an image is refused at its 100,000th part. Memory: the peak that
Python's allocator counts, at {large} MB, without the input itself. A function with 512 MB has about 0.3 of a processor,
so there each MB takes about three times as long. An image has 30 MB at most."""

Walk = Callable[[bytes], None]


@dataclass(frozen=True)
class Input:
    """A kind of file: how to make one of about so many bytes, and its walkers."""

    name: str
    make: Callable[[int], bytes]
    ours: Walk
    listing: Walk | None = None


def ours_mp4(body: bytes) -> None:
    """The pipeline's check, in chunks as they are downloaded."""
    check, view = Mp4Check(), memoryview(body)
    for at in range(0, len(body), CHUNK):
        check.feed(view[at : at + CHUNK])
    check.finish()


def listed_mp4(body: bytes) -> None:
    """The boxes as a list of their kinds and sizes."""
    boxes, at = [], 0
    while at + 8 <= len(body):
        size, kind = struct.unpack(">I4s", body[at : at + 8])
        boxes.append((kind, size))
        at += size
    if {b"moov", b"mdat"} - {kind for kind, _ in boxes}:
        raise ValueError("no video")


def ours_image(body: bytes) -> None:
    """The pipeline's check of an uploaded image. One with too many parts is refused."""
    with suppress(ValueError):
        images.look_through(io.BytesIO(body), len(body))


def digest(body: bytes) -> None:
    """Only the SHA-256."""
    hashlib.sha256(body).digest()


def libav(body: bytes) -> None:
    """Open the file and find its streams."""
    try:
        av.open(io.BytesIO(body)).close()
    except av.FFmpegError as error:
        raise ValueError("refused") from error


def _box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _mp4(middle: bytes) -> Callable[[int], bytes]:
    """A video with as many repetitions of some boxes as fit."""
    head, end = _box(b"ftyp", b"isom\0\0\0\1"), _box(b"moov", bytes(1000)) + _box(b"mdat", bytes(1000))
    return lambda size: head + middle * (size // len(middle)) + end


def _video(size: int) -> bytes:
    return _box(b"ftyp", b"isom\0\0\0\1") + _box(b"moov", bytes(size // 100)) + _box(b"mdat", bytes(size))


def _jpeg(middle: bytes) -> Callable[[int], bytes]:
    """A JPEG with as many repetitions of some bytes as fit before its frame's header."""
    frame = b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", 800, 800) + b"\x01\x01\x11\0"
    end = frame + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" + bytes(1000) + b"\xff\xd9"
    return lambda size: b"\xff\xd8" + middle * (size // len(middle)) + end


def _photo(size: int) -> bytes:
    return _jpeg(b"\xff\xe1\0\x02")(4).replace(bytes(1000), bytes(size))


def _chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + bytes(4)


def _png(middle: bytes) -> Callable[[int], bytes]:
    """A PNG with as many repetitions of some chunks as fit."""
    head = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 800, 800, 8, 2, 0, 0, 0))
    end = _chunk(b"IDAT", bytes(1000)) + _chunk(b"IEND")
    return lambda size: head + middle * (size // len(middle)) + end


def _webp(middle: bytes) -> Callable[[int], bytes]:
    """A WebP with as many repetitions of some chunks as fit."""
    head = b"WEBPVP8X\x0a\0\0\0\x08\0\0\0\x1f\x03\0\x1f\x03\0"

    def make(size: int) -> bytes:
        body = head + middle * (size // len(middle))
        return b"RIFF" + struct.pack("<I", len(body)) + body

    return make


INPUTS = (
    Input("MP4: an ordinary video", _video, ours_mp4, listed_mp4),
    Input("MP4: fragments of 4 KB", _mp4(_box(b"moof", bytes(100)) + _box(b"mdat", bytes(4000))), ours_mp4, listed_mp4),
    Input("MP4: empty boxes", _mp4(_box(b"free")), ours_mp4, listed_mp4),
    Input("MP4: boxes of one byte", _mp4(_box(b"free", b"x")), ours_mp4, listed_mp4),
    Input("JPEG: an ordinary photo", _photo, ours_image),
    Input("JPEG: fill bytes", _jpeg(b"\xff"), ours_image),
    Input("JPEG: empty segments", _jpeg(b"\xff\xe2\0\x02"), ours_image),
    Input("JPEG: restart markers", _jpeg(b"\xff\xd0"), ours_image),
    Input("PNG: an ordinary image", _png(_chunk(b"IDAT", bytes(8192))), ours_image),
    Input("PNG: empty chunks", _png(_chunk(b"tEXt")), ours_image),
    Input("WebP: an ordinary image", _webp(b"ALPH\0\0\1\0" + bytes(65536)), ours_image),
    Input("WebP: empty chunks", _webp(b"ABCD\0\0\0\0"), ours_image),
)


def main() -> None:
    """Measure every input; print and publish the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else ROUNDS
    rows = [_row(each, rounds) for each in INPUTS]
    header = ("input", "ours, ms per MB", "ours", "list of boxes", "libav", "growth", "memory, ours", "memory, list")
    note = _NOTE.format(rounds=rounds, small=SMALL, large=LARGE)
    report.publish(report.Table("walkers", "Walking through strangers' files", header, rows, [note]))


def _row(each: Input, rounds: int) -> tuple[str, ...]:
    body, large = (each.make(size * MEGABYTE) for size in (SMALL, LARGE))
    walks: dict[str, tuple[Walk, bytes]] = {
        "digest": (digest, body),
        "ours": (each.ours, body),
        "large": (each.ours, large),
    }
    if each.listing:
        walks["list"] = each.listing, body
    if _opens(body):
        walks["libav"] = libav, body
    samples = report.in_turns(rounds, {name: partial(_seconds, *walk) for name, walk in walks.items()})

    def against(name: str) -> str:
        return f"{report.median_ratio(samples[name], samples['digest']):.2f}" if name in samples else ""

    growth = report.median_ratio(samples["large"], samples["ours"]) * len(body) / len(large)
    return (
        each.name,
        f"{sorted(samples['ours'])[rounds // 2] * 1000 / (len(body) / MEGABYTE):.2f}",
        against("ours"),
        against("list"),
        against("libav") or "refused",
        f"{growth:.2f}",
        _memory(each.ours, large),
        _memory(each.listing, large) if each.listing else "",
    )


def _opens(body: bytes) -> bool:
    try:
        libav(body)
    except ValueError:
        return False
    return True


def _seconds(walk: Walk, body: bytes) -> float:
    began = time.process_time()  # a walk is one long computation, so other processes must not count
    walk(body)
    return time.process_time() - began


def _memory(walk: Walk, body: bytes) -> str:
    tracemalloc.start()
    try:
        walk(body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return f"{most / MEGABYTE:.1f} MB"


if __name__ == "__main__":
    main()
