"""A batch's files in the upload bucket: the manifest, the plan, the report and the results.

All are read and written in chunks, so memory does not grow with the number of rows.
"""

import json
from collections.abc import Iterator
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError

from seedance.aws import clients
from seedance.batches import plan_lines
from seedance.batches.plan_lines import PlanLine
from seedance.config import settings
from seedance.media.buckets import PART_BYTES, refusal
from seedance.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

READ_BYTES = 64 * 1024
LINK_SECONDS = 12 * 3600
"""An upper bound: a link signed by a function stops working when the function's credentials expire, after hours."""


class Sheets:
    """Reads and writes the files of batches in the upload bucket."""

    def __init__(self, bucket: str, client: "S3Client") -> None:
        self.bucket = bucket
        self._client = client

    def manifest(self, key: str, version_id: str | None) -> Iterator[bytes]:
        """The manifest's bytes, in chunks. Raises InvalidRequest if it no longer exists."""
        where = {"VersionId": version_id} if version_id else {}
        try:
            body = self._client.get_object(Bucket=self.bucket, Key=key, **where)["Body"]  # type: ignore[arg-type]
        except ClientError as error:
            raise refusal(error, "manifest", key) from error
        with body:
            yield from body.iter_chunks(READ_BYTES)

    def rows(self, key: str, first: int, end: int) -> Iterator[PlanLine]:
        """The rows of a plan from byte ``first`` up to ``end``. Rows that can't be read are logged and skipped."""
        if first == end:
            return
        body = self._client.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={first}-{end - 1}")["Body"]
        with body:
            rest = b""
            for chunk in body.iter_chunks(READ_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from filter(None, (_row(key, line) for line in lines))

    def write(self, key: str) -> "Sheet":
        """A file to write, as a context manager. If the context ends with an exception, no file is created."""
        return Sheet(self._client, self.bucket, key)

    def link(self, key: str) -> dict[str, str]:
        """A file's bucket and key, with a signed link to it."""
        where = {"Bucket": self.bucket, "Key": key}
        url = self._client.generate_presigned_url("get_object", Params=where, ExpiresIn=LINK_SECONDS)
        return {"bucket": self.bucket, "key": key, "url": url}


class Sheet:
    """A file that is being written: in one request if it is short, otherwise in parts of PART_BYTES."""

    def __init__(self, client: "S3Client", bucket: str, key: str) -> None:
        self.size = 0
        """Bytes written so far. If nothing is written, no file is created."""
        self._client = client
        kind = "application/x-ndjson" if key.endswith(".jsonl") else "text/csv; charset=utf-8"
        self._about: Any = {"Bucket": bucket, "Key": key, "ContentType": kind}
        self._where: Any = {"Bucket": bucket, "Key": key}
        self._held = bytearray()
        self._parts: list[Any] = []
        self._upload_id = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        except BaseException:
            self._abort()
            raise
        if kind is not None:
            self._abort()

    def write(self, line: bytes) -> None:
        """Append to the file."""
        self._held += line
        self.size += len(line)
        if len(self._held) >= PART_BYTES:
            self._send_part()

    def _send_part(self) -> None:
        if not self._upload_id:
            self._upload_id = self._client.create_multipart_upload(**self._about)["UploadId"]
            self._where["UploadId"] = self._upload_id
        number = len(self._parts) + 1
        answer = self._client.upload_part(**self._where, PartNumber=number, Body=bytes(self._held))
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        self._held.clear()

    def _finish(self) -> None:
        if not self._upload_id:
            if self._held:
                self._client.put_object(**self._about, Body=bytes(self._held))
            return
        if self._held:
            self._send_part()
        self._client.complete_multipart_upload(**self._where, MultipartUpload={"Parts": self._parts})

    def _abort(self) -> None:
        # The parts of an unfinished upload are billed until it is aborted.
        if self._upload_id:
            self._client.abort_multipart_upload(**self._where)


def _row(key: str, line: bytes) -> PlanLine | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if (bad := plan_lines.planned_row(row)) is None:
        checked: PlanLine = row
        return checked
    number = row.get("row") if isinstance(row, dict) else None
    logger().error("a plan's row is left out", extra={"plan": key, "row": str(number)[:20], "field": bad})
    return None


@cache
def sheets() -> Sheets:
    """The stack's upload bucket."""
    return Sheets(settings().upload_bucket, clients.s3())
