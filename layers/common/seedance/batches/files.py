"""A batch's files in the upload bucket: the manifest, the plan, the report and the results.

All are read and written in chunks, so memory does not grow with the number of rows.
"""

import tempfile
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from seedance import bounds
from seedance.aws import clients
from seedance.aws.upload import Upload
from seedance.batches import plan_lines
from seedance.batches.lines import MAX_BYTES, too_large
from seedance.batches.links import SheetLinks
from seedance.batches.plan_lines import PlanLine
from seedance.config import settings
from seedance.jobs import requests
from seedance.media.buckets import refusal
from seedance.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

READ_BYTES = 64 * 1024
HELD_BYTES = 8 * 1024 * 1024
"""A longer manifest is kept in a file while its rows are checked. template.yaml gives plan enough room for it."""


class Sheets:
    """Reads and writes the files of batches in the upload bucket."""

    def __init__(self, bucket: str, client: "S3Client") -> None:
        self.bucket = bucket
        self._client = client
        self._links = SheetLinks(bucket, client)

    def manifest(self, key: str, version_id: str | None) -> Iterator[bytes]:
        """The manifest's bytes, in chunks. It is read completely before the first one is returned.

        Its rows' images are checked meanwhile, for up to 13 minutes, and no response of S3 stays open for so long.
        Raises InvalidRequest if it does not exist (any more) or is too large.
        """
        where = {"VersionId": version_id} if version_id else {}
        try:
            found = self._client.get_object(Bucket=self.bucket, Key=key, **where)  # type: ignore[arg-type]
        except ClientError as error:
            raise refusal(error, "manifest", key) from error
        with tempfile.SpooledTemporaryFile(HELD_BYTES) as copy:
            with found["Body"]:
                if found["ContentLength"] > MAX_BYTES:
                    raise too_large()
                for chunk in found["Body"].iter_chunks(READ_BYTES):
                    copy.write(chunk)
            copy.seek(0)
            while chunk := copy.read(READ_BYTES):
                yield chunk

    def hints(self, key: str, version_id: str | None) -> requests.ManifestHints:
        """What the manifest's metadata says about its images. Raises InvalidRequest."""
        where = {"VersionId": version_id} if version_id else {}
        try:
            found = self._client.head_object(Bucket=self.bucket, Key=key, **where)  # type: ignore[arg-type]
        except ClientError as error:
            if error.response["Error"]["Code"] in ("403", "404", "405"):
                return requests.ManifestHints()  # reading the manifest will say why
            raise
        return requests.manifest_hints(found.get("Metadata", {}))

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

    def write(self, key: str) -> Upload:
        """A file to write, as a context manager. If nothing is written, or an exception is raised, there is no file."""
        kind = "application/x-ndjson" if key.endswith(".jsonl") else "text/csv; charset=utf-8"
        return Upload(self._client, self.bucket, key, ContentType=kind)

    def link(self, key: str) -> dict[str, str]:
        """A file's bucket and key, with a signed link to it."""
        return self._links.link(key)


def _row(key: str, line: bytes) -> PlanLine | None:
    try:
        row = bounds.read_json(line.decode(), finite=True)
    except ValueError:
        row = None
    if (bad := plan_lines.planned_row(row)) is None:
        checked: PlanLine = row
        return checked
    number = row.get("row") if isinstance(row, dict) else None
    logger().error("a plan's row is left out", extra={"plan": key, "row": bounds.shown(number), "field": bad})
    return None


@cache
def sheets() -> Sheets:
    """The stack's upload bucket."""
    return Sheets(settings().upload_bucket, clients.s3())
