"""Creates jobs: from an upload, an API call, a batch's row, or a provider request without a job. Pure."""

from typing import NotRequired, TypedDict, final

from seedance.jobs import catalogue, job, labels, reasons, requests, shapes
from seedance.jobs.defaults import Defaults
from seedance.jobs.job import ImageFacts, Job, ParameterValues, State


@final
class PlannedRow(TypedDict):
    """A valid row of a batch's plan, as a line of the plan's file."""

    row: int
    """Its number in the manifest, counted from 1."""
    columns: dict[str, str]
    """The passthrough values, by column name."""
    model: str
    transport: str
    parameters: ParameterValues
    image: ImageFacts | None
    notes: NotRequired[list[str]]
    metadata: NotRequired[dict[str, str]]
    """The user's own pairs, which come back with the job."""


def upload_job_id(upload: requests.Upload) -> str:
    """The id of the job of an upload."""
    return job.upload_job_id(upload.bucket, upload.key, upload.version)


def from_upload(upload: requests.Upload, defaults: Defaults) -> Job:
    """The job of an upload, before its image and its options are checked (see ``apply``)."""
    folder, name = requests.upload_name(upload.key)
    return Job(
        job_id=upload_job_id(upload),
        state=State.RECEIVED,
        source="upload",
        folder=folder,
        name=name,
        model=defaults.model,
        transport=defaults.transport,
        image={"bucket": upload.bucket, "key": upload.key, "version_id": upload.version_id},
    )


def from_call(job_id: str, request: requests.Request, fingerprint: str) -> Job:
    """The job of an API call. ``fingerprint`` distinguishes a repeated call from another one with the same key."""
    made = Job(
        job_id=job_id,
        state=State.RECEIVED,
        source="api",
        folder="api",
        name=request.name or requests.call_name(request.image_key, request.parameters.get("prompt")) or job_id,
        model=request.model.slug,
        transport=request.transport,
        fingerprint=fingerprint,
        metadata=request.metadata,
    )
    apply(made, request)
    return made


def from_row(batch: str, key: str, row: PlannedRow) -> Job:
    """The job of a row of a batch's plan, which plan has checked. ``key`` is the manifest's key."""
    folder, name = requests.upload_name(requests.batch_path(key).removeprefix(requests.BATCH_PREFIX))
    return Job(
        job_id=job.batch_job_id(batch, row["row"]),
        state=State.RECEIVED,
        source="batch",
        folder=folder,
        name=f"{name}-{row['row']}",
        model=row["model"],
        transport=row["transport"],
        parameters=row["parameters"],
        image=row["image"],
        notes=row.get("notes", []),
        metadata=labels.fitting(row.get("metadata", {}).items())[0],
        expected_seconds=catalogue.find(row["model"]).average_seconds,
        batch=batch,
        row=row["row"],
    )


def from_request(request_id: str, model: str, began: float) -> Job:
    """The job for a provider request that has none. The provider accepted it at the Unix time ``began``."""
    return Job(
        job_id=job.adopted_job_id(request_id),
        state=State.UNCERTAIN,
        source="adopted",
        name=request_id,
        folder="adopted",
        model=model,
        transport="v2",
        submitted_at=began,
        error=reasons.uncertain("A person is adopting this request.").error,
    )


def apply(made: Job, request: requests.Request, image: ImageFacts | None = None) -> None:
    """Copy a validated request, and the facts of its image in the bucket, into a new job."""
    request, made.notes = shapes.shaped(request, image)
    made.model = request.model.slug
    made.transport = request.transport
    made.image = image
    made.parameters = catalogue.seeded(request.parameters, made.job_id)
    made.expected_seconds = request.model.average_seconds
