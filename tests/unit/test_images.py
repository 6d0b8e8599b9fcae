"""Images are checked by their bytes: real ones of every kind, truncated at every byte, and with invalid headers."""

import io
import os
import random
import struct
import tracemalloc
import zlib
from pathlib import Path

import av
import pytest
from seedance.media import jpeg_scan
from seedance.media.images import MAX_PIXELS, cut_off, look_through

pytestmark = pytest.mark.hostile(kind="image")

WIDTH, HEIGHT = 333, 222
ENCODERS = {
    "jpeg": ("mjpeg", "yuvj420p", "image2pipe", {}),
    "png": ("png", "rgb24", "image2pipe", {}),
    "webp": ("libwebp", "yuv420p", "webp", {}),
    "webp, lossless": ("libwebp", "bgra", "webp", {"lossless": "1"}),
}
STILL_OPENS = {"jpeg": 2, "png": 12, "webp": 1, "webp, lossless": 1}
"""Last bytes that no decoder misses: the end marks, the padding of a chunk."""


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    """Random pixels, so that no format compresses them well."""
    return {name: encoded(*how) for name, how in ENCODERS.items()}


def encoded(codec: str, pixels: str, container: str, options: dict[str, str]) -> bytes:
    file, noise = io.BytesIO(), random.Random(7)  # noqa: S311 - no secret
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=1, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        frame = av.VideoFrame(WIDTH, HEIGHT, pixels)
        for plane in frame.planes:
            plane.update(noise.randbytes(plane.buffer_size))
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def look(body: bytes) -> tuple[int, int]:
    """As Media.look_at does it."""
    picture = look_through(io.BytesIO(body), len(body))
    if not picture.ended and jpeg_scan.is_whole(body) is False:
        raise cut_off()
    return picture.width, picture.height


def refusal(body: bytes) -> str:
    with pytest.raises(ValueError, match=r"is (in|not|cut|damaged|[\d,]+ x)") as caught:
        look(body)
    return str(caught.value)


def segment(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, kind, len(content) + 2) + content


def jpeg(width: int, height: int, *, before: bytes = b"", frame: int = 0xC0, data: bytes = b"x\xff\x00y") -> bytes:
    return (
        b"\xff\xd8"
        + before
        + segment(frame, struct.pack(">BHHB", 8, height, width, 0))
        + segment(0xDA, bytes(4))
        + data
        + b"\xff\xd9"
    )


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *between: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(between) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND")


def riff(kind: bytes, content: bytes, *, length: int | None = None) -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body) if length is None else length) + body


