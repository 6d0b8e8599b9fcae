"""Moto without its sockets: a world is played thousands of times, and two thirds of the time were HTTP.

Moto's own server answers, in this process; it also listens, so that a signed link works for the stand-in.
"""

import io
import threading
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from moto.core import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends
from moto.stepfunctions.models import stepfunctions_backends
from urllib3 import HTTPResponse
from werkzeug.test import Client

_moto = DomainDispatcherApplication(create_backend_app)
_one_at_a_time = threading.Lock()


def answer(request: AWSPreparedRequest) -> AWSResponse:
    """Moto's answer to one request of botocore's."""
    body: Any = request.body
    body = body.read() if hasattr(body, "read") else body
    headers = [(name, value.decode() if isinstance(value, bytes) else value) for name, value in request.headers.items()]
    with _one_at_a_time:
        found = Client(_moto).open(
            request.url,
            method=request.method,
            headers=headers,
            data=body or b"",
        )
    raw = HTTPResponse(io.BytesIO(found.get_data()), dict(found.headers), found.status_code, preload_content=False)
    return AWSResponse(request.url, found.status_code, dict(found.headers), raw)


def empty(region: str) -> None:
    """Take everything out of the stack, as far as a play puts something in; the resources stay."""
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


def take_messages(region: str, queue: str) -> list[tuple[str, float, dict[str, Any]]]:
    """Empty a queue: each message's body, its delay in seconds, its attributes."""
    found = sqs_backends[DEFAULT_ACCOUNT_ID][region].queues[queue]
    taken = [
        (message.body, max(0.0, (message.delayed_until - message.sent_timestamp) / 1000), message.message_attributes)
        for message in found._messages
    ]
    found._messages.clear()
    return taken
