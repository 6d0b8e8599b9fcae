"""Downloads results: only over https, only from allowed hosts, with a check of every redirect.

The address comes from a response over the network. If it were followed unchecked, it could make a function with
access to the account request the instance's credentials or a private service.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError
from urllib3.util import Url

from seedance.clock import CLOCK, Clock
from seedance.config import provider_settings
from seedance.errors import ForbiddenSource, NotAVideo, SourceUnavailable
from seedance.provider import bodies, http, links
from seedance.provider.http import Limit
from seedance.provider.trouble import reason

SILENCE_SECONDS = 30.0
"""The timeout between two reads. How slow a connection may be is in http.STRIDE_SECONDS."""

DOWNLOAD_SECONDS = 240.0
"""The timeout for a whole file. Its function has 300 s."""

MOST_BYTES = 2_000_000_000
"""The maximum length of a file. The longest videos of our models, 15 s of 1080p, have a hundredth of that."""

CHUNK_BYTES = 256 * 1024
"""Bytes per read, lost if the connection drops. With 64 KB, downloading 1 GB takes 3% more processor time."""

MAX_REDIRECTS = 10
"""Half of what browsers follow."""
RESUMES = 5
"""How often a download is resumed after the connection drops."""
RESUME_SECONDS = 0.2
"""The pause before the first resume. Each further pause is longer by the same amount."""
_CONTENT_RANGE = re.compile(r"bytes (?P<start>[0-9]{1,15})-[0-9]+/(?P<total>[0-9]+|\*)")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Source:
    """An opened result: its Content-Length, its media type, and its bytes as they arrive."""

    length: int | None
    media_type: str
    chunks: Iterator[bytes]
    framed: bool = True
    """Whether the response says where it ends. Only then is it certain that the file was not cut off on its way."""


# A video does not compress, and compression is not needed for a resumed download either.
_AS_IT_IS = {"Accept-Encoding": "identity"}


class Downloads:
    """Opens results from ``hosts`` (lower case, with the port unless it is the scheme's default)."""

    def __init__(
        self,
        hosts: Collection[str],
        clock: Clock = CLOCK,
    ) -> None:
        self._hosts = hosts
        self._clock = clock

    @contextmanager
    def open(self, url: str, seconds: float = DOWNLOAD_SECONDS) -> Iterator[Source]:
        """The file at ``url``, unpacked if the host compressed it. ``seconds`` limits the time for the whole download.

        If the connection drops while the chunks are read, the download resumes from there, provided that the host
        still has the same file. Raises ForbiddenSource, or SourceUnavailable if the file can't be downloaded; the
        latter also while the chunks are read, and NotAVideo if it is larger than MOST_BYTES or can't be unpacked.
        """
        with ExitStack() as stack:
            limit = stack.enter_context(Limit(seconds))
            where, response = self._follow(url, stack, limit)
            headers = response.headers
            file = _File(where, announced_length(headers), _mark(response), limit)
            chunks = contents(self._chunks(file, response, stack), headers)
            yield Source(file.length, media_type(headers), chunks, framed(headers))

    def check(self, url: str) -> Url:
        """The address as it will be requested.

        Raises ForbiddenSource unless it is https on an allowed host. Loopback may be http.
        """
        return links.check(url, self._hosts)

    def _follow(self, url: str, stack: ExitStack, limit: Limit) -> tuple[Url, BaseHTTPResponse]:
        """The file's own address and response, after redirects, before its body is read."""
        for _ in range(MAX_REDIRECTS + 1):
            where = self.check(url)
            _check_time(limit)
            try:
                response = self._get(where, stack, limit)
            except HTTPError as error:
                _check_time(limit)
                raise SourceUnavailable(f"the result could not be downloaded: {reason(error)}", url=url) from error
            if response.status in _REDIRECTS:
                response.close()
                url = _redirected(url, response.headers.get("location", ""))
                continue
            if response.status != 200:
                raise SourceUnavailable(f"the result's host answered {response.status}", url=url)
            return where, response
        raise SourceUnavailable(f"the result was redirected more than {MAX_REDIRECTS} times", url=url)

    def _get(self, where: Url, stack: ExitStack, limit: Limit, **headers: str) -> BaseHTTPResponse:
        """The response, before its body is read. ``stack`` closes its connection."""
        return stack.enter_context(http.get(where.url, {**_AS_IT_IS, **headers}, SILENCE_SECONDS, limit))

    def _chunks(self, file: "_File", first: BaseHTTPResponse, stack: ExitStack) -> Iterator[bytes]:
        """The file's bytes, with at most RESUMES further connections after the first."""
        chunks, count, tries = _whole(file, first), 0, iter(range(1, RESUMES + 1))
        while True:
            try:
                for chunk in chunks:
                    count += len(chunk)
                    yield chunk
            except SourceUnavailable as broken:
                chunks = self._rest(file, count, broken, tries, stack)
            else:
                return

    def _rest(
        self, file: "_File", count: int, broken: SourceUnavailable, tries: Iterator[int], stack: ExitStack
    ) -> Iterator[bytes]:
        """The same file from byte ``count`` on. Raises ``broken`` if that is not possible."""
        if not file.mark:
            raise broken  # nothing distinguishes this file from a later one at the same address
        # With If-Range the host sends the rest of the same file, or all of a new one (RFC 9110, section 13.1.5).
        headers = {"Range": f"bytes={count}-", "If-Range": file.mark}
        for number in tries:
            self._clock.sleep(RESUME_SECONDS * number)
            _check_time(file.limit)
            try:
                response = self._get(file.where, stack, file.limit, **headers)
            except HTTPError:
                continue
            if response.status >= 500:
                continue
            if response.status == 200 and _mark(response) == file.mark:
                return _after(_whole(file, response), count)  # the host does not support ranges: start again
            given = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
            same = given and int(given["start"]) == count and given["total"] in (str(file.length), "*")
            if response.status == 206 and same and _mark(response) in ("", file.mark):
                return _whole(file, response, count)
            break
        raise broken


def contents(chunks: Iterable[bytes], headers: Mapping[str, str]) -> Iterator[bytes]:
    """The file in a response, from its raw ``chunks``. Raises NotAVideo if it is too large or can't be unpacked."""
    length = announced_length(headers)
    if length is not None and length > MOST_BYTES:
        raise NotAVideo(f"the result has {length / 1e6:,.0f} MB; at most {MOST_BYTES / 1e6:,.0f} MB are copied")
    try:
        yield from bodies.decoded(chunks, headers.get("content-encoding", ""), MOST_BYTES)
    except bodies.Unreadable as error:
        raise NotAVideo(f"the result is not a complete MP4: {error}") from error


def announced_length(headers: Mapping[str, str]) -> int | None:
    """The Content-Length of a response, None if missing or invalid, or if the response is in chunks (RFC 9112, 6.3)."""
    announced = re.fullmatch(r"([0-9]{1,15})(?:\s*,\s*\1)*", headers.get("content-length", ""))  # it may be repeated
    return int(announced[1]) if announced and not _is_chunked(headers) else None


def framed(headers: Mapping[str, str]) -> bool:
    """Whether a response says where it ends."""
    return _is_chunked(headers) or announced_length(headers) is not None


def _is_chunked(headers: Mapping[str, str]) -> bool:
    return "chunked" in headers.get("transfer-encoding", "").lower()


def media_type(headers: Mapping[str, str]) -> str:
    """The Content-Type of a response without parameters, in lower case; "" if missing."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def counted(chunks: Iterable[bytes], length: int | None, count: int = 0) -> Iterator[bytes]:
    """The chunks of a file from byte ``count`` on. Raises SourceUnavailable if its length is not ``length``."""
    for chunk in chunks:
        count += len(chunk)
        yield chunk
    if length is not None and count != length:
        raise SourceUnavailable(f"expected {length} bytes, received {count}")


@dataclass(frozen=True)
class _File:
    """The file to download: its address, its length, a mark that identifies its version, and the time limit."""

    where: Url
    length: int | None
    mark: str
    limit: Limit


def _mark(response: BaseHTTPResponse) -> str:
    """The strong ETag, or else Last-Modified; "" if the host sends neither."""
    etag = response.headers.get("etag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("last-modified", "")


def _whole(file: _File, response: BaseHTTPResponse, count: int = 0) -> Iterator[bytes]:
    """The chunks of a response that contains the file from byte ``count`` on."""
    try:
        raw = file.limit.paced(response.stream(CHUNK_BYTES, decode_content=False))
        for chunk in counted(raw, file.length, count):
            count += len(chunk)
            yield chunk
    except (HTTPError, SourceUnavailable) as error:
        _check_time(file.limit)  # then we shut down the connection ourselves
        if isinstance(error, SourceUnavailable):
            raise
        raise SourceUnavailable(f"the connection dropped after {count} bytes: {reason(error)}") from error
    _check_time(file.limit)  # when the limit shuts the socket, a body without a length seems to end normally


def _check_time(limit: Limit) -> None:
    if limit.over:
        raise SourceUnavailable("the download of the result took too long")


def _redirected(url: str, location: str) -> str:
    """The target of a redirect, not checked yet."""
    # http.client reads headers as Latin-1. A Location with other letters is UTF-8, as browsers read it.
    with suppress(UnicodeError):
        location = location.encode("latin-1").decode()
    location = location.strip()
    if not location:
        raise SourceUnavailable("the result's host sent a redirect without a Location", url=url)
    try:
        return urljoin(url, location)
    except ValueError:  # "http://[": the standard library does not read it
        raise ForbiddenSource("the result's host redirects to an invalid address", url=url) from None


def _after(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """The chunks without the first ``count`` bytes."""
    for chunk in chunks:
        if count < len(chunk):
            yield chunk[count:]
        count = max(0, count - len(chunk))


@cache
def downloads() -> Downloads:
    """Downloads from the hosts that the stack allows."""
    return Downloads(provider_settings().segmind_media_hosts)
