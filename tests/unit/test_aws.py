"""AWS clients: one session, one client a service, patient but not for a minute, links by Signature Version 4."""

import inspect
import ssl
from collections.abc import Callable, Iterator
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any

import botocore.endpoint
import pytest
from botocore.httpsession import URLLib3Session
from seedance import aws
from seedance.tls import trust

SERVICES: list[tuple[Callable[[], Any], str]] = [
    (aws.dynamodb, "dynamodb"),
    (aws.s3, "s3"),
    (aws.sns, "sns"),
    (aws.sqs, "sqs"),
    (aws.secrets, "secretsmanager"),
    (aws.step_functions, "stepfunctions"),
]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    aws._session.cache_clear()
    aws._client.cache_clear()
    yield
    aws._session.cache_clear()
    aws._client.cache_clear()


@pytest.mark.parametrize(("get", "service"), SERVICES, ids=[service for _, service in SERVICES])
def test_each_service_has_one_client_with_short_time_outs(get: Callable[[], Any], service: str) -> None:
    client = get()
    assert client is get()
    assert client.meta.service_model.service_name == service
    assert client.meta.region_name == "eu-central-1"
    config = client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (3, 10)
    assert config.retries == {"mode": "standard", "total_max_attempts": 5}


def test_all_clients_come_from_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    session = aws.Session
    monkeypatch.setattr(aws, "Session", lambda: made.append(session()) or made[-1])
    for get, _ in SERVICES:
        assert get().meta.events
    assert len(made) == 1


def test_a_client_is_built_when_it_is_first_used() -> None:
    topic = aws.sns()
    assert aws._client.cache_info().currsize == 0
    assert topic.meta.region_name == "eu-central-1"
    assert aws._client.cache_info().currsize == 1


def test_links_are_signed_by_version_four() -> None:
    assert aws.s3().meta.config.signature_version == "s3v4"


def test_all_lines_trust_by_one_context_that_is_loaded_once() -> None:
    for get, service in SERVICES:
        line = get()._endpoint.http_session
        pool = line._manager.connection_from_url(f"https://{service}.eu-central-1.amazonaws.com")
        line._setup_ssl_cert(pool, "https://x", True)
        assert pool.conn_kw["ssl_context"] is trust()
        assert (pool.cert_reqs, pool.ca_certs) == ("CERT_REQUIRED", None)
        assert (IPPROTO_TCP, TCP_NODELAY, 1) in pool.conn_kw["socket_options"]
        assert (pool.timeout.connect_timeout, pool.timeout.read_timeout) == (3, 10)
    assert trust().verify_mode is ssl.CERT_REQUIRED
    assert trust().check_hostname
    assert len(trust().get_ca_certs()) > 50


def test_what_the_line_overrides_is_what_botocore_calls() -> None:
    theirs = inspect.getsource(URLLib3Session)
    assert "self._get_ssl_context()" in theirs
    assert "self._setup_ssl_cert(conn, request.url, self._verify)" in theirs
    assert "self.http_session.send(" in inspect.getsource(botocore.endpoint.Endpoint)


def test_authorities_of_ones_own_stay_botocores_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "somebodys.pem")
    line = aws.dynamodb()._endpoint.http_session  # type: ignore[attr-defined]
    assert type(line) is URLLib3Session
    assert line._verify == "somebodys.pem"
