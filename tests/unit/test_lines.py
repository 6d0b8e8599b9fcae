"""GET requests: what is sent, through which proxy, and that no connection stays open."""

from typing import Any

import httpx
import pytest
from seedance.provider import http
from urllib3 import ProxyManager

LINK = "https://images.segmind.com/video.mp4"


def test_a_response_is_returned_unchanged_and_its_connection_closed(wire: Any) -> None:
    wire.will(httpx.Response(302, headers={"location": "https://example.com"}, content=b"elsewhere"))
    with http.Limit(1.0) as limit, http.get(LINK, {"x-api-key": "k"}, 1.0, limit) as response:
        assert (response.status, response.headers["location"]) == (302, "https://example.com")
        assert response.read() == b"elsewhere"
    assert response.closed
    sent = wire.requests[0].headers
    assert (sent["x-api-key"], sent["user-agent"]) == ("k", "seedance-pipeline")


def test_the_environments_proxy_is_used_unless_no_proxy_lists_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert http._proxy(LINK) is None
    monkeypatch.setenv("https_proxy", "http://proxy.example.com:3128")
    assert http._proxy(LINK) == "http://proxy.example.com:3128"
    assert isinstance(http._pool(http._proxy(LINK)), ProxyManager)
    monkeypatch.setenv("no_proxy", "segmind.com")
    assert http._proxy(LINK) is None
