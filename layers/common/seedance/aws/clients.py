"""AWS clients, built on first use from one session and kept for the life of the process.

One session matters: it loads botocore's data once, where a session per client costs 1.6 times the start.
botocore's own session does: boto3's would only load its resources on top.
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
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

CONNECT_SECONDS = 3
READ_SECONDS = 10
"""Inside AWS a healthy call takes milliseconds; the default of 60 s would outlast most functions."""

_CONFIG = Config(
    connect_timeout=CONNECT_SECONDS,
    read_timeout=READ_SECONDS,
    retries={"mode": "standard", "total_max_attempts": 5},
    # Links signed the old way are not checked by everyone; v4 is, and names region and expiry.
    signature_version="s3v4",
)

_S3: Any = {
    # Over TLS no body is signed anyway, for its checksum goes with it. So it is where a laptop's S3 speaks plain HTTP.
    "payload_signing_enabled": False,
    # The region's own host in each link, us-east-1 included. Left to itself botocore signs links for the global host
    # (bucket.s3.amazonaws.com), which regions launched after March 2019 refuse. Buckets with dots in their names keep
    # the path style, which botocore sees to: no certificate covers them as a host.
    "addressing_style": "virtual",
    "us_east_1_regional_endpoint": "regional",
}

_S3_ELSEWHERE: Any = {**_S3, "addressing_style": "path"}
"""At an endpoint that somebody names: bucket.localhost does not resolve everywhere, and bucket.127.0.0.1 nowhere."""


class _Line(URLLib3Session):
    """How botocore sends a request, but with the process's one TLS context (see aws.tls)."""

    def _get_ssl_context(self) -> SSLContext:
        return trust()

    def _setup_ssl_cert(self, conn: Any, url: str, verify: Any) -> None:  # noqa: ARG002 - botocore calls it
        conn.cert_reqs = "CERT_REQUIRED"  # by what the context has loaded; the original loads it again


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
    # Not public at botocore, which the layer therefore ships in the version that the tests ran with. Whoever
    # names authorities of their own (AWS_CA_BUNDLE) gets what botocore does with them.
    if not _session().get_config_variable("ca_bundle"):
        endpoint = client._endpoint
        line: Any = _Line  # its stubs are narrower than it is
        endpoint.http_session = line(
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            proxies=get_environ_proxies(endpoint.host),
            socket_options=[(IPPROTO_TCP, TCP_NODELAY, 1)],  # head and body go out one by one: 40 ms else
        )
    return client


class _Later:
    """A client that is built when it is first used: a submit that goes well needs neither queue nor topic."""

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


def s3() -> "S3Client":
    """The S3 client; its links are signed with Signature Version 4."""
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
