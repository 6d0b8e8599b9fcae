"""What both transports do before the one call that costs money, and after it fails.

Before the call: check that a submit is allowed now (switch, rate limit, budget), get the image's address, check the
key, then write the intent and the reservation in one transaction. After an error: decide what happens to the job. The
decision is the same for a submit and a v1 call.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from seedance.clock import CLOCK, Clock
from seedance.config import settings
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
from seedance.jobs.budget import day_of, reservation
from seedance.jobs.job import ErrorFacts, ImageFacts, Job, ParameterValues, State
from seedance.jobs.reasons import Reason
from seedance.jobs.store import JobChanges, JobStore, jobs
from seedance.jobs.switch import Switch, switch
from seedance.media.buckets import Media, media
from seedance.observability import count, logger
from seedance.pacing import poll_schedule
from seedance.pacing.pacer import Pacer, pacer
from seedance.provider.client import Provider, provider

MAX_ATTEMPTS = 6
"""How often a job is submitted, over about 8 minutes, before it fails because of the provider's errors. A rate limit
does not count, because the job only has to wait."""


class Next(StrEnum):
    """What happens next to a job whose call failed."""

    LATER = "LATER"
    END = "END"
    UNCERTAIN = "UNCERTAIN"
    HELD = "HELD"


@dataclass(frozen=True)
class Verdict:
    """What happens next to a job, and the error for its record."""

    next: Next
    reason: Reason
    wait: float = 0.0
    """For LATER: the wait in real seconds."""
    counts: bool = True
    """Whether it is one of MAX_ATTEMPTS. Waiting for a turn or a rate limit does not: it says nothing about the job."""
    state: State = State.FAILED
    """For END: the final state."""
    day: str | None = None
    """For HELD: the UTC day whose budget is used up."""

    @property
    def error(self) -> ErrorFacts:
        """The error in the form of the job's record."""
        return self.reason.error


@dataclass(frozen=True)
class Sending:
    """The part that submit and generate share. ``budget``: see Settings.daily_budget_usd."""

    store: JobStore
    switch: Switch
    provider: Provider
    media: Media
    pacer: Pacer
    image_delivery: str
    budget: float | None = None
    scale: float = 1.0
    clock: Clock = CLOCK

    def begin(self, job: Job) -> tuple[Job, ParameterValues] | Verdict:
        """Write the intent to make the call. Returns the job, now SUBMITTING, and the body to send.

        Returns a Verdict if the call must not be made now. Raises Conflict if another invocation was faster.
        """
        if reason := self.switch.paused():
            return Verdict(Next.HELD, reasons.paused(f"Submits are paused: {reason}"))
        if (turn := self.pacer.submit_turn(job.turn_at, job.expected_seconds)) is not None:
            return self._wait(turn, "The job is waiting for its turn at the provider.")
        try:
            link, image = self._image_address(job)
            self.provider.authenticate()
        except InvalidRequest as refusal:
            return Verdict(Next.END, reasons.of(refusal), state=_unsent(job))
        except ProviderError as error:  # from the asset upload, which costs nothing
            return self.judge(job, error)
        model = catalogue.find(job.model)
        body = catalogue.payload(model, job.parameters, job_id=job.job_id, image_link=link)
        now = round(self.clock(), 3)
        values: JobChanges = {"submitted_at": now, "attempts": job.attempts + 1, "error": None}
        if image != job.image:
            values["image"] = image
        booking, reserved = reservation(
            job, now, self.store.bills.estimate, limit=self.budget, max_in_flight=self.pacer.max_in_flight
        )
        values |= reserved
        usd = booking.reserved if booking else job.reserved_usd or 0.0
        if (most := job.max_usd) is not None and usd > most:
            return Verdict(Next.END, reasons.dearer_than_allowed(usd, most))
        try:
            return self.store.move(job, State.SUBMITTING, booking=booking, **values), body
        except DearerThanBudget:  # it does not fit in any day, so holding it is pointless
            return Verdict(Next.END, reasons.dearer_than_budget(usd, self.budget or 0.0), state=_unsent(job))
        except OverBudget:
            day = day_of(now)
            why = reasons.over_budget(day, self.budget or 0.0, self.store.day(day).committed, usd)
            return Verdict(Next.HELD, why, day=day)
        except AllUnderWay as error:  # others have started since the pacer checked
            return self._wait(self.pacer.soon(), f"The job is waiting: {error}.")

    def judge(self, job: Job, error: ProviderError) -> Verdict:
        """Decide what happens after an error of the provider. ``job`` is as it was when the call was made."""
        logger().warning(
            "the call failed",
            extra={"job_id": job.job_id, "reason": str(error), "excerpt": error.excerpt},
        )
        if isinstance(error, SubmitUncertain):
            return Verdict(Next.UNCERTAIN, reasons.of(error))
        if isinstance(error, OutOfCredits):
            if self.switch.pause(str(error)):
                count("SubmitsPaused")
            return Verdict(Next.HELD, reasons.paused(str(error)))
        again = poll_schedule.submit_again_after(job.attempts) * self.scale
        if isinstance(error, AtCapacity):
            # There is room again when a video ends. Other requests, especially polls, continue.
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
        """Write a verdict to the record of a job that is RECEIVED or SUBMITTING. Returns the updated job.

        Raises Conflict if the job is no longer in this state: it may have been cancelled.
        ``turn``: for LATER, the turn at which the job continues (None: that of its first message).
        """
        match verdict.next:
            case Next.LATER:
                if job.state is State.RECEIVED:
                    attempts = job.attempts + verdict.counts
                    return self.store.note(job, attempts=attempts, turn_at=turn, error=verdict.error)
                # Nothing is in progress, so its reservation is released for other jobs in the meantime.
                attempts = job.attempts - (not verdict.counts)
                return self.store.close(
                    job, State.RECEIVED, submitted_at=None, attempts=attempts, turn_at=turn, error=verdict.error
                )
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

    def _image_address(self, job: Job) -> tuple[str | None, ImageFacts | None]:
        """The image's address for the provider, and its fields for the job's record; None without an image.

        A signed link contains the job's id. An address in the provider's asset store does not, so it is kept: a lost
        submit is recognised by it.
        """
        if not job.image:
            return None, None
        image = job.image.copy()
        image.pop("uploaded", None)
        if self.image_delivery == "upload":
            address = self.provider.upload_asset(image["content_type"], self.media.image_base64(image))
            return address, {**image, "uploaded": address}
        return self.media.image_link(image, job.job_id), image


def _unsent(job: Job) -> State:
    """The final state of a job that can't be sent. REJECTED means never sent, so a resubmitted job is FAILED."""
    return State.FAILED if job.earlier_request_ids else State.REJECTED


@cache
def sending() -> Sending:
    """The shared part, configured for this stack."""
    stack = settings()
    delivery, budget, scale = stack.image_delivery, stack.daily_budget_usd, stack.time_scale
    return Sending(jobs(), switch(), provider(), media(), pacer(), delivery, budget, scale)
