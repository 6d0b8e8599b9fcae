"""The time limits of responses, on real connections: a response that drips endlessly ends when its time is up."""

import gzip
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from seedance.aws import tls
from seedance.errors import (
    OutOfCredits,
    ProviderError,
    Refused,
    SourceUnavailable,
    SubmitUncertain,
    Unavailable,
    UnexpectedAnswer,
)
from seedance.provider import client as provider_module
from seedance.provider import http as lines
from seedance.provider.client import Provider
from seedance.provider.download import Downloads

pytestmark = pytest.mark.hostile(kind="answer")

SECONDS = 0.25
"""The limit in these tests: far above what an answer takes here, far below what pytest has patience for."""

PATIENCE = 10.0
"""When a test has hung."""

Serve = Callable[[Iterable[bytes]], str]
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
ENDLESS_HEAD = [b"HTTP/1.1 200 OK\r\n", *[b"x-a: b\r\n"] * 10, *[b"x"] * 100_000]
CHUNKED = [OK + b"transfer-encoding: chunked\r\n\r\n", *[b"1\r\n \r\n"] * 100_000]
CHUNK_LINE = [OK + b"transfer-encoding: chunked\r\n\r\n1;", *[b"x"] * 100_000]
LENGTH = [OK + b"content-length: 100000\r\n\r\n", *[b" "] * 100_000]
NO_LENGTH = [OK + b'\r\n{"status": "QUEUED"}', *[b" "] * 100_000]
CONTINUE = [b"HTTP/1.1 100 Continue\r\n\r\n"] * 100_000
SILENCE: list[bytes] = []
DRIPS = {
    "head": ENDLESS_HEAD,
    "chunks": CHUNKED,
    "chunk line": CHUNK_LINE,
    "length": LENGTH,
    "no length": NO_LENGTH,
    "100 Continue": CONTINUE,
    "silence": SILENCE,
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its certificate for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@contextmanager
def serving(pieces: Iterable[bytes], certificate: Path | None) -> Iterator[str]:
    """A server that sends the same chunks for every request, one every few milliseconds, and then nothing more."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate:
        context.load_cert_chain(certificate)

    def answer(line: socket.socket) -> None:
        with suppress(OSError):
            served = context.wrap_socket(line, server_side=True) if certificate else line
            with served:
                served.recv(65_536)
                for piece in pieces:
                    served.sendall(piece)
                    if over.wait(0.005):
                        return
                over.wait()

    def accept() -> None:
        with suppress(OSError):
            while True:
                line, _ = listener.accept()
                threading.Thread(target=answer, args=(line,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"{'https' if certificate else 'http'}://localhost:{listener.getsockname()[1]}"
    over.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture(params=["http", "https"])
def serve(request: pytest.FixtureRequest, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serve chunks, with or without TLS; returns the URL."""
    encrypted = request.param == "https"
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls.trust.cache_clear()
    servers = []

    def start(pieces: Iterable[bytes]) -> str:
        server = serving(pieces, certificate if encrypted else None)
        servers.append(server)
        return server.__enter__()

    yield start
    for server in servers:
        server.__exit__(None, None, None)
    tls.trust.cache_clear()


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the time limits of all calls; they are short by default."""

    def limit(seconds: float) -> None:
        for name in ("SUBMIT_SECONDS", "STATUS_SECONDS", "GENERATE_SECONDS", "UPLOAD_SECONDS"):
            monkeypatch.setattr(provider_module, name, seconds)

    limit(SECONDS)
    return limit


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """Nothing takes much longer than its limit, and no timer thread is left."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < PATIENCE
    for thread in threading.enumerate():
        if thread.name == "limit":
            thread.join(PATIENCE)  # it has been told to end
            assert not thread.is_alive()


def at(url: str) -> Provider:
    return Provider(url, url, url, key=lambda: "SG_0123456789abcdef")


def failure(act: Callable[[], object]) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        act()
    return raised.value


LONG_HEADS = {
    "one header": [b"HTTP/1.1 200 OK\r\nx: ", *[b"x" * 10_000] * 1000],
    "many long headers": [b"HTTP/1.1 200 OK\r\n", *[b"x: " + b"x" * 60_000 + b"\r\n"] * 90, b"\r\n"],
    "many headers": [b"HTTP/1.1 200 OK\r\n", *[b"x: y\r\n" * 1000] * 1000],
    "a status line": [b"HTTP/1.1 200 ", *[b"x" * 10_000] * 1000],
    "interim responses": [b"HTTP/1.1 103 Early Hints\r\nx: " + b"x" * 10_000 + b"\r\n\r\n"] * 1000,
    "a chunk's extension": [OK + b"transfer-encoding: chunked\r\n\r\n1;", *[b"x" * 100_000] * 100],
}
"""Megabytes that are no body, as fast as they can be sent."""


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize(
    ("call", "head"),
    [
        *((call, head) for call in ("status", "file") for head in LONG_HEADS),
        # h11 reads any number of interim responses, without keeping them, for as long as a submit may take.
        *(("submit", head) for head in LONG_HEADS if head != "interim responses"),
    ],
)
def test_megabytes_in_a_head_are_not_read(serve: Serve, limits: Callable[[float], None], head: str, call: str) -> None:
    limits(2 * PATIENCE)
    whole = b"".join(LONG_HEADS[head])
    url = serve([whole[start : start + 100_000] for start in range(0, len(whole), 100_000)])
    tracemalloc.start()
    with pytest.raises((ProviderError, SourceUnavailable)) as raised:
        if call == "status":
            at(url).standing("req-1")
        elif call == "submit":
            at(url).submit("seedance-pro", {})
        else:
            with Downloads({url.partition("://")[2]}).open(f"{url}/v.mp4", PATIENCE) as source:
                list(source.chunks)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3_000_000
    assert "timed out" not in str(raised.value)


INTERIM = [
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nlink: </b.css>\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50,
]


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize("interim", INTERIM, ids=["100", "102 and 103", "50 of them"])
def test_interim_responses_are_not_the_response(serve: Serve, limits: Callable[[float], None], interim: bytes) -> None:
    limits(PATIENCE)
    body = b'{"status": "QUEUED", "request_id": "req-1"}'
    url = serve([interim, OK + b"content-length: %d\r\n\r\n" % len(body), body])
    standing = at(url).standing("req-1")
    assert standing is not None
    assert standing.status == "QUEUED"
    assert at(url).submit("seedance-pro", {}) == "req-1"
    with Downloads({url.partition("://")[2]}).open(f"{url}/v.mp4", PATIENCE) as source:
        assert b"".join(source.chunks) == body


@pytest.mark.parametrize("drip", DRIPS)
@pytest.mark.sampled(4)
def test_a_dripping_status_is_polled_again(serve: Serve, drip: str) -> None:
    provider = at(serve(DRIPS[drip]))
    error = failure(lambda: provider.standing("req-1"))
    assert type(error) is Unavailable
    assert str(error) == "The provider could not be reached: the response timed out."


@pytest.mark.parametrize("drip", DRIPS)
@pytest.mark.sampled(4)
def test_a_submit_with_a_dripping_response_is_uncertain(serve: Serve, drip: str) -> None:
    provider = at(serve(DRIPS[drip]))
    error = failure(lambda: provider.submit("seedance-pro", {}))
    assert type(error) is SubmitUncertain
    assert "the response timed out" in str(error)


@pytest.mark.parametrize("drip", DRIPS)
@pytest.mark.sampled(4)
def test_a_dripping_upload_or_history_is_unavailable(serve: Serve, drip: str) -> None:
    provider = at(serve(DRIPS[drip]))
    assert type(failure(lambda: provider.upload_asset("image/png", "aGVsbG8="))) is Unavailable
    assert type(failure(lambda: list(provider.history("seedance-pro", 0.0, 1.0)))) is Unavailable


@pytest.mark.parametrize("drip", ["head", "100 Continue", "silence"])
def test_a_v1_call_without_response_headers_is_uncertain(serve: Serve, drip: str) -> None:
    provider = at(serve(DRIPS[drip]))

    def call() -> None:
        with provider.generate("seedance-pro", {}):
            pass

    assert type(failure(call)) is SubmitUncertain


@pytest.mark.parametrize("drip", ["chunks", "chunk line", "length", "no length"])
def test_a_dripping_v1_video_does_not_count_as_complete(serve: Serve, drip: str) -> None:
    provider = at(serve(DRIPS[drip]))
    with provider.generate("seedance-pro", {}) as response, pytest.raises(httpx.HTTPError):
        for _ in response.iter_bytes():
            pass


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [(b"400 Bad", b"", Refused), (b"406 No", b"Insufficient credits", OutOfCredits), (b"503 No", b"", Unavailable)],
)
def test_an_error_with_a_dripping_body_is_judged_by_its_status(
    serve: Serve, status: bytes, body: bytes, kind: type[ProviderError]
) -> None:
    provider = at(serve([b"HTTP/1.1 " + status + b"\r\n\r\n" + body, *[b" "] * 100_000]))
    assert type(failure(lambda: provider.submit("seedance-pro", {}))) is kind


