"""GETs, to the provider and to the hosts of its results: what may be asked as often as one likes.

By urllib3, which botocore has loaded anyway: a poll's start takes a sixth less than with httpx, reading 1 GB
half of its processor time (docs/decisions.md). What must be sent only once goes by httpx, in provider.posts.
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
"""For a connection to come about."""

TOO_LONG = "the whole answer did not come in time"

_CHUNK_BYTES = 64 * 1024
_HEADERS = {"User-Agent": "seedance-pipeline"}


class Limit:
    """The seconds that requests inside of ``with`` may take in all; then their connections are shut down.

    A client's own time-outs are for one read: a server that sends a byte a second, in the head of its answer, in the
    framing of its chunks or in the body, never meets them. A thread that shuts the socket covers all of these. Whoever
    reads then sees the connection end; ``over`` says that it did not end by itself.
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
        """Limit a connection that has just come about."""
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
    """The answer to a GET, redirects too as they are, with its body still to be read.

    ``seconds`` is the longest silence between two reads, ``limit`` the time for the whole. The line is closed at the
    end: a frozen Lambda would wake up to a dead one. Raises urllib3's HTTPError, also while the body is read.
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
            enforce_content_length=False,  # seedance.download counts for itself
        )
        try:
            yield response
        finally:
            response.close()


def answer(url: str, headers: Mapping[str, str], silence: float, limit: Limit, most: int) -> Answer:
    """The whole answer to a GET, its body up to ``most`` bytes. Raises urllib3's HTTPError, also when time is up."""
    try:
        with get(url, headers, silence, limit) as response:
            about = {name.lower(): value for name, value in response.headers.items()}
            chunks = _chunks(response, url, limit)
            body, fault = gathered(response.status, chunks, about.get("content-encoding", ""), most, HTTPError)
            return Answer(response.status, response.reason or "", about, body, fault)
    except HTTPError:
        if limit.over:
            raise _too_late(url) from None  # that the connection ended is our own doing
        raise


def gathered(
    status: int, chunks: Iterable[bytes], encoding: str, most: int, broken: type[Exception]
) -> tuple[bytes, str]:
    """An answer's body, and what is wrong with it, in words ("" for nothing).

    ``broken`` is what a client raises when the connection breaks. It is passed on where the body decides; an error
    status decides alone, and its body is only good for words.
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
    if limit.over:  # the end of a body without a length looks like this, too
        raise _too_late(url)


def _too_late(url: str) -> ReadTimeoutError:
    nobody: Any = None
    return ReadTimeoutError(nobody, url, TOO_LONG)


def _watched(kind: Callable[..., Any], limit: Limit, **options: Any) -> Any:
    """A connection of urllib3's that is limited from the moment it is there."""
    connection = kind(**options)
    connect = connection.connect

    def connecting() -> None:
        connect()
        limit.watch(connection.sock)

    connection.connect = connecting
    return connection


def _shut(connected: socket.socket) -> None:
    # Not by the method of SSLSocket, which takes the TLS session away from whoever is reading.
    with suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for an address (HTTPS_PROXY, NO_PROXY), as for every other call."""
    proxies: dict[str, str] = get_environ_proxies(url)
    return proxies.get(parse_url(url).scheme or "")


def _pool(proxy: str | None) -> PoolManager:
    return ProxyManager(proxy, ssl_context=trust()) if proxy else PoolManager(ssl_context=trust())
