"""An MP4 is complete by its boxes: any chunking, truncation at every byte, and what players accept behind the video."""

import struct
import tracemalloc
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.media.mp4 import Mp4Check


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
    "QuickTime's brand": box(b"ftyp", b"qt  \0\0\0\0") + box(b"wide") + MDAT + MOOV,
    "no brand": MOOV + MDAT,
    "a filler first": box(b"wide") + MDAT + MOOV,
    "free space first": box(b"free", bytes(50)) + FTYP + MOOV + MDAT,
    "a preview first": box(b"pnot", bytes(12)) + MDAT + MOOV,
    "boxes of unknown kinds": FTYP + box(b"uuid", bytes(40)) + MOOV + box(b"\xa9xyz", b"?") + MDAT + box(b"meta", b"x"),
    "segments": box(b"styp", b"msdh") + box(b"sidx", bytes(30)) + MOOV + FRAGMENT + MDAT + box(b"mfra", bytes(9)),
    "free space to the end": FTYP + MOOV + MDAT + box(b"free", b"and more", size=0),
    "an empty box of data first": FTYP + box(b"mdat") + MOOV + MDAT,
}
BROKEN = {
    "nothing": (b"", "it is empty"),
    "a web page": (b"<!doctype html><html><body>Not found</body></html>", "does not begin like an MP4"),
    "an error in JSON": (b'{"error": "expired"}', "does not begin like an MP4"),
    "a PNG": (b"\x89PNG\r\n\x1a\n" + bytes(40), "does not begin like an MP4"),
    "zeros": (bytes(64), "does not begin like an MP4"),
    "a box that no file begins with": (box(b"udta", b"x") + FTYP + MOOV + MDAT, "does not begin like an MP4"),
    "an empty index": (FTYP + box(b"moov") + MDAT, "no video data"),
    "empty data": (FTYP + MOOV + box(b"mdat") + long_box(b"mdat"), "no video data"),
    "a few bytes": (FTYP[:7], "cut off, after 7 bytes"),
    "a box smaller than its header": (FTYP + box(b"free", size=7) + MOOV + MDAT, "smaller than its own header"),
    "a 64-bit box smaller than its header": (FTYP + long_box(b"free", size=15), "smaller than its own header"),
    "no index": (FTYP + MDAT, "no video data"),
    "no pictures": (FTYP + MOOV, "no video data"),
    "only its type": (FTYP, "no video data"),
    "a huge box that never comes": (FTYP + MOOV + long_box(b"mdat", b"x", size=2**63), "cut off"),
    "rubbish behind it": (FTYP + MOOV + MDAT + b"abc", "cut off"),
}


BEHIND = {
    "three zeros": bytes(3),
    "one byte": b"x",
    "the end of a line": b"\r\n",
    "zeros": bytes(4096),
    "a boundary": b"\r\n--boundary--\r\n",
    "a comment": b"<!-- cached by proxy-7 at 12:00 -->",
    "text in many lines": b"end of file\n" * 1000,
    "a size without a kind": struct.pack(">I", 64),
    "a size smaller than a header": box(b"free", size=5),
    "a 64-bit size smaller than a header": long_box(b"free", size=9),
    "half a header with a 64-bit size": long_box(b"uuid", b"")[:11],
    "half of free space": box(b"free", bytes(9), size=1000),
    "half of somebody's own box": box(b"uuid", bytes(40), size=4000),
    "half of an index of fragments": box(b"mfra", bytes(40), size=4000),
}
"""What players ignore behind a video, if the whole file has certainly arrived."""

MISSING = {
    **{
        f"half of {kind.decode()}": box(kind, b"xx", size=100) for kind in (b"mdat", b"moof", b"moov", b"styp", b"sidx")
    },
    "half of the last data": long_box(b"mdat", b"xx", size=2**40),
    "half a header of data": long_box(b"mdat")[:12],
}
"""What may follow a video whose last part is missing."""


def check(*chunks: bytes, framed: bool = False) -> None:
    walker = Mp4Check()
    for chunk in chunks:
        walker.feed(chunk)
    walker.finish(framed=framed)


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


@pytest.mark.hostile(kind="image")
@pytest.mark.parametrize("name", BEHIND)
@pytest.mark.parametrize("movie", ["index first", "index last", "fragments", "64-bit size"])
def test_bytes_behind_the_video_are_accepted_if_the_file_has_arrived(movie: str, name: str) -> None:
    check(WHOLE[movie] + BEHIND[name], framed=True)
    check(WHOLE[movie], BEHIND[name], framed=True)


@pytest.mark.hostile(kind="image")
@pytest.mark.parametrize("name", MISSING)
def test_a_video_whose_last_part_is_missing_is_refused_even_if_the_file_has_arrived(name: str) -> None:
    for movie in ("index first", "fragments"):
        for framed in (True, False):
            with pytest.raises(ValueError, match="cut off"):
                check(WHOLE[movie] + MISSING[name], framed=framed)


@pytest.mark.hostile(kind="image")
@pytest.mark.parametrize("name", sorted(BROKEN.keys() - {"rubbish behind it"}))
def test_a_broken_file_is_refused_even_if_it_has_arrived(name: str) -> None:
    with pytest.raises(ValueError, match=BROKEN[name][1]):
        check(BROKEN[name][0], framed=True)


@pytest.mark.hostile(kind="image")
@pytest.mark.parametrize("size", [8, 9, 16, 300])
def test_any_number_of_boxes_is_checked_in_the_same_memory(size: int) -> None:
    """A list of the boxes took 7 MB for each MB of empty ones."""
    chunk = box(b"free", bytes(size - 8)) * (1_000_000 // size)
    walker = Mp4Check()
    walker.feed(FTYP)
    tracemalloc.start()
    for _ in range(3):
        walker.feed(chunk)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20_000
    walker.feed(MOOV + MDAT)
    walker.finish()


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
        for framed in (True, False):
            with pytest.raises(ValueError, match=r"empty|cut off|no video data"):
                check(movie[:place], framed=framed)
    with pytest.raises(ValueError, match="cut off"):
        check(movie + movie[:1])
    check(movie + movie[:1], framed=True)


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


CHUNKED = {
    **WHOLE,
    **{name: movie for name, (movie, _) in BROKEN.items()},
    **{f"behind: {name}": WHOLE["index first"] + rest for name, rest in (BEHIND | MISSING).items()},
}


@given(st.sampled_from(sorted(CHUNKED)), st.lists(st.integers(0, 90), max_size=12), st.booleans())
def test_the_result_does_not_depend_on_the_chunks(name: str, cuts: list[int], framed: bool) -> None:
    movie = CHUNKED[name]
    edges = sorted({0, len(movie), *(cut for cut in cuts if cut < len(movie))})
    chunks = [movie[start:end] for start, end in pairwise(edges)]

    def verdict(*parts: bytes) -> str:
        try:
            check(*parts, framed=framed)
        except ValueError as error:
            return str(error)
        return "whole"

    assert verdict(*chunks) == verdict(movie) == verdict(*(bytes([byte]) for byte in movie))


def test_a_web_page_is_refused_before_the_rest_arrives() -> None:
    walker = Mp4Check()
    with pytest.raises(ValueError, match="begin"):
        walker.feed(b"<!doctype html>")
