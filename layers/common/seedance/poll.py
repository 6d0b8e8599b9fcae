"""Poll: ask the provider once how a job stands; the answer is a status and when to ask again.

Nothing that the provider is documented to do raises here. A job whose video is paid for is asked after
until its hour is over, whatever the answers in between: a lost key or an outage must not lose a video.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from seedance import schedule
from seedance.answers import ProviderStatus, Standing
from seedance.config import settings
from seedance.errors import ConfigurationError, Conflict, KeyRejected, ProviderError, RateLimited, Refused
from seedance.job import Job, State
from seedance.observability import count, logger
from seedance.provider import Provider, provider
from seedance.store import JobStore, jobs

PATIENCE = 3
"""Polls in a row that may find no record, or no link, before we believe it: the provider's stores may lag."""


class Outcome(StrEnum):
    """What a task of the workflow returns as ``status``; the ASL's choices know these words."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True)
class Poll:
    """The use case, with everything it talks to. ``scale``: see Settings.scale."""

    store: JobStore
    provider: Provider
    scale: float = 1.0
    clock: Callable[[], float] = time.time

    def __call__(self, job_id: str) -> dict[str, Any]:
        """One look at the provider: ``{"job_id", "status", "wait_seconds"}``, and ``error`` when it is over."""
        job = self.store.get(job_id)
        if job is None:
            raise LookupError(f"the workflow names job {job_id}, which has no record")
        if job.state in (State.COPYING, State.COMPLETED):
            return _answer(job, Outcome.COMPLETED)
        if job.state not in (State.QUEUED, State.PROCESSING) or job.request_id is None:
            return _answer(
                job,
                Outcome.FAILED,
                job.error or {"code": "NOT_RUNNING", "message": f"The job is {job.state}."},
            )
        try:
            return self._ask(job, job.request_id)
        except Conflict:
            # A person or another execution moved the job on; look again, do not overrule.
            return self._running(job, wait=schedule.STEP_SECONDS)

    def _ask(self, job: Job, request_id: str) -> dict[str, Any]:
        try:
            standing = self.provider.standing(request_id)
        except RateLimited as error:
            count("PollsRateLimited")
            return self._learned_nothing(job, error, error.retry_after)
        except (ProviderError, ConfigurationError) as error:  # the key may be unreadable for a while
            count("PollsFailed")
            return self._learned_nothing(job, error, None)
        if standing is None:
            return self._gone(job)
        if standing.status is ProviderStatus.FAILED:
            why = standing.error or "The provider gave no reason."
            return _answer(
                job,
                Outcome.FAILED,
                {"code": "PROVIDER_JOB_FAILED", "message": f"The provider could not make the video: {why}"},
            )
        if standing.status is ProviderStatus.COMPLETED:
            return self._completed(job, standing)
        if standing.status is ProviderStatus.PROCESSING and job.state is State.QUEUED:
            job = self.store.move(job, State.PROCESSING, gone_polls=0)
        elif job.gone_polls:
            job = self.store.note(job, gone_polls=0)
        return self._running_until_deadline(job)

    def _completed(self, job: Job, standing: Standing) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "result_url": standing.output,
            "last_frame_url": standing.last_frame,
            "cost_usd": standing.cost_usd,
            "metrics": standing.metrics,
        }
        if standing.output is None:
            if job.gone_polls + 1 < PATIENCE:
                return self._running(self.store.note(job, gone_polls=job.gone_polls + 1), wait=schedule.STEP_SECONDS)
            self.store.note(job, **facts)
            return _answer(
                job,
                Outcome.FAILED,
                {
                    "code": "RESULT_WITHOUT_LINK",
                    "message": "The provider says that the video is done but gives no link to it. "
                    f"Ask the provider for request {job.request_id}.",
                },
            )
        # The link is written the moment it is seen: the provider forgets it within the hour.
        return _answer(self.store.move(job, State.COPYING, **facts), Outcome.COMPLETED)

    def _gone(self, job: Job) -> dict[str, Any]:
        age = job.age(self.clock(), self.scale)
        if age < schedule.DEADLINE_SECONDS and job.gone_polls + 1 < PATIENCE:
            return self._running(self.store.note(job, gone_polls=job.gone_polls + 1), wait=schedule.STEP_SECONDS)
        return self._last_look(
            job,
            {
                "code": "RECORD_GONE",
                "message": f"The provider has no record of request {job.request_id} (it keeps one for an hour), "
                "and its history shows no video for it.",
            },
        )

    def _last_look(self, job: Job, error: dict[str, str]) -> dict[str, Any]:
        """Before a job expires: the history outlives the record, and may know of a video that was paid for."""
        since = job.submitted_at or job.created_at
        patient = job.age(self.clock(), self.scale) < schedule.DEADLINE_SECONDS + schedule.HISTORY_PATIENCE_SECONDS
        try:
            rows = self.provider.history(job.model, since, self.clock())
            row = next((row for row in rows if row.request_id == job.request_id), None)
        except (ProviderError, ConfigurationError) as trouble:
            if patient:
                logger().warning("the history is out of reach", extra={"job_id": job.job_id, "reason": str(trouble)})
                return _answer(job, Outcome.RUNNING, wait=schedule.UNREACHABLE_STEP_SECONDS * 10)
            row = None
        if row and row.url:
            return _answer(
                self.store.move(job, State.COPYING, result_url=row.url, cost_usd=row.cost_usd), Outcome.COMPLETED
            )
        if row and row.status == ProviderStatus.FAILED:
            why = row.error or "The provider gave no reason."
            error = {"code": "PROVIDER_JOB_FAILED", "message": f"The provider could not make the video: {why}"}
            return _answer(job, Outcome.FAILED, error)
        if row is None and job.age(self.clock(), self.scale) < schedule.DEADLINE_SECONDS:
            # The hour is not over: the record may come back, or the history may lag.
            return _answer(job, Outcome.RUNNING, wait=schedule.LONGEST_STEP_SECONDS)
        if row and patient:  # not over yet by the history: it may still be made, and billed
            return _answer(job, Outcome.RUNNING, wait=schedule.UNREACHABLE_STEP_SECONDS * 10)
        return _answer(job, Outcome.EXPIRED, error)

    def _learned_nothing(self, job: Job, error: Exception, wait: float | None) -> dict[str, Any]:
        refused = isinstance(error, Refused)
        log = logger().error if refused and not isinstance(error, KeyRejected) else logger().warning
        raw = getattr(error, "excerpt", "")
        log("poll learned nothing", extra={"job_id": job.job_id, "reason": str(error), "excerpt": raw})
        if wait is not None:
            # The reset is by the provider's clock on the wall; the loop's waits are in its seconds.
            return self._running_until_deadline(job, wait / self.scale + 1)
        return self._running_until_deadline(job, schedule.UNREACHABLE_STEP_SECONDS)

    def _running_until_deadline(self, job: Job, wait: float | None = None) -> dict[str, Any]:
        age = job.age(self.clock(), self.scale)
        if age >= schedule.DEADLINE_SECONDS:
            return self._last_look(
                job,
                {
                    "code": "DEADLINE",
                    "message": "The video was not ready within the hour for which the provider keeps a request.",
                },
            )
        return self._running(job, wait if wait is not None else schedule.next_wait(age, job.expected_seconds))

    def _running(self, job: Job, wait: float) -> dict[str, Any]:
        remaining = schedule.DEADLINE_SECONDS - job.age(self.clock(), self.scale)
        return _answer(job, Outcome.RUNNING, wait=min(wait, max(1.0, remaining)))


def _answer(
    job: Job, outcome: Outcome, error: dict[str, str] | None = None, *, wait: float | None = None
) -> dict[str, Any]:
    answer: dict[str, Any] = {"job_id": job.job_id, "status": outcome.value, "error": error}
    return answer if wait is None else {**answer, "wait_seconds": max(1, round(wait))}


@cache
def poll() -> Poll:
    """The use case as the stack has it."""
    return Poll(jobs(), provider(), settings().scale)
