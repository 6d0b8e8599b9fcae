"""Submit: an upload or an API call from the queue becomes one request at the provider, never two.

Intent is written before the POST (SUBMITTING) and the request id right after it. Whatever happens in
between, the record says how far it got, and the queue's next delivery goes on from there.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from seedance import catalogue, intake, schedule
from seedance.config import submit_settings
from seedance.errors import (
    Conflict,
    InProgress,
    InvalidRequest,
    ProviderError,
    RateLimited,
    Refused,
    SubmitUncertain,
    Unavailable,
)
from seedance.job import Job, State, upload_job_id
from seedance.media import Image, Media, media
from seedance.notification import Notifier, notifier
from seedance.observability import count, logger
from seedance.provider import Provider, provider
from seedance.store import JobStore, jobs
from seedance.workflow import IntakeQueue, Workflow, intake_queue, workflow

MAX_ATTEMPTS = 6
"""Submits of one job that the provider answered with trouble of its own, over about 8 minutes, before the
job fails. A rate limit does not count: it is a matter of waiting."""

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
    defaults: intake.Defaults
    image_delivery: str
    scale: float = 1.0
    """See Settings.scale."""
    clock: Callable[[], float] = time.time

    def message(self, body: str) -> None:
        """Take in one message of the queue: an S3 notification, or ``{"job_id"}`` of a job that is waiting.

        Returning means that the message is done with. Raises InProgress, or whatever nobody expected, and
        then the message must come again; repeating any part of this is safe.
        """
        content = json.loads(body)
        if "job_id" in content:
            job = self.store.get(content["job_id"])
            if job is None:
                raise LookupError(f"the queue names job {content['job_id']}, which has no record")
            self.advance(job)
            return
        for upload in intake.uploads_in(content):
            if not upload.is_folder_marker:
                self.advance(self._job_of(upload))

    def advance(self, job: Job) -> None:
        """Bring a job on by whatever its state calls for."""
        if job.transport == "v1" and job.state in (State.RECEIVED, State.SUBMITTING):
            self.workflow.start(job)  # v1's one call is a state of the workflow, which outlasts this function
        elif job.state is State.RECEIVED:
            self._submit(job)
        elif job.state is State.SUBMITTING:
            if self.clock() - job.entered[State.SUBMITTING] < SUBMITTING_SECONDS:
                raise InProgress(f"job {job.job_id} is being submitted right now")
            self._uncertain(job, "The submit was interrupted, and nobody knows whether the request arrived.")
        elif job.state in (State.QUEUED, State.PROCESSING, State.COPYING):
            self.workflow.start(job)
        elif job.state.terminal:
            self.notifier.notify(job)

    def _job_of(self, upload: intake.Upload) -> Job:
        """The job of an upload, new or known. A refused upload becomes a job too: REJECTED, with a reason."""
        job_id = upload_job_id(upload.bucket, upload.key, upload.version)
        if known := self.store.get(job_id):
            return known
        folder, name = intake.upload_name(upload.key)
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
            request = intake.upload_request(metadata, self.defaults)
        except InvalidRequest as refusal:
            job.model = metadata.get("model", job.model)  # people look for what they asked, were it nonsense
            job.state, job.error = State.REJECTED, {"code": refusal.code, "message": str(refusal)}
            count("JobsRejected")
        else:
            apply(job, request)
            job.image = image_facts(image)
        if not self.store.create(job):
            logger().info("the same upload was delivered twice at once", extra={"job_id": job_id})
            return self.store.get(job_id) or job
        return job

    def _submit(self, job: Job) -> None:
        try:
            link = image_address(job, self.image_delivery, self.media, self.provider)
            self.provider.authenticate()
        except InvalidRequest as refusal:
            self._end(job, State.REJECTED, refusal.code, str(refusal))
            return
        except ProviderError as error:  # the asset upload; nothing of it costs anything
            self._not_queued(job, error)
            return
        body = catalogue.payload(catalogue.find(job.model), job.parameters, job_id=job.job_id, image_link=link)
        began = round(self.clock(), 3)
        try:
            job = self.store.move(job, State.SUBMITTING, submitted_at=began, attempts=job.attempts + 1)
        except Conflict:
            raise InProgress(f"job {job.job_id} was taken up by another invocation") from None
        try:
            request_id = self.provider.submit(job.model, body)
        except SubmitUncertain as error:
            self._uncertain(job, str(error))
        except (Refused, Unavailable) as error:
            self._not_queued(job, error)
        else:
            logger().info("submitted", extra={"job_id": job.job_id, "request_id": request_id})
            job = self.store.move(job, State.QUEUED, request_id=request_id)
            count("JobsSubmitted")
            self.workflow.start(job)

    def _not_queued(self, job: Job, error: ProviderError) -> None:
        """Nothing was queued, for certain: try again later, or give up with the provider's words."""
        logger().warning(
            "not queued",
            extra={"job_id": job.job_id, "status_code": error.status_code, "excerpt": error.excerpt},
        )
        hopeless = not isinstance(error, Unavailable)
        worn_out = job.attempts >= MAX_ATTEMPTS and not isinstance(error, RateLimited)
        if hopeless or worn_out:
            self._end(job, State.FAILED, error.code, str(error))
            return
        if job.state is State.SUBMITTING:
            # A rate limit gives the attempt back: it says nothing about this job.
            attempts = job.attempts - 1 if isinstance(error, RateLimited) else job.attempts
            job = self.store.move(job, State.RECEIVED, attempts=attempts, submitted_at=None)
        else:
            job = self.store.note(job, attempts=job.attempts + 1)
        wait = error.retry_after if isinstance(error, RateLimited) else None
        if wait is None:
            wait = schedule.submit_again_after(job.attempts) * self.scale
        self.queue.send(job, max(1.0, wait))  # a reset that is over by our clock must not make a tight loop
        count("SubmitsPostponed")

    def _uncertain(self, job: Job, why: str) -> None:
        logger().error("uncertain submit", extra={"job_id": job.job_id, "why": why})
        self.store.move(job, State.UNCERTAIN, error={"code": SubmitUncertain.code, "message": why})
        count("JobsUncertain")

    def _end(self, job: Job, state: State, code: str, message: str) -> None:
        count("JobsRejected" if state is State.REJECTED else "JobsFailed")
        self.notifier.notify(self.store.move(job, state, error={"code": code, "message": message}))


