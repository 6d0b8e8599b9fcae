"""Images are detected by their signatures, and near misses are not."""

import pytest
from seedance.media.formats import HEAD_BYTES, image_type

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