def test_a_rejected_key_does_not_restart_the_time_limit(serve: Serve, limits: Callable[[float], None]) -> None:
    limits(1.0)
    keys = iter(["SG_0000000000000000", "SG_1111111111111111"])
    url = serve([b"HTTP/1.1 401 No\r\n\r\n", *[b" "] * 100_000])
    provider = Provider(url, url, url, key=lambda: next(keys))
    began = time.monotonic()
    failure(lambda: provider.standing("req-1"))
    assert time.monotonic() - began < 1.9


def test_a_decompression_bomb_and_an_endless_body_are_cut_off_early(
    serve: Serve, limits: Callable[[float], None]
) -> None:
    limits(PATIENCE)
    bomb = gzip.compress(bytes(100_000_000))
    head = OK + b"content-encoding: gzip\r\n\r\n"
    assert type(failure(lambda: at(serve([head, bomb])).standing("req-1"))) is UnexpectedAnswer
    assert (
        type(failure(lambda: at(serve([OK + b"\r\n", *[b"x" * 100_000] * 4000])).standing("req-1"))) is UnexpectedAnswer
    )


def test_a_response_in_time_is_read(serve: Serve, limits: Callable[[float], None]) -> None:
    limits(PATIENCE)
    body = b'{"status": "QUEUED", "request_id": "req-1"}'
    url = serve([OK + b"content-length: %d\r\n\r\n" % len(body), body[:10], body[10:]])
    standing = at(url).standing("req-1")
    assert standing is not None
    assert standing.status == "QUEUED"
    assert at(url).submit("seedance-pro", {}) == "req-1"


