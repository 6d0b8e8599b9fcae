"""Again: try an ended job once more: copy its result, look for it in the provider's history, or buy the video again.

A video is only bought again if a person or a program explicitly says so, and never while a result may exist that can be
copied. Operators ask through repair. A call of the API leaves a request on the job (``Job.retry``) and a message in the
queue of submit, which carries it out. Whatever crashes in between, the message is delivered again.
"""

from dataclasses import dataclass
from functools import cache

from seedance.clock import CLOCK, Clock
from seedance.config import submit_settings
from seedance.errors import DearerThanAllowed, NeedsPayment, NotPossible, ProviderError
from seedance.jobs.budget import reservation
from seedance.jobs.handoff import IntakeQueue, Workflow, intake_queue, workflow
from seedance.jobs.job import REOPENABLE, Job, Retry, State
from seedance.jobs.retrying import Way, not_possible, way, why_not_copied
from seedance.jobs.store import JobChanges, JobStore, jobs
from seedance.notices.notifier import Notifier, notifier
from seedance.observability import logger
from seedance.provider.client import Provider, provider
from seedance.provider.history import SECONDS, Allowance, SharedHistory
from seedance.provider.payloads import HistoryRow
from seedance.upkeep.lost import LostSubmits, adopt

RETRY_SECONDS = 30.0
"""The time limit for the history when submit carries out a retry: half of its function's timeout."""


@dataclass(frozen=True)
class Again:
    """The use case and its dependencies. ``history_seconds``: the time limit for reading the provider's history."""

    store: JobStore
    provider: Provider
    notifier: Notifier
    workflow: Workflow
    queue: IntakeQueue
    history_seconds: float = SECONDS
    clock: Clock = CLOCK

    def retry(self, job: Job, *, pay: bool, max_usd: float | None = None) -> str:
        """Try a job again, as a person decided, and return a description of what happens. Only buys with ``pay``.

        ``max_usd``: the most that its estimate may be. It is kept with the job, because submit checks it again.

        Raises NeedsPayment if only a purchase helps, DearerThanAllowed if it exceeds ``max_usd``, NotPossible if the
        job can't be tried again, or if the history can't be read to check whether there is a video by now.
        """
        wish: Retry | None = None
        if max_usd is not None:
            now = round(self.clock(), 3)
            wish = {"asked_at": now, "pay": pay, "max_usd": max_usd, "ended_at": now}
        return self._retry(job, pay=pay, most=max_usd, retry=wish)

    def carry_out(self, job: Job) -> None:
        """Carry out the retry on the job. Its outcome is in the same write as what is done for it."""
        wish = job.retry
        if wish is None or not job.retry_waits:
            return
        now = round(self.clock(), 3)
        try:
            said = self._retry(job, pay=wish["pay"], most=wish.get("max_usd"), retry={**wish, "ended_at": now})
        except NotPossible as refusal:
            outcome: Retry = {**wish, "ended_at": now, "said": str(refusal)}
            if isinstance(refusal, NeedsPayment):
                outcome["estimate_usd"] = refusal.usd
            self.store.note(job, unchanged="retry", retry=outcome)
            said = str(refusal)
        logger().info("a retry", extra={"job_id": job.job_id, "said": said})

    def _retry(self, job: Job, *, pay: bool, most: float | None, retry: Retry | None) -> str:
        """``retry``: for the record, once something is done; its ``said`` is what this returns."""
        first = way(job, self.clock())
        if first is Way.COPY:
            said = "copying the video again; this costs nothing"
            self.copy(job, retry=_saying(retry, said))
            return said
        if first is Way.SEARCH and (row := self._made_after_all(job)):
            said = f"request {job.request_id} now has a video; copying it; this costs nothing"
            adopt(self.store, self.workflow, self.notifier, job, row, now=self.clock(), retry=_saying(retry, said))
            return said
        if job.state not in REOPENABLE:
            raise not_possible(job)
        price = self.store.bills.estimate(job.model, job.parameters)
        if not pay:
            why = why_not_copied(job, self.clock())
            why = f"job {job.job_id} {why}; use --pay to buy the video again, for about ${price:.2f}"
            raise NeedsPayment(why, price)
        if most is not None and price > most:
            raise DearerThanAllowed(price, most)
        said = "submitting again, which will be billed"
        self.resubmit(job, retry=_saying(retry, said))
        return said

    def copy(self, job: Job, *, retry: Retry | None = None, result_url: str | None = None) -> None:
        """Start copying the job's result, from another ``result_url`` if given. Raises NotPossible."""
        if job.state is State.COPYING and self.workflow.is_running(job):
            raise NotPossible(f"job {job.job_id} is being copied right now")
        more: JobChanges = {"executions": job.executions + 1, "error": None, "notified_at": None, "retry": retry}
        if result_url is None:  # the provider keeps the same file no longer for it
            more |= {"result_at": job.result_since, "copied_again": job.copied_again or job.state in REOPENABLE}
        else:
            more["result_url"] = result_url
        if job.state is State.COPYING:
            job = self.store.note(job, **more)
        else:
            # A job that ended without a price has released its reservation. A copied video must be booked again.
            booking, reserved = reservation(job, self.clock(), self.store.bills.estimate)
            more |= reserved
            job = self.store.move(job, State.COPYING, booking=booking, **more)
        self.workflow.start(job)

    def resubmit(self, job: Job, *, retry: Retry | None = None) -> None:
        """Put a job back into the queue of submit, to be bought again."""
        job = self.store.move(
            job,
            State.RECEIVED,
            executions=job.executions + 1,  # its next execution needs a new name
            request_id=None,
            earlier_request_ids=job.left_behind(None),
            submitted_at=None,
            error=None,
            notified_at=None,
            cost_usd=None,  # already settled; the new call has its own price
            settled_usd=None,
            result_url=None,  # of the abandoned request
            result_at=None,
            copied_again=False,
            last_frame_url=None,
            answer=None,
            gone_polls=0,
            attempts=0,
            retry=retry,
        )
        self.queue.send(job)

    def _made_after_all(self, job: Job) -> HistoryRow | None:
        """The job's request in the provider's history, if it has a video by now."""
        request_id = job.request_id or ""
        if (owner := self.store.owner_of(request_id)) not in (None, job.job_id):
            raise NotPossible(f"request {request_id} belongs to job {owner}")
        history = SharedHistory(self.provider, Allowance(self.history_seconds))
        try:
            row = LostSubmits(self.store, history, self.clock).request(job, request_id)
        except ProviderError as error:
            raise NotPossible(f"can't check whether request {request_id} has a video by now: {error}") from error
        return row if row is not None and row.url is not None else None


def _saying(retry: Retry | None, said: str) -> Retry | None:
    return None if retry is None else {**retry, "said": said}


@cache
def again() -> Again:
    """The use case, as submit uses it, configured for this stack."""
    stack = submit_settings()
    machine, queue = workflow(stack.state_machine), intake_queue(stack.intake_queue)
    return Again(jobs(), provider(), notifier(), machine, queue, RETRY_SECONDS)
