"""The API's use cases: create a video, get its status, list the models. And its responses, errors included."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

from seedance import bounds
from seedance.aws import gateway
from seedance.aws.gateway import Response
from seedance.config import api_settings
from seedance.errors import BadRecord, Conflict, InvalidRequest
from seedance.jobs import catalogue, creation, requests
from seedance.jobs.handoff import IntakeQueue, intake_queue
from seedance.jobs.job import Job, State, api_job_id
from seedance.jobs.store import JobStore, jobs
from seedance.media.buckets import Media, media
from seedance.notices.job_message import iso, job_notification
from seedance.observability import logger


@dataclass(frozen=True)
class Api:
    """The use cases and their dependencies."""

    store: JobStore
    media: Media
    queue: IntakeQueue
    upload_bucket: str
    defaults: requests.Defaults
    image_prefixes: tuple[str, ...]

    def respond(self, event: Mapping[str, Any]) -> Response:
        """The response to an event of API Gateway (REST, proxy integration), which has matched the route already.

        An unexpected error is raised: API Gateway then responds with 502, and the function's error alarm goes off.
        """
        try:
            match gateway.route(event):
                case "POST", "/videos":
                    key = gateway.header(event, "idempotency-key")
                    job = self.create_video(gateway.body(event), caller=gateway.caller(event), idempotency_key=key)
                    return gateway.response(HTTPStatus.ACCEPTED, describe(job, None))
                case "GET", "/videos/{job_id}":
                    job_id = gateway.path_parameter(event, "job_id")
                    if video := self.video(job_id):
                        return gateway.response(HTTPStatus.OK, video)
                    unknown = f"job {bounds.shown(job_id)} does not exist"
                    return gateway.error(HTTPStatus.NOT_FOUND, unknown, code="NOT_FOUND")
                case "GET", "/models":
                    return gateway.response(HTTPStatus.OK, {"models": catalogue.describe()})
                case _:
                    available = "Not found. Available: POST /videos, GET /videos/{job_id}, GET /models"
                    return gateway.error(HTTPStatus.NOT_FOUND, available, code="NOT_FOUND")
        except InvalidRequest as refusal:
            # 400: the body can't be read. 422: it can be read, but a value is not allowed.
            status = HTTPStatus.BAD_REQUEST if refusal.field == "body" else HTTPStatus.UNPROCESSABLE_ENTITY
            return gateway.error(status, str(refusal), field=refusal.field, code=refusal.code)
        except Conflict as conflict:
            return gateway.error(HTTPStatus.CONFLICT, str(conflict), code=conflict.code)
        except BadRecord as bad:
            logger().error("a record can't be read", extra={"job_id": bad.job_id, "field": bad.field})
            return gateway.error(HTTPStatus.INTERNAL_SERVER_ERROR, str(bad), field=bad.field, code=bad.code)

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
                    image = self.media.find_image(self.upload_bucket, request.image_key, self.image_prefixes).facts
                except InvalidRequest as refusal:
                    raise InvalidRequest("image_key", refusal.message) from None
                creation.apply(job, request, image)
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
