"""Files without their end marker: those that have all of their picture pass, those that are cut off don't.

The pictures in ``pictures/`` (333 x 303 pixels) were drawn for these tests, and written by Pillow 13 and by jpegtran of
libjpeg-turbo 2.1.
"""

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.media import whole
from seedance.media.images import CutOff, Picture, check_rest, look_through

pytestmark = pytest.mark.hostile(kind="image")

PICTURES = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "pictures").glob("*.jpg"))}
BASELINE = [name for name in PICTURES if "progressive" not in name and name != "arithmetic"]
PROGRESSIVE = [name for name in PICTURES if "progressive" in name]
WIDTH, HEIGHT = 333, 303


def look(body: bytes) -> Picture:
    """As Media.look_at does it."""
    picture = look_through(io.BytesIO(body), len(body))
    if not picture.ended:
        check_rest(picture, body)
    return picture


def last_scan(jpeg: bytes) -> int:
    """Where the data of the last scan begins."""
    at = jpeg.rindex(b"\xff\xda")
    return at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])


def test_every_kind_is_among_the_pictures() -> None:
    assert set(BASELINE) == {"baseline", "baseline-422", "baseline-444", "cmyk", "grey", "one-scan-each", "restarts"}
    assert set(PROGRESSIVE) == {"progressive", "progressive-grey", "progressive-spectral"}


@pytest.mark.parametrize("name", PICTURES)
def test_a_whole_file_passes(name: str) -> None:
    picture = look(PICTURES[name])
    assert (picture.width, picture.height, picture.ended, picture.turned) == (WIDTH, HEIGHT, True, False)


@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("name", BASELINE)
def test_without_its_end_marker_it_passes(name: str, missing: int) -> None:
    picture = look(PICTURES[name][:-missing])
    assert (picture.width, picture.height, picture.ended) == (WIDTH, HEIGHT, False)


