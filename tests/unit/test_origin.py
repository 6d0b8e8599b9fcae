"""Detecting requests that come from a web page."""

import pytest

from local.origin import refusal

pytestmark = pytest.mark.hostile(kind="stranger")

HOST = ("host", "127.0.0.1:4566")
OTHER_PAGE = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]


@pytest.mark.parametrize("host", ["127.0.0.1:4566", "localhost:4566", "LOCALHOST:4566", "[::1]:4566"])
def test_programs_of_this_machine_are_answered(host: str) -> None:
    assert refusal("POST", [("host", host), ("user-agent", "aws-cli/1.0")], 4566) is None


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:4566", "127.0.0.1.evil.example:4566", "localhost.evil.example:4566"),
        *("127.0.0.1", "localhost", "127.0.0.1:4567", "localhost:80", "0.0.0.0:4566", "bucket.localhost:4566"),
        *("", "127.0.0.1:4566, evil.example", "evil.example@127.0.0.1:4566", "127.0.0.1:4566/", "[::2]:4566"),
    ],
)
def test_another_host_is_refused(host: str) -> None:
    assert "is not this server; its address is http://127.0.0.1:4566" in str(refusal("GET", [("host", host)], 4566))


@pytest.mark.parametrize("hosts", [[], [HOST, HOST], [HOST, ("host", "evil.example")]])
def test_a_request_must_have_exactly_one_host(hosts: list[tuple[str, str]]) -> None:
    assert "is not this server" in str(refusal("GET", hosts, 4566))


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "http://evil.example",
            "null",
            "",
            "http://localhost:3000",
            "http://127.0.0.1:4567",
            "https://127.0.0.1:4566",
        ),
        *(
            "http://127.0.0.1",
            "http://localhost:4566",
            "file://",
            "chrome-extension://abc",
            "http://127.0.0.1:4566.evil",
        ),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_origin_is_refused(origin: str, method: str) -> None:
    assert "pages of another origin" in str(refusal(method, [HOST, ("origin", origin)], 4566))
    # A second, allowed origin changes nothing.
    headers = [HOST, ("origin", "http://127.0.0.1:4566"), ("origin", origin)]
    assert "pages of another origin" in str(refusal(method, headers, 4566))


def test_the_servers_own_origin_is_answered() -> None:
    headers = [HOST, ("origin", "http://127.0.0.1:4566"), ("sec-fetch-site", "same-origin")]
    assert refusal("POST", headers, 4566) is None


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", "", "none, cross-site", "other"])
def test_another_site_is_refused(site: str) -> None:
    assert "pages of another site" in str(refusal("GET", [HOST, ("sec-fetch-site", site)], 4566))


def test_an_address_typed_into_a_browser_is_answered() -> None:
    typed = [HOST, ("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]
    assert refusal("GET", typed, 4566) is None


def test_no_web_page_gets_permission() -> None:
    assert "are not allowed to call this server" in str(refusal("OPTIONS", [HOST], 4566))


def test_a_signed_link_may_be_opened_from_any_page() -> None:
    assert refusal("GET", [HOST, *OTHER_PAGE], 4566, signed_link=True) is None


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", [*OTHER_PAGE[:2], ("sec-fetch-dest", "iframe")]),
        ("GET", [*OTHER_PAGE[:1], ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "video")]),
        ("GET", [*OTHER_PAGE[:1], ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")]),
        ("GET", [*OTHER_PAGE, ("origin", "http://evil.example")]),
        ("GET", OTHER_PAGE[:1]),
        ("PUT", OTHER_PAGE),
        ("POST", OTHER_PAGE),
    ],
)
def test_a_signed_link_can_only_be_opened(method: str, headers: list[tuple[str, str]]) -> None:
    assert refusal(method, [HOST, *headers], 4566, signed_link=True)


def test_an_unsigned_link_is_not_opened_from_another_page() -> None:
    assert refusal("GET", [HOST, *OTHER_PAGE], 4566)


@pytest.mark.parametrize("host", ["evil.example:4566", "127.0.0.1:1"])
def test_a_signed_link_names_this_server(host: str) -> None:
    assert refusal("GET", [("host", host), *OTHER_PAGE], 4566, signed_link=True)
