"""Fetching a result: only over https, only from allowed hosts, every redirect looked at again.

The address comes out of an answer on the network. Followed blindly, it could point a function with access
to the account at the instance's credentials or at a private service.
"""

import ipaddress
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from urllib.parse import urljoin, urlsplit

import httpx

from seedance.config import settings
from seedance.errors import ForbiddenSource, SourceUnavailable
from seedance.tls import trust

DOWNLOAD_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
"""Between two reads, not for the whole: a large video may take long, a silent line may not."""

MAX_REDIRECTS = 3
_OWN_PORTS = {"https": 443, "http": 80}
CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Source:
    """An opened result: its announced length in bytes, its media type, and its bytes as they come."""

    length: int | None
    media_type: str
    chunks: Iterator[bytes]


Fetch = Callable[[str], AbstractContextManager[Source]]


class Downloads:
    """Opens results from ``hosts`` (lower case, with a port where it is not the scheme's own)."""

    def __init__(self, hosts: Collection[str], transport: httpx.BaseTransport | None = None) -> None:
        self._hosts = hosts
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

        Raises ForbiddenSource, or SourceUnavailable when the host does not deliver; the latter also while
        the chunks are read, when fewer bytes come than were announced.
        """
        for _ in range(MAX_REDIRECTS + 1):
            self.check(url)
            try:
                with self._http.stream("GET", url) as response:
                    if response.is_redirect:
                        url = urljoin(url, response.headers.get("location", ""))
                        continue
                    if response.status_code != 200:
                        raise SourceUnavailable(f"the host of the result answered {response.status_code}", url=url)
                    yield source_of(response)
                    return
            except httpx.HTTPError as error:
                raise SourceUnavailable(
                    f"the result could not be fetched: {str(error) or type(error).__name__}", url=url
                ) from error
        raise SourceUnavailable(f"the result was redirected more than {MAX_REDIRECTS} times", url=url)

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
    announced = response.headers.get("content-length", "")
    length = int(announced) if announced.isdigit() else None
    return Source(
        length,
        response.headers.get("content-type", "").partition(";")[0].strip().lower(),
        _whole(response, length),
    )


def _whole(response: httpx.Response, length: int | None) -> Iterator[bytes]:
    url, count = str(response.url), 0
    try:
        for chunk in response.iter_bytes(CHUNK_BYTES):
            count += len(chunk)
            yield chunk
    except httpx.HTTPError as error:
        raise SourceUnavailable(
            f"the line broke after {count} bytes: {str(error) or type(error).__name__}", url=url
        ) from error
    if length is not None and count != length:
        raise SourceUnavailable(f"{count} bytes came where {length} were announced", url=url)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@cache
def downloads() -> Downloads:
    """Downloads from the stack's allowed hosts."""
    return Downloads(settings().media_hosts)
