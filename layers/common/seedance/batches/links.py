"""What the API needs of a batch's files: a manifest's version, and links. Loads nothing that checks rows."""

from functools import cache
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from seedance.aws import clients
from seedance.config import settings
from seedance.media.buckets import refusal

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LINK_SECONDS = 12 * 3600
"""An upper bound: a link signed by a function stops working when the function's credentials expire, after hours."""


class SheetLinks:
    """Links to files of batches in the upload bucket."""

    def __init__(self, bucket: str, client: "S3Client") -> None:
        self.bucket = bucket
        self._client = client

    def link(self, key: str) -> dict[str, str]:
        """A file's bucket and key, with a signed link to it."""
        where = {"Bucket": self.bucket, "Key": key}
        url = self._client.generate_presigned_url("get_object", Params=where, ExpiresIn=LINK_SECONDS)
        return {"bucket": self.bucket, "key": key, "url": url}

    def version(self, key: str, field: str) -> tuple[str | None, str]:
        """The latest version of an object, None in a bucket without versions; and what tells it from other ones.

        Raises InvalidRequest about ``field`` if it does not exist.
        """
        try:
            found = self._client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            raise refusal(error, field, key) from error
        version = found.get("VersionId")
        return (version, version) if version and version != "null" else (None, found["ETag"])


@cache
def sheet_links() -> SheetLinks:
    """The stack's upload bucket."""
    return SheetLinks(settings().upload_bucket, clients.s3())
