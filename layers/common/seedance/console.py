"""Console: serve the console's page and its files, which come with the function.

Anyone may call it, without a key: the files are the same in every stack. The page gets everything about a stack from
the API, with a key. The function may read nothing else.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

from seedance.aws import gateway
from seedance.aws.gateway import Response
from seedance.config import console_settings
from seedance.rest.answers import problem

PAGE = "index.html"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""The content type of a file by its ending. All are text: API Gateway would need another form for bytes."""

HEADERS = {
    # The files have no versions in their names. So a browser asks each time whether a file has changed, and a page does
    # not run with the modules of another release.
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
"""For every answer, besides the Content-Security-Policy."""


@dataclass(frozen=True)
class Console:
    """The use case and its dependencies.

    ``upload_origin`` and ``video_origin``: the origins of the two buckets, where the page uploads images and reads
    videos by the signed forms and links of the API (seedance/media/signed.py).
    """

    folder: Path
    upload_origin: str
    video_origin: str

    def respond(self, event: Mapping[str, Any]) -> Response:
        """The response to an event of API Gateway: a file, 304 or 404. The same for HEAD, without a body."""
        method, resource = gateway.route(event)
        name = PAGE if resource == "/" else gateway.path_parameter(event, "file")
        if (path := self._files.get(name)) is None:
            return self._missing(method)
        text, tag = _content(path)
        # 304 has the type as well: without one, API Gateway would say that it is JSON.
        headers = {**self._headers, "Content-Type": TYPES[path.suffix], "ETag": tag}
        if _knows(gateway.header(event, "if-none-match"), tag):
            return {"statusCode": HTTPStatus.NOT_MODIFIED, "headers": headers, "body": ""}
        return {"statusCode": HTTPStatus.OK, "headers": headers, "body": "" if method == "HEAD" else text}

    def _missing(self, method: str) -> Response:
        said = problem(HTTPStatus.NOT_FOUND, "The console has no such file", "NOT_FOUND")
        body = "" if method == "HEAD" else said["body"]
        return {**said, "headers": {**self._headers, **said["headers"], "Cache-Control": "no-store"}, "body": body}

    @cached_property
    def _files(self) -> dict[str, Path]:
        """The files by their names. A name is looked up here and never joined to a path."""
        return {path.name: path for path in self.folder.iterdir() if path.suffix in TYPES and path.is_file()}

    @cached_property
    def _headers(self) -> dict[str, str]:
        buckets = " ".join(dict.fromkeys((self.upload_origin, self.video_origin)))
        policy = {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "connect-src": f"'self' {buckets}",
            "img-src": f"'self' {buckets}",
            "media-src": buckets,
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        return {**HEADERS, "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items())}


@cache
def _content(path: Path) -> tuple[str, str]:
    """A file's text and its ETag. A weak one, because API Gateway may compress the text."""
    content = path.read_bytes()
    return content.decode("utf-8"), f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'


def _knows(given: str | None, tag: str) -> bool:
    """Whether If-None-Match names this file's ETag (RFC 9110, 13.1.2: a weak comparison)."""
    tags = {each.strip().removeprefix("W/") for each in (given or "").split(",")}
    return tag.removeprefix("W/") in tags or "*" in tags


@cache
def console(folder: Path) -> Console:
    """The use case, configured for this stack."""
    stack = console_settings()
    return Console(folder, stack.upload_origin, stack.video_origin)
