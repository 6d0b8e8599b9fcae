"""Fetching a result: only over https, only from allowed hosts, every redirect looked at again.

The address comes out of an answer on the network. Followed blindly, it could point a function with access
to the account at the instance's credentials or at a private service.
"""

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError
from urllib3.util import Url

from seedance.config import settings
from seedance.errors import ForbiddenSource, SourceUnavailable
from seedance.provider import http, links
from seedance.provider.http import Limit
from seedance.provider.trouble import reason

DOWNLOAD_SECONDS = 30.0
"""Between two reads, not for the whole: a large video may take long, a silent line may not."""

CHUNK_BYTES = 256 * 1024
"""What is read at a time, and lost when the line breaks; with 64 KB a GB takes 3 % more of the processor."""

MAX_REDIRECTS = 3
RESUMES = 5
"""How often a download is taken up again where its line broke."""
RESUME_SECONDS = 0.2
"""The pause before the first time; each further one is as much longer."""
_CONTENT_RANGE = re.compile(r"bytes (?P<start>[0-9]{1,15})-[0-9]+/(?P<total>[0-9]+|\*)")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Source:
    """An opened result: its announced length in bytes, its media type, and its bytes as they come."""

    length: int | None
    media_type: str
    chunks: Iterator[bytes]


# The length must count the file's own bytes, and a video does not compress anyway.
_AS_IT_IS = {"Accept-Encoding": "identity"}


class Downloads:
    """Opens results from ``hosts`` (lower case, with a port where it is not the scheme's own)."""

    def __init__(
        self,
        hosts: Collection[str],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._hosts = hosts
        self._pause = pause

    @contextmanager
    def open(self, url: str, seconds: float | None = None) -> Iterator[Source]:
        """The file behind ``url``; ``seconds`` limits the time for the whole of it.

        A line that breaks while the chunks are read is taken up again where it broke, if the host still has
        the same file. Raises ForbiddenSource, or SourceUnavailable when the host does not deliver; the latter
        also while the chunks are read.
        """
        with ExitStack() as stack:
            limit = stack.enter_context(Limit(seconds)) if seconds is not None else None
            where, response = self._follow(url, stack, limit)
            file = _File(where, announced_length(response.headers), _mark(response), limit)
            yield Source(file.length, media_type(response.headers), self._chunks(file, response, stack))

    def check(self, url: str) -> Url:
        """The address, as it will be asked for.

        Raises ForbiddenSource unless it is https on an allowed host; loopback may be http.
        """
        return links.check(url, self._hosts)

    def _follow(self, url: str, stack: ExitStack, limit: Limit | None) -> tuple[Url, BaseHTTPResponse]:
        """The file's own address and answer, after redirects; its body is still to be read."""
        for _ in range(MAX_REDIRECTS + 1):
            where = self.check(url)
            _check_time(limit)
            try:
                response = self._get(where, stack, limit)
            except HTTPError as error:
                raise SourceUnavailable(f"the result could not be fetched: {reason(error)}", url=url) from error
            if response.status in _REDIRECTS:
                response.close()
                url = _redirected(url, response.headers.get("location", ""))
                continue
            if response.status != 200:
                raise SourceUnavailable(f"the host of the result answered {response.status}", url=url)
            return where, response
        raise SourceUnavailable(f"the result was redirected more than {MAX_REDIRECTS} times", url=url)

    def _get(self, where: Url, stack: ExitStack, limit: Limit | None, **headers: str) -> BaseHTTPResponse:
        """The head of an answer; its line is the stack's to close."""
        return stack.enter_context(http.get(where.url, {**_AS_IT_IS, **headers}, DOWNLOAD_SECONDS, limit))

    def _chunks(self, file: "_File", first: BaseHTTPResponse, stack: ExitStack) -> Iterator[bytes]:
        """The file's bytes, over as many lines as it takes, but no more than RESUMES besides the first."""
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
        """The same file from byte ``count`` on. Raises ``broken`` where it can't be had."""
        if not file.mark:
            raise broken  # nothing tells this file from another one at its address
        # With If-Range the host sends the rest of this file, or all of a new one (RFC 9110, section 13.1.5).
        headers = {"Range": f"bytes={count}-", "If-Range": file.mark}
        for number in tries:
            self._pause(RESUME_SECONDS * number)
            _check_time(file.limit)
            try:
                response = self._get(file.where, stack, file.limit, **headers)
            except HTTPError:
                continue
            if response.status >= 500:
                continue
            if response.status == 200 and _mark(response) == file.mark:
                return _after(_whole(file, response), count)  # a host without ranges: once more from the start
            given = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
            same = given and int(given["start"]) == count and given["total"] in (str(file.length), "*")
            if response.status == 206 and same and _mark(response) in ("", file.mark):
                return _whole(file, response, count)
            break
        raise broken


def announced_length(headers: Mapping[str, str]) -> int | None:
    """How many bytes an answer says that it has."""
    announced = headers.get("content-length", "")
    return int(announced) if re.fullmatch(r"[0-9]{1,15}", announced) else None


def media_type(headers: Mapping[str, str]) -> str:
    """What an answer says that it is, without parameters and in lower case; "" if it says nothing."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def counted(chunks: Iterable[bytes], length: int | None, count: int = 0) -> Iterator[bytes]:
    """The chunks of a file of ``length`` bytes, from byte ``count`` on; raises SourceUnavailable if it has another."""
    for chunk in chunks:
        count += len(chunk)
        yield chunk
    if length is not None and count != length:
        raise SourceUnavailable(f"{count} bytes came where {length} were announced")


@dataclass(frozen=True)
class _File:
    """What is fetched: from where, how many bytes, what tells it from every other file there, and in what time."""

    where: Url
    length: int | None
    mark: str
    limit: Limit | None = None


def _mark(response: BaseHTTPResponse) -> str:
    """A strong ETag, or the time of the last change; "" if the host tells neither."""
    etag = response.headers.get("etag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("last-modified", "")


def _whole(file: _File, response: BaseHTTPResponse, count: int = 0) -> Iterator[bytes]:
    """An answer's chunks; it holds the file from byte ``count`` on."""
    try:
        for chunk in counted(response.stream(CHUNK_BYTES, decode_content=False), file.length, count):
            count += len(chunk)
            yield chunk
        _check_time(file.limit)  # the end of a body without a length looks like this, too
    except HTTPError as error:
        raise SourceUnavailable(f"the line broke after {count} bytes: {reason(error)}") from error


def _check_time(limit: Limit | None) -> None:
    if limit and limit.over:
        raise SourceUnavailable("the result took too long")


def _redirected(url: str, location: str) -> str:
    """Where a redirect leads. It is still to be checked."""
    if not location:
        raise SourceUnavailable("the host of the result redirects to nowhere", url=url)
    try:
        return urljoin(url, location)
    except ValueError:  # "http://[": the standard library does not read it
        raise ForbiddenSource("the result is redirected to an address that is not a valid one", url=url) from None


def _after(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """The chunks without the first ``count`` bytes."""
    for chunk in chunks:
        if count < len(chunk):
            yield chunk[count:]
        count = max(0, count - len(chunk))


@cache
def downloads() -> Downloads:
    """Downloads from the stack's allowed hosts."""
    return Downloads(settings().media_hosts)
