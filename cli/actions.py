"""What the commands do with a stack: upload an image, call the API, download a video."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import httpx
from botocore.exceptions import ClientError
from seedance import bounds
from seedance.jobs.job import Job, State, upload_job_id
from seedance.jobs.requests import UPLOAD_PREFIX, check_idempotency_key
from seedance.media import formats

from cli import images
from cli.images import Local
from cli.requests import Wish
from cli.target import CommandError, Target

API_IMAGES_PREFIX = "images/"
"""Where `seedance submit` uploads a local image. Under ``uploads/``, the image would start a job of its own."""

_S3 = re.compile(r"s3://([^/]+)/(.*[^/])", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_CHUNK = 1024 * 1024


def drop(target: Target, image: Local, wish: Wish) -> str:
    """Upload an image under ``uploads/``, with the request as its metadata. Returns the id of its future job."""
    bucket = target.output("UploadBucketName")
    key = UPLOAD_PREFIX + image.name
    with image.path.open("rb") as body:
        answer = target.client("s3").put_object(
            Bucket=bucket, Key=key, Body=body, ContentType=image.media_type, Metadata=wish.metadata()
        )
    if not answer.get("VersionId"):
        raise CommandError(
            f"{image.name} was uploaded, but the bucket is not versioned, so the id of its job is not known here; "
            "`seedance list` shows it"
        )
    return upload_job_id(bucket, key, answer["VersionId"])


def submit(target: Target, wish: Wish, image: str | None, idempotency_key: str | None) -> str:
    """Call ``POST /videos`` and return the job's id.

    The image is an address, an object in S3, or a file that is uploaded first.
    """
    if idempotency_key:
        check_idempotency_key(idempotency_key)  # before anything is uploaded: a header can't carry an invalid key
    given = _image(target, wish, image)
    headers = {"x-api-key": target.api_key}
    if idempotency_key:
        headers["Idempotency-Key"] = idempotency_key
    # A proxy from the user's environment must not be used for an address on this machine.
    with httpx.Client(timeout=30, trust_env=target.local is None) as client:
        answer = client.post(f"{target.output('ApiUrl')}/videos", json={**wish.body(), **given}, headers=headers)
    said = _json(answer)
    if answer.status_code != httpx.codes.ACCEPTED:
        raise CommandError(f"the API returned {answer.status_code}: {_complaint(said) or answer.text[:200]}")
    return str(said["job_id"])


def _image(target: Target, wish: Wish, image: str | None) -> dict[str, str]:
    """The image's field in the call's body, once the image is where the API finds it.

    Before that, the request is checked as the stack will check it.
    """
    if image is None:
        wish.call(target.defaults, {})
        return {}
    if _ADDRESS.match(image):
        wish.call(target.defaults, {"image": image})
        return {"image": image}
    if image.lower().startswith("s3://"):
        return {"image_key": _object_key(target, wish, image)}
    local = images.check_shape(images.look(Path(image)), any_shape=target.any_shape)
    with local.path.open("rb") as file:
        key = _key_of_its_own(hashlib.file_digest(file, "sha256").hexdigest(), local.name)
        wish.call(target.defaults, {"image_key": key})
        file.seek(0)
        target.client("s3").put_object(
            Bucket=target.output("UploadBucketName"), Key=key, Body=file, ContentType=local.media_type
        )
    return {"image_key": key}


def _object_key(target: Target, wish: Wish, address: str) -> str:
    """The key of an object in S3. If API calls may not use it where it is, it is copied first."""
    found = _S3.fullmatch(address)
    if not found:
        raise CommandError(f"--image must be s3://BUCKET/KEY, not {bounds.shown(address)}")
    bucket, key, uploads = found[1], found[2], target.output("UploadBucketName")
    if bucket == uploads and key.startswith(tuple(target.setting("ImageKeyPrefixes", API_IMAGES_PREFIX).split(","))):
        wish.call(target.defaults, {"image_key": key})
        return key
    name, s3 = key.rpartition("/")[2], target.client("s3")
    wish.call(target.defaults, {"image_key": f"{API_IMAGES_PREFIX}{name}"})
    try:
        about = s3.head_object(Bucket=bucket, Key=key)
        if about["ContentLength"] > formats.MAX_IMAGE_BYTES:
            limit = formats.MAX_IMAGE_BYTES // 2**20
            raise CommandError(f"{address} has {about['ContentLength']:,} bytes; at most {limit} MB are allowed")
        digest = hashlib.sha256(f"{bucket}/{key}/{about['ETag']}".encode()).hexdigest()
        ours = _key_of_its_own(digest, name)
        source = {"Bucket": bucket, "Key": key}
        # Tags are not copied: that would need more permissions, for both buckets.
        s3.copy_object(
            Bucket=uploads, Key=ours, CopySource=source, CopySourceIfMatch=about["ETag"], TaggingDirective="REPLACE"
        )
    except ClientError as error:
        raise CommandError(f"can't read {address}: {error.response['Error'].get('Message', error)}") from error
    return ours


def _key_of_its_own(digest: str, name: str) -> str:
    """A key for an image. Images of the same name don't overwrite each other, and the same image has the same key."""
    return f"{API_IMAGES_PREFIX}{digest[:12]}/{name}"


def check_video(job: Job) -> None:
    """Raise CommandError if the job has no video."""
    if job.state is not State.COMPLETED or not job.video:
        why = f": {job.error['message']}" if job.error else ""
        raise CommandError(f"job {job.job_id} has no video: it is {job.state.value}{why}")


def fetch(target: Target, job: Job, output: Path, *, force: bool = False) -> int:
    """Write the job's video to a file and return its size in bytes. On an error, no file is written.

    Raises CommandError, also if the file exists and ``force`` is not given.
    """
    check_video(job)
    if not output.parent.is_dir():
        raise CommandError(f"the folder {output.parent} does not exist; with a slash at its end, -o creates it")
    _check_free(output, force=force)
    beside = output.with_name(f".{output.name[:200]}.part")
    try:
        with beside.open("wb") as file:
            size = pour(target, job, file)
        _check_free(output, force=force)  # the download took a while
        beside.replace(output)
    finally:
        beside.unlink(missing_ok=True)
    return size


def pour(target: Target, job: Job, into: BinaryIO) -> int:
    """Write the job's video to an open file and return its size. Raises CommandError if it is not the stored video."""
    check_video(job)
    assert job.video  # noqa: S101 - checked above
    digest, size = hashlib.sha256(), 0
    body = target.client("s3").get_object(Bucket=job.video["bucket"], Key=job.video["key"])["Body"]
    for chunk in body.iter_chunks(_CHUNK):
        digest.update(chunk)
        size += into.write(chunk)
    into.flush()
    if digest.hexdigest() != job.video["sha256"]:
        raise CommandError(f"the video of job {job.job_id} has changed since it was stored: its SHA-256 differs")
    return size


def is_there(job: Job, file: Path) -> bool:
    """Whether a file is the job's video already."""
    if not job.video or not file.is_file() or file.stat().st_size != job.video["bytes"]:
        return False
    digest = hashlib.sha256()
    for chunk in _chunks(file):
        digest.update(chunk)
    return digest.hexdigest() == job.video["sha256"]


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _check_free(output: Path, *, force: bool) -> None:
    if output.is_dir():
        raise CommandError(f"{output} is a folder")
    if not force and (output.exists() or output.is_symlink()):
        raise CommandError(f"{output} exists; --force overwrites it")


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
