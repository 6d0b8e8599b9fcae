"""Poll: ask the provider once for a job's status, and decide when to ask again.

No documented behaviour of the provider raises an exception here. A paid job is polled until its hour is over, whatever
the responses in between, because an invalid key or an outage must not lose a video.
"""

from dataclasses import dataclass
from functools import cache

from seedance import bounds
from seedance.aws import checks
from seedance.clock import CLOCK, Clock
from seedance.config import settings
from seedance.errors import (
    AtCapacity,
    ConfigurationError,
    Conflict,
    KeyRejected,
    ProviderError,
    RateLimited,
    Refused,
)
from seedance.jobs import reasons
from seedance.jobs.job import ErrorFacts, Job, ResultFacts, State
from seedance.jobs.store import JobStore, jobs
from seedance.jobs.tasks import TaskAnswer, TaskStatus
from seedance.observability import count, logger
from seedance.pacing import poll_schedule
from seedance.pacing.durations import Durations, durations
from seedance.pacing.pacer import NextPoll, Pacer, pacer
from seedance.provider import failures, links
from seedance.provider.client import Provider, provider
from seedance.provider.history import Allowance
from seedance.provider.links import Result, Sent
from seedance.provider.payloads import HistoryRow, ProviderStatus, Standing, merged

MISSING_POLLS = 3
"""Consecutive polls without a record or a link before it counts as missing, because the provider's data may lag."""

HISTORY_SECONDS = 12.0
"""The time limit for reading the history, by id and as a list: what remains of the function's 30 s after waiting for
slot and status."""

HISTORY_REQUESTS = 21
"""The most requests for that: the request by its id, and 20 pages of the list. More do not arrive in that time, unless
the list does not end."""

LAST_CALL_SECONDS = 60.0
"""This long before the provider deletes a request's record, polls ignore the rate limit: a video is at stake."""


