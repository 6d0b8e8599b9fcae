"""What the commands do with a stack: upload an image, call the API, download a video."""

import hashlib
import re
from pathlib import Path
from typing import Any

import httpx
from seedance.jobs.job import Job, State, upload_job_id
from seedance.jobs.requests import UPLOAD_PREFIX, check_idempotency_key

from cli.requests import Wish, image_type, key_of
from cli.target import CommandError, Target

API_IMAGES_PREFIX = "images/"
"""Where `seedance submit` uploads a local image. Under ``uploads/``, the image would start a job of its own."""


def drop(target: Target, image: Path, kind: str, wish: Wish) -> str:
    """Upload an image under ``uploads/``, with the wish as its metadata. Returns the id of its future job."""
    bucket = target.output("UploadBucketName")
    key = key_of(UPLOAD_PREFIX, image)
    with image.open("rb") as body:
        answer = target.client("s3").put_object(
            Bucket=bucket, Key=key, Body=body, ContentType=kind, Metadata=wish.metadata()
        )
    if not answer.get("VersionId"):
        raise CommandError(
            f"{image.name} was uploaded, but the bucket is not versioned, so the id of its job is not known here; "
            "`seedance list` shows it"
        )
    return upload_job_id(bucket, key, answer["VersionId"])


def submit(target: Target, wish: Wish, image: str | None, idempotency_key: str | None) -> str:
    """Call ``POST /videos`` and return the job's id. The image is an address, or a file that is uploaded first."""
    body = wish.body()
    if idempotency_key:
        check_idempotency_key(idempotency_key)  # before anything is uploaded: a header can't carry an invalid key
    if image is None or re.match(r"https?://", image):
        wish.check(has_image=False)
        body |= {"image": image} if image else {}
    else:
        path = Path(image)
        kind = image_type(path)
        wish.check(has_image=True)
        key = key_of(API_IMAGES_PREFIX, path)
        with path.open("rb") as file:
            target.client("s3").put_object(
                Bucket=target.output("UploadBucketName"), Key=key, Body=file, ContentType=kind
            )
        body["image_key"] = key
    headers = {"x-api-key": target.api_key}
    if idempotency_key:
        headers["Idempotency-Key"] = idempotency_key
    # A proxy from the user's environment must not be used for an address on this machine.
    with httpx.Client(timeout=30, trust_env=target.local is None) as client:
        answer = client.post(f"{target.output('ApiUrl')}/videos", json=body, headers=headers)
    said = _json(answer)
    if answer.status_code != httpx.codes.ACCEPTED:
        raise CommandError(f"the API returned {answer.status_code}: {_complaint(said) or answer.text[:200]}")
    return str(said["job_id"])


def fetch(target: Target, job: Job, output: Path) -> int:
    """Write the job's video to a file and return its size in bytes. On an error, no file is written."""
    if job.state is not State.COMPLETED or not job.video:
        why = f": {job.error['message']}" if job.error else ""
        raise CommandError(f"job {job.job_id} has no video: it is {job.state.value}{why}")
    if not output.parent.is_dir():
        raise CommandError(f"the folder {output.parent} does not exist")
    beside = output.with_name(f".{output.name}.part")
    digest = hashlib.sha256()
    size = 0
    try:
        body = target.client("s3").get_object(Bucket=job.video["bucket"], Key=job.video["key"])["Body"]
        with beside.open("wb") as file:
            for chunk in body.iter_chunks(1024 * 1024):
                digest.update(chunk)
                size += file.write(chunk)
        if digest.hexdigest() != job.video["sha256"]:
            raise CommandError(f"the video of job {job.job_id} has changed since it was stored: its SHA-256 differs")
        beside.replace(output)
    finally:
        beside.unlink(missing_ok=True)
    return size


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _complaint(said: dict[str, Any]) -> str:
    """The sentence in a refusal: of the API, or of a gateway that answers in its own way."""
    error = said.get("error")
    told = error.get("message") if isinstance(error, dict) else error
    return str(said.get("detail") or told or said.get("message", ""))
