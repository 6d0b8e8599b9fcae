"""Serves the result files like the provider's media host: without a key, with byte ranges, and with ordered faults."""

import asyncio
import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web

from local.sandbox import answers
from local.sandbox.damage import reset, written
from local.sandbox.faults import Fault
from local.sandbox.keys import CALL, STATE, STUDIO, base_url
from local.sandbox.state import Job
from local.sandbox.video import free_box

CHUNK = 256 * 1024

_NAME = re.compile(r"(?P<id>[0-9a-f-]{36})(?P<last>-last\.png|\.mp4)")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Content:
    """A file to serve: a shared file on disk plus a job's own tail. Only the id is stored per job."""

    path: Path
    content_type: str
    tail: bytes = b""

    @property
    def size(self) -> int:
        return self.path.stat().st_size + len(self.tail)

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.path.name.encode() + self.tail).hexdigest()[:32]}"'

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`."""
        stored = self.path.stat().st_size
        data = b""
        if start < stored:
            with self.path.open("rb") as file:
                file.seek(start)
                data = file.read(min(stop, stored) - start)
        return data + self.tail[max(start - stored, 0) : max(stop - stored, 0)]


def video_of(folder: Path, job: Job, tail: bytes = b"") -> Content:
    """A completed job's video: the shared encoding, made unique by a box with the request's id, and the ``tail``."""
    return Content(folder / f"{job.render}.mp4", "video/mp4", free_box(job.request_id) + tail)


def video_url(request: web.Request, job: Job) -> str:
    return f"{base_url(request)}/media/{job.request_id}.mp4"


def last_frame_url(request: web.Request, job: Job) -> str:
    return f"{base_url(request)}/media/{job.request_id}-last.png"


async def serve(request: web.Request) -> web.StreamResponse:
    """`GET /media/{name}`: a job's video, its last frame, or an uploaded asset."""
    state, folder, name = request.app[STATE], request.app[STUDIO].folder, request.match_info["name"]
    match = _NAME.fullmatch(name)
    if match is None:
        asset = folder / Path(name).name
        if not name.startswith("asset-") or not asset.is_file():
            return _store_error(404)
        return await _send(request, Content(asset, mimetypes.guess_type(name)[0] or "application/octet-stream"))
    job = state.jobs.get(match["id"])
    if job is None or not state.has_media(job) or (match["last"] != ".mp4" and not job.order.return_last_frame):
        return _store_error(404)
    if match["last"] != ".mp4":
        return await _send(request, Content(folder / f"{job.render}.png", "image/png"))
    fault = state.faults.take("media", job.order.slug, job.order.prompt)
    return await _send(request, video_of(folder, job, state.config.tail), fault)


async def _send(request: web.Request, content: Content, fault: Fault | None = None) -> web.StreamResponse:
    kind = fault.kind if fault else None
    if fault:
        request[CALL].fault = kind
        if kind == "slow":
            await asyncio.sleep(fault.options["seconds"])
        if (answer := _other_answer(request, fault, content)) is not None:
            return answer
    size = content.size // 2 if kind == "short" else content.size
    headers = {
        hdrs.CONTENT_TYPE: content.content_type,
        hdrs.ETAG: content.etag,
        hdrs.ACCEPT_RANGES: "bytes",
        **_wrong_headers(fault),
    }
    same = request.headers.get(hdrs.IF_RANGE, content.etag) == content.etag
    asked = _asked_range(request, size) if same and kind != "no-range" else (0, size)
    if asked is None:
        return web.Response(status=416, headers={hdrs.CONTENT_RANGE: f"bytes */{size}"})
    start, stop = asked
    partial = stop - start < size
    if partial:
        headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{size}"
    response = web.StreamResponse(status=206 if partial else 200, headers=headers)
    if kind == "chunked":
        response.enable_chunked_encoding()
    else:
        response.content_length = stop - start
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    end = start + (stop - start) // 2 if kind in ("truncated", "reset-midway") else stop
    step, pause = (1, fault.options["seconds"]) if fault and kind == "trickle" else (CHUNK, 0.0)
    for position in range(start, end, step):
        await response.write(content.read(position, min(position + step, end)))
        await asyncio.sleep(pause)
    if kind == "reset-midway":
        # Wait until the half has arrived, because a reset discards what the client has not read yet.
        await asyncio.sleep(0.1)
        return reset(request)
    if kind == "truncated" and request.transport is not None:
        request[CALL].status = "cut"
        request.transport.close()
        return response
    await response.write_eof()
    return response


def _wrong_headers(fault: Fault | None) -> dict[str, str]:
    if fault is None or fault.kind != "wrong-content-type":
        return {}
    wrong = {hdrs.CONTENT_TYPE: fault.options["content_type"], hdrs.CONTENT_ENCODING: fault.options["encoding"]}
    return {name: value for name, value in wrong.items() if value}


def _other_answer(request: web.Request, fault: Fault, content: Content) -> web.Response | None:
    """The response of the faults that do not send the file as it is."""
    match fault.kind:
        case "html":
            return answers.html(200, "Service maintenance")
        case "empty":
            return web.Response(content_type="video/mp4")
        case "compressed":
            packed = gzip.compress(content.read(0, content.size))
            return web.Response(body=packed, content_type=content.content_type, headers={hdrs.CONTENT_ENCODING: "gzip"})
        case "redirect":
            location = written(fault.options["location"], f"{base_url(request)}{request.path}")
            return web.Response(status=fault.options["status"], headers={hdrs.LOCATION: location})
        case "redirect-forbidden":
            return web.Response(status=302, headers={hdrs.LOCATION: fault.options["location"]})
        case "media-403" | "media-404" | "media-500":
            return _store_error(int(fault.kind.removeprefix("media-")))
    return None


def _asked_range(request: web.Request, size: int) -> tuple[int, int] | None:
    """The byte range that a Range header requests; the whole file if it is missing or not understood."""
    match = _RANGE.fullmatch(request.headers.get(hdrs.RANGE, ""))
    if match is None or match.groups() == ("", ""):
        return 0, size
    first, last = match.groups()
    if not first:
        return max(size - int(last), 0), size
    start, stop = int(first), min(int(last) + 1, size) if last else size
    return (start, stop) if start < stop else None


def _store_error(status: int) -> web.Response:
    """An error in a file store's format: XML, not the API's JSON."""
    code = {403: "AccessDenied", 404: "NoSuchKey", 500: "InternalError"}[status]
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
    return web.Response(status=status, text=text, content_type="application/xml")