def webp(width: int, height: int, **how: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff(b"VP8X", bytes(4) + sides, **how)


EXIF = segment(0xE1, b"Exif\0\0" + b"\xff\xd8\xff\xd9" * 10_000)  # with an embedded thumbnail, as phones write it
VALID = {
    "a JPEG whose header is far behind": jpeg(640, 480, before=EXIF * 3),
    "a progressive JPEG": jpeg(640, 480, frame=0xC2, data=b"x" + segment(0xC4, b"t") + segment(0xDA, bytes(4)) + b"y"),
    "a JPEG with restarts": jpeg(640, 480, data=b"x\xff\xd0y\xff\xd7z"),
    "a JPEG with bytes to fill up": jpeg(640, 480, before=b"\xff\xff\xff" + segment(0xFE, b"words")),
    "a phone's photo with its video behind": jpeg(640, 480) + b"\0\3\x0d\x40ftypmp42" + bytes(199_988),
    "a PNG with text and an animation": png(640, 480, chunk(b"acTL", bytes(8)), chunk(b"tEXt", b"a\0b" * 50_000)),
    "a PNG with something behind": png(640, 480) + b"rest of an older screenshot" * 9,
    "a PNG without its end": png(640, 480)[:-12],
    "a JPEG without its end, of a kind that is not looked through": jpeg(640, 480)[:-2],
    "a WebP with everything": webp(640, 480),
    "a WebP without its last, empty byte": webp(640, 480, length=23),
}
BROKEN = {
    "a JPEG of nothing": (b"\xff\xd8\xff\xd9", "contains no image data"),
    "a JPEG without a frame": (b"\xff\xd8" + segment(0xDA, bytes(4)) + b"x\xff\xd9", "not contain its size"),
    "a JPEG without height": (jpeg(640, 0), "640 x 0 pixels"),
    "a JPEG with a segment of no length": (b"\xff\xd8\xff\xe0\0\1", "shorter than its own length"),
    "a JPEG that ends in its thumbnail": ((b"\xff\xd8" + EXIF)[:20_000], "is cut off"),
    "a PNG without data": (b"\x89PNG\r\n\x1a\n" + png(1, 1)[8:33] + chunk(b"IEND"), "contains no image data"),
    "a PNG without a header": (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT") + chunk(b"IEND"), "contains no image data"),
    "a PNG of no width": (png(0, 480), "0 x 480 pixels"),
    "a chunk that never ends": (png(640, 480, b"\x7f\xff\xff\xfftEXt"), "is cut off"),
    "a WebP of half its length": (webp(640, 480, length=60_000), "is cut off"),
    "a WebP of an unknown kind": (riff(b"VP8?", bytes(20)), "contains no image data"),
    "a sidecar": (b'{"prompt": "The shoe turns."}', "is not an image by its content"),
    "a drawing": (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "is not an image"),
}
BOMBS = {
    "png": png(60_000, 60_000),
    "jpeg": jpeg(65_500, 65_500),
    "webp": webp(1 << 24, 1 << 24),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_a_real_image_is_read(pictures: dict[str, bytes], name: str) -> None:
    picture = look_through(io.BytesIO(pictures[name]), len(pictures[name]))
    assert (picture.width, picture.height) == (WIDTH, HEIGHT)
    assert picture.media_type == f"image/{name.partition(',')[0]}"


def test_a_photograph_is_read(pytestconfig: pytest.Config) -> None:
    assert look((Path(pytestconfig.rootpath) / "local/sample/product.jpg").read_bytes()) == (1280, 960)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_real_image_cut_anywhere_is_refused(pictures: dict[str, bytes], name: str) -> None:
    whole = pictures[name]
    places = {*range(64), *range(64, len(whole), 1009), *range(len(whole) - 64, len(whole))}
    passed = []
    for place in sorted(places):
        try:
            look(whole[:place])
            passed.append(len(whole) - place)
        except ValueError as error:
            if place > 64:
                assert "is cut off: it ends in the middle of the image" in str(error)
    assert passed == list(range(STILL_OPENS.get(name, 0), 0, -1))


@pytest.mark.parametrize("name", VALID)
def test_an_image_that_decoders_open_passes(name: str) -> None:
    assert look(VALID[name]) == (640, 480)


@pytest.mark.parametrize("name", BROKEN)
def test_an_image_that_no_decoder_opens_is_refused_with_the_reason(name: str) -> None:
    body, words = BROKEN[name]
    assert words in refusal(body)


OTHERS = {
    "GIF": b"GIF89a\x01\0\x01\0",
    "BMP": b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0",
    "TIFF or camera RAW": b"II*\0\x08\0\0\0",
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1",
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n",
    "camera RAW": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_image_in_another_format_is_refused_by_name(name: str) -> None:
    assert f"is in {name} format; convert it to JPEG, PNG or WebP" in refusal(OTHERS[name] + bytes(99))


def test_the_owner_of_a_heic_image_learns_the_phones_setting() -> None:
    assert "Settings > Camera > Formats > Most Compatible" in refusal(OTHERS["HEIC"])


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_decodes_to_a_huge_image_is_refused(name: str) -> None:
    assert len(BOMBS[name]) < 1000
    assert "pixels; at most 178,956,970 pixels in total are allowed" in refusal(BOMBS[name])


@pytest.mark.parametrize(("height", "taken"), [(MAX_PIXELS // 10_000, True), (MAX_PIXELS // 10_000 + 1, False)])
def test_the_limit_is_the_number_of_pixels(height: int, taken: bool) -> None:
    if taken:
        assert look(png(10_000, height)) == (10_000, height)
    else:
        assert "10,000 x 17,896 pixels;" in refusal(png(10_000, height))


@pytest.mark.parametrize("sides", [(1, 1), (64, 48), (299, 299), (6_001, 4_000), (8_064, 6_048), (5_000, 100)])
def test_unusual_sizes_are_left_to_the_provider(sides: tuple[int, int]) -> None:
    assert look(png(*sides)) == sides


@pytest.mark.parametrize("name", [*ENCODERS, *VALID])
def test_the_result_does_not_depend_on_how_the_bytes_arrive(pictures: dict[str, bytes], name: str) -> None:
    class Trickle(io.BytesIO):
        def read(self, amount: int | None = -1, /) -> bytes:
            return super().read(min(amount or 1, 997))

    body = (pictures | VALID)[name]
    found = look_through(Trickle(body), len(body))
    assert (found.width, found.height) == look(body)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_large_image_is_not_kept_in_memory(kind: str) -> None:
    size = 16 * 1024 * 1024
    noise = os.urandom(size).replace(b"\xff", b"\0")
    body = {
        "jpeg": jpeg(6_000, 4_000, data=noise),
        "png": png(6_000, 4_000, *(chunk(b"IDAT", noise[at : at + 8192]) for at in range(0, size, 8192))),
    }[kind]
    source = io.BytesIO(body)
    tracemalloc.start()
    try:
        look_through(source, len(body))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1024 * 1024


def test_no_more_is_read_than_necessary(pictures: dict[str, bytes]) -> None:
    source = io.BytesIO(png(60_000, 60_000) + bytes(10_000_000))
    with pytest.raises(ValueError, match="pixels in total"):
        look_through(source, 10_000_100)
    assert source.tell() <= 64 * 1024
