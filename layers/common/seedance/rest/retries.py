"""POST /videos/{job_id}/retry: ask for another try of a job.

This checks what the record alone can tell, writes the request on the job, and asks the function submit to carry it out
(seedance.upkeep.again): the provider's history has to be read before anything is bought, and the API has no key for it.
"""

from dataclasses import dataclass
from functools import cache

from seedance import bounds
from seedance.aws.checks import number
from seedance.clock import CLOCK, Clock
from seedance.config import api_settings
from seedance.errors import (
    Conflict,
    DearerThanAllowed,
    DearerThanBudget,
    InvalidRequest,
    NeedsPayment,
    NotFound,
    NotPossible,
)
from seedance.jobs.handoff import IntakeQueue, intake_queue
from seedance.jobs.job import Job, Retry, State
from seedance.jobs.retrying import LEAST_USD, MOST_USD, Way, way, why_not_copied
from seedance.jobs.store import JobStore, jobs
from seedance.rest import bodies

FIELDS = ("pay", "max_usd")


@dataclass(frozen=True)
class Retries:
    """The use case and its dependencies. ``budget``: see Settings.daily_budget_usd."""

    store: JobStore
    queue: IntakeQueue
    budget: float | None = None
    clock: Clock = CLOCK

    def ask(self, job_id: str, body: str | None) -> Job:
        """Ask for a retry of a job, and return the job. Repeating the call while it waits changes nothing.

        Raises NotFound, InvalidRequest, NeedsPayment, NotPossible, DearerThanBudget or Conflict.
        """
        wish = _wish(body, round(self.clock(), 3))
        job = self.store.get(job_id)
        if job is None:
            raise NotFound(f"job {bounds.shown(job_id)} does not exist")
        if job.retry is not None and _same(job.retry, wish) and _goes_on(job):
            return job  # this call was repeated
        self._check(job, wish)
        if not job.retry_waits:
            job = self.store.note(job, unchanged="retry", retry=wish)
        elif job.retry is not None and not _same(job.retry, wish):
            raise Conflict(f"another retry of job {job.job_id} is pending; try again when it has finished")
        self.queue.ask_again(job)  # also if the call is repeated: the message may have been lost
        return job

    def _check(self, job: Job, wish: Retry) -> None:
        """Raises an error if the record alone shows that the retry is not possible."""
        if job.state is State.COPYING:
            raise NotPossible(f"job {job.job_id} is being copied; a copy that fails is retried automatically")
        if way(job, wish["asked_at"]) is not Way.BUY:
            return
        usd = self.store.bills.estimate(job.model, job.parameters)
        if not wish["pay"]:
            why = why_not_copied(job, wish["asked_at"])
            why = f"job {job.job_id} {why}; with pay, the video is bought again, for about ${usd:.2f}"
            raise NeedsPayment(why, usd)
        if (most := wish.get("max_usd")) is not None and usd > most:
            raise DearerThanAllowed(usd, most)
        if self.budget is not None and usd > self.budget:
            why = f"the video would cost about ${usd:.2f}, but the budget of a whole day is ${self.budget:.2f}"
            raise DearerThanBudget(why)


def _goes_on(job: Job) -> bool:
    """Whether the job has continued since its retry, so that there is nothing else to do."""
    return not job.retry_waits and not job.state.terminal and job.state is not State.HELD


def _same(one: Retry, other: Retry) -> bool:
    return (one["pay"], one.get("max_usd")) == (other["pay"], other.get("max_usd"))


def _wish(body: str | None, now: float) -> Retry:
    """The retry that a body asks for. Raises InvalidRequest."""
    given = bodies.optional(body, FIELDS, '{"pay": true, "max_usd": 0.40}')
    pay, most = given.get("pay", False), given.get("max_usd")
    if not isinstance(pay, bool):
        raise InvalidRequest("pay", "must be true or false", allowed=[True, False])
    wish: Retry = {"asked_at": now, "pay": pay}
    if most is not None:
        words = f"a number from {LEAST_USD:g} to {MOST_USD:g}"
        usd = number(most, LEAST_USD, MOST_USD)
        if usd is None:
            raise InvalidRequest("max_usd", f"must be {words}", allowed=words)
        if not pay:
            raise InvalidRequest("max_usd", "is only for a retry that may buy the video again: pay must be true")
        wish["max_usd"] = float(usd)
    return wish


@cache
def retries() -> Retries:
    """The use case, configured for this stack."""
    stack = api_settings()
    return Retries(jobs(), intake_queue(stack.intake_queue), stack.daily_budget_usd)
