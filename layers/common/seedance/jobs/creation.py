"""Creates jobs: from an upload, an API call, a batch's row, or a provider request without a job. Pure."""

from dataclasses import replace
from typing import NotRequired, TypedDict, final

from seedance.jobs import catalogue, job, prices, reasons, requests
from seedance.jobs.job import ImageFacts, Job, ParameterValues, State

LARGE_SIDE = 6000
"""The longest side that ByteDance documents. The provider does not mention it (decision of 2026-11-21)."""


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


def upload_job_id(upload: requests.Upload) -> str:
    """The id of the job of an upload."""
    return job.upload_job_id(upload.bucket, upload.key, upload.version)


def from_upload(upload: requests.Upload, defaults: requests.Defaults) -> Job:
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
        name=job_id,
        model=request.model.slug,
        transport=request.transport,
        fingerprint=fingerprint,
    )
    apply(made, request)
    return made


def from_row(batch: str, key: str, row: PlannedRow) -> Job:
    """The job of a row of a batch's plan, which plan has checked. ``key`` is the manifest's key."""
    folder, name = requests.upload_name(key.removeprefix(requests.BATCH_PREFIX))
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
    request, made.notes = shaped(request, image)
    made.model = request.model.slug
    made.transport = request.transport
    made.image = image
    made.parameters = catalogue.seeded(request.parameters, made.job_id)
    made.expected_seconds = request.model.average_seconds


def shaped(request: requests.Request, image: ImageFacts | None) -> tuple[requests.Request, list[str]]:
    """The request with the shape of its picture, unless it asks for a ratio, and notes about the picture.

    By default the provider makes 16:9, which crops most product pictures.
    """
    notes: list[str] = []
    sides = _shown(image)
    if sides and max(sides) > LARGE_SIDE:
        notes.append(f"The image is {sides[0]} x {sides[1]} pixels; above {LARGE_SIDE} a side it may be scaled down.")
    ratio = request.parameters["aspect_ratio"]
    if request.ratio_given or not request.has_image:
        return request, notes
    if ratio == prices.ADAPTIVE:
        notes.append("aspect_ratio is adaptive, so the video has the shape of the image.")
    elif sides:
        ratio = catalogue.ratio_for(request.model, sides)
        notes.append(f"aspect_ratio is {ratio}, the nearest to the image of {sides[0]} x {sides[1]} pixels.")
    else:
        notes.append(f"aspect_ratio is {ratio}, the default: the size of an image at an address is not known.")
    return replace(request, parameters={**request.parameters, "aspect_ratio": ratio}), notes


def _shown(image: ImageFacts | None) -> tuple[int, int] | None:
    if image is None or "width" not in image or "height" not in image:
        return None
    if shown := image.get("shown"):
        width, _, height = shown.partition("x")
        return int(width), int(height)
    return image["width"], image["height"]