@dataclass(frozen=True)
class Poll:
    """The use case and its dependencies. ``scale``: see Settings.time_scale."""

    store: JobStore
    provider: Provider
    pacer: Pacer
    durations: Durations
    scale: float = 1.0
    clock: Clock = CLOCK

    def __call__(self, job_id: str, slot: object = None) -> TaskAnswer:
        """Ask the provider once, in the ``slot`` that was reserved for this poll, if it is one."""
        job = self.store.get(job_id)
        if job is None:
            raise LookupError(f"the workflow's job {bounds.shown(job_id)} has no record")
        if job.state in (State.COPYING, State.COMPLETED):
            return _answer(job, TaskStatus.COMPLETED)
        if job.state not in (State.QUEUED, State.PROCESSING):
            return _answer(
                job,
                TaskStatus.HELD if job.state is State.HELD else TaskStatus.FAILED,
                job.error or reasons.not_running(job.state).error,
            )
        if job.request_id is None:
            raise LookupError(f"job {job_id} is {job.state}, but its record has no request_id")
        if self._remaining(job) > LAST_CALL_SECONDS and (plan := self.pacer.poll_turn(checks.whole(slot, 0, 10**11))):
            return self._planned(job, plan)
        try:
            return self._ask(job, job.request_id)
        except Conflict:
            # A person or another execution changed the job. Check again later and do not overwrite that.
            return self._running(job, wait=poll_schedule.STEP_SECONDS)

    def _ask(self, job: Job, request_id: str) -> TaskAnswer:
        try:
            standing = self.provider.standing(request_id, Sent.by(job))
        except RateLimited as error:
            count("PollsRateLimited")
            if not isinstance(error, AtCapacity):
                self.pacer.rate_limited(error.retry_after)
            return self._learned_nothing(job, error, poll_schedule.STEP_SECONDS)
        except (ProviderError, ConfigurationError) as error:  # the key may be temporarily unreadable
            count("PollsFailed")
            return self._learned_nothing(job, error, poll_schedule.UNREACHABLE_STEP_SECONDS)
        if standing is None:
            return self._gone(job)
        if standing.status is ProviderStatus.FAILED:
            return _answer(job, TaskStatus.FAILED, failures.reason(job, standing.error).error)
        if standing.status is ProviderStatus.COMPLETED:
            return self._completed(job, standing)
        if standing.status is ProviderStatus.PROCESSING and job.state is State.QUEUED:
            job = self.store.move(job, State.PROCESSING, gone_polls=0)
        elif job.gone_polls:
            job = self.store.note(job, gone_polls=0)
        return self._running_until_deadline(job)

    def _completed(self, job: Job, standing: Standing) -> TaskAnswer:
        facts: ResultFacts = {
            "last_frame_url": standing.last_frame,
            "cost_usd": standing.cost_usd,
            "metrics": standing.metrics,
        }
        if standing.output is None:
            if job.gone_polls + 1 < MISSING_POLLS:
                return self._running(
                    self.store.note(job, gone_polls=job.gone_polls + 1), wait=poll_schedule.STEP_SECONDS
                )
            return self._without_link(job, standing.result, facts)
        # The link is written at once, because the provider deletes it within the hour.
        job = self.store.move(job, State.COPYING, result_url=standing.output, **facts)
        # Only after the link is written, and only once: a repeated poll finds the job in a later state.
        took = standing.metrics.get("total", 0.0)
        if 0 < took <= job.age(self.clock(), self.scale):  # an impossible duration must not be learned
            self.durations.learn(job.model, took)
        return _answer(job, TaskStatus.COMPLETED)

    def _without_link(self, job: Job, result: Result, facts: ResultFacts) -> TaskAnswer:
        """The video is made, but the response has no usable link. The history may have one."""
        if not result.videos:
            try:
                link = links.only_video(row.url for row in self._outputs(job))
            except (ProviderError, ConfigurationError) as trouble:
                logger().warning("the history can't be read", extra={"job_id": job.job_id, "reason": str(trouble)})
                link = None
            if link:
                job = self.store.move(job, State.COPYING, result_url=link, **facts)
                return _answer(job, TaskStatus.COMPLETED)
        return self._hold(job, result, facts)

    def _hold(self, job: Job, result: Result, facts: ResultFacts) -> TaskAnswer:
        """Hold the job: the video is made and paid for, so not FAILED or EXPIRED. A person can still copy it."""
        error = links.held(result, job, job.request_id)
        logger().error("result unclear", extra={"job_id": job.job_id, "why": error["message"]})
        count("JobsHeld")
        answer, link = result.answer, result.elsewhere
        job = self.store.close(
            job, State.HELD, made=True, gone_polls=0, answer=answer, result_url=link, error=error, **facts
        )
        return _answer(job, TaskStatus.HELD, error)

    def _outputs(self, job: Job) -> list[HistoryRow]:
        """The history's rows for the job's request, one per output. Raises the same errors as Provider.history."""
        since, until = poll_schedule.history_window(job.submitted_at or job.created_at, self.clock())
        within = Allowance(HISTORY_SECONDS, HISTORY_REQUESTS)
        return self.provider.request_rows(job.request_id or "", job.model, since, until, within=within)

    def _gone(self, job: Job) -> TaskAnswer:
        age = job.age(self.clock(), self.scale)
        if age < poll_schedule.DEADLINE_SECONDS and job.gone_polls + 1 < MISSING_POLLS:
            return self._running(self.store.note(job, gone_polls=job.gone_polls + 1), wait=poll_schedule.STEP_SECONDS)
        return self._last_look(job, reasons.record_gone(job.request_id).error)

    def _last_look(self, job: Job, error: ErrorFacts) -> TaskAnswer:
        """Check the history before a job expires: it outlives the record, and may have a paid video."""
        patient = (
            job.age(self.clock(), self.scale) < poll_schedule.DEADLINE_SECONDS + poll_schedule.HISTORY_PATIENCE_SECONDS
        )
        try:
            rows = self._outputs(job)
        except (ProviderError, ConfigurationError) as trouble:
            # Limited by time and by attempts: if the first check comes days late, it must not be the only one.
            if patient or job.gone_polls < 2 * MISSING_POLLS:
                job = self.store.note(job, gone_polls=job.gone_polls + 1)
                logger().warning("the history can't be read", extra={"job_id": job.job_id, "reason": str(trouble)})
                return _running(job, NextPoll(poll_schedule.UNREACHABLE_STEP_SECONDS * 10, None))
            rows = []
        row = next(iter(merged(rows)), None)
        if row and row.url:
            job = self.store.move(job, State.COPYING, result_url=row.url, cost_usd=row.cost_usd)
            return _answer(job, TaskStatus.COMPLETED)
        if row and row.status == ProviderStatus.FAILED:
            return _answer(job, TaskStatus.FAILED, failures.reason(job, row.error).error)
        if row is None and job.age(self.clock(), self.scale) < poll_schedule.DEADLINE_SECONDS:
            # The hour is not over: the record may reappear, or the history may lag.
            return _running(job, NextPoll(poll_schedule.UNREACHABLE_STEP_SECONDS * 10, None))
        if row and patient:  # not ended according to the history: it may still be made, and billed
            return _running(job, NextPoll(poll_schedule.UNREACHABLE_STEP_SECONDS * 10, None))
        if row and row.status == ProviderStatus.COMPLETED:
            count_of = "several different links" if any(row.url for row in rows) else "no link"
            unclear = f"The provider's history has {count_of} to the video"
            return self._hold(job, Result(unclear=unclear), {"cost_usd": row.cost_usd})
        return _answer(job, TaskStatus.EXPIRED, error)

    def _learned_nothing(self, job: Job, error: Exception, wait: float) -> TaskAnswer:
        refused = isinstance(error, Refused)
        log = logger().error if refused and not isinstance(error, KeyRejected) else logger().warning
        raw = getattr(error, "excerpt", "")
        log("poll learned nothing", extra={"job_id": job.job_id, "reason": str(error), "excerpt": raw})
        return self._running_until_deadline(job, wait)

    def _running_until_deadline(self, job: Job, wait: float | None = None) -> TaskAnswer:
        if self._remaining(job) <= 0:
            return self._last_look(job, reasons.deadline().error)
        return self._running(job, wait)

    def _running(self, job: Job, wait: float | None = None) -> TaskAnswer:
        """Poll again after ``wait`` seconds (default: as scheduled), but before the record is deleted."""
        age = job.age(self.clock(), self.scale)

        def scheduled(polls: float) -> float:
            return poll_schedule.next_wait(age, job.spread, polls) if wait is None else wait

        of_a_batch = job.batch is not None
        return self._planned(job, self.pacer.plan_poll(scheduled, job.expected_seconds, of_a_batch=of_a_batch))

    def _planned(self, job: Job, plan: NextPoll) -> TaskAnswer:
        """To be asked again as planned, or when the provider is about to forget the request, if that is sooner."""
        remaining = max(1.0, self._remaining(job))
        return _running(job, plan if plan.wait <= remaining else NextPoll(remaining, None))

    def _remaining(self, job: Job) -> float:
        """Seconds until the provider deletes the request's record."""
        return poll_schedule.DEADLINE_SECONDS - job.age(self.clock(), self.scale)


def _running(job: Job, plan: NextPoll) -> TaskAnswer:
    return {**_answer(job, TaskStatus.RUNNING), "wait_seconds": max(1, round(plan.wait)), "slot": plan.slot}


def _answer(job: Job, status: TaskStatus, error: ErrorFacts | None = None) -> TaskAnswer:
    answer: TaskAnswer = {"job_id": job.job_id, "status": status, "error": error}
    return answer if error is None else {**answer, "request_id": job.request_id}


@cache
def poll() -> Poll:
    """The use case, configured for this stack."""
    return Poll(jobs(), provider(), pacer(), durations(), settings().time_scale)
