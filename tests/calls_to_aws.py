"""Which calls to AWS each function makes, seen while tests run the functions, in the words of IAM.

``infrastructure/calls.json`` has all of them: ``make calls`` writes it from the flows in ``crash/calls.py``. The tests
compare it with the policies in template.yaml, in both directions.

Sources for the actions: IAM's service authorization reference. A transaction needs the permissions of its parts
(DynamoDB developer guide, "Using IAM with DynamoDB transactions"); the parts of an upload need s3:PutObject (S3 user
guide, "Multipart upload API and permissions"); without s3:ListBucket a missing object is "forbidden" (S3 API reference,
GetObject and HeadObject); ListObjectVersions needs s3:ListBucketVersions (S3 API reference).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from adversary import of_a_function
from botocore.client import BaseClient
from botocore.exceptions import ClientError

COMMITTED = Path(__file__).parent / "infrastructure/calls.json"

_TRANSACTED = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
_ACTIONS = {
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "s3:HeadObject": "s3:GetObject",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
}
_MISSING = ("NoSuchKey", "NoSuchVersion", "404")
PREFIXES = ("uploads", "images", "batches", "staged", "plans", "videos")
"""The prefixes of the two buckets that mean something; any other key is an image that a caller names."""


class Seen(NamedTuple):
    """A permission that a function used."""

    function: str
    action: str
    resource: str

    def __str__(self) -> str:
        return f"{self.function}: {self.action} on {self.resource}"


def committed() -> set[Seen]:
    """The calls in the committed list."""
    return {
        Seen(function, action, resource)
        for function, actions in json.loads(COMMITTED.read_text()).items()
        for action, resources in actions.items()
        for resource in resources
    }


def write(found: set[Seen]) -> None:
    """Replace the committed list."""
    told: dict[str, dict[str, list[str]]] = {}
    for function, action, resource in sorted(found):
        told.setdefault(function, {}).setdefault(action, []).append(resource)
    COMMITTED.write_text(json.dumps(told, indent=1) + "\n")


def install(
    patch: pytest.MonkeyPatch,
    who: Callable[[], str | None],
    names: Callable[[], Mapping[str, str]],
    see: Callable[[Seen], None],
) -> None:
    """Report each permission that the running function (``who``) uses, also for the links that it signs.

    ``names``: the template's resources, by the names that they have here.
    """
    emit, call = BaseClient._emit_api_params, BaseClient._make_api_call

    def emitted(self: Any, api_params: Any, operation_model: Any, context: Any) -> Any:
        params = emit(self, api_params, operation_model, context)
        function = who()
        if function and of_a_function(self):
            service = operation_model.service_model.signing_name
            for action, resource in _needs(service, operation_model.name, params, names()):
                see(Seen(function, action, resource))
        return params

    def called(self: Any, operation_name: str, api_kwargs: Any) -> Any:
        try:
            return call(self, operation_name, api_kwargs)
        except ClientError as error:
            if (
                (function := who())
                and operation_name in ("GetObject", "HeadObject")
                and error.response["Error"]["Code"] in _MISSING
            ):
                see(Seen(function, "s3:ListBucket", names()[api_kwargs["Bucket"]]))
            raise

    patch.setattr(BaseClient, "_emit_api_params", emitted)
    patch.setattr(BaseClient, "_make_api_call", called)


def _needs(service: str, operation: str, params: Any, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The permissions that a call needs, as (action, resource)."""
    action = f"{service}:{operation}"
    match service:
        case "dynamodb" if operation == "TransactWriteItems":
            for one in params["TransactItems"]:
                ((kind, part),) = one.items()
                yield f"dynamodb:{_TRANSACTED[kind]}", names[part["TableName"]]
        case "dynamodb" if operation == "BatchGetItem":
            yield from ((action, names[table]) for table in params["RequestItems"])
        case "dynamodb":
            index = f"/index/{params['IndexName']}" if "IndexName" in params else ""
            yield action, names[params["TableName"]] + index
        case "s3" if operation == "ListObjectVersions":
            yield "s3:ListBucketVersions", names[params["Bucket"]]
        case "s3":
            prefix = params["Key"].partition("/")[0]
            action = _ACTIONS.get(action, action)
            action = f"{action}Version" if action == "s3:GetObject" and params.get("VersionId") else action
            yield action, f"{names[params['Bucket']]}/{prefix if prefix in PREFIXES else 'images'}/*"
        case "sqs":
            yield _ACTIONS.get(action, action), names[params["QueueUrl"]]
        case "sns":
            yield action, names[params["TopicArn"]]
        case "states" if "executionArn" in params:
            machine = params["executionArn"].rpartition(":")[0].replace(":execution:", ":stateMachine:")
            yield action, f"{names[machine]}/execution"
        case "states":
            yield action, names[params["stateMachineArn"]]
        case _:
            yield action, names[params["SecretId"]]
