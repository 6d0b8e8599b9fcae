"""The API's use cases: finds the call that a request is for, creates videos, and returns their status.

What only some calls need is imported when it is needed: a call that reads starts without pydantic.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from seedance import bounds
from seedance.aws import gateway
from seedance.aws.gateway import Response
from seedance.clock import CLOCK, Clock
from seedance.config import api_settings
from seedance.errors import BadRecord, Conflict, InvalidRequest, NotFound, SeedanceError
from seedance.jobs.defaults import Defaults
from seedance.jobs.handoff import IntakeQueue, intake_queue
from seedance.jobs.job import Job, State, api_job_id
from seedance.jobs.lasting import NO_LINKS, Addresses
from seedance.jobs.prefixes import usable
from seedance.jobs.store import JobStore, jobs
from seedance.media.buckets import Media, media
from seedance.notices.job_message import VideoLinks
from seedance.notices.video_links import video_links
from seedance.observability import logger
from seedance.rest import documents
from seedance.rest.answers import answer, refusal, written
from seedance.rest.routes import ROUTES
from seedance.rest.views import describe, retry_after

if TYPE_CHECKING:
    from seedance.rest.budget import Spending
    from seedance.rest.links import Links


@dataclass(frozen=True)
class Api:
    """The use cases and their dependencies."""

    store: JobStore
    media: Media
    queue: IntakeQueue
    upload_bucket: str
    defaults: Defaults
    image_prefixes: tuple[str, ...]
    addresses: Addresses = NO_LINKS
    clock: Clock = CLOCK

    def respond(self, event: Mapping[str, Any]) -> Response:
        """The response to an event of API Gateway (REST, proxy integration), which has matched the route already.

        An unexpected error is raised: API Gateway then responds with 502, and the function's error alarm goes off.
        """
        try:
            return self._answer(event)
        except SeedanceError as error:
            if (refused := refusal(error)) is None:
                raise
            if isinstance(error, BadRecord):
                logger().error("a record can't be read", extra={"job_id": error.job_id, "field": error.field})
            return refused

    def _answer(self, event: Mapping[str, Any]) -> Response:
        match gateway.route(event):
            case "POST", "/videos":
                key = gateway.header(event, "idempotency-key")
                job = self.create_video(gateway.body(event), caller=gateway.caller(event), idempotency_key=key)
                # A repeated call is answered without a link, whatever the job's state, so that it need not be signed.
                return self._shown(HTTPStatus.ACCEPTED, job, None, Location=f"./videos/{job.job_id}")
            case "GET", "/videos":
                from seedance.rest.listing import listing  # noqa: PLC0415 - see above

                return answer(HTTPStatus.OK, listing().page(gateway.query(event)))
            case "POST", "/uploads":
                from seedance.rest.uploads import uploads  # noqa: PLC0415 - see above

                return answer(HTTPStatus.OK, uploads().form(gateway.body(event)))
            case "POST", "/estimates":
                from seedance.rest.estimates import estimates  # noqa: PLC0415 - see above

                return answer(HTTPStatus.OK, estimates().estimate(gateway.body(event)))
            case "GET", "/budget":
                return answer(HTTPStatus.OK, _spending().look())
            case "POST", "/pause":
                return answer(HTTPStatus.OK, _spending().pause(gateway.body(event)))
            case "POST", "/resume":
                return answer(HTTPStatus.OK, _spending().resume())
            case "GET", "/models":
                return written(HTTPStatus.OK, documents.read(documents.MODELS))
            case "GET", "/openapi.json":
                return written(HTTPStatus.OK, documents.read(documents.OPENAPI))
            case method, path if path.startswith("/batches"):
                from seedance.rest.batches import batch_calls  # noqa: PLC0415 - see above

                if shown := batch_calls().respond(method, path, event):
                    return shown
        return self._answer_about_job(event)

    def _answer_about_job(self, event: Mapping[str, Any]) -> Response:
        match gateway.route(event):
            case "GET", "/videos/{job_id}":
                found = self._job(event)
                return self._shown(HTTPStatus.OK, found, self._links(found))
            case "POST" | "DELETE" as method, "/videos/{job_id}/link":
                change = _lasting().share if method == "POST" else _lasting().unshare
                return answer(HTTPStatus.OK, change(gateway.path_parameter(event, "job_id")))
            case "POST", "/videos/{job_id}/cancel":
                from seedance.jobs.cancelling import cancel  # noqa: PLC0415 - see above

                done = cancel(self.store, self.queue, gateway.path_parameter(event, "job_id"))
                return self._shown(HTTPStatus.OK, done, None)
            case "POST", "/videos/{job_id}/retry":
                from seedance.rest.retries import retries  # noqa: PLC0415 - see above

                asked = retries().ask(gateway.path_parameter(event, "job_id"), gateway.body(event))
                return self._shown(HTTPStatus.ACCEPTED, asked, None, Location=f"../{asked.job_id}")
            case "GET", "/videos/{job_id}/timeline":
                from seedance.rest import timelines  # noqa: PLC0415 - see above

                return answer(HTTPStatus.OK, timelines.describe(self._job(event)))
        raise NotFound(f"Not found. Available: {', '.join(ROUTES)}")

    def _job(self, event: Mapping[str, Any]) -> Job:
        job_id = gateway.path_parameter(event, "job_id")
        if (found := self.store.get(job_id)) is None:
            raise NotFound(f"job {bounds.shown(job_id)} does not exist")
        return found

    def _shown(self, status: HTTPStatus, job: Job, links: VideoLinks | None, **headers: str) -> Response:
        return answer(status, describe(job, links), **headers, **retry_after(job, self.clock()))

    def _links(self, job: Job) -> VideoLinks | None:
        completed = job.state is State.COMPLETED
        return video_links(job, self.media, self.addresses, self.clock()) if completed else None

    def create_video(self, body: str | None, *, caller: str, idempotency_key: str | None) -> Job:
        """Accept a request and return its job, which is now in the queue (or further, if the call is repeated).

        The record is written before the message is sent. If the message was lost, repeating the call sends it
        again. Raises InvalidRequest, or Conflict if the Idempotency-Key was used with another body.
        """
        from seedance.jobs import creation, requests  # noqa: PLC0415 - see above

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
                except InvalidRequest as refused:
                    raise InvalidRequest("image_key", refused.message) from None
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


def _spending() -> "Spending":
    from seedance.rest.budget import spending  # noqa: PLC0415 - see above

    return spending()


def _lasting() -> "Links":
    from seedance.rest.links import links  # noqa: PLC0415 - see above

    return links()


@cache
def api() -> Api:
    """The use cases, configured for this stack."""
    stack = api_settings()
    defaults = Defaults(stack.default_model, stack.default_prompt, stack.default_transport)
    queue = intake_queue(stack.intake_queue)
    addresses = Addresses(stack.link_base, stack.video_link_days)
    return Api(
        jobs(), media(), queue, stack.upload_bucket, defaults, usable(stack.image_key_prefixes), addresses=addresses
    )
