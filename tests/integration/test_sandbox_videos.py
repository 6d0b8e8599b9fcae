"""The stand-in's images and videos: downloaded over a real socket, checked with PyAV."""

import base64
import io
import socket
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from pictures import BLUE, DRAWN, RED, picture, turned

from local.sandbox import Sandbox, running

BODY = {"prompt": "a horse", "aspect_ratio": "1:1", "resolution": "480p", "duration": 4, "generate_audio": False}


def uploaded(api: httpx.Client, data: bytes, kind: str = "image/png") -> str:
    url = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return str(api.post("/upload-asset", json={"data_urls": [url]}).json()["file_urls"][0])


def made(sandbox: Sandbox, api: httpx.Client, slug: str = "seedance-2.0-mini", **changes: Any) -> dict[str, Any]:
    """The result of a job, once it has ended."""
    answer = api.post(f"/v2/{slug}", json=BODY | changes)
    assert answer.status_code == 200, answer.text
    sandbox.finished(answer.json()["request_id"])
    return dict(api.get(answer.json()["response_url"]).json())


def frames_of(video: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(video)) as container:
        return list(container.decode(video=0))


def colour_at(frame: av.VideoFrame, x: float, y: float) -> tuple[int, ...]:
    shown = frame.reformat(format="rgb24")
    plane = shown.planes[0]
    start = int(y * (shown.height - 1)) * plane.line_size + 3 * int(x * (shown.width - 1))
    return tuple(bytes(plane)[start : start + 3])


def is_about(colour: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return all(abs(a - b) < 25 for a, b in zip(colour, wanted, strict=True))


@pytest.mark.parametrize(
    ("changes", "size", "seconds"),
    [
        ({}, (480, 480), 4),
        ({"aspect_ratio": "16:9", "duration": 5}, (854, 480), 5),
        ({"aspect_ratio": "9:16", "resolution": "720p"}, (720, 1280), 4),
        ({"aspect_ratio": "21:9"}, (1120, 480), 4),
        ({"aspect_ratio": "4:3", "resolution": "1080p"}, (1440, 1080), 4),
        ({"duration": 15}, (480, 480), 15),
    ],
)
def test_a_video_has_the_requested_length_ratio_and_resolution(
    sandbox: Sandbox, api: httpx.Client, changes: dict[str, Any], size: tuple[int, int], seconds: int
) -> None:
    answer = api.get(made(sandbox, api, **changes)["output"])
    assert answer.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(answer.content)) as container:
        (stream,) = container.streams
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height, stream.pix_fmt) == (*size, "yuv420p")
        assert stream.average_rate == 6
        assert sum(1 for _ in container.decode(stream)) == seconds * 6
        assert container.duration == pytest.approx(seconds * 1_000_000, rel=0.01)


def test_a_video_can_be_played_while_it_loads(sandbox: Sandbox, api: httpx.Client) -> None:
    video = api.get(made(sandbox, api)["output"]).content
    assert 0 < video.index(b"moov") < video.index(b"mdat")


@pytest.mark.parametrize("wanted", [True, False])
def test_a_video_has_sound_only_if_requested(sandbox: Sandbox, api: httpx.Client, wanted: bool) -> None:
    with av.open(io.BytesIO(api.get(made(sandbox, api, generate_audio=wanted)["output"]).content)) as container:
        assert [stream.codec_context.name for stream in container.streams.audio] == ["aac"] * wanted
        assert container.duration == pytest.approx(4_000_000, rel=0.02)


def test_an_automatic_length_is_five_seconds(sandbox: Sandbox, api: httpx.Client) -> None:
    video = api.get(made(sandbox, api, "seedance-2.0-fast", duration=-1)["output"]).content
    assert len(frames_of(video)) == 5 * 6


def test_the_same_prompt_gives_the_same_image_and_another_prompt_another(sandbox: Sandbox, api: httpx.Client) -> None:
    first, again, other = (
        made(sandbox, api, prompt=words, first_frame_url="")["output"]  # without it: the sample image
        for words in ("a red car", "a red car", "a blue car")
    )
    look = [colour_at(frames_of(api.get(url).content)[0], 0.5, 0.5) for url in (first, again, other)]
    assert look[0] == look[1] != look[2]


def test_each_job_has_a_unique_file(sandbox: Sandbox, api: httpx.Client) -> None:
    first, again = made(sandbox, api), made(sandbox, api)
    videos = [api.get(result["output"]) for result in (first, again)]
    assert videos[0].content != videos[1].content
    assert videos[0].headers["etag"] != videos[1].headers["etag"]
    assert videos[0].content.endswith(b"free" + first["request_id"].encode())
    assert len(frames_of(videos[0].content)) == len(frames_of(videos[1].content)) == 4 * 6


