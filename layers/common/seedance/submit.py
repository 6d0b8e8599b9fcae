"""Submit: an upload or an API call from the queue becomes one request at the provider, never two.

Intent is written before the POST (SUBMITTING) and the request id right after it. Whatever happens in
between, the record says how far it got, and the queue's next delivery goes on from there.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from seedance.config import submit_settings
from seedance.errors import Conflict, InProgress, InvalidRequest, ProviderError, RequestTaken
from seedance.jobs import catalogue, reasons, requests
from seedance.jobs.handoff import Batches, IntakeQueue, Workflow, batches, intake_queue, workflow
from seedance.jobs.job import Job, State, upload_job_id
from seedance.jobs.store import JobStore, jobs
from seedance.media.buckets import Image, Media, media
from seedance.notices.notifier import Notifier, notifier
from seedance.observability import count, logger
from seedance.pacing import poll_schedule
from seedance.pacing.pacer import pacer
from seedance.paid_call import Next, Sending, Verdict
from seedance.provider.client import Provider, provider

SUBMITTING_SECONDS = 75.0
"""After this a submit that has not been heard of is dead: the function's time-out and a margin."""


@dataclass(frozen=True)
class Submit:
    """The use case, with everything it talks to."""

    store: JobStore
    provider: Provider
    media: Media
    notifier: Notifier
    workflow: Workflow
    queue: IntakeQueue
    sending: Sending
    batches: Batches
    defaults: requests.Defaults
    upload_bucket: str
    clock: Callable[[], float] = time.time

    def message(self, body: str) -> None:
        """Take in one message of the queue: an S3 notification, or ``{"job_id", "turn"}`` of a job that is waiting.

        Returning means that the message is done with. Raises InProgress, or whatever nobody expected, and
        then the message must come again; repeating any part of this is safe.
        """
        content = json.loads(body)
        if "job_id" in content:
            job = self.store.get(content["job_id"])
            if job is None:
                raise LookupError(f"the queue names job {content['job_id']}, which has no record")
            # A message of an earlier release names no turn.
            self.advance(job, content.get("turn", job.turn_at))
            return
        for upload in requests.uploads_in(content):
            if upload.bucket != self.upload_bucket:
                # Somebody put it into the queue by hand, or made another bucket notify us. It would be a second batch.
                logger().error("a record of another bucket is left alone", extra={"bucket": upload.bucket})
                count("RecordsIgnored")
            elif upload.key.startswith(requests.BATCH_PREFIX):
                self._take_manifest(upload)
            elif not upload.is_folder_marker:
                self.advance(self._job_of(upload))

    def _take_manifest(self, upload: requests.Upload) -> None:
        """Start a manifest's batch. Whatever else lies beside manifests, our own results too, is left alone."""
        batch = self.batches.start(upload) if requests.is_manifest(upload.key) else None
        logger().info("a file under batches/", extra={"key": upload.key, "batch": batch})

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

    def _job_of(self, upload: requests.Upload) -> Job:
        """The job of an upload, new or known. A refused upload becomes a job too: REJECTED, with a reason."""
        job_id = upload_job_id(upload.bucket, upload.key, upload.version)
        if known := self.store.get(job_id):
            return known
        folder, name = requests.upload_name(upload.key)
        job = Job(
            job_id=job_id,
            state=State.RECEIVED,
            source="upload",
            folder=folder,
            name=name,
            model=self.defaults.model,
            transport=self.defaults.transport,
            image={"bucket": upload.bucket, "key": upload.key, "version_id": upload.version_id},
        )
        metadata: dict[str, str] = {}
        try:
            image = self.media.look_at(upload.bucket, upload.key, upload.version_id)
            metadata = image.metadata
            request = requests.upload_request(metadata, self.defaults)
        except InvalidRequest as refusal:
            job.model = requests.asked_model(metadata) or job.model  # people look for what they asked, were it nonsense
            job.state, job.error = State.REJECTED, reasons.of(refusal).error
            count("JobsRejected")
        else:
            apply(job, request)
            job.image = image_facts(image)
        if not self.store.create(job):
            logger().info("the same upload was delivered twice at once", extra={"job_id": job_id})
            return self.store.get(job_id) or job
        return job

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


def apply(job: Job, request: requests.Request) -> None:
    """Write a validated request into a new job."""
    job.model = request.model.slug
    job.transport = request.transport
    job.parameters = catalogue.seeded(request.parameters, job.job_id)
    job.expected_seconds = request.model.average_seconds


def image_facts(image: Image) -> dict[str, Any]:
    """What a job keeps of its image."""
    return {
        "bucket": image.bucket,
        "key": image.key,
        "version_id": image.version_id,
        "content_type": image.media_type,
        "bytes": image.size,
        "width": image.width,
        "height": image.height,
    }


@cache
def submit() -> Submit:
    """The use case as the stack has it."""
    stack = submit_settings()
    return Submit(
        jobs(),
        provider(),
        media(),
        notifier(),
        workflow(stack.state_machine),
        intake_queue(stack.intake_queue),
        Sending(jobs(), provider(), media(), pacer(), stack.image_delivery, stack.budget, stack.scale),
        batches(stack.batch_state_machine),
        requests.Defaults(stack.default_model, stack.default_prompt, stack.default_transport),
        stack.upload_bucket,
    )
