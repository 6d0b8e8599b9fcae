"""Fetching a result: only over https, only from allowed hosts, every redirect looked at again.

The address comes out of an answer on the network. Followed blindly, it could point a function with access
to the account at the instance's credentials or at a private service.
"""

import ipaddress
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from urllib.parse import urljoin, urlsplit

import httpx

from seedance.config import settings
from seedance.errors import ForbiddenSource, SourceUnavailable
from seedance.tls import trust
from seedance.wording import reason

DOWNLOAD_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
"""Between two reads, not for the whole: a large video may take long, a silent line may not."""

MAX_REDIRECTS = 3
RESUMES = 5
"""How often a download is taken up again where its line broke."""
RESUME_SECONDS = 0.2
"""The pause before the first time; each further one is as much longer."""
_CONTENT_RANGE = re.compile(r"bytes (?P<start>\d+)-\d+/(?P<total>\d+|\*)")
_OWN_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Source:
    """An opened result: its announced length in bytes, its media type, and its bytes as they come."""

    length: int | None
    media_type: str
    chunks: Iterator[bytes]


Fetch = Callable[[str], AbstractContextManager[Source]]


class Downloads:
    """Opens results from ``hosts`` (lower case, with a port where it is not the scheme's own)."""

    def __init__(
        self,
        hosts: Collection[str],
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._hosts = hosts
        self._pause = pause
        self._http = httpx.Client(
            transport=transport,
            verify=trust(),
            timeout=DOWNLOAD_TIMEOUT,
            follow_redirects=False,
            # The length must count the file's own bytes, and a video does not compress anyway.
            headers={"User-Agent": "seedance-pipeline", "Accept-Encoding": "identity"},
        )

    @contextmanager
    def open(self, url: str) -> Iterator[Source]:
        """The file behind ``url``.

        A line that breaks while the chunks are read is taken up again where it broke, if the host still has
        the same file. Raises ForbiddenSource, or SourceUnavailable when the host does not deliver; the latter
        also while the chunks are read.
        """
        with ExitStack() as lines:
            response = self._follow(url, lines)
            yield Source(_length(response), _media_type(response), self._chunks(response, lines))

    def _follow(self, url: str, lines: ExitStack) -> httpx.Response:
        """The file's own answer, after redirects; its body is still to be read."""
        for _ in range(MAX_REDIRECTS + 1):
            self.check(url)
            try:
                response = lines.enter_context(self._http.stream("GET", url))
            except httpx.HTTPError as error:
                raise SourceUnavailable(f"the result could not be fetched: {reason(error)}", url=url) from error
            if response.is_redirect:
                response.close()
                url = urljoin(url, response.headers.get("location", ""))
                continue
            if response.status_code != 200:
                raise SourceUnavailable(f"the host of the result answered {response.status_code}", url=url)
            return response
        raise SourceUnavailable(f"the result was redirected more than {MAX_REDIRECTS} times", url=url)

    def _chunks(self, first: httpx.Response, lines: ExitStack) -> Iterator[bytes]:
        """The file's bytes, over as many lines as it takes, but no more than RESUMES besides the first."""
        chunks, count, tries = _whole(first, _length(first)), 0, iter(range(1, RESUMES + 1))
        while True:
            try:
                for chunk in chunks:
                    count += len(chunk)
                    yield chunk
            except SourceUnavailable as broken:
                chunks = self._rest(first, count, broken, tries, lines)
            else:
                return

    def _rest(
        self, first: httpx.Response, count: int, broken: SourceUnavailable, tries: Iterator[int], lines: ExitStack
    ) -> Iterator[bytes]:
        """The same file from byte ``count`` on. Raises ``broken`` where it can't be had."""
        mark, length = _mark(first), _length(first)
        if not mark:
            raise broken  # nothing tells this file from another one at its address
        # With If-Range the host sends the rest of this file, or all of a new one (RFC 9110, section 13.1.5).
        headers = {"Range": f"bytes={count}-", "If-Range": mark}
        for number in tries:
            self._pause(RESUME_SECONDS * number)
            try:
                response = lines.enter_context(self._http.stream("GET", first.url, headers=headers))
            except httpx.HTTPError:
                continue
            if response.status_code >= 500:
                continue
            if response.status_code == 200 and _mark(response) == mark:
                return _after(_whole(response, length), count)  # a host without ranges: once more from the start
            given = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
            same = given and int(given["start"]) == count and given["total"] in (str(length), "*")
            if response.status_code == 206 and same and _mark(response) in ("", mark):
                return _whole(response, length, count)
            break
        raise broken

    def check(self, url: str) -> None:
        """Raises ForbiddenSource unless the address is https on an allowed host; loopback may be http."""
        try:
            parts = urlsplit(url)
            host, port = httpx.URL(url) and (parts.hostname or "").lower(), parts.port
        except (ValueError, httpx.InvalidURL):
            raise ForbiddenSource("the result's address is not a valid one", url=url) from None
        named = host if port in (None, _OWN_PORTS.get(parts.scheme)) else f"{host}:{port}"
        if not host or named not in self._hosts or parts.username is not None:
            allowed = ", ".join(sorted(self._hosts))
            raise ForbiddenSource(f"the result lies on {named or 'no host'}; allowed is only {allowed}", url=url)
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
            raise ForbiddenSource(f"the result's address is {parts.scheme}, not https", url=url)


def source_of(response: httpx.Response) -> Source:
    """An open answer as a source; reading it raises SourceUnavailable when it breaks off."""
    length = _length(response)
    return Source(length, _media_type(response), _whole(response, length))


def _length(response: httpx.Response) -> int | None:
    announced = response.headers.get("content-length", "")
    return int(announced) if announced.isdigit() else None


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _mark(response: httpx.Response) -> str:
    """What tells this file from every other one at its address: a strong ETag, or the time of its last change."""
    etag = str(response.headers.get("etag", ""))
    return etag if etag and not etag.startswith("W/") else str(response.headers.get("last-modified", ""))


def _whole(response: httpx.Response, length: int | None, count: int = 0) -> Iterator[bytes]:
    """An answer's chunks; it holds a file of ``length`` bytes from byte ``count`` on."""
    url = str(response.url)
    try:
        for chunk in response.iter_bytes():  # as they come, 64 KB at most; to ask for a size costs more than SHA-256
            count += len(chunk)
            yield chunk
    except httpx.HTTPError as error:
        raise SourceUnavailable(f"the line broke after {count} bytes: {reason(error)}", url=url) from error
    if length is not None and count != length:
        raise SourceUnavailable(f"{count} bytes came where {length} were announced", url=url)


def _after(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """The chunks without the first ``count`` bytes."""
    for chunk in chunks:
        if count < len(chunk):
            yield chunk[count:]
        count = max(0, count - len(chunk))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@cache
def downloads() -> Downloads:
    """Downloads from the stack's allowed hosts."""
    return Downloads(settings().media_hosts)
