"""Images are detected by their signatures, MP4s by their boxes: near misses, any chunking, truncation at every byte."""

import struct
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.media.formats import HEAD_BYTES, Mp4Check, image_type

pytestmark = pytest.mark.hostile(kind="image")


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "image/jpeg"),
        (b"\xff\xd8\xff\xe1\x00\x18Exif\x00", "image/jpeg"),
        (b"\xff\xd8\xff\xdb", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image/png"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8L", "image/webp"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8X", "image/webp"),
    ],
)
def test_an_images_type_is_detected_from_its_first_bytes(head: bytes, media_type: str) -> None:
    assert image_type(head) == media_type
    assert image_type(head.ljust(HEAD_BYTES, b"\x00")) == media_type


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xfe",
        b"\x89PNG\n\x1a\n",  # line endings converted in transit, which breaks the image
        b"\x89PNG\r\n\x1a",
        b" \x89PNG\r\n\x1a\n",
        b"BMW makes cars, and this is prose.",
        b"BM\x3a\x00\x00\x00\x00\x00\x00",
        b"RIFF\x24\x00\x00\x00WAVEfmt ",
        b"RIFF\x24\x00\x00\x00AVI LIST",
        b"RIFF\x24\x00\x00\x00WEBP",
        b"GIF88a\x01\x00",
        b"II*",
        b"MM*\x00",
        b"<svg xmlns='http://www.w3.org/2000/svg'>",
        b"<?xml version='1.0'?><svg>",
        b"<!doctype html><html>",
        b"%PDF-1.7\n",
        b"\x00\x00\x00\x20ftypheic",
        b"\x00\x00\x00\x1cftypavif",
        b"\x00\x00\x00\x18ftypmp42",
        b"\x00\x00\x01\x00\x01\x00",  # an icon
        b"8BPS\x00\x01",
        b'{"error": "not found"}',
        b"PK\x03\x04",
    ],
)
def test_near_misses_are_not_images(head: bytes) -> None:
    assert image_type(head) is None


def test_a_real_png_is_detected(png: bytes) -> None:
    assert image_type(png[:HEAD_BYTES]) == "image/png"


def box(kind: bytes, content: bytes = b"", *, size: int | None = None) -> bytes:
    return struct.pack(">I4s", 8 + len(content) if size is None else size, kind) + content


def long_box(kind: bytes, content: bytes = b"", *, size: int | None = None) -> bytes:
    return struct.pack(">I4sQ", 1, kind, 16 + len(content) if size is None else size) + content


FTYP, MOOV, MDAT = box(b"ftyp", b"isom\0\0\0\1"), box(b"moov", b"index"), box(b"mdat", b"pictures")
FRAGMENT = box(b"moof", b"x")
WHOLE = {
    "index first": FTYP + MOOV + MDAT,
    "index last": FTYP + box(b"free") + MDAT + MOOV,
    "64-bit size": FTYP + MOOV + long_box(b"mdat", b"pictures"),
    "64-bit size of nothing": FTYP + MOOV + MDAT + long_box(b"free"),
    "size 0, to the end": FTYP + MOOV + box(b"mdat", b"pictures, however many", size=0),
    "fragments": FTYP + MOOV + FRAGMENT + MDAT + FRAGMENT + MDAT,
    "fragments without mdat": FTYP + MOOV + FRAGMENT,
}
BROKEN = {
    "nothing": (b"", "it is empty"),
    "a web page": (b"<!doctype html><html><body>Not found</body></html>", "does not begin like an MP4"),
    "an error in JSON": (b'{"error": "expired"}', "does not begin like an MP4"),
    "a PNG": (b"\x89PNG\r\n\x1a\n" + bytes(40), "does not begin like an MP4"),
    "zeros": (bytes(64), "does not begin like an MP4"),
    "an index at the very beginning": (MOOV + FTYP + MDAT, "does not begin like an MP4"),
    "a box smaller than its header": (FTYP + box(b"free", size=7) + MOOV + MDAT, "smaller than its own header"),
    "a 64-bit box smaller than its header": (FTYP + long_box(b"free", size=15), "smaller than its own header"),
    "no index": (FTYP + MDAT, "no video data"),
    "no pictures": (FTYP + MOOV, "no video data"),
    "only its type": (FTYP, "no video data"),
    "a huge box that never comes": (FTYP + MOOV + long_box(b"mdat", b"x", size=2**63), "cut off"),
    "rubbish behind it": (FTYP + MOOV + MDAT + b"abc", "cut off"),
}


