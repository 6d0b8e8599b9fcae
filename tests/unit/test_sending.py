"""Sending: the decisions before the call that costs money, and what its errors mean for the job."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from seedance.errors import (
    LONGEST_WAIT_SECONDS,
    AtCapacity,
    Conflict,
    KeyRejected,
    OutOfCredits,
    ProviderError,
    RateLimited,
    Refused,
    SubmitUncertain,
    Unavailable,
    UnexpectedAnswer,
)
from seedance.jobs.budget import Booking, day_of
from seedance.jobs.job import Hold, Job, State
from seedance.jobs.prices import published_usd, setting
from seedance.jobs.reasons import Reason
from seedance.paid_call import MAX_ATTEMPTS, Next, Sending, Verdict, reservation

Make = Callable[..., Job]
IMAGE = {"bucket": "example-uploads", "key": "uploads/gone.png", "version_id": "v", "content_type": "image/png"}


@pytest.fixture
def sending(world: Any) -> Sending:
    return world.sending


def estimate(job: Job) -> float:
    return round(published_usd(job.model, setting(job.parameters)), 4)


# before the call ------------------------------------------------------------------------------------------------


def test_intent_and_reservation_are_written_before_the_body_is_given(
    world: Any, sending: Sending, make_job: Make
) -> None:
    begun = sending.begin(world.put(make_job(error={"code": "OLD", "message": "m"})))
    assert isinstance(begun, tuple)
    job, body = begun
    today = day_of(world.clock.now)
    assert job == world.job()
    assert (job.state, job.attempts, job.submitted_at, job.error) == (State.SUBMITTING, 1, world.clock.now, None)
    assert (job.reserved_usd, job.reserved_day) == (estimate(job), today)
    assert world.store.day(today).committed == estimate(job)
    assert body == {**job.parameters, "seed": body["seed"]}
    assert world.wire.requests == []


def test_a_second_attempt_keeps_the_first_ones_reservation_and_day(
    world: Any, sending: Sending, make_job: Make
) -> None:
    job = world.put(make_job(reserved_usd=0.2, reserved_day="2020-01-01", attempts=1))
    begun = replace(sending, budget=0.01).begin(job)
    assert isinstance(begun, tuple)
    assert (begun[0].reserved_usd, begun[0].reserved_day, begun[0].attempts) == (0.2, "2020-01-01", 2)
    assert world.called("TransactWriteItems") == []


def test_while_submits_are_paused_nothing_is_changed(world: Any, sending: Sending, make_job: Make) -> None:
    before = world.put(make_job(image=IMAGE))
    world.switch.pause("a person stopped them")
    verdict = replace(sending, image_delivery="upload").begin(before)
    assert isinstance(verdict, Verdict)
    assert (verdict.next, verdict.reason.code) == (Next.HELD, Hold.PAUSED)
    assert "a person stopped them" in verdict.reason.message
    assert world.job() == before


@pytest.mark.parametrize(("jobs", "share", "held"), [(0, 1.0, False), (1, 2.0, False), (1, 1.99, True), (2, 2.0, True)])
def test_a_job_that_exceeds_the_budget_is_held(
    *, world: Any, sending: Sending, make_job: Make, jobs: int, share: float, held: bool
) -> None:
    limited = replace(sending, budget=round(estimate(make_job()) * share, 4))
    for number in range(jobs):
        assert isinstance(limited.begin(world.put(make_job(job_id=f"up-before-{number}"))), tuple)
    before = world.put(make_job())
    begun = limited.begin(before)
    assert isinstance(begun, Verdict) is held
    if isinstance(begun, Verdict):
        assert (begun.next, begun.reason.code) == (Next.HELD, Hold.BUDGET)
        assert begun.reason.message[0].isupper()
        assert begun.reason.message.endswith(".")
        assert world.job() == before


@pytest.mark.parametrize(
    ("resolution", "budget", "says"),
    [("720p", 0.24, "about $0.25,"), ("720p", 0.01, "about $0.25,"), ("1080p", 0.56, "about $0.5625,")],
)
def test_a_job_that_costs_more_than_a_days_budget_is_not_held(
    *, world: Any, sending: Sending, make_job: Make, resolution: str, budget: float, says: str
) -> None:
    before = world.put(make_job(parameters={"prompt": "x", "resolution": resolution}))
    verdict = replace(sending, budget=budget).begin(before)
    assert isinstance(verdict, Verdict)
    assert (verdict.next, verdict.reason.code, verdict.state) == (Next.END, "DEARER_THAN_BUDGET", State.REJECTED)
    assert says in verdict.reason.message
    assert world.job() == before
    # Even if the day's budget is spent: otherwise the job would be HELD without telling anyone the real reason.
    world.store.move(
        world.put(make_job(job_id="up-2")), State.SUBMITTING, booking=Booking(day_of(world.clock.now), reserved=9.0)
    )
    assert replace(sending, budget=budget).begin(before) == verdict


def test_a_job_that_was_submitted_before_is_not_rejected(world: Any, sending: Sending, make_job: Make) -> None:
    verdict = replace(sending, budget=0.01).begin(world.put(make_job(earlier_request_ids=["req-0"])))
    assert isinstance(verdict, Verdict)
    assert verdict.state is State.FAILED
    verdict = replace(sending, image_delivery="upload").begin(
        world.put(make_job(earlier_request_ids=["req-0"], image=IMAGE))
    )
    assert isinstance(verdict, Verdict)
    assert verdict.state is State.FAILED


def test_a_settled_job_is_not_reserved_again(make_job: Make) -> None:
    def not_asked(*_: Any) -> float:
        raise AssertionError

    assert reservation(make_job(settled_usd=0.3), 0.0, not_asked, limit=None) == (None, {})


def test_a_new_day_has_its_own_budget(world: Any, sending: Sending, make_job: Make) -> None:
    limited = replace(sending, budget=estimate(make_job()))
    assert isinstance(limited.begin(world.put(make_job())), tuple)
    assert isinstance(limited.begin(world.put(make_job(job_id="up-2"))), Verdict)
    world.clock.now += 86_400
    assert isinstance(limited.begin(world.job("up-2")), tuple)


def test_a_missing_image_rejects_the_job_before_anything_is_reserved(
    world: Any, sending: Sending, make_job: Make
) -> None:
    verdict = replace(sending, image_delivery="upload").begin(world.put(make_job(image=IMAGE)))
    assert isinstance(verdict, Verdict)
    assert (verdict.next, verdict.state) == (Next.END, State.REJECTED)
    assert world.store.day(day_of(world.clock.now)).reserved == 0


@pytest.mark.parametrize("sent", [{"earlier_request_ids": ["req-0"]}, {"resubmitted": True}])
@pytest.mark.parametrize("budget", [None, 0.01])
def test_a_job_that_was_sent_before_is_not_rejected_as_never_sent(
    *, world: Any, sending: Sending, make_job: Make, sent: dict[str, Any], budget: float | None
) -> None:
    """Its image was deleted meanwhile, or its price exceeds the whole day's budget."""
    limited = replace(sending, budget=budget, image_delivery="upload" if budget is None else "link")
    verdict = limited.begin(world.put(make_job(image=IMAGE if budget is None else None, **sent)))
    assert isinstance(verdict, Verdict)
    assert (verdict.next, verdict.state) == (Next.END, State.FAILED)


