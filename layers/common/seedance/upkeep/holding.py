"""Holding: stop and resume submissions, release held jobs, and put dead letters back."""

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seedance.clock import CLOCK, Clock
from seedance.errors import BadRecord, Conflict
from seedance.jobs.budget import day_of
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
    """Where the next call continues: later than this Unix time. Jobs held for another reason stay in the list."""
    room_usd: float | None = field(default=None, compare=False)
    """What is left of the day's budget after the released jobs, by their estimates. None without a budget."""
    left: int = 0
    """The jobs that stay held because they do not fit in the day's budget."""
    left_usd: float = field(default=0.0, compare=False)
    """The sum of their estimates."""


@dataclass(frozen=True)
class Holding:
    """The use case and its dependencies. ``dead_letters`` is the URL of the intake queue's dead-letter queue.

    ``budget``: see Settings.daily_budget_usd.
    """

    store: JobStore
    switch: Switch
    queue: IntakeQueue
    sqs: "SQSClient"
    dead_letters: str
    clock: Clock = CLOCK
    budget: float | None = None

    def pause(self, reason: str | None) -> bool:
        """Stop new submits. Returns False if they were stopped already; a given reason replaces the one stored then."""
        fresh = self.switch.pause(reason or "paused by a person")
        if not fresh and reason and not self.switch.explain(reason):
            return self.switch.pause(reason)  # resumed in between
        return fresh

    def resume(self, since: float = 0.0) -> Worked:
        """Resume submits and release the jobs that were held in the meantime."""
        self.switch.resume()
        return self.release(Hold.PAUSED, since)

    def release(self, hold: Hold, since: float = 0.0, room: float | None = None) -> Worked:
        """Release all jobs that are held for this reason, and changed after ``since``.

        Of the jobs held for the day's budget, only those whose estimate fits in what is left of today's: the others
        would be held again, each with another notification. ``room``: what is left according to an earlier call for the
        same request, because the jobs that it released have reserved nothing yet.
        """
        until, number, left, left_usd = self.clock() + WORK_SECONDS, 0, 0, 0.0
        if hold is Hold.BUDGET and self.budget is not None and room is None:
            room = max(0.0, self.budget - self.store.day(day_of(self.clock())).committed)
        for listed in list(self.store.each(State.HELD, since)):
            if self.clock() > until:
                since = listed.updated_at - 0.0005  # times are to the millisecond
                return Worked(number, more=True, since=since, room_usd=room, left=left, left_usd=left_usd)
            try:
                job = self.store.get(listed.job_id)
            except BadRecord as error:  # reconcile raises the alarm for it; the others are released
                logger().error("not released", extra={"job_id": listed.job_id, "reason": str(error)})
                continue
            if job is None or job.state is not State.HELD or job.code != hold:
                continue
            if room is not None:
                usd = self.store.bills.estimate(job.model, job.parameters)
                if usd > room:
                    left, left_usd = left + 1, left_usd + usd
                    continue
                room -= usd
            with contextlib.suppress(Conflict):  # it was released by another call at the same time
                release(self.store, self.queue, job)
                number += 1
        return Worked(number, more=False, room_usd=room, left=left, left_usd=left_usd)

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
