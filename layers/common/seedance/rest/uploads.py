"""POST /uploads: a form with which a program or a web page puts a file into the upload bucket, without AWS credentials.

S3 checks the form's signed policy: the exact key, the content type and the size (S3 API reference, "POST Policy"). No
key is under ``uploads/`` or ``batches/``, so an upload makes neither a job nor a batch by itself.
"""

import posixpath
import re
import secrets
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from seedance import bounds
from seedance.aws import checks, clients, fields
from seedance.batches.lines import MAX_BYTES
from seedance.clock import CLOCK, Clock
from seedance.config import settings
from seedance.errors import InvalidRequest
from seedance.jobs.budget import day_of
from seedance.jobs.prefixes import POSTED_IMAGES, SECRET_BYTES, STAGED
from seedance.media.formats import MAX_IMAGE_BYTES
from seedance.notices.job_message import iso

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FORM_SECONDS = 3600
"""An upper bound: a form signed by a function stops working when the function's credentials expire, after hours."""

LONGEST_NAME = 255
"""Characters of a file's name."""

_STEM_BYTES = 60
_NOT_IN_A_KEY = re.compile(r"[^0-9A-Za-z_]+")
"""Characters that S3's user guide advises against, and those that would have to be encoded in addresses."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class Kind(NamedTuple):
    """A kind of file: its folder, its content type and the most bytes that it may have."""

    folder: str
    content_type: str
    most_bytes: int


_JPEG = Kind(POSTED_IMAGES, "image/jpeg", MAX_IMAGE_BYTES)
KINDS: Mapping[str, Kind] = {
    "jpg": _JPEG,
    "jpeg": _JPEG,
    "png": Kind(POSTED_IMAGES, "image/png", MAX_IMAGE_BYTES),
    "webp": Kind(POSTED_IMAGES, "image/webp", MAX_IMAGE_BYTES),
    "csv": Kind(STAGED, "text/csv", MAX_BYTES),
    "jsonl": Kind(STAGED, "application/x-ndjson", MAX_BYTES),
}
"""What may be uploaded, by the ending of the file's name."""

BODY_FIELDS = ("name", "bytes")


class UploadForm(TypedDict):
    """A form for one file. Send it as multipart/form-data: all `fields`, then the file as the last field, `file`."""

    method: str
    """POST."""
    url: str
    """Where to send the form."""
    fields: dict[str, str]
    """The form's fields, unchanged. S3 refuses any other field, size or content type."""
    key: str
    """The file's key in the upload bucket. It is new for each form, and nobody can guess it."""
    content_type: str
    """The file's content type, which is also among the fields."""
    max_bytes: int
    """S3 refuses a larger file."""
    form_expires_at: str
    """When the form expires. It may expire earlier, after a few hours."""
    image_key: str | None
    """For an image: the value of `image_key` in POST /videos."""
    manifest_key: str | None
    """For a manifest: the value of `manifest_key` for a batch."""


@dataclass(frozen=True)
class Uploads:
    """The use case and its dependencies."""

    bucket: str
    client: "S3Client"
    clock: Clock = CLOCK

    def form(self, body: str | None) -> UploadForm:
        """A form for the file that a body describes. Raises InvalidRequest."""
        name, size = _described(body)
        kind = _kind(name)
        if size is not None and size > kind.most_bytes:
            limit = f"must be at most {kind.most_bytes} for {kind.content_type}, not {size}"
            raise InvalidRequest("bytes", limit, allowed=f"1 to {kind.most_bytes}")
        key = f"{kind.folder}{day_of(self.clock())}/{_stem(name)}-{secrets.token_hex(SECRET_BYTES)}{_ending(name)}"
        fixed = {"Content-Type": kind.content_type}
        bounded: list[Any] = ["content-length-range", size or 1, size or kind.most_bytes]
        made = self.client.generate_presigned_post(
            self.bucket, key, Fields=dict(fixed), Conditions=[fixed, bounded], ExpiresIn=FORM_SECONDS
        )
        image = kind.folder == POSTED_IMAGES
        return {
            "method": "POST",
            "url": made["url"],
            "fields": made["fields"],
            "key": key,
            "content_type": kind.content_type,
            "max_bytes": size or kind.most_bytes,
            "form_expires_at": iso(self.clock() + FORM_SECONDS) or "",
            "image_key": key if image else None,
            "manifest_key": None if image else key,
        }


def _described(body: str | None) -> tuple[str, int | None]:
    wanted = 'must be a JSON object, such as {"name": "red-shoe.jpg"}'
    try:
        given = bounds.read_json(body or "")
    except ValueError as error:
        raise InvalidRequest("body", f"{wanted}, but it {error}" if body else f"{wanted}, but it is empty") from None
    if not isinstance(given, dict):
        raise InvalidRequest("body", wanted)
    for field in given:
        if field not in BODY_FIELDS:
            what = f"is not a field of this call; allowed: {', '.join(BODY_FIELDS)}"
            raise InvalidRequest(field, what, allowed=BODY_FIELDS)
    name, size = given.get("name"), given.get("bytes")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or _CONTROL.search(name):
        raise InvalidRequest("name", f"must be a file's name of 1 to {LONGEST_NAME} characters, such as red-shoe.jpg")
    if size is None:
        return name, None
    if (whole := checks.whole(size, 1, sys.maxsize)) is None:
        raise InvalidRequest("bytes", "must be the number of the file's bytes, at least 1")
    return name, whole


def _kind(name: str) -> Kind:
    if (kind := KINDS.get(_ending(name)[1:])) is None:
        endings = [f".{ending}" for ending in KINDS]
        what = f"must end with {', '.join(endings[:-1])} or {endings[-1]}, not {bounds.shown(name)!r}"
        raise InvalidRequest("name", what, allowed=endings)
    return kind


def _ending(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


def _stem(name: str) -> str:
    """The readable part of a key: the file's name without folders and accents."""
    stem = posixpath.splitext(posixpath.basename(name.replace("\\", "/")))[0]
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return fields.cut(_NOT_IN_A_KEY.sub("-", plain), _STEM_BYTES).strip("-") or "file"


@cache
def uploads() -> Uploads:
    """The use case, configured for this stack."""
    return Uploads(settings().upload_bucket, clients.s3())
