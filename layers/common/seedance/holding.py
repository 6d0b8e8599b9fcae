"""Holding: stop and resume submissions, release held jobs, and put dead letters back."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seedance.errors import Conflict
from seedance.jobs.handoff import IntakeQueue
from seedance.jobs.job import Hold, Job, State
from seedance.jobs.store import JobStore

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

WORK_SECONDS = 120.0
"""One call works so long at most; what is left, its caller asks for again."""


@dataclass(frozen=True)
class Worked:
    """What one call did: how many, and whether there is more to do."""

    number: int
    more: bool


@dataclass(frozen=True)
class Holding:
    """The use case, with everything it talks to. ``dead_letters`` is the address of the intake queue's."""

    store: JobStore
    queue: IntakeQueue
    sqs: "SQSClient"
    dead_letters: str
    clock: Callable[[], float] = time.time

    def pause(self, reason: str) -> bool:
        """Stop new submissions; False when they were stopped already."""
        return self.store.pause(reason)

    def resume(self) -> Worked:
        """Resume submissions, and release the jobs that were held meanwhile."""
        self.store.resume()
        return self.release(Hold.PAUSED)

    def release(self, hold: Hold) -> Worked:
        """Release the jobs that are held for this reason."""
        until, number = self.clock() + WORK_SECONDS, 0
        for listed in list(self.store.each(State.HELD)):
            if self.clock() > until:
                return Worked(number, more=True)
            job = self.store.get(listed.job_id)
            if job and job.state is State.HELD and job.code == hold:
                with contextlib.suppress(Conflict):  # somebody else released it at the same moment
                    release(self.store, self.queue, job)
                    number += 1
        return Worked(number, more=False)

    def redrive(self) -> Worked:
        """Put the dead letters back into the queue that they came from. No job is submitted twice by that."""
        until, number = self.clock() + WORK_SECONDS, 0
        wanted = {"QueueUrl": self.dead_letters, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1}
        while messages := self.sqs.receive_message(**wanted).get("Messages"):  # type: ignore[arg-type]
            for message in messages:
                self.queue.put_back(message["Body"])
                self.sqs.delete_message(QueueUrl=self.dead_letters, ReceiptHandle=message["ReceiptHandle"])
                number += 1
            if self.clock() > until:
                return Worked(number, more=True)
        return Worked(number, more=False)


def release(store: JobStore, queue: IntakeQueue, job: Job) -> None:
    """Release a HELD job: back to RECEIVED and into the queue. Raises Conflict when it is no longer HELD."""
    # A v1 job's execution has ended; its next one needs a name of its own.
    executions = job.executions + (1 if job.transport == "v1" else 0)
    queue.send(store.move(job, State.RECEIVED, error=None, notified_at=None, executions=executions))
