"""Intake: what comes out of the queue in front of submit becomes a job, a batch, or a step of a job that is known."""

import json
from dataclasses import dataclass
from functools import cache

from seedance.config import intake_settings
from seedance.errors import InvalidRequest
from seedance.jobs import creation, reasons, requests
from seedance.jobs.handoff import Batches, batches
from seedance.jobs.job import Job, State
from seedance.jobs.store import JobStore, jobs
from seedance.media.buckets import Media, media
from seedance.observability import count, logger
from seedance.submit import Submit, submit


@dataclass(frozen=True)
class Intake:
    """The use case, with everything it talks to."""

    store: JobStore
    media: Media
    batches: Batches
    submit: Submit
    defaults: requests.Defaults
    upload_bucket: str

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
            self.submit.advance(job, content.get("turn", job.turn_at))
            return
        for upload in requests.uploads_in(content):
            if upload.bucket != self.upload_bucket:
                # Somebody put it into the queue by hand, or made another bucket notify us. It would be a second batch.
                logger().error("a record of another bucket is left alone", extra={"bucket": upload.bucket})
                count("RecordsIgnored")
            elif upload.key.startswith(requests.BATCH_PREFIX):
                self._take_manifest(upload)
            elif not upload.is_folder_marker:
                self.submit.advance(self._job_of(upload))

    def _take_manifest(self, upload: requests.Upload) -> None:
        """Start a manifest's batch. Whatever else lies beside manifests, our own results too, is left alone."""
        batch = self.batches.start(upload) if requests.is_manifest(upload.key) else None
        logger().info("a file under batches/", extra={"key": upload.key, "batch": batch})

    def _job_of(self, upload: requests.Upload) -> Job:
        """The job of an upload, new or known. A refused upload becomes a job too: REJECTED, with a reason."""
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
            job.model = requests.asked_model(metadata) or job.model  # people look for what they asked, were it nonsense
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
    """The use case as the stack has it."""
    stack = intake_settings()
    defaults = requests.Defaults(stack.default_model, stack.default_prompt, stack.default_transport)
    return Intake(jobs(), media(), batches(stack.batch_state_machine), submit(), defaults, stack.upload_bucket)
