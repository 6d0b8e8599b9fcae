"""Watch: answer a click on a lasting link with a redirect to the video, by a link that is signed afresh each time.

Anyone may call it, without a key. Programs that check every link in a mail do, so a call changes nothing. A response
never says whose video it is, and for a token that is not valid, it reveals nothing about any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from seedance.aws import clients, gateway
from seedance.aws.gateway import Response
from seedance.aws.job_table import JobTable, job_table
from seedance.clock import CLOCK, Clock
from seedance.config import settings
from seedance.jobs import lasting
from seedance.media import signed
from seedance.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SIGNED_SECONDS = 15 * 60
"""How long the link works to which a click is redirected. A browser reads the video through it while it plays."""

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
"""For every answer. A cached page or redirect would outlive a link that is revoked."""

PAGE_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Content-Type": "text/html; charset=utf-8",
    "X-Frame-Options": "DENY",
}

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title></head>
<body><h1>{title}</h1><p>{text}</p></body>
</html>
"""
NOT_FOUND = _PAGE.format(
    title="There is no video here",
    text="The link may not be complete. Copy all of it, or ask the sender for the video.",
)
GONE = _PAGE.format(title="This link has expired", text="Ask the sender of the link for a new one.")


@dataclass(frozen=True)
class Watch:
    """The use case and its dependencies. ``days`` is VideoLinkDays: with 0, no link works."""

    table: JobTable
    bucket: str
    client: "S3Client"
    days: int
    clock: Clock = CLOCK

    def respond(self, event: Mapping[str, Any]) -> Response:
        """The response to an event of API Gateway: 302, or a page with 404 or 410. The same for HEAD, without a body.

        Raises any other error of AWS: API Gateway then responds with 502, and the function's error alarm goes off.
        """
        head = gateway.route(event)[0] == "HEAD"
        record = lasting.find(self.table, gateway.path_parameter(event, "token"))
        if record is None:
            return _page(HTTPStatus.NOT_FOUND, "" if head else NOT_FOUND)
        shared = lasting.read(record, self.clock()) if self.days else None
        if shared is None or not self._exists(shared.key):
            return _page(HTTPStatus.GONE, "" if head else GONE)
        link = signed.video_link(
            self.client,
            self.bucket,
            shared.key,
            shared.name,
            SIGNED_SECONDS,
            download=gateway.has_parameter(event, "download"),
            operation="head_object" if head else "get_object",
        )
        return {"statusCode": HTTPStatus.FOUND, "headers": {**HEADERS, "Location": link}, "body": ""}

    def _exists(self, key: str) -> bool:
        """Whether the video is still in its bucket. Without this, S3 would answer with its own error in XML."""
        try:
            self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            # 403: the role may not list the bucket, so S3 does not say that an object is missing.
            if error.response["Error"]["Code"] not in ("403", "404"):
                raise
            logger().warning("a shared video is not in the bucket", extra={"key": key})
            return False
        return True


def _page(status: HTTPStatus, text: str) -> Response:
    return {"statusCode": status, "headers": dict(PAGE_HEADERS), "body": text}


@cache
def watch() -> Watch:
    """The use case, configured for this stack."""
    stack = settings()
    return Watch(job_table(), stack.video_bucket, clients.s3(), stack.video_link_days)
