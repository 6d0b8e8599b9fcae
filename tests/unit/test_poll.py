"""Poll: one request to the provider; no response, however odd, loses a video before its hour is over."""

from collections.abc import Callable
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from seedance.errors import ConfigurationError
from seedance.jobs.job import Job, State
from seedance.jobs.tasks import TaskStatus
from seedance.pacing import poll_schedule
from seedance.poll import MISSING_POLLS, Poll
from seedance.provider.client import Provider

Make = Callable[..., Job]
LINK = "https://images.segmind.com/v.mp4"
FRAME = "https://images.segmind.com/f.png"
STEP, UNREACHABLE = 10, 30


def answer(status: str, http: int = 200, **fields: Any) -> httpx.Response:
    return httpx.Response(http, json={"status": status, "request_id": "req-1", **fields})


def assert_runs(outcome: dict[str, Any], wait: float) -> None:
    """The job will be polled again in ``wait`` seconds, in a slot if one is booked."""
    assert outcome == {"job_id": "up-1", "status": "RUNNING", "error": None, "wait_seconds": wait, "slot": ANY}


def history(*rows: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"data": list(rows)})


@pytest.mark.parametrize(
    ("before", "said", "after"),
    [
        (State.QUEUED, "QUEUED", State.QUEUED),
        (State.QUEUED, "PROCESSING", State.PROCESSING),
        (State.PROCESSING, "PROCESSING", State.PROCESSING),
        (State.PROCESSING, "QUEUED", State.PROCESSING),
    ],
)
def test_a_running_job_is_polled_again(
    *, world: Any, poll: Poll, running: Any, before: State, said: str, after: State
) -> None:
    running(state=before)
    world.wire.will(answer(said))
    wait = poll_schedule.next_wait(50, world.job().spread, 5)
    assert_runs(poll("up-1"), wait)
    assert world.job().state is after
    assert world.wire.asked == ["GET https://api.segmind.com/v2/requests/req-1"]


@pytest.mark.parametrize("before", [State.QUEUED, State.PROCESSING])
def test_a_link_is_recorded_as_soon_as_it_is_seen(world: Any, poll: Poll, running: Any, before: State) -> None:
    running(state=before)
    metrics = {"inference_time": 55.5, "queue_time": 2, "total_time": 57.5, "cost": 0.25}
    world.wire.will(answer("COMPLETED", output=LINK, last_frame_url=FRAME, metrics=metrics))
    assert poll("up-1") == {"job_id": "up-1", "status": "COMPLETED", "error": None}
    job = world.job()
    assert (job.state, job.result_url, job.last_frame_url, job.cost_usd) == (State.COPYING, LINK, FRAME, 0.25)
    assert job.metrics == {"inference": 55.5, "queue": 2, "total": 57.5}


def test_a_videos_duration_is_recorded_once(world: Any, poll: Poll, running: Any) -> None:
    job = running(age=60)
    world.wire.will(answer("COMPLETED", output=LINK, metrics={"total_time": 57.5, "queue_time": 2}))
    poll("up-1")
    poll("up-1")  # the same poll, delivered twice
    assert world.durations.of(job.model) == [57.5]


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize("total", [None, 0, -3, "nan", 57_500, 60.5, [57]])
def test_an_impossible_duration_is_not_recorded(world: Any, poll: Poll, running: Any, total: Any) -> None:
    job = running(age=60)
    world.wire.will(answer("COMPLETED", output=LINK, metrics={"total_time": total, "queue_time": 2}))
    assert poll("up-1")["status"] == "COMPLETED"
    assert world.durations.of(job.model) == []


def test_durations_are_in_the_providers_seconds(world: Any, make_pacer: Any, running: Any) -> None:
    job = running(age=6)
    world.wire.will(answer("COMPLETED", output=LINK, metrics={"total_time": 57.5}))
    Poll(world.store, world.provider, make_pacer(scale=0.1), world.durations, 0.1, world.clock)("up-1")
    assert world.durations.of(job.model) == [57.5]


