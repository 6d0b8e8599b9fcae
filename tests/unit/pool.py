"""urllib3's connection pool with the tests' wire at the other end. Responses and errors are urllib3's own."""

import io
from collections.abc import Iterator
from typing import Any

import httpx
import urllib3
from urllib3.exceptions import ConnectTimeoutError, DecodeError, NewConnectionError, ProtocolError, ReadTimeoutError

_NOBODY: Any = None
_AS_URLLIB3: tuple[tuple[type[Exception], Exception], ...] = (
    (httpx.ConnectTimeout, ConnectTimeoutError("in the words of httpx")),
    (httpx.TimeoutException, ReadTimeoutError(_NOBODY, "", "in the words of httpx")),
    (httpx.ConnectError, NewConnectionError(_NOBODY, "in the words of httpx")),
    (httpx.DecodingError, DecodeError("in the words of httpx")),
    (httpx.TransportError, ProtocolError("in the words of httpx")),
)
"""The wire always raises httpx's errors; this maps them to urllib3's."""


class _Body(io.RawIOBase):
    """A body that arrives in the given chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, size: int = -1) -> bytes:
        return next(self._chunks, b"")


class Pool(urllib3.PoolManager):
    """Sends requests to the wire, and returns urllib3's responses."""

    def __init__(self, wire: Any) -> None:
        super().__init__()
        self._wire = wire

    def urlopen(self, method: str, url: str, *, redirect: bool, **options: Any) -> Any:  # type: ignore[override]
        assert not redirect
        try:
            answer: httpx.Response = self._wire(httpx.Request(method, url, headers=options["headers"]))
        except httpx.RequestError as error:
            raise next(other for kind, other in _AS_URLLIB3 if isinstance(error, kind)) from error
        stream = answer.iter_raw() if not answer.is_stream_consumed else iter([answer.content])
        return urllib3.HTTPResponse(
            _Body(stream),
            headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers.raw],
            status=answer.status_code,
            preload_content=options["preload_content"],
            enforce_content_length=options["enforce_content_length"],
        )