@pytest.mark.parametrize("drip", DRIPS)
@pytest.mark.sampled(4)
def test_a_dripping_file_with_a_limit_is_given_up(serve: Serve, drip: str) -> None:
    """For example a last frame, which must not delay its video."""
    url = serve(DRIPS[drip])
    with (
        pytest.raises(SourceUnavailable),
        Downloads({url.partition("://")[2]}).open(f"{url}/f.png", SECONDS) as source,
    ):
        list(source.chunks)


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize("drip", ["chunks", "chunk line", "length", "no length"])
def test_a_dripping_file_is_given_up_before_the_end_of_its_time(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, drip: str
) -> None:
    monkeypatch.setattr(lines, "STRIDE_SECONDS", SECONDS)
    url = serve(DRIPS[drip])
    with (
        pytest.raises(SourceUnavailable, match="took too long"),
        Downloads({url.partition("://")[2]}).open(f"{url}/v.mp4", 100 * PATIENCE) as source,
    ):
        list(source.chunks)


def test_the_time_between_two_chunks_does_not_count(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Storing a part may take longer than receiving it."""
    monkeypatch.setattr(lines, "STRIDE_SECONDS", SECONDS)
    url = serve([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 3, b"0\r\n\r\n"])
    received = []
    with Downloads({url.partition("://")[2]}).open(f"{url}/v.mp4", PATIENCE) as source:
        for chunk in source.chunks:
            received.append(chunk)
            time.sleep(SECONDS)
    assert b"".join(received) == b"xxx"


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize(
    "ending",
    [[b"0\r\n", *[b"x: y\r\n" * 1000] * 100_000], [b"0\r\nx: ", *[b"y" * 10_000] * 100_000]],
    ids=["many", "one"],
)
def test_endless_trailers_do_not_hold_a_download(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, ending: list[bytes]
) -> None:
    monkeypatch.setattr(lines, "STRIDE_SECONDS", SECONDS)
    url = serve([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n", *ending])
    with (
        pytest.raises(SourceUnavailable),
        Downloads({url.partition("://")[2]}).open(f"{url}/v.mp4", PATIENCE) as source,
    ):
        list(source.chunks)


def test_chunks_decide_where_a_file_ends_and_not_its_length(serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n"
    url = serve([head, b"6\r\nabcdef\r\n0\r\n\r\n"])
    with Downloads({url.partition("://")[2]}).open(f"{url}/v.mp4", PATIENCE) as source:
        assert (b"".join(source.chunks), source.framed, source.length) == (b"abcdef", True, None)


def test_a_file_with_a_limit_that_arrives_in_time_is_complete(serve: Serve) -> None:
    url = serve([b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n", b"abc", b"def"])
    with Downloads({url.partition("://")[2]}).open(f"{url}/f.png", PATIENCE) as source:
        assert b"".join(source.chunks) == b"abcdef"
