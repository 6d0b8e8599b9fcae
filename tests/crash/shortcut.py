"""Moto without sockets: worlds are played thousands of times, and HTTP took two thirds of that time.

Each service of moto responds in this process, called as moto's own mock calls it. Only S3, where the URL selects
the operation, goes through moto's server application. That server also listens on a port, so that signed links
work for the stand-in.
"""

import io
import json
import re
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.exceptions import HTTPException
from moto.core.request import normalize_request
from moto.core.responses import ActionResult
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.responses import DynamoHandler
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends
from moto.stepfunctions.models import stepfunctions_backends
from table_stream import Write, api_answer
from urllib3 import HTTPResponse
from werkzeug.test import Client

_moto = DomainDispatcherApplication(create_backend_app)
_one_at_a_time = threading.Lock()
_SIGNED_FOR = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request")
_MODULES = {"states": "stepfunctions"}
"""Services that moto calls otherwise than their signature does."""


def answer(request: AWSPreparedRequest, stream: Sequence[Write]) -> AWSResponse:
    """Moto's response to one request of botocore. ``stream``: the table's stream, which is not moto's own."""
    target = request.headers.get("X-Amz-Target", b"").decode()
    if target.startswith("DynamoDBStreams"):
        return _answered(request, 200, {}, json.dumps(api_answer(target, request.body, stream)).encode())
    signature = request.headers["Authorization"]
    signature = signature.decode() if isinstance(signature, bytes) else signature
    service = _SIGNED_FOR.search(signature)[1]
    with _one_at_a_time:
        status, headers, body = _by_server(request) if service == "s3" else _by_service(service, request)
    return _answered(request, status, headers, body)


def _answered(request: AWSPreparedRequest, status: int, headers: dict[str, str], body: bytes) -> AWSResponse:
    method = request.method  # without it, the answer to a HEAD would miss its body
    raw = HTTPResponse(io.BytesIO(body), headers, status, preload_content=False, request_method=method)
    return AWSResponse(request.url, status, headers, raw)


def _by_service(service: str, request: AWSPreparedRequest) -> tuple[int, dict[str, str], bytes]:
    respond = next(iter(import_module(f"moto.{_MODULES.get(service, service)}.urls").url_paths.values()))
    asked = normalize_request(request)
    try:
        status, headers, body = respond(asked, asked.raw_url, asked.headers)
    except HTTPException as error:
        status, headers, body = error.code, dict(error.get_headers()), error.get_body()
    return int(status), dict(headers), body.encode() if isinstance(body, str) else body


def _by_server(request: AWSPreparedRequest) -> tuple[int, dict[str, str], bytes]:
    body: Any = request.body
    body = body.read() if hasattr(body, "read") else body
    headers = [(name, value.decode() if isinstance(value, bytes) else value) for name, value in request.headers.items()]
    found = Client(_moto).open(request.url, method=request.method, headers=headers, data=body or b"")
    return found.status_code, dict(found.headers), found.get_data()


_AS_THEY_ARE = frozenset({"GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem"})
"""DynamoDB's answers that moto keeps in their final form; to look for each field by all of its possible names
took a fifth of the time."""


def install(patch: pytest.MonkeyPatch) -> None:
    """Store these responses as they are."""
    serialized = DynamoHandler.serialized

    def as_it_is(self: DynamoHandler, action: ActionResult) -> Any:
        if isinstance(action.result, dict) and self._get_action() in _AS_THEY_ARE:
            return 200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(action.result)
        return serialized(self, action)

    patch.setattr(DynamoHandler, "serialized", as_it_is)


def empty(region: str) -> None:
    """Remove everything that a scenario put into the stack; the resources stay."""
    here = DEFAULT_ACCOUNT_ID
    for table in dynamodb_backends[here][region].tables.values():
        table.items.clear()
    for queue in sqs_backends[here][region].queues.values():
        queue._messages.clear()
        queue._pending_messages.clear()
        queue.deleted_messages.clear()
    for machine in stepfunctions_backends[here][region].state_machines:
        machine.executions.clear()
    for bucket in s3_backends[here]["aws"].buckets.values():
        bucket.keys.clear()
        bucket.multiparts.clear()


def items(region: str) -> list[dict[str, Any]]:
    """All records of the job table, as DynamoDB writes them."""
    (table,) = dynamodb_backends[DEFAULT_ACCOUNT_ID][region].tables.values()
    return [item.to_json()["Attributes"] for item in table.items.values()]


def messages(region: str, queue: str) -> list[Any]:
    """Moto's messages in a queue."""
    return list(sqs_backends[DEFAULT_ACCOUNT_ID][region].queues[queue]._messages)


def delete_message(region: str, queue: str, message: Any) -> None:
    """Delete a message from a queue."""
    sqs_backends[DEFAULT_ACCOUNT_ID][region].queues[queue]._messages.remove(message)


def take_messages(region: str, queue: str) -> list[tuple[str, float, dict[str, Any]]]:
    """Empty a queue, and return each message's body, delay in seconds, and attributes."""
    found = sqs_backends[DEFAULT_ACCOUNT_ID][region].queues[queue]
    taken = [
        (message.body, max(0.0, (message.delayed_until - message.sent_timestamp) / 1000), message.message_attributes)
        for message in found._messages
    ]
    found._messages.clear()
    return taken