def test_only_a_completed_video_adds_a_duration(world: Any, poll: Poll, running: Any) -> None:
    job = running(age=60)
    world.wire.will(
        answer("PROCESSING", metrics={"total_time": 40}),
        answer("COMPLETED", metrics={"total_time": 40}),
        answer("FAILED", metrics={"total_time": 40}),
    )
    assert [poll("up-1")["status"] for _ in range(3)] == ["RUNNING", "RUNNING", "FAILED"]
    assert world.durations.of(job.model) == []


@pytest.mark.parametrize(
    "trouble", [ClientError({"Error": {"Code": "Throttling"}}, "UpdateItem"), EndpointConnectionError(endpoint_url="x")]
)
def test_a_duration_that_cannot_be_stored_does_not_lose_the_video(
    *, world: Any, poll: Poll, running: Any, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    running(age=60)
    update = world.aws["dynamodb"].update_item

    def fails(**call: Any) -> Any:
        if call["Key"]["job_id"]["S"].startswith("durations#"):
            raise trouble
        return update(**call)

    monkeypatch.setattr(world.aws["dynamodb"], "update_item", fails)
    world.wire.will(answer("COMPLETED", output=LINK, metrics={"total_time": 57.5}))
    assert poll("up-1") == {"job_id": "up-1", "status": "COMPLETED", "error": None}
    assert world.job().result_url == LINK


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize("http", [200, 422])
@pytest.mark.parametrize(("said", "words"), [("blocked", "blocked"), (None, "gave no reason")])
def test_a_failed_job_says_why(world: Any, poll: Poll, running: Any, *, http: int, said: Any, words: str) -> None:
    running()
    world.wire.will(answer("FAILED", http, error=said))
    outcome = poll("up-1")
    assert (outcome["status"], outcome["error"]["code"]) == ("FAILED", "PROVIDER_JOB_FAILED")
    assert words in outcome["error"]["message"]
    assert world.job().state is State.QUEUED  # Fail closes the record


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ("Invalid value for duration: 7", "PROVIDER_REFUSED", "refused the parameter duration: Invalid value"),
        (
            "A real human face was blocked",
            "PROVIDER_JOB_FAILED",
            "does not accept first images with real people's faces",
        ),
    ],
)
def test_a_refusal_after_queueing_reads_like_a_refusal(
    *, world: Any, poll: Poll, running: Any, said: str, code: str, words: str
) -> None:
    running(model="seedance-2.0-fast")
    world.wire.will(answer("FAILED", 422, error=said))
    outcome = poll("up-1")
    assert (outcome["status"], outcome["error"]["code"]) == ("FAILED", code)
    assert words in outcome["error"]["message"]


LEARNED_NOTHING = [
    *(
        httpx.Response(status, json={"error": "x"})
        for status in (400, 401, 403, 405, 406, 410, 422, 500, 502, 503, 504, *range(520, 528), 530)
    ),
    httpx.Response(301, headers={"location": "https://elsewhere.example.com"}),
    httpx.Response(200, text="<html>"),
    httpx.Response(200, json={"output": LINK}),
    answer("RUNNING"),
    httpx.ConnectError("no"),
    httpx.ReadTimeout(""),
    httpx.RemoteProtocolError("closed"),
    httpx.DecodingError("not gzip"),
]


def name_of(thing: Any) -> str:
    return str(thing.status_code) if isinstance(thing, httpx.Response) else type(thing).__name__


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize("odd", LEARNED_NOTHING, ids=name_of)
def test_an_inconclusive_response_is_polled_again(world: Any, poll: Poll, running: Any, odd: Any) -> None:
    before = running()
    world.wire.will(odd)
    assert_runs(poll("up-1"), UNREACHABLE)
    assert world.job() == before
    assert world.counted() == {"PollsFailed": 1}


