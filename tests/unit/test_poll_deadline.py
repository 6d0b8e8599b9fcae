"""Poll: neither a full calendar nor a long wait makes a job miss the end of its hour."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from seedance.aws.attributes import read_item
from seedance.aws.table import CALENDAR
from seedance.jobs.job import Job, State
from seedance.poll import LAST_CALL_SECONDS, MISSING_POLLS, Poll

Make = Callable[..., Job]
LINK = "https://images.segmind.com/v.mp4"


@pytest.fixture
def left(world: Any, make_job: Make) -> Callable[[float], Job]:
    """A job whose request the provider forgets in the given number of seconds."""
    return lambda seconds: world.put(make_job(State.QUEUED, submitted_at=world.clock.now - 3600 + seconds))


def answer(status: str, **fields: Any) -> httpx.Response:
    return httpx.Response(200, json={"status": status, "request_id": "req-1", **fields})


def history(*rows: dict[str, Any]) -> httpx.Response:
    made = [{"request_id": "req-1", "model_status": "COMPLETED", **row} for row in rows]
    return httpx.Response(200, json={"data": made})


def test_in_its_last_minute_a_job_is_polled_whatever_the_calendar_says(world: Any, poll: Poll, left: Any) -> None:
    left(LAST_CALL_SECONDS)
    world.pacer.rate_limited(90_000)
    world.wire.will(answer("COMPLETED", output=LINK))
    assert poll("up-1")["status"] == "COMPLETED"
    assert world.job().result_url == LINK


def test_before_its_last_minute_a_job_waits_for_the_calendar(world: Any, poll: Poll, left: Any) -> None:
    left(LAST_CALL_SECONDS + 0.1)
    world.pacer.rate_limited(20)
    outcome = poll("up-1")
    assert (outcome["status"], outcome["wait_seconds"]) == ("RUNNING", 21)
    assert outcome["slot"] is not None
    assert world.wire.requests == []


@pytest.mark.parametrize("said", ["429", "429 for a minute", "500", "404", "done without a link"])
def test_no_wait_exceeds_the_deadline(world: Any, poll: Poll, left: Any, rate_limited: Any, said: str) -> None:
    left(7)
    answers = {
        "429": rate_limited(None),
        "429 for a minute": rate_limited(60),
        "500": httpx.Response(500),
        "404": httpx.Response(404),
        "done without a link": answer("COMPLETED"),
    }
    world.wire.will(answers[said])
    outcome = poll("up-1")
    assert (outcome["status"], outcome["wait_seconds"], outcome["slot"]) == ("RUNNING", 7, None)


def test_a_wait_that_ends_with_the_hour_keeps_its_slot(world: Any, poll: Poll, left: Any) -> None:
    left(30)
    world.wire.will(httpx.Response(500))
    outcome = poll("up-1")
    assert outcome["wait_seconds"] == 30
    assert outcome["slot"] == int(world.clock.now) + 30


def test_a_full_calendar_defers_no_poll_beyond_the_deadline(world: Any, poll: Poll, left: Any) -> None:
    left(LAST_CALL_SECONDS + 5)
    world.pacer.rate_limited(90_000)
    outcome = poll("up-1")
    assert (outcome["status"], outcome["wait_seconds"], outcome["slot"]) == ("RUNNING", LAST_CALL_SECONDS + 5, None)
    assert world.wire.requests == []


GONE = (
    "The provider has no record of request req-1 (it keeps one for an hour), and its history shows no video for it.",
    "The video was not ready within the hour for which the provider keeps a request.",
)


@pytest.mark.parametrize(
    ("said", "past", "status", "code", "words"),
    [
        (httpx.Response(404), history(), "EXPIRED", "RECORD_GONE", GONE[0]),
        (answer("PROCESSING"), history(), "EXPIRED", "DEADLINE", GONE[1]),
        (
            httpx.Response(404),
            history({"model_status": "FAILED"}),
            "FAILED",
            "PROVIDER_JOB_FAILED",
            "The provider could not make the video: The provider gave no reason.",
        ),
    ],
    ids=["gone", "late", "failed"],
)
def test_an_end_at_the_deadline_says_why(
    *, world: Any, poll: Poll, left: Any, said: Any, past: Any, status: str, code: str, words: str
) -> None:
    left(-7200)
    world.wire.will(said, past)
    outcome = poll("up-1")
    assert (outcome["status"], outcome["error"]) == (status, {"code": code, "message": words})


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{}], "The provider's history has no link to the video"),
        (
            [{"generation_url": LINK}, {"generation_url": LINK.replace("v.mp4", "w.mp4")}],
            "The provider's history has several different links to the video",
        ),
    ],
    ids=["none", "several"],
)
def test_a_held_result_reports_what_the_history_has(world: Any, poll: Poll, left: Any, rows: Any, words: str) -> None:
    left(-7200)
    world.wire.will(httpx.Response(404), history(*rows))
    outcome = poll("up-1")
    assert outcome["status"] == "HELD"
    assert f" {words}. " in outcome["error"]["message"]


def test_an_unreachable_history_does_not_keep_a_job_open_forever(world: Any, poll: Poll, left: Any) -> None:
    left(-200_000)
    statuses = []
    for _ in range(7):
        world.wire.will(httpx.Response(404), httpx.Response(500))
        statuses.append(poll("up-1")["status"])
    assert statuses == ["RUNNING"] * 6 + ["EXPIRED"]


@pytest.mark.parametrize("sent", [True, False])
def test_the_history_is_queried_from_a_day_before_the_submit(
    world: Any, poll: Poll, make_job: Make, *, sent: bool
) -> None:
    began = world.clock.now - 7200
    times = {"submitted_at": began, "created_at": 5.0} if sent else {"submitted_at": None, "created_at": began}
    world.put(make_job(State.QUEUED, gone_polls=2, **times))
    world.wire.will(httpx.Response(404), history())
    poll("up-1")
    asked = httpx.URL(world.wire.asked[1].removeprefix("GET ")).params
    assert (asked["from_date"], asked["to_date"]) == ("2025-11-18", "2025-11-21")


def test_a_record_that_is_gone_within_the_hour_is_looked_up_again_after_five_minutes(
    world: Any, poll: Poll, make_job: Make
) -> None:
    submitted = world.clock.now - 1000
    world.put(make_job(State.QUEUED, submitted_at=submitted, gone_polls=MISSING_POLLS))
    world.wire.will(httpx.Response(404), history())
    outcome = poll("up-1")
    assert (outcome["status"], outcome["wait_seconds"], outcome["slot"]) == ("RUNNING", 300, None)


def test_a_poll_gives_the_slot_back_that_was_planned_for_it(world: Any, poll: Poll, left: Any) -> None:
    left(2000)
    slot = world.pacer.plan_poll(lambda _: 30.0, 100.0).slot
    world.wire.will(answer("COMPLETED", output=LINK))
    poll("up-1", slot)
    key = {"job_id": {"S": CALENDAR}}
    stored = world.aws["dynamodb"].get_item(TableName="jobs-of-tests", Key=key)["Item"]
    assert sum(read_item(stored)["planned"]) == 0
