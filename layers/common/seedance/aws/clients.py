"""AWS clients, created on first use from one session and kept for the life of the process.

A single session loads botocore's data only once; with one session per client, startup takes 1.6 times as long. It is
botocore's session, because boto3's would also import its resources.
"""

from functools import cache
from socket import IPPROTO_TCP, TCP_NODELAY
from ssl import SSLContext
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.httpsession import URLLib3Session
from botocore.session import Session
from botocore.utils import get_environ_proxies

from seedance.aws.tls import trust
from seedance.config import s3_endpoint

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

CONNECT_SECONDS = 3
READ_SECONDS = 10
"""Inside AWS a healthy call takes milliseconds. The default of 60 s is longer than the timeout of most functions."""

_CONFIG = Config(
    connect_timeout=CONNECT_SECONDS,
    read_timeout=READ_SECONDS,
    retries={"mode": "standard", "total_max_attempts": 5},
    # Not all services accept links with the old signature. Version 4 works everywhere and includes region and expiry.
    signature_version="s3v4",
)

_S3: Any = {
    # Over TLS, botocore does not sign bodies anyway, because a checksum is sent with them. This does the same for a
    # local S3 over plain HTTP.
    "payload_signing_enabled": False,
    # Use the region's own host in each link, also for us-east-1. By default botocore signs links for the global host
    # (bucket.s3.amazonaws.com), which regions launched after March 2019 refuse. For buckets with dots in their names,
    # botocore keeps the path style, because no certificate covers them as a host name.
    "addressing_style": "virtual",
    "us_east_1_regional_endpoint": "regional",
}

_S3_ELSEWHERE: Any = {**_S3, "addressing_style": "path"}
"""For a custom endpoint: bucket.localhost does not resolve everywhere, and bucket.127.0.0.1 nowhere."""


class _Line(URLLib3Session):
    """botocore's HTTP session, but with the TLS context that the whole process shares (see aws.tls)."""

    def _get_ssl_context(self) -> SSLContext:
        return trust()

    def _setup_ssl_cert(self, conn: Any, url: str, verify: Any) -> None:  # noqa: ARG002 - botocore calls it
        conn.cert_reqs = "CERT_REQUIRED"  # the context has the certificates; the original would load them again


@cache
def _session() -> Session:
    return Session()


@cache
def _client(service: Any) -> Any:
    if service == "s3":
        config = _CONFIG.merge(Config(s3=_S3_ELSEWHERE if s3_endpoint() else _S3))
    else:
        config = _CONFIG.merge(Config(signature_version=None))
    client: Any = _session().create_client(service, config=config)
    # This uses private API of botocore, so the layer pins the version that the tests ran with. If AWS_CA_BUNDLE names
    # other certificate authorities, botocore's own behaviour is kept.
    if not _session().get_config_variable("ca_bundle"):
        endpoint = client._endpoint
        line: Any = _Line  # its stubs are narrower than it is
        endpoint.http_session = line(
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            proxies=get_environ_proxies(endpoint.host),
            socket_options=[(IPPROTO_TCP, TCP_NODELAY, 1)],  # headers and body are sent separately: saves 40 ms
        )
    return client


class _Later:
    """A client that is created when first used: a successful submit needs neither the queue nor the topic."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        return getattr(_client(self._service), name)


@cache
def _later(service: str) -> Any:
    return _Later(service)


def dynamodb() -> "DynamoDBClient":
    """The DynamoDB client."""
    return _later("dynamodb")  # type: ignore[no-any-return]


def streams() -> "DynamoDBStreamsClient":
    """The client for the table's stream."""
    return _later("dynamodbstreams")  # type: ignore[no-any-return]


def events() -> "EventBridgeClient":
    """The EventBridge client."""
    return _later("events")  # type: ignore[no-any-return]


def s3() -> "S3Client":
    """The S3 client. Its links are signed with Signature Version 4."""
    return _later("s3")  # type: ignore[no-any-return]


def sns() -> "SNSClient":
    """The SNS client."""
    return _later("sns")  # type: ignore[no-any-return]


def sqs() -> "SQSClient":
    """The SQS client."""
    return _later("sqs")  # type: ignore[no-any-return]


def secrets() -> "SecretsManagerClient":
    """The Secrets Manager client."""
    return _later("secretsmanager")  # type: ignore[no-any-return]


def step_functions() -> "SFNClient":
    """The Step Functions client."""
    return _later("stepfunctions")  # type: ignore[no-any-return]
