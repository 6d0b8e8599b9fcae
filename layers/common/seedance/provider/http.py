"""GETs to the provider and to the hosts of its results. They can be repeated without harm.

They use urllib3, which botocore loads anyway. Compared with httpx, a poll's cold start is a sixth shorter and reading
1 GB takes half the processor time (docs/decisions.md). Requests that must be sent only once use httpx (provider.posts).
"""

import math
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPResponse, LineTooLong
from typing import Any, Self

from botocore.utils import get_environ_proxies
from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Timeout
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util import parse_url

from seedance.aws.tls import trust
from seedance.provider import bodies
from seedance.provider.payloads import Answer
from seedance.provider.trouble import reason

CONNECT_SECONDS = 5.0
"""The timeout for opening a connection."""

TOO_LONG = "the complete response did not arrive in time"

HEAD_BYTES = 128 * 1024
"""The maximum of a response's status line and headers, including those of interim responses (1xx). About that of h11,
which reads the responses to POSTs. http.client alone allows 6.5 MB for each of them."""

STRIDE_BYTES, STRIDE_SECONDS = 256 * 1024, 60.0
"""Each so many bytes of a file must arrive within this time: 4 KB per second. Slower, no video would be complete within
the time limit of the whole download."""

_CHUNK_BYTES = 64 * 1024
_HEADERS = {"User-Agent": "seedance-pipeline"}


