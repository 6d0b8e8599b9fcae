"""Webhooks on real connections: the certificate is that of the receiver's name, and no receiver holds an attempt up."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pipeline import WEBHOOK_KEY
from seedance.aws import tls
from seedance.clock import CLOCK
from seedance.config import Hook
from seedance.events import endpoint
from seedance.events.endpoint import Answer, Endpoint
from seedance.events.signing import keys_in
from seedance.provider.http import TOO_LONG
from standardwebhooks import Webhook
from test_provider_limits import (
    CHUNK_LINE,
    CONTINUE,
    ENDLESS_HEAD,
    PATIENCE,
    SECONDS,
    SILENCE,
    certificate,  # noqa: F401 - a fixture
    serving,
)
from webhook_receiver import receiving

WEBHOOK: Any = {"id": "evt_1", "payload": '{"type":"video.state_changed","data":{"name":"靴"}}'}
NO_CONTENT = [b"HTTP/1.1 204 No Content\r\n\r\n"]
TOO_LATE = Answer(None, TOO_LONG)


def post(url: str) -> Answer:
    return Endpoint(Hook(url), lambda: keys_in(WEBHOOK_KEY), CLOCK).post(WEBHOOK)


@pytest.fixture
def encrypted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Iterable[bytes]], str]]:  # noqa: F811
    """Serve chunks with TLS, on an address that counts as public; returns the URL, whose host is localhost."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(endpoint, "public_addresses", lambda _: ["127.0.0.1"])
    tls.trust.cache_clear()
    servers = []

    def start(pieces: Iterable[bytes]) -> str:
        servers.append(serving(pieces, certificate))
        return servers[-1].__enter__()

    yield start
    for server in servers:
        server.__exit__(None, None, None)
    tls.trust.cache_clear()


def test_the_certificate_is_that_of_the_name_not_of_the_address(encrypted: Callable[..., str]) -> None:
    url = encrypted(NO_CONTENT)
    assert post(url).delivered
    assert post(url.replace("localhost", "hooks.example")) == Answer(None, "the host's certificate is not valid")
    assert post(url.replace("localhost", "127.0.0.1")) == Answer(None, "the host's certificate is not valid")
    assert post(url).delivered
    assert tls.trust().check_hostname  # all other clients of the process use it too


def test_the_schemes_library_verifies_what_arrives() -> None:
    with receiving() as receiver:
        assert post(receiver.url).delivered
    (received,) = receiver.received
    assert (received.path, received.headers["content-type"]) == ("/hooks/video", "application/json")
    assert Webhook(WEBHOOK_KEY).verify(received.body, received.headers) == {
        "type": "video.state_changed",
        "data": {"name": "靴"},
    }


@pytest.mark.parametrize("pieces", [ENDLESS_HEAD, CONTINUE, SILENCE], ids=["head", "100 Continue", "silence"])
def test_a_response_that_never_ends_is_too_late(
    encrypted: Callable[..., str], monkeypatch: pytest.MonkeyPatch, pieces: list[bytes]
) -> None:
    monkeypatch.setattr(endpoint, "SECONDS", SECONDS)
    began = time.monotonic()
    assert post(encrypted(pieces)) in (TOO_LATE, Answer(None, "the response timed out"))
    assert time.monotonic() - began < PATIENCE


def test_a_body_that_never_ends_is_not_waited_for(encrypted: Callable[..., str]) -> None:
    began = time.monotonic()
    assert post(encrypted(CHUNK_LINE)).delivered
    assert time.monotonic() - began < PATIENCE
