"""The provider's POSTs: the status table of its contract, and whether a broken connection may have cost money."""

import gzip
import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from seedance.errors import (
    ConfigurationError,
    KeyRejected,
    OutOfCredits,
    ProviderError,
    RateLimited,
    Refused,
    SeedanceError,
    SubmitUncertain,
    Unavailable,
    UnexpectedAnswer,
)
from seedance.provider.client import Provider

pytestmark = pytest.mark.hostile(kind="answer")

KEY = "SG_0123456789abcdef"
BODY = {"prompt": "a shoe", "duration": 5}
ACCEPTED = {"request_id": "req-1", "status": "QUEUED", "poll_url": "https://api.segmind.com/v2/requests/req-1"}
HTML = "<html><body><h1>Bad Gateway</h1></body></html>"


@pytest.fixture
def forgotten() -> list[str]:
    """What happened to the key."""
    return []


@pytest.fixture
def provider(wire: Any, forgotten: list[str]) -> Provider:
    return Provider(
        "https://api.segmind.com/",
        "https://workflows-api.segmind.com/",
        "https://history.segmind.example/",
        key=lambda: KEY,
        forget_key=lambda: forgotten.append("forgotten"),
        transport=httpx.MockTransport(wire),
    )


def submit(provider: Provider) -> str:
    return provider.submit("seedance-pro", BODY)


def generate(provider: Provider) -> str:
    with provider.generate("seedance-pro", BODY) as response:
        return str(response.status_code)


def upload(provider: Provider) -> str:
    return provider.upload_asset("image/png", "aGVsbG8=")


POSTS = pytest.mark.parametrize("post", [submit, generate], ids=["v2", "v1"])
ALL_POSTS = pytest.mark.parametrize("post", [submit, generate, upload], ids=["v2", "v1", "upload"])


def caught(act: Callable[[], object]) -> SeedanceError:
    with pytest.raises(SeedanceError) as raised:
        act()
    return raised.value


def test_a_submit_is_one_post_with_key_and_json(provider: Provider, wire: Any) -> None:
    wire.will(httpx.Response(200, json=ACCEPTED))
    assert submit(provider) == "req-1"
    (request,) = wire.requests
    assert (request.method, str(request.url)) == ("POST", "https://api.segmind.com/v2/seedance-pro")
    assert request.headers["x-api-key"] == KEY
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers
    assert wire.body() == BODY


def test_the_blocking_call_goes_to_v1_and_leaves_the_body_unread(provider: Provider, wire: Any) -> None:
    pulled: list[int] = []

    def body() -> Iterator[bytes]:
        pulled.append(1)
        yield b"video"

    wire.will(httpx.Response(200, content=body(), headers={"content-type": "video/mp4"}))
    with provider.generate("seedance-pro", BODY) as response:
        assert pulled == []
        assert response.read() == b"video"
    assert response.is_closed
    (request,) = wire.requests
    assert (request.method, str(request.url)) == ("POST", "https://api.segmind.com/v1/seedance-pro")
    assert (request.headers["x-api-key"], wire.body()) == (KEY, BODY)


