"""Responses that no client may trust: huge, endless, for another request, or containing secrets or nonsense."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from api_calls import BODY, HISTORY, completed, submitted

from local.sandbox import Sandbox
from local.sandbox.damage import DEEP_LEVELS
from local.sandbox.inprocess import KEY
from local.sandbox.kinds import API


@pytest.mark.parametrize("stage", API)
def test_an_error_can_repeat_the_whole_request(
    sandbox: Sandbox, call: Callable[[str], httpx.Response], stage: str
) -> None:
    sandbox.fault(stage, "echo", status=400)
    answer = call(stage)
    assert answer.status_code == 400
    assert KEY in answer.json()["error"]
    assert KEY in answer.headers["x-debug-key"]


@pytest.mark.parametrize("stage", API)
def test_a_reset_can_be_a_year_ahead(sandbox: Sandbox, call: Callable[[str], httpx.Response], stage: str) -> None:
    sandbox.fault(stage, "far-reset")
    answer = call(stage)
    assert answer.status_code == 429
    reset = datetime.fromisoformat(answer.headers["x-rate-limit-reset-at-utc"])
    assert timedelta(days=360) < reset - datetime.now(UTC) < timedelta(days=370)


@pytest.mark.parametrize("stage", API)
def test_an_error_text_can_hold_half_an_emoji(
    sandbox: Sandbox, call: Callable[[str], httpx.Response], stage: str
) -> None:
    sandbox.fault(stage, "half-emoji")
    assert call(stage).json() == {"error": "it broke \ud83d"}


@pytest.mark.parametrize(
    ("kind", "options", "least"),
    [
        ("gzip-bomb", {}, 64_000_000),
        ("gzip-bomb", {"megabytes": 80}, 80_000_000),
        ("huge", {}, 24_000_000),
        ("huge", {"megabytes": 30}, 30_000_000),
        ("deep", {}, 2 * DEEP_LEVELS),
    ],
)
def test_a_response_can_be_huge(
    *, sandbox: Sandbox, call: Callable[[str], httpx.Response], kind: str, options: dict[str, int], least: int
) -> None:
    sandbox.fault("history", kind, **options)
    answer = call("history")
    assert answer.status_code == 200
    assert len(answer.content) > least
    if kind == "gzip-bomb":
        assert int(answer.headers["content-length"]) < least / 500
    if kind == "deep":
        with pytest.raises(RecursionError):
            answer.json()


def test_a_response_can_arrive_one_byte_at_a_time(sandbox: Sandbox, call: Callable[[str], httpx.Response]) -> None:
    sandbox.fault("credits", "drip", seconds=0.01)
    answer = call("credits")
    assert answer.json() == {"credits": 100.0}
    assert answer.elapsed.total_seconds() >= 0.01 * len(answer.content) * 0.9


def test_the_head_of_a_response_can_arrive_one_byte_at_a_time(
    sandbox: Sandbox, call: Callable[[str], httpx.Response]
) -> None:
    sandbox.fault("credits", "drip-head", seconds=0.005)
    answer = call("credits")
    assert answer.json() == {"credits": 100.0}
    assert answer.elapsed.total_seconds() >= 0.005 * 50


@pytest.mark.parametrize("stage", API)
def test_interim_responses_can_come_first(sandbox: Sandbox, call: Callable[[str], httpx.Response], stage: str) -> None:
    sandbox.fault(stage, "interim")
    assert call(stage).status_code == 200
    assert sandbox.calls()[-1]["fault"] == "interim"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, gzip", "identity", "br"])
def test_a_response_can_be_compressed_or_only_said_to_be(sandbox: Sandbox, api: httpx.Client, encoding: str) -> None:
    sandbox.fault("credits", "packed", encoding=encoding)
    with api.stream("GET", "/v1/get-user-credits") as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == encoding
    assert (raw == b'{"credits": 100.0}') == (encoding in ("identity", "br"))


def test_a_history_can_have_no_end(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.fault("history", "endless", times=2)
    pages = [api.get(HISTORY, params={"page": page}).json() for page in (1, 5000)]
    assert {len(page["data"]) for page in pages} == {100}
    assert len({row["request_id"] for page in pages for row in page["data"]}) == 200
    assert pages[1]["total_pages"] > 5000


def test_a_result_can_be_for_another_request(sandbox: Sandbox, api: httpx.Client) -> None:
    job = submitted(api)
    sandbox.fault("result", "foreign-id")
    wrong = api.get(job["response_url"]).json()
    assert wrong["status"] == "COMPLETED"
    assert wrong["request_id"] != job["request_id"]
    assert job["request_id"] not in wrong["output"]


def test_a_result_can_have_impossible_metrics(sandbox: Sandbox, api: httpx.Client) -> None:
    job = completed(sandbox, api)
    sandbox.fault("result", "poison-metrics", cost="NaN")
    metrics = api.get(job["response_url"]).json()["metrics"]
    assert (metrics["cost"], metrics["total_time"]) == ("NaN", 0.0004)


@pytest.mark.parametrize(("kind", "words"), [("fail-with-echo", BODY["prompt"]), ("fail-half-emoji", "\ud83d")])
def test_a_failed_job_can_say_anything(sandbox: Sandbox, api: httpx.Client, kind: str, words: str) -> None:
    sandbox.fault("job", kind)
    job = completed(sandbox, api)
    answer = api.get(job["response_url"])
    assert answer.status_code == 422
    assert words in answer.json()["error"]


def test_the_provider_uses_its_own_clock(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.configure(clock_skew=-3000)
    submitted(api)
    window = {"from_date": (datetime.now(UTC) - timedelta(days=1)).date().isoformat()}
    (row,) = api.get(HISTORY, params=window).json()["data"]
    behind = datetime.now(UTC) - datetime.fromisoformat(row["created_at"])
    assert 2990 < behind.total_seconds() < 3060
    sandbox.fault("credits", "http-429", seconds=60)
    reset = datetime.fromisoformat(api.get("/v1/get-user-credits").headers["x-rate-limit-reset-at-utc"])
    assert -3000 < (reset - datetime.now(UTC)).total_seconds() < -2900


# the file ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def video(sandbox: Sandbox, api: httpx.Client) -> tuple[str, bytes]:
    """A finished job's file: its URL and its bytes."""
    url = f"{sandbox.url}/media/{completed(sandbox, api)['request_id']}.mp4"
    return url, sandbox.control.get(url).content


