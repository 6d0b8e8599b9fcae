"""What both transports do around the one call that costs money: before it, and when it goes wrong.

Before: is a submit allowed now (switch, rate limit, budget), where is the image, is there a key; then intent
and reservation are written in one transaction. After: an error's verdict, the same for a submit and a v1 call.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from seedance.errors import (
    LONGEST_WAIT_SECONDS,
    AllUnderWay,
    AtCapacity,
    DearerThanBudget,
    InvalidRequest,
    OutOfCredits,
    OverBudget,
    ProviderError,
    RateLimited,
    SubmitUncertain,
    Unavailable,
)
from seedance.jobs import catalogue, reasons
from seedance.jobs.budget import reservation
from seedance.jobs.job import Job, State
from seedance.jobs.reasons import Reason
from seedance.jobs.store import JobStore
from seedance.media.buckets import Media
from seedance.observability import count, logger
from seedance.pacing import poll_schedule
from seedance.pacing.pacer import Pacer
from seedance.provider.client import Provider

MAX_ATTEMPTS = 6
"""Submits of one job that the provider answered with trouble of its own, over about 8 minutes, before the
job fails. A rate limit does not count: it is a matter of waiting."""


class Next(StrEnum):
    """What is to become of a job whose call went wrong."""

    LATER = "LATER"
    END = "END"
    UNCERTAIN = "UNCERTAIN"
    HELD = "HELD"


@dataclass(frozen=True)
class Verdict:
    """What is to become of a job, and the error its record will carry."""

    next: Next
    reason: Reason
    wait: float = 0.0
    """Seconds, by the clock on the wall, for LATER."""
    counts: bool = True
    """Whether it uses up one of MAX_ATTEMPTS. To wait for one's turn, or a rate limit, says nothing about the job."""
    state: State = State.FAILED
    """The end, for END."""
    day: str | None = None
    """The UTC day that has no room, for HELD."""

    @property
    def error(self) -> dict[str, str]:
        """As the job's record carries it."""
        return self.reason.error


