"""The API's use cases: create a video, get its status, list the models."""

import uuid
from dataclasses import dataclass
from functools import cache

from seedance.config import api_settings
from seedance.errors import Conflict, InvalidRequest
from seedance.jobs import creation, requests
from seedance.jobs.handoff import IntakeQueue, intake_queue
from seedance.jobs.job import Job, State, api_job_id
from seedance.jobs.store import JobStore, jobs
from seedance.media.buckets import Media, media
from seedance.notices.job_message import iso, job_notification


@dataclass(frozen=True)
class Api:
    """The use cases and their dependencies."""

    store: JobStore
    media: Media
    queue: IntakeQueue
    upload_bucket: str
    defaults: requests.Defaults
    image_prefixes: tuple[str, ...]

    def create_video(self, body: str | None, *, caller: str, idempotency_key: str | None) -> Job:
        """Accept a request and return its job, which is now in the queue (or further, if the call is repeated).

        The record is written before the message is sent. If the message was lost, repeating the call sends it
        again. Raises InvalidRequest, or Conflict if the Idempotency-Key was used with another body.
        """
        request = requests.api_request(body, self.defaults)
        if idempotency_key is None:
            job_id = api_job_id(caller, str(uuid.uuid4()))
        else:
            job_id = api_job_id(caller, requests.check_idempotency_key(idempotency_key))
        job = creation.from_call(job_id, request, requests.fingerprint(body))
        first = self.store.get(job_id) if idempotency_key else None
        if first is None:
            if request.image_key:
                # Before the object is read: an error must not reveal what else is in the bucket.
                requests.check_image_key(request.image_key, self.image_prefixes)
                try:
                    job.image = self.media.look_at(self.upload_bucket, request.image_key, None).facts
                except InvalidRequest as refusal:
                    raise InvalidRequest("image_key", refusal.message) from None
            if not self.store.create(job):
                first = self.store.get(job_id)
        if first is not None:
            if first.fingerprint != job.fingerprint:
                raise Conflict("this Idempotency-Key was used with another body; use a new key for a new video")
            job = first
        # A postponed job already has a message in the queue. If that was lost, reconcile replaces it.
        if job.state is State.RECEIVED and job.turn_at is None:
            self.queue.send(job)
        return job

    def video(self, job_id: str) -> dict[str, object] | None:
        """The status of a job, with a new link if its video is ready. None if the job does not exist."""
        job = self.store.get(job_id)
        if job is None:
            return None
        link = self.media.video_link(job.video["key"]) if job.video and job.state is State.COMPLETED else None
        return describe(job, link)


def describe(job: Job, video_url: str | None) -> dict[str, object]:
    """A job as the API returns it: the notification's fields, plus those that only an unfinished job has."""
    message = job_notification(job, video_url)
    if job.state is not State.COMPLETED:
        message["video"] = None
    return {
        "job_id": job.job_id,
        "state": message["status"],
        "transport": job.transport,
        "parameters": job.parameters,
        "request_id": job.request_id,
        "created_at": iso(job.created_at),
        "submitted_at": iso(job.submitted_at),
        "updated_at": iso(job.updated_at),
        "expected_seconds": job.expected_seconds,
        **{name: value for name, value in message.items() if name != "status"},
    }


@cache
def api() -> Api:
    """The use cases, configured for this stack."""
    stack = api_settings()
    defaults = requests.Defaults(stack.default_model, stack.default_prompt, stack.default_transport)
    queue = intake_queue(stack.intake_queue)
    return Api(jobs(), media(), queue, stack.upload_bucket, defaults, stack.image_key_prefixes)
