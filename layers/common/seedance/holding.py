"""Holding: stop and resume submissions, release held jobs, and put dead letters back."""

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seedance.clock import CLOCK, Clock
from seedance.errors import BadRecord, Conflict
from seedance.jobs.handoff import IntakeQueue
from seedance.jobs.job import Hold, Job, State
from seedance.jobs.store import JobStore
from seedance.jobs.switch import Switch
from seedance.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

WORK_SECONDS = 120.0
"""The longest time that one call works. The caller repeats the request for the rest."""


@dataclass(frozen=True)
class Worked:
    """What one call did: the number of items, and whether there is more to do."""

    number: int
    more: bool
    since: float = field(default=0.0, compare=False)
    """Where the next call goes on: later than this Unix time. Jobs held for another reason stay in the list."""


@dataclass(frozen=True)
class Holding:
    """The use case and its dependencies. ``dead_letters`` is the URL of the intake queue's dead-letter queue."""

    store: JobStore
    switch: Switch
    queue: IntakeQueue
    sqs: "SQSClient"
    dead_letters: str
    clock: Clock = CLOCK

    def pause(self, reason: str) -> bool:
        """Stop new submits. Returns False if they were stopped already."""
        return self.switch.pause(reason)

    def resume(self, since: float = 0.0) -> Worked:
        """Resume submits and release the jobs that were held in the meantime."""
        self.switch.resume()
        return self.release(Hold.PAUSED, since)

    def release(self, hold: Hold, since: float = 0.0) -> Worked:
        """Release all jobs that are held for this reason, and changed after ``since``."""
        until, number = self.clock() + WORK_SECONDS, 0
        for listed in list(self.store.each(State.HELD, since)):
            if self.clock() > until:
                return Worked(number, more=True, since=listed.updated_at - 0.0005)  # times are to the millisecond
            try:
                job = self.store.get(listed.job_id)
            except BadRecord as error:  # reconcile raises the alarm for it; the others are released
                logger().error("not released", extra={"job_id": listed.job_id, "reason": str(error)})
                continue
            if job and job.state is State.HELD and job.code == hold:
                with contextlib.suppress(Conflict):  # it was released by another call at the same time
                    release(self.store, self.queue, job)
                    number += 1
        return Worked(number, more=False)

    def redrive(self) -> Worked:
        """Put the dead letters back into the queue that they came from. This never submits a job twice."""
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
    """Release a HELD job: back to RECEIVED and into the queue. Raises Conflict if it is no longer HELD."""
    # A v1 job's execution has ended, and its next one needs a new name.
    executions = job.executions + (1 if job.transport == "v1" else 0)
    queue.send(store.move(job, State.RECEIVED, error=None, notified_at=None, executions=executions))