@dataclass(frozen=True)
class Sending:
    """The part of submit and generate that is the same. ``budget``: see Settings.budget."""

    store: JobStore
    provider: Provider
    media: Media
    pacer: Pacer
    image_delivery: str
    budget: float | None = None
    scale: float = 1.0
    clock: Callable[[], float] = time.time

    def begin(self, job: Job) -> tuple[Job, dict[str, Any]] | Verdict:
        """Write that the call is about to be made; the job, now SUBMITTING, and the body to send.

        A Verdict instead when it must not be made now. Raises Conflict when another invocation was faster.
        """
        if reason := self.store.paused():
            return Verdict(Next.HELD, reasons.paused(f"Submits are paused: {reason}"))
        if (turn := self.pacer.submit_turn(job.turn_at, job.expected_seconds)) is not None:
            return self._wait(turn, "It waits for its turn at the provider.")
        try:
            link, image = self._image_address(job)
            self.provider.authenticate()
        except InvalidRequest as refusal:
            return Verdict(Next.END, reasons.of(refusal), state=_unsent(job))
        except ProviderError as error:  # the asset upload; nothing of it costs anything
            return self.judge(job, error)
        model = catalogue.find(job.model)
        body = catalogue.payload(model, job.parameters, job_id=job.job_id, image_link=link)
        now = round(self.clock(), 3)
        values: dict[str, Any] = {"submitted_at": now, "attempts": job.attempts + 1, "error": None}
        if image != job.image:
            values["image"] = image
        entry, reserved = reservation(job, now, limit=self.budget, max_in_flight=self.pacer.max_in_flight)
        values |= reserved
        try:
            return self.store.move(job, State.SUBMITTING, entry=entry, **values), body
        except DearerThanBudget as error:  # holding it would only put it off from day to day
            return Verdict(Next.END, Reason(error.code, self._too_dear(values["reserved_usd"])), state=_unsent(job))
        except OverBudget as error:
            return Verdict(Next.HELD, reasons.sentence(error), day=values["reserved_day"])
        except AllUnderWay as error:  # as many were begun since the pacer looked
            return self._wait(self.pacer.soon(), f"It waits: {error}.")

    def judge(self, job: Job, error: ProviderError) -> Verdict:
        """What follows from an error of the provider; ``job`` as it was when the call was made."""
        logger().warning(
            "the call went wrong",
            extra={"job_id": job.job_id, "reason": str(error), "excerpt": error.excerpt},
        )
        if isinstance(error, SubmitUncertain):
            return Verdict(Next.UNCERTAIN, reasons.of(error))
        if isinstance(error, OutOfCredits):
            if self.store.pause(str(error)):
                count("SubmitsPaused")
            return Verdict(Next.HELD, reasons.paused(str(error)))
        again = poll_schedule.submit_again_after(job.attempts) * self.scale
        if isinstance(error, AtCapacity):
            # Room comes when a video ends. Everybody else's requests, and the polls above all, go on.
            wait = min(max(again, job.expected_seconds * self.scale), LONGEST_WAIT_SECONDS)
            return Verdict(Next.LATER, reasons.of(error), wait=wait, counts=False)
        if isinstance(error, RateLimited):
            self.pacer.rate_limited(error.retry_after)
            wait = again if error.retry_after is None else error.retry_after
            return Verdict(Next.LATER, reasons.of(error), wait=wait, counts=False)
        if not isinstance(error, Unavailable) or job.attempts >= MAX_ATTEMPTS:
            return Verdict(Next.END, reasons.of(error))
        return Verdict(Next.LATER, reasons.of(error), wait=again)

    def settle(self, job: Job, verdict: Verdict, turn: float | None = None) -> Job:
        """Write a verdict into the record of a job that is RECEIVED or SUBMITTING; the job as it is now.

        ``turn``: for LATER, the turn that is to bring the job back (None: its first message).
        """
        match verdict.next:
            case Next.LATER:
                if job.state is State.RECEIVED:
                    attempts = job.attempts + verdict.counts
                    return self.store.note(job, attempts=attempts, turn_at=turn, error=verdict.error)
                # Nothing is under way: what was reserved for it is free for others meanwhile.
                attempts = job.attempts - (not verdict.counts)
                facts: dict[str, Any] = {"attempts": attempts, "turn_at": turn, "error": verdict.error}
                return self.store.close(job, State.RECEIVED, submitted_at=None, **facts)
            case Next.UNCERTAIN:
                count("JobsUncertain")
                logger().error("uncertain", extra={"job_id": job.job_id, "why": verdict.reason.message})
                return self.store.move(job, State.UNCERTAIN, error=verdict.error)
            case Next.HELD:
                count("JobsHeld")
                return self.store.close(job, State.HELD, error=verdict.error, held_day=verdict.day)
            case Next.END:
                count("JobsRejected" if verdict.state is State.REJECTED else "JobsFailed")
                return self.store.close(job, verdict.state, error=verdict.error)

    def _wait(self, turn: float, why: str) -> Verdict:
        return Verdict(Next.LATER, reasons.waits(why), wait=self.pacer.seconds_until(turn), counts=False)

    def _too_dear(self, estimate: float) -> str:
        budget = self.budget or 0.0
        digits = 2 if round(estimate, 2) > budget else 4  # a fraction of a cent too much must show
        return (
            f"The video would cost about ${estimate:.{digits}f}, and the budget of a whole day is ${budget:.2f}. "
            "Ask for a shorter one, a lower resolution or a cheaper model, or raise the stack's DailyBudgetUsd."
        )

    def _image_address(self, job: Job) -> tuple[str | None, dict[str, Any] | None]:
        """Where the provider finds the job's image, and what the job keeps of it; None without one.

        A signed link names the job. An address in the provider's asset store does not, so it is kept: it is what
        a lost submit is recognised by.
        """
        if not job.image:
            return None, None
        image = {name: value for name, value in job.image.items() if name != "uploaded"}
        if self.image_delivery == "upload":
            address = self.provider.upload_asset(image["content_type"], self.media.image_base64(image))
            return address, {**image, "uploaded": address}
        return self.media.image_link(image, job.job_id), image


def _unsent(job: Job) -> State:
    """The end of a job that can't be sent: REJECTED says that it never was, so not of one submitted again."""
    return State.FAILED if job.earlier_request_ids else State.REJECTED
