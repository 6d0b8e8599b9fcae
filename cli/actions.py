"""What the commands do with a stack: upload an image, call the API, download a video."""

import hashlib
import re
import shlex
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import httpx
from botocore.exceptions import ClientError
from seedance import bounds
from seedance.errors import InvalidRequest
from seedance.jobs.job import Job, State, upload_job_id
from seedance.jobs.requests import UPLOAD_PREFIX, check_idempotency_key
from seedance.media import formats

from cli import images, sending
from cli.images import Local
from cli.requests import Wish
from cli.target import CommandError, Target, UsageError, usage

API_IMAGES_PREFIX = "images/"
"""Where `seedance submit` uploads a local image. Under ``uploads/``, the image would start a job of its own."""

_S3 = re.compile(r"s3://([^/]+)/(.*[^/])", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_CHUNK = 1024 * 1024


def drop(target: Target, image: Local, wish: Wish) -> str:
    """Upload an image under ``uploads/``, with the request as its metadata. Returns the id of its future job."""
    bucket = target.output("UploadBucketName")
    key = UPLOAD_PREFIX + image.name
    with sending.order(
        f"{image.name} may have been uploaded; then its video is made. Look for it with `seedance list` before you "
        "drop it again, which buys another video."
    ):
        answer = sending.put(
            sending.client(target),
            lambda: image.path.open("rb"),
            Bucket=bucket,
            Key=key,
            ContentType=image.media_type,
            Metadata=wish.metadata(),
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
    # One that is given is checked before anything is uploaded: a header can't carry an invalid one. Without one, a call
    # that gets no answer could not be repeated without buying a second video.
    with usage():
        key = uuid.uuid4().hex if idempotency_key is None else check_idempotency_key(idempotency_key)
    given = _image(target, wish, image)
    with sending.order(
        f"The video may have been requested. To find out without buying it twice, repeat the command with "
        f"--idempotency-key {shlex.quote(key)}"
    ):
        said = _post(target, "/videos", "job_id", {**wish.body(), **given}, {"Idempotency-Key": key})
    return str(said["job_id"])


def cancel_batch(target: Target, batch_id: str) -> dict[str, Any]:
    """Call ``POST /batches/{batch_id}/cancel`` and return the batch as it is then. Raises CommandError."""
    return _post(target, f"/batches/{batch_id}/cancel", "state")


def _post(
    target: Target, path: str, expected: str, body: object = None, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """Call the API. ``expected``: a field of every answer.

    Raises CommandError, and Unanswered if the call may have had an effect all the same.
    """
    headers = {"x-api-key": target.api_key, **(headers or {})}
    # A proxy from the user's environment must not be used for an address on this machine.
    with httpx.Client(timeout=30, trust_env=target.local is None) as client:
        answer = client.post(f"{target.output('ApiUrl')}{path}", json=body, headers=headers)
    said = _json(answer)
    if answer.is_success and expected in said:
        return said
    why = f"the API returned {answer.status_code}: {_complaint(said) or answer.text[:200]}"
    raise CommandError(why) if answer.is_client_error or answer.is_redirect else sending.Unanswered(why)


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
    if _SCHEME.match(image):  # a path would lose a slash of it in the error
        raise InvalidRequest(
            "image", f"must be a file, an http or https address, or s3://BUCKET/KEY, not {bounds.shown(image)!r}"
        )
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
        raise UsageError(f"--image must be s3://BUCKET/KEY, not {bounds.shown(address)}")
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