class Limit:
    """Limits the total time of the requests inside a ``with`` block, then shuts down their connections.

    The timeouts of HTTP clients apply to one read: a server that sends a byte a second, in its headers, its chunk
    framing or its body, never exceeds them. A thread that shuts down the socket covers all of these cases. The reader
    then sees the connection end; ``over`` tells that this was the limit.
    """

    def __init__(self, seconds: float) -> None:
        self.over = False
        self.seconds = seconds
        self._sockets: list[socket.socket] = []
        self._changed = threading.Condition()
        self._ends = self._due = self._wakes = math.inf
        self._thread = threading.Thread(target=self._watch, name="limit", daemon=True)

    def __enter__(self) -> Self:
        self._ends = time.monotonic() + self.seconds
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ends = -math.inf
            self._changed.notify()

    def watch(self, connected: socket.socket) -> None:
        """Apply the limit to a connection that was just opened."""
        with self._changed:
            self._sockets.append(connected)
            if self.over:
                _shut(connected)

    def paced(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks of a file, of which every STRIDE_BYTES must arrive within STRIDE_SECONDS.

        The time that the caller takes between two chunks does not count.
        """
        rest, count, left = iter(chunks), 0, STRIDE_SECONDS
        while True:
            began = time.monotonic()
            self._end_by(began + left)
            try:
                chunk = next(rest, None)
            finally:
                self._end_by(math.inf)
            if chunk is None:
                return
            count, left = count + len(chunk), left - (time.monotonic() - began)
            if count >= STRIDE_BYTES:
                count, left = 0, STRIDE_SECONDS
            yield chunk

    def _end_by(self, due: float) -> None:
        with self._changed:
            self._due = due
            if due < self._wakes:
                self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while self._ends > -math.inf:
                now = time.monotonic()
                self._wakes = min(self._ends, self._due)
                if now >= self._wakes:
                    self.over = True
                    for connected in self._sockets:
                        _shut(connected)
                    return
                self._changed.wait(self._wakes - now)


@contextmanager
def get(url: str, headers: Mapping[str, str], seconds: float, limit: Limit) -> Iterator[BaseHTTPResponse]:
    """The response to a GET, before its body is read. Redirects are returned, not followed.

    ``seconds`` is the timeout between two reads, ``limit`` that of the whole exchange. The connection is closed at the
    end, because it would be dead after a Lambda freeze. Raises urllib3's HTTPError, also while the body is read.
    """
    with _pool(_proxy(url)) as pool:
        connections = pool.connection_from_url(url)
        connections.ConnectionCls = partial(watched, connections.ConnectionCls, limit)  # type: ignore[assignment]
        response = pool.urlopen(
            "GET",
            url,
            headers={**_HEADERS, **headers},
            timeout=Timeout(connect=CONNECT_SECONDS, read=seconds),
            redirect=False,
            retries=False,
            preload_content=False,
            enforce_content_length=False,  # provider.download checks the length itself
        )
        try:
            yield response
        finally:
            response.close()


def answer(url: str, headers: Mapping[str, str], silence: float, limit: Limit, most: int) -> Answer:
    """The complete response to a GET, its body up to ``most`` bytes. Raises urllib3's HTTPError, also on timeout."""
    try:
        with get(url, headers, silence, limit) as response:
            about = {name.lower(): value for name, value in response.headers.items()}
            chunks = _chunks(response, url, limit)
            body, fault = gathered(response.status, chunks, about.get("content-encoding", ""), most, HTTPError)
            return Answer(response.status, response.reason or "", about, body, fault)
    except HTTPError:
        if limit.over:
            raise _too_late(url) from None  # we shut down the connection ourselves
        raise


def gathered(
    status: int, chunks: Iterable[bytes], encoding: str, most: int, broken: type[Exception]
) -> tuple[bytes, str]:
    """The body of a response, and what is wrong with it, as text ("" if nothing).

    ``broken`` is what the HTTP client raises if the connection drops. It is raised again for a 2xx, whose body matters.
    For an error status the status is enough, and the body only adds a message.
    """
    body, fault = bytearray(), ""
    try:
        for part in bodies.decoded(chunks, encoding, most):
            body += part
    except bodies.Unreadable as error:
        fault = str(error)
    except broken as error:
        if status < 300:
            raise
        fault = reason(error)
    return bytes(body), fault


def _chunks(response: BaseHTTPResponse, url: str, limit: Limit) -> Iterator[bytes]:
    yield from response.stream(_CHUNK_BYTES, decode_content=False)
    if limit.over:  # when the limit shuts the socket, a body without a length seems to end normally
        raise _too_late(url)


def _too_late(url: str) -> ReadTimeoutError:
    nobody: Any = None
    return ReadTimeoutError(nobody, url, TOO_LONG)


class _Response(HTTPResponse):
    """http.client's response with a limit on its head, and without interim responses.

    A client must accept any number of them before the final response (RFC 9110, section 15.2), for example Cloudflare's
    103 Early Hints. http.client skips only 100 and takes every other one for the final response.
    """

    def begin(self) -> None:
        lines: Any = self.fp
        self.fp = _Head(lines)  # type: ignore[assignment]
        try:
            super().begin()
        finally:
            if self.fp is not None:  # it was not closed
                self.fp = lines

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 101 < status < 200:
                return version, status, reason
            while self.fp.readline() not in (b"\r\n", b"\n", b""):
                pass


class _Head:
    """The lines of a response's head. Raises LineTooLong after HEAD_BYTES."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines
        self._left = HEAD_BYTES

    def readline(self, most: int = HEAD_BYTES) -> bytes:
        line: bytes = self._lines.readline(min(most, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("response head")
        return line

    def close(self) -> None:
        """Called if the head is invalid."""
        self._lines.close()


def watched(kind: Callable[..., Any], limit: Limit, **options: Any) -> Any:
    """A urllib3 connection to which the limits apply as soon as it is open."""
    connection = kind(**options)
    connection.response_class = _Response
    connect = connection.connect

    def connecting() -> None:
        connect()
        limit.watch(connection.sock)

    connection.connect = connecting
    return connection


def _shut(connected: socket.socket) -> None:
    # Not with SSLSocket.shutdown, which removes the TLS session while another thread is reading.
    with suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _proxy(url: str) -> str | None:
    """The proxy for an address from the environment (HTTPS_PROXY, NO_PROXY), as for every other call."""
    proxies: dict[str, str] = get_environ_proxies(url)
    return proxies.get(parse_url(url).scheme or "")


def _pool(proxy: str | None) -> PoolManager:
    return ProxyManager(proxy, ssl_context=trust()) if proxy else PoolManager(ssl_context=trust())
