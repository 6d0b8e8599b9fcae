"""POSTs to the provider, with httpx. Each is sent only once, because each may cost money.

Imported with the first POST: a poll makes none, and importing httpx takes longer than a poll.
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
    """A client that keeps no connections open and follows no redirects."""
    return httpx.Client(
        transport=transport,
        verify=trust(),
        headers={"User-Agent": "seedance-pipeline", "Accept-Encoding": "identity"},
        # No connection is kept for the next call. After a Lambda freeze it would be dead, and a POST on a dead
        # connection fails in a way that can't be distinguished from "accepted, response lost".
        limits=httpx.Limits(max_keepalive_connections=0),
        follow_redirects=False,
    )


@contextmanager
def posted(
    client: httpx.Client, url: str, body: object, headers: Mapping[str, str], *, silence: float, limit: Limit
) -> Iterator[httpx.Response]:
    """The response to one POST, before its body is read.

    ``silence`` is the timeout between two reads, ``limit`` that of the whole exchange. Raises httpx's errors, also
    while the body is read: ReadTimeout when the limit is reached.
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


def whole(response: httpx.Response, most: int, chunks: Iterator[bytes] | None = None) -> Answer:
    """The complete response, with a body of up to ``most`` bytes, in the same form as from http.answer.

    ``chunks``: the raw body, if reading it has begun.
    """
    encoding = response.headers.get("content-encoding", "")
    body, fault = http.gathered(response.status_code, chunks or raw(response), encoding, most, httpx.HTTPError)
    return Answer(response.status_code, response.reason_phrase, response.headers, body, fault)


def raw(response: httpx.Response) -> Iterator[bytes]:
    """The body as it arrives, because httpx decompresses without a limit."""
    return iter(cast(httpx.SyncByteStream, response.stream))


@contextmanager
def submit_outcome() -> Iterator[None]:
    """Converts httpx's errors around a submit into ours, by whether the job may have been queued.

    If no connection could be opened, the request was not sent and nothing was queued. If the connection fails later,
    the outcome is unknown: the gateway may have accepted the job before the connection dropped.
    """
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
        raise Unavailable(f"The provider could not be reached: {reason(error)}.", excerpt=str(error)) from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
        raise ConfigurationError(f"SegmindBaseUrl or the key can't be used in a request: {reason(error)}") from error
    except httpx.HTTPError as error:
        raise SubmitUncertain(
            f"The request was sent, but the connection dropped before a response: {reason(error)}.",
            excerpt=str(error),
        ) from error


class _Limited(httpx.SyncByteStream):
    """A body that raises ReadTimeout when the time limit ends it."""

    def __init__(self, stream: httpx.SyncByteStream, limit: Limit) -> None:
        self._stream = stream
        self._limit = limit

    def __iter__(self) -> Iterator[bytes]:
        with _in_time(self._limit):
            yield from self._limit.paced(self._stream)
        if self._limit.over:  # when the limit shuts the socket, a body without a length seems to end normally
            raise httpx.ReadTimeout(TOO_LONG)

    def close(self) -> None:
        self._stream.close()


@contextmanager
def _in_time(limit: Limit) -> Iterator[None]:
    """Raises ReadTimeout for the errors of a connection that the limit shut down."""
    try:
        yield
    except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
        if limit.over:
            raise httpx.ReadTimeout(TOO_LONG) from None  # we shut down the connection ourselves
        raise


def _watching(limit: Limit) -> Any:
    """A trace extension for httpx, through which we get a connection's socket as soon as it is open."""

    def trace(event: str, info: Mapping[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            connected = info["return_value"].get_extra_info("socket")
            if isinstance(connected, socket.socket):
                limit.watch(connected)

    return trace
