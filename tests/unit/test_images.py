"""Images are checked by their bytes: real ones of every kind, truncated at every byte, and with invalid headers."""

import io
import os
import random
import struct
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.media.images import MAX_PIXELS, Picture, check_rest, check_shape, look_through

pytestmark = pytest.mark.hostile(kind="image")

WIDTH, HEIGHT = 333, 222
ENCODERS = {
    "jpeg": ("mjpeg", "yuvj420p", "image2pipe", {}),
    "png": ("png", "rgb24", "image2pipe", {}),
    "webp": ("libwebp", "yuv420p", "webp", {}),
    "webp, lossless": ("libwebp", "bgra", "webp", {"lossless": "1"}),
}
STILL_OPENS = {"jpeg": 2, "png": 12 + 4 + 4, "webp": 1, "webp, lossless": 1}
"""Last bytes that no decoder misses: end markers, checksums, the padding of a chunk."""


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
    if not picture.ended:
        check_rest(picture, body)
    return picture.width, picture.height


def refusal(body: bytes) -> str:
    with pytest.raises(ValueError, match=r"^is (in|not|cut|damaged|[\d,]+ x)|^has no end marker") as caught:
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


def riff(kind: bytes, content: bytes, *, length: int | None = None, more: bytes = b"") -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(content)) + content + more
    return b"RIFF" + struct.pack("<I", len(body) if length is None else length) + body


