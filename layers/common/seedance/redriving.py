"""Redriving: announce again what could not be announced, and send webhooks again that could not be delivered."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from botocore.exceptions import ClientError

from seedance.announce import Announce, announce
from seedance.aws import clients
from seedance.aws.job_table import job_table
from seedance.clock import CLOCK, Clock
from seedance.config import announce_settings
from seedance.errors import NotAnnounced
from seedance.events.change import StreamRecord
from seedance.events.endpoint import Gone
from seedance.events.hooks import HookQueue, Webhook
from seedance.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_sqs import SQSClient

WORK_SECONDS = 30.0
"""The longest time that one call works. The caller repeats the request for the rest."""

RECORDS_A_REQUEST = 100
WAIT_SECONDS = 1
"""How long to wait for messages before a queue counts as empty."""

EMPTY_ANSWERS = 100
"""A stream may answer without records before it comes to the wanted ones (API reference, GetRecords)."""

_EXPIRED = ("TrimmedDataAccessException", "ResourceNotFoundException")
"""The stream no longer has these records: it keeps them for 24 hours."""


class Redriven(TypedDict):
    """What one call did: the number of messages, whether there may be more, and the run to ask for the rest with."""

    number: int
    more: bool
    run: str


@dataclass(frozen=True)
class Redriving:
    """The use case and its dependencies.

    ``unannounced`` and ``undelivered`` are the URLs of the dead-letter queues of the stream and of the webhooks.
    """

    announce: Announce
    streams: "DynamoDBStreamsClient"
    sqs: "SQSClient"
    unannounced: str
    undelivered: str
    hooks: HookQueue
    gone: Gone
    clock: Clock = CLOCK

    def __call__(self, run: str | None = None) -> Redriven:
        """Empty both dead-letter queues. If the receiver of the webhooks was gone, sending is tried again.

        ``run`` is that of the last call, if it said that there is more. A webhook is put back once in a run: if the
        receiver is still gone, all of them are dead letters again within seconds.
        """
        run, until = run or uuid.uuid4().hex, self.clock() + WORK_SECONDS
        number = seen = 0
        for body in self._letters(self.unannounced, until):
            number, seen = number + self._announced(body), seen + 1
        self.gone.forget()
        for body in self._letters(self.undelivered, until, run):
            self.hooks.put(marked(body, run))
            number, seen = number + 1, seen + 1
        # A call that found only what it had put back itself was the last one.
        return {"number": number, "more": seen > 0 and self.clock() > until, "run": run}

    def _letters(self, queue: str, until: float, run: str | None = None) -> Iterator[str]:
        """The messages of a queue, up to a time; each is deleted when the next one is asked for.

        Those that were put back in this run are left there.
        """
        wanted: Any = {"QueueUrl": queue, "MaxNumberOfMessages": 10, "WaitTimeSeconds": WAIT_SECONDS}
        while self.clock() <= until and (messages := self.sqs.receive_message(**wanted).get("Messages")):
            for message in messages:
                if run and marked(message["Body"], run) == message["Body"]:
                    continue
                yield message["Body"]
                self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                if self.clock() > until:
                    return

    def _announced(self, body: str) -> int:
        """Announce the records that Lambda gave up. Returns 1, or 0 if the stream no longer has them."""
        letter = json.loads(body)["DDBStreamBatchInfo"]
        first, last = letter["startSequenceNumber"], int(letter["endSequenceNumber"])
        try:
            for records in self._records(letter["streamArn"], letter["shardId"], first, last):
                if refused := self.announce(records):
                    raise NotAnnounced(f"EventBridge or the queue of webhooks refused the change {refused}")
        except ClientError as error:
            if error.response["Error"]["Code"] not in _EXPIRED:
                raise
            logger().error("changes of state can't be announced any more", extra={"letter": letter})
            return 0
        return 1

    def _records(self, stream: str, shard: str, first: str, last: int) -> Iterator[list[StreamRecord]]:
        """The stream's records from one sequence number to another, as Lambda would have passed them on."""
        iterator: str | None = self.streams.get_shard_iterator(
            StreamArn=stream, ShardId=shard, ShardIteratorType="AT_SEQUENCE_NUMBER", SequenceNumber=first
        )["ShardIterator"]
        empty = 0
        while iterator:
            answer: Any = self.streams.get_records(ShardIterator=iterator, Limit=RECORDS_A_REQUEST)
            numbers = [int(one["dynamodb"]["SequenceNumber"]) for one in answer["Records"]]
            yield [
                _as_lambda_has_it(one, stream)
                for one, number in zip(answer["Records"], numbers, strict=True)
                if number <= last
            ]
            if any(number >= last for number in numbers):
                return
            iterator, empty = answer.get("NextShardIterator"), 0 if numbers else empty + 1
            if empty >= EMPTY_ANSWERS:
                raise NotAnnounced(f"the stream did not return the changes up to {last}; try again")


def marked(body: str, run: str) -> str:
    """A webhook's message with the run that puts it back."""
    webhook: Webhook = json.loads(body)
    return json.dumps({**webhook, "run": run})


def _as_lambda_has_it(record: Any, stream: str) -> StreamRecord:
    seconds = record["dynamodb"]["ApproximateCreationDateTime"].timestamp()
    written: Any = {**record["dynamodb"], "ApproximateCreationDateTime": seconds}
    return {"eventSourceARN": stream, "dynamodb": written}


@cache
def redriving() -> Redriving:
    """The use case, configured for this stack."""
    stack = announce_settings()
    return Redriving(
        announce(),
        clients.streams(),
        clients.sqs(),
        stack.announce_dead_letter_queue,
        stack.webhook_dead_letter_queue,
        HookQueue(stack.webhook_queue, clients.sqs()),
        Gone(job_table()),
    )
