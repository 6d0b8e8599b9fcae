"""S3: checks uploads, signs links, stores videos."""

import base64
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from seedance.aws import clients, fields
from seedance.aws.upload import Upload
from seedance.config import settings
from seedance.errors import InvalidRequest, NotAVideo, SourceUnavailable, UnusableImage
from seedance.jobs.job import ImageFacts, VideoFacts
from seedance.media import formats, images, mp4, signed
from seedance.media.formats import MAX_IMAGE_BYTES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

IMAGE_LINK_SECONDS = 2 * 3600
"""The provider downloads an image when it starts the job, which may be delayed by its queue. A job expires an hour
after its submission."""

VIDEO_LINK_SECONDS = 12 * 3600
"""An upper bound: a link signed by a function stops working when the function's credentials expire, after hours."""

_ARCHIVES = "S3 Glacier or an archive tier of Intelligent-Tiering"
_PLAIN = "upload it with the bucket's default encryption"


@dataclass(frozen=True)
class Image:
    """An image in a bucket, its size in bytes, and its metadata."""

    bucket: str
    key: str
    version_id: str | None
    picture: images.Picture
    size: int
    metadata: dict[str, str]

    @property
    def facts(self) -> ImageFacts:
        """What a job keeps of its image."""
        facts: ImageFacts = {
            "bucket": self.bucket,
            "key": self.key,
            "version_id": self.version_id,
            "content_type": self.picture.media_type,
            "bytes": self.size,
            "width": self.picture.width,
            "height": self.picture.height,
        }
        if self.picture.turned:
            facts["shown"] = "{}x{}".format(*self.picture.shown)
        return facts


@dataclass(frozen=True)
class Stored:
    """A stored file: its length in bytes and its SHA-256 in hex."""

    size: int
    sha256: str

    def facts(self, bucket: str, key: str) -> VideoFacts:
        """What a job's record says of its video."""
        return {"bucket": bucket, "key": key, "bytes": self.size, "sha256": self.sha256}


