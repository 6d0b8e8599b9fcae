"""Batches through the API: cancelled, failed and started again, listed, and shown."""

import csv
import io
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from batch_stack import HEADER, TABLE, UPLOADS, Stack, jobs_of
from described import faults
from seedance.batches.record import BatchState
from seedance.errors import BadRecord, Conflict, InvalidRequest, NotFound
from seedance.jobs.job import Hold, State, batch_job_id
from seedance.rest import batches as module

# cancelled -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planned", [True, False])
def test_a_batch_that_was_not_approved_is_cancelled_at_once(world: Any, stack: Stack, *, planned: bool) -> None:
    stack.put()
    batch = stack.create()["batch_id"]
    if planned:
        stack.run(batch)
    assert stack.calls.cancel(batch)["state"] == "CANCELLED"
    if not planned:
        stack.run(batch)  # it was at work
    shown = stack.look(batch)
    assert (shown["state"], shown["states"]) == ("CANCELLED", {"CANCELLED": 9, "REJECTED": 1})
    assert stack.calls.cancel(batch)["state"] == "CANCELLED"
    with pytest.raises(Conflict, match="was cancelled"):
        stack.calls.approve(batch)
    assert jobs_of(world, batch) == []


def sent(world: Any) -> list[str]:
    """The jobs of the messages since the last call of this, in order."""
    single = [call["MessageBody"] for call in world.called("SendMessage")]
    bodies = single + [one["MessageBody"] for call in world.called("SendMessageBatch") for one in call["Entries"]]
    world.calls.clear()
    return sorted(json.loads(body)["job_id"] for body in bodies)


def test_a_running_batch_is_fed_no_more_rows_and_bought_videos_continue(world: Any, stack: Stack) -> None:
    batch = stack.planned(HEADER + "It turns,,S\n" * 60, approve=True)  # a share has 25 rows
    assert stack.look(batch)["states"] == {"RECEIVED": 25, "PLANNED": 35}
    for row in range(1, 26):
        world.put(replace(world.job(batch_job_id(batch, row)), state=State.QUEUED))
    shown = stack.calls.cancel(batch)
    assert (shown["state"], shown["states"]) == ("CANCELLING", {"QUEUED": 25, "CANCELLED": 35})
    assert stack.calls.cancel(batch)["state"] == "CANCELLING"
    state = stack.plan(stack.given(batch))  # as its map has it
    fed = stack.feed(state, state["chunks"][0])
    assert (fed["status"], fed["next"], fed["jobs"]) == ("COMPLETED", 60, 0)
    assert jobs_of(world, batch, 60) == list(range(1, 26))
    stack.all_end(batch, 60)
    ended = stack.collect(state)
    assert (ended["status"], ended["states"]) == ("BATCH_CANCELLED", {"COMPLETED": 25, "CANCELLED": 35})
    shown = stack.look(batch)
    assert (shown["state"], shown["states"]) == ("CANCELLED", {"COMPLETED": 25, "CANCELLED": 35})
    body = world.aws["s3"].get_object(Bucket=UPLOADS, Key=ended["results_key"])["Body"].read().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(body, newline="")))
    assert [row["state"] for row in rows] == ["COMPLETED"] * 25 + ["CANCELLED"] * 35
    assert world.notified()[-1]["status"] == "BATCH_CANCELLED"
    assert stack.calls.cancel(batch)["state"] == "CANCELLED"


# Each row's job when its batch is cancelled, by row, and after that. Row 9 has no job yet, row 10 is invalid.
AT = {
    1: (State.RECEIVED, None, "CANCELLED"),
    2: (State.HELD, Hold.BUDGET, "CANCELLED"),
    3: (State.HELD, Hold.PAUSED, "CANCELLED"),
    4: (State.HELD, Hold.LOST, "HELD"),  # may be bought
    5: (State.SUBMITTING, None, "SUBMITTING"),
    6: (State.QUEUED, None, "QUEUED"),
    7: (State.UNCERTAIN, None, "UNCERTAIN"),
    8: (State.COMPLETED, None, "COMPLETED"),
}
AFTER = {row: after for row, (_, _, after) in AT.items()}
STATES = {**Counter(AFTER.values()), "CANCELLED": 4, "REJECTED": 1}


