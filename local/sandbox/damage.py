"""Carries out faults on API calls: resets the connection, or delays or corrupts the response."""

import asyncio
import gzip
import json
import socket
import struct
import uuid
from functools import cache
from typing import Any

from aiohttp import web

from local.sandbox import answers
from local.sandbox.faults import Fault
from local.sandbox.keys import BODY, CALL, STATE, base_url
from local.sandbox.kinds import Moment

BOMB_BYTES = 64 * 2**20
HUGE_BYTES = 24 * 2**20
DEEP_LEVELS = 200_000


async def before(request: web.Request, fault: Fault | None) -> web.Response | None:
    """The response of a fault that strikes before the work is done; None if the work continues."""
    if fault is None or fault.moment is not Moment.BEFORE:
        return None
    if fault.kind == "slow":
        request[CALL].fault = fault.kind
        await asyncio.sleep(fault.options["seconds"])
        return None
    return await instead(request, fault)


async def instead(request: web.Request, fault: Fault) -> web.Response:
    """What the caller gets instead of a response."""
    request[CALL].fault = fault.kind
    if fault.kind.startswith("timeout"):
        await asyncio.sleep(fault.options["seconds"])
        return reset(request, outcome="timeout")
    if fault.kind.startswith("reset"):
        return reset(request)
    if fault.kind == "504-html-after-accept":
        return answers.documented("504-html")
    if fault.kind in ("504-after-accept", "cut-off"):
        return answers.documented("504")
    if fault.kind == "cloudflare-after-accept":
        return answers.documented(str(fault.options["status"]))
    if fault.kind == "echo":
        return _echo(request, fault.options["status"])
    if fault.kind == "half-emoji":
        return web.Response(text='{"error": "it broke \\ud83d"}', status=500, content_type="application/json")
    if fault.kind == "far-reset":
        return answers.documented("429", reset_at=request.app[STATE].wall_time() + fault.options["seconds"])
    sentence = fault.options["error"]
    if fault.kind == "http-404" and (request_id := request.match_info.get("request_id")):
        sentence = sentence or f"Request {request_id} not found"
    state = request.app[STATE]
    reset_at = state.wall_time() + fault.options.get("seconds", 0.0) * state.clock.scale
    return answers.documented(fault.kind.removeprefix("http-"), sentence, reset_at)


def reset(request: web.Request, outcome: str = "reset") -> web.Response:
    """Reset the connection (TCP RST). The returned response is only for the framework and is never sent."""
    request[CALL].status = outcome
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        # Closing with a linger time of 0 s resets the connection.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


def _echo(request: web.Request, status: int) -> web.Response:
    """An error that repeats the request, like a gateway in debug mode: key, headers, and body with signed links."""
    said = {"headers": dict(request.headers), "body": request.get(BODY)}
    sentence = f"upstream failed for {request.method} {request.url}: {json.dumps(said)}"
    headers = {"x-debug-key": request.headers.get("x-api-key", "")}
    return web.json_response({"error": sentence, "request": said}, status=status, headers=headers)


async def _dripped(
    request: web.Request, body: dict[str, Any], headers: dict[str, str], seconds: float
) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "application/json", **headers})
    await answer.prepare(request)
    for byte in json.dumps(body).encode():
        await answer.write(bytes([byte]))
        await asyncio.sleep(seconds)
    return answer


@cache
def _bomb() -> bytes:
    return gzip.compress(b'{"error": "' + b"0" * BOMB_BYTES + b'"}', 9)


def _foreign(request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
    other = str(uuid.uuid4())
    url = f"{base_url(request)}/media/{other}.mp4"
    if "generation_url" in body:
        return {**body, "request_id": other, "model_status": "COMPLETED", "generation_url": url}
    return {**body, "request_id": other, "status": "COMPLETED", "output": url}


async def spoiled(
    request: web.Request, fault: Fault | None, body: dict[str, Any], headers: dict[str, str] | None = None
) -> web.StreamResponse:
    """The response as JSON, unless a fault corrupts it."""
    headers = headers or {}
    if fault is None or fault.moment not in (Moment.ANSWER, Moment.OUTPUT):
        return web.json_response(body, headers=headers)
    request[CALL].fault = fault.kind
    if fault.kind == "drip":
        return await _dripped(request, body, headers, fault.options["seconds"])
    if fault.kind == "gzip-bomb":
        packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        return web.Response(body=_bomb(), headers=headers | packed)
    return web.Response(text=_spoiled_text(request, fault, body), content_type="application/json", headers=headers)


def _spoiled_text(request: web.Request, fault: Fault, body: dict[str, Any]) -> str:
    text = json.dumps(body)
    match fault.kind:
        case "malformed-json":
            return text[: len(text) // 2]
        case "empty-body":
            return ""
        case "not-an-object":
            return json.dumps([body])
        case "huge":
            return json.dumps(body | {"note": "0" * HUGE_BYTES})
        case "deep":
            return f'{text[:-1]}, "note": {"[" * DEEP_LEVELS}{"]" * DEEP_LEVELS}}}'
        case "foreign-id":
            return json.dumps(_foreign(request, body))
        case "no-request-id":
            return json.dumps({key: value for key, value in body.items() if key == "status"})
        case "no-rows":
            return json.dumps(body | {"data": [], "total": 0, "total_pages": 0})
    return json.dumps(_with_output(body, fault))


def _with_output(body: dict[str, Any], fault: Fault) -> dict[str, Any]:
    """A completed result with another `output`."""
    url = str(body["output"])
    path = url.split("/", 3)[3]
    outputs: dict[str, Any] = {
        "output-list": [url],
        "output-empty-list": [],
        "output-number": 42,
        "output-null": None,
        "output-dict": {"url": url},
        "output-relative": f"/{path}",
        "output-forbidden-host": f"https://{fault.options.get('host')}/{path}",
        "output-http-scheme": f"http://images.segmind.com/{path}",
        "output-file-scheme": "file:///etc/passwd",
    }
    if fault.kind == "poison-metrics":
        return body | {"metrics": body["metrics"] | fault.options}
    body = {name: value for name, value in body.items() if name != "video"}
    if fault.kind == "output-in-text":
        return body | {"output": json.dumps({"videos": [{"url": f"  {url}\n"}]})}
    if fault.kind == "output-two-videos":
        return body | {"output": [url, url.replace(".mp4", "-2.mp4")]}
    if fault.kind == "output-missing":
        return {key: value for key, value in body.items() if key != "output"}
    return body | {"output": outputs[fault.kind]}
