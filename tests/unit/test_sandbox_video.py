"""The dimensions of the stand-in's videos, and the MP4 box that makes each file unique."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sandbox.video import NotAPicture, decode_picture, dimensions, free_box


@pytest.mark.parametrize(
    ("aspect_ratio", "resolution", "size"),
    [
        ("16:9", "480p", (854, 480)),
        ("16:9", "720p", (1280, 720)),
        ("16:9", "1080p", (1920, 1080)),
        ("9:16", "720p", (720, 1280)),
        ("1:1", "720p", (720, 720)),
        ("4:3", "720p", (960, 720)),
        ("3:4", "480p", (480, 640)),
        ("21:9", "720p", (1680, 720)),
    ],
)
def test_the_short_side_is_the_resolution(aspect_ratio: str, resolution: str, size: tuple[int, int]) -> None:
    assert dimensions(aspect_ratio, resolution, picture=(100, 100)) == size


@given(width=st.integers(1, 8192), height=st.integers(1, 8192))
def test_adaptive_follows_the_image_within_the_available_ratios(width: int, height: int) -> None:
    wide, high = dimensions("adaptive", "720p", (width, height))
    assert min(wide, high) == 720
    assert max(wide, high) <= 1680
    assert wide % 2 == high % 2 == 0
    assert (wide >= high) == (width >= height) or abs(width / height - 1) < 0.01


def test_adaptive_without_an_image_is_landscape() -> None:
    assert dimensions("adaptive", "720p", None) == (1280, 720)


def test_a_free_box_has_its_length_and_type() -> None:
    box = free_box("request-1")
    assert int.from_bytes(box[:4], "big") == len(box)
    assert box[4:] == b"freerequest-1"


@given(data=st.binary(max_size=200))
def test_bytes_that_are_not_an_image_are_refused(data: bytes) -> None:
    with pytest.raises(NotAPicture):
        decode_picture(data)
