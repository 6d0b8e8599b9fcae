"""Fail: close a job that will have no video, and say why in words a person can act on.

Only the provider's word, or an answer of poll or finalize, ends a job that is at the provider. A crash of ours does
not: the video may be in the making, and it is paid for. Such a job stays open, the execution fails so that an alarm
goes off, and reconcile starts another one.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from seedance.jobs import reasons
from seedance.jobs.job import AT_PROVIDER, Job, State
from seedance.jobs.reasons import Reason
from seedance.jobs.store import JobStore, jobs
from seedance.notices.notifier import Notifier, notifier
from seedance.observability import count, logger

ENDS = {"FAILED": State.FAILED, "EXPIRED": State.EXPIRED}
"""The words of a task that end a job. Any other word, from an older or newer release, ends nothing."""


@dataclass(frozen=True)
class Fail:
    """The use case, with everything it talks to."""

    store: JobStore
    notifier: Notifier

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        """Close the job of ``event``: what the state before returned, plus ``exception`` if it crashed.

        Returns ``{"job_id", "status", "unexpected"}``; unexpected ends the execution in a way that alarms. It is true
        after a crash, and whenever the job is left open.
        """
        job_id, crash = event["job_id"], event.get("exception")
        job = self.store.get(job_id)
        if job is None:
            raise LookupError(f"the workflow names job {job_id}, which has no record")
        if crash:
            logger().error("a task crashed", extra={"job_id": job_id, "exception": crash})
        if job.state is State.SUBMITTING and job.transport == "v1":
            # A crash between "I will send" and "it was sent": saying "failed" would hide a paid video.
            # A v2 job is being submitted by another function right now, which is not this execution's business.
            why = "The call to the provider was interrupted, and nobody knows whether the video was made."
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
        return {"job_id": job_id, "status": job.state.value, "unexpected": bool(crash) or left_open}


def _end(job: Job, event: dict[str, Any]) -> State | None:
    """The end that the event tells of this job; None when it is about an earlier request, or has another word."""
    if event.get("request_id", job.request_id) != job.request_id:
        return None  # somebody had it submitted again meanwhile
    return ENDS.get(str(event.get("status")))


def _why(job: Job, event: dict[str, Any]) -> dict[str, str]:
    error = event.get("error") or {}
    code, message = error.get("code", "UNKNOWN"), error.get("message", "No reason was given.")
    if job.result_url:
        message += f" The provider had finished the video; for seven days it is at {job.result_url}"
    return Reason(code, message).error


@cache
def fail() -> Fail:
    """The use case as the stack has it."""
    return Fail(jobs(), notifier())