def test_the_faster_invocation_gets_the_job(world: Any, sending: Sending, make_job: Make) -> None:
    stale = world.put(make_job())
    sending.begin(stale)
    with pytest.raises(Conflict):
        sending.begin(stale)
    assert world.store.day(day_of(world.clock.now)).reserved == estimate(stale)


# after it -------------------------------------------------------------------------------------------------------

ERRORS: list[tuple[ProviderError, int, Next, float]] = [
    (SubmitUncertain("x"), 1, Next.UNCERTAIN, 0),
    (SubmitUncertain("x"), MAX_ATTEMPTS, Next.UNCERTAIN, 0),
    (OutOfCredits("x"), 1, Next.HELD, 0),
    (OutOfCredits("x"), MAX_ATTEMPTS, Next.HELD, 0),
    (KeyRejected("x"), 1, Next.END, 0),
    (Refused("x"), 1, Next.END, 0),
    (UnexpectedAnswer("x"), 1, Next.END, 0),
    (Unavailable("x"), 1, Next.LATER, 15),
    (Unavailable("x"), 3, Next.LATER, 60),
    (Unavailable("x"), MAX_ATTEMPTS - 1, Next.LATER, 240),
    (Unavailable("x"), MAX_ATTEMPTS, Next.END, 0),
    (RateLimited("x", retry_after=None), 1, Next.LATER, 15),
    (RateLimited("x", retry_after=40.0), 1, Next.LATER, 40),
    (RateLimited("x", retry_after=0.0), 1, Next.LATER, 0),
    (RateLimited("x", retry_after=40.0), MAX_ATTEMPTS + 3, Next.LATER, 40),
    (RateLimited("x", retry_after=3e7), 1, Next.LATER, LONGEST_WAIT_SECONDS),
    (RateLimited("x", retry_after=float("nan")), 1, Next.LATER, 15),
    (RateLimited("x", retry_after=-1e9), 1, Next.LATER, 0),
    (AtCapacity("x", retry_after=None), 1, Next.LATER, 49),  # the model's expected duration
    (AtCapacity("x", retry_after=None), MAX_ATTEMPTS + 3, Next.LATER, LONGEST_WAIT_SECONDS),
]


