"""Jobs as the API shows them."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypedDict

from seedance.jobs.budget import day_of
from seedance.jobs.job import ErrorFacts, Hold, Job, ParameterValues, Retry, State
from seedance.notices.job_message import NotifiedVideo, VideoLinks, iso, job_notification

if TYPE_CHECKING:
    from seedance.jobs.by_month import ListedJob

ROUND_SECONDS = 300
"""Reconcile, which releases held jobs, runs every five minutes."""

PERSON_SECONDS = 3600
"""How long to wait before asking again about a job that waits for a person's decision."""


class BatchRow(TypedDict):
    """The batch of a job, and the job's row in its manifest, counted from 1."""

    batch_id: str
    row: int | None


class UsedImage(TypedDict):
    """A job's image in the upload bucket."""

    bucket: str
    key: str
    version_id: str | None


class RetryView(TypedDict):
    """A retry that a call requested."""

    asked_at: str
    pay: bool
    """Whether the video may be bought again."""
    max_usd: float | None
    """The most that its estimate may be. null: the day's budget is the only limit."""
    ended_at: str | None
    """When it was carried out, or found impossible. null while it is pending."""
    said: str | None
    """Its outcome, in words."""
    estimate_usd: float | None
    """If the video would have to be bought again: about what it would cost."""


class Video(TypedDict):
    """A job, which makes one video."""

    job_id: str
    state: State
    transport: str
    parameters: ParameterValues
    """Validated, with defaults, under the provider's names. An image in the bucket is not included; see `image`."""
    request_id: str | None
    """The provider's request, once it has accepted one."""
    created_at: str
    submitted_at: str | None
    updated_at: str
    expected_seconds: float
    """The mean duration of making such a video."""
    model: str
    source: str
    """upload, api, batch or adopted."""
    batch: BatchRow | None
    name: str
    """The video's file name for downloads, without extension."""
    metadata: dict[str, str]
    """The caller's own names and values."""
    image: UsedImage | None
    prompt: str | None
    notes: list[str]
    """What the pipeline decided or noticed, in words for people: a chosen aspect ratio, a very large image."""
    video: NotifiedVideo | None
    """The video and the links to it, once the state is COMPLETED."""
    cost_usd: float | None
    timings: dict[str, float]
    """How long each stage took, in seconds."""
    error: ErrorFacts | None
    """Why the job is in this state, if there is a reason to give."""
    retry: RetryView | None
    """The last retry that a call requested."""


class ListedVideo(TypedDict):
    """A job in a list. GET /videos/{job_id} has the rest, with the link to its video."""

    job_id: str
    state: State
    model: str
    source: str
    batch: BatchRow | None
    name: str
    metadata: dict[str, str]
    """The caller's own names and values."""
    created_at: str
    updated_at: str
    cost_usd: float | None
    error: ErrorFacts | None


def describe(job: Job, links: VideoLinks | None) -> Video:
    """A job as the API returns it: the notification's fields, plus those that only an unfinished job has."""
    message = job_notification(job, links)
    return {
        "job_id": job.job_id,
        "state": job.state,
        "transport": job.transport,
        "parameters": job.parameters,
        "request_id": job.request_id,
        "created_at": _moment(job.created_at),
        "submitted_at": iso(job.submitted_at),
        "updated_at": _moment(job.updated_at),
        "expected_seconds": job.expected_seconds,
        "model": job.model,
        "source": job.source,
        "batch": _batch(job.batch, job.row),
        "name": job.name,
        "metadata": job.metadata,
        "image": _image(job),
        "prompt": message["prompt"],
        "notes": job.notes,
        "video": message["video"] if job.state is State.COMPLETED else None,
        "cost_usd": job.cost_usd,
        "timings": message["timings"],
        "error": job.error,
        "retry": _retry(job.retry),
    }


def listed(job: "ListedJob") -> ListedVideo:
    """A job of a list."""
    return {
        "job_id": job["job_id"],
        "state": job["state"],
        "model": job["model"],
        "source": job["source"],
        "batch": _batch(job["batch"], job["row"]),
        "name": job["name"],
        "metadata": job["metadata"],
        "created_at": _moment(job["created_at"]),
        "updated_at": _moment(job["updated_at"]),
        "cost_usd": job["cost_usd"],
        "error": job["error"],
    }


def retry_after(job: Job, now: float) -> dict[str, str]:
    """The header ``Retry-After`` for a HELD job: seconds until it may continue. Empty for any other job."""
    if job.state is not State.HELD:
        return {}
    match job.code:
        case Hold.BUDGET:
            today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            tomorrow = (today + timedelta(days=1)).timestamp() - now
            held_today = job.held_day in (None, day_of(now))
            seconds = ROUND_SECONDS + (int(tomorrow) if held_today else 0)
        case Hold.PAUSED:
            seconds = ROUND_SECONDS
        case _:
            seconds = PERSON_SECONDS
    return {"Retry_After": str(seconds)}


def _batch(batch: str | None, row: int | None) -> BatchRow | None:
    return {"batch_id": batch, "row": row} if batch else None


def _image(job: Job) -> UsedImage | None:
    if not job.image:
        return None
    return {"bucket": job.image["bucket"], "key": job.image["key"], "version_id": job.image.get("version_id")}


def _retry(asked: Retry | None) -> RetryView | None:
    if asked is None:
        return None
    return {
        "asked_at": _moment(asked["asked_at"]),
        "pay": asked["pay"],
        "max_usd": asked.get("max_usd"),
        "ended_at": iso(asked.get("ended_at")),
        "said": asked.get("said"),
        "estimate_usd": asked.get("estimate_usd"),
    }


def _moment(seconds: float) -> str:
    return iso(seconds) or ""
