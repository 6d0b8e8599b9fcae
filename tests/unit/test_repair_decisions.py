"""Repair: a person's decisions about a job, retry and resolve, and their cost."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from past import LINK, history, row
from seedance.errors import NeedsPayment, NotPossible
from seedance.jobs.cancelling import cancel
from seedance.jobs.job import Hold, Job, State
from seedance.notices.job_message import job_email, job_notification
from seedance.repair import Repair

Make = Callable[..., Job]
DAY = "2026-11-20"


def made(world: Any, request_id: str = "req-1") -> httpx.Response:
    """A history in which that request is completed with its video."""
    done = {"model_status": "COMPLETED", "generation_url": LINK, "credits_deduction": 0.3}
    return history(row(world, "req-0", names=None, **done), row(world, request_id, names=None, **done))


# retry ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED])
@pytest.mark.parametrize("pay", [False, True])
def test_a_known_result_is_copied_again_at_no_cost(
    *, world: Any, repair: Repair, make_job: Make, state: State, pay: bool
) -> None:
    job = world.put(make_job(state, result_url=LINK, notified_at=1.0, error={"code": "X", "message": "m"}))
    assert "this costs nothing" in repair.retry(job.job_id, pay=pay)
    after = world.job()
    assert (after.state, after.executions, after.error, after.notified_at) == (State.COPYING, 1, None, None)
    assert [call["name"] for call in world.called("StartExecution")] == ["up-1-2"]
    assert world.postponed() == []


def test_a_running_copy_is_not_started_again(world: Any, repair: Repair, make_job: Make) -> None:
    job = world.put(make_job(State.COPYING))
    world.workflow.start(job)
    with pytest.raises(NotPossible, match="being copied right now"):
        repair.retry(job.job_id, pay=True)
    assert world.job() == job


def test_a_stalled_copy_is_started_again(world: Any, repair: Repair, make_job: Make) -> None:
    assert "this costs nothing" in repair.retry(world.put(make_job(State.COPYING)).job_id, pay=False)
    assert (world.job().state, world.job().executions) == (State.COPYING, 1)


@pytest.mark.parametrize(("cost", "reserved"), [(None, True), (0.3, False)])
def test_a_copy_is_reserved_again_if_the_reservation_had_been_released(
    *, world: Any, repair: Repair, make_job: Make, cost: float | None, reserved: bool
) -> None:
    repair.retry(world.put(make_job(State.FAILED, result_url=LINK, cost_usd=cost, settled_usd=cost)).job_id, pay=False)
    assert (world.job().reserved_usd is not None) is reserved
    assert world.store.day(world.job().reserved_day or DAY).committed == (world.job().reserved_usd or 0)


@pytest.mark.parametrize("pay", [False, True])
def test_a_video_completed_after_all_is_copied_and_not_paid_for_again(
    *, world: Any, repair: Repair, make_job: Make, pay: bool
) -> None:
    world.put(make_job(State.EXPIRED, request_id="req-1"))
    world.wire.will(made(world))
    assert "this costs nothing" in repair.retry("up-1", pay=pay)
    assert (world.job().state, world.job().result_url, world.job().request_id) == (State.COPYING, LINK, "req-1")
    assert world.postponed() == []


@pytest.mark.parametrize("pay", [False, True])
def test_a_video_completed_after_all_is_found_by_its_requests_id(
    *, world: Any, repair: Repair, make_job: Make, pay: bool
) -> None:
    world.put(make_job(State.EXPIRED, request_id="req-1"))
    done = row(world, "req-1", names=None, model_status="COMPLETED", generation_url=LINK, credits_deduction=0.3)
    world.wire.will_know("req-1", done)
    assert "this costs nothing" in repair.retry("up-1", pay=pay)
    assert (world.job().state, world.job().result_url, world.wire.requests) == (State.COPYING, LINK, [])


def test_a_refused_parameter_is_a_failure_of_the_request_that_was_not_made(
    world: Any, repair: Repair, make_job: Make
) -> None:
    error = {"code": "PROVIDER_REFUSED", "message": "m"}
    world.put(make_job(State.FAILED, request_id="req-1", error=error))
    assert "billed" in repair.retry("up-1", pay=True)
    assert world.wire.asked_by_id == []


@pytest.mark.parametrize("pay", [False, True])
def test_while_the_history_is_unreachable_nothing_is_bought_again(
    *, world: Any, repair: Repair, make_job: Make, pay: bool
) -> None:
    job = world.put(make_job(State.EXPIRED, request_id="req-1"))
    world.wire.will(httpx.Response(500))
    with pytest.raises(NotPossible, match=r"can't check whether request .* has a video by now"):
        repair.retry("up-1", pay=pay)
    assert world.job() == job
    # A job that failed at the provider has none.
    error = {"code": "PROVIDER_JOB_FAILED", "message": "m"}
    world.put(make_job(State.FAILED, request_id="req-1", error=error))
    if pay:
        assert "billed" in repair.retry("up-1", pay=pay)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("req-0", "COMPLETED", LINK)],
        [("req-1", "FAILED", None)],
    ],
)
def test_a_video_that_was_not_made_is_bought_again(
    *, world: Any, repair: Repair, make_job: Make, rows: list[Any]
) -> None:
    world.put(make_job(State.EXPIRED, request_id="req-1"))
    found = [row(world, one, names=None, model_status=status, generation_url=url) for one, status, url in rows]
    world.wire.will(history(*found))
    assert "billed" in repair.retry("up-1", pay=True)
    assert world.job().earlier_request_ids == ["req-1"]


def test_a_purchase_has_a_limit_that_submit_keeps_to(world: Any, repair: Repair, make_job: Make) -> None:
    job = world.put(make_job(State.FAILED, error={"code": "PROVIDER_JOB_FAILED", "message": "m"}))
    ask: Any = {"ask": "retry", "job_id": job.job_id, "pay": True}
    refused = repair.answer({**ask, "max_usd": 0.2499})
    assert refused["error"] == "the video would cost about $0.2500, and at most $0.2499 is allowed"
    assert refused["needs_usd"] == 0.25
    assert world.job() == job
    assert "max_usd: must be a number from 0.0001 to 1000" in repair.answer({**ask, "max_usd": 0})["error"]
    assert "billed" in repair.answer({**ask, "max_usd": 0.25})["said"]
    assert (world.job().state, world.job().max_usd, world.job().retry_waits) == (State.RECEIVED, 0.25, False)
    world.put(make_job(State.FAILED, retry=world.job().retry, error={"code": "PROVIDER_JOB_FAILED", "message": "m"}))
    assert "billed" in repair.retry(job.job_id, pay=True)
    assert world.job().max_usd is None  # a limit is for one retry


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED])
def test_without_a_result_only_the_pay_option_buys_again(
    *, world: Any, repair: Repair, make_job: Make, state: State
) -> None:
    facts = {"cost_usd": 0.3, "settled_usd": 0.3, "settled_days": {DAY: 0.3}, "earlier_request_ids": ["req-0"]}
    job = world.put(make_job(state, request_id="req-1", attempts=6, notified_at=1.0, gone_polls=2, **facts))
    world.wire.will(history(), history())
    with pytest.raises(NeedsPayment, match=r"use --pay to buy the video again, for about \$0\.25") as refused:
        repair.retry(job.job_id, pay=False)
    assert refused.value.usd == 0.25
    assert world.job() == job
    assert "billed" in repair.retry(job.job_id, pay=True)
    after = world.job()
    assert (after.state, after.request_id, after.attempts, after.notified_at) == (State.RECEIVED, None, 0, None)
    # The first video's cost is not settled again with the second.
    assert (after.cost_usd, after.settled_usd, after.gone_polls, after.executions) == (None, None, 0, 1)
    assert (after.settled_days, after.earlier_request_ids) == ({DAY: 0.3}, ["req-0", "req-1"])
    assert world.postponed() == [("up-1", 0)]


@pytest.mark.parametrize("state", [s for s in State if s not in (State.FAILED, State.EXPIRED, State.COPYING)])
def test_no_other_state_can_be_retried(world: Any, repair: Repair, make_job: Make, state: State) -> None:
    job = world.put(make_job(state))
    with pytest.raises(NotPossible, match=f"is {state.value}"):
        repair.retry(job.job_id, pay=True)
    assert world.job() == job
    assert (world.executions(), world.postponed()) == ([], [])


# resolve ----------------------------------------------------------------------------------------------------

LOST = {"code": Hold.LOST.value, "message": "m"}
IN_DOUBT = pytest.mark.parametrize("state", [State.UNCERTAIN, State.HELD])


@pytest.mark.parametrize(
    "decision", [(None, False, False), ("r", True, False), ("r", False, True), (None, True, True), ("r", True, True)]
)
def test_exactly_one_decision_is_required(world: Any, repair: Repair, make_job: Make, decision: Any) -> None:
    adopt, resubmit, give_up = decision
    job = world.put(make_job(State.UNCERTAIN))
    with pytest.raises(NotPossible, match="use exactly one of"):
        repair.resolve(job.job_id, adopt=adopt, resubmit=resubmit, give_up=give_up)
    assert world.job() == job


@pytest.mark.parametrize("decision", [("r", False, False), (None, True, False), (None, False, True)])
@pytest.mark.parametrize("state", [state for state in State if state is not State.UNCERTAIN])
@pytest.mark.parametrize("code", [Hold.BUDGET, Hold.PAUSED])
def test_a_job_that_is_not_in_doubt_cannot_be_resolved(
    *, world: Any, repair: Repair, make_job: Make, state: State, code: Hold, decision: Any
) -> None:
    adopt, resubmit, give_up = decision
    job = world.put(make_job(state, error={"code": code.value, "message": "m"}))
    with pytest.raises(NotPossible, match="nothing to decide"):
        repair.resolve(job.job_id, adopt=adopt, resubmit=resubmit, give_up=give_up)
    assert world.job() == job


@IN_DOUBT
def test_a_person_names_the_request(world: Any, repair: Repair, make_job: Make, state: State) -> None:
    job = world.put(make_job(state, error=LOST, request_id=None))
    world.wire.will(history(row(world, "req-9", names=None)))
    assert "QUEUED" in repair.resolve(job.job_id, adopt="req-9")
    assert world.job().request_id == "req-9"


def test_an_unknown_job_is_an_error(repair: Repair) -> None:
    for decide in (lambda: repair.retry("up-9", pay=True), lambda: repair.resolve("up-9", give_up=True)):
        with pytest.raises(NotPossible, match="job up-9 does not exist"):
            decide()


@IN_DOUBT
def test_a_lost_submit_is_sent_again_on_a_persons_decision(
    *, world: Any, repair: Repair, make_job: Make, state: State
) -> None:
    job = world.put(make_job(state, error=LOST, notified_at=1.0, submitted_at=5.0, attempts=1))
    assert "billed" in repair.resolve(job.job_id, resubmit=True, give_up=False)
    after = world.job()
    assert (after.state, after.error, after.submitted_at, after.executions) == (State.RECEIVED, None, None, 1)
    assert world.postponed() == [("up-1", 0)]


@IN_DOUBT
def test_a_lost_submit_that_is_sent_again_may_have_been_billed(
    *, world: Any, repair: Repair, make_job: Make, state: State
) -> None:
    """Its request has no id, so only this mark tells a cancel, a refusal and their mails of it."""
    entered = {State.UNCERTAIN.value: 5.0, state.value: 5.0}
    job = world.put(make_job(state, error=LOST, request_id=None, entered=entered))
    repair.resolve(job.job_id, resubmit=True)
    assert (world.job().resubmitted, world.job().earlier_request_ids) == (True, [])
    cancelled = cancel(world.store, world.queue, job.job_id)
    assert "An earlier submit, whose outcome was not known, may have been billed" in (cancelled.error or {})["message"]
    assert job_email(job_notification(cancelled, None))[0].endswith("(cancelled, perhaps charged before)")


@IN_DOUBT
def test_an_abandoned_job_fails_and_releases_its_reservation(
    *, world: Any, repair: Repair, make_job: Make, state: State
) -> None:
    job = world.put(make_job(state, error=LOST, notified_at=1.0, reserved_usd=0.2, reserved_day=DAY))
    repair.resolve(job.job_id, resubmit=False, give_up=True)
    after = world.job()
    assert (after.state, after.error["code"]) == (State.FAILED, "GIVEN_UP")
    assert world.store.day(DAY).released == 0.2
    assert [message["status"] for message in world.notified()] == ["FAILED"]
