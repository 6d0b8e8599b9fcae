"""Reconcile reads a job's record before it acts, and writes what the next step needs. No job hides another one."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from past import ID, OTHER, history
from seedance.errors import Conflict, NotFound
from seedance.jobs.budget import Booking
from seedance.jobs.job import Job, State
from seedance.reconcile import LOST_SECONDS, Reconcile

Make = Callable[..., Job]
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


@pytest.mark.parametrize("error", [Conflict("changed"), NotFound("it is gone")], ids=["conflict", "refusal"])
def test_a_job_that_can_not_be_continued_hides_no_other(
    *,
    world: Any,
    reconcile: Reconcile,
    put: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    put(State.QUEUED, 6000)
    put(State.QUEUED, 5000, job_id=OTHER)
    running = world.workflow.is_running

    def refusing(job: Job) -> bool:
        if job.job_id == ID:
            raise error
        return bool(running(job))

    monkeypatch.setattr(world.workflow, "is_running", refusing, raising=False)
    assert reconcile() == {"restarted": 1}
    assert world.job(OTHER).executions == 1
    logged = [vars(record) for record in caplog.records if record.getMessage() == "reconcile"]
    told = [(line["job_id"], line["what"], line["reason"]) for line in logged]
    assert told == ([] if isinstance(error, Conflict) else [(ID, "restarted", "it is gone")])


def test_a_job_that_needs_nothing_hides_no_other(*, world: Any, reconcile: Reconcile, put: Any) -> None:
    put(State.FAILED, 6000, notified_at=1.0)
    put(State.FAILED, 5000, job_id=OTHER)
    assert reconcile() == {"notified": 1}
    assert [message["job_id"] for message in world.notified()] == [OTHER]


def test_the_committed_part_is_rounded_for_people(
    *, world: Any, reconcile: Reconcile, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[float] = []
    monkeypatch.setattr("seedance.reconcile.percent", lambda _, value: said.append(value))
    day = datetime.fromtimestamp(world.clock.now, UTC).date().isoformat()
    world.store.move(put(State.RECEIVED), State.SUBMITTING, booking=Booking(day, reserved=1.0))
    replace(reconcile, daily_budget_usd=3.0)()
    assert [str(value) for value in said] == ["33.3"]


@pytest.mark.parametrize(("field", "value"), [("step", -1), ("since", -1)])
def test_an_invalid_place_is_named_in_the_log(
    *, world: Any, caplog: pytest.LogCaptureFixture, field: str, value: int
) -> None:
    world.table.put({"job_id": "place#reconcile", "step": 1, "since": 1, field: value})
    assert world.place.read() == (0, 0.0)
    logged = [vars(record) for record in caplog.records]
    assert [(line["item"], line["field"]) for line in logged] == [("place#reconcile", field)]