def webp(width: int, height: int, **how: Any) -> bytes:
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
    "a WebP with everything": webp(640, 480),
    "an animated WebP": webp(640, 480, more=b"ANIM\x06\0\0\0" + bytes(6) + b"ANMF\x18\0\0\0" + bytes(24)),
    "a WebP without its last, empty byte": webp(640, 480, length=23),
}
BROKEN = {
    "a JPEG of nothing": (b"\xff\xd8\xff\xd9", "contains no image data"),
    "a JPEG without a frame": (b"\xff\xd8" + segment(0xDA, bytes(4)) + b"x\xff\xd9", "not contain its size"),
    "a JPEG without height": (jpeg(640, 0), "640 x 0 pixels"),
    "a JPEG with a segment of no length": (b"\xff\xd8\xff\xe0\0\1", "shorter than its own length"),
    "a JPEG that ends in its thumbnail": ((b"\xff\xd8" + EXIF)[:20_000], "is cut off"),
    "a JPEG without its end, and without tables": (
        jpeg(640, 480)[:-2],
        "it is unclear whether the picture is complete",
    ),
    "a PNG without its end, and without most of its data": (png(640, 480)[:-12], "is cut off"),
    "a JPEG of very many segments": (jpeg(640, 480, before=segment(0xFE, b"") * 100_001), "more than 100,000 parts"),
    "a JPEG of very many fill bytes": (jpeg(640, 480, before=b"\xff" * 100_001), "more than 100,000 parts"),
    "a JPEG of very many marks": (jpeg(640, 480, before=b"\xff\xd0" * 100_001), "more than 100,000 parts"),
    "a PNG of very many chunks": (png(640, 480, chunk(b"tEXt") * 100_001), "more than 100,000 parts"),
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


def tiff(order: str, *entries: tuple[int, int], first: bytes = b"", behind: bytes = b"") -> bytes:
    """A TIFF's header and first directory: tags and values."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8 + len(first)) + first
    fields = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in entries)
    return head + struct.pack(order + "H", len(entries)) + fields + bytes(4) + behind


def raw(order: str, make: bytes) -> bytes:
    """A camera's raw file: its first directory is a thumbnail, with other directories below it."""
    return tiff(order, (0xFE, 1), (0x100, 160), (0x101, 120), (0x10F, 74), (0x14A, 999), behind=make)


PLAIN = ((0x100, 800), (0x101, 600))
OTHERS = {
    "a GIF": ("GIF", b"GIF89a\x01\0\x01\0"),
    "a BMP": ("BMP", b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0"),
    "a TIFF": ("TIFF", tiff("<", *PLAIN)),
    "a TIFF, big-endian": ("TIFF", tiff(">", *PLAIN)),
    "a BigTIFF": ("TIFF", b"II+\0\x08\0\0\0\x10"),
    "a TIFF of a scanner": ("TIFF", tiff("<", *PLAIN, (0x10F, 50), behind=b"NIKON\0")),
    "a TIFF whose directory is far behind": ("TIFF or camera RAW", tiff("<", *PLAIN, first=bytes(100_000))),
    "a DNG": ("DNG (camera RAW)", tiff("<", (0xFE, 1), *PLAIN, (0xC612, 0x0401))),
    "a DNG of a drone": ("DNG (camera RAW)", tiff("<", (0xFE, 0), *PLAIN, (0xC612, 0x0401))),
    "a Canon's raw file": ("CR2 (camera RAW)", tiff("<", *PLAIN, first=b"CR\x02\0\0\0\0\0")),
    "a newer Canon's raw file": ("CR3 (camera RAW)", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom"),
    "a Nikon's raw file": ("NEF (camera RAW)", raw(">", b"NIKON CORPORATION\0")),
    "a Sony's raw file": ("ARW (camera RAW)", raw("<", b"SONY\0")),
    "a Pentax' raw file": ("PEF (camera RAW)", raw(">", b"PENTAX Corporation\0")),
    "a Samsung's raw file": ("SRW (camera RAW)", raw("<", b"SAMSUNG\0")),
    "another camera's raw file": ("camera RAW", raw("<", b"Hasselblad\0")),
    "an Olympus' raw file": ("ORF (camera RAW)", b"IIRO\x08\0\0\0"),
    "a Panasonic's raw file": ("RW2 (camera RAW)", b"IIU\0\x18\0\0\0"),
    "a Fujifilm's raw file": ("RAF (camera RAW)", b"FUJIFILMCCD-RAW 0201FF159502"),
    "an iPhone's photo": ("HEIC", b"\0\0\0\x20ftypheic\0\0\0\0heicmif1MiHEmiaf"),
    "a Samsung's photo": ("HEIC", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"),
    "a burst of an iPhone": ("HEIC", b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc"),
    "an AVIF": ("AVIF", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1"),
    "an AVIF that says it is a HEIF": ("AVIF", b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiafMA1B"),
    "an animated AVIF": ("AVIF", b"\0\0\0\x1cftypavis\0\0\0\0avismsf1"),
    "a JPEG XL": ("JPEG XL", b"\0\0\0\x0cJXL \r\n\x87\n"),
    "a bare JPEG XL": ("JPEG XL", b"\xff\x0a\xfa\x1f"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_an_image_in_another_format_is_refused_by_name(case: str) -> None:
    name, head = OTHERS[case]
    words = refusal(head + bytes(99))
    assert words.startswith(f"is in {name} format; convert it to JPEG, PNG or WebP")
    phone = "On an iPhone, choose Settings > Camera > Formats > Most Compatible; on an Android phone, turn off High eff"
    assert (phone in words) is (name in ("HEIC", "AVIF"))


@pytest.mark.parametrize("head", [b"\0\0\0\x18ftypisom\0\0\2\0isommp41", b"\0\0\0\x14ftypqt  \0\0\0\0qt  "])
def test_a_video_is_no_image(head: bytes) -> None:
    assert refusal(head + bytes(99)).startswith("is not an image by its content")


ORIENTATIONS = [(1, False), (2, False), (3, False), (4, False), (5, True), (6, True), (7, True), (8, True), (9, False)]


def exif(orientation: int, order: str = ">", *, kind: int = 3, before: int = 0) -> bytes:
    """EXIF with an orientation (as SHORT, or as LONG: 4), behind some other entries."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, before + 1)
    others = b"".join(struct.pack(order + "HHIHH", 0x10F + n, 3, 1, 6, 0) for n in range(before))
    value = struct.pack(order + ("I" if kind == 4 else "HH"), *([orientation] if kind == 4 else [orientation, 0]))
    return head + others + struct.pack(order + "HHI", 0x112, kind, 1) + value + bytes(4)


def jpeg_with(block: bytes) -> bytes:
    return jpeg(640, 480, before=segment(0xE0, b"JFIF\0" + bytes(9)) + segment(0xE1, b"Exif\0\0" + block))


def png_with(block: bytes) -> bytes:
    return png(640, 480, chunk(b"eXIf", block))


def webp_with(block: bytes, prefix: bytes = b"") -> bytes:
    sides = (639).to_bytes(3, "little") + (479).to_bytes(3, "little")
    pixels = b"VP8 " + struct.pack("<I", 5) + bytes(6)  # of odd length, with the byte that fills it up
    data = prefix + block
    return riff(b"VP8X", b"\x08\0\0\0" + sides, more=pixels + b"EXIF" + struct.pack("<I", len(data)) + data)


@pytest.mark.parametrize(("orientation", "turned"), ORIENTATIONS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_picture_is_seen_as_it_is_shown(orientation: int, order: str, *, turned: bool) -> None:
    block = exif(orientation, order, before=2)
    for body in (jpeg_with(block), png_with(block), webp_with(block), webp_with(block, b"Exif\0\0")):
        picture = look_through(io.BytesIO(body), len(body))
        assert (picture.width, picture.height, picture.turned) == (640, 480, turned)
        assert picture.shown == ((480, 640) if turned else (640, 480))


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 12, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_webp_header_of_any_length_comes_to_an_end(size: int) -> None:
    body = bytearray(webp_with(exif(6)))
    body[16:20] = struct.pack("<I", size)
    assert look_through(io.BytesIO(body), len(body)).turned is (size == 10)


@given(
    st.sampled_from(sorted(VALID)),
    st.lists(st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=4)), max_size=4),
)
def test_damaged_headers_come_to_an_end(name: str, changes: list[tuple[int, bytes]]) -> None:
    body = bytearray(VALID[name][:50_000])
    for place, junk in changes:
        body[place : place + len(junk)] = junk
    with suppress(ValueError):
        look(bytes(body))


def test_an_orientation_that_is_written_as_a_long_counts() -> None:
    assert look_through(io.BytesIO(jpeg_with(exif(6, kind=4))), 10_000).turned
    assert look_through(io.BytesIO(jpeg_with(exif(6, "<", kind=4))), 10_000).turned


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"MM",
        b"MM\0*\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff",
        exif(6)[:19],
        exif(6)[:8] + bytes(12),
        b"<x:xmpmeta/>",
    ],
    ids=range(7),
)
def test_exif_that_cant_be_read_is_ignored(block: bytes) -> None:
    for body in (jpeg_with(block), png_with(block), webp_with(block)):
        assert look_through(io.BytesIO(body), len(body)).shown == (640, 480)


SHAPES = {
    (300, 300): "",
    (300, 750): "",
    (750, 300): "",
    (400, 1000): "",
    (1000, 400): "",
    (6001, 4000): "",
    (8064, 6048): "",
    (299, 299): "each side must have at least 300",
    (320, 240): "each side must have at least 300",
    (10, 10): "each side must have at least 300",
    (8000, 100): "each side must have at least 300",
    (1, 1): "each side must have at least 300",
    (1001, 400): "the width may be 0.4 to 2.5 times the height",
    (400, 1001): "the width may be 0.4 to 2.5 times the height",
    (5000, 300): "the width may be 0.4 to 2.5 times the height",
}


@pytest.mark.parametrize("sides", SHAPES)
@pytest.mark.parametrize("turned", [False, True])
def test_a_size_or_shape_that_bytedance_does_not_accept_is_refused(sides: tuple[int, int], *, turned: bool) -> None:
    picture = Picture("image/jpeg", *(reversed(sides) if turned else sides), turned)
    if not SHAPES[sides]:
        return check_shape(picture)
    with pytest.raises(ValueError, match="or allow it with the stack parameter AllowUnusualImages") as caught:
        check_shape(picture)
    assert str(caught.value).startswith(f"is {sides[0]} x {sides[1]} pixels; {SHAPES[sides]}")
    return None


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
