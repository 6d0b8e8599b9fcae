"""Writes that conflict with others on the same item, and writes whose response is lost."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError
from clocks import Clock
from seedance.aws import writes
from seedance.aws.writes import ATTEMPTS
from seedance.batches.record import BatchState
from seedance.errors import Conflict, OverBudget, RequestTaken
from seedance.jobs.budget import Booking
from seedance.jobs.in_flight import READINGS, SETTLED_SECONDS
from seedance.jobs.job import Job, State

Make = Callable[..., Job]


def refused(code: str, *reasons: str) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": ""}, "CancellationReasons": [{"Code": word} for word in reasons]}
    return ClientError(answer, "UpdateItem")


def cancelled(*reasons: str) -> ClientError:
    return refused("TransactionCanceledException", *reasons)


@contextmanager
def answers_lost(world: Any, operation: str) -> Iterator[list[dict[str, Any]]]:
    """Lose the first response of each call, so that botocore repeats the request. Yields the requests sent."""
    events, sent = world.aws["dynamodb"].meta.events, []

    def keep(request: Any, **_: Any) -> None:
        sent.append(json.loads(request.body))

    def lost(attempts: int, **_: Any) -> float | None:
        return 0.0 if attempts == 1 else None

    events.register_first(f"before-send.dynamodb.{operation}", keep, unique_id="keep")
    events.register_first(f"needs-retry.dynamodb.{operation}", lost, unique_id="lost")
    yield sent
    events.unregister(f"before-send.dynamodb.{operation}", unique_id="keep")
    events.unregister(f"needs-retry.dynamodb.{operation}", unique_id="lost")


PASSING = [
    refused("TransactionConflictException"),
    cancelled("TransactionConflict", "None"),
    cancelled("None", "ThrottlingError"),
    cancelled("ProvisionedThroughputExceeded", "TransactionConflict"),
]
FINAL = [
    cancelled("ConditionalCheckFailed", "TransactionConflict"),
    cancelled("None", "ValidationError"),
    cancelled("TransactionConflict", "ItemCollectionSizeLimitExceeded"),
    cancelled("None", "None"),
    cancelled(),
    refused("ConditionalCheckFailedException"),
    refused("AccessDeniedException"),
]


@pytest.mark.parametrize("refusal", PASSING)
def test_a_conflicting_write_is_retried(refusal: ClientError) -> None:
    answers: Any = iter([refusal, refusal, "written"])
    clock = Clock()

    def write() -> str:
        answer = next(answers)
        if isinstance(answer, ClientError):
            raise answer
        return str(answer)

    assert writes.insist(write, clock) == "written"
    assert len(clock.naps) == 2
    assert all(0 <= nap <= 0.08 for nap in clock.naps)


@pytest.mark.parametrize("refusal", FINAL)
def test_a_final_error_is_not_retried(refusal: ClientError) -> None:
    def write() -> None:
        raise refusal

    clock = Clock()
    with pytest.raises(ClientError) as raised:
        writes.insist(write, clock)
    assert raised.value is refusal
    assert not clock.naps


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [*((refusal, Conflict) for refusal in PASSING if refusal is not PASSING[2]), (PASSING[2], ClientError)],
)
def test_the_number_of_retries_is_bounded(refusal: ClientError, kind: type[Exception]) -> None:
    tries, clock = [], Clock()

    def write() -> None:
        tries.append(1)
        raise refusal

    with pytest.raises(kind):
        writes.insist(write, clock)
    assert (len(tries), len(clock.naps)) == (ATTEMPTS, ATTEMPTS - 1)
    assert sum(clock.naps) <= 6


def meets_once(monkeypatch: pytest.MonkeyPatch, client: Any, name: str) -> None:
    write, tries = getattr(client, name), []

    def meeting(**call: Any) -> Any:
        tries.append(call)
        if len(tries) == 1:
            raise refused("TransactionConflictException")
        return write(**call)

    monkeypatch.setattr(client, name, meeting)


def test_every_plain_write_to_a_job_is_retried_during_a_transaction(
    world: Any, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.aws["dynamodb"]
    meets_once(monkeypatch, client, "put_item")
    assert world.store.create(make_job()) is True
    meets_once(monkeypatch, client, "update_item")
    job = world.store.move(world.job(), State.SUBMITTING)
    meets_once(monkeypatch, client, "update_item")
    assert world.store.note(job, attempts=3).attempts == 3
    assert len(world.clock.naps) == 3
    world.aws["dynamodb"].update_item(
        TableName="jobs-of-tests",
        Key={"job_id": {"S": "count#in_flight"}},
        UpdateExpression="SET held = :held",
        ExpressionAttributeValues={":held": {"N": "7"}},
    )
    for _ in range(READINGS - 1):
        meets_once(monkeypatch, client, "put_item")
        assert world.in_flight.recount() is False
        world.clock.now += SETTLED_SECONDS
    meets_once(monkeypatch, client, "put_item")
    assert world.in_flight.recount() is True
    assert world.in_flight.count() == 0  # SUBMITTING, but without a reservation


def test_the_calendar_is_read_again_after_a_conflict(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    meets_once(monkeypatch, world.aws["dynamodb"], "put_item")
    assert world.pacer.submit_turn(None, 60.0) is None
    assert len(world.called("BatchGetItem")) == 2


def test_a_transition_whose_response_is_lost_was_made(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.SUBMITTING))
    with answers_lost(world, "UpdateItem") as sent:
        job = world.store.move(job, State.UNCERTAIN, error={"code": "A", "message": "b"})
    assert sent[0] == sent[1]
    assert (job.state, job.error) == (State.UNCERTAIN, {"code": "A", "message": "b"})
    assert job == world.job()


def test_a_change_of_a_batch_whose_response_is_lost_was_made(world: Any) -> None:
    batches = world.batch_store
    batches.open({"batch_id": "b", "bucket": "u", "key": "batches/b.csv", "version_id": None})
    with answers_lost(world, "UpdateItem") as sent:
        assert batches.move("b", {BatchState.PLANNING}, BatchState.RUNNING) is True
        assert batches.move("b", {BatchState.PLANNING}, BatchState.RUNNING) is False
    assert sent[0] == sent[1]
    assert batches.get("b").standing is BatchState.RUNNING


def test_a_job_whose_creation_response_is_lost_counts_as_new(world: Any, make_job: Make) -> None:
    with answers_lost(world, "PutItem"):
        assert world.store.create(make_job()) is True
        assert world.store.create(make_job()) is False


def test_a_pause_whose_response_is_lost_still_counts_as_new(world: Any) -> None:
    with answers_lost(world, "PutItem"):
        assert world.switch.pause("no credits") is True
        assert world.switch.pause("no credits") is False


def test_two_identical_concurrent_writes_are_distinguished(world: Any, make_job: Make) -> None:
    job = world.put(make_job())
    world.store.move(job, State.SUBMITTING, attempts=1)
    with pytest.raises(Conflict):
        world.store.move(job, State.SUBMITTING, attempts=1)


def test_a_transaction_is_repeated_with_its_token(world: Any, make_job: Make) -> None:
    """DynamoDB applies a repeated transaction with the same token once; botocore gives each call its own token."""
    job = world.put(make_job())
    with answers_lost(world, "TransactWriteItems") as sent:
        booking = Booking("2026-11-20", reserved=0.25, lease=1)
        with suppress(Conflict):  # moto does not know tokens
            world.store.move(job, State.SUBMITTING, booking=booking, reserved_usd=0.25, reserved_day="2026-11-20")
    assert sent[0] == sent[1]
    assert sent[0]["ClientRequestToken"]


def owned(world: Any, request_id: str) -> dict[str, Any]:
    key = {"job_id": {"S": f"request#{request_id}"}}
    return dict(world.aws["dynamodb"].get_item(TableName="jobs-of-tests", Key=key).get("Item", {}))


def test_a_job_owns_the_request_that_its_record_names(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.SUBMITTING, expires_at=1_800_000_000))
    assert world.store.owner_of("req-1") is None
    job = world.store.move(job, State.QUEUED, request_id="req-1")
    assert (job.state, job.request_id) == (State.QUEUED, "req-1")
    assert job == world.job()
    assert world.store.owner_of("req-1") == "up-1"
    assert owned(world, "req-1") == {
        "job_id": {"S": "request#req-1"},
        "owner": {"S": "up-1"},
        "expires_at": {"N": "1800000000"},
    }
    assert world.store.get("request#req-1") is None
    assert [job.job_id for state in State for job in world.store.newest(state)] == ["up-1"]


@pytest.mark.parametrize("by", ["move", "note", "close"])
def test_another_jobs_request_cannot_be_taken(world: Any, make_job: Make, by: str) -> None:
    world.store.move(world.put(make_job(State.SUBMITTING, job_id="up-first")), State.QUEUED, request_id="req-1")
    job = world.put(make_job(State.SUBMITTING, reserved_usd=0.25, reserved_day="2026-11-20"))
    day = world.store.day("2026-11-20")
    acts = {
        "move": lambda: world.store.move(job, State.QUEUED, request_id="req-1"),
        "note": lambda: world.store.note(job, request_id="req-1"),
        "close": lambda: world.store.close(job, State.FAILED, request_id="req-1"),
    }
    with pytest.raises(RequestTaken, match="req-1 does not belong to job up-1 but to another job"):
        acts[by]()
    assert world.job() == job
    assert world.store.day("2026-11-20") == day
    assert world.store.owner_of("req-1") == "up-first"


def test_of_two_that_adopt_one_request_one_gets_it(world: Any, make_job: Make) -> None:
    jobs = [world.put(make_job(State.UNCERTAIN, job_id=f"up-{number}")) for number in range(3)]
    world.store.move(jobs[1], State.QUEUED, request_id="req-1")
    for late in (jobs[0], jobs[2]):
        with pytest.raises(RequestTaken):
            world.store.move(late, State.QUEUED, request_id="req-1")
    assert world.store.jobs_of_request("req-1") == ["up-1"]


def test_an_abandoned_request_stays_owned_and_can_be_taken_back(world: Any, make_job: Make) -> None:
    job = world.store.move(world.put(make_job(State.SUBMITTING)), State.QUEUED, request_id="req-1")
    job = world.store.note(job, request_id=None, earlier_request_ids=["req-1"])
    assert world.store.owner_of("req-1") == "up-1"
    with pytest.raises(RequestTaken):
        world.store.note(world.put(make_job(State.QUEUED, job_id="up-2", request_id="req-2")), request_id="req-1")
    assert world.store.note(job, request_id="req-1").request_id == "req-1"


def test_a_failed_transition_takes_no_request(world: Any, make_job: Make) -> None:
    stale = make_job(State.SUBMITTING)
    world.put(make_job(State.UNCERTAIN))
    with pytest.raises(Conflict) as raised:
        world.store.move(stale, State.QUEUED, request_id="req-1")
    assert not isinstance(raised.value, RequestTaken)
    assert owned(world, "req-1") == {}
    booking = Booking("2026-11-20", reserved=0.4, limit=0.5)
    world.store.move(world.put(make_job(job_id="up-2")), State.SUBMITTING, booking=booking)
    held = world.put(make_job(State.HELD, job_id="up-3"))
    with pytest.raises(OverBudget):
        world.store.move(held, State.QUEUED, booking=booking, request_id="req-2")
    assert owned(world, "req-2") == {}


def test_a_request_that_the_job_already_has_is_written_without_a_transaction(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.UNCERTAIN, request_id="req-1"))
    world.store.move(job, State.QUEUED, request_id="req-1")
    assert world.called("TransactWriteItems") == []


def test_the_owner_of_a_request_recorded_before_owners_were_stored_is_found(world: Any, make_job: Make) -> None:
    world.put(make_job(State.QUEUED))
    assert world.store.owner_of("req-1") == "up-1"
