"""The gateway: submits under v2 and v1, and status requests under v2."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from local.sandbox import answers, media
from local.sandbox.damage import before, instead, spoiled
from local.sandbox.faults import Fault
from local.sandbox.keys import BODY, CALL, STATE, STUDIO, base_url
from local.sandbox.kinds import Moment
from local.sandbox.models import MODELS, InvalidParameters, read_order, unread_order
from local.sandbox.state import Job, State

V1_CUT_SECONDS = 60.0  # the provider's; "calls over about 60 s are known to be cut off" (contract)

Respond = Callable[[web.Request, Job, Fault | None], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """The call is refused; `answer` is the response."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__(answer.text)
        self.answer = answer


# submitting -----------------------------------------------------------------------------------------------


async def submit_v2(request: web.Request) -> web.StreamResponse:
    """`POST /v2/{slug}`: queue a job."""
    return await _submit(request, "v2", "submit", _queued)


async def submit_v1(request: web.Request) -> web.StreamResponse:
    """`POST /v1/{slug}`: queue a job and respond when it has ended."""
    return await _submit(request, "v1", "v1", _finished)


async def _submit(request: web.Request, transport: str, stage: str, respond: Respond) -> web.StreamResponse:
    state, slug, body = request.app[STATE], request.match_info["slug"], request.get(BODY)
    prompt = body.get("prompt") if isinstance(body, dict) else None
    fault = state.faults.take(stage, slug, prompt if isinstance(prompt, str) else None)
    if (answer := await before(request, fault)) is not None:
        return answer
    try:
        job = _accept(request, slug, body, transport)
    except Refused as refusal:
        if fault and fault.moment is not Moment.BEFORE:
            state.faults.put_back(fault)
        return refusal.answer
    request[CALL].request_id = job.request_id
    if fault and fault.moment is Moment.ACCEPTED and fault.kind != "cut-off":
        return await instead(request, fault)
    return await respond(request, job, fault)


def _accept(request: web.Request, slug: str, body: object, transport: str) -> Job:
    """All checks of the gateway before it queues a job, in its order. Raises `Refused`."""
    state = request.app[STATE]
    if request.content_type != "application/json":
        raise Refused(answers.documented("406-content-type"))
    model = MODELS.get(slug)
    if model is None:
        raise Refused(answers.documented("404", f"Model {slug} not found"))
    if slug in state.config.retired:
        raise Refused(answers.documented("410", f"Model {slug} has been retired"))
    if body is None:
        raise Refused(answers.documented("400", "Request body is not valid JSON"))
    refusal = None
    try:
        order = read_order(model, body, state.config.reading)
    except InvalidParameters as error:
        if transport == "v1" or not isinstance(body, dict) or not state.validates_late(slug, body):
            raise Refused(answers.error(error.status, str(error))) from error
        order, refusal = unread_order(model, body), str(error)
    if not state.can_pay(order):
        raise Refused(answers.documented("402-credits" if transport == "v2" else "406-credits"))
    assert isinstance(body, dict)  # noqa: S101 - read_order made sure
    member = state.member(request.headers.get("x-api-key"))
    job = state.accept(order, body, transport, member=member, refusal=refusal)
    if fault := state.faults.take("job", slug, order.prompt):
        job.fault, job.fault_options = fault.kind, fault.options
        job.hidden_gets = 1 if fault.kind == "flapping" else 0
    request.app[STUDIO].begin(job)
    return job


async def _queued(request: web.Request, job: Job, fault: Fault | None) -> web.StreamResponse:
    urls = _urls(request, job)
    body = {"request_id": job.request_id, "status": "QUEUED", "poll_url": urls["status_url"], **urls}
    return await spoiled(request, fault, body)


async def _finished(request: web.Request, job: Job, fault: Fault | None) -> web.StreamResponse:
    """The response of the blocking call: the video's bytes, or JSON with its URL, as configured."""
    state = request.app[STATE]
    if fault and fault.kind == "cut-off":
        seconds = fault.options["seconds"]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(job.done.wait(), V1_CUT_SECONDS * state.clock.scale if seconds is None else seconds)
        if not job.done.is_set():
            return await instead(request, fault)
    await job.done.wait()
    if job.error is not None:
        # v1's status for a failed job is not documented; v2's is 422.
        return answers.error(422, job.error)
    headers = {
        "x-request-id": job.request_id,
        "x-cost": str(job.cost),
        "x-remaining-credits": str(job.remaining_credits),
        "x-generation-time": str(job.total_seconds),
        "x-seed-value": str(job.seed),
    }
    if state.config.v1_answer == "json" or (fault and fault.moment is Moment.ANSWER):
        return await spoiled(request, fault, {"output": media.video_url(request, job)}, headers)
    content = media.video_of(request.app[STUDIO].folder, job, state.config.tail)
    return web.Response(body=content.read(0, content.size), content_type="video/mp4", headers=headers)


# reading --------------------------------------------------------------------------------------------------


async def status(request: web.Request) -> web.StreamResponse:
    """`GET /v2/requests/{id}/status`: the status, without the output."""
    return await _read(request, "status")


async def result(request: web.Request) -> web.StreamResponse:
    """`GET /v2/requests/{id}`: the status, and the output if COMPLETED."""
    return await _read(request, "result")


async def _read(request: web.Request, stage: str) -> web.StreamResponse:
    state, request_id = request.app[STATE], request.match_info["request_id"]
    known = state.jobs.get(request_id)
    slug, prompt = (known.order.slug, known.order.prompt) if known else (None, None)
    # Only an existing `output` can be corrupted. Until there is one, such a fault waits.
    completed = known is not None and known.status == "COMPLETED"
    fault = state.faults.take(stage, slug, prompt, without=None if completed else Moment.OUTPUT)
    if (answer := await before(request, fault)) is not None:
        return answer
    job = state.record(request_id)
    if job is None or job.hidden_gets > 0:
        if job is not None:
            job.hidden_gets -= 1
        return answers.error(404, f"Request {request_id} not found")
    if job.status == "FAILED":
        body = {"status": _status_word(job), "error": job.error, "metrics": _metrics(state, job)}
        return web.json_response(body, status=422)
    body = {
        "status": _status_word(job),
        "request_id": job.request_id,
        **_urls(request, job),
        "metrics": _metrics(state, job),
    }
    if stage == "result" and state.has_media(job):
        body["output"] = media.video_url(request, job)
        if job.number % 2:
            body["video"] = {"url": body["output"]}
        if job.order.return_last_frame:
            body["last_frame_url"] = media.last_frame_url(request, job)
    return await spoiled(request, fault, body)


def _status_word(job: Job) -> str:
    if job.fault == "unknown-status" and job.running:
        return str(job.fault_options["status"])
    return job.status.lower() if job.fault == "lower-case-status" else job.status


def _metrics(state: State, job: Job) -> dict[str, Any]:
    """Times in provider seconds, as the real provider would report them, whatever the scale is."""
    age = min(state.clock.now() - job.accepted_at, job.total_seconds) if job.running else job.total_seconds
    queued = min(age, job.queue_seconds)
    metrics: dict[str, Any] = {
        "inference_time": round(age - queued, 3),
        "queue_time": round(queued, 3),
        "total_time": round(age, 3),
        "retry_count": 0,
    }
    if job.status == "COMPLETED":
        metrics |= {"cost": job.cost, "remaining_credits": job.remaining_credits}
    return metrics


def _urls(request: web.Request, job: Job) -> dict[str, str]:
    response_url = f"{base_url(request)}/v2/requests/{job.request_id}"
    return {"status_url": f"{response_url}/status", "response_url": response_url}
