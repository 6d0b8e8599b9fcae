"""POSTs to the provider, by httpx: each is sent once, for each may cost money.

Loaded with the first POST: a poll has none, and httpx takes longer to load than a poll takes.
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import httpx

from seedance.aws.tls import trust
from seedance.errors import ConfigurationError, SubmitUncertain, Unavailable
from seedance.provider import http
from seedance.provider.http import TOO_LONG, Limit
from seedance.provider.payloads import Answer
from seedance.provider.trouble import reason


def client(transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """A client that keeps no connection and follows no redirect."""
    return httpx.Client(
        transport=transport,
        verify=trust(),
        headers={"User-Agent": "seedance-pipeline", "Accept-Encoding": "identity"},
        # No connection is kept for the next call. A frozen Lambda wakes up to dead ones, and a POST
        # on a dead connection fails in the one way that can't be told from "accepted, answer lost".
        limits=httpx.Limits(max_keepalive_connections=0),
        follow_redirects=False,
    )


@contextmanager
def posted(
    client: httpx.Client, url: str, body: dict[str, Any], headers: Mapping[str, str], *, silence: float, limit: Limit
) -> Iterator[httpx.Response]:
    """The answer to one POST, with its body still to be read.

    ``silence`` is the longest that nothing may come, ``limit`` the time for the whole. Raises httpx's errors, also
    while the body is read: ReadTimeout when the time is up.
    """
    request = client.build_request(
        "POST",
        url,
        json=body,
        headers=dict(headers),
        timeout=httpx.Timeout(silence, connect=http.CONNECT_SECONDS),
        extensions={"trace": _watching(limit)},
    )
    with _in_time(limit):
        response = client.send(request, stream=True)
    response.stream = _Limited(cast(httpx.SyncByteStream, response.stream), limit)
    try:
        yield response
    finally:
        response.close()


def whole(response: httpx.Response, most: int) -> Answer:
    """The whole answer, its body up to ``most`` bytes, as lines.answer has it."""
    chunks = cast(httpx.SyncByteStream, response.stream)  # as it was sent: httpx unpacks without a limit
    encoding = response.headers.get("content-encoding", "")
    body, fault = http.gathered(response.status_code, chunks, encoding, most, httpx.HTTPError)
    return Answer(response.status_code, response.reason_phrase, response.headers, body, fault)


@contextmanager
def submit_outcome() -> Iterator[None]:
    """Turns what httpx raises around a submit into what is certain about it.

    The request was never sent when no connection came about; then nothing can have been queued. Whatever
    breaks later leaves the outcome open: the gateway may have taken the job before the line went dead.
    """
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
        raise Unavailable(f"The provider could not be reached: {reason(error)}.", excerpt=str(error)) from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
        raise ConfigurationError(f"SegmindBaseUrl or the key can't be used in a request: {reason(error)}") from error
    except httpx.HTTPError as error:
        raise SubmitUncertain(
            f"The request was sent, then the line broke before an answer came: {reason(error)}.", excerpt=str(error)
        ) from error


class _Limited(httpx.SyncByteStream):
    """A body that does not end well when its time is up."""

    def __init__(self, stream: httpx.SyncByteStream, limit: Limit) -> None:
        self._stream = stream
        self._limit = limit

    def __iter__(self) -> Iterator[bytes]:
        with _in_time(self._limit):
            yield from self._stream
        if self._limit.over:  # the end of a body without a length looks like this, too
            raise httpx.ReadTimeout(TOO_LONG)

    def close(self) -> None:
        self._stream.close()


@contextmanager
def _in_time(limit: Limit) -> Iterator[None]:
    """Calls the end of a connection that was shut down by the limit what it is."""
    try:
        yield
    except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
        if limit.over:
            raise httpx.ReadTimeout(TOO_LONG) from None  # that the connection ended is our own doing
        raise


def _watching(limit: Limit) -> Any:
    """httpx's trace of a request, which is where a connection can be had as soon as it is there."""

    def trace(event: str, info: Mapping[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            connected = info["return_value"].get_extra_info("socket")
            if isinstance(connected, socket.socket):
                limit.watch(connected)

    return trace