@pytest.mark.parametrize("status", [500, 401])
def test_inconclusive_responses_expire_the_job_after_its_hour(
    world: Any, poll: Poll, running: Any, status: int
) -> None:
    running(age=3600)
    world.wire.will(httpx.Response(status), history())
    outcome = poll("up-1")
    assert (outcome["status"], outcome["error"]["code"]) == ("EXPIRED", "DEADLINE")


@pytest.mark.parametrize(
    ("reset_in", "scale", "wait"),
    [(None, 1.0, STEP), (20, 1.0, 21), (5, 0.1, 51), (20, 0.1, 120), (-5, 1.0, STEP), (90_000, 1.0, 120)],
)
def test_a_rate_limit_is_waited_for_as_long_as_requested(
    *, world: Any, make_pacer: Any, running: Any, rate_limited: Any, reset_in: float | None, scale: float, wait: int
) -> None:
    running(age=50 * scale)
    world.wire.will(rate_limited(reset_in))
    outcome = Poll(world.store, world.provider, make_pacer(scale=scale), world.durations, scale, world.clock)("up-1")
    assert outcome["status"] == "RUNNING"
    assert outcome["wait_seconds"] == pytest.approx(wait, abs=1 / scale)
    assert world.counted() == {"PollsRateLimited": 1}


def test_a_limit_of_concurrent_videos_delays_no_poll(world: Any, running: Any) -> None:
    running()
    world.wire.will(httpx.Response(429, json={"error": "Too many concurrent requests"}))
    outcome = Poll(world.store, world.provider, world.pacer, world.durations, clock=world.clock)("up-1")
    assert (outcome["status"], outcome["wait_seconds"]) == ("RUNNING", STEP)
    assert world.pacer.poll_turn(None) is None


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize(
    "body",
    [
        httpx.Response(200, content='{"status": "COMPLETED", "deep": ' + "[" * 200_000),
        httpx.Response(200, json={"status": "COMPLETED", "request_id": "req-2", "output": LINK}),
        httpx.Response(422, json={"status": "FAILED", "request_id": "req-2", "error": "no"}),
        httpx.Response(200, content=b"x" * 2_000_000),
    ],
    ids=["deep", "foreign video", "foreign failure", "long"],
)
def test_an_untrustworthy_response_leaves_the_job_unchanged(world: Any, running: Any, body: httpx.Response) -> None:
    before = running()
    world.wire.will(body)
    outcome = Poll(world.store, world.provider, world.pacer, world.durations, clock=world.clock)("up-1")
    assert (outcome["status"], world.job()) == ("RUNNING", before)
    assert world.counted() == {"PollsFailed": 1}


@pytest.mark.parametrize("reason", ["empty secret", "no permission"])
def test_an_unreadable_key_loses_no_video(world: Any, running: Any, reason: str) -> None:
    def no_key() -> str:
        raise ConfigurationError(reason)

    running()
    at = Provider("https://api.segmind.com", "", "", key=no_key, transport=httpx.MockTransport(world.wire))
    assert Poll(world.store, at, world.pacer, world.durations, clock=world.clock)("up-1")["status"] == "RUNNING"


def test_a_record_missing_early_is_polled_until_the_hour_is_over(world: Any, poll: Poll, running: Any) -> None:
    running(age=50)
    for count in range(1, MISSING_POLLS):
        world.wire.will(httpx.Response(404))
        assert_runs(poll("up-1"), STEP)
        assert world.job().gone_polls == count
    world.wire.will(httpx.Response(404), history())
    assert poll("up-1")["status"] == "RUNNING"  # the history may lag; the video is being made and paid for


def test_a_record_missing_after_the_hour_is_believed_at_once(world: Any, poll: Poll, running: Any) -> None:
    running(age=3600)
    world.wire.will(httpx.Response(404), history())
    assert poll("up-1")["error"]["code"] == "RECORD_GONE"


@pytest.mark.parametrize("said", ["QUEUED", "PROCESSING"])
def test_a_record_that_reappears_resets_the_count(world: Any, poll: Poll, running: Any, said: str) -> None:
    running(gone_polls=MISSING_POLLS - 1)
    world.wire.will(answer(said))
    assert poll("up-1")["status"] == "RUNNING"
    assert world.job().gone_polls == 0


