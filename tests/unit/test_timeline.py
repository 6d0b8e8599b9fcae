"""A job's timeline: the states in its record, and every reason that it ever had, bounded."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from clocks import NOW
from seedance.jobs import timeline
from seedance.jobs.job import Job, State
from seedance.jobs.timeline import LONGEST_KEPT, MOST_KEPT
from seedance.rest import timelines
from seedance.submit import Submit

Make = Callable[..., Job]


def reason(code: str, message: str = "m") -> dict[str, str]:
    return {"code": code, "message": message}


def told(job: Job) -> list[tuple[float, str]]:
    return [(event.at - NOW, event.what) for event in timeline.events(job)]


def test_every_attempt_is_listed_with_its_reason(
    world: Any, submit: Submit, make_job: Make, rate_limited: Callable[[float | None], httpx.Response]
) -> None:
    job = world.put(make_job(created_at=NOW, entered={"RECEIVED": NOW}))
    world.wire.will(httpx.Response(503), rate_limited(None), rate_limited(None))
    world.wire.will(httpx.Response(200, json={"request_id": "req-9"}))
    for _ in range(4):
        world.clock.now += 60
        submit.advance(job, job.turn_at)
        job = world.job()
        world.clock.now = max(world.clock.now, job.turn_at or 0.0)
    assert job.state is State.QUEUED
    kept = job.past_reasons
    assert [(one["state"], one["code"], one.get("attempt"), one.get("times")) for one in kept] == [
        ("RECEIVED", "PROVIDER_UNAVAILABLE", 1, None),
        ("RECEIVED", "PROVIDER_RATE_LIMITED", 2, 2),
    ]
    events = timelines.describe(job)["events"]
    assert [event["state"] for event in events] == [None, "RECEIVED", "RECEIVED", "SUBMITTING", "QUEUED"]
    assert [event["code"] for event in events] == [None, "PROVIDER_UNAVAILABLE", "PROVIDER_RATE_LIMITED", None, None]
    assert [event["attempt"] for event in events] == [None, 1, 2, None, None]
    assert events[1]["event"].startswith("RECEIVED: ")
    assert events[1]["event"].endswith("(PROVIDER_UNAVAILABLE, attempt 1)")
    assert events[2]["event"].endswith("(PROVIDER_RATE_LIMITED, attempt 2, 2 times)")
    assert events[0]["at"] == "2025-11-20T00:53:20+00:00"


def test_a_state_and_its_reason_are_one_event(world: Any, make_job: Make) -> None:
    job = world.put(make_job(created_at=NOW, entered={"RECEIVED": NOW}))
    world.clock.now += 1
    job = world.store.move(job, State.HELD, error=reason("OVER_BUDGET", "No room\ntoday."))
    world.clock.now += 1
    job = world.store.move(job, State.RECEIVED, error=None)
    world.clock.now += 1
    job = world.store.close(job, State.CANCELLED, error=reason("CANCELLED", "It was cancelled."))
    world.clock.now += 1
    job = world.notifier.notify(job)
    assert told(job) == [
        (0, "created"),
        (1, "HELD: No room today. (OVER_BUDGET)"),
        (2, "RECEIVED"),
        (3, "CANCELLED: It was cancelled. (CANCELLED)"),
        (4, "notified"),
    ]


def test_a_hold_for_another_reason_does_not_hide_the_first(world: Any, make_job: Make) -> None:
    job = world.put(make_job(created_at=NOW, entered={"RECEIVED": NOW}))
    for code in ("OVER_BUDGET", "SUBMITS_PAUSED"):
        world.clock.now += 1
        job = world.store.move(job, State.HELD, error=reason(code))
        world.clock.now += 1
        job = world.store.move(job, State.RECEIVED, error=None)
    assert told(job) == [
        *((0, "created"), (1, "HELD: m (OVER_BUDGET)"), (3, "HELD: m (SUBMITS_PAUSED)")),
        (4, "RECEIVED"),
    ]


def test_a_retry_is_in_the_timeline(world: Any, make_job: Make) -> None:
    asked = {"asked_at": NOW + 1, "pay": True, "max_usd": 0.4}
    job = world.put(make_job(State.FAILED, created_at=NOW, entered={"RECEIVED": NOW, "FAILED": NOW}, retry=asked))
    assert told(job)[-1] == (1, "a retry was requested: the video may be bought again, for at most $0.40")
    job = world.store.note(job, retry={**asked, "pay": False, "ended_at": NOW + 2, "said": "nothing to copy"})
    assert [what for _, what in told(job)[-2:]] == [
        "a retry was requested: the video may be copied or found, at no cost",
        "the retry ended: nothing to copy",
    ]


def test_a_record_of_an_earlier_release_shows_its_states_and_its_last_reason(make_job: Make) -> None:
    job = make_job(State.FAILED, created_at=NOW, entered={"RECEIVED": NOW, "FAILED": NOW + 5}, error=reason("X", "why"))
    assert told(job) == [(0, "RECEIVED"), (5, "FAILED: why (X)")]
    assert told(make_job(State.RECEIVED, created_at=NOW, entered={})) == [(0, "created")]


def test_reasons_are_bounded_in_number_and_length(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.RECEIVED))
    for number in range(MOST_KEPT + 5):
        job = world.store.note(job, error=reason(f"CODE_{number}", "x" * 2000))
    assert len(job.past_reasons) == MOST_KEPT
    assert job.past_reasons[-1]["code"] == f"CODE_{MOST_KEPT + 4}"
    assert {len(one["message"]) for one in job.past_reasons} == {LONGEST_KEPT}
    assert len((job.error or {})["message"]) == 2000


def test_the_same_reason_in_a_row_is_kept_once_with_its_first_time(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.RECEIVED))
    for _ in range(50):
        world.clock.now += 10
        job = world.store.note(job, error=reason("WAITS"))
    (kept,) = job.past_reasons
    assert (kept["at"], kept["times"], kept.get("last_at")) == (NOW + 10, 50, NOW + 500)


@pytest.mark.parametrize(
    "edited",
    [
        "x",
        [1],
        [{}],
        [{"at": "now", "state": "HELD", "code": "X", "message": "m"}],
        [{"at": 1.0, "state": None, "code": "X", "message": "m"}],
        [{"at": 1.0, "state": "HELD", "code": "X", "message": "m", "times": "often"}],
        [{"at": 1.0, "state": "HELD", "code": "X", "message": "m", "attempt": -1}],
    ],
)
def test_edited_reasons_are_dropped(world: Any, make_job: Make, edited: Any) -> None:
    world.put(make_job(State.HELD, past_reasons=edited))
    assert world.job().past_reasons == []


def test_a_state_of_another_release_is_shown_by_its_name(make_job: Make) -> None:
    kept = [{"at": NOW, "state": "DREAMING", "code": "X", "message": "m"}]
    job = make_job(State.RECEIVED, created_at=NOW, entered={"RECEIVED": NOW, "DREAMING": NOW}, past_reasons=kept)
    assert [(event["event"], event["state"]) for event in timelines.describe(job)["events"]] == [
        ("RECEIVED", "RECEIVED"),
        ("DREAMING: m (X)", None),
    ]
