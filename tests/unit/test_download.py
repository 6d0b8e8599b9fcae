"""Downloading a result: only from allowed hosts, with every redirect checked and every byte counted."""

import gzip
import socket
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from http.client import IncompleteRead
from typing import Any

import httpx
import pytest
from seedance.errors import ForbiddenSource, MediaError, NotAVideo, SourceUnavailable
from seedance.provider import download as download_module
from seedance.provider.download import MAX_REDIRECTS, Downloads, announced_length
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)

gzipped = partial(gzip.compress, mtime=0)
"""Without the time, so that the ids of the tests are the same in every process."""

pytestmark = pytest.mark.hostile(kind="answer")

HOSTS = frozenset(
    {
        *("images.segmind.com", "cdn.example.com:8443", "127.0.0.1:9000", "localhost:9000", "::1:9000"),
        "xn--bcher-kva.example",
    }
)
CHUNK_BYTES = 64 * 1024
LINK = "https://images.segmind.com/video.mp4"
NOBODY: Any = None
"""The connection that an error of urllib3's names."""


@pytest.fixture
def downloads(wire: Any) -> Downloads:
    return Downloads(HOSTS)


@pytest.fixture
def fetch(downloads: Downloads) -> Callable[[str], bytes]:
    def read(url: str = LINK) -> bytes:
        with downloads.open(url) as source:
            return b"".join(source.chunks)

    return read


