"""Retries that are repeated, that meet each other, or whose wish somebody has edited: each buys at most once."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from past import LINK, history
from seedance.errors import Conflict, NotPossible
from seedance.jobs.job import Job, State
from seedance.repair import Repair
from seedance.rest.retries import Retries
from seedance.submit import Submit

Make = Callable[..., Job]
BROKEN = {"code": "PROVIDER_JOB_FAILED", "message": "m"}
LATE = {"code": "DEADLINE", "message": "m"}
PAY = '{"pay": true}'


def test_a_repeated_call_waits_for_the_same_outcome_and_replaces_a_lost_message(
    world: Any, retries: Retries, make_job: Make
) -> None:
    world.put(make_job(State.FAILED, error=BROKEN))
    first = retries.ask("up-1", PAY)
    world.clock.now += 5
    assert retries.ask("up-1", PAY) == first
    assert len(world.called("SendMessage")) == 2
    with pytest.raises(Conflict, match="another retry of job up-1 is pending"):
        retries.ask("up-1", '{"pay": true, "max_usd": 0.5}')
    assert world.job() == first


def test_a_wish_whose_message_was_lost_does_not_block_other_wishes_for_good(
    *, world: Any, retries: Retries, deliver: Any, make_job: Make
) -> None:
    """The API died after the write. Nobody repeats that call, but somebody asks for something else."""
    job = world.put(make_job(State.EXPIRED, request_id="req-1", error=LATE))
    world.store.note(job, retry={"asked_at": world.clock.now, "pay": False})
    with pytest.raises(Conflict, match="another retry"):
        retries.ask("up-1", PAY)
    world.wire.will(history())
    deliver()
    assert not world.job().retry_waits
    assert retries.ask("up-1", PAY).retry_waits


def test_a_call_that_is_repeated_while_the_job_goes_on_buys_nothing_more(
    world: Any, retries: Retries, deliver: Any, make_job: Make
) -> None:
    world.put(make_job(State.FAILED, error=BROKEN))
    retries.ask("up-1", PAY)
    deliver()
    sent = len(world.called("SendMessage"))
    assert retries.ask("up-1", PAY).state is State.RECEIVED
    assert len(world.called("SendMessage")) == sent
    with pytest.raises(NotPossible):  # another wish than that one
        retries.ask("up-1", None)


def test_a_message_delivered_twice_carries_a_wish_out_once(
    world: Any, retries: Retries, deliver: Any, submit: Submit, make_job: Make
) -> None:
    world.put(make_job(State.FAILED, request_id="req-1", error=BROKEN))
    retries.ask("up-1", PAY)
    wish = world.called("SendMessage")[-1]["MessageBody"]
    deliver()
    world.wire.will(httpx.Response(200, json={"request_id": "req-2"}))
    # Its own message to submit may have been lost: the repeated one submits the job in its place.
    world.intake(submit).message(wish)
    assert world.job().request_id == "req-2"
    deliver()
    assert len([url for url in world.wire.asked if url.startswith("POST")]) == 1


def test_a_job_that_went_on_before_the_message_came_is_left_alone(
    world: Any, retries: Retries, deliver: Any, repair: Repair, make_job: Make
) -> None:
    world.put(make_job(State.FAILED, result_url=LINK, error=BROKEN))
    retries.ask("up-1", PAY)
    wish = world.called("SendMessage")[-1]["MessageBody"]
    repair.retry("up-1", pay=False)
    before = world.job()
    assert before.state is State.COPYING
    deliver()
    assert world.job() == before
    assert json.loads(wish)["retry"] is True


def test_an_outcome_does_not_overwrite_a_later_wish(world: Any, make_job: Make, retries: Retries) -> None:
    world.put(make_job(State.EXPIRED, request_id="req-1", error=LATE))
    first = retries.ask("up-1", None)
    world.clock.now += 1
    world.store.note(first, retry={"asked_at": world.clock.now, "pay": True})
    with pytest.raises(Conflict):
        world.store.note(first, unchanged="retry", retry={**(first.retry or {}), "ended_at": world.clock.now})
    assert world.job().retry == {"asked_at": world.clock.now, "pay": True}


def test_two_calls_at_once_leave_one_wish(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.EXPIRED, request_id="req-1", error=LATE))
    world.store.note(job, unchanged="retry", retry={"asked_at": 1.0, "pay": True})
    with pytest.raises(Conflict):
        world.store.note(job, unchanged="retry", retry={"asked_at": 2.0, "pay": False})


@pytest.mark.parametrize(
    "edited",
    [
        {"pay": True},
        {"asked_at": "now", "pay": True},
        {"asked_at": 1.0, "pay": "yes"},
        {"asked_at": 1.0, "pay": 1},
        {"asked_at": 1.0, "pay": True, "max_usd": "0.4"},
        {"asked_at": 1.0, "pay": True, "max_usd": -1},
        {"asked_at": 1.0, "pay": True, "ended_at": None},
        [],
        "pay",
    ],
)
def test_a_wish_that_was_edited_buys_nothing(
    world: Any, deliver: Any, submit: Submit, make_job: Make, edited: Any
) -> None:
    world.put(make_job(State.FAILED, error=BROKEN, notified_at=1.0, retry=edited))
    world.intake(submit).message('{"job_id": "up-1", "retry": true}')
    assert (world.job().state, world.job().retry) == (State.FAILED, None)
    assert (world.wire.requests, world.postponed()) == ([], [])
