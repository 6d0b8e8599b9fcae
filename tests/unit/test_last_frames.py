"""A video's last frame, stored beside it."""

from typing import Any

import pytest
from seedance.errors import SourceUnavailable
from seedance.media import buckets as media_module

VIDEOS = "example-videos"


@pytest.mark.parametrize(
    ("head", "key"),
    [
        (b"\xff\xd8\xff\xe0rest", "videos/shoe/up-1-last-frame.jpg"),
        (b"\x89PNG\r\n\x1a\nrest", "videos/shoe/up-1-last-frame.png"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 rest", "videos/shoe/up-1-last-frame.webp"),
    ],
)
def test_a_last_frame_is_stored_beside_its_video(world: Any, head: bytes, key: str) -> None:
    assert world.media.store_frame(iter([head[:3], head[3:]]), "videos/shoe/up-1", name="shoe") == key
    assert world.stored(key) == head
    assert world.aws["s3"].head_object(Bucket=VIDEOS, Key=key)["ContentType"].startswith("image/")


def test_a_last_frame_that_is_no_image_is_not_stored(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.media.store_frame(iter([b"<html>"]), "videos/shoe/up-1", name="shoe") is None
    monkeypatch.setattr(media_module, "MAX_IMAGE_BYTES", 10)
    with pytest.raises(SourceUnavailable, match="larger than 10 bytes"):
        world.media.store_frame(iter([b"\xff\xd8\xff" + bytes(8)]), "videos/shoe/up-1", name="shoe")
    assert world.video_keys() == []
