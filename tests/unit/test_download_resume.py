"""A broken download resumes where it stopped if the file is unchanged; parts of different files are never combined."""

from collections.abc import Callable, Iterator
from http.client import IncompleteRead
from typing import Any

import httpx
import pytest
from clocks import Clock
from seedance.errors import SourceUnavailable
from seedance.provider.download import RESUME_SECONDS, RESUMES, Downloads
from urllib3.exceptions import NewConnectionError

pytestmark = pytest.mark.hostile(kind="answer")

CHUNK_BYTES = 64 * 1024
LINK = "https://images.segmind.com/video.mp4"
FILE = b"".join(bytes([number]) * CHUNK_BYTES for number in range(4)) + b"the end"
NOBODY: Any = None
MARKED = {"etag": '"v1"'}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fetch(wire: Any, clock: Clock) -> Callable[[], bytes]:
    downloads = Downloads(frozenset({"images.segmind.com"}), clock)

    def read() -> bytes:
        with downloads.open(LINK) as source:
            return b"".join(source.chunks)

    return read


def part(start: int, chunks: int, then: Exception | None = None) -> Iterator[bytes]:
    """The given number of chunks from a byte on, then an error; without an error, the whole rest."""
    yield from (FILE[at : at + CHUNK_BYTES] for at in range(start, start + chunks * CHUNK_BYTES, CHUNK_BYTES))
    if then:
        raise then
    yield FILE[start + chunks * CHUNK_BYTES :]


def whole(content: Any, **headers: str) -> httpx.Response:
    return httpx.Response(200, content=content, headers={**MARKED, "content-length": str(len(FILE)), **headers})


def rest(start: int, content: Any, **headers: str) -> httpx.Response:
    ranged = {"content-range": f"bytes {start}-{len(FILE) - 1}/{len(FILE)}", **MARKED}
    return httpx.Response(206, content=content, headers={**ranged, **headers})


BROKEN = ConnectionResetError("gone")


@pytest.mark.parametrize("broken", [ConnectionResetError("x"), TimeoutError("x"), IncompleteRead(b"", 5)])
def test_a_download_resumes_at_the_byte_it_reached(fetch: Any, wire: Any, clock: Clock, broken: Exception) -> None:
    wire.will(whole(part(0, 2, broken)), rest(2 * CHUNK_BYTES, part(2 * CHUNK_BYTES, 0)))
    assert fetch() == FILE
    assert wire.requests[1].headers["range"] == f"bytes={2 * CHUNK_BYTES}-"
    assert wire.requests[1].headers["if-range"] == '"v1"'
    assert wire.requests[1].headers["accept-encoding"] == "identity"
    assert clock.naps == [RESUME_SECONDS]


def test_last_modified_identifies_a_file_too(fetch: Any, wire: Any) -> None:
    changed = {"etag": 'W/"v1"', "last-modified": "Fri, 20 Nov 2026 09:30:00 GMT"}
    wire.will(whole(part(0, 1, BROKEN), **changed), rest(CHUNK_BYTES, part(CHUNK_BYTES, 0), **changed))
    assert fetch() == FILE
    assert wire.requests[1].headers["if-range"] == changed["last-modified"]


def test_a_file_of_unknown_length_is_resumed_too(fetch: Any, wire: Any) -> None:
    wire.will(
        httpx.Response(200, content=part(0, 1, BROKEN), headers=MARKED),
        httpx.Response(
            206,
            content=part(CHUNK_BYTES, 0),
            headers={**MARKED, "content-range": f"bytes {CHUNK_BYTES}-{len(FILE) - 1}/*"},
        ),
    )
    assert fetch() == FILE


def test_fewer_bytes_than_announced_count_as_a_broken_connection(fetch: Any, wire: Any) -> None:
    wire.will(whole(iter([FILE[:CHUNK_BYTES]])), rest(CHUNK_BYTES, part(CHUNK_BYTES, 0)))
    assert fetch() == FILE


