"""The manifest of a video: a JSON file beside it that says how it was made. Pure.

It is for those who have the files and not the table: an archive, a catalogue, an auditor. What changes after the video
was stored, such as a price that is found later, is only in the record.
"""

from dataclasses import replace
from typing import Any, TypedDict

import seedance
from seedance import masking
from seedance.aws import fields
from seedance.jobs.job import Job, ParameterValues, State, VideoFacts
from seedance.notices.job_message import iso

FORMAT = 1
"""Releases add fields without changing it."""

_MOST_BYTES = 1024 * 1024
"""More than a record can have, so nothing is cut."""


class Versions(TypedDict):
    """What wrote the file: the format of this file, and the release of the pipeline."""

    manifest: int
    pipeline: str


class DescribedVideo(TypedDict):
    """The file that the manifest is about. ``sha256`` is of what was stored: the bytes are hashed as they are sent."""

    bucket: str
    key: str
    bytes: int
    sha256: str
    content_type: str
    last_frame_key: str | None


class VideoManifest(TypedDict):
    """The manifest. Its shape is a contract, checked by a test. Times are ISO 8601 in UTC."""

    ai_generated: bool
    """Always true."""
    versions: Versions
    job_id: str
    name: str
    source: str
    """upload, api, batch or adopted."""
    batch: dict[str, str | int | None] | None
    image: dict[str, str | None] | None
    """The first image, if it is in the upload bucket. Other images are among the parameters, by their addresses."""
    model: str
    transport: str
    prompt: str | None
    seed: int | None
    """None if the provider chose one, which it does not report."""
    parameters: ParameterValues
    """Those that were sent, under the provider's names. Signatures in addresses are masked."""
    request_id: str | None
    video: DescribedVideo
    cost_usd: float | None
    """As reported with the video. None if it was not."""
    created_at: str | None
    submitted_at: str | None
    stored_at: str | None
    """When this was written."""
    timings: dict[str, float]
    """How long each stage took until then, in seconds."""
    notes: list[str]
    metadata: dict[str, str]
    """The caller's own names and values."""


def manifest_key(video_key: str) -> str:
    """The key of a video's manifest."""
    return f"{video_key.removesuffix('.mp4')}.json"


def video_manifest(job: Job, video: VideoFacts, now: float) -> VideoManifest:
    """The manifest of the job's video, which has just been stored."""
    image = None
    if job.image:
        version_id = job.image.get("version_id")
        image = {"bucket": job.image["bucket"], "key": job.image["key"], "version_id": version_id}
    seed = job.parameters.get("seed")
    return {
        "ai_generated": True,
        "versions": {"manifest": FORMAT, "pipeline": seedance.__version__},
        "job_id": job.job_id,
        "name": job.name,
        "source": job.source,
        "batch": {"batch_id": job.batch, "row": job.row} if job.batch else None,
        "image": image,
        "model": job.model,
        "transport": job.transport,
        "prompt": job.parameters.get("prompt"),
        "seed": seed if isinstance(seed, int) and seed >= 0 else None,
        "parameters": _masked(job.parameters),
        "request_id": job.request_id,
        "video": {
            "bucket": video["bucket"],
            "key": video["key"],
            "bytes": video["bytes"],
            "sha256": video["sha256"],
            "content_type": "video/mp4",
            "last_frame_key": video.get("last_frame_key"),
        },
        "cost_usd": job.cost_usd,
        "created_at": iso(job.created_at),
        "submitted_at": iso(job.submitted_at),
        "stored_at": iso(now),
        "timings": replace(job, entered={**job.entered, State.COMPLETED: now}).timings(),
        "notes": job.notes,
        "metadata": job.metadata,
    }


def file_of(manifest: VideoManifest) -> bytes:
    """The manifest as a file. Never raises, whatever the record contains."""
    return fields.json_text(manifest, _MOST_BYTES).encode()


def _masked(value: Any) -> Any:
    """The value with the signatures of addresses masked, because the file may be handed on with the video."""
    match value:
        case str():
            # Only then, because the first time it compiles patterns, which takes longer than all else here.
            return masking.signatures(value) if "://" in value and "?" in value else value
        case list():
            return [_masked(inner) for inner in value]
        case dict():
            return {name: _masked(inner) for name, inner in value.items()}
    return value
