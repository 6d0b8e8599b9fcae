"""Intake: process a message from the queue of submit: create a job, start a batch, or advance an existing job."""

import json
import math
from dataclasses import dataclass, replace
from functools import cache

from seedance import bounds
from seedance.config import intake_settings, settings
from seedance.errors import InvalidRequest, UnusableImage
from seedance.jobs import creation, labels, reasons, requests
from seedance.jobs.defaults import Defaults
from seedance.jobs.handoff import Batches, batches
from seedance.jobs.job import Job, State
from seedance.jobs.store import JobStore, jobs
from seedance.media.buckets import Media, media
from seedance.observability import count, logger
from seedance.submit import Submit, submit

AGAIN_SECONDS = 60
"""After this time, an empty object or a copy is looked at again: a program may upload the same file meanwhile."""


@dataclass(frozen=True)
class Intake:
    """The use case and its dependencies."""

    store: JobStore
    media: Media
    batches: Batches
    submit: Submit
    defaults: Defaults
    upload_bucket: str
    scale: float = 1.0
    """Shortens the time until the second look (see Settings.time_scale)."""

    def message(self, body: str) -> None:
        """Process one message of the queue.

        It is an S3 notification, ``{"job_id", "turn"}`` of a waiting job, or ``{"job_id", "retry"}`` of an ended one.

        If it returns, the message is finished. If it raises InProgress or any other error, the message must be
        delivered again. Repeating any part of this is safe.
        """
        content = json.loads(body)
        if "job_id" in content:
            job = self.store.get(content["job_id"])
            if job is None:
                raise LookupError(f"the message's job {bounds.shown(content['job_id'])} has no record")
            if content.get("retry") and job.retry_waits:
                from seedance.upkeep.again import again  # noqa: PLC0415 - rarely needed, and it would slow every cold start

                again().carry_out(job)
                return
            # A message of an earlier release has no turn, and neither has one for a retry.
            self.submit.advance(job, content.get("turn", job.turn_at))
            return
        second = bool(content.get("again"))
        unsure = [upload for upload in requests.uploads_in(content) if self._is_unsure(upload, second=second)]
        if unsure:
            delay = math.ceil(AGAIN_SECONDS * self.scale)
            self.submit.queue.put_back(json.dumps({**content, "again": True}), delay)

    def _is_unsure(self, upload: requests.Upload, *, second: bool) -> bool:
        """Process an upload, or return that it must be checked a second time, because it may be replaced in a moment.

        Some programs create an empty object and write its content later. s3cmd copies a picture that is already in the
        bucket, and uploads it after all if it can't copy the ACL, which a bucket without ACLs refuses.
        """
        key = {"key": upload.key}
        if upload.bucket != self.upload_bucket:
            # Put into the queue by hand, or sent by another bucket. It would start a second batch.
            logger().error("a record of another bucket is ignored", extra={"bucket": bounds.shown(upload.bucket)})
            count("RecordsIgnored")
            return False
        if upload.is_folder_marker or upload.is_left_behind:
            logger().info("ignored: a file that no person uploaded", extra=key)
            return False
        same = self._asks_for_the_same(upload) if upload.copied else None
        if same:
            logger().info("ignored: copied onto itself, with the same options", extra=key)
            return False
        if upload.key.startswith(requests.BATCH_PREFIX):
            self._take_manifest(upload)
            return False
        if upload.size == 0 or (upload.copied and same is None):
            if not second:
                return True
            if self._is_replaced(upload):
                logger().info("ignored: an object that was replaced or deleted within a minute", extra=key)
                return False
        self.submit.advance(self._job_of(upload))
        return False

    def _asks_for_the_same(self, upload: requests.Upload) -> bool | None:
        """Whether an object that was copied onto itself, for instance to set its time, has the same options as before.

        None if its content has changed, or if there is no version before it.
        """
        if upload.version_id is None:
            return None
        is_manifest = upload.key.startswith(requests.BATCH_PREFIX)
        where = upload.bucket, upload.key
        try:
            # The function may not read manifests, and they have no options.
            before = self.media.version_before(*where, upload.version_id, readable=not is_manifest)
            if before is None or is_manifest:
                return None if before is None else True
            return self._equal(upload, before)
        except InvalidRequest:
            return None  # one of them can't be read (any more)

    def _is_replaced(self, upload: requests.Upload) -> bool:
        """Whether an empty object is no longer there, or a copy was then uploaded and so is another version's order."""
        where = upload.bucket, upload.key
        if upload.size == 0:
            return not self.media.is_still_empty(*where, upload.version_id)
        if upload.version_id is None or self.store.get(creation.upload_job_id(upload)):
            return False  # its order was already made
        try:
            after = self.media.version_after(*where, upload.version_id)
            # A version without a job is no order: it may be a copy onto itself.
            ordered = after is not None and self.store.get(creation.upload_job_id(replace(upload, version_id=after)))
            return bool(ordered) and self._equal(upload, str(after))
        except InvalidRequest:
            return False

    def _equal(self, upload: requests.Upload, version_id: str) -> bool:
        """Whether another version of an upload requests the same as this one. Raises InvalidRequest if one is gone."""
        where = upload.bucket, upload.key
        one, other = (self.media.metadata_of(*where, str(version)) for version in (upload.version_id, version_id))
        return self._asked(one) == self._asked(other)

    def _asked(self, metadata: dict[str, str]) -> requests.Request | str:
        """The request in an upload's metadata, or why it is refused."""
        try:
            return requests.upload_request(metadata, self.defaults)
        except InvalidRequest as refusal:
            return str(refusal)

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
            if isinstance(refusal, UnusableImage):
                metadata = refusal.metadata
            job.model = requests.asked_model(metadata) or job.model  # as requested, even if invalid: people look for it
            job.state, job.error = State.REJECTED, reasons.of(refusal).error
            count("JobsRejected")
        else:
            creation.apply(job, request, image.facts)
        job.metadata, left_out = requests.own_metadata(metadata)
        if left_out:
            job.notes = [*job.notes, labels.left_out_note(left_out)]
        if not self.store.create(job):
            logger().info("the same upload was delivered twice at once", extra={"job_id": job_id})
            return self.store.get(job_id) or job
        return job


@cache
def intake() -> Intake:
    """The use case, configured for this stack."""
    stack = intake_settings()
    defaults = Defaults(stack.default_model, stack.default_prompt, stack.default_transport)
    machine, scale = batches(stack.batch_state_machine), settings().time_scale
    return Intake(jobs(), media(), machine, submit(), defaults, stack.upload_bucket, scale)