class Media:
    """The upload bucket and the video bucket. ``any_shape``: accept images of every size and shape."""

    def __init__(self, video_bucket: str, client: "S3Client", *, any_shape: bool = False) -> None:
        self.video_bucket = video_bucket
        self._client = client
        self._any_shape = any_shape

    def look_at(self, bucket: str, key: str, version_id: str | None) -> Image:
        """Check an uploaded image, reading only as much as needed to know that it is complete. Nothing of it is kept.

        Raises InvalidRequest if it does not exist, and UnusableImage if it is empty, too large or cut off, or is not an
        image.
        """
        from seedance.jobs.requests import check_key  # noqa: PLC0415 - loads the catalogue, which finalize does not need

        check_key(key)
        found = self._open(bucket, key, version_id)
        about = found.get("Metadata", {})
        try:
            picture = self._look_through(found, key)
            # Send the version that was checked, even if the object is overwritten in the meantime.
            version_id = version_id or found.get("VersionId")
            if not picture.ended:
                self._look_at_rest(picture, bucket, key, version_id)
        except InvalidRequest as refused:
            raise UnusableImage(refused, about) from refused.__cause__
        return Image(bucket, key, version_id, picture, found["ContentLength"], about)

    def _look_through(self, found: "GetObjectOutputTypeDef", key: str) -> images.Picture:
        size = found["ContentLength"]
        # closing(), because the body's own `with` gives the raw stream, which ends silently if the connection drops.
        with closing(found["Body"]) as body:
            if size == 0:
                raise InvalidRequest("image", f"{key} is empty")
            if size > MAX_IMAGE_BYTES:
                limit = MAX_IMAGE_BYTES // 1024 // 1024
                raise InvalidRequest("image", f"{key} has {size:,} bytes; at most {limit} MB are allowed")
            try:
                picture = images.look_through(body, size)
                if not self._any_shape:
                    images.check_shape(picture)
            except ValueError as error:
                raise InvalidRequest("image", f"{key} {error}") from error
        return picture

    def _look_at_rest(self, picture: images.Picture, bucket: str, key: str, version_id: str | None) -> None:
        with closing(self._open(bucket, key, version_id)["Body"]) as body:
            try:
                images.check_rest(picture, body.read())
            except ValueError as error:
                raise InvalidRequest("image", f"{key} {error}") from error

    def _open(self, bucket: str, key: str, version_id: str | None) -> "GetObjectOutputTypeDef":
        try:
            return self._client.get_object(**_object(bucket, key, version_id))
        except ClientError as error:
            raise refusal(error, "image", key) from error

    def is_still_empty(self, bucket: str, key: str, version_id: str | None) -> bool:
        """Whether this version of an object is the latest one, and empty. False if the object was deleted."""
        try:
            found = self._client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return False
            raise
        # Without versioning there is no version id, or it is "null".
        return found["ContentLength"] == 0 and version_id in (None, found.get("VersionId"))

    def version_before(self, bucket: str, key: str, version_id: str, *, readable: bool = True) -> str | None:
        """The version before this one if it has the same content, else None.

        ``readable``: whether the content may be read. If not, an object that was uploaded in parts counts as equal to
        another one of its size.
        """
        return self._neighbour(bucket, key, version_id, 1, readable=readable)

    def version_after(self, bucket: str, key: str, version_id: str) -> str | None:
        """The version after this one if it has the same content, else None."""
        return self._neighbour(bucket, key, version_id, -1, readable=True)

    def _neighbour(self, bucket: str, key: str, version_id: str, step: int, *, readable: bool) -> str | None:
        listed = self._client.list_object_versions(Bucket=bucket, Prefix=key, MaxKeys=100).get("Versions", [])
        ours = [one for one in listed if one["Key"] == key]  # latest first
        at = next((number for number, one in enumerate(ours) if one["VersionId"] == version_id), len(ours))
        if not 0 <= at + step < len(ours):
            return None
        pair = ours[at], ours[at + step]
        if pair[0]["Size"] != pair[1]["Size"]:
            return None
        tags, versions = ([one[name] for one in pair] for name in ("ETag", "VersionId"))
        # The ETags of equal content differ if it was uploaded in parts ("...-2"), or is encrypted with a KMS key.
        same = tags[0] == tags[1] or (not readable and any("-" in tag for tag in tags))
        if not same and readable:
            same = len({self._digest(bucket, key, version) for version in versions}) == 1
        return versions[1] if same else None

    def metadata_of(self, bucket: str, key: str, version_id: str) -> dict[str, str]:
        """A version's user metadata. Raises InvalidRequest if it no longer exists."""
        try:
            return self._client.head_object(Bucket=bucket, Key=key, VersionId=version_id).get("Metadata", {})
        except ClientError as error:
            raise refusal(error, "image", key) from error

    def _digest(self, bucket: str, key: str, version_id: str) -> bytes:
        digest = hashlib.sha256()
        with closing(self._open(bucket, key, version_id)["Body"]) as body:
            for chunk in iter(lambda: body.read(256 * 1024), b""):
                digest.update(chunk)
        return digest.digest()

    def find_image(self, bucket: str, key: str, prefixes: tuple[str, ...] = ("",), folder: str = "") -> Image:
        """Check an image like ``look_at``, whose key a person or a program has written.

        Accents can be written in two ways (Unicode NFC and NFD) that look the same and make different keys. If there is
        no object under the key as given, the others are tried, if they begin with one of ``prefixes``. If ``folder`` is
        given, the key is looked for in it first. Raises InvalidRequest.
        """
        keys = [key, *_other_spellings(key, prefixes)]
        if folder and len(f"{folder}{key}".encode()) <= fields.OBJECT_KEY_BYTES:
            keys = [folder + key, *_other_spellings(folder + key, prefixes), *keys]
        missing: dict[str, InvalidRequest] = {}
        for one in keys:
            try:
                return self.look_at(bucket, one, None)
            except InvalidRequest as refused:
                if not _means_missing(refused):
                    raise
                missing[one] = refused
        raise missing[key]

    def image_link(self, image: ImageFacts, job_id: str) -> str:
        """A signed link to a job's image, valid for IMAGE_LINK_SECONDS.

        The job's id is part of the signed query, so that the link in the provider's history names the job.
        """
        return self._client.generate_presigned_url(
            "get_object",
            Params={
                **_object(image["bucket"], image["key"], image.get("version_id")),
                "ResponseContentType": image["content_type"],
                "ResponseContentDisposition": f'inline; filename="{job_id}"',
            },
            ExpiresIn=IMAGE_LINK_SECONDS,
        )

    def image_base64(self, image: ImageFacts) -> str:
        """A job's complete image as base64. Raises InvalidRequest if it no longer exists, or is another one by now."""
        found = self._open(image["bucket"], image["key"], image.get("version_id"))
        with closing(found["Body"]) as body:
            if found["ContentLength"] > MAX_IMAGE_BYTES:  # possible in a bucket without versions
                raise InvalidRequest("image", f"{image['key']} was replaced with a file that is too large")
            return base64.b64encode(body.read()).decode()

    def video_link(self, key: str, name: str, *, download: bool = False) -> str:
        """A signed link to a video, which a browser plays or, with ``download``, saves under its name."""
        return signed.video_link(self._client, self.video_bucket, key, name, VIDEO_LINK_SECONDS, download=download)

    def frame_link(self, key: str, name: str) -> str:
        """A signed link to a video's last frame, which a browser shows."""
        return signed.frame_link(self._client, self.video_bucket, key, name, VIDEO_LINK_SECONDS)

    def store_video(
        self,
        chunks: Iterable[bytes],
        key: str,
        *,
        name: str,
        metadata: Mapping[str, str | None],
        framed: bool = False,
    ) -> Stored:
        """Stream a video into the bucket as ``key``. No object is created unless it is a complete MP4.

        ``name`` is the file name that a browser uses for a download. ``framed``: the end of ``chunks`` is certainly
        that of the file (see Mp4Check.finish). Memory use is limited to two parts for a video of any length. Raises
        NotAVideo, or whatever reading ``chunks`` raises.
        """
        check = mp4.Mp4Check()

        def checked() -> Iterator[bytes]:
            try:
                for chunk in chunks:
                    check.feed(chunk)
                    yield chunk
                check.finish(framed=framed)
            except ValueError as error:
                raise NotAVideo(f"the result is not a complete MP4: {error}") from error

        return self._store(checked(), key, content_type=signed.VIDEO_TYPE, name=(name, ".mp4"), metadata=metadata)

    def store_frame(self, chunks: Iterable[bytes], stem: str, *, name: str) -> str | None:
        """Store the last frame that a model returned with its video. Returns its key, or None if it is not an image."""
        body = b"".join(_at_most(chunks, MAX_IMAGE_BYTES))
        media_type = formats.image_type(body)
        if media_type is None:
            return None
        extension = media_type.removeprefix("image/").replace("jpeg", "jpg")
        key = f"{stem}-last-frame.{extension}"
        self._store(iter([body]), key, content_type=media_type, name=(name, key.removeprefix(stem)), metadata={})
        return key

    def store_manifest(self, body: bytes, key: str, *, name: str) -> None:
        """Store a video's manifest. It replaces one that an earlier run has written."""
        self._store(iter([body]), key, content_type="application/json", name=(name, ".json"), metadata={})

    def _store(
        self,
        chunks: Iterator[bytes],
        key: str,
        *,
        content_type: str,
        name: tuple[str, str],
        metadata: Mapping[str, str | None],
    ) -> Stored:
        digest = hashlib.sha256()
        with Upload(
            self._client,
            self.video_bucket,
            key,
            ContentType=content_type,
            ContentDisposition=fields.disposition("attachment", *name),
            Metadata=fields.metadata(metadata),
        ) as upload:
            for chunk in chunks:
                digest.update(chunk)
                upload.write(chunk)
        return Stored(upload.size, digest.hexdigest())


