"""The queue of webhooks that wait to be delivered, and when a failed delivery is tried again.

A message stays in the queue until it is delivered: after a failed attempt it becomes visible again later and later
(SQS API reference, ChangeMessageVisibility: at most 12 hours). SQS counts the attempts, and moves a message with too
many of them to the dead-letter queue.
"""

import json
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

from seedance.events.change import Change
from seedance.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

WAITS = (5.0, 60.0, 300.0, 1800.0, 2 * 3600.0, 5 * 3600.0, 7 * 3600.0, 9 * 3600.0)
"""Seconds between two attempts; together about a day. Standard Webhooks recommends an exponential schedule."""

ATTEMPTS = len(WAITS) + 1
"""The attempts at a webhook, in all. It is the ``maxReceiveCount`` of the queue."""

LONGEST_WAIT_SECONDS = 12 * 3600.0 - 60
"""SQS's limit of 12 hours, minus the time that a message has been received for."""

SPREAD = 0.2
"""Waits differ by up to this part, so that the webhooks of one outage don't all come back at the same second."""


class Webhook(TypedDict):
    """A message of the queue. Each attempt sends the same ``payload`` with the same ``id``."""

    id: str
    payload: str
    run: NotRequired[str]
    """The run of `seedance redrive` that put it back last."""


class HookQueue:
    """The queue of webhooks, or their dead-letter queue."""

    def __init__(self, url: str, client: "SQSClient") -> None:
        self._url = url
        self._client = client

    def send(self, changes: Sequence[Change]) -> int:
        """Put a group of changes (announce.groups) into the queue.

        Returns how many of them, from the first on, were accepted; a later one may have been accepted too. Raises
        ClientError and BotoCoreError.
        """
        messages: list[Webhook] = [{"id": change.detail["id"], "payload": change.webhook} for change in changes]
        answer = self._client.send_message_batch(
            QueueUrl=self._url,
            Entries=[{"Id": str(n), "MessageBody": json.dumps(one)} for n, one in enumerate(messages)],
        )
        failed = answer.get("Failed", [])
        for one in failed:
            facts = {"code": one.get("Code"), "reason": one.get("Message")}
            logger().error("the queue refused a webhook", extra={**facts, "webhook": messages[int(one["Id"])]["id"]})
        return min((int(one["Id"]) for one in failed), default=len(changes))

    def put(self, body: str) -> None:
        """Put a message into the queue as it is."""
        self._client.send_message(QueueUrl=self._url, MessageBody=body)

    def postpone(self, receipt: str, seconds: float) -> None:
        """Let a received message come back after this time, instead of after the queue's visibility timeout."""
        self._client.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=round(seconds)
        )


def wait(attempt: int, webhook_id: str, asked: float | None = None) -> float:
    """Seconds from a failed attempt, counted from 1, to the next one. ``asked``: the receiver's Retry-After."""
    if attempt >= ATTEMPTS:
        return 0.0  # SQS moves it to the dead-letter queue
    part = zlib.crc32(f"{webhook_id} {attempt}".encode()) / 2**32
    planned = WAITS[max(1, attempt) - 1] * (1 + SPREAD * part)
    return min(LONGEST_WAIT_SECONDS, max(planned, asked or 0.0))