def jobs_at(world: Any, stack: Stack) -> str:
    """A batch that runs, whose jobs have come as far as AT says."""
    batch = stack.planned(approve=True)
    world.aws["dynamodb"].delete_item(TableName=TABLE, Key={"job_id": {"S": batch_job_id(batch, 9)}})
    for row, (state, code, _) in AT.items():
        error: Any = {"error": {"code": str(code), "message": "m"}} if code else {}
        world.put(replace(world.job(batch_job_id(batch, row)), state=state, **error))
    sent(world)
    return batch


def states_of(world: Any, batch: str) -> dict[int, str]:
    return {row: world.job(batch_job_id(batch, row)).state.value for row in AT}


@pytest.mark.hostile(kind="input", risk="paid twice")
def test_a_cancellation_ends_each_row_that_is_not_bought(world: Any, stack: Stack) -> None:
    batch = jobs_at(world, stack)
    shown = stack.calls.cancel(batch)
    assert (shown["state"], shown["states"]) == ("CANCELLING", STATES)
    assert states_of(world, batch) == AFTER
    assert sent(world) == sorted(batch_job_id(batch, row) for row in (1, 2, 3))  # submit sends their notifications
    stack.calls.cancel(batch)
    assert states_of(world, batch) == AFTER


def test_collect_cancels_what_a_call_had_no_time_for(world: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = jobs_at(world, stack)
    state = stack.plan(stack.given(batch))
    assert stack.collect(state)["status"] == "RUNNING"
    assert states_of(world, batch) == {row: at.value for row, (at, _, _) in AT.items()}  # nobody has cancelled it
    monkeypatch.setattr(module, "CANCEL_SECONDS", 0.0)
    assert stack.calls.cancel(batch)["states"]["RECEIVED"] == 1
    state = stack.collect(state)
    assert state["status"] == "RUNNING"
    assert states_of(world, batch) == AFTER
    assert sent(world) == sorted(batch_job_id(batch, row) for row in (1, 2, 3))
    for row in (4, 5, 6, 7):
        world.put(replace(world.job(batch_job_id(batch, row)), state=State.COMPLETED, error=None))
    ended = stack.collect(state)
    assert (ended["status"], ended["states"]) == ("BATCH_CANCELLED", {"CANCELLED": 4, "COMPLETED": 5, "REJECTED": 1})


@pytest.mark.parametrize(("seconds", "left"), [(1.0, [1, 2, 3, 4, 5, 6, 7]), (100.0, [])])
def test_the_last_rows_of_a_large_batch_are_cancelled_first(
    world: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch, seconds: float, left: list[int]
) -> None:
    batch = stack.planned(approve=True)
    monkeypatch.setattr(module, "JOBS_A_READ", 3)
    read = type(world.register).read

    def slowly(register: Any, job_ids: Any, names: Any) -> Any:
        world.clock.now += 0 if names else 1
        return read(register, job_ids, names)

    monkeypatch.setattr(type(world.register), "read", slowly)
    monkeypatch.setattr(module, "CANCEL_SECONDS", seconds)
    stack.calls.cancel(batch)
    jobs = {row: world.job(batch_job_id(batch, row)) for row in range(1, 10)}
    assert [row for row, job in jobs.items() if job.state is State.RECEIVED] == left


@pytest.mark.hostile(kind="input", risk="paid twice")
@pytest.mark.parametrize(
    ("fault", "states"),
    [
        ("bought", {"CANCELLED": 8, "QUEUED": 1, "REJECTED": 1}),
        ("changes", {"CANCELLED": 8, "RECEIVED": 1, "REJECTED": 1}),
        ("edited", {"CANCELLED": 8, "RECEIVED": 1, "REJECTED": 1}),
        ("gone", {"CANCELLED": 9, "REJECTED": 1}),
    ],
)
def test_a_job_that_can_not_be_cancelled_does_not_stop_the_others(
    world: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch, fault: str, states: dict[str, int]
) -> None:
    batch = stack.planned(approve=True)
    fifth, client = batch_job_id(batch, 5), world.aws["dynamodb"]
    key, store = {"job_id": {"S": fifth}}, type(world.store)
    close, get = store.close, store.get

    def at_the_same_moment(store: Any, job_id: str) -> Any:
        if job_id == fifth and fault == "gone":
            client.delete_item(TableName=TABLE, Key=key)
        if job_id == fifth and fault == "edited":
            item = client.get_item(TableName=TABLE, Key=key)["Item"]
            client.put_item(TableName=TABLE, Item={**item, "model": {"N": "7"}})
        return get(store, job_id)

    def closed(store: Any, job: Any, *args: Any, **values: Any) -> Any:
        if job.job_id == fifth and fault == "bought":
            world.put(replace(job, state=State.QUEUED))
        if job.job_id == fifth and fault == "changes":
            raise Conflict("it changed")
        return close(store, job, *args, **values)

    monkeypatch.setattr(store, "get", at_the_same_moment)
    monkeypatch.setattr(store, "close", closed)
    assert stack.calls.cancel(batch)["states"] == states


@pytest.mark.hostile(kind="input", risk="paid twice")
def test_a_batch_that_is_cancelled_while_rows_become_jobs_submits_none_of_them(
    world: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = stack.planned(approve=True)
    for row in range(1, 10):
        world.aws["dynamodb"].delete_item(TableName=TABLE, Key={"job_id": {"S": batch_job_id(batch, row)}})
    sent(world)
    create, state = type(world.store).create, stack.plan(stack.given(batch))

    def after_a_cancellation(store: Any, job: Any) -> bool:
        monkeypatch.setattr(type(world.store), "create", create)
        stack.calls.cancel(batch)  # sees none of the jobs
        return bool(create(store, job))

    monkeypatch.setattr(type(world.store), "create", after_a_cancellation)
    fed = stack.feed(state, state["chunks"][0])
    assert (fed["status"], fed["next"], fed["jobs"]) == ("COMPLETED", 10, 0)
    jobs = [world.job(batch_job_id(batch, row)) for row in range(1, 10)]
    assert [job.state for job in jobs] == [State.CANCELLED] * 9
    assert sent(world) == sorted(job.job_id for job in jobs)  # one each, for which submit sends the notification
    ended = stack.collect(state)
    assert (ended["status"], ended["states"]) == ("BATCH_CANCELLED", {"CANCELLED": 9, "REJECTED": 1})


def test_a_batch_is_cancelled_while_it_is_planned_to_continue_at_once(world: Any, stack: Stack) -> None:
    stack.put()
    batch = stack.create(approve=True)["batch_id"]
    assert stack.calls.cancel(batch)["state"] == "CANCELLING"
    state = stack.run(batch)
    assert jobs_of(world, batch) == []
    ended = stack.collect(state)
    assert (ended["status"], ended["states"]) == ("BATCH_CANCELLED", {"CANCELLED": 9, "REJECTED": 1})
    assert stack.look(batch)["state"] == "CANCELLED"


@pytest.mark.hostile(kind="input", risk="paid twice")
def test_a_batch_that_is_cancelled_while_it_is_approved_buys_nothing(
    world: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = stack.planned()
    approve = world.batches.approve

    def and_then(*args: Any) -> None:
        approve(*args)
        stack.calls.cancel(batch)

    monkeypatch.setattr(world.batches, "approve", and_then)
    with pytest.raises(Conflict, match="was cancelled"):
        stack.calls.approve(batch)
    state = stack.run(f"{batch}-approved")
    assert jobs_of(world, batch) == []
    assert stack.collect(state)["states"] == {"CANCELLED": 9, "REJECTED": 1}
    assert stack.look(batch)["state"] == "CANCELLED"


def test_a_batch_that_has_ended_can_not_be_cancelled(stack: Stack) -> None:
    batch = stack.planned(approve=True)
    stack.all_end(batch, 10)
    stack.collect(stack.plan(stack.given(batch)))
    with pytest.raises(Conflict, match="has ended and is DONE"):
        stack.calls.cancel(batch)


def test_a_batch_that_changes_at_the_same_moment_is_not_cancelled_silently(
    world: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = stack.planned()
    move = type(world.batch_store).move

    def after_an_approval(store: Any, *args: Any, **values: Any) -> bool:
        monkeypatch.setattr(type(world.batch_store), "move", move)
        stack.calls.approve(batch)
        return bool(store.move(*args, **values))

    monkeypatch.setattr(type(world.batch_store), "move", after_an_approval)
    with pytest.raises(Conflict, match="repeat the call"):
        stack.calls.cancel(batch)
    assert stack.calls.cancel(batch)["state"] == "CANCELLING"


# failed --------------------------------------------------------------------------------------------------------------


def test_a_batch_whose_planning_crashed_can_be_started_again(world: Any, stack: Stack) -> None:
    stack.put()
    batch = stack.create()["batch_id"]
    given = stack.given(batch)
    stack.plan.batches.open(given)
    assert stack.collect({**given, "exception": {"Error": "x"}})["status"] == "BATCH_FAILED"
    shown = stack.look(batch)
    assert (shown["state"], shown["error"]["code"]) == ("FAILED", "INTERNAL")
    with pytest.raises(Conflict, match="redrive"):
        stack.calls.approve(batch)
    world.aws["stepfunctions"].stop_execution(executionArn=world.batches.latest(batch).arn)
    world.batches.restart(batch)
    assert stack.run(f"{batch}-2")["status"] == "UNAPPROVED"  # it still needs its approval
    shown = stack.look(batch)
    assert (shown["state"], shown["error"], shown["ended_at"]) == ("PLANNED", None, None)
    assert stack.calls.approve(batch)["state"] == "RUNNING"


def test_an_approved_batch_that_failed_is_started_again_with_its_plan(world: Any, stack: Stack) -> None:
    batch = stack.planned()
    stack.calls.approve(batch)
    name = f"{batch}-approved"
    state = stack.given(name)
    stack.collect({**state, "exception": {"Error": "States.ExceedToleratedFailureThreshold"}})
    assert stack.look(batch)["state"] == "FAILED"
    world.aws["stepfunctions"].stop_execution(executionArn=world.batches.latest(batch).arn)
    world.batches.restart(batch)
    assert world.batches.latest(batch).arn.rpartition(":")[2] == f"{name}-2"
    assert stack.given(f"{name}-2") == {**state, "restarts": 1}
    stack.run(f"{name}-2")
    assert stack.look(batch)["state"] == "RUNNING"
    assert jobs_of(world, batch) == list(range(1, 10))


# seen ----------------------------------------------------------------------------------------------------------------


def test_what_ended_jobs_cost_is_counted_at_each_call(world: Any, stack: Stack) -> None:
    batch = stack.planned(approve=True)
    job = world.job(batch_job_id(batch, 3))
    world.put(replace(job, state=State.COMPLETED, cost_usd=0.31))
    shown = stack.look(batch)
    assert (shown["spent_usd"], shown["states"]) == (0.31, {"RECEIVED": 8, "COMPLETED": 1, "REJECTED": 1})


def test_a_large_batch_shows_what_was_counted_last(world: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIVE_ROWS", 5)
    batch = stack.planned(approve=True)
    world.calls.clear()
    shown = stack.look(batch)
    assert (shown["states"], shown["counted_at"], shown["rows_fed"]) == ({}, None, 10)
    assert world.called("BatchGetItem") == []
    state = stack.plan(stack.given(batch))
    world.put(replace(world.job(batch_job_id(batch, 1)), state=State.COMPLETED, cost_usd=0.25))
    assert stack.collect(state)["status"] == "RUNNING"
    shown = stack.look(batch)
    assert shown["states"] == {"RECEIVED": 8, "COMPLETED": 1, "REJECTED": 1}
    assert (shown["spent_usd"], shown["counted_at"] is not None) == (0.25, True)


def test_chunks_that_have_ended_still_count(world: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIVE_ROWS", 5)
    monkeypatch.setattr("seedance.plan.CHUNK_ROWS", 5)
    batch = stack.planned(approve=True)
    for row in range(1, 6):
        world.put(replace(world.job(batch_job_id(batch, row)), state=State.COMPLETED, cost_usd=0.25))
    state = stack.plan(stack.given(batch))
    for _ in range(3):
        world.clock.now += 60
        state = stack.collect(state)
        assert [chunk[2] for chunk in state["chunks"]] == [6]
        shown = stack.look(batch)
        assert (shown["states"], shown["spent_usd"]) == ({"COMPLETED": 5, "RECEIVED": 4, "REJECTED": 1}, 1.25)


def test_a_manifest_that_was_dropped_is_listed_and_shown_too(world: Any, stack: Stack) -> None:
    version = stack.put(key="batches/spring.csv")
    event = {"batch_id": "batch-1", "bucket": UPLOADS, "key": "batches/spring.csv", "version_id": version}
    stack.plan(event)
    assert stack.look("batch-1")["state"] == "RUNNING"
    stack.collect({**event, "exception": {"Error": "x"}})
    assert stack.look("batch-1")["state"] == "FAILED"
    assert [one["batch_id"] for one in stack.calls.page({})["batches"]] == ["batch-1"]


def test_batches_are_listed_newest_first_page_by_page(world: Any, stack: Stack) -> None:
    made = []
    for number in range(5):
        key = f"staged/{number}.csv"
        stack.put(key=key)
        made.append(stack.create(key=key)["batch_id"])
        world.clock.now += 1
    seen: list[str] = []
    query: dict[str, str] = {"limit": "2"}
    for _ in range(3):
        page = stack.calls.page(query)
        assert faults("BatchList", json.loads(json.dumps(page))) == []
        seen += [one["batch_id"] for one in page["batches"]]
        if page["next_cursor"] is None:
            break
        query = {"limit": "2", "cursor": page["next_cursor"]}
    assert seen == made[::-1]
    assert page["next_cursor"] is None


def test_no_list_of_jobs_has_a_batch(world: Any, stack: Stack) -> None:
    batch = stack.planned()
    for state in State:
        assert world.store.newest(state) == []
    assert world.store.get(f"batch#{batch}") is None
    assert world.store.get(f"batch#{batch}#plan") is None


@pytest.mark.parametrize(
    "query",
    [{"cursor": "x"}, {"cursor": ""}, {"cursor": "WzEsMl0"}, {"limit": "0"}, {"limit": "101"}, {"state": "DONE"}],
)
def test_a_wrong_query_names_its_parameter(stack: Stack, query: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        stack.calls.page(query)
    assert caught.value.field == next(iter(query))


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("value", [{"N": "-5"}, {"S": "abc"}, {"L": []}, {"M": {}}, {"BOOL": True}, {"B": b"x"}])
def test_an_edited_record_is_shown_without_its_bad_values(world: Any, stack: Stack, value: Any) -> None:
    batch = stack.planned(approve=True)
    key = {"job_id": {"S": f"batch#{batch}"}}
    item = world.aws["dynamodb"].get_item(TableName=TABLE, Key=key)["Item"]
    for name in set(item) - {"job_id", "month", "created_at", "updated_at", "standing", "batch_id", "bucket", "key"}:
        world.aws["dynamodb"].put_item(TableName=TABLE, Item={**item, name: value})
        stack.look(batch)
        assert [one["batch_id"] for one in stack.calls.page({})["batches"]] == [batch]
        assert stack.enqueue.batches.may_feed(batch)


@pytest.mark.hostile(kind="input", risk="paid twice")
def test_a_record_without_a_state_feeds_nothing_and_ends_with_a_summary(world: Any, stack: Stack) -> None:
    batch = stack.planned(approve=True)
    key, state = {"job_id": {"S": f"batch#{batch}"}}, stack.plan(stack.given(batch))
    item = world.aws["dynamodb"].get_item(TableName=TABLE, Key=key)["Item"]
    world.aws["dynamodb"].put_item(TableName=TABLE, Item={**item, "standing": {"S": "GOING"}})
    with pytest.raises(BadRecord, match="standing"):
        stack.look(batch)
    with pytest.raises(BadRecord, match="standing"):
        stack.run(batch)
    assert stack.calls.page({})["batches"] == []
    stack.all_end(batch, 10)
    assert stack.collect(state)["status"] == "BATCH_DONE"
    assert stack.look(batch)["state"] == "DONE"


def test_a_batch_of_0_1_0_has_no_record_and_ends_as_ever(world: Any, stack: Stack) -> None:
    batch = stack.planned(approve=True)
    world.aws["dynamodb"].delete_item(TableName=TABLE, Key={"job_id": {"S": f"batch#{batch}"}})
    state = stack.world.batches.latest(batch).given
    assert stack.enqueue.batches.may_feed(batch)
    with pytest.raises(NotFound):
        stack.look(batch)
    assert state["batch_id"] == batch
    assert stack.world.batch_store.note(batch, fed=3) is False
    assert stack.world.batch_store.get(batch) is None


def test_a_write_whose_answer_was_lost_counts(world: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = stack.planned()
    client, update = world.aws["dynamodb"], world.aws["dynamodb"].update_item
    monkeypatch.setattr(client, "update_item", lambda **params: update(**params) and update(**params))
    sources = {BatchState.PLANNED}
    assert world.batch_store.move(batch, sources, BatchState.RUNNING) is True
    assert world.batch_store.move(batch, sources, BatchState.RUNNING) is False
