"""Fail: close a job that will have no video, and say why in words a person can act on."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from seedance.job import Job, State
from seedance.notification import Notifier, notifier
from seedance.observability import count, logger
from seedance.store import JobStore, jobs

RESULT_KEPT_SECONDS = 7 * 24 * 3600.0
"""How long the provider keeps a result's file (provider's contract)."""


@dataclass(frozen=True)
class Fail:
    """The use case, with everything it talks to."""

    store: JobStore
    notifier: Notifier
    clock: Callable[[], float] = time.time

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        """Close the job of ``event``: what the state before returned, plus ``exception`` if it crashed.

        Returns ``{"job_id", "status", "unexpected"}``; unexpected ends the execution in a way that alarms.
        """
        job_id, crash = event["job_id"], event.get("exception")
        job = self.store.get(job_id)
        if job is None:
            raise LookupError(f"the workflow names job {job_id}, which has no record")
        if crash:
            logger().error("a task crashed", extra={"job_id": job_id, "exception": crash})
        if job.state is State.SUBMITTING:
            # A crash between "I will send" and "it was sent": saying "failed" would hide a paid video.
            why = "The call to the provider was interrupted, and nobody knows whether the video was made."
            count("JobsUncertain")
            job = self.store.move(job, State.UNCERTAIN, error={"code": "SUBMIT_UNCERTAIN", "message": why})
        elif crash and job.state is State.COPYING and self.clock() - job.created_at < RESULT_KEPT_SECONDS:
            # Paid for, made, and the link is on record: reconcile tries again, for as long as the file lives.
            count("CopiesPutOff")
        elif not job.state.terminal and job.state not in (State.UNCERTAIN, State.HELD):
            expired = event.get("status") == State.EXPIRED
            job = self.store.close(job, State.EXPIRED if expired else State.FAILED, error=_why(job, event))
            count("JobsExpired" if expired else "JobsFailed")
        if job.state.terminal or job.state is State.HELD:
            self.notifier.notify(job)
        return {"job_id": job_id, "status": job.state.value, "unexpected": bool(crash)}


def _why(job: Job, event: dict[str, Any]) -> dict[str, str]:
    if crash := event.get("exception"):
        code, message = (
            "INTERNAL",
            f"Something went wrong on our side that should not have ({crash.get('Error')}).",
        )
    else:
        error = event.get("error") or {}
        code, message = error.get("code", "UNKNOWN"), error.get("message", "No reason was given.")
    if job.result_url:
        message += f" The provider had finished the video; for seven days it is at {job.result_url}"
    return {"code": code, "message": message}


@cache
def fail() -> Fail:
    """The use case as the stack has it."""
    return Fail(jobs(), notifier())
