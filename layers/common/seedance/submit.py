"""Submit: send a job to the provider as exactly one request, never two.

The intent (SUBMITTING) is written before the POST, and the request id right after it. Whatever happens in between, the
record shows how far the job got, and the next delivery of its message continues from there.
"""

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Unpack

from seedance.clock import CLOCK, Clock
from seedance.config import submit_settings
from seedance.errors import Conflict, InProgress, ProviderError, RequestTaken
from seedance.jobs import catalogue, reasons
from seedance.jobs.handoff import IntakeQueue, Workflow, intake_queue, workflow
from seedance.jobs.job import SUBMITTING_SECONDS, Job, State
from seedance.jobs.store import JobChanges, JobStore, jobs
from seedance.notices.notifier import Notifier, notifier
from seedance.observability import count, logger
from seedance.pacing import poll_schedule
from seedance.pacing.durations import Durations, durations
from seedance.paid_call import Next, Sending, Verdict, sending
from seedance.provider.client import Provider, provider


@dataclass(frozen=True)
class Submit:
    """The use case and its dependencies."""

    store: JobStore
    provider: Provider
    notifier: Notifier
    workflow: Workflow
    queue: IntakeQueue
    durations: Durations
    sending: Sending
    clock: Clock = CLOCK

    def advance(self, job: Job, turn: float | None = None) -> None:
        """Do the next step of a job, depending on its state. ``turn``: the turn of the message, None for the first.

        A waiting job has one valid message: the one for the turn on its record. A message for another turn (a repeated
        API call, an event delivered twice) is dropped. Otherwise each would come back as long as the job waits.
        """
        if job.transport == "v1" and job.state in (State.RECEIVED, State.SUBMITTING):
            # v1's call is a state of the workflow, because it takes longer than this function may.
            self.workflow.start(job)
        elif job.state is State.RECEIVED:
            if not _is_same(turn, job.turn_at):
                logger().info("dropped: the job's turn has another message", extra={"job_id": job.job_id})
                return
            self._submit(job)
        elif job.state is State.SUBMITTING:
            if self.clock() - job.entered[State.SUBMITTING] < SUBMITTING_SECONDS:
                raise InProgress(f"job {job.job_id} is being submitted")
            self._uncertain(job, "The submit was interrupted, so it is not known whether the request arrived.")
        elif job.state in (State.QUEUED, State.PROCESSING, State.COPYING):
            self.workflow.start(job)
        elif job.state.terminal:
            self.notifier.tell(job)

    def _submit(self, job: Job) -> None:
        spread = self._spread(job)
        try:
            begun = self.sending.begin(job)
        except Conflict:
            raise InProgress(f"job {job.job_id} is being processed by another invocation") from None
        if isinstance(begun, Verdict):
            try:
                self._follow(job, begun)
            except Conflict:  # cancelled, or taken over by another invocation, while it was decided
                raise InProgress(f"job {job.job_id} has changed in the meantime") from None
            return
        job, body = begun
        try:
            request_id = self.provider.submit(job.model, body)
        except ProviderError as error:
            self._follow(job, self.sending.judge(job, error))
            return
        logger().info("submitted", extra={"job_id": job.job_id, "request_id": request_id})
        mean, sigma = round(spread.mean, 1), round(spread.sigma, 4)
        try:
            job = self._queued(job, request_id=request_id, expected_seconds=mean, sigma=sigma)
        except RequestTaken as error:  # something was sent, and its outcome is unknown
            self._uncertain(job, f"The provider returned another job's request: {error}.")
            return
        count("JobsSubmitted")
        first = self.sending.pacer.plan_poll(
            lambda polls: poll_schedule.first_wait(spread, polls), spread.mean, of_a_batch=job.batch is not None
        )
        self.workflow.start(job, first.wait, first.slot)

    def _queued(self, job: Job, **facts: Unpack[JobChanges]) -> Job:
        """Write that the provider accepted the job, even if reconcile marked it UNCERTAIN in the meantime."""
        try:
            return self.store.move(job, State.QUEUED, **facts)
        except RequestTaken:
            raise
        except Conflict:
            found = self.store.get(job.job_id)
            if found is None or found.state is not State.UNCERTAIN:
                raise
            facts["error"] = None
            return self.store.move(found, State.QUEUED, **facts)

    def _spread(self, job: Job) -> poll_schedule.Spread:
        """The expected duration of the model's videos. Read before the POST, because nothing may fail after it."""
        published = catalogue.find(job.model).average_seconds
        return poll_schedule.estimate(published, self.durations.of(job.model))

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
            # Before the record: after a crash in between, the current message is delivered again and is still valid.
            # At least 1 s, because a reset that our clock has already passed must not cause a tight loop.
            self.queue.send(replace(job, turn_at=turn), max(1.0, verdict.wait))
            sent = True
            count("SubmitsPostponed")
        finally:  # if nothing was sent, the current message is delivered again, and must still match the record's turn
            self.sending.settle(job, verdict, turn if sent else job.turn_at)

    def _uncertain(self, job: Job, why: str) -> None:
        self.sending.settle(job, Verdict(Next.UNCERTAIN, reasons.uncertain(why)))


def _is_same(turn: float | None, other: float | None) -> bool:
    if turn is None or other is None:
        return turn is other
    return math.isclose(turn, other, rel_tol=0, abs_tol=0.01)  # both were converted by JSON or DynamoDB


@cache
def submit() -> Submit:
    """The use case, configured for this stack."""
    stack = submit_settings()
    return Submit(
        jobs(),
        provider(),
        notifier(),
        workflow(stack.state_machine),
        intake_queue(stack.intake_queue),
        durations(),
        sending(),
    )