def redirect(location: str, status: int = 302) -> httpx.Response:
    return httpx.Response(status, headers={"location": location})


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize(
    "url",
    [
        LINK,
        "https://images.segmind.com/a/b%20c.mp4?sig=x#t=1",
        "https://IMAGES.Segmind.COM/video.mp4",
        "https://images.segmind.com:443/video.mp4",
        "HTTPS://images.segmind.com/video.mp4",
        "https://cdn.example.com:8443/v",
        "http://127.0.0.1:9000/v",
        "http://localhost:9000/v",
        "http://[::1]:9000/v",
        "https://127.0.0.1:9000/v",
        # blanks around it, and letters that a link should have escaped
        f" {LINK}",
        f"{LINK}\r\n",
        f"\t{LINK}\u00a0\n",
        f"{LINK}#t=0",
        "https://images.segmind.com/my video (1).mp4",
        "https://images.segmind.com/v\u00eddeo/\u9774\u5b50.mp4?n\u00e4me=\u00fc",
        "https://images.segmind.com/100%.mp4",
        'https://images.segmind.com/a|b{c}[d]^.mp4?e[]="f"',
        "https://images.segmind.com",
        "https://images.segmind.com?id=5",
        "https://b\u00fccher.example/v.mp4",
        "https://B\u00dcCHER.example/v.mp4",
        "https://xn--bcher-kva.example/v.mp4",
    ],
)
@pytest.mark.hostile(kind="answer")
def test_a_url_on_the_list_is_downloaded(fetch: Any, wire: Any, url: str) -> None:
    wire.will(httpx.Response(200, content=b"video"))
    assert fetch(url) == b"video"


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize(
    "url",
    [
        "http://images.segmind.com/video.mp4",
        "ftp://images.segmind.com/video.mp4",
        "file://images.segmind.com/etc/passwd",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "images.segmind.com/video.mp4",
        "//images.segmind.com/video.mp4",
        "",
        "https://",
        "https:///video.mp4",
        "https://images.segmind.com.evil.com/v",
        "https://evil-images.segmind.com/v",
        "https://evil.com/images.segmind.com",
        "https://segmind.com/v",
        "https://images.segmind.com./v",
        "https://images.segmind.com@evil.com/v",
        "https://evil.com\\@images.segmind.com/v",
        "https://images.segmind.com\\.evil.com/v",
        "https://user@images.segmind.com/v",
        "https://user:pass@images.segmind.com/v",
        "https://@images.segmind.com/v",
        "https://images.segmind.com:8443/v",
        "https://images.segmind.com:0/v",
        "https://images.segmind.com:99999/v",
        "https://images.segmind.com:port/v",
        "https://cdn.example.com/v",
        "https://cdn.example.com:443/v",
        "http://cdn.example.com:8443/v",
        "http://127.0.0.1/v",
        "http://127.0.0.1:9001/v",
        "http://127.0.0.2:9000/v",
        "http://2130706433:9000/v",
        "http://0x7f000001:9000/v",
        "http://127.1:9000/v",
        "http://localhost.evil.com:9000/v",
        "http://[::ffff:127.0.0.1]:9000/v",
        "http://[::1]/v",
        "http://[::1:9000/v",
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "http://[fd00:ec2::254]/latest/",
        "https://images。segmind。com/v",
        "https://\u0131mages.segmind.com/v",  # a dotless i
        "https://images.segmind.com\n.evil.com/v",
        "https://images.segmind.com/v\nx",
        "https://images.segmind.com/\x00",
        "https://xn--images-.segmind.com/v",
        "https://b\u00fccher.images.segmind.com/v",
        "https://b\u00fccher.example:8443/v",
        "https://b\u00fccher.example@evil.com/v",
        "https://b\u00fccher\uff0eexample/v",
        "https://b\u00fccher\uff61example/v",
        "https://\u202eb\u00fccher.example/v",
        "https://b\u00fccher\u200b.example/v",
        "https://169.254.169.254/",
        "https://10.0.0.1/v",
        "https://192.168.0.1/v",
        "https://[::ffff:169.254.169.254]/v",
        "https://[::ffff:a9fe:a9fe]/v",
        "https://metadata.google.internal/",
        "https://0/v",
        "http://0.0.0.0:9000/v",
        "http://\u2460\u2461\u2466.0.0.1:9000/v",  # digits in circles
    ],
)
@pytest.mark.hostile(kind="answer")
def test_any_other_url_is_refused_before_anything_is_sent(fetch: Any, wire: Any, url: str) -> None:
    with pytest.raises(ForbiddenSource):
        fetch(url)
    assert wire.requests == []


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_an_allowed_host_is_followed(fetch: Any, wire: Any, status: int) -> None:
    wire.will(
        redirect("https://cdn.example.com:8443/v", status),
        redirect("../w?x=1", status),
        httpx.Response(200, content=b"v"),
    )
    assert fetch() == b"v"
    assert wire.asked == [f"GET {LINK}", "GET https://cdn.example.com:8443/v", "GET https://cdn.example.com:8443/w?x=1"]


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize(
    "location",
    [
        "https://evil.com/v",
        "//evil.com/v",
        "http://images.segmind.com/v",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "https://images.segmind.com@evil.com/",
        "https://10.0.0.1/v",
        "https://[::ffff:169.254.169.254]/",
        " http://169.254.169.254/latest/meta-data/",
        "//169.254.169.254/",
        "http://127.0.0.1/v",
        "http://localhost:9001/v",
        "gopher://images.segmind.com/",
        "data:video/mp4;base64,AAAA",
    ],
)
@pytest.mark.hostile(kind="answer")
def test_a_redirect_to_any_other_host_is_refused(fetch: Any, wire: Any, location: str) -> None:
    wire.will(redirect(location))
    with pytest.raises(ForbiddenSource):
        fetch()
    assert len(wire.requests) == 1


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/w", "https://images.segmind.com/w"),
        ("w?x=1#t=0", "https://images.segmind.com/w?x=1#t=0"),
        ("//images.segmind.com/w", "https://images.segmind.com/w"),
        ("//cdn.example.com:8443/w", "https://cdn.example.com:8443/w"),
        ("HTTPS://IMAGES.SEGMIND.COM:443/W", "https://images.segmind.com/W"),
        ("  https://images.segmind.com/w  ", "https://images.segmind.com/w"),
        ("https://images.segmind.com/my video.mp4", "https://images.segmind.com/my%20video.mp4"),
        ("https://images.segmind.com/my%20video.mp4", "https://images.segmind.com/my%20video.mp4"),
        ("/vídeo/靴子.mp4?näme=ü", "https://images.segmind.com/v%C3%ADdeo/%E9%9D%B4%E5%AD%90.mp4?n%C3%A4me=%C3%BC"),
        ("/Å", "https://images.segmind.com/%C3%85"),  # its second byte is a line separator in Latin-1
        ("https://bücher.example/w", "https://xn--bcher-kva.example/w"),
        ("?x=1", "https://images.segmind.com/video.mp4?x=1"),
    ],
)
def test_a_location_in_any_form_is_followed(fetch: Any, wire: Any, location: str, asked: str) -> None:
    wire.will(httpx.Response(302, headers=[(b"location", location.encode())]), httpx.Response(200, content=b"v"))
    assert fetch() == b"v"
    assert wire.asked[1] == f"GET {asked}"


def test_a_location_in_latin_1_is_read_as_such(fetch: Any, wire: Any) -> None:
    wire.will(httpx.Response(302, headers=[(b"location", b"/\xe9t\xe9.mp4")]), httpx.Response(200, content=b"v"))
    assert fetch() == b"v"
    assert wire.asked[1] == "GET https://images.segmind.com/%C3%A9t%C3%A9.mp4"


