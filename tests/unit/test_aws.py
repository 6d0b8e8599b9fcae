"""AWS clients: one session, one client a service, patient but not for a minute, links by Signature Version 4."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from seedance import aws

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
        get()
    assert len(made) == 1


def test_links_are_signed_by_version_four() -> None:
    assert aws.s3().meta.config.signature_version == "s3v4"
