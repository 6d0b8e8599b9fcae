"""Handing over a job: one execution named after it, and a message with a valid delay."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from seedance.errors import NotPossible
from seedance.jobs.handoff import Batches, BatchRun, Workflow
from seedance.jobs.job import Job, State
from seedance.jobs.requests import Upload

Make = Callable[..., Job]


@pytest.mark.parametrize(
    ("transport", "plan", "wait", "slot"), [("v2", (24.6, 1_763_600_025), 25, 1_763_600_025), ("v1", (), 1, None)]
)
def test_an_execution_is_named_after_its_job_and_knows_when_to_poll(
    *, world: Any, make_job: Make, transport: str, plan: tuple[Any, ...], wait: int, slot: int | None
) -> None:
    world.workflow.start(make_job(State.QUEUED, transport=transport), *plan)
    (call,) = world.called("StartExecution")
    assert (call["stateMachineArn"], call["name"]) == (world.arns.machine, "up-1")
    assert world.executions() == [{"job_id": "up-1", "transport": transport, "wait_seconds": wait, "slot": slot}]


def test_a_second_start_changes_nothing(world: Any, make_job: Make) -> None:
    world.workflow.start(make_job(State.QUEUED))
    world.workflow.start(make_job(State.QUEUED, expected_seconds=159))
    executions = world.aws["stepfunctions"].list_executions(stateMachineArn=world.arns.machine)["executions"]
    assert [execution["name"] for execution in executions] == ["up-1"]


@pytest.mark.parametrize(("executions", "name"), [(0, "up-1"), (1, "up-1-2"), (2, "up-1-3")])
def test_a_later_execution_has_its_own_name(world: Any, make_job: Make, executions: int, name: str) -> None:
    world.workflow.start(make_job(State.QUEUED))
    world.workflow.start(make_job(State.QUEUED, executions=executions))
    assert world.called("StartExecution")[-1]["name"] == name
    assert world.workflow.is_running(make_job(State.QUEUED, executions=executions))


@pytest.mark.parametrize("executions", [0, 1])
def test_an_execution_that_ended_or_never_started_is_not_running(world: Any, make_job: Make, executions: int) -> None:
    job = make_job(State.QUEUED, executions=executions)
    assert not world.workflow.is_running(job)
    world.workflow.start(job)
    assert world.workflow.is_running(job)
    arn = world.arns.machine.replace(":stateMachine:", ":execution:") + f":{job.execution_name}"
    world.aws["stepfunctions"].stop_execution(executionArn=arn)
    assert not world.workflow.is_running(job)


def test_a_failed_lookup_is_not_mistaken_for_an_ended_execution(world: Any, make_job: Make) -> None:
    with pytest.raises(ClientError, match="InvalidArn"):
        Workflow("nonsense", world.aws["stepfunctions"]).is_running(make_job(State.QUEUED))


def test_other_errors_are_raised(world: Any, make_job: Make) -> None:
    with pytest.raises(ClientError, match="StateMachineDoesNotExist"):
        Workflow(world.arns.machine + "-gone", world.aws["stepfunctions"]).start(make_job(State.QUEUED))


@pytest.mark.parametrize(
    ("asked", "delay"), [(0, 0), (-5, 0), (0.2, 1), (15, 15), (15.01, 16), (900, 900), (86_400, 900)]
)
def test_a_message_is_delayed_at_least_as_long_as_requested_and_within_sqs_limits(
    world: Any, make_job: Make, asked: float, delay: int
) -> None:
    world.queue.send(make_job(), asked)
    assert world.postponed() == [("up-1", delay)]


@pytest.mark.parametrize(("count", "requests"), [(0, []), (1, [1]), (10, [10]), (23, [10, 10, 3])])
def test_many_jobs_are_sent_ten_per_request(world: Any, count: int, requests: list[int]) -> None:
    world.queue.send_all((f"ba-{number}" for number in range(count)), [0.0] * count)
    calls = world.called("SendMessageBatch")
    assert [len(call["Entries"]) for call in calls] == requests
    assert all(len({entry["Id"] for entry in call["Entries"]}) == len(call["Entries"]) for call in calls)
    bodies = [json.loads(entry["MessageBody"]) for call in calls for entry in call["Entries"]]
    assert bodies == [{"job_id": f"ba-{number}", "turn": None} for number in range(count)]


def test_messages_that_the_queue_refused_are_an_error(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"Failed": [{"Id": "0", "Message": "the queue is busy"}], "Successful": []}
    monkeypatch.setattr(world.aws["sqs"], "send_message_batch", lambda **_: answer)
    with pytest.raises(RuntimeError, match="rejected 1 of 2 jobs: the queue is busy"):
        world.queue.send_all(["ba-1", "ba-2"], [0.0, 0.0])


def test_each_of_many_jobs_has_its_own_delay(world: Any) -> None:
    world.queue.send_all([f"ba-{number}" for number in range(4)], [-3.0, 0.2, 15.0, 86_400.0])
    (call,) = world.called("SendMessageBatch")
    assert [entry["DelaySeconds"] for entry in call["Entries"]] == [0, 1, 15, 900]


# a batch that is started again ---------------------------------------------------------------------------------------


MANIFEST = Upload("example-uploads", "batches/a.csv", "v1", "", 9)


def stop(world: Any, run: BatchRun | None) -> None:
    """End an execution without success: moto can't let one fail."""
    assert run is not None
    world.aws["stepfunctions"].stop_execution(executionArn=run.arn)


def test_a_batch_that_was_stopped_is_started_again_with_the_same_manifest(world: Any) -> None:
    batch = world.batches.start(MANIFEST)
    first = world.batches.latest(batch)
    assert (first.restarts, first.status, first.output) == (0, "RUNNING", None)
    stop(world, first)
    world.batches.restart(batch)
    second = world.batches.latest(batch)
    assert (second.restarts, second.status) == (1, "RUNNING")
    assert second.arn.rpartition(":")[2] == f"{batch}-2"
    assert second.given == {**first.given, "restarts": 1}
    stop(world, second)
    world.batches.restart(batch)
    assert world.batches.latest(batch).given == {**first.given, "restarts": 2}


def test_the_event_of_a_restarted_batch_starts_nothing_more(world: Any) -> None:
    batch = world.batches.start(MANIFEST)
    stop(world, world.batches.latest(batch))
    world.batches.restart(batch)
    assert world.batches.start(MANIFEST) == batch
    listed = world.aws["stepfunctions"].list_executions(stateMachineArn=world.arns.batch_machine)["executions"]
    assert sorted(one["name"] for one in listed) == [batch, f"{batch}-2"]


def test_only_a_batch_that_failed_is_started_again(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = world.batches.start(MANIFEST)
    with pytest.raises(NotPossible, match="is RUNNING"):
        world.batches.restart(batch)
    with pytest.raises(NotPossible, match="batch batch-0 does not exist"):
        world.batches.restart("batch-0")
    ended = BatchRun(0, "arn", "SUCCEEDED", {}, {})
    monkeypatch.setattr(Batches, "latest", lambda *_: ended)
    with pytest.raises(NotPossible, match="is SUCCEEDED"):
        world.batches.restart(batch)
    assert len(world.called("StartExecution")) == 1


def test_a_batch_that_cannot_be_started_is_an_error(world: Any) -> None:
    nowhere = Batches(world.arns.batch_machine + "-gone", world.aws["stepfunctions"])
    with pytest.raises(ClientError):
        nowhere.start(Upload("example-uploads", "batches/a.csv", "v1", "", 9))