@pytest.mark.parametrize("codec", ["png", "mjpeg", "libwebp", "gif", "bmp", "tiff"])
def test_the_video_shows_the_image_whatever_its_format(sandbox: Sandbox, api: httpx.Client, codec: str) -> None:
    url = uploaded(api, picture(RED, codec=codec))
    frames = frames_of(api.get(made(sandbox, api, first_frame_url=url)["output"]).content)
    for frame in (frames[0], frames[-1]):
        assert is_about(colour_at(frame, 0.5, 0.5), RED)


def test_the_zoom_keeps_the_image_centred(sandbox: Sandbox, api: httpx.Client) -> None:
    # Red except for a blue block in the middle: as the video zooms in, the block grows equally on all sides.
    frame = av.VideoFrame(480, 480, "rgb24")
    rows = [b"".join(bytes(BLUE if 160 <= x < 320 and 160 <= y < 320 else RED) for x in range(480)) for y in range(480)]
    frame.planes[0].update(b"".join(row.ljust(frame.planes[0].line_size, b"\0") for row in rows))
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 480, 480, "rgb24", Fraction(1, 1)
    png = b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
    frames = frames_of(api.get(made(sandbox, api, first_frame_url=uploaded(api, png))["output"]).content)

    def block(shown: av.VideoFrame) -> tuple[int, int]:
        middle = [is_about(colour_at(shown, x / 479, 0.5), BLUE) for x in range(480)]
        return middle.index(True), 480 - middle[::-1].index(True)

    first, last = block(frames[0]), block(frames[-1])
    assert last[0] < first[0]
    assert last[1] > first[1]
    assert abs((first[0] - last[0]) - (last[1] - first[1])) <= 8


def test_adaptive_uses_the_images_ratio(sandbox: Sandbox, api: httpx.Client) -> None:
    url = uploaded(api, picture(size=(320, 640)))
    video = api.get(made(sandbox, api, first_frame_url=url, aspect_ratio="adaptive")["output"]).content
    assert (frames_of(video)[0].width, frames_of(video)[0].height) == (480, 960)


@pytest.mark.parametrize(("orientation", "size"), [(1, (528, 480)), (3, (528, 480)), (6, (480, 528)), (8, (480, 528))])
def test_an_image_is_turned_as_its_exif_says(
    sandbox: Sandbox, api: httpx.Client, orientation: int, size: tuple[int, int]
) -> None:
    url = uploaded(api, turned((DRAWN / "baseline.jpg").read_bytes(), orientation), "image/jpeg")
    video = api.get(made(sandbox, api, first_frame_url=url, aspect_ratio="adaptive")["output"]).content
    assert (frames_of(video)[0].width, frames_of(video)[0].height) == size


@pytest.mark.hostile(kind="image")
@pytest.mark.parametrize("field", ["first_frame_url", "last_frame_url", "reference_images"])
@pytest.mark.parametrize(
    ("size", "says"),
    [
        ((10, 10), "10 x 10 pixels: width and height must be at least 300 pixels"),
        ((299, 300), "at least 300 pixels"),
        ((8000, 100), "at least 300 pixels"),
        ((1200, 300), "the aspect ratio (width / height) must be 0.4 to 2.5"),
        ((300, 760), "the aspect ratio (width / height) must be 0.4 to 2.5"),
    ],
)
def test_an_image_of_another_size_or_shape_than_bytedance_accepts_fails_the_job(
    *, sandbox: Sandbox, api: httpx.Client, field: str, size: tuple[int, int], says: str
) -> None:
    url = uploaded(api, picture(size=size))
    files = {"first_frame_url": uploaded(api, picture())} if field == "last_frame_url" else {}
    result = made(sandbox, api, **{**files, field: [url] if field == "reference_images" else url})
    assert result["status"] == "FAILED"
    assert says in result["error"]
    assert sandbox.state.credits == 100


@pytest.mark.parametrize("size", [(300, 300), (300, 750), (750, 300)])
def test_an_image_at_the_limits_is_accepted(sandbox: Sandbox, api: httpx.Client, size: tuple[int, int]) -> None:
    assert made(sandbox, api, first_frame_url=uploaded(api, picture(size=size)))["status"] == "COMPLETED"


def test_a_reference_image_is_shown_too(sandbox: Sandbox, api: httpx.Client) -> None:
    url = uploaded(api, picture(BLUE))
    frame = frames_of(api.get(made(sandbox, api, reference_images=[url])["output"]).content)[0]
    assert is_about(colour_at(frame, 0.5, 0.5), BLUE)


def test_the_last_frame_is_an_image_of_the_end(sandbox: Sandbox, api: httpx.Client) -> None:
    result = made(sandbox, api, first_frame_url=uploaded(api, picture(BLUE)), return_last_frame=True)
    answer = api.get(result["last_frame_url"])
    assert answer.headers["content-type"] == "image/png"
    (frame,) = frames_of(answer.content)
    assert (frame.width, frame.height) == (480, 480)
    assert is_about(colour_at(frame, 0.5, 0.5), BLUE)


def test_there_is_a_last_frame_only_if_requested(sandbox: Sandbox, api: httpx.Client) -> None:
    result = made(sandbox, api)
    assert "last_frame_url" not in result
    assert api.get(result["output"].replace(".mp4", "-last.png")).status_code == 404


