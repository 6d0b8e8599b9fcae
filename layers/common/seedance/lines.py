"""GETs, to the provider and to the hosts of its results: what may be asked as often as one likes.

By urllib3, which botocore has loaded anyway: a poll's start takes a sixth less than with httpx, reading 1 GB
half of its processor time (docs/decisions.md). What must be sent only once goes by httpx, in seedance.provider.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from botocore.utils import get_environ_proxies
from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Timeout
from urllib3.util import parse_url

from seedance.tls import trust

CONNECT_SECONDS = 5.0
"""For a connection to come about."""

_HEADERS = {"User-Agent": "seedance-pipeline"}


@contextmanager
def get(url: str, headers: Mapping[str, str], seconds: float) -> Iterator[BaseHTTPResponse]:
    """The answer to a GET, redirects too as they are, with its body still to be read.

    ``seconds`` is the longest silence between two reads. The line is closed at the end: a frozen Lambda would wake
    up to a dead one. Raises urllib3's HTTPError, also while the body is read.
    """
    with _pool(_proxy(url)) as pool:
        response = pool.urlopen(
            "GET",
            url,
            headers={**_HEADERS, **headers},
            timeout=Timeout(connect=CONNECT_SECONDS, read=seconds),
            redirect=False,
            retries=False,
            preload_content=False,
            enforce_content_length=False,  # seedance.download counts for itself
        )
        try:
            yield response
        finally:
            response.close()


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for an address (HTTPS_PROXY, NO_PROXY), as for every other call."""
    proxies: dict[str, str] = get_environ_proxies(url)
    return proxies.get(parse_url(url).scheme or "")


def _pool(proxy: str | None) -> PoolManager:
    return ProxyManager(proxy, ssl_context=trust()) if proxy else PoolManager(ssl_context=trust())
