"""Enqueue: create the jobs (RECEIVED) of a chunk of a batch's plan, and put them into the queue of submit.

A job's id is derived from batch and row, so repeating enqueue creates no job twice. It only sends the messages
again, and a job in a later state ignores them.
"""

from dataclasses import dataclass
from functools import cache

from seedance.batches import plan_lines
from seedance.batches.files import Sheets, sheets
from seedance.config import enqueue_settings
from seedance.errors import InvalidRequest
from seedance.jobs import catalogue, creation
from seedance.jobs.creation import PlannedRow
from seedance.jobs.handoff import IntakeQueue, intake_queue
from seedance.jobs.job import Job
from seedance.jobs.store import JobStore, jobs
from seedance.jobs.tasks import ChunkInput
from seedance.observability import count, logger


@dataclass(frozen=True)
class Enqueue:
    """The use case and its dependencies."""

    store: JobStore
    sheets: Sheets
    queue: IntakeQueue

    def __call__(self, event: ChunkInput) -> dict[str, int]:
        """Enqueue a chunk of a batch's plan. Returns the number of jobs, and of new ones."""
        chunk = plan_lines.chunk(event["chunk"])
        if chunk is None:
            raise ValueError(f"{str(event['chunk'])[:100]} is not a chunk of a plan")
        rows = self.sheets.rows(event["plan_key"], chunk.begins, chunk.ends)
        taken = [job for row in rows if "error" not in row and (job := _job(event["batch_id"], event["key"], row))]
        created = sum(self.store.create(job) for job in taken)
        # After the records, because a message must find its job.
        self.queue.send_all(job.job_id for job in taken)
        count("BatchJobsTakenIn", created)
        return {"jobs": len(taken), "created": created}


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
    return Enqueue(jobs(), sheets(), intake_queue(enqueue_settings().intake_queue))