def test_a_late_link_is_accepted(world: Any, poll: Poll, running: Any) -> None:
    running()
    world.wire.will(answer("COMPLETED", output=None), answer("COMPLETED", output=LINK))
    assert [poll("up-1")["status"] for _ in range(2)] == ["RUNNING", "COMPLETED"]
    assert world.job().result_url == LINK


@pytest.mark.parametrize(("age", "wait"), [(0, 58), (50, 16), (99, 11), (3000, 60), (3590, 10), (3598.2, 1)])
def test_the_wait_follows_the_schedule_and_ends_at_the_deadline(
    *, world: Any, poll: Poll, running: Any, age: float, wait: int
) -> None:
    running(age=age, expected_seconds=100.0)
    world.wire.will(answer("QUEUED"))
    assert poll("up-1")["wait_seconds"] == wait


@pytest.mark.parametrize("said", ["QUEUED", "PROCESSING"])
def test_a_job_that_runs_past_its_hour_expires(world: Any, poll: Poll, running: Any, said: str) -> None:
    running(age=3600)
    world.wire.will(answer(said), history())
    outcome = poll("up-1")
    assert (outcome["status"], outcome["error"]["code"]) == ("EXPIRED", "DEADLINE")


def row(status: str, **fields: Any) -> dict[str, Any]:
    return {"request_id": "req-1", "model_status": status, **fields}


@pytest.mark.parametrize("first", [answer("PROCESSING"), httpx.Response(404), httpx.Response(500)], ids=name_of)
def test_before_a_job_expires_its_video_is_looked_up_in_the_history(
    world: Any, poll: Poll, running: Any, first: httpx.Response
) -> None:
    running(age=3600)
    foreign = {"request_id": "req-2", "model_status": "COMPLETED", "generation_url": "https://images.segmind.com/2.mp4"}
    world.wire.will(first, history(foreign, row("COMPLETED", generation_url=LINK, credits_deduction=0.3)))
    assert poll("up-1") == {"job_id": "up-1", "status": "COMPLETED", "error": None}
    assert (world.job().state, world.job().result_url, world.job().cost_usd) == (State.COPYING, LINK, 0.3)
    assert world.wire.asked[1].startswith("GET https://history.segmind.example/inference-request/request-history?")


def test_the_history_is_asked_for_the_request_by_its_id_first(world: Any, poll: Poll, running: Any) -> None:
    running(age=3600)
    world.wire.will(httpx.Response(404))
    world.wire.will_know("req-1", row("COMPLETED", generation_url=LINK, credits_deduction=0.3))
    assert poll("up-1") == {"job_id": "up-1", "status": "COMPLETED", "error": None}
    assert (world.job().result_url, world.job().cost_usd) == (LINK, 0.3)
    assert (world.wire.asked_by_id, len(world.wire.requests)) == (["req-1"], 1)


def test_a_request_of_any_age_is_found_by_its_id(world: Any, poll: Poll, running: Any) -> None:
    running(age=200 * 24 * 3600)
    world.wire.will(httpx.Response(404))
    world.wire.will_know("req-1", row("FAILED", error="out of steam"))
    assert poll("up-1")["status"] == "FAILED"


def test_the_history_may_know_why_there_is_no_video(world: Any, poll: Poll, running: Any) -> None:
    running(age=3600)
    world.wire.will(httpx.Response(404), history(row("FAILED", error="out of steam")))
    outcome = poll("up-1")
    assert (outcome["status"], outcome["error"]["code"]) == ("FAILED", "PROVIDER_JOB_FAILED")
    assert "out of steam" in outcome["error"]["message"]


