"""Carries out faults on API calls: resets the connection, or delays or corrupts the response."""

import asyncio
import gzip
import json
import socket
import struct
import uuid
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

from aiohttp import web

from local.sandbox import answers
from local.sandbox.faults import Fault
from local.sandbox.keys import BODY, CALL, STATE, base_url
from local.sandbox.kinds import Moment

DEEP_LEVELS = 200_000

_JSON = {"Content-Type": "application/json"}
_MEGABYTE = b"0" * 1_000_000
_PACKERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "gzip, gzip": lambda body: gzip.compress(gzip.compress(body)),
}


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
    answer = web.StreamResponse(headers={**_JSON, **headers})
    await answer.prepare(request)
    for byte in json.dumps(body).encode():
        await answer.write(bytes([byte]))
        await asyncio.sleep(seconds)
    return answer


async def _dripped_head(request: web.Request, body: dict[str, Any], seconds: float) -> web.Response:
    """A whole response, its head byte by byte. aiohttp sends heads at once, so this writes to the connection itself."""
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    transport = request.transport
    for byte in head:
        if transport is None or transport.is_closing():
            break
        transport.write(bytes([byte]))
        await asyncio.sleep(seconds)
    if transport is not None:
        transport.write(content)
        transport.close()
    return web.Response()


async def _in_pieces(request: web.Request, pieces: Iterator[bytes], headers: dict[str, str]) -> web.StreamResponse:
    """A response that is too large to be made at once. It ends early if the caller does not read on."""
    answer = web.StreamResponse(headers={**_JSON, **headers})
    await answer.prepare(request)
    for piece in pieces:
        await answer.write(piece)
    return answer


def _large(body: dict[str, Any], megabytes: int) -> Iterator[bytes]:
    yield json.dumps(body | {"note": ""}).encode()[:-2]
    for _ in range(megabytes):
        yield _MEGABYTE
    yield b'"}'


@cache
def _bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    return b"".join(packer.compress(piece) for piece in _large({}, megabytes)) + packer.flush()


def _foreign(request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
    other = str(uuid.uuid4())
    url = f"{base_url(request)}/media/{other}.mp4"
    if "generation_url" in body:
        return {**body, "request_id": other, "model_status": "COMPLETED", "generation_url": url}
    return {**body, "request_id": other, "status": "COMPLETED", "output": url}


def _nobodys(request: web.Request) -> dict[str, Any]:
    """A row of the history about a request that does not exist."""
    other, now = str(uuid.uuid4()), answers.iso(request.app[STATE].wall_time())
    return {
        "request_id": other,
        "model_name": request.query.get("model_name"),
        "model_status": "COMPLETED",
        "credits_deduction": 0.25,
        "request_body": {"prompt": f"request {other}"},
        "generation_url": f"{base_url(request)}/media/{other}.mp4",
        "model_created": now,
        "created_at": now,
    }


async def spoiled(
    request: web.Request, fault: Fault | None, body: dict[str, Any], headers: dict[str, str] | None = None
) -> web.StreamResponse:
    """The response as JSON, unless a fault corrupts it."""
    headers = headers or {}
    if fault is None or fault.moment not in (Moment.ANSWER, Moment.OUTPUT):
        return web.json_response(body, headers=headers)
    request[CALL].fault = fault.kind
    match fault.kind:
        case "drip":
            return await _dripped(request, body, headers, fault.options["seconds"])
        case "drip-head":
            return await _dripped_head(request, body, fault.options["seconds"])
        case "interim":
            if request.transport is not None:
                hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
                request.transport.write(b"HTTP/1.1 102 Processing\r\n\r\n" + hints)
            return web.json_response(body, headers=headers)
        case "packed":
            encoding = fault.options["encoding"]
            packed = _PACKERS.get(encoding, bytes)(json.dumps(body).encode())
            return web.Response(body=packed, headers={**headers, **_JSON, "Content-Encoding": encoding})
        case "gzip-bomb":
            bomb = _bomb(fault.options["megabytes"])
            return web.Response(body=bomb, headers={**headers, **_JSON, "Content-Encoding": "gzip"})
        case "huge":
            return await _in_pieces(request, _large(body, fault.options["megabytes"]), headers)
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
        case "deep":
            return f'{text[:-1]}, "note": {"[" * DEEP_LEVELS}{"]" * DEEP_LEVELS}}}'
        case "foreign-id":
            return json.dumps(_foreign(request, body))
        case "no-request-id":
            return json.dumps({key: value for key, value in body.items() if key == "status"})
        case "endless":
            return json.dumps(body | {"data": [_nobodys(request) for _ in range(100)], "total_pages": 10**9})
        case "no-rows":
            return json.dumps(body | {"data": [], "total": 0, "total_pages": 0})
    return json.dumps(_with_output(body, fault))


def written(form: str, url: str) -> str:
    """A URL in another form: its own form, and its parts, are in braces."""
    _, _, host, path = url.split("/", 3)
    return form.format(url=url, host=host, path=f"/{path}")


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
    if fault.kind == "output-written-oddly":
        return body | {"output": written(fault.options["form"], url)}
    if fault.kind == "output-in-text":
        return body | {"output": json.dumps({"videos": [{"url": f"  {url}\n"}]})}
    if fault.kind == "output-two-videos":
        return body | {"output": [url, url.replace(".mp4", "-2.mp4")]}
    if fault.kind == "output-missing":
        return {key: value for key, value in body.items() if key != "output"}
    return body | {"output": outputs[fault.kind]}