# status, body -> the exception, and words that it must contain. The contract's table, row by row.
STATUSES: list[tuple[int, Any, type[SeedanceError], str]] = [
    (400, {"error": "duration must be 5 or 10"}, Refused, "duration must be 5 or 10"),
    (401, {"error": "Missing x-api-key", "error_description": "no key", "status_code": 401}, KeyRejected, "no key"),
    (401, {"error": "Invalid API key"}, KeyRejected, "Invalid API key"),
    (403, {"error": "Forbidden"}, Refused, "may not use this model"),
    (404, {"error": "Model not found"}, Refused, "has no such model"),
    (405, HTML, Refused, "405"),
    (406, {"error": "Not enough credits"}, OutOfCredits, "out of credits"),
    (406, {"error": "Team spend limit reached"}, OutOfCredits, "spend limit"),
    (406, {"error": "Insufficient balance"}, OutOfCredits, "Insufficient balance"),
    (406, {"error": "Content-Type must be application/json"}, Refused, "Content-Type"),
    (408, "", Refused, "408"),
    (409, {"message": "twice"}, Refused, "twice"),
    (410, {"error": "Model retired"}, Refused, "Choose another"),
    (413, HTML, Refused, "413"),
    (422, {"detail": "prompt too long"}, Refused, "prompt too long"),
    (422, {"error": {"message": "blocked"}}, Refused, "blocked"),
    (429, {"error": "Too many requests"}, RateLimited, "rate limit"),
    (500, {"error": "Internal server error"}, Unavailable, "500"),
    (502, HTML, Unavailable, "502"),
    (503, "", Unavailable, "503"),
    (504, HTML, SubmitUncertain, "504"),
    (501, "", SubmitUncertain, "501"),
    # Cloudflare's: with the first four it did not reach the provider.
    *((status, HTML, Unavailable, str(status)) for status in (521, 523, 525, 526)),
    *((status, HTML, SubmitUncertain, str(status)) for status in (520, 522, 524, 527, 530)),
    (599, "", SubmitUncertain, "599"),
    # A redirect is not followed: a POST that arrives twice is billed twice.
    (301, "", SubmitUncertain, "301"),
    (302, "", SubmitUncertain, "302"),
    (303, "", SubmitUncertain, "303"),
    (307, "", SubmitUncertain, "307"),
    (308, "", SubmitUncertain, "308"),
]


def response_of(status: int, body: Any) -> httpx.Response:
    headers = {"location": "https://elsewhere.example.com/"} if 300 <= status < 400 else {}
    if isinstance(body, str):
        return httpx.Response(status, text=body, headers=headers)
    return httpx.Response(status, json=body, headers=headers)


@POSTS
@pytest.mark.parametrize("row", STATUSES, ids=lambda row: f"{row[0]} {row[2].__name__}")
def test_each_status_means_what_the_contract_says_of_a_submit(
    provider: Provider, wire: Any, post: Any, row: tuple[int, Any, type[SeedanceError], str]
) -> None:
    status, body, kind, words = row
    wire.will(response_of(status, body))
    error = caught(lambda: post(provider))
    assert type(error) is kind
    assert words in str(error)
    assert isinstance(error, ProviderError)
    assert error.status_code == status
    assert error.excerpt == (body if isinstance(body, str) else httpx.Response(200, json=body).text)
    assert len(wire.requests) == 1


@POSTS
@pytest.mark.parametrize("status", range(300, 600))
def test_only_a_documented_status_means_that_nothing_was_queued(
    provider: Provider, wire: Any, post: Any, status: int
) -> None:
    wire.will(httpx.Response(status))
    certain = 400 <= status < 500 or status in (500, 502, 503, 521, 523, 525, 526)
    error = caught(lambda: post(provider))
    assert isinstance(error, SubmitUncertain) is not certain
    assert isinstance(error, (Refused, Unavailable)) is certain


@ALL_POSTS
def test_the_key_is_forgotten_only_when_it_was_rejected(
    provider: Provider, wire: Any, forgotten: list[str], post: Any
) -> None:
    for status in (400, 403, 406, 429, 500, 401):
        assert forgotten == []
        wire.will(httpx.Response(status))
        caught(lambda: post(provider))
    assert forgotten == ["forgotten"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "OK",
        HTML,
        "null",
        "[]",
        '"req-1"',
        "{",
        "{}",
        '{"status": "QUEUED"}',
        '{"request_id": null}',
        '{"request_id": ""}',
        '{"request_id": 17}',
        '{"request_id": ["req-1"]}',
        '{"id": "req-1"}',
    ],
)
@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_success_without_a_request_id_is_uncertain(provider: Provider, wire: Any, status: int, body: str) -> None:
    wire.will(httpx.Response(status, text=body))
    error = caught(lambda: submit(provider))
    assert isinstance(error, SubmitUncertain)
    assert (error.status_code, error.excerpt) == (status, body)


# What an httpx exception means for a POST. Certain: no connection was established, so nothing was queued.
CERTAIN = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"}
OURS = {"UnsupportedProtocol", "LocalProtocolError", "InvalidURL"}  # never left this process; a setting is wrong
AMBIGUOUS = {
    *("ReadError", "WriteError", "CloseError", "NetworkError", "ReadTimeout", "WriteTimeout", "TimeoutException"),
    *("RemoteProtocolError", "ProtocolError", "DecodingError", "TooManyRedirects"),
    *("TransportError", "RequestError", "HTTPStatusError", "HTTPError"),
}
# From reading a body twice or from a closed client: a bug of ours, not a network error.
BUGS = {"StreamError", "StreamConsumed", "StreamClosed", "ResponseNotRead", "RequestNotRead", "CookieConflict"}


