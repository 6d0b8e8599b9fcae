"""The adversary does what it says, and the code would not survive it with the mistakes that it is there to find."""

from collections import Counter
from typing import Any

import pytest
from adversary import Adversary
from botocore.exceptions import ClientError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker
from scenarios import SCENARIOS
from seedance.aws import clients, writes
from seedance.aws.attributes import written_item
from seedance.aws.job_table import job_table
from seedance.jobs.in_flight import InFlight
from seedance.jobs.job import Job, State
from seedance.jobs.store import jobs
from stage import Stage
from verdict import always
from world import World

NEVER = {"conflicts": 0.0, "throttled": 0.0, "partial": 0.0, "lag_seconds": 0.0}


@pytest.fixture
def world(servers: Stage) -> World:
    """An empty stack whose adversary does nothing."""
    made = servers.world()
    servers.wire.adversary = made.adversary = Adversary(1, now=servers.calendar.time, **NEVER)  # type: ignore[arg-type]
    return made


def job(number: int = 1) -> Job:
    about = {"source": "api", "name": "n", "folder": "f", "model": "m", "transport": "v2"}
    return Job(job_id=f"up-{number}", state=State.RECEIVED, **about)


def called(world: World, service: str, operation: str, **params: Any) -> Any:
    """Make a call as submit would; returns the answer or the error."""
    with world.wire.inside("submit"):
        try:
            return getattr(getattr(clients, service)(), operation)(**params)
        except ClientError as error:
            return error


def test_all_of_it_happens_in_a_few_scenarios(servers: Stage) -> None:
    met: Counter[str] = Counter()
    for scenario in (one for one in SCENARIOS if one.name in ("upload, v2", "rate-limited", "v1, cut off: adopted")):
        scenario.play(servers)
        met += servers.wire.adversary.met
    assert {"conflicts", "throttled", "unprocessed", "stale"} <= {what for what, number in met.items() if number}


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("dynamodb", "get_item", {"TableName": "jobs", "Key": {"job_id": {"S": "x"}}}),
        ("s3", "get_object", {"Bucket": "uploads-bucket", "Key": "uploads/x"}),
        ("sqs", "send_message", {"QueueUrl": "queue", "MessageBody": "{}"}),
        ("sns", "publish", {"TopicArn": "topic", "Message": "x"}),
        ("step_functions", "start_execution", {"stateMachineArn": "state_machine", "input": "{}"}),
        ("secrets", "get_secret_value", {"SecretId": "secret"}),
    ],
)
def test_each_service_is_throttled_in_a_way_that_botocore_retries(
    world: World, service: str, operation: str, params: dict[str, Any]
) -> None:
    world.adversary.refused = 1.0
    real = {name: getattr(world, of, of) if isinstance(of, str) else of for name, of in params.items()}
    error = called(world, service, operation, **real)
    code = error.response["Error"]["Code"]
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    assert code in ThrottledRetryableChecker._THROTTLED_ERROR_CODES or (
        status in TransientRetryableChecker._TRANSIENT_STATUS_CODES
    )
    assert world.adversary.met == {"refused": 1, "throttled": 5}  # botocore's attempts


def test_up_to_four_throttles_are_not_noticed(world: World) -> None:
    world.adversary.throttled = 1.0
    for number in range(20):
        assert called(world, "sqs", "send_message", QueueUrl=world.queue, MessageBody="{}")["MessageId"], number
    assert world.adversary.met["throttled"] >= 20


def test_a_write_meets_a_transaction_once(world: World) -> None:
    world.adversary.conflicts = 1.0
    item = {"TableName": "jobs", "Item": written_item({"job_id": "up-1"})}
    error = called(world, "dynamodb", "put_item", **item)
    assert (writes.met_a_transaction(error), called(world, "dynamodb", "put_item", **item)) != (False, error)
    calendar = {"TableName": "jobs", "Item": written_item({"job_id": "calendar#requests"})}
    assert not isinstance(called(world, "dynamodb", "put_item", **calendar), ClientError)


