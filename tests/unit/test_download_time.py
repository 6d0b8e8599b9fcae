"""A download's time limits: one for silence on each connection, and one for the whole download."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from clocks import Clock
from seedance.errors import SourceUnavailable
from seedance.provider import http
from seedance.provider.download import DOWNLOAD_SECONDS, SILENCE_SECONDS, Downloads
from seedance.provider.http import Limit

pytestmark = pytest.mark.hostile(kind="answer")

LINK = "https://images.segmind.com/video.mp4"
MARKED = {"etag": '"v1"', "content-length": "4"}


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[Limit]:
    """The limits that were started."""
    begun: list[Limit] = []
    enter = Limit.__enter__
    monkeypatch.setattr(Limit, "__enter__", lambda self: begun.append(self) or enter(self))
    return begun


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, Limit]]:
    """The longest allowed silence and the limit of every opened connection."""
    opened: list[tuple[float, Limit]] = []
    get = http.get

    def watched(url: str, headers: Any, seconds: float, limit: Limit) -> Any:
        opened.append((seconds, limit))
        return get(url, headers, seconds, limit)

    monkeypatch.setattr(http, "get", watched)
    return opened


@pytest.fixture
def fetch(wire: Any) -> Callable[[float | None], bytes]:
    downloads = Downloads(frozenset({"images.segmind.com"}), Clock())

    def read(seconds: float | None) -> bytes:
        with downloads.open(LINK, *(() if seconds is None else (seconds,))) as source:
            return b"".join(source.chunks)

    return read


def body(*parts: bytes | Callable[[], None] | Exception) -> Iterator[bytes]:
    for each in parts:
        if isinstance(each, Exception):
            raise each
        if isinstance(each, bytes):
            yield each
        else:
            each()


@pytest.mark.parametrize("seconds", [None, 9.0])
def test_every_connection_has_the_same_limits(
    fetch: Any, wire: Any, limits: Any, lines: Any, seconds: float | None
) -> None:
    wire.will(
        httpx.Response(302, headers={"location": LINK}),
        httpx.Response(200, content=body(b"12", ConnectionResetError("x")), headers=MARKED),
        httpx.Response(206, content=b"34", headers={"etag": '"v1"', "content-range": "bytes 2-3/4"}),
    )
    assert fetch(seconds) == b"1234"
    assert [limit.seconds for limit in limits] == [DOWNLOAD_SECONDS if seconds is None else seconds]
    assert lines == [(SILENCE_SECONDS, limits[0])] * 3


def test_a_file_that_ends_when_time_is_up_is_incomplete(fetch: Any, wire: Any, limits: Any) -> None:
    wire.will(httpx.Response(200, content=body(b"12", lambda: setattr(limits[0], "over", True))))
    with pytest.raises(SourceUnavailable, match=r"^the download of the result took too long$"):
        fetch(9.0)


def test_a_redirect_that_comes_when_time_is_up_is_not_followed(
    fetch: Any, wire: Any, limits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire.will(httpx.Response(302, headers={"location": LINK}))
    check = Downloads.check

    def late(self: Downloads, url: str) -> Any:
        limits[0].over = bool(wire.requests)
        return check(self, url)

    monkeypatch.setattr(Downloads, "check", late)
    with pytest.raises(SourceUnavailable, match="took too long"):
        fetch(9.0)


def test_a_connection_that_breaks_when_time_is_up_is_not_resumed(fetch: Any, wire: Any, limits: Any) -> None:
    late = body(b"12", lambda: setattr(limits[0], "over", True), ConnectionResetError("x"))
    wire.will(httpx.Response(200, content=late, headers=MARKED))
    with pytest.raises(SourceUnavailable, match="took too long"):
        fetch(9.0)
    assert len(wire.requests) == 1