def check(*chunks: bytes) -> None:
    walker = Mp4Check()
    for chunk in chunks:
        walker.feed(chunk)
    walker.finish()


def boundaries(movie: bytes) -> list[int]:
    """Where the top-level boxes of a movie with plain sizes end."""
    ends, at = [], 0
    while at < len(movie):
        at += int.from_bytes(movie[at : at + 4], "big")
        ends.append(at)
    return ends


@pytest.mark.parametrize("name", WHOLE)
def test_a_complete_movie_passes(name: str) -> None:
    check(WHOLE[name])


@pytest.mark.parametrize("name", BROKEN)
def test_an_incomplete_movie_is_refused_with_the_reason(name: str) -> None:
    movie, reason = BROKEN[name]
    with pytest.raises(ValueError, match=reason):
        check(movie)


@pytest.mark.parametrize("name", ["index first", "index last", "fragments"])
def test_real_movies_pass(movies: dict[str, bytes], name: str) -> None:
    check(movies[name])


@pytest.mark.parametrize("name", ["index first", "index last"])
def test_a_real_movie_cut_anywhere_is_refused(movies: dict[str, bytes], name: str) -> None:
    movie = movies[name]
    ends = boundaries(movie)
    assert ends[-1] == len(movie)
    places = {place + step for place in [0, *ends] for step in (-1, 0, 1)}
    for place in sorted(places & set(range(len(movie)))):
        with pytest.raises(ValueError, match=r"empty|cut off|no video data"):
            check(movie[:place])
    with pytest.raises(ValueError, match="cut off"):
        check(movie + movie[:1])


def test_a_cut_inside_any_box_of_a_fragmented_movie_is_found(movies: dict[str, bytes]) -> None:
    movie = movies["fragments"]
    for end in boundaries(movie):
        with pytest.raises(ValueError, match=r"cut off|no video data"):
            check(movie[: end - 1])


@pytest.mark.parametrize(
    ("name", "unseen"),
    [
        ("index first", []),
        ("index last", []),
        ("64-bit size", []),
        # After a box that ends a playable movie, only the announced length can reveal a cut.
        ("64-bit size of nothing", [FTYP + MOOV + MDAT]),
        (
            "fragments",
            [FTYP + MOOV + FRAGMENT, FTYP + MOOV + FRAGMENT + MDAT, FTYP + MOOV + FRAGMENT + MDAT + FRAGMENT],
        ),
        ("fragments without mdat", []),
    ],
)
def test_a_cut_is_found_everywhere_except_between_two_complete_boxes(name: str, unseen: list[bytes]) -> None:
    passed = []
    for place in range(len(WHOLE[name])):
        with suppress(ValueError):
            check(WHOLE[name][:place])
            passed.append(WHOLE[name][:place])
    assert passed == unseen


CHUNKED = {**WHOLE, **{name: movie for name, (movie, _) in BROKEN.items()}}


@given(st.sampled_from(sorted(CHUNKED)), st.lists(st.integers(0, 90), max_size=12))
def test_the_result_does_not_depend_on_the_chunks(name: str, cuts: list[int]) -> None:
    movie = CHUNKED[name]
    edges = sorted({0, len(movie), *(cut for cut in cuts if cut < len(movie))})
    chunks = [movie[start:end] for start, end in pairwise(edges)]

    def verdict(*parts: bytes) -> str:
        try:
            check(*parts)
        except ValueError as error:
            return str(error)
        return "whole"

    assert verdict(*chunks) == verdict(movie) == verdict(*(bytes([byte]) for byte in movie))


def test_a_web_page_is_refused_before_the_rest_arrives() -> None:
    walker = Mp4Check()
    with pytest.raises(ValueError, match="begin"):
        walker.feed(b"<!doctype html>")
