"""Finding the video's link in a response: every shape it may have, and everything that must not be mistaken for it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from seedance.errors import ForbiddenSource
from seedance.jobs.job import Job, State
from seedance.provider import links
from seedance.provider.links import DEEPEST, Result, Sent

pytestmark = pytest.mark.hostile(kind="answer")

HOSTS = frozenset({"images.segmind.com", "127.0.0.1:9000"})
LINK = "https://images.segmind.com/v.mp4"
OTHER = "https://images.segmind.com/w.mp4"
PLAIN = "https://images.segmind.com/files/5d6e"
FRAME = "https://images.segmind.com/f.png"
FOREIGN = "https://cdn.new-host.example/v.mp4"
IMAGE = "https://shop.example/shoe.png"
REFERENCE = "https://images.segmind.com/mine/dance.mp4"
PARAMETERS = {
    "prompt": f"as in {OTHER}, but slower",
    "first_frame_url": IMAGE,
    "reference_videos": [REFERENCE, "https://images.segmind.com/m%20ine/2.mp4?X-Amz-Signature=aa"],
}


def deep(levels: int, inner: object) -> object:
    for _ in range(levels):
        inner = {"data": inner}
    return inner


def quoted(levels: int, inner: object) -> object:
    for _ in range(levels):
        inner = json.dumps(inner)
    return inner


FOUND: list[tuple[object, str]] = [
    ({"output": LINK}, LINK),
    (LINK, LINK),
    ([LINK], LINK),
    ({"output": [LINK]}, LINK),
    ({"output": [[LINK]]}, LINK),
    ({"output": ["", LINK]}, LINK),
    ({"output": [None, {}, [], LINK]}, LINK),
    ({"output": [LINK, "second"]}, LINK),
    ({"output": {"url": LINK}}, LINK),
    ({"output": {"url": [LINK]}}, LINK),
    ({"output": [{"url": LINK}]}, LINK),
    ({"output": {"video": LINK}}, LINK),
    ({"output": {"video": {"url": LINK}}}, LINK),
    ({"output": {"video_url": LINK}}, LINK),
    ({"output": {"videos": [{"url": LINK}]}}, LINK),
    ({"output": {"type": "video", "value": LINK}}, LINK),
    ({"output": {"mp4": LINK, "duration": 5}}, LINK),
    ({"output": None, "video": LINK}, LINK),
    ({"output": "", "video": {"url": LINK}}, LINK),
    ({"output": {}, "videos": [LINK]}, LINK),
    ({"videos": [{"url": LINK, "content_type": "video/mp4"}]}, LINK),
    ({"videos": [{"video": {"url": LINK}}]}, LINK),
    ({"video_url": LINK}, LINK),
    ({"videoUrl": LINK}, LINK),
    ({"Output": LINK}, LINK),
    ({"outputs": [{"video": LINK}]}, LINK),
    ({"url": LINK}, LINK),
    ({"data": {"output": LINK}}, LINK),
    ({"data": [{"video_url": LINK}]}, LINK),
    ({"result": {"files": [{"uri": LINK}]}}, LINK),
    ({"response": {"artifacts": [LINK]}}, LINK),
    ({"output": json.dumps({"url": LINK})}, LINK),
    ({"output": json.dumps([LINK])}, LINK),
    ({"output": quoted(3, {"video": {"url": LINK}})}, LINK),
    ({"output": f'"{LINK}"'}, LINK),
    ({"output": f"  {LINK}\r\n"}, LINK),
    ({"output": f"\ufeff{LINK}"}, LINK),
    ({"output": "HTTPS://images.segmind.com/v.mp4"}, LINK),
    ({"output": "https://IMAGES.SEGMIND.COM/v.mp4"}, "https://IMAGES.SEGMIND.COM/v.mp4"),
    ({"output": "https://images.segmind.com:443/v.mp4"}, "https://images.segmind.com:443/v.mp4"),
    ({"output": "//images.segmind.com/v.mp4"}, LINK),
    ({"output": "https://images.segmind.com/V.MP4"}, "https://images.segmind.com/V.MP4"),
    ({"output": f"{LINK}?X-Amz-Signature=ab"}, f"{LINK}?X-Amz-Signature=ab"),
    ({"output": "http://127.0.0.1:9000/media/v.mp4"}, "http://127.0.0.1:9000/media/v.mp4"),
    ({"output": PLAIN}, PLAIN),
    ({"data": {"output": {"url": PLAIN}}}, PLAIN),
    (deep(DEEPEST - 1, LINK), LINK),
    # a video takes precedence over an image, in any order and under any name
    ({"output": [FRAME, LINK]}, LINK),
    ({"output": {"image": FRAME, "url": LINK}}, LINK),
    ({"output": FRAME, "files": [LINK]}, LINK),
    ({"output": PLAIN, "video": LINK}, LINK),
    ({"output": {"image": LINK}}, LINK),
    ({"output": {"cover_url": PLAIN, "url": LINK}}, LINK),
    ({"output": {"url": LINK, "preview_url": OTHER, "thumbnail": f"{LINK}.webp"}}, LINK),
    # one file, however often it is named; with its signature, if any of the links has it
    ({"output": LINK, "video": {"url": LINK}, "url": LINK}, LINK),
    ({"output": LINK, "video": f"{LINK}?X-Amz-Signature=ab&Expires=5"}, f"{LINK}?X-Amz-Signature=ab&Expires=5"),
    # the usual field takes precedence over the rest of the response
    ({"output": LINK, "earlier": {"files": [OTHER]}}, LINK),
    ({"related": [{"output": OTHER}], "output": LINK}, LINK),
    # a link that is not allowed is ignored if there is an allowed one
    ({"output": FOREIGN, "copies": [LINK]}, LINK),
    ({"output": [FOREIGN, LINK]}, LINK),
    ({"status": "COMPLETED", "output": LINK, "status_url": "https://images.segmind.com/v2/requests/1/status"}, LINK),
    # what was sent is not the result
    ({"output": [REFERENCE, LINK]}, LINK),
    ({"output": LINK, "input": {"video": OTHER}, "request": {"output": OTHER}}, LINK),
    ({"output": LINK, "first_frame_url": IMAGE, "reference_videos": [REFERENCE]}, LINK),
]


@pytest.mark.parametrize(("answer", "link"), FOUND, ids=[json.dumps(answer)[:90] for answer, _ in FOUND])
def test_a_video_is_found_in_responses_of_every_shape(answer: object, link: str, make_job: Callable[..., Job]) -> None:
    found = links.read(answer, HOSTS, Sent.by(make_job(State.QUEUED, parameters=PARAMETERS)))
    assert (found.video, found.unclear, found.elsewhere) == (link, None, None)


OURS = (
    "https://images.segmind.com/b/uploads/shoe?response-content-disposition=inline%3B%20filename%3D%22up-1%22"
    "&X-Amz-Signature=ab"
)

NOT_TAKEN: list[object] = [
    *(None, 5, True, "", "x", {}, [], [None], {"output": None}, {"output": 5}, {"output": {}}, {"output": []}),
    *({"output": "v.mp4"}, {"output": "/v.mp4"}, {"output": "{"}, {"output": "[" * 5000}),
    {"output": "data:video/mp4;,"},
    *({"output": "file:///etc/passwd"}, {"output": "ftp://images.segmind.com/v.mp4"}, {"output": "https://"}),
    *({"output": FRAME}, {"output": {"last_frame": PLAIN}}, {"output": {"image": PLAIN}}, {"last_frame_url": LINK}),
    *({"output": "https://images.segmind.com/a.mp3"}, {"output": {"preview": LINK}}, {"thumbnail_url": LINK}),
    *({name: {"video": OTHER}} for name in ("input", "inputs", "request", "parameters", "body", "payload")),
    *({name: json.dumps({"video": LINK})} for name in ("request_body", "requestBody", "Request-Body", "INPUT")),
    *({"output": {"input": {"video": LINK}}}, {"data": {"request": {"body": [LINK]}}}, {"prompt": LINK}),
    {"output": {"request_body": json.dumps({"reference_videos": [LINK]})}},
    *({"output": REFERENCE}, {"output": IMAGE}, {"output": OTHER}, {"video": {"url": f"{REFERENCE}?X-Amz-Date=1"}}),
    *({"output": "https://images.segmind.com/m ine/2.mp4"}, {"output": REFERENCE.replace("https", "HTTPS")}),
    *({"output": OURS}, {"video": OURS.replace("shoe?", "shoe.mp4?")}, {"status_url": PLAIN}, {"user": {"url": PLAIN}}),
    {"message": f"It is at {LINK}"},
    deep(DEEPEST + 1, LINK),
]


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize("answer", NOT_TAKEN, ids=[json.dumps(answer)[:90] for answer in NOT_TAKEN])
def test_other_links_are_not_mistaken_for_the_video(answer: object, make_job: Callable[..., Job]) -> None:
    found = links.read(answer, HOSTS, Sent.by(make_job(State.QUEUED, parameters=PARAMETERS)))
    assert (found.video, found.elsewhere) == (None, None)
    assert found.unclear == "The response has no link to a video"


@pytest.mark.parametrize(
    "answer",
    [
        {"output": [LINK, OTHER]},
        {"output": LINK, "video": OTHER},
        {"output": json.dumps([LINK, {"url": OTHER}])},
        {"videos": [{"url": LINK}, {"url": OTHER}]},
        {"output": None, "files": [LINK, OTHER]},
        {"output": [PLAIN, f"{PLAIN}?n=2"]},
        {"output": [f"{LINK}?n=1", f"{LINK}?n=2"]},
    ],
)
def test_of_two_videos_neither_is_chosen(answer: object) -> None:
    found = links.read(answer, HOSTS)
    assert (found.video, found.elsewhere) == (None, None)
    assert found.unclear is not None
    assert "2 different videos" in found.unclear


def test_a_hundred_videos_make_a_short_message() -> None:
    answer = {"output": [f"https://images.segmind.com/{number}.mp4" for number in range(100)]}
    unclear = links.read(answer, HOSTS).unclear
    assert unclear is not None
    assert "100 different videos" in unclear
    assert unclear.endswith("https://images.segmind.com/4.mp4 and 95 more")


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize(
    ("url", "says"),
    [
        (FOREIGN, "cdn.new-host.example; only 127.0.0.1:9000, images.segmind.com is allowed"),
        ("https://cdn.new-host.example/5d6e", "cdn.new-host.example"),
        ("http://images.segmind.com/v.mp4", "uses http, not https"),
        ("https://images.segmind.com:8443/v.mp4", "images.segmind.com:8443"),
        ("https://user@images.segmind.com/v.mp4", "images.segmind.com"),
        ("https://images.segmind.com.evil.example/v.mp4", "images.segmind.com.evil.example"),
    ],
)
def test_a_video_on_another_host_is_kept_and_the_host_named(url: str, says: str) -> None:
    for answer in ({"output": url}, {"output": [url, FRAME]}, {"data": {"video": {"url": url}}}):
        found = links.read(answer, HOSTS)
        assert (found.video, found.elsewhere) == (None, url)
        assert found.unclear is not None
        assert says in found.unclear


@pytest.mark.hostile(kind="address")
def test_the_hosts_of_several_videos_are_named() -> None:
    found = links.read({"output": [FOREIGN, "https://b.example/2.mp4"]}, HOSTS)
    says = "The links in the response are on hosts that are not allowed: cdn.new-host.example, b.example"
    assert found == Result(unclear=says, videos=2)


@pytest.mark.parametrize(
    ("answer", "frame"),
    [
        ({"output": LINK, "last_frame_url": FRAME}, FRAME),
        ({"output": LINK, "last_frame": {"url": PLAIN}}, PLAIN),
        ({"output": {"video": LINK, "lastFrame": [FRAME]}}, FRAME),
        ({"output": LINK, "last_frame_url": IMAGE}, None),
        ({"output": LINK, "input": {"last_frame_url": FRAME}}, None),
        ({"output": [LINK, FRAME]}, None),
        ({"output": LINK, "last_frame_url": None}, None),
    ],
)
def test_a_last_frame_is_found_by_its_field_name(answer: object, frame: str | None) -> None:
    assert links.read(answer, HOSTS, Sent.of({"last_frame_url": IMAGE})) == Result(LINK, frame, videos=1)


@pytest.mark.parametrize(
    ("urls", "video"),
    [
        ([], None),
        ([None], None),
        ([FRAME], None),
        ([LINK], LINK),
        ([FRAME, LINK], LINK),
        ([LINK, None, FRAME, LINK], LINK),
        ([PLAIN, FRAME], PLAIN),
        ([LINK, OTHER], None),
    ],
)
def test_only_video_finds_the_single_video_of_a_requests_outputs(urls: list[str | None], video: str | None) -> None:
    assert links.only_video(urls) == video


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize("url", ["https://[x/v.mp4", "https://images.segmind.com:port/v.mp4", "https://\x00/v.mp4"])
def test_an_invalid_url_is_ignored_or_forbidden(url: str) -> None:
    assert links.read({"output": [url, LINK]}, HOSTS, Sent.of({"a": [url]})).video == LINK
    with pytest.raises(ForbiddenSource):
        links.check(url, HOSTS)


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize("value", [{"a": {"b": [LINK, {"c": f"see {LINK} there"}]}}, [LINK], LINK])
def test_an_address_that_was_sent_is_recognised_in_any_structure(value: Any) -> None:
    sent = Sent.of(value)
    assert LINK in sent
    assert f"{LINK}?X-Amz-Signature=ab" in sent
    assert OTHER not in sent
