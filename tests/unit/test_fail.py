"""Fail: a job that the provider ended is closed with a reason; a failure of ours leaves it open and raises an alarm."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from seedance.fail import Fail
from seedance.jobs.job import Job, State

Make = Callable[..., Job]
WHY = {"code": "PROVIDER_JOB_FAILED", "message": "It was blocked."}
CRASH = {"Error": "States.Timeout", "Cause": "secret internals"}
AT_PROVIDER = [State.QUEUED, State.PROCESSING, State.COPYING]


@pytest.fixture
def fail(world: Any) -> Fail:
    return Fail(world.store, world.notifier)


ENDS = [
    ("FAILED", State.FAILED, "JobsFailed"),
    ("EXPIRED", State.EXPIRED, "JobsExpired"),
]


@pytest.mark.parametrize("about", [{}, {"request_id": "req-1"}], ids=["previous release", "this release"])
@pytest.mark.parametrize("state", AT_PROVIDER)
@pytest.mark.parametrize(("status", "target", "metric"), ENDS)
def test_an_open_job_is_closed_with_the_reason_and_notified(
    *, world: Any, fail: Fail, make_job: Make, state: State, status: str, target: State, metric: str, about: Any
) -> None:
    world.put(make_job(state, result_url=None))
    outcome = fail({"job_id": "up-1", "status": status, "error": WHY, **about})
    assert outcome == {"job_id": "up-1", "status": target.value, "unexpected": False}
    assert (world.job().state, world.job().error) == (target, WHY)
    assert [message["error"] for message in world.notified()] == [WHY]
    assert world.counted() == {metric: 1}


LEFT_OPEN = {State.COPYING: "CopiesPutOff"}


@pytest.mark.parametrize("state", [State.RECEIVED, *AT_PROVIDER])
@pytest.mark.parametrize("status", ["RUNNING", "COMPLETED", "FAILED"])
@pytest.mark.parametrize("age", [100, 8 * 24 * 3600])
def test_a_crash_of_ours_leaves_the_job_open_and_raises_an_alarm(
    *, world: Any, fail: Fail, make_job: Make, state: State, status: str, age: float
) -> None:
    before = world.put(make_job(state, created_at=world.clock.now - age, reserved_usd=0.25, reserved_day="d"))
    outcome = fail({"job_id": "up-1", "status": status, "error": None, "exception": CRASH})
    assert outcome == {"job_id": "up-1", "status": state.value, "unexpected": True}
    assert world.job() == before
    assert world.notified() == []
    assert world.counted() == {LEFT_OPEN.get(state, "JobsLeftOpen"): 1}


@pytest.mark.parametrize("state", [State.RECEIVED, *AT_PROVIDER])
@pytest.mark.parametrize("status", ["PAUSED", "RUNNING", "COMPLETED", "NOT_READY", "failed", None])
def test_an_unknown_status_leaves_the_job_open_and_raises_an_alarm(
    *, world: Any, fail: Fail, make_job: Make, state: State, status: str | None
) -> None:
    before = world.put(make_job(state))
    outcome = fail({"job_id": "up-1", "status": status, "error": WHY})
    assert outcome == {"job_id": "up-1", "status": state.value, "unexpected": True}
    assert world.job() == before


@pytest.mark.parametrize("state", AT_PROVIDER)
@pytest.mark.parametrize("asked", ["req-0", None])
def test_the_end_of_an_earlier_request_does_not_end_the_next_one(
    *, world: Any, fail: Fail, make_job: Make, state: State, asked: str | None
) -> None:
    before = world.put(make_job(state))
    outcome = fail({"job_id": "up-1", "status": "FAILED", "error": WHY, "request_id": asked})
    assert outcome["unexpected"] is True
    assert world.job() == before


def test_a_job_that_another_function_is_submitting_is_left_alone(world: Any, fail: Fail, make_job: Make) -> None:
    before = world.put(make_job(State.SUBMITTING))
    assert fail({"job_id": "up-1", "status": "FAILED", "error": WHY})["unexpected"] is True
    assert world.job() == before


@pytest.mark.parametrize(
    "trouble", [ClientError({"Error": {"Code": "Throttled"}}, "Publish"), EndpointConnectionError(endpoint_url="x")]
)
def test_a_job_is_closed_even_when_its_notification_fails(
    *, world: Any, fail: Fail, make_job: Make, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    def fails(**_: Any) -> Any:
        raise trouble

    monkeypatch.setattr(world.aws["sns"], "publish", fails)
    world.put(make_job(State.QUEUED))
    outcome = fail({"job_id": "up-1", "status": "FAILED", "error": WHY})
    assert outcome == {"job_id": "up-1", "status": "FAILED", "unexpected": False}
    assert world.job().notified_at is None  # so reconcile sends the notification
    assert world.counted() == {"JobsFailed": 1, "NotificationsPutOff": 1}


def test_a_finished_video_is_named_even_if_its_job_fails(world: Any, fail: Fail, make_job: Make) -> None:
    world.put(make_job(State.COPYING))
    fail({"job_id": "up-1", "status": "FAILED", "error": WHY})
    assert "seven days it is at https://images.segmind.com/v.mp4" in world.job().error["message"]


@pytest.mark.parametrize("crash", [None, CRASH])
def test_an_interrupted_submit_is_uncertain_not_failed(
    world: Any, fail: Fail, make_job: Make, crash: dict[str, str] | None
) -> None:
    world.put(make_job(State.SUBMITTING, transport="v1"))
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


def test_a_held_job_stays_held_and_is_notified_once(world: Any, fail: Fail, make_job: Make) -> None:
    held = {"code": "OVER_BUDGET", "message": "The budget is used up."}
    world.put(make_job(State.HELD, error=held))
    for _ in range(2):
        assert fail({"job_id": "up-1", "status": "FAILED", "error": WHY})["status"] == "HELD"
    assert (world.job().state, world.job().error) == (State.HELD, held)
    assert [(message["status"], message["error"]) for message in world.notified()] == [("HELD", held)]


@pytest.mark.parametrize("cost", [None, 0.3])
def test_closing_a_job_settles_its_reservation(world: Any, fail: Fail, make_job: Make, cost: float | None) -> None:
    world.put(make_job(State.QUEUED, cost_usd=cost, reserved_usd=0.25, reserved_day="2026-11-20"))
    fail({"job_id": "up-1", "status": "FAILED", "error": WHY})
    day = world.store.day("2026-11-20")
    assert (day.settled, day.released) == ((0, 0.25) if cost is None else (0.3, 0))
    assert (world.job().reserved_usd, world.job().settled_usd) == (None, cost)


@pytest.mark.parametrize("state", [state for state in State if state.terminal])
def test_an_ended_job_is_unchanged_and_notified_once(world: Any, fail: Fail, make_job: Make, state: State) -> None:
    world.put(make_job(state))
    for _ in range(2):
        assert fail({"job_id": "up-1", "status": "FAILED", "error": WHY})["status"] == state.value
    assert (world.job().state, world.job().error) == (state, None)
    assert len(world.notified()) == 1


@pytest.mark.parametrize("error", [None, {}, {"code": "X"}])
def test_a_missing_reason_is_stated(world: Any, fail: Fail, make_job: Make, error: dict[str, str] | None) -> None:
    world.put(make_job(State.QUEUED))
    fail({"job_id": "up-1", "status": "FAILED", "error": error})
    assert world.job().error["message"] == "No reason was given."


def test_a_missing_record_is_an_error(fail: Fail) -> None:
    with pytest.raises(LookupError, match="up-1"):
        fail({"job_id": "up-1"})
