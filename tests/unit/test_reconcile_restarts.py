"""Reconcile: a job whose executions die gets new ones for as long as that can help, then a clear end."""

from collections.abc import Callable
from typing import Any

import pytest
from past import LINK
from seedance.jobs.job import Job, State
from seedance.reconcile import Reconcile
from seedance.repair import Repair

Make = Callable[..., Job]
ID = "up-0123456789abcdef0123456789abcdef"
WEEK = 7 * 24 * 3600


def stop_execution(world: Any) -> None:
    """The job's execution fails."""
    client = world.aws["stepfunctions"]
    arn = world.workflow._state_machine.replace(":stateMachine:", ":execution:")
    client.stop_execution(executionArn=f"{arn}:{world.job(ID).execution_name}")


@pytest.mark.parametrize("state", [State.QUEUED, State.PROCESSING])
@pytest.mark.parametrize(
    ("age", "idle", "restarted"),
    [(3500, 599, False), (3500, 601, True), (3700, 3599, False), (3700, 3601, True), (WEEK, 3601, True)],
)
def test_a_job_whose_executions_die_is_restarted_soon_within_its_hour_and_then_hourly(
    *, world: Any, reconcile: Reconcile, put: Any, state: State, age: float, idle: float, restarted: bool
) -> None:
    put(state, idle, submitted_at=world.clock.now - age, executions=3)
    assert reconcile() == ({"restarted": 1} if restarted else {})
    assert world.job(ID).executions == 3 + restarted


@pytest.mark.parametrize("state", [State.QUEUED, State.PROCESSING])
def test_a_job_that_could_not_be_polled_for_a_week_ends_with_a_clear_message(
    *, world: Any, reconcile: Reconcile, put: Any, state: State
) -> None:
    then = world.clock.now - WEEK - 1
    put(state, 3601, submitted_at=then, executions=160, reserved_usd=0.2, reserved_day="d")
    reconcile()
    job = world.job(ID)
    assert (job.state, job.error["code"]) == (State.EXPIRED, "RESULT_GONE")
    assert "request req-1" in job.error["message"]
    assert [message["status"] for message in world.notified()] == ["EXPIRED"]
    assert world.executions() == []


@pytest.mark.parametrize("state", [State.QUEUED, State.COPYING])
def test_a_job_that_waited_for_days_before_its_submit_still_has_its_week(
    *, world: Any, reconcile: Reconcile, put: Any, state: State
) -> None:
    put(state, 3601, created_at=world.clock.now - WEEK - 7200, submitted_at=world.clock.now - 3700)
    assert reconcile() == {"restarted": 1}


def test_a_copy_that_a_retry_began_ends_a_week_after_the_result(
    world: Any, reconcile: Reconcile, repair: Repair, put: Any
) -> None:
    error = {"code": "RESULT_NOT_A_VIDEO", "message": "m"}
    seen = world.clock.now - WEEK + 7200
    entered = {"COPYING": seen, "FAILED": seen + 60}
    put(State.FAILED, result_url=LINK, entered=entered, submitted_at=seen - 60, error=error)  # of an earlier release
    repair.retry(ID, pay=False)
    assert (world.job(ID).state, world.job(ID).result_at) == (State.COPYING, seen)
    world.clock.now += 3601
    stop_execution(world)
    assert reconcile() == {"restarted": 1}
    world.clock.now += 3601
    stop_execution(world)
    reconcile()
    assert (world.job(ID).state, world.job(ID).code) == (State.FAILED, "RESULT_GONE")


def test_the_week_of_an_abandoned_result_is_not_that_of_the_next_request(
    world: Any, reconcile: Reconcile, put: Any
) -> None:
    """A job that was bought again after its first result was deleted."""
    now = world.clock.now
    entered = {"COPYING": now - WEEK - 9000, "QUEUED": now - 3700}
    put(State.QUEUED, 3601, entered=entered, submitted_at=now - 3700, executions=2)
    assert reconcile() == {"restarted": 1}
    assert world.job(ID).state is State.QUEUED


def test_a_job_with_a_stored_video_is_completed_however_long_its_executions_died(
    world: Any, reconcile: Reconcile, put: Any
) -> None:
    video = {"bucket": "example-videos", "key": "videos/shoe/up-1.mp4", "bytes": 7, "sha256": "ab"}
    put(State.COPYING, WEEK + 1, video=video, executions=160)
    reconcile()
    assert (world.job(ID).state, world.job(ID).error) == (State.COMPLETED, None)
    assert [message["status"] for message in world.notified()] == ["COMPLETED"]


@pytest.mark.parametrize(("executions", "ends"), [(0, False), (1, False), (47, False), (48, True)])
def test_a_v1_job_that_crashed_before_its_call_is_retried_for_a_day(
    *, world: Any, reconcile: Reconcile, put: Any, executions: int, ends: bool
) -> None:
    put(State.RECEIVED, 1801, transport="v1", executions=executions)
    reconcile()
    job = world.job(ID)
    if ends:
        assert (job.state, job.error["code"]) == (State.FAILED, "INTERNAL")
        assert "costs nothing" in job.error["message"]
        assert [message["status"] for message in world.notified()] == ["FAILED"]
    else:
        assert (job.state, job.executions) == (State.RECEIVED, executions + 1)
        assert len(world.executions()) == 1