def test_a_transaction_is_cancelled_with_a_reason_for_each_part(world: World) -> None:
    world.adversary.conflicts = 1.0
    parts = [
        {"Put": {"TableName": "jobs", "Item": written_item({"job_id": key})}} for key in ("up-1", "day#x", "request#1")
    ]
    error = called(world, "dynamodb", "transact_write_items", TransactItems=parts)
    assert error.response["Error"]["Code"] == "TransactionCanceledException"
    assert len(writes.reasons(error)) == 3
    assert set(writes.reasons(error)) - {"None"} <= writes._PASSING
    assert not isinstance(called(world, "dynamodb", "transact_write_items", TransactItems=parts), ClientError)


def test_a_transaction_on_another_kind_of_item_is_a_finding(world: World) -> None:
    parts = [{"Put": {"TableName": "jobs", "Item": written_item({"job_id": "switch#submits"})}}]
    called(world, "dynamodb", "transact_write_items", TransactItems=parts)
    assert "a transaction changes switch#submits" in list(always(world))


def test_the_index_shows_the_past_and_the_table_the_present(world: World) -> None:
    world.adversary.lag_seconds = 60.0
    with world.wire.inside("submit"):
        jobs().create(job())
        now = jobs().move(job(), State.HELD)
        shown = {(bool(list(jobs().each(State.RECEIVED))), bool(list(jobs().each(State.HELD)))) for _ in range(60)}
        assert shown >= {(False, False), (False, True)}  # not there yet; up to date
        assert jobs().get("up-1") == now
        world.pass_time(61)
        assert [one.state for one in jobs().each(State.HELD)] == [State.HELD]
        moved = jobs().move(now, State.RECEIVED)
        shown = {(bool(list(jobs().each(State.RECEIVED))), bool(list(jobs().each(State.HELD)))) for _ in range(60)}
        assert shown == {(True, True), (True, False), (False, True), (False, False)}
    assert moved.state is State.RECEIVED
    assert list(jobs().each(State.RECEIVED))  # the tests' own queries are up to date


def test_unprocessed_keys_are_returned_later(world: World) -> None:
    world.adversary.partial = 1.0
    for number in range(10):
        world.client("dynamodb").put_item(TableName="jobs", Item=written_item({"job_id": f"up-{number}"}))
    wanted: Any = {"jobs": {"Keys": [{"job_id": {"S": f"up-{number}"}} for number in range(10)]}}
    found: list[str] = []
    for _ in range(10):
        answer = called(world, "dynamodb", "batch_get_item", RequestItems=wanted)
        found += [item["job_id"]["S"] for item in answer["Responses"]["jobs"]]
        if not (wanted := answer.get("UnprocessedKeys")):
            break
    assert sorted(found) == [f"up-{number}" for number in range(10)]
    assert world.adversary.met["unprocessed"] > 0


def test_entries_that_are_refused_are_not_sent(world: World) -> None:
    world.adversary.partial = 1.0
    entries = [{"Id": str(number), "MessageBody": str(number)} for number in range(5)]
    answer = called(world, "sqs", "send_message_batch", QueueUrl=world.queue, Entries=entries)
    world.collect()
    sent = {letter.body for letter in world.letters}
    assert sent == {entry["Id"] for entry in answer["Successful"]}
    assert {failed["Id"] for failed in answer["Failed"]} == {str(number) for number in range(5)} - sent != set()


@pytest.mark.slow
def test_a_count_that_trusts_the_index_is_found(servers: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake that reconcile made: it corrected the count from whatever the index showed."""

    def at_once(self: InFlight) -> bool:
        listed = [job_id for state in State if state in _UNDER_WAY for job_id in self._in(state)]
        job_table().put({"job_id": "count#in_flight", "held": len(listed)})
        return True

    monkeypatch.setattr(InFlight, "recount", at_once)
    found = []
    for seed in range(20):
        world = servers.world(seed)
        world.upload(resolution="480p")
        for _ in range(3):
            world.happen()
            world.reconcile()
        found += [words for words in always(world) if words.startswith("the count of videos in progress")]
    assert found


_UNDER_WAY = (State.SUBMITTING, State.QUEUED, State.PROCESSING, State.COPYING, State.UNCERTAIN)
