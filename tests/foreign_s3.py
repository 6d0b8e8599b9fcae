"""S3 as another origin, for the tests' browser: a proxy in front of the local AWS that applies the buckets' CORS rules.

On AWS the console and the buckets have different origins. On the local stack they have one, and the emulator would
allow every page everything. So in the tests a browser opens the console at http://localhost:PORT and gets S3 at
http://127.0.0.1:PORT, to which the links and forms are signed, through this proxy: a different site for the browser.
What S3 would not allow, the page can't do.
"""

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpx
from botocore.exceptions import ClientError

from tests.s3_cors import Asked, Rule, allowed, preflight

_BROWSERS_OWN = ("sec-", "origin", "referer", "proxy-", "connection", "accept-encoding")
"""Headers, by their beginnings, that the gate of the local AWS judges, or that are for this proxy."""
_NOT_PASSED_ON = ("connection", "transfer-encoding", "content-length", "content-encoding", "date", "server")


@dataclass
class ForeignS3:
    """The proxy, and what it has seen."""

    address: str
    """S3's address."""
    client: Any
    """A client for S3, which reads the buckets' rules."""
    port: int = 0
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    """Each request's method, path and answer."""
    gone: bool = False
    """Whether S3 does not answer, as without a network."""

    @property
    def proxy(self) -> dict[str, str]:
        """The setting of a browser's context: it reaches 127.0.0.1 through the proxy, and only localhost directly."""
        return {"server": f"http://127.0.0.1:{self.port}", "bypass": "<-loopback>,localhost"}

    def rules(self, bucket: str) -> list[Rule]:
        """The bucket's rules now. None if it has none."""
        try:
            return list(self.client.get_bucket_cors(Bucket=bucket)["CORSRules"])
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("NoSuchCORSConfiguration", "NoSuchBucket"):
                raise
            return []

    @contextmanager
    def without_rules(self, bucket: str) -> Iterator[None]:
        """Take a bucket's rules away for a while."""
        before = self.rules(bucket)
        self.client.delete_bucket_cors(Bucket=bucket)
        try:
            yield
        finally:
            self.client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": before})


@contextmanager
def foreign_s3(address: str, client: Any) -> Iterator[ForeignS3]:
    """The proxy for S3 at this address."""
    made = ForeignS3(address, client)
    with httpx.Client(trust_env=False, timeout=60) as line:
        server = _Server(("127.0.0.1", 0), type("Handler", (_Proxy,), {"s3": made, "line": line}))
        made.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield made
        finally:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser ends a connection when it has seen enough of a video; that is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    s3: ForeignS3
    line: httpx.Client

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        if self.s3.gone or f"{url.scheme}://{url.netloc}" != self.s3.address:
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        rules = self.s3.rules(url.path.split("/")[1])
        if self.command == "OPTIONS":
            asked = preflight(headers)
            found = allowed(rules, asked) if asked else None
            self._answer(403 if found is None else 200, found or {}, b"")
            return
        given = {name: value for name, value in headers.items() if not name.startswith(_BROWSERS_OWN)}
        answer = self.line.request(self.command, self.path, content=body, headers=given)
        passed = {name: value for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED_ON}
        if origin := headers.get("origin"):
            passed |= allowed(rules, Asked(origin, self.command)) or {}
        self._answer(answer.status_code, passed, answer.content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = handle_any  # noqa: N815 - the server's names

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.s3.asked.append((self.command, urlsplit(self.path).path, status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass
