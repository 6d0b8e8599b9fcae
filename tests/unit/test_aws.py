"""AWS clients: one session, one client per service, short timeouts, links signed with Signature Version 4."""

import inspect
import ssl
from collections.abc import Callable, Iterator
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any

import botocore.endpoint
import pytest
from botocore.httpsession import URLLib3Session
from seedance.aws import clients
from seedance.aws.tls import trust

SERVICES: list[tuple[Callable[[], Any], str]] = [
    (clients.dynamodb, "dynamodb"),
    (clients.s3, "s3"),
    (clients.sns, "sns"),
    (clients.sqs, "sqs"),
    (clients.secrets, "secretsmanager"),
    (clients.step_functions, "stepfunctions"),
]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    clients._session.cache_clear()
    clients._client.cache_clear()
    yield
    clients._session.cache_clear()
    clients._client.cache_clear()


@pytest.mark.parametrize(("get", "service"), SERVICES, ids=[service for _, service in SERVICES])
def test_each_service_has_one_client_with_short_timeouts(get: Callable[[], Any], service: str) -> None:
    client = get()
    assert client is get()
    assert client.meta.service_model.service_name == service
    assert client.meta.region_name == "eu-central-1"
    config = client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (3, 10)
    assert config.retries == {"mode": "standard", "total_max_attempts": 5}


def test_all_clients_come_from_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    session = clients.Session
    monkeypatch.setattr(clients, "Session", lambda: made.append(session()) or made[-1])
    for get, _ in SERVICES:
        assert get().meta.events
    assert len(made) == 1


def test_a_client_is_built_on_first_use() -> None:
    topic = clients.sns()
    assert clients._client.cache_info().currsize == 0
    assert topic.meta.region_name == "eu-central-1"
    assert clients._client.cache_info().currsize == 1


def test_links_are_signed_with_signature_version_4() -> None:
    assert clients.s3().meta.config.signature_version == "s3v4"


def link(bucket: str = "bucket") -> str:
    return (
        clients.s3().generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b.png"}).partition("?")[0]
    )


REGIONAL = {
    "us-east-1": "s3.us-east-1.amazonaws.com",
    "eu-central-1": "s3.eu-central-1.amazonaws.com",
    # Launched after March 2019: the global host returns 307 or 400 for their buckets.
    "eu-south-1": "s3.eu-south-1.amazonaws.com",
    "il-central-1": "s3.il-central-1.amazonaws.com",
    # Separate partitions.
    "us-gov-west-1": "s3.us-gov-west-1.amazonaws.com",
    "cn-north-1": "s3.cn-north-1.amazonaws.com.cn",
}


@pytest.mark.parametrize(("region", "host"), REGIONAL.items(), ids=list(REGIONAL))
def test_links_use_the_regional_host(monkeypatch: pytest.MonkeyPatch, region: str, host: str) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    assert clients.s3().meta.endpoint_url == f"https://{host}"
    assert link() == f"https://bucket.{host}/a%20b.png"
    assert link("name.with.dots") == f"https://{host}/name.with.dots/a%20b.png"


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:4566", "http://127.8.9.1:80", "http://[::1]:4566", "http://localhost:4566", "http://minio:9000"],
)
def test_links_to_a_custom_endpoint_have_the_bucket_in_the_path(
    monkeypatch: pytest.MonkeyPatch, variable: str, endpoint: str
) -> None:
    monkeypatch.setenv(variable, endpoint)
    assert link() == f"{endpoint}/bucket/a%20b.png"
    assert link("name.with.dots") == f"{endpoint}/name.with.dots/a%20b.png"


def test_all_connections_share_one_tls_context_that_is_loaded_once() -> None:
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


def test_the_overridden_methods_are_the_ones_that_botocore_calls() -> None:
    theirs = inspect.getsource(URLLib3Session)
    assert "self._get_ssl_context()" in theirs
    assert "self._setup_ssl_cert(conn, request.url, self._verify)" in theirs
    assert "self.http_session.send(" in inspect.getsource(botocore.endpoint.Endpoint)


def test_a_custom_ca_bundle_is_left_to_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "somebodys.pem")
    line = clients.dynamodb()._endpoint.http_session  # type: ignore[attr-defined]
    assert type(line) is URLLib3Session
    assert line._verify == "somebodys.pem"
