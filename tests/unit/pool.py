"""urllib3's pool of connections with the tests' wire at the other end: what it reads and raises is urllib3's own."""

import io
from collections.abc import Iterator
from typing import Any

import httpx
import urllib3

WireCall = Any


class _Body(io.RawIOBase):
    """A body that comes in the chunks in which it was given."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, size: int = -1) -> bytes:
        return next(self._chunks, b"")


class Pool(urllib3.PoolManager):
    """Asks the wire, and answers as urllib3 does."""

    def __init__(self, wire: WireCall) -> None:
        super().__init__()
        self._wire = wire

    def urlopen(self, method: str, url: str, *, redirect: bool, **options: Any) -> Any:  # type: ignore[override]
        assert not redirect
        answer: httpx.Response = self._wire(httpx.Request(method, url, headers=options["headers"]))
        stream = answer.iter_raw() if not answer.is_stream_consumed else iter([answer.content])
        return urllib3.HTTPResponse(
            _Body(stream),
            headers=answer.headers.multi_items(),
            status=answer.status_code,
            preload_content=options["preload_content"],
            enforce_content_length=options["enforce_content_length"],
        )
