"""Dead letters of events and webhooks are put back: changes are read from the stream again, webhooks sent again."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from announcements import HOOK
from botocore.exceptions import ClientError
from clocks import Clock
from seedance import redriving as redriving_module
from seedance.announce import Announce
from seedance.config import Hook
from seedance.errors import NotAnnounced
from seedance.events.bus import Bus
from seedance.events.endpoint import Gone
from seedance.events.hooks import HookQueue
from seedance.jobs.job import Job, State
from seedance.redriving import EMPTY_ANSWERS, WORK_SECONDS, Redriven, Redriving

Make = Callable[..., Job]
TABLE = "jobs-with-a-stream"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redriving_module, "WAIT_SECONDS", 0)  # moto waits by the machine's clock


@pytest.fixture
def stream(world: Any) -> Any:
    """A table with a stream, and the writes of a job's life to it; returns the stream's records."""
    world.aws["dynamodb"].create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": "job_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "job_id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    for state in (State.RECEIVED, State.SUBMITTING, State.QUEUED, State.PROCESSING):
        item = {"job_id": {"S": "up-1"}, "state": {"S": state.value}}
        world.aws["dynamodb"].put_item(TableName=TABLE, Item=item)
    arn = world.aws["dynamodb"].describe_table(TableName=TABLE)["Table"]["LatestStreamArn"]
    (shard,) = world.aws["dynamodbstreams"].describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = world.aws["dynamodbstreams"].get_shard_iterator(
        StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = world.aws["dynamodbstreams"].get_records(ShardIterator=iterator)["Records"]
    return arn, shard["ShardId"], [one["dynamodb"]["SequenceNumber"] for one in records]


@pytest.fixture
def queues(world: Any) -> dict[str, str]:
    names = ("unannounced", "undelivered", "hooks")
    return {name: world.aws["sqs"].create_queue(QueueName=name)["QueueUrl"] for name in names}


@pytest.fixture
def redriving(world: Any, queues: dict[str, str]) -> Redriving:
    sqs = world.aws["sqs"]
    return Redriving(
        Announce(Bus("default", world.aws["events"]), None),
        world.aws["dynamodbstreams"],
        sqs,
        queues["unannounced"],
        queues["undelivered"],
        HookQueue(queues["hooks"], sqs),
        Gone(world.table),
        world.clock,
    )


def give_up(world: Any, queues: dict[str, str], stream: Any, first: int, last: int) -> None:
    """What Lambda sends to the on-failure destination (Lambda guide, "Retain discarded batches")."""
    arn, shard, numbers = stream
    letter = {
        "requestContext": {"condition": "RecordAgeExceeded"},
        "version": "1.0",
        "DDBStreamBatchInfo": {
            "shardId": shard,
            "startSequenceNumber": numbers[first],
            "endSequenceNumber": numbers[last],
            "batchSize": 1 + last - first,
            "streamArn": arn,
        },
    }
    world.aws["sqs"].send_message(QueueUrl=queues["unannounced"], MessageBody=json.dumps(letter))


def told(world: Any) -> list[str]:
    return [json.loads(one["Detail"])["state"] for call in world.called("PutEvents") for one in call["Entries"]]


def left(world: Any, queue: str) -> int:
    facts = world.aws["sqs"].get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    return sum(int(facts[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible"))


def did(redriven: Redriven) -> tuple[int, bool]:
    return redriven["number"], redriven["more"]


def test_changes_are_announced_again_from_the_first_to_the_last(
    *, world: Any, redriving: Redriving, queues: dict[str, str], stream: Any
) -> None:
    give_up(world, queues, stream, 1, 2)
    assert did(redriving()) == (1, False)
    assert told(world) == ["SUBMITTING", "QUEUED"]
    (event, *_) = world.called("PutEvents")[0]["Entries"]
    assert (event["Resources"], json.loads(event["Detail"])["previous_state"]) == (
        [stream[0].partition("/stream/")[0]],
        "RECEIVED",
    )
    assert left(world, queues["unannounced"]) == 0
    assert did(redriving()) == (0, False)


def test_webhooks_are_put_back_and_a_receiver_that_was_gone_is_tried_again(
    *, world: Any, redriving: Redriving, queues: dict[str, str]
) -> None:
    redriving.gone.mark(Hook(HOOK))
    bodies = [json.dumps({"id": f"evt_{number}", "payload": "{}"}) for number in range(12)]
    for body in bodies:
        world.aws["sqs"].send_message(QueueUrl=queues["undelivered"], MessageBody=body)
    world.calls.clear()
    assert did(redriving()) == (12, False)
    sent = [json.loads(call["MessageBody"]) for call in world.called("SendMessage")]
    assert sorted(json.dumps({name: one[name] for name in ("id", "payload")}) for one in sent) == sorted(bodies)
    assert (left(world, queues["hooks"]), left(world, queues["undelivered"])) == (12, 0)
    assert not redriving.gone(Hook(HOOK))


def test_what_is_refused_again_stays_a_dead_letter(
    *, world: Any, redriving: Redriving, queues: dict[str, str], stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_up(world, queues, stream, 0, 3)
    refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}
    monkeypatch.setattr(redriving.announce.bus, "_client", type("Bus", (), {"put_events": lambda *_, **__: refused})())
    with pytest.raises(NotAnnounced):
        redriving()
    assert left(world, queues["unannounced"]) == 1


class Streams:
    """A stream that answers as it is told."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def get_shard_iterator(self, **_: Any) -> Any:
        return {"ShardIterator": "one"}

    def get_records(self, **_: Any) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def with_streams(redriving: Redriving, *answers: Any) -> Redriving:
    return Redriving(**{**vars(redriving), "streams": Streams(*answers)})