@pytest.mark.parametrize(
    "said",
    [httpx.Response(500), httpx.Response(401), httpx.ReadTimeout(""), httpx.Response(200, json={}), "PROCESSING"],
    ids=["500", "401", "time-out", "no rows", "not over"],
)
def test_an_inconclusive_history_is_queried_for_another_hour(world: Any, poll: Poll, running: Any, said: Any) -> None:
    answers = history(row(said)) if isinstance(said, str) else said
    running(age=7199)
    world.wire.will(httpx.Response(404), answers)
    assert_runs(poll("up-1"), 300)
    running(age=7200, gone_polls=6)
    world.wire.will(httpx.Response(404), answers)
    assert poll("up-1")["status"] == "EXPIRED"


def test_a_history_first_queried_days_late_is_queried_more_than_once(world: Any, poll: Poll, running: Any) -> None:
    running(age=200_000)
    for _ in range(6):
        world.wire.will(httpx.Response(404), httpx.Response(500))
        assert_runs(poll("up-1"), 300)
    world.wire.will(httpx.Response(404), history(row("COMPLETED", generation_url=LINK)))
    assert poll("up-1")["status"] == "COMPLETED"


def test_an_unreadable_key_at_the_deadline_loses_no_video(world: Any, running: Any) -> None:
    def no_key() -> str:
        raise ConfigurationError("no permission")

    running(age=3600)
    at = Provider("https://a", "", "https://b", key=no_key, transport=httpx.MockTransport(world.wire))
    assert Poll(world.store, at, world.pacer, world.durations, clock=world.clock)("up-1")["status"] == "RUNNING"


def test_a_video_completed_after_its_hour_is_still_accepted(world: Any, poll: Poll, running: Any) -> None:
    running(age=4000)
    world.wire.will(answer("COMPLETED", output=LINK))
    assert poll("up-1")["status"] == "COMPLETED"


def test_with_a_faster_stand_in_the_hour_is_shorter(world: Any, make_pacer: Any, running: Any) -> None:
    running(age=360)
    world.wire.will(answer("QUEUED"), history())
    assert (
        Poll(world.store, world.provider, make_pacer(scale=0.1), world.durations, 0.1, world.clock)("up-1")["status"]
        == "EXPIRED"
    )


@pytest.mark.parametrize("state", [State.COPYING, State.COMPLETED])
def test_a_repeated_poll_continues_to_finalize_without_a_request(
    *, world: Any, poll: Poll, running: Any, state: State
) -> None:
    running(state=state)
    assert poll("up-1") == {"job_id": "up-1", "status": "COMPLETED", "error": None}
    assert world.wire.requests == []


@pytest.mark.parametrize(
    "state",
    [*(s for s in State if s.terminal and s is not State.COMPLETED), State.HELD, State.UNCERTAIN, State.RECEIVED],
)
@pytest.mark.parametrize("error", [None, {"code": "X", "message": "because"}])
def test_a_job_that_is_not_running_ends_its_loop(
    *, world: Any, poll: Poll, running: Any, state: State, error: dict[str, str] | None
) -> None:
    before = running(state=state, error=error)
    outcome = poll("up-1")
    status = "HELD" if state is State.HELD else "FAILED"
    assert (outcome["status"], outcome["error"]["code"]) == (status, "X" if error else "NOT_RUNNING")
    assert world.wire.requests == []
    assert world.job() == before


def test_a_concurrent_transition_is_not_overwritten(
    *, world: Any, poll: Poll, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = running()
    standing = world.provider.standing

    def meanwhile(*asked: Any) -> Any:
        world.store.move(job, State.FAILED, error={"code": "BY_HAND", "message": "a person said so"})
        return standing(*asked)

    monkeypatch.setattr(world.provider, "standing", meanwhile)
    world.wire.will(answer("COMPLETED", output=LINK))
    assert_runs(poll("up-1"), STEP)
    assert poll("up-1")["error"]["code"] == "BY_HAND"


def test_a_missing_record_is_an_error(poll: Poll) -> None:
    with pytest.raises(LookupError, match="up-1"):
        poll("up-1")


def test_outcomes_are_plain_strings_for_a_choice() -> None:
    assert [str(status) for status in TaskStatus] == [status.name for status in TaskStatus]
