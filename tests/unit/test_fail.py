"""Fail: every job without a video is closed with a reason, except those where that would hide a paid one."""

from collections.abc import Callable
from typing import Any

import pytest
from seedance.fail import Fail
from seedance.job import Job, State

Make = Callable[..., Job]
WHY = {"code": "PROVIDER_JOB_FAILED", "message": "It was blocked."}
CRASH = {"Error": "States.Timeout", "Cause": "secret internals"}
OPEN = [State.RECEIVED, State.QUEUED, State.PROCESSING, State.COPYING]


@pytest.fixture
def fail(world: Any) -> Fail:
    return Fail(world.store, world.notifier, world.clock)


ENDS = [
    ("FAILED", State.FAILED, "JobsFailed"),
    ("EXPIRED", State.EXPIRED, "JobsExpired"),
    (None, State.FAILED, "JobsFailed"),
]


@pytest.mark.parametrize(
    ("state", "end"),
    # Nothing expires that was never sent.
    [(state, end) for state in OPEN for end in ENDS if (state, end[1]) != (State.RECEIVED, State.EXPIRED)],
)
def test_an_open_job_is_closed_with_the_reason_and_told_about(
    world: Any, fail: Fail, make_job: Make, state: State, end: tuple[str | None, State, str]
) -> None:
    status, target, metric = end
    world.put(make_job(state, result_url=None))
    outcome = fail({"job_id": "up-1", "status": status, "error": WHY})
    assert outcome == {"job_id": "up-1", "status": target.value, "unexpected": False}
    assert (world.job().state, world.job().error) == (target, WHY)
    assert [message["error"] for message in world.notified()] == [WHY]
    assert world.counted() == {metric: 1}


@pytest.mark.parametrize("state", [state for state in OPEN if state is not State.COPYING])
def test_a_crash_is_told_in_words_without_internals_and_alarms(
    world: Any, fail: Fail, make_job: Make, state: State
) -> None:
    world.put(make_job(state))
    outcome = fail({"job_id": "up-1", "status": "COMPLETED", "exception": CRASH})
    assert outcome == {"job_id": "up-1", "status": "FAILED", "unexpected": True}
    assert world.job().error["code"] == "INTERNAL"
    assert "States.Timeout" in world.job().error["message"]
    assert "secret" not in world.job().error["message"]


@pytest.mark.parametrize("crash", [None, CRASH])
def test_a_finished_video_is_named_even_when_its_job_fails(
    world: Any, fail: Fail, make_job: Make, crash: dict[str, str] | None
) -> None:
    world.put(make_job(State.COPYING, created_at=world.clock.now - 604_800))
    fail({"job_id": "up-1", "status": "FAILED", "error": WHY, "exception": crash})
    assert "seven days it is at https://images.segmind.com/v.mp4" in world.job().error["message"]


@pytest.mark.parametrize("crash", [None, CRASH])
def test_a_submit_that_was_interrupted_is_uncertain_and_not_failed(
    world: Any, fail: Fail, make_job: Make, crash: dict[str, str] | None
) -> None:
    world.put(make_job(State.SUBMITTING))
    outcome = fail({"job_id": "up-1", "status": "FAILED", "exception": crash})
    assert outcome == {"job_id": "up-1", "status": "UNCERTAIN", "unexpected": bool(crash)}
    assert (world.job().state, world.job().error["code"]) == (State.UNCERTAIN, "SUBMIT_UNCERTAIN")
    assert world.notified() == []
    assert world.counted() == {"JobsUncertain": 1}


def test_an_uncertain_job_is_left_to_reconcile(world: Any, fail: Fail, make_job: Make) -> None:
    before = world.put(make_job(State.UNCERTAIN))
    assert fail({"job_id": "up-1", "status": "FAILED", "error": WHY})["status"] == "UNCERTAIN"
    assert world.job() == before
    assert world.notified() == []


def test_a_held_job_stays_held_and_is_told_about_once(world: Any, fail: Fail, make_job: Make) -> None:
    held = {"code": "OVER_BUDGET", "message": "The budget is used up."}
    world.put(make_job(State.HELD, error=held))
    for _ in range(2):
        assert fail({"job_id": "up-1", "status": "FAILED", "error": WHY})["status"] == "HELD"
    assert (world.job().state, world.job().error) == (State.HELD, held)
    assert [(message["status"], message["error"]) for message in world.notified()] == [("HELD", held)]


@pytest.mark.parametrize(("age", "ends"), [(0, State.COPYING), (604_799, State.COPYING), (604_800, State.FAILED)])
def test_a_copy_that_crashed_is_left_to_reconcile_while_the_provider_keeps_the_file(
    world: Any, fail: Fail, make_job: Make, age: float, ends: State
) -> None:
    world.put(make_job(State.COPYING, created_at=world.clock.now - age))
    assert fail({"job_id": "up-1", "status": "COMPLETED", "exception": CRASH})["status"] == ends.value
    assert world.job().state is ends
    assert len(world.notified()) == int(ends is State.FAILED)
    assert world.counted() == {"JobsFailed" if ends is State.FAILED else "CopiesPutOff": 1}


@pytest.mark.parametrize("cost", [None, 0.3])
def test_the_end_settles_what_the_job_had_reserved(world: Any, fail: Fail, make_job: Make, cost: float | None) -> None:
    world.put(make_job(State.QUEUED, cost_usd=cost, reserved_usd=0.25, reserved_day="2026-11-20"))
    fail({"job_id": "up-1", "status": "FAILED", "error": WHY})
    day = world.store.day("2026-11-20")
    assert (day.settled, day.released) == ((0, 0.25) if cost is None else (0.3, 0))
    assert (world.job().reserved_usd, world.job().settled_usd) == (None, cost)


@pytest.mark.parametrize("state", [state for state in State if state.terminal])
def test_a_job_that_is_over_stays_as_it_ended_and_is_told_about_once(
    world: Any, fail: Fail, make_job: Make, state: State
) -> None:
    world.put(make_job(state))
    for _ in range(2):
        assert fail({"job_id": "up-1", "status": "FAILED", "error": WHY})["status"] == state.value
    assert (world.job().state, world.job().error) == (state, None)
    assert len(world.notified()) == 1


@pytest.mark.parametrize("error", [None, {}, {"code": "X"}])
def test_without_a_reason_it_says_that(world: Any, fail: Fail, make_job: Make, error: dict[str, str] | None) -> None:
    world.put(make_job(State.QUEUED))
    fail({"job_id": "up-1", "status": "FAILED", "error": error})
    assert world.job().error["message"] == "No reason was given."


def test_a_job_without_a_record_is_not_passed_over(fail: Fail) -> None:
    with pytest.raises(LookupError, match="up-1"):
        fail({"job_id": "up-1"})
