"""Intake: process a message from the queue of submit: create a job, start a batch, or advance an existing job."""

import json
from dataclasses import dataclass
from functools import cache

from seedance.config import intake_settings
from seedance.errors import InvalidRequest
from seedance.jobs import creation, reasons, requests
from seedance.jobs.defaults import Defaults
from seedance.jobs.handoff import Batches, batches
from seedance.jobs.job import Job, State
from seedance.jobs.store import JobStore, jobs
from seedance.media.buckets import Media, media
from seedance.observability import count, logger
from seedance.submit import Submit, submit


@dataclass(frozen=True)
class Intake:
    """The use case and its dependencies."""

    store: JobStore
    media: Media
    batches: Batches
    submit: Submit
    defaults: Defaults
    upload_bucket: str

    def message(self, body: str) -> None:
        """Process one message of the queue: an S3 notification, or ``{"job_id", "turn"}`` of a waiting job.

        If it returns, the message is finished. If it raises InProgress or any other error, the message must be
        delivered again. Repeating any part of this is safe.
        """
        content = json.loads(body)
        if "job_id" in content:
            job = self.store.get(content["job_id"])
            if job is None:
                raise LookupError(f"the message's job {content['job_id']} has no record")
            # A message of an earlier release has no turn.
            self.submit.advance(job, content.get("turn", job.turn_at))
            return
        for upload in requests.uploads_in(content):
            if upload.bucket != self.upload_bucket:
                # Put into the queue by hand, or sent by another bucket. It would start a second batch.
                logger().error("a record of another bucket is ignored", extra={"bucket": upload.bucket})
                count("RecordsIgnored")
            elif upload.key.startswith(requests.BATCH_PREFIX):
                self._take_manifest(upload)
            elif not upload.is_folder_marker:
                self.submit.advance(self._job_of(upload))

    def _take_manifest(self, upload: requests.Upload) -> None:
        """Start a manifest's batch. Other files under the same prefix, such as our results, are ignored."""
        batch = self.batches.start(upload) if requests.is_manifest(upload.key) else None
        logger().info("a file under batches/", extra={"key": upload.key, "batch": batch})

    def _job_of(self, upload: requests.Upload) -> Job:
        """The job of an upload, new or existing. An invalid upload gets a job too: REJECTED, with a reason."""
        job_id = creation.upload_job_id(upload)
        if known := self.store.get(job_id):
            return known
        job = creation.from_upload(upload, self.defaults)
        metadata: dict[str, str] = {}
        try:
            image = self.media.look_at(upload.bucket, upload.key, upload.version_id)
            metadata = image.metadata
            request = requests.upload_request(metadata, self.defaults)
        except InvalidRequest as refusal:
            job.model = requests.asked_model(metadata) or job.model  # as requested, even if invalid: people look for it
            job.state, job.error = State.REJECTED, reasons.of(refusal).error
            count("JobsRejected")
        else:
            creation.apply(job, request)
            job.image = image.facts
        if not self.store.create(job):
            logger().info("the same upload was delivered twice at once", extra={"job_id": job_id})
            return self.store.get(job_id) or job
        return job


@cache
def intake() -> Intake:
    """The use case, configured for this stack."""
    stack = intake_settings()
    defaults = Defaults(stack.default_model, stack.default_prompt, stack.default_transport)
    return Intake(jobs(), media(), batches(stack.batch_state_machine), submit(), defaults, stack.upload_bucket)