@pytest.mark.parametrize(("error", "attempts", "following", "wait"), ERRORS)
def test_each_error_has_its_verdict(
    *, world: Any, sending: Sending, make_job: Make, error: ProviderError, attempts: int, following: Next, wait: float
) -> None:
    verdict = sending.judge(world.put(make_job(State.SUBMITTING, attempts=attempts)), error)
    assert (verdict.next, verdict.wait) == (following, wait)
    assert verdict.reason.code == (Hold.PAUSED if isinstance(error, OutOfCredits) else error.code)
    assert (world.switch.paused() is not None) is isinstance(error, OutOfCredits)


def test_a_full_account_does_not_delay_other_requests(world: Any, sending: Sending, make_job: Make) -> None:
    verdict = sending.judge(world.put(make_job(State.SUBMITTING)), AtCapacity("x", retry_after=None))
    assert not verdict.counts
    assert world.pacer.poll_turn(None) is None
    assert world.pacer.submit_turn(None, 49) is None


def test_an_expected_duration_of_a_year_does_not_mean_a_wait_of_a_year(
    world: Any, sending: Sending, make_job: Make
) -> None:
    job = world.put(make_job(State.SUBMITTING, expected_seconds=3e7))
    assert sending.judge(job, AtCapacity("x", retry_after=None)).wait == LONGEST_WAIT_SECONDS


def test_the_alarm_for_an_empty_account_is_raised_once(world: Any, sending: Sending, make_job: Make) -> None:
    for _ in range(3):
        sending.judge(world.put(make_job(State.SUBMITTING)), OutOfCredits("x"))
    assert world.counted() == {"SubmitsPaused": 1}


def test_our_own_waits_are_scaled_but_not_the_providers(world: Any, sending: Sending, make_job: Make) -> None:
    faster, job = replace(sending, scale=0.1), world.put(make_job(State.SUBMITTING, attempts=1))
    assert faster.judge(job, Unavailable("x")).wait == 1.5
    assert faster.judge(job, RateLimited("x", retry_after=40.0)).wait == 40


# The state before and the verdict; the state after, the attempts, and the remaining reservation.
LIMITED = RateLimited.code
SETTLED = [
    (State.RECEIVED, Verdict(Next.LATER, Reason("X", "m")), State.RECEIVED, 3, 0.2),
    (State.RECEIVED, Verdict(Next.LATER, Reason(LIMITED, "m"), counts=False), State.RECEIVED, 2, 0.2),
    (State.SUBMITTING, Verdict(Next.LATER, Reason("X", "m")), State.RECEIVED, 2, None),
    (State.SUBMITTING, Verdict(Next.LATER, Reason(LIMITED, "m"), counts=False), State.RECEIVED, 1, None),
    (State.SUBMITTING, Verdict(Next.UNCERTAIN, Reason("X", "m")), State.UNCERTAIN, 2, 0.2),
    (State.SUBMITTING, Verdict(Next.HELD, Reason("X", "m")), State.HELD, 2, None),
    (State.RECEIVED, Verdict(Next.HELD, Reason("X", "m")), State.HELD, 2, None),
    (State.SUBMITTING, Verdict(Next.END, Reason("X", "m")), State.FAILED, 2, None),
    (State.RECEIVED, Verdict(Next.END, Reason("X", "m")), State.FAILED, 2, None),
    (State.RECEIVED, Verdict(Next.END, Reason("X", "m"), state=State.REJECTED), State.REJECTED, 2, None),
]
COUNTED = {
    State.UNCERTAIN: "JobsUncertain",
    State.HELD: "JobsHeld",
    State.FAILED: "JobsFailed",
    State.REJECTED: "JobsRejected",
}


@pytest.mark.parametrize(("before", "verdict", "after", "attempts", "reserved"), SETTLED)
def test_a_verdict_is_written_together_with_its_booking(
    *,
    world: Any,
    sending: Sending,
    make_job: Make,
    before: State,
    verdict: Verdict,
    after: State,
    attempts: int,
    reserved: float | None,
) -> None:
    job = sending.settle(world.put(make_job(before, attempts=2, reserved_usd=0.2, reserved_day="d")), verdict)
    assert job == world.job()
    assert (job.state, job.attempts, job.reserved_usd) == (after, attempts, reserved)
    assert job.error == {"code": verdict.reason.code, "message": "m"}  # for LATER too: users ask why it takes so long
    assert job.submitted_at is None
    assert world.store.day("d").released == (0 if reserved else 0.2)
    assert world.counted() == ({COUNTED[after]: 1} if after in COUNTED else {})
