"""The account part of the API: credits, uploads and request history."""

import base64
import binascii
import hashlib
import json
import math
import mimetypes
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

from aiohttp import web

from local.sandbox import answers, media
from local.sandbox.damage import before, spoiled
from local.sandbox.keys import BODY, STATE, STUDIO, base_url
from local.sandbox.state import Job

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.*)", re.DOTALL)
_HISTORY_DAYS = 31  # the longest window, according to the official client
_SORTABLE = ("model_created", "model_name", "credits_deduction")
_STATUSES = ("", "COMPLETED", "FAILED", "PENDING")


async def credits_left(request: web.Request) -> web.StreamResponse:
    """`GET /v1/get-user-credits`: the balance in USD."""
    state = request.app[STATE]
    fault = state.faults.take("credits")
    if (answer := await before(request, fault)) is not None:
        return answer
    return await spoiled(request, fault, {"credits": state.credits})


# upload ---------------------------------------------------------------------------------------------------


async def upload_asset(request: web.Request) -> web.StreamResponse:
    """`POST /upload-asset` with `data_urls`: store the files and return their addresses."""
    fault = request.app[STATE].faults.take("upload")
    if (answer := await before(request, fault)) is not None:
        return answer
    if request.content_type != "application/json":
        return answers.documented("406-content-type")
    body = request.get(BODY)
    urls = body.get("data_urls") if isinstance(body, dict) else None
    if not isinstance(urls, list) or not urls:
        return answers.error(400, "data_urls must be a non-empty list of data URLs")
    names = []
    for url in urls:
        match = _DATA_URL.fullmatch(url) if isinstance(url, str) else None
        try:
            data = base64.b64decode(match[2], validate=True) if match else b""
        except binascii.Error:
            data = b""
        if match is None or not data:
            return answers.error(400, "data_urls must be base64 data URLs")
        suffix = mimetypes.guess_extension(match[1]) or ".bin"
        names.append(f"asset-{hashlib.sha256(data).hexdigest()[:32]}{suffix}")
        (request.app[STUDIO].folder / names[-1]).write_bytes(data)
    served = [f"{base_url(request)}/media/{name}" for name in names]
    return await spoiled(request, fault, {"file_urls": served, "message": "Files uploaded successfully"})


# history --------------------------------------------------------------------------------------------------


async def history(request: web.Request) -> web.StreamResponse:
    """`GET /inference-request/request-history`: all accepted requests, newest first, even without their records."""
    state = request.app[STATE]
    fault = state.faults.take("history", request.query.get("model_name"))
    if (answer := await before(request, fault)) is not None:
        return answer
    query = request.query
    try:
        page, per_page = int(query.get("page", "1")), int(query.get("per_page", "20"))
        since, until = _window(query.get("from_date"), query.get("to_date"))
    except ValueError as error:
        return answers.error(400, f"Invalid query: {error}")
    if page < 1 or not 1 <= per_page <= 100:
        return answers.error(400, "page starts at 1, per_page is 1 to 100")
    wanted = query.get("status", "")
    if wanted not in _STATUSES or query.get("sort_order", "desc") not in ("asc", "desc"):
        return answers.error(400, "status is COMPLETED, FAILED or PENDING; sort_order is asc or desc")
    rows = [
        row
        for job in state.jobs.values()
        for row in _rows(request, job)
        if since <= job.created < until
        and query.get("model_name", "") in job.order.slug
        and wanted in ("", _model_status(job))
    ]
    key = query.get("sort_by", "model_created")
    if key not in _SORTABLE:
        return answers.error(400, f"sort_by is one of {', '.join(_SORTABLE)}")
    rows.sort(key=lambda row: row[key] or 0 if key == "credits_deduction" else row[key])
    if query.get("sort_order", "desc") == "desc":
        rows.reverse()
    body = {
        "data": rows[(page - 1) * per_page : page * per_page],
        "page": page,
        "per_page": per_page,
        "total": len(rows),
        "total_pages": math.ceil(len(rows) / per_page),
    }
    return await spoiled(request, fault, body)


async def history_row(request: web.Request) -> web.StreamResponse:
    """`GET /inference-request/request-history/{id}`: one row of the caller's own request, however old."""
    state = request.app[STATE]
    fault = state.faults.take("history-id")
    if (answer := await before(request, fault)) is not None:
        return answer
    job = state.jobs.get(request.match_info["request_id"])
    if job is None or job.member != state.member(request.headers.get("x-api-key")):
        return answers.error(404, f"Request {request.match_info['request_id']} not found")
    return await spoiled(request, fault, _rows(request, job)[-1])


def _window(first: str | None, last: str | None) -> tuple[float, float]:
    """The requested time span in Unix seconds. A date means the whole day, including the last. Default: 7 days."""
    last = last or datetime.now(UTC).date().isoformat()
    until = _moment(last) + timedelta(days=1 if _is_day(last) else 0)
    since = _moment(first) if first else until - timedelta(days=8)
    if until - since > timedelta(days=_HISTORY_DAYS):
        raise ValueError(f"the window may span at most {_HISTORY_DAYS} days")
    return since.timestamp(), until.timestamp()


def _is_day(text: str) -> bool:
    return len(text) == len("2026-01-01")


def _moment(text: str) -> datetime:
    if _is_day(text):
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _rows(request: web.Request, job: Job) -> list[dict[str, Any]]:
    """A request's rows: one per output, each with the full price; the image before or after the video."""
    urls = [media.video_url(request, job) if request.app[STATE].has_media(job) else None]
    if urls[0] and job.order.return_last_frame:
        urls.append(media.last_frame_url(request, job))
    rows = [
        {
            "request_id": job.request_id,
            "model_name": job.order.slug,
            "model_status": _model_status(job),
            "credits_deduction": job.cost if job.status == "COMPLETED" else None,
            "request_body": _shown_body(job, request.app[STATE].config.history_bodies),
            "generation_url": url,
            "latency_ms": None if job.running else round(job.total_seconds * 1000),
            "error": job.error,
            "model_created": answers.iso(job.created),
            "created_at": answers.iso(job.created),
            "updated_at": answers.iso(job.updated),
        }
        for url in urls
    ]
    return rows[:: 1 if job.number % 2 else -1]


def _shown_body(job: Job, notation: str) -> Any:
    """The request body, in one of the notations that were seen in history rows."""
    if notation == "mixed":
        notation = ("object", "json", "python")[job.number % 3]
    match notation:
        case "object":
            return job.body
        case "json":
            return json.dumps(job.body)
        case "python":
            return repr(job.body)
        case "hidden":
            return {name: "***" if "://" in str(value) else value for name, value in job.body.items()}
        case "cut":
            return json.dumps(job.body)[:60]
    return None


def _model_status(job: Job) -> str:
    """The history has three statuses (official client): a request that has not ended is PENDING."""
    return "PENDING" if job.running else job.status