def httpx_exceptions() -> dict[str, type[Exception]]:
    found = {
        name: thing
        for name, thing in vars(httpx).items()
        if inspect.isclass(thing) and issubclass(thing, Exception) and not issubclass(thing, Warning)
    }
    for kind in list(found.values()):
        found |= {sub.__name__: sub for sub in kind.__subclasses__() if sub.__module__.startswith("httpx")}
    return found


def raised(name: str) -> Exception:
    kind = httpx_exceptions()[name]
    request = httpx.Request("POST", "https://api.segmind.com")
    if issubclass(kind, httpx.HTTPStatusError):
        return kind("broke", request=request, response=httpx.Response(500, request=request))
    return kind("broke")


def test_every_httpx_exception_is_in_the_table() -> None:
    assert set(httpx_exceptions()) == CERTAIN | OURS | AMBIGUOUS | BUGS


@POSTS
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, Unavailable) for name in sorted(CERTAIN)),
        *((name, SubmitUncertain) for name in sorted(AMBIGUOUS)),
        *((name, ConfigurationError) for name in sorted(OURS)),
    ],
)
def test_each_network_error_says_whether_something_may_be_queued(
    provider: Provider, wire: Any, post: Any, name: str, kind: type[SeedanceError]
) -> None:
    wire.will(raised(name))
    error = caught(lambda: post(provider))
    assert type(error) is kind
    if isinstance(error, ProviderError):
        assert error.excerpt == "broke"
    else:  # its own message, or ours
        assert any(words in str(error) for words in ("broke", "not valid HTTP"))
    assert len(wire.requests) == 1


@POSTS
@pytest.mark.parametrize(
    ("name", "says"),
    [("ReadTimeout", "the response timed out"), ("ConnectError", "the connection could not be opened")],
)
def test_people_get_a_readable_message_and_the_log_the_system_error(
    provider: Provider, wire: Any, post: Any, name: str, says: str
) -> None:
    wire.will(httpx_exceptions()[name]("[Errno 104] reset by peer"))
    error = caught(lambda: post(provider))
    assert isinstance(error, ProviderError)
    assert says in str(error)
    assert "Errno" not in str(error)
    assert error.excerpt == "[Errno 104] reset by peer"


@POSTS
@pytest.mark.parametrize(("status", "kind"), [(400, Refused), (406, OutOfCredits), (500, Unavailable)])
def test_an_error_status_alone_decides_when_its_body_breaks_off(
    provider: Provider, wire: Any, post: Any, status: int, kind: type[SeedanceError]
) -> None:
    def body() -> Iterator[bytes]:
        yield b'{"error": "not enough credits'
        raise httpx.ReadError("broke")

    wire.will(httpx.Response(status, content=body()))
    assert type(caught(lambda: post(provider))) is kind


DEEP = '{"request_id": "req-1", "deep": ' + "[" * 200_000
FOREIGN = {**ACCEPTED, "poll_url": "https://api.segmind.com/v2/requests/req-2"}


@pytest.mark.parametrize(
    "yes",
    [
        httpx.Response(200, content=DEEP),
        httpx.Response(200, content=b'{"request_id": "req-1"}' + b" " * 1_000_000),
        httpx.Response(200, content=gzip.compress(bytes(50_000_000)), headers={"content-encoding": "gzip"}),
        httpx.Response(200, content=b"", headers={"content-encoding": "br"}),
        httpx.Response(200, json={**ACCEPTED, "request_id": "r" * 300}),
        httpx.Response(200, json={**ACCEPTED, "request_id": "req 1"}),
        httpx.Response(200, json=FOREIGN),
    ],
    ids=["deep", "long", "bomb", "odd encoding", "long id", "id with a space", "two ids"],
)
def test_an_unreadable_success_is_uncertain(provider: Provider, wire: Any, yes: httpx.Response) -> None:
    wire.will(yes)
    assert type(caught(lambda: submit(provider))) is SubmitUncertain


