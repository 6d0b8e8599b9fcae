"""One round of reconcile runs at a time: the schedule may deliver an event twice, and a round may be killed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from seedance.aws.table import LEASE
from seedance.jobs.job import Job, State
from seedance.reconcile import LEASE_SECONDS, Reconcile

Make = Callable[..., Job]


@pytest.fixture
def work(world: Any, make_job: Make) -> Job:
    """A job whose message was lost, half an hour ago."""
    return world.put(make_job(updated_at=world.clock.now - 2000))  # type: ignore[no-any-return]


class Killed(BaseException):
    """The function's process was killed."""


def test_a_round_that_starts_while_another_runs_does_nothing(world: Any, reconcile: Reconcile, work: Job) -> None:
    during: list[Any] = []
    notify = world.queue.send

    class Queue:
        def send(self, job: Job) -> None:
            before = world.calls[:]
            during.append(reconcile())
            during.append([name for name, _ in world.calls[len(before) :]])
            notify(job)

    assert replace(reconcile, queue=Queue())() == {"enqueued": 1}
    assert during == [{}, ["PutItem"]]
    assert len(world.postponed()) == 1


def test_the_next_round_runs_when_the_last_one_has_ended(world: Any, reconcile: Reconcile, work: Job) -> None:
    assert reconcile() == {"enqueued": 1}
    world.clock.now += 2000
    assert reconcile() == {"enqueued": 1}


def test_a_round_that_fails_gives_its_lease_back(world: Any, reconcile: Reconcile, work: Job) -> None:
    class Broken:
        def recount(self) -> bool:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        replace(reconcile, in_flight=Broken())()
    world.clock.now += 2000
    assert reconcile() == {"enqueued": 1}


@pytest.mark.parametrize(("later", "runs"), [(LEASE_SECONDS - 1, False), (LEASE_SECONDS, True)])
def test_a_killed_round_keeps_its_lease_until_it_has_certainly_ended(
    *, world: Any, reconcile: Reconcile, work: Job, later: float, runs: bool
) -> None:
    assert world.lease.take()
    world.clock.now += later
    assert reconcile() == ({"enqueued": 1} if runs else {})


def test_a_late_round_does_not_end_the_next_ones_lease(world: Any, reconcile: Reconcile) -> None:
    late = world.lease.take()
    world.clock.now += LEASE_SECONDS
    assert world.lease.take()
    world.lease.give_back(late)
    assert world.lease.take() is None


def test_a_lease_whose_first_response_was_lost_is_taken(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore sends the request again, and its own first attempt is in the way."""
    put, lost = world.table.client.put_item, [True]

    def twice(**params: Any) -> Any:
        if lost.pop() if lost else False:
            put(**params)
        return put(**params)

    monkeypatch.setattr(world.table.client, "put_item", twice)
    assert world.lease.take()
    assert world.lease.take() is None


@pytest.mark.parametrize("ends", ["soon", None, True, [], -1, 1e12])
def test_a_lease_that_somebody_edited_stops_nobody(world: Any, reconcile: Reconcile, work: Job, ends: Any) -> None:
    world.table.put({"job_id": LEASE, "holder": 7, "ends": ends})
    assert reconcile() == {"enqueued": 1}


def test_a_round_whose_lease_can_not_be_given_back_has_still_done_its_work(
    world: Any, reconcile: Reconcile, work: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = world.table.client.put_item

    def broken(**params: Any) -> Any:
        if params["Item"].get("ends") == {"N": "0"}:
            raise ReadTimeoutError(endpoint_url="dynamodb")
        return put(**params)

    monkeypatch.setattr(world.table.client, "put_item", broken)
    assert reconcile() == {"enqueued": 1}


def test_without_the_table_there_is_no_round(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer: Any = {"Error": {"Code": "AccessDeniedException", "Message": ""}}

    def denied(**_: Any) -> Any:
        raise ClientError(answer, "PutItem")

    monkeypatch.setattr(world.table.client, "put_item", denied)
    with pytest.raises(ClientError, match="AccessDenied"):
        world.lease.take()


def test_a_round_that_is_listed_late_leaves_a_job_alone_that_has_changed(
    world: Any, reconcile: Reconcile, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index shows the job as it was half an hour ago; its message was sent a second ago."""
    job = world.put(make_job(updated_at=world.clock.now - 1))
    stale = replace(job, updated_at=world.clock.now - 2000)
    monkeypatch.setattr(
        type(world.store), "each", lambda _, state, since=0.0: iter([stale] if state is State.RECEIVED else [])
    )
    assert reconcile() == {}
    assert world.postponed() == []
