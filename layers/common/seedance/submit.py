"""Submit: a job becomes one request at the provider, never two.

Intent is written before the POST (SUBMITTING) and the request id right after it. Whatever happens in
between, the record says how far it got, and the queue's next delivery goes on from there.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from seedance.config import submit_settings
from seedance.errors import Conflict, InProgress, ProviderError, RequestTaken
from seedance.jobs import catalogue, reasons
from seedance.jobs.handoff import IntakeQueue, Workflow, intake_queue, workflow
from seedance.jobs.job import SUBMITTING_SECONDS, Job, State
from seedance.jobs.store import JobStore, jobs
from seedance.media.buckets import media
from seedance.notices.notifier import Notifier, notifier
from seedance.observability import count, logger
from seedance.pacing import poll_schedule
from seedance.pacing.pacer import pacer
from seedance.paid_call import Next, Sending, Verdict
from seedance.provider.client import Provider, provider


@dataclass(frozen=True)
class Submit:
    """The use case, with everything it talks to."""

    store: JobStore
    provider: Provider
    notifier: Notifier
    workflow: Workflow
    queue: IntakeQueue
    sending: Sending
    clock: Callable[[], float] = time.time

    def advance(self, job: Job, turn: float | None = None) -> None:
        """Bring a job on by whatever its state calls for. ``turn``: which turn the message is for, None for the first.

        A job that waits has one message, which is for the turn that is on its record. What repeats an earlier one (a
        client that asks again, an event that came twice) is dropped, or each would come back as long as the job waits.
        """
        if job.transport == "v1" and job.state in (State.RECEIVED, State.SUBMITTING):
            self.workflow.start(job)  # v1's one call is a state of the workflow, which outlasts this function
        elif job.state is State.RECEIVED:
            if not _is_same(turn, job.turn_at):
                logger().info("another message brings the job its turn", extra={"job_id": job.job_id})
                return
            self._submit(job)
        elif job.state is State.SUBMITTING:
            if self.clock() - job.entered[State.SUBMITTING] < SUBMITTING_SECONDS:
                raise InProgress(f"job {job.job_id} is being submitted right now")
            self._uncertain(job, "The submit was interrupted, and nobody knows whether the request arrived.")
        elif job.state in (State.QUEUED, State.PROCESSING, State.COPYING):
            self.workflow.start(job)
        elif job.state.terminal:
            self.notifier.tell(job)

    def _submit(self, job: Job) -> None:
        spread = self._spread(job)
        try:
            begun = self.sending.begin(job)
        except Conflict:
            raise InProgress(f"job {job.job_id} was taken up by another invocation") from None
        if isinstance(begun, Verdict):
            self._follow(job, begun)
            return
        job, body = begun
        try:
            request_id = self.provider.submit(job.model, body)
        except ProviderError as error:
            self._follow(job, self.sending.judge(job, error))
            return
        logger().info("submitted", extra={"job_id": job.job_id, "request_id": request_id})
        times: dict[str, Any] = {"expected_seconds": round(spread.mean, 1), "sigma": round(spread.sigma, 4)}
        try:
            job = self._queued(job, request_id=request_id, **times)
        except RequestTaken as error:  # something was sent, and what became of it nobody knows
            self._uncertain(job, f"The provider answered with another job's request: {error}.")
            return
        count("JobsSubmitted")
        first = self.sending.pacer.plan_poll(lambda polls: poll_schedule.first_wait(spread, polls), spread.mean)
        self.workflow.start(job, first.wait, first.slot)

    def _queued(self, job: Job, **facts: Any) -> Job:
        """Write that the provider took the job. Whoever gave the submit up for lost meanwhile is overruled."""
        try:
            return self.store.move(job, State.QUEUED, **facts)
        except RequestTaken:
            raise
        except Conflict:
            found = self.store.get(job.job_id)
            if found is None or found.state is not State.UNCERTAIN:
                raise
            return self.store.move(found, State.QUEUED, error=None, **facts)

    def _spread(self, job: Job) -> poll_schedule.Spread:
        """How long the model's videos take, as learnt so far. Read before the POST: nothing may fail after it."""
        published = catalogue.find(job.model).average_seconds
        return poll_schedule.estimate(published, self.store.durations(job.model))

    def _follow(self, job: Job, verdict: Verdict) -> None:
        if verdict.next is Next.LATER:
            self._put_off(job, verdict)
            return
        job = self.sending.settle(job, verdict)
        if verdict.next in (Next.END, Next.HELD):
            self.notifier.tell(job)

    def _put_off(self, job: Job, verdict: Verdict) -> None:
        turn, sent = self.sending.pacer.turn_in(verdict.wait), False
        try:
            # Before the record: should this end in between, the message at hand comes again and is the job's own still.
            # A reset that is over by our clock must not make a tight loop.
            self.queue.send(replace(job, turn_at=turn), max(1.0, verdict.wait))
            sent = True
            count("SubmitsPostponed")
        finally:  # if nothing was sent, the message at hand comes again, and its turn has to be the record's still
            self.sending.settle(job, verdict, turn if sent else job.turn_at)

    def _uncertain(self, job: Job, why: str) -> None:
        self.sending.settle(job, Verdict(Next.UNCERTAIN, reasons.uncertain(why)))


def _is_same(turn: float | None, other: float | None) -> bool:
    if turn is None or other is None:
        return turn is other
    return math.isclose(turn, other, rel_tol=0, abs_tol=0.01)  # they went through JSON and DynamoDB


@cache
def submit() -> Submit:
    """The use case as the stack has it."""
    stack = submit_settings()
    return Submit(
        jobs(),
        provider(),
        notifier(),
        workflow(stack.state_machine),
        intake_queue(stack.intake_queue),
        Sending(jobs(), provider(), media(), pacer(), stack.image_delivery, stack.budget, stack.scale),
    )