def test_ten_redirects_are_followed_but_not_one_more(fetch: Any, wire: Any) -> None:
    wire.will(*(redirect(f"/{number}") for number in range(MAX_REDIRECTS)), httpx.Response(200, content=b"v"))
    assert fetch() == b"v"
    wire.will(*(redirect("/video.mp4") for _ in range(MAX_REDIRECTS + 1)))
    with pytest.raises(SourceUnavailable, match="more than 10 times"):
        fetch()


def test_a_redirect_without_a_location_is_an_error(fetch: Any, wire: Any) -> None:
    wire.will(httpx.Response(302))
    with pytest.raises(SourceUnavailable, match="sent a redirect without a Location"):
        fetch()


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize("to", ["http://[", "https://[::1", "https://images.segmind.com:99999/"])
def test_a_redirect_to_an_invalid_url_is_refused_with_a_clear_message(fetch: Any, wire: Any, to: str) -> None:
    wire.will(httpx.Response(302, headers={"location": to}))
    with pytest.raises(ForbiddenSource, match="address"):
        fetch()


@pytest.mark.parametrize("length", ["²", "9" * 5000, "-1", "1_0", "x", "5, 6", "5,", "5 6"])
def test_an_invalid_content_length_is_ignored(length: str) -> None:
    assert announced_length({"content-length": length}) is None


def test_a_content_length_may_be_repeated_and_does_not_count_beside_chunks() -> None:
    assert announced_length({"content-length": "5, 5"}) == 5
    assert announced_length({"content-length": "5", "transfer-encoding": "Chunked"}) is None


FILM = bytes.fromhex("0000001066747970") + b"isom\0\0\0\1" + bytes(100)


def packed_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("identity", FILM),
        ("none", FILM),
        ("aws-chunked", FILM),
        ("utf-8", FILM),
        ("gzip", FILM),
        ("br", FILM),
        ("gzip", gzipped(FILM)),
        ("", gzipped(FILM)),
        ("identity", gzipped(FILM)),
        ("gzip, gzip", gzipped(gzipped(FILM))),
        ("deflate", zlib.compress(FILM)),
        ("deflate", packed_deflate(FILM)),
        ("gzip", gzipped(FILM[:50]) + gzipped(FILM[50:])),
    ],
)
@pytest.mark.parametrize("framed", [True, False])
def test_a_file_is_unpacked_if_it_is_compressed(
    downloads: Downloads, wire: Any, *, encoding: str, content: bytes, framed: bool
) -> None:
    headers = {"content-encoding": encoding} if encoding else {}
    headers |= {"content-length": str(len(content))} if framed else {}
    answer = httpx.Response(200, content=body(content), headers=headers)
    answer.headers.pop("transfer-encoding", None)  # httpx adds it to content without a length
    wire.will(answer)
    with downloads.open(LINK) as source:
        assert b"".join(source.chunks) == FILM
        assert source.framed is framed


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize(
    ("headers", "content", "words"),
    [
        ({"content-encoding": "br"}, b"\x0b\x02\x80" + bytes(20), "compressed with br, which was not requested"),
        ({"content-encoding": "gzip"}, gzipped(FILM)[:-4], "its gzip data is cut off"),
        ({"content-encoding": "gzip"}, gzipped(bytes(9_000)), "larger than 0.005 MB"),
        ({}, b"x" * 6_000, "larger than 0.005 MB"),
        ({"content-length": "3000000000"}, b"x", "the result has 3,000 MB; at most 0 MB are copied"),
    ],
    ids=["brotli", "half of gzip", "bomb", "endless", "announced"],
)
def test_a_file_that_is_too_large_or_cannot_be_unpacked_is_not_a_video(
    *, fetch: Any, wire: Any, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], content: bytes, words: str
) -> None:
    monkeypatch.setattr(download_module, "MOST_BYTES", 5_000)
    wire.will(httpx.Response(200, content=body(content), headers=headers))
    with pytest.raises(NotAVideo, match=words):
        fetch()


@pytest.mark.parametrize("status", [201, 204, 206, 400, 403, 404, 410, 416, 429, 500, 503])
def test_only_a_200_response_is_a_file(fetch: Any, wire: Any, status: int) -> None:
    wire.will(httpx.Response(status))
    with pytest.raises(SourceUnavailable, match=str(status)):
        fetch()


