"""The local AWS: clients that ignore the user's own AWS settings, and the few calls made with them."""

import base64
import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
from boto3.session import Session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as BotoCredentials

from local.gate import SAVE
from local.inbox import INBOX, Entry
from local.sigv4 import Credentials

REGION = "us-east-1"
NO_FILES = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


@dataclass(frozen=True)
class Access:
    """The address of a local AWS and the credentials that it accepts."""

    endpoint_url: str
    credentials: Credentials


def exports(at: Access) -> dict[str, str]:
    """The variables that point an AWS client at the local stack."""
    return {
        "AWS_ENDPOINT_URL": at.endpoint_url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": at.credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": at.credentials.secret_access_key,
    }


def environment(at: Access) -> dict[str, str]:
    """The same, for a program that must not read the user's AWS files either."""
    return {**exports(at), **NO_FILES}


@cache
def client(at: Access, service: str, patience: float | None = None) -> Any:
    """A client for a service of the local stack.

    ``patience``: the timeout of a call in seconds. Such a call is never retried.
    """
    with _without_ambient_settings():
        session = Session(
            aws_access_key_id=at.credentials.access_key_id,
            aws_secret_access_key=at.credentials.secret_access_key,
            region_name=REGION,
        )
        return session.client(
            service,  # type: ignore[call-overload]
            endpoint_url=at.endpoint_url,
            config=Config(
                connect_timeout=2,
                read_timeout=patience or 20,
                retries={"mode": "standard", "total_max_attempts": 1 if patience else 2},
                signature_version="s3v4" if service == "s3" else None,
                s3={"addressing_style": "path"},
                proxies={},
            ),
        )


@contextlib.contextmanager
def _without_ambient_settings() -> Iterator[None]:
    # When a client is created, botocore reads AWS_PROFILE, AWS_CA_BUNDLE and forty more variables, whatever the
    # arguments are. An outdated profile name alone would raise ProfileNotFound.
    ambient = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name in ambient:
        del os.environ[name]
    os.environ.update(NO_FILES)
    try:
        yield
    finally:
        for name in NO_FILES:
            del os.environ[name]
        os.environ.update(ambient)


def scale_waits(at: Access, scale: float) -> None:
    """Multiply the workflow's waits by ``scale``."""
    _post(at, "/_ministack/config", json.dumps({"stepfunctions._SFN_WAIT_SCALE": scale}))


def save(at: Access) -> None:
    """Write the emulator's complete state to disk."""
    _post(at, SAVE, "{}")


def inbox(at: Access) -> list[Entry]:
    """What the stack has sent, oldest first."""
    entries: list[Entry] = _post(at, INBOX, "{}").json()["entries"]
    return entries


def _post(at: Access, path: str, body: str) -> httpx.Response:
    url = f"{at.endpoint_url}{path}"
    wish = AWSRequest("POST", url, {"Content-Type": "application/json"}, body)
    credentials = BotoCredentials(at.credentials.access_key_id, at.credentials.secret_access_key)
    SigV4Auth(credentials, "ministack", REGION).add_auth(wish)
    answer = httpx.post(url, content=body, headers=dict(wish.headers), trust_env=False, timeout=30)
    return answer.raise_for_status()


def create_secret(at: Access, name: str, value: str) -> str:
    """Store a key where the functions read it. Returns the secret's ARN."""
    return str(client(at, "secretsmanager").create_secret(Name=name, SecretString=value)["ARN"])


def change_secret(at: Access, name: str, value: str) -> None:
    """Replace the key in the secret."""
    client(at, "secretsmanager").put_secret_value(SecretId=name, SecretString=value)


def secret_arn(at: Access, name: str) -> str:
    """The ARN of an existing secret."""
    return str(client(at, "secretsmanager").describe_secret(SecretId=name)["ARN"])


def webhook_secret(at: Access, name: str) -> str:
    """The ARN of the secret that webhooks are signed with. Created once, with a random key."""
    secrets_manager = client(at, "secretsmanager")
    with contextlib.suppress(secrets_manager.exceptions.ResourceNotFoundException):
        return secret_arn(at, name)
    return create_secret(at, name, f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}")


def create_bucket(at: Access, name: str) -> None:
    """Create a bucket for the files that a deployment uploads."""
    client(at, "s3").create_bucket(Bucket=name)


def is_deployed(at: Access, stack: str) -> bool:
    """Whether the stack exists and is complete."""
    cloudformation = client(at, "cloudformation")
    try:
        answer = cloudformation.describe_stacks(StackName=stack)
    except cloudformation.exceptions.ClientError:  # raised if the stack does not exist
        return False
    return bool(answer["Stacks"][0]["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"))


def stack_outputs(at: Access, stack: str) -> dict[str, str]:
    """A deployed stack's outputs."""
    answer = client(at, "cloudformation").describe_stacks(StackName=stack)
    return {item["OutputKey"]: item["OutputValue"] for item in answer["Stacks"][0]["Outputs"]}


def stack_parameters(at: Access, stack: str) -> dict[str, str]:
    """The values of a deployed stack's parameters."""
    answer = client(at, "cloudformation").describe_stacks(StackName=stack)
    return {item["ParameterKey"]: item["ParameterValue"] for item in answer["Stacks"][0].get("Parameters", [])}


def api_key(at: Access, key_id: str) -> str:
    """The value of the API key."""
    return str(client(at, "apigateway").get_api_key(apiKey=key_id, includeValue=True)["value"])