def test_a_host_without_ranges_is_read_again_from_the_start(fetch: Any, wire: Any) -> None:
    wire.will(whole(part(0, 2, BROKEN)), whole(part(0, 0)))
    assert fetch() == FILE


def test_a_host_without_ranges_may_break_off_again_at_an_earlier_byte(fetch: Any, wire: Any) -> None:
    wire.will(whole(part(0, 3, BROKEN)), whole(part(0, 1, BROKEN)), whole(part(0, 4, BROKEN)), whole(part(0, 0)))
    assert fetch() == FILE


@pytest.mark.parametrize("chunks", [0, 1, 2, 3, 4])
def test_bytes_that_come_again_from_the_start_are_skipped(fetch: Any, wire: Any, chunks: int) -> None:
    wire.will(whole(part(0, 2, BROKEN)), whole(part(0, chunks)))
    assert fetch() == FILE


def test_an_error_while_resuming_counts_as_an_attempt(fetch: Any, wire: Any, clock: Clock) -> None:
    wire.will(
        whole(part(0, 1, BROKEN)),
        NewConnectionError(NOBODY, "down"),
        httpx.Response(500),
        rest(CHUNK_BYTES, part(CHUNK_BYTES, 1, BROKEN)),
        rest(2 * CHUNK_BYTES, part(2 * CHUNK_BYTES, 0)),
    )
    assert fetch() == FILE
    assert clock.naps == [RESUME_SECONDS * number for number in (1, 2, 3, 4)]


def test_a_download_gives_up_after_the_last_attempt(fetch: Any, wire: Any) -> None:
    wire.will(whole(part(0, 1, BROKEN)), *[rest(CHUNK_BYTES, part(CHUNK_BYTES, 0, BROKEN)) for _ in range(RESUMES)])
    with pytest.raises(
        SourceUnavailable, match=f"the connection dropped after {CHUNK_BYTES} bytes: the connection was reset"
    ):
        fetch()
    assert len(wire.requests) == 1 + RESUMES


@pytest.mark.parametrize(
    "answer",
    [
        whole(FILE, etag='"v2"'),
        rest(CHUNK_BYTES, FILE[CHUNK_BYTES:], etag='"v2"'),
        rest(CHUNK_BYTES, FILE[CHUNK_BYTES:], **{"content-range": f"bytes {CHUNK_BYTES}-9999999/10000000"}),
        rest(CHUNK_BYTES - 1, FILE[CHUNK_BYTES - 1 :]),
        rest(CHUNK_BYTES, FILE[CHUNK_BYTES:], **{"content-range": "nonsense"}),
        httpx.Response(404),
        httpx.Response(416),
        httpx.Response(302, headers={"location": LINK}),
    ],
    ids=["another file", "its rest", "another length", "another byte", "no range", "gone", "no such range", "moved"],
)
def test_a_response_that_is_not_the_rest_of_this_file_is_refused(fetch: Any, wire: Any, answer: httpx.Response) -> None:
    wire.will(whole(part(0, 1, BROKEN)), answer)
    with pytest.raises(SourceUnavailable, match=f"the connection dropped after {CHUNK_BYTES} bytes"):
        fetch()
    assert len(wire.requests) == 2


def test_the_rest_need_not_repeat_the_etag(fetch: Any, wire: Any) -> None:
    unmarked = {"content-range": f"bytes {CHUNK_BYTES}-{len(FILE) - 1}/{len(FILE)}"}
    wire.will(whole(part(0, 1, BROKEN)), httpx.Response(206, content=part(CHUNK_BYTES, 0), headers=unmarked))
    assert fetch() == FILE


@pytest.mark.parametrize("headers", [{}, {"etag": 'W/"v1"'}])
def test_a_file_without_an_etag_or_date_is_not_resumed(fetch: Any, wire: Any, headers: dict[str, str]) -> None:
    wire.will(httpx.Response(200, content=part(0, 1, BROKEN), headers=headers))
    with pytest.raises(SourceUnavailable):
        fetch()
    assert len(wire.requests) == 1
