"""Cancels a job before it is bought.

The write is conditional on the state in which the job was read, like every other: of a cancel and a submit at the same
time only one succeeds. The submit's is the write of its intent, before the POST, so a cancelled job is never sent.
"""

from seedance import bounds
from seedance.errors import AlreadyBought, Conflict, NotFound, NotPossible
from seedance.jobs import reasons
from seedance.jobs.handoff import IntakeQueue
from seedance.jobs.job import Hold, Job, State
from seedance.jobs.store import JobStore
from seedance.observability import count

ATTEMPTS = 3
"""How often it is tried if the job changes in between, for instance because its submit is postponed."""


def cancel(store: JobStore, queue: IntakeQueue, job_id: str) -> Job:
    """Cancel a job that is RECEIVED, or HELD for the budget or by a pause. Returns it, also if it was cancelled before.

    Its notification is sent by the function submit, which gets a message for that. If the message is lost, repeating
    the call sends it again, and reconcile looks for ended jobs that nobody was told of.

    Raises NotFound, AlreadyBought, NotPossible, or Conflict if the job keeps changing.
    """
    moved_on: Conflict | None = None
    for _ in range(ATTEMPTS):
        job = store.get(job_id)
        if job is None:
            raise NotFound(f"job {bounds.shown(job_id)} does not exist")
        if job.state is not State.CANCELLED:
            _check(job)
            reason = reasons.cancelled(sent_before=job.sent_before, earlier=job.earlier_request_ids)
            try:
                job = store.close(job, State.CANCELLED, error=reason.error, notified_at=None)
            except Conflict as conflict:
                moved_on = conflict
                continue
            count("JobsCancelled")
        if job.notified_at is None:
            queue.send(job)
        return job
    raise moved_on or Conflict(f"job {job_id} keeps changing")


def _check(job: Job) -> None:
    """Raises AlreadyBought or NotPossible unless the job is certainly not bought, and can't be by now."""
    said = f"job {job.job_id} is {job.state}"
    if job.state is State.RECEIVED or (job.state is State.HELD and job.code in (Hold.BUDGET, Hold.PAUSED)):
        return
    match job.state:
        case State.HELD if job.code == Hold.RESULT:
            raise AlreadyBought(f"{said}: its video is made and paid for; `seedance resolve` gets it")
        case State.HELD:
            why = "its submit may have reached the provider, so it may be bought"
            raise NotPossible(f"{said}: {why}; a person decides with `seedance resolve {job.job_id}`")
        case State.UNCERTAIN:
            raise AlreadyBought(f"{said}: its submit may have reached the provider, whose history is being searched")
        case State.COMPLETED:
            raise AlreadyBought(f"{said}: its video is ready")
        case _ if job.state.terminal:
            raise NotPossible(f"{said}: it has ended, and there is nothing to cancel")
    raise AlreadyBought(f"{said}: the video is bought, and comes as usual")