@pytest.mark.parametrize(
    "broken",
    [
        NewConnectionError(NOBODY, "[Errno 1]"),
        NameResolutionError("images.segmind.com", NOBODY, socket.gaierror(-2, "[Errno 1]")),
        ConnectTimeoutError(NOBODY, "[Errno 1]"),
        ReadTimeoutError(NOBODY, LINK, "[Errno 1]"),
        ProtocolError("[Errno 1]"),
    ],
)
def test_a_broken_connection_may_be_retried(fetch: Any, wire: Any, broken: Exception) -> None:
    wire.will(broken)
    with pytest.raises(SourceUnavailable, match=r"could not be downloaded: (no|the) \w+ [a-z ]+$"):
        fetch()


def body(*chunks: bytes, then: Exception | None = None) -> Iterator[bytes]:
    yield from chunks
    if then:
        raise then


@pytest.mark.parametrize(
    ("announced", "chunks", "words"),
    [
        ("10", [b"12345"], "expected 10 bytes, received 5"),
        ("10", [], "expected 10 bytes, received 0"),
        ("4", [b"12345"], "expected 4 bytes, received 5"),
    ],
)
def test_a_file_shorter_or_longer_than_announced_is_incomplete(
    fetch: Any, wire: Any, announced: str, chunks: list[bytes], words: str
) -> None:
    wire.will(httpx.Response(200, content=body(*chunks), headers={"content-length": announced}))
    with pytest.raises(SourceUnavailable, match=words):
        fetch()


@pytest.mark.parametrize("headers", [{}, {"content-length": "5"}, {"content-length": "five"}, {"content-length": ""}])
def test_a_file_of_the_announced_or_an_unknown_length_is_complete(
    fetch: Any, wire: Any, headers: dict[str, str]
) -> None:
    wire.will(httpx.Response(200, content=body(b"12", b"345"), headers=headers))
    assert fetch() == b"12345"


@pytest.mark.parametrize("broken", [ConnectionResetError("gone"), TimeoutError("gone"), IncompleteRead(b"", 5)])
def test_a_connection_that_breaks_midway_reports_the_bytes_received(fetch: Any, wire: Any, broken: Exception) -> None:
    first = bytes(CHUNK_BYTES)
    wire.will(httpx.Response(200, content=body(first, b"12", then=broken)))
    with pytest.raises(SourceUnavailable, match=rf"after {CHUNK_BYTES + 2} bytes: (no|the) [a-z ]+$"):
        fetch()


def test_chunks_are_passed_on_as_they_arrive(downloads: Downloads, wire: Any) -> None:
    wire.will(httpx.Response(200, content=body(bytes(CHUNK_BYTES), b"1234567")))
    with downloads.open(LINK) as source:
        assert [len(chunk) for chunk in source.chunks] == [CHUNK_BYTES, 7]


@pytest.mark.parametrize(
    ("headers", "length", "media_type"),
    [
        ({"content-type": "video/mp4", "content-length": "5"}, 5, "video/mp4"),
        ({"content-type": "Video/MP4; codecs=avc1"}, None, "video/mp4"),
        ({}, None, ""),
    ],
)
def test_length_and_type_are_reported(
    downloads: Downloads, wire: Any, headers: dict[str, str], length: int | None, media_type: str
) -> None:
    wire.will(httpx.Response(200, content=body(b"12345"), headers=headers))
    with downloads.open(LINK) as source:
        assert (source.length, source.media_type) == (length, media_type)


def test_no_key_is_sent_and_no_compression_requested(fetch: Any, wire: Any) -> None:
    wire.will(httpx.Response(200, content=b"v"))
    fetch()
    assert wire.requests[0].headers["accept-encoding"] == "identity"
    assert not {"x-api-key", "authorization", "cookie"} & set(wire.requests[0].headers)


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize("answer", [httpx.Response(500), ReadTimeoutError(NOBODY, LINK, "")])
def test_no_error_contains_the_signature_of_a_link(fetch: Any, wire: Any, answer: Any) -> None:
    wire.will(answer)
    with pytest.raises(MediaError) as raised:
        fetch(f"{LINK}?X-Amz-Signature=secret")
    assert "secret" not in f"{raised.value} {vars(raised.value)}"
    assert raised.value.url == LINK


def test_the_allowed_hosts_come_from_the_settings(wired: Any) -> None:
    downloads = download_module.downloads()
    downloads.check(LINK)
    with pytest.raises(ForbiddenSource, match=r"only images\.segmind\.com is allowed"):
        downloads.check("https://cdn.example.com/v")
