"""Enqueue: create the jobs (RECEIVED) of a chunk of a batch's plan, and put them into the queue of submit.

Only as many as the calendar of requests has room for: a job that waits in the queue wakes submit every 15 minutes, and
single jobs would wait behind it. The child execution waits, and calls again with the first row that is left.

A job's id is derived from batch and row, so repeating enqueue creates no job twice. It only sends the messages
again, and a job in a later state ignores them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

from seedance import bounds
from seedance.batches import plan_lines
from seedance.batches.files import Sheets, sheets
from seedance.batches.job_states import JOBS_A_READ, JobFacts, Register, register
from seedance.batches.plan_lines import Chunk, PlanLine
from seedance.batches.stopping import Stopping
from seedance.batches.store import BatchStore, batch_store
from seedance.clock import CLOCK, Clock
from seedance.config import enqueue_settings
from seedance.errors import InvalidRequest
from seedance.jobs import catalogue, creation
from seedance.jobs.budget import reservation
from seedance.jobs.creation import PlannedRow
from seedance.jobs.handoff import IntakeQueue, intake_queue
from seedance.jobs.job import Job, State
from seedance.jobs.store import JobStore, jobs
from seedance.jobs.switch import Switch, switch
from seedance.jobs.tasks import ChunkInput, FedChunk, TaskStatus
from seedance.observability import count, logger
from seedance.pacing.pacer import Feed, Pacer, pacer

STOPPED_SECONDS = 1800.0
"""How often a batch checks whether submits are still paused, or the day's budget is still used up. If it were fed
meanwhile, its rows would all be HELD, and later released at once. An execution has 25,000 events: at nine a check, this
lasts 57 days."""


@dataclass(frozen=True)
class Enqueue:
    """The use case and its dependencies."""

    store: JobStore
    sheets: Sheets
    queue: IntakeQueue
    register: Register
    pacer: Pacer
    switch: Switch
    batches: BatchStore
    budget: float | None = None
    clock: Clock = CLOCK

    def __call__(self, event: ChunkInput) -> FedChunk:
        """Feed a chunk of a batch's plan to the queue, from row ``next`` on. Returns the input with a new ``next``.

        Once the batch is cancelled, nothing more is fed, and every chunk counts as done.
        """
        chunk = plan_lines.chunk(event["chunk"])
        if chunk is None:
            raise ValueError(f"{bounds.shown(event['chunk'])} is not a chunk of a plan")
        if not self.batches.may_feed(event["batch_id"]):
            return _done(event, chunk)
        lines = list(self.sheets.rows(event["plan_key"], chunk.begins, chunk.ends))
        rows = self._jobs(event, lines)
        if "next" in event:
            rows = self._not_submitted(rows)
            feed = self._room([job for _, job in rows])
        else:
            feed = Feed((0.0,) * len(rows), 0.0)
        some, left = rows[: len(feed.delays)], rows[len(feed.delays) :]
        created = sum(self.store.create(job) for _, job in some)
        if self.batches.is_stopped(event["batch_id"]):
            # Cancelled since, and the call that did it may not have seen these jobs.
            Stopping(self.store, self.queue)(JobFacts(job.job_id, State.RECEIVED) for _, job in some)
            return _done(event, chunk)
        # After the records, because a message must find its job.
        self.queue.send_all((job.job_id for _, job in some), feed.delays)
        count("BatchJobsTakenIn", created)
        done = left[0][0] if left else len(lines)
        self.batches.note(event["batch_id"], fed=chunk.first - 1 + done)
        return {
            **event,
            "next": done,
            "status": TaskStatus.RUNNING if left else TaskStatus.COMPLETED,
            "wait_seconds": max(1, math.ceil(feed.wait)),
            "jobs": len(some),
            "created": created,
        }

    def _jobs(self, event: ChunkInput, lines: Sequence[PlanLine]) -> list[tuple[int, Job]]:
        """The jobs of the valid rows, each with its position in the chunk."""
        found = []
        for position, row in islice(enumerate(lines), event.get("next", 0), None):
            if "error" not in row and (job := _job(event["batch_id"], event["key"], row)):
                found.append((position, job))
        return found

    def _not_submitted(self, rows: Sequence[tuple[int, Job]]) -> list[tuple[int, Job]]:
        """The jobs that do not exist, or may have no message. After a restart, the others need no room."""
        ids = iter(dict.fromkeys(job.job_id for _, job in rows))
        begun: set[str] = set()
        while some := list(islice(ids, JOBS_A_READ)):
            known = self.register.read(some, [])
            begun |= {job_id for job_id, facts in known.items() if facts.state is not State.RECEIVED}
        return [(position, job) for position, job in rows if job.job_id not in begun]

    def _room(self, rows: Sequence[Job]) -> Feed:
        if not rows:
            return Feed((), 0.0)
        if self.switch.paused() or self._used_up(rows[0]):
            return Feed((), STOPPED_SECONDS)
        return self.pacer.feed(len(rows), sum(job.expected_seconds for job in rows) / len(rows))

    def _used_up(self, job: Job) -> bool:
        """Whether the day's budget has no room for the job, but another day's has."""
        booking, _ = reservation(job, self.clock(), self.store.bills.estimate, limit=self.budget)
        if booking is None or self.budget is None or booking.reserved > self.budget:
            return False
        return self.store.day(booking.day).committed + booking.reserved > self.budget


def _done(event: ChunkInput, chunk: Chunk) -> FedChunk:
    """The answer about a chunk of a cancelled batch."""
    done = chunk.last - chunk.first + 1
    return {**event, "next": done, "status": TaskStatus.COMPLETED, "wait_seconds": 1, "jobs": 0, "created": 0}


def _job(batch: str, key: str, row: PlannedRow) -> Job | None:
    """A row's job, or None if plan can't have written the row: an unchecked row must not be bought."""
    try:
        model = catalogue.find(row["model"])
        checked = catalogue.validate(model, row["parameters"], has_image=row["image"] is not None)
        changed = (name for name, value in row["parameters"].items() if checked.get(name, value) != value)
        flaw = next(changed, None if row["transport"] in model.transports else "transport")
    except InvalidRequest as refusal:
        flaw = refusal.field
    if flaw:
        logger().error("a plan's row is left out", extra={"batch": batch, "row": row["row"], "field": flaw})
        return None
    return creation.from_row(batch, key, row)


@cache
def enqueue() -> Enqueue:
    """The use case, configured for this stack."""
    stack = enqueue_settings()
    queue, budget = intake_queue(stack.intake_queue), stack.daily_budget_usd
    return Enqueue(jobs(), sheets(), queue, register(), pacer(), switch(), batch_store(), budget)