def apply(job: Job, request: intake.Request) -> None:
    """Write a validated request into a new job."""
    job.model = request.model.slug
    job.transport = request.transport
    job.parameters = request.parameters
    job.expected_seconds = request.model.average_seconds


def image_facts(image: Image) -> dict[str, Any]:
    """What a job keeps of its image."""
    return {
        "bucket": image.bucket,
        "key": image.key,
        "version_id": image.version_id,
        "content_type": image.media_type,
        "bytes": image.size,
    }


def image_address(job: Job, delivery: str, bucket: Media, at: Provider) -> str | None:
    """Where the provider finds the job's image: a signed link, or its own asset store. None without one.

    Raises InvalidRequest when the image is gone, ProviderError when the asset upload fails.
    """
    if not job.image:
        return None
    if delivery == "upload":
        return at.upload_asset(job.image["content_type"], bucket.image_base64(job.image))
    return bucket.image_link(job.image, job.job_id)


@cache
def submit() -> Submit:
    """The use case as the stack has it."""
    stack = submit_settings()
    return Submit(
        jobs(),
        provider(),
        media(),
        notifier(),
        workflow(),
        intake_queue(stack.intake_queue),
        intake.Defaults(stack.default_model, stack.default_prompt, stack.default_transport),
        stack.image_delivery,
        stack.scale,
    )