@pytest.mark.parametrize("code", ["TrimmedDataAccessException", "ResourceNotFoundException"])
def test_changes_that_the_stream_no_longer_has_are_given_up(
    *, world: Any, redriving: Redriving, queues: dict[str, str], stream: Any, code: str
) -> None:
    give_up(world, queues, stream, 0, 3)
    assert did(with_streams(redriving, ClientError({"Error": {"Code": code}}, "GetRecords"))()) == (0, False)
    assert left(world, queues["unannounced"]) == 0


def test_another_error_keeps_the_dead_letter(
    *, world: Any, redriving: Redriving, queues: dict[str, str], stream: Any
) -> None:
    give_up(world, queues, stream, 0, 3)
    with pytest.raises(ClientError):
        with_streams(redriving, ClientError({"Error": {"Code": "InternalServerError"}}, "GetRecords"))()
    assert left(world, queues["unannounced"]) == 1


def test_answers_without_records_are_not_the_end(
    *, world: Any, redriving: Redriving, queues: dict[str, str], stream: Any
) -> None:
    """GetRecords may return none before the wanted ones come; only if they never do, it ends with an error."""
    give_up(world, queues, stream, 0, 0)
    empty = {"Records": [], "NextShardIterator": "next"}
    created = {"ApproximateCreationDateTime": _Then(), "SequenceNumber": stream[2][0]}
    image = {"job_id": {"S": "up-1"}, "state": {"S": "HELD"}}
    found = {"Records": [{"dynamodb": {**created, "NewImage": image}}], "NextShardIterator": "next"}
    assert did(with_streams(redriving, *[empty] * (EMPTY_ANSWERS - 1), found)()) == (1, False)
    assert told(world) == ["HELD"]
    give_up(world, queues, stream, 0, 0)
    with pytest.raises(NotAnnounced, match="try again"):
        with_streams(redriving, empty)()


class _Then:
    def timestamp(self) -> float:
        return 1.0


class Ticking(Clock):
    """A clock that advances by some seconds whenever it is read."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


def test_a_call_stops_after_its_time_and_says_that_there_is_more(
    *, world: Any, redriving: Redriving, queues: dict[str, str]
) -> None:
    for number in range(30):
        world.aws["sqs"].send_message(QueueUrl=queues["undelivered"], MessageBody=json.dumps({"id": str(number)}))
    slow = Redriving(**{**vars(redriving), "clock": Ticking(WORK_SECONDS / 6)})
    first = slow()
    assert first["more"]
    assert 0 < first["number"] < 10
    assert first["number"] + did(redriving(first["run"]))[0] + left(world, queues["undelivered"]) == 30


def test_a_webhook_that_fails_again_at_once_is_put_back_once(
    *, world: Any, redriving: Redriving, queues: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver that is still gone makes dead letters as fast as they are put back."""
    for number in range(25):
        world.aws["sqs"].send_message(QueueUrl=queues["undelivered"], MessageBody=json.dumps({"id": str(number)}))
    put_back = []

    def fail_at_once(body: str) -> None:
        put_back.append(json.loads(body)["id"])
        world.aws["sqs"].send_message(QueueUrl=queues["undelivered"], MessageBody=body)

    monkeypatch.setattr(redriving.hooks, "put", fail_at_once)
    calls = [Redriving(**{**vars(redriving), "clock": Ticking(WORK_SECONDS / 6)})()]
    while calls[-1]["more"]:
        assert len(calls) < 25
        calls.append(Redriving(**{**vars(redriving), "clock": Ticking(WORK_SECONDS / 6)})(calls[0]["run"]))
    assert len(put_back) == len(set(put_back)) == sum(call["number"] for call in calls) <= 25
    assert left(world, queues["undelivered"]) == 25
    put_back.clear()
    world.aws["sqs"].purge_queue(QueueUrl=queues["undelivered"])
    world.aws["sqs"].send_message(QueueUrl=queues["undelivered"], MessageBody=json.dumps({"id": "7", "run": "earlier"}))
    assert did(redriving()) == (1, False)  # another run tries again
    assert put_back == ["7"]
