"""Fail: close a job that will have no video, with a reason that tells a person what to do.

A job at the provider only ends because of the provider's response, or a result of poll or finalize. A crash of our
code does not end it: the video may be in progress, and it is paid for. Such a job stays open, its execution fails so
that an alarm is raised, and reconcile starts another execution.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from seedance import bounds
from seedance.jobs import reasons
from seedance.jobs.job import AT_PROVIDER, ErrorFacts, Job, State
from seedance.jobs.store import JobStore, jobs
from seedance.jobs.tasks import FailAnswer, FailInput, TaskStatus
from seedance.notices.notifier import Notifier, notifier
from seedance.observability import count, logger

ENDS: dict[str, State] = {TaskStatus.FAILED: State.FAILED, TaskStatus.EXPIRED: State.EXPIRED}
"""The task statuses that end a job. Any other status, from an older or newer release, ends nothing."""


@dataclass(frozen=True)
class Fail:
    """The use case and its dependencies."""

    store: JobStore
    notifier: Notifier

    def __call__(self, event: FailInput) -> FailAnswer:
        """Close the job of ``event``."""
        job_id, crash = event["job_id"], event.get("exception")
        job = self.store.get(job_id)
        if job is None:
            raise LookupError(f"the workflow's job {bounds.shown(job_id)} has no record")
        if crash:
            logger().error("a task crashed", extra={"job_id": job_id, "exception": crash})
        if job.state is State.SUBMITTING and job.transport == "v1":
            # A crash between the intent and the result of the call: FAILED would hide a video that may be paid for.
            # A v2 job is submitted by another function, so this execution must not touch it.
            why = "The call to the provider was interrupted, so it is not known whether the video was made."
            count("JobsUncertain")
            job = self.store.move(job, State.UNCERTAIN, error=reasons.uncertain(why).error)
        elif job.state in AT_PROVIDER and not crash and (end := _end(job, event)):
            job = self.store.close(job, end, error=_why(job, event))
            count("JobsExpired" if end is State.EXPIRED else "JobsFailed")
        if job.state.terminal or job.state is State.HELD:
            self.notifier.tell(job)
        left_open = not (job.state.terminal or job.state in (State.HELD, State.UNCERTAIN))
        if left_open:
            told = {"job_id": job_id, "state": job.state, "said": event.get("status")}
            logger().error("left open for reconcile", extra=told)
            count("CopiesPutOff" if job.state is State.COPYING else "JobsLeftOpen")
        return {"job_id": job_id, "status": job.state, "unexpected": bool(crash) or left_open}


def _end(job: Job, event: FailInput) -> State | None:
    """The job's end according to the event, or None if it is about an earlier request or has another status."""
    if event.get("request_id", job.request_id) != job.request_id:
        return None  # a person had it submitted again in the meantime
    return ENDS.get(str(event.get("status")))


def _why(job: Job, event: FailInput) -> ErrorFacts:
    given = event.get("error")
    error: Mapping[str, object] = given if isinstance(given, Mapping) else {}  # anybody may start an execution
    unknown = reasons.unknown()
    code = bounds.shown(error.get("code", unknown.code))
    message = str(error.get("message", unknown.message))
    if job.result_url:
        message += f" The provider had finished the video; for seven days it is at {job.result_url}"
    return reasons.given(code, message).error


@cache
def fail() -> Fail:
    """The use case, configured for this stack."""
    return Fail(jobs(), notifier())