def _at_most(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    count = 0
    for chunk in chunks:
        count += len(chunk)
        if count > limit:
            raise SourceUnavailable(f"the last frame is larger than {limit:,} bytes")
        yield chunk


def _object(bucket: str, key: str, version_id: str | None) -> Any:
    where = {"Bucket": bucket, "Key": key}
    return {**where, "VersionId": version_id} if version_id else where


def _other_spellings(key: str, prefixes: tuple[str, ...]) -> list[str]:
    forms = {unicodedata.normalize("NFC", key), unicodedata.normalize("NFD", key)} - {key}
    valid = [form for form in forms if form.startswith(prefixes) and len(form.encode()) <= fields.OBJECT_KEY_BYTES]
    return sorted(valid, key=len)  # NFC first


def _means_missing(refused: InvalidRequest) -> bool:
    return isinstance(refused.__cause__, ClientError) and _is_missing(refused.__cause__)


def _is_missing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed", "405")


def refusal(error: ClientError, field: str, key: str) -> Exception:
    """InvalidRequest if S3 can't return the object in its present state, which the uploader can correct.

    Any other error is a problem on our side and is returned unchanged: a role or bucket policy that denies access
    would otherwise reject every upload.
    """
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if _is_missing(error):
        return InvalidRequest(field, f"{key} is not in the bucket (any more)")
    if code == "InvalidObjectState":
        return InvalidRequest(field, f"{key} is archived ({_ARCHIVES}); restore it or upload it again")
    if code == "InvalidRequest" and "encryption" in message.lower():
        return InvalidRequest(
            field, f"{key} is encrypted with your own key (SSE-C), so the pipeline can't read it; {_PLAIN}"
        )
    if code.upper().startswith("KMS") or (code == "AccessDenied" and re.search(r"kms:|ciphertext", message, re.I)):
        return InvalidRequest(field, f"{key} is encrypted with a KMS key that the pipeline may not use; {_PLAIN}")
    return error


@cache
def media() -> Media:
    """The stack's buckets."""
    return Media(settings().video_bucket, clients.s3(), any_shape=settings().allow_unusual_images)