@pytest.mark.parametrize("name", BASELINE)
def test_cut_anywhere_in_its_last_scan_it_is_refused(name: str) -> None:
    jpeg = PICTURES[name]
    begins, ends = last_scan(jpeg), len(jpeg) - 2
    for place in sorted({*range(begins, ends, (ends - begins) // 40), ends - 40, ends - 8, ends - 2, ends - 1}):
        with pytest.raises(CutOff):
            look(jpeg[:place])


@pytest.mark.parametrize("name", [*BASELINE, *PROGRESSIVE])
def test_cut_before_its_last_scan_it_is_refused(name: str) -> None:
    jpeg = PICTURES[name]
    first = jpeg.index(b"\xff\xda")
    for place in range(4, last_scan(jpeg) - 12, 97):
        with pytest.raises(CutOff):
            look(jpeg[:place])
        if place > first:
            assert whole.is_whole("image/jpeg", jpeg[:place]) is False


@pytest.mark.parametrize("name", PROGRESSIVE)
def test_a_progressive_picture_passes_when_its_last_refinement_has_begun(name: str) -> None:
    jpeg = PICTURES[name]
    for place in range(last_scan(jpeg), len(jpeg), 97):
        assert look(jpeg[:place]).height == HEIGHT


@pytest.mark.parametrize("name", BASELINE)
def test_a_file_that_was_filled_up_with_zeros_is_refused(name: str) -> None:
    jpeg = PICTURES[name]
    half = (last_scan(jpeg) + len(jpeg)) // 2
    with pytest.raises(CutOff):
        look(jpeg[:half] + bytes(len(jpeg) - half))
    assert look(jpeg[:-2] + bytes(100)).height == HEIGHT


def test_a_lost_piece_between_restart_marks_is_found() -> None:
    jpeg = PICTURES["restarts"]
    piece = jpeg.index(b"\xff\xd3"), jpeg.index(b"\xff\xd4")
    with pytest.raises(CutOff):
        look(jpeg[: piece[0]] + jpeg[piece[1] : -2])


@pytest.mark.parametrize(("name", "missing"), [("arithmetic", 2), ("arithmetic", 900)])
def test_where_it_cant_be_told_the_message_says_so(name: str, missing: int) -> None:
    with pytest.raises(ValueError, match="it is unclear whether the picture is complete; save it again"):
        look(PICTURES[name][:-missing])


@pytest.mark.parametrize("limit", ["MOST_BYTES", "MOST_BLOCKS"])
def test_very_large_data_is_not_looked_through(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(whole, limit, 1000)
    assert whole.is_whole("image/jpeg", PICTURES["baseline"][:-2]) is None
    assert look(PICTURES["restarts"][:-2]).width == WIDTH  # only the last of its pieces counts


@pytest.mark.parametrize("segment", [b"\xff\xfe\0\2", b"\xff\xc4\0\x13\0" + bytes(16), b"\xff\xda\0\x06\0\0\x3f\0"])
def test_very_many_segments_are_not_looked_through(segment: bytes) -> None:
    jpeg = PICTURES["baseline"]
    end = last_scan(jpeg) - 14
    assert whole.is_whole("image/jpeg", jpeg[:end] + segment * 10_000 + jpeg[end:-2]) is None


@given(st.sampled_from(sorted(PICTURES)), st.integers(20, 14_000), st.binary(max_size=40), st.integers(0, 14_000))
def test_damaged_files_raise_nothing(name: str, place: int, junk: bytes, end: int) -> None:
    jpeg = PICTURES[name]
    body = jpeg[:place] + junk + jpeg[place + len(junk) : end]
    for media_type in ("image/jpeg", "image/png"):
        assert whole.is_whole(media_type, body) in (True, False, None)


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(depth: int, colours: int, *, interlaced: bool = False, parts: int = 1, between: bytes = b"") -> bytes:
    """A PNG of zeros, whose image data is not compressed."""
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for x, y, dx, dy in passes if interlaced else [(0, 0, 1, 1)]:
        columns, rows = len(range(x, WIDTH, dx)), len(range(y, HEIGHT, dy))
        raw += (1 + (columns * bits + 7) // 8) * rows * b"\0"
    data = zlib.compress(raw, 0)
    step = -(-len(data) // parts)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colours, 0, 0, interlaced))
    palette = chunk(b"PLTE", bytes(6)) if colours == 3 else b""
    pixels = b"".join(chunk(b"IDAT", data[at : at + step]) for at in range(0, len(data), step))
    return b"\x89PNG\r\n\x1a\n" + header + palette + between + pixels + chunk(b"IEND")


PNGS = {
    "8-bit colours": png(8, 2),
    "16-bit colours": png(16, 2),
    "16-bit with transparency": png(16, 6),
    "a palette of two": png(1, 3),
    "4-bit grey": png(4, 0),
    "grey with transparency": png(8, 4),
    "interlaced": png(8, 2, interlaced=True),
    "interlaced, 1-bit": png(1, 0, interlaced=True),
    "in many chunks": png(8, 2, parts=9),
    "animated": png(8, 6, between=chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", bytes(26))),
}
ADLER, CRC = 4, 4


@pytest.mark.parametrize("name", PNGS)
def test_a_png_without_its_end_passes(name: str) -> None:
    body = PNGS[name]
    assert look(body).ended
    for missing in (1, 4, 5, 11, 12, 12 + CRC, 12 + CRC + ADLER):
        picture = look(body[:-missing])
        assert (picture.width, picture.height, picture.ended) == (WIDTH, HEIGHT, False)


@pytest.mark.parametrize("name", PNGS)
def test_a_png_without_its_last_pixels_is_refused(name: str) -> None:
    body = PNGS[name]
    end = len(body) - 12 - CRC - ADLER
    for place in sorted({*range(8, end, end // 40), end - 1}):
        with pytest.raises(CutOff):
            look(body[:place])


def test_a_png_cut_between_two_chunks_is_refused() -> None:
    body = PNGS["in many chunks"]
    places = [place - 4 for place in range(len(body)) if body[place : place + 4] == b"IDAT"]
    assert len(places) == 9
    for place in places:
        with pytest.raises(CutOff):
            look(body[:place])


def test_a_png_cut_behind_its_pixels_passes() -> None:
    body = PNGS["8-bit colours"][:-12] + chunk(b"tEXt", b"Comment\0" + b"x" * 500)
    assert look(body[:-300]).width == WIDTH


def test_more_pixels_than_the_picture_has_are_not_decompressed() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0))
    data = bytearray(zlib.compress(bytes(5_000_000), 0))
    data[1_000_000:] = b"x" * 4_000_000  # an error, if it is reached
    body = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", bytes(data))
    assert whole.is_whole("image/png", body) is True


def test_image_data_that_is_damaged_and_cut_off_is_refused() -> None:
    body = bytearray(PNGS["8-bit colours"][:-12])
    body[body.index(b"IDAT") + 4] = 0xFF
    with pytest.raises(ValueError, match="it is unclear"):
        look(bytes(body))