def test_the_image_is_really_fetched_and_the_fetch_logged(sandbox: Sandbox, api: httpx.Client) -> None:
    url = uploaded(api, picture())
    made(sandbox, api, first_frame_url=url)
    (fetch,) = sandbox.calls("/media/asset-")
    assert (fetch["method"], fetch["key"], fetch["status"]) == ("GET", None, 200)


def closed_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.mark.parametrize("field", ["first_frame_url", "reference_images", "reference_videos"])
def test_an_unreachable_file_fails_the_job_with_a_message_without_the_signature(
    sandbox: Sandbox, api: httpx.Client, field: str
) -> None:
    url = f"http://127.0.0.1:{closed_port()}/a.png?X-Amz-Signature=secret"
    result = made(sandbox, api, **{field: url if field.endswith("url") else [url]})
    assert result["status"] == "FAILED"
    assert "could not be downloaded" in result["error"]
    assert "secret" not in result["error"]
    assert sandbox.state.credits == 100


def test_a_missing_image_fails_the_job(sandbox: Sandbox, api: httpx.Client) -> None:
    result = made(sandbox, api, first_frame_url=f"{sandbox.url}/media/asset-none.png")
    assert "HTTP 404" in result["error"]


@pytest.mark.parametrize("data", [b"<html>no picture</html>", b"\x89PNG\r\n\x1a\n" + b"\0" * 60, b"\0"])
def test_a_file_that_is_not_an_image_fails_the_job(sandbox: Sandbox, api: httpx.Client, data: bytes) -> None:
    result = made(sandbox, api, first_frame_url=uploaded(api, data))
    assert result["status"] == "FAILED"
    assert "image" in result["error"]


def test_a_video_instead_of_an_image_fails_the_job(sandbox: Sandbox, api: httpx.Client) -> None:
    result = made(sandbox, api, first_frame_url=made(sandbox, api)["output"])
    assert "not an image" in result["error"]


def test_a_given_last_frame_must_be_an_image_too(sandbox: Sandbox, api: httpx.Client) -> None:
    result = made(
        sandbox, api, first_frame_url=uploaded(api, picture()), last_frame_url=uploaded(api, b"no picture at all")
    )
    assert "image" in result["error"]


# the files ------------------------------------------------------------------------------------------------


def test_a_file_needs_no_key_and_has_its_length(sandbox: Sandbox, api: httpx.Client) -> None:
    url = made(sandbox, api)["output"]
    whole, head = sandbox.control.get(url), sandbox.control.head(url)
    assert int(whole.headers["content-length"]) == len(whole.content)
    assert head.content == b""
    for name in ("content-length", "content-type", "etag", "accept-ranges"):
        assert head.headers[name] == whole.headers[name]


def test_parts_of_a_file_make_up_the_whole(sandbox: Sandbox, api: httpx.Client) -> None:
    url = made(sandbox, api)["output"]
    whole = sandbox.control.get(url).content
    tail = len(whole) - 30  # inside the box that is not stored on disk
    parts = []
    for span in ("0-999", f"1000-{tail - 1}", f"{tail}-", "-10"):
        part = sandbox.control.get(url, headers={"range": f"bytes={span}"})
        assert part.status_code == 206
        assert part.headers["content-range"].endswith(f"/{len(whole)}")
        parts.append(part.content)
    assert b"".join(parts[:3]) == whole
    assert parts[3] == whole[-10:]


def test_a_range_past_the_end_is_416(sandbox: Sandbox, api: httpx.Client) -> None:
    url = made(sandbox, api)["output"]
    size = int(sandbox.control.head(url).headers["content-length"])
    answer = sandbox.control.get(url, headers={"range": f"bytes={size}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")


@pytest.mark.parametrize("name", ["none.mp4", "asset-none.png", "asset-..%2f..%2fetc%2fpasswd", "..%2fsandbox.json"])
def test_no_other_file_is_served(api: httpx.Client, name: str) -> None:
    assert api.get(f"/media/{name}").status_code == 404


def test_a_running_job_has_no_file_yet(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.configure(time_scale=1.0)
    request_id = api.post("/v2/seedance-2.0-mini", json=BODY).json()["request_id"]
    assert api.get(f"/media/{request_id}.mp4").status_code == 404


def test_identical_videos_are_encoded_once(tmp_path: Path) -> None:
    with running(time_scale=0.001, fps=6, state=tmp_path / "state.json") as sandbox, sandbox.client() as api:
        url = uploaded(api, picture())
        ids = [
            api.post("/v2/seedance-2.0-mini", json=BODY | {"first_frame_url": f"{url}?n={n}"}).json()["request_id"]
            for n in range(20)
        ]
        for request_id in ids:
            assert sandbox.finished(request_id).status == "COMPLETED"
        assert len(list((tmp_path / "state.json.media").glob("*.mp4"))) == 1
