"""GETs to the provider and to the hosts of its results. They can be repeated without harm.

They use urllib3, which botocore loads anyway. Compared with httpx, a poll's cold start is a sixth shorter and reading
1 GB takes half the processor time (docs/decisions.md). Requests that must be sent only once use httpx (provider.posts).
"""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
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
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def watch(self, connected: socket.socket) -> None:
        """Apply the limit to a connection that was just opened."""
        with self._lock:
            self._sockets.append(connected)
            if self.over:
                _shut(connected)

    def _end(self) -> None:
        with self._lock:
            self.over = True
            for connected in self._sockets:
                _shut(connected)


@contextmanager
def get(url: str, headers: Mapping[str, str], seconds: float, limit: Limit | None = None) -> Iterator[BaseHTTPResponse]:
    """The response to a GET, before its body is read. Redirects are returned, not followed.

    ``seconds`` is the timeout between two reads, ``limit`` that of the whole exchange. The connection is closed at the
    end, because it would be dead after a Lambda freeze. Raises urllib3's HTTPError, also while the body is read.
    """
    with _pool(_proxy(url)) as pool:
        if limit:
            connections = pool.connection_from_url(url)
            connections.ConnectionCls = partial(_watched, connections.ConnectionCls, limit)  # type: ignore[assignment]
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


def _watched(kind: Callable[..., Any], limit: Limit, **options: Any) -> Any:
    """A urllib3 connection to which the limit applies as soon as it is open."""
    connection = kind(**options)
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
