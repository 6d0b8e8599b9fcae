"""What a fault does to an API call: the connection reset, the answer held back or spoiled."""

import asyncio
import json
import socket
import struct
import time
from typing import Any

from aiohttp import web

from local.sandbox import answers
from local.sandbox.faults import Fault
from local.sandbox.keys import CALL, STATE
from local.sandbox.kinds import Moment


async def before(request: web.Request, fault: Fault | None) -> web.Response | None:
    """The answer of a fault that strikes before the work is done; None where the work shall go on."""
    if fault is None or fault.moment is not Moment.BEFORE:
        return None
    if fault.kind == "slow":
        request[CALL].fault = fault.kind
        await asyncio.sleep(fault.options["seconds"])
        return None
    return await instead(request, fault)


async def instead(request: web.Request, fault: Fault) -> web.Response:
    """What the caller gets in place of an answer."""
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
    sentence = fault.options["error"]
    if fault.kind == "http-404" and (request_id := request.match_info.get("request_id")):
        sentence = sentence or f"Request {request_id} not found"
    reset_at = time.time() + fault.options.get("seconds", 0.0) * request.app[STATE].clock.scale
    return answers.documented(fault.kind.removeprefix("http-"), sentence, reset_at)


def reset(request: web.Request, outcome: str = "reset") -> web.Response:
    """Reset the connection (TCP RST). The response is for the framework alone; nobody gets it."""
    request[CALL].status = outcome
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        # Lingering for 0 s turns the close into a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


def spoiled(request: web.Request, fault: Fault | None, body: dict[str, Any]) -> web.Response:
    """The answer as JSON, unless a fault spoils it."""
    if fault is None or fault.moment not in (Moment.ANSWER, Moment.OUTPUT):
        return web.json_response(body)
    request[CALL].fault = fault.kind
    match fault.kind:
        case "malformed-json":
            text = json.dumps(body)
            return web.Response(text=text[: len(text) // 2], content_type="application/json")
        case "empty-body":
            return web.Response(content_type="application/json")
        case "not-an-object":
            return web.json_response([body])
        case "no-request-id":
            return web.json_response({key: value for key, value in body.items() if key == "status"})
        case "no-rows":
            return web.json_response(body | {"data": [], "total": 0, "total_pages": 0})
    return web.json_response(_with_output(body, fault))


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
    if fault.kind == "output-missing":
        return {key: value for key, value in body.items() if key != "output"}
    return body | {"output": outputs[fault.kind]}
