"""Responses that no client may trust: huge, endless, for another request, or containing secrets or nonsense."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from api_calls import BODY, HISTORY, completed, submitted

from local.sandbox import Sandbox
from local.sandbox.damage import BOMB_BYTES, DEEP_LEVELS, HUGE_BYTES
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
    ("kind", "least"), [("gzip-bomb", BOMB_BYTES), ("huge", HUGE_BYTES), ("deep", 2 * DEEP_LEVELS)]
)
def test_a_response_can_be_huge(sandbox: Sandbox, call: Callable[[str], httpx.Response], kind: str, least: int) -> None:
    sandbox.fault("history", kind)
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