@pytest.mark.parametrize(
    "body", [DEEP.encode(), b"x" * 2_000_000, b"\xff\xfe\xfd", b'{"error": "' + b"\\ud83d" * 9 + b'"}']
)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (401, KeyRejected),
        (402, OutOfCredits),
        (429, RateLimited),
        (500, Unavailable),
        (504, SubmitUncertain),
    ],
)
@POSTS
def test_an_error_status_alone_decides_whatever_its_body(
    *, provider: Provider, wire: Any, post: Any, status: int, kind: type[SeedanceError], body: bytes
) -> None:
    wire.will(httpx.Response(status, content=body))
    error = caught(lambda: post(provider))
    assert type(error) is kind
    json.dumps(vars(error), ensure_ascii=False).encode()  # it can be stored and published


def test_a_gzipped_success_is_read_although_it_was_not_requested(provider: Provider, wire: Any) -> None:
    packed = gzip.compress(json.dumps(ACCEPTED).encode())
    wire.will(httpx.Response(200, content=packed, headers={"content-encoding": "gzip"}))
    assert submit(provider) == "req-1"
    assert wire.requests[0].headers["accept-encoding"] == "identity"


@POSTS
def test_an_error_of_the_caller_is_raised_unchanged(provider: Provider, wire: Any, post: Any) -> None:
    wire.will(RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        post(provider)


@ALL_POSTS
@pytest.mark.parametrize("answer", [*(row[0] for row in STATUSES), *sorted(CERTAIN | AMBIGUOUS | OURS)])
def test_the_key_is_in_no_error(provider: Provider, wire: Any, post: Any, answer: int | str) -> None:
    wire.will(httpx.Response(answer, json={"error": "no"}) if isinstance(answer, int) else raised(answer))
    error = caught_or_raw(lambda: post(provider))
    assert KEY not in f"{error!r} {error} {vars(error)}"


def caught_or_raw(act: Callable[[], object]) -> Exception:
    with pytest.raises((SeedanceError, httpx.HTTPError, httpx.InvalidURL)) as found:
        act()
    return found.value


def test_an_image_is_uploaded_as_a_data_url(provider: Provider, wire: Any) -> None:
    wire.will(httpx.Response(200, json={"file_urls": ["https://images.segmind.com/a.png", "second"]}))
    assert upload(provider) == "https://images.segmind.com/a.png"
    assert wire.asked == ["POST https://workflows-api.segmind.com/upload-asset"]
    assert wire.body() == {"data_urls": ["data:image/png;base64,aGVsbG8="]}
    assert wire.requests[0].headers["x-api-key"] == KEY


@pytest.mark.parametrize(
    "body", ["", HTML, "{}", '{"file_urls": []}', '{"file_urls": [5]}', '{"file_urls": "x"}', "[]"]
)
def test_an_upload_without_a_url_may_be_retried(provider: Provider, wire: Any, body: str) -> None:
    wire.will(httpx.Response(200, text=body))
    assert type(caught(lambda: upload(provider))) is Unavailable


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (400, Refused),
        (401, KeyRejected),
        (406, Refused),
        (413, Refused),
        (429, RateLimited),
        (500, Unavailable),
        (504, Unavailable),
        (301, UnexpectedAnswer),
        *((status, Unavailable) for status in (520, 521, 522, 523, 524, 525, 526, 527, 530)),
        (599, UnexpectedAnswer),
        ("ReadTimeout", Unavailable),
        ("ConnectError", Unavailable),
        ("DecodingError", Unavailable),
    ],
)
def test_an_upload_costs_nothing_so_it_is_never_uncertain(
    provider: Provider, wire: Any, answer: int | str, kind: type[SeedanceError]
) -> None:
    wire.will(httpx.Response(answer) if isinstance(answer, int) else raised(answer))
    assert type(caught(lambda: upload(provider))) is kind


def test_authenticate_reads_the_key_and_sends_nothing(wire: Any) -> None:
    read: list[str] = []
    Provider(
        "https://a",
        "https://b",
        "https://c",
        key=lambda: read.append("read") or KEY,
        transport=httpx.MockTransport(wire),
    ).authenticate()
    assert read == ["read"]
    assert wire.requests == []
