"""Reconcile: jobs that got stuck between two steps are continued, once each, and nothing is bought automatically."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from past import ID, OTHER, history
from seedance.jobs.job import Job, State
from seedance.provider.history import Allowance, SharedHistory
from seedance.reconcile import GENERATING_SECONDS, LOST_SECONDS, Reconcile

Make = Callable[..., Job]


def test_an_empty_table_causes_no_requests(world: Any, reconcile: Reconcile) -> None:
    assert reconcile() == {}
    assert world.wire.requests == []


# each row of the table in docs/architecture.md ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("transport", "idle", "given_up"),
    [("v2", 74, False), ("v2", 76, True), ("v1", 76, False), ("v1", GENERATING_SECONDS + 1, True)],
)
def test_an_abandoned_submit_is_uncertain(
    *, world: Any, reconcile: Reconcile, put: Any, transport: str, idle: float, given_up: bool
) -> None:
    put(State.SUBMITTING, idle, transport=transport, submitted_at=world.clock.now - idle)
    if given_up:
        world.wire.will(history())  # the same round searches the history for it
    assert reconcile().get("uncertain", 0) == int(given_up)
    assert world.job(ID).state is (State.UNCERTAIN if given_up else State.SUBMITTING)


@pytest.mark.parametrize("state", [State.QUEUED, State.PROCESSING, State.COPYING])
@pytest.mark.parametrize(("idle", "restarted"), [(599, False), (601, True)])
def test_a_job_without_an_execution_gets_one(
    *, world: Any, reconcile: Reconcile, put: Any, state: State, idle: float, restarted: bool
) -> None:
    put(state, idle)
    assert reconcile() == ({"restarted": 1} if restarted else {})
    assert [call["name"] for call in world.called("StartExecution")] == ([f"{ID}-2"] if restarted else [])
    assert world.job(ID).executions == int(restarted)
    assert reconcile() == {}


def test_a_job_with_a_running_execution_is_left_alone(world: Any, reconcile: Reconcile, put: Any) -> None:
    world.workflow.start(put(State.QUEUED, 5000))
    before = world.job(ID)
    assert reconcile() == {}
    assert world.job(ID) == before


@pytest.mark.parametrize(("idle", "restarted"), [(3599, False), (3601, True)])
def test_a_copy_is_retried_every_hour(
    *, world: Any, reconcile: Reconcile, put: Any, idle: float, restarted: bool
) -> None:
    put(State.COPYING, idle, executions=1)
    assert reconcile() == ({"restarted": 1} if restarted else {})
    assert world.job(ID).executions == 1 + restarted


@pytest.mark.parametrize("cost", [None, 0.3])
def test_a_copy_that_is_too_old_fails_and_its_price_is_settled(
    *, world: Any, reconcile: Reconcile, put: Any, cost: float | None
) -> None:
    week = 7 * 24 * 3600
    put(State.COPYING, week + 1, cost_usd=cost, reserved_usd=0.2, reserved_day="d")
    reconcile()
    assert (world.job(ID).state, world.job(ID).error["code"]) == (State.FAILED, "RESULT_GONE")
    assert [message["status"] for message in world.notified()] == ["FAILED"]
    assert (world.store.day("d").settled, world.store.day("d").released) == ((0, 0.2) if cost is None else (0.3, 0))
    assert world.executions() == []


@pytest.mark.parametrize(("idle", "enqueued"), [(1799, False), (1801, True)])
def test_a_lost_message_is_sent_again_at_intervals(
    *, world: Any, reconcile: Reconcile, put: Any, idle: float, enqueued: bool
) -> None:
    put(State.RECEIVED, idle)
    assert reconcile() == ({"enqueued": 1} if enqueued else {})
    assert reconcile() == {}
    assert world.postponed() == ([(ID, 0)] if enqueued else [])


def test_a_v1_job_whose_workflow_died_before_its_call_gets_a_new_execution(
    world: Any, reconcile: Reconcile, put: Any
) -> None:
    put(State.RECEIVED, 1801, transport="v1")
    assert reconcile() == {"enqueued": 1}
    assert [call["name"] for call in world.called("StartExecution")] == [f"{ID}-2"]
    assert world.postponed() == []  # a message would find the name of its first execution taken


def test_a_round_checks_the_jobs_of_every_state(reconcile: Reconcile) -> None:
    assert {state for _, state, *_ in reconcile._steps(SharedHistory(reconcile.provider, Allowance()))} == set(State)


@pytest.mark.parametrize("state", [*(state for state in State if state.terminal), State.HELD])
@pytest.mark.parametrize(
    ("idle", "told", "again"), [(599, None, False), (601, None, True), (601, 1.0, False), (86_401, None, False)]
)
def test_an_end_without_a_notification_is_notified_once(
    *, world: Any, reconcile: Reconcile, put: Any, state: State, idle: float, told: float | None, again: bool
) -> None:
    put(state, idle, notified_at=told, cost_usd=0.3, error={"code": "SUBMIT_LOST", "message": "m"})
    assert reconcile() == ({"notified": 1} if again else {})
    assert reconcile() == {}
    assert [message["status"] for message in world.notified()] == ([state.value] if again else [])


def test_a_faster_time_scale_shortens_the_patience(world: Any, reconcile: Reconcile, uncertain: Any) -> None:
    uncertain(LOST_SECONDS / 10 + 1)
    world.wire.will(history())
    replace(reconcile, scale=0.1)()
    assert world.job(ID).state is State.HELD


@pytest.mark.parametrize("trouble", [httpx.Response(500), httpx.Response(401), httpx.ReadTimeout("")], ids=str)
def test_an_unreachable_history_decides_nothing_and_delays_no_other_job(
    *, world: Any, reconcile: Reconcile, uncertain: Any, put: Any, trouble: Any
) -> None:
    before = uncertain(5000)
    put(State.RECEIVED, 2000, job_id=OTHER)
    world.wire.will(trouble)
    assert replace(reconcile, resubmit_lost=True)() == {"enqueued": 1}
    assert world.job(ID) == before
    assert world.counted() == {"ReconcileFailures": 1}


def test_a_concurrent_transition_is_not_overwritten(
    world: Any, reconcile: Reconcile, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(State.SUBMITTING, 100)
    moved = put(State.SUBMITTING, 100)

    def stale(job_id: str) -> Job:
        world.put(replace(moved, state=State.QUEUED, request_id="req-1"))
        return moved

    monkeypatch.setattr(world.store, "get", stale)
    assert reconcile() == {}
    monkeypatch.undo()
    assert world.job(ID).state is State.QUEUED
