"""Reconcile reads a job's record before it acts, and writes what the next step needs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from past import history
from seedance.jobs.job import Job, State
from seedance.reconcile import LOST_SECONDS, Reconcile

Make = Callable[..., Job]
ID = "up-0123456789abcdef0123456789abcdef"
WEEK = 7 * 24 * 3600


@pytest.mark.parametrize(("transport", "executions"), [("v1", 4), ("v2", 3)])
def test_a_lost_submit_that_is_sent_again_starts_anew(
    *, world: Any, reconcile: Reconcile, uncertain: Any, transport: str, executions: int
) -> None:
    """A v1 job is sent by its workflow, and an execution's name can't be used twice."""
    uncertain(LOST_SECONDS + 1, transport=transport, executions=3, error={"code": "SUBMIT_UNCERTAIN", "message": "m"})
    world.wire.will(history())
    assert replace(reconcile, resubmit_lost=True)()["resolved"] == 1
    job = world.job(ID)
    assert (job.state, job.executions, job.error) == (State.RECEIVED, executions, None)


@pytest.mark.parametrize("found", ["another state", "a change just now", "nothing"])
def test_a_job_that_has_changed_since_the_index_showed_it_is_left_alone(
    *, world: Any, reconcile: Reconcile, put: Any, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    listed = put(State.QUEUED, 601, submitted_at=world.clock.now - 700)
    now = {
        "another state": replace(listed, state=State.COPYING),
        "a change just now": replace(listed, updated_at=world.clock.now),
        "nothing": None,
    }
    monkeypatch.setattr(type(world.store), "get", lambda *_: now[found])
    assert reconcile() == {}
    assert world.executions() == []


def test_an_unreadable_record_is_counted(world: Any, reconcile: Reconcile, put: Any) -> None:
    job = put(State.QUEUED, 601)
    world.aws["dynamodb"].update_item(
        TableName="jobs-of-tests",
        Key={"job_id": {"S": job.job_id}},
        UpdateExpression="SET entered = :text",
        ExpressionAttributeValues={":text": {"S": "not a map"}},
    )
    assert reconcile() == {}
    assert world.counts["JobsStuck"] == 1


def test_idle_times_are_in_the_providers_seconds(world: Any, reconcile: Reconcile, put: Any) -> None:
    put(State.QUEUED, 61, submitted_at=world.clock.now - 70)
    assert replace(reconcile, scale=0.1)() == {"restarted": 1}


def test_a_job_with_a_price_is_not_looked_up(world: Any, reconcile: Reconcile, put: Any) -> None:
    put(State.COMPLETED, 3700, cost_usd=0.3, settled_usd=0.3, notified_at=1.0)
    world.calls.clear()
    assert reconcile() == {}
    assert [call["Key"]["job_id"]["S"] for call in world.called("GetItem")].count(ID) == 0


def test_the_end_of_a_job_whose_executions_die_is_counted(world: Any, reconcile: Reconcile, put: Any) -> None:
    put(State.QUEUED, 3601, submitted_at=world.clock.now - WEEK - 1, executions=160)
    assert reconcile() == {"restarted": 1}
    assert world.job(ID).state is State.EXPIRED