def test_a_redirect_can_have_any_location_and_status(sandbox: Sandbox, video: tuple[str, bytes]) -> None:
    sandbox.fault("media", "redirect", location="  //{host}{path}?{url}", status=308)
    answer = sandbox.control.get(video[0])
    base, path = sandbox.url.removeprefix("http://"), video[0].removeprefix(sandbox.url)
    assert (answer.status_code, answer.headers["location"]) == (308, f"//{base}{path}?{video[0]}")


def test_a_file_can_be_compressed_or_only_said_to_be(sandbox: Sandbox, video: tuple[str, bytes]) -> None:
    sandbox.fault("media", "compressed")
    answer = sandbox.control.get(video[0])
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) != len(video[1])
    assert answer.content == video[1]
    sandbox.fault("media", "wrong-content-type", content_type="image/gif", encoding="br")
    with sandbox.control.stream("GET", video[0]) as raw:
        assert (raw.headers["content-type"], raw.headers["content-encoding"]) == ("image/gif", "br")
        assert b"".join(raw.iter_raw()) == video[1]


def test_a_file_can_arrive_one_byte_at_a_time(sandbox: Sandbox, video: tuple[str, bytes]) -> None:
    sandbox.fault("media", "trickle", seconds=0.01)
    with sandbox.control.stream("GET", video[0]) as raw:
        pieces = [piece for _, piece in zip(range(5), raw.iter_raw(), strict=False)]
    assert b"".join(pieces) == video[1][: len(b"".join(pieces))]
    assert len(b"".join(pieces)) < 100


def test_all_files_can_have_bytes_behind_their_last_box(sandbox: Sandbox, video: tuple[str, bytes]) -> None:
    sandbox.configure(video_tail="00ff")
    assert sandbox.control.get(video[0]).content == video[1] + b"\0\xff"
