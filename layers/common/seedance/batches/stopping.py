"""Cancels the jobs of a cancelled batch that are not bought yet."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from seedance.batches.job_states import JobFacts
from seedance.errors import AlreadyBought, BadRecord, Conflict, NotFound, NotPossible
from seedance.jobs.cancelling import cancel
from seedance.jobs.handoff import IntakeQueue, intake_queue
from seedance.jobs.job import State
from seedance.jobs.store import JobStore, jobs
from seedance.observability import logger

_MAY_BE_UNBOUGHT = frozenset({State.RECEIVED, State.HELD})


@dataclass(frozen=True)
class Stopping:
    """Like a call of POST /videos/{job_id}/cancel for each job. Repeating it changes nothing."""

    store: JobStore
    queue: IntakeQueue

    def __call__(self, found: Iterable[JobFacts]) -> list[JobFacts]:
        """Cancel the jobs that are not bought. Returns all, with the states that they have now.

        A job that is bought in the meantime continues. One that may be bought, or whose record can't be read,
        stays as it is.
        """
        return [replace(job, state=State.CANCELLED) if self._cancelled(job) else job for job in found]

    def _cancelled(self, job: JobFacts) -> bool:
        if job.state not in _MAY_BE_UNBOUGHT:
            return False
        try:
            cancel(self.store, self.queue, job.job_id)
        except (AlreadyBought, NotPossible, Conflict, NotFound):
            return False
        except BadRecord as error:
            logger().error("a job is not cancelled", extra={"job_id": job.job_id, "field": error.field})
            return False
        return True


def stopping(queue: str) -> Stopping:
    """The stack's jobs, and the queue of submit."""
    return Stopping(jobs(), intake_queue(queue))
