"""Holding: submissions stop and resume, held jobs are released, and dead letters are put back."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from seedance.holding import WORK_SECONDS, Holding, Worked
from seedance.jobs.job import Hold, Job, State

Make = Callable[..., Job]
TABLE = "jobs-of-tests"


@pytest.fixture
def holding(world: Any) -> Holding:
    dead = world.aws["sqs"].create_queue(QueueName="dead")["QueueUrl"]
    return Holding(world.store, world.switch, world.queue, world.aws["sqs"], dead, world.clock)


# stop and go ------------------------------------------------------------------------------------------------


def held(world: Any, make_job: Make) -> None:
    for number, code in enumerate([Hold.BUDGET, Hold.PAUSED, Hold.PAUSED, Hold.LOST]):
        world.put(
            make_job(State.HELD, job_id=f"up-{number}", error={"code": code.value, "message": "m"}, notified_at=1)
        )


def test_resume_releases_only_jobs_held_by_the_pause(world: Any, holding: Holding, make_job: Make) -> None:
    held(world, make_job)
    world.switch.pause("x")
    assert holding.resume() == Worked(2, more=False)
    assert world.switch.paused() is None
    assert sorted(job for job, _ in world.postponed()) == ["up-1", "up-2"]
    assert {job.job_id for job in world.store.oldest(State.HELD)} == {"up-0", "up-3"}
    assert world.job("up-1").notified_at is None


def test_release_releases_jobs_held_for_the_budget(world: Any, holding: Holding, make_job: Make) -> None:
    held(world, make_job)
    assert holding.release(Hold.BUDGET) == Worked(1, more=False)
    assert world.job("up-0").state is State.RECEIVED


def test_dead_letters_are_put_back_into_their_queue(world: Any, holding: Holding) -> None:
    sqs, dead = world.aws["sqs"], holding.dead_letters
    bodies = [json.dumps({"job_id": f"up-{number}"}) for number in range(12)]
    for body in bodies:
        sqs.send_message(QueueUrl=dead, MessageBody=body)
    world.calls.clear()
    assert holding.redrive() == Worked(12, more=False)
    assert sorted(call["MessageBody"] for call in world.called("SendMessage")) == sorted(bodies)
    assert {call["QueueUrl"] for call in world.called("SendMessage")} == {world.arns.queue}
    numbers = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["All"])["Attributes"]
    assert (numbers["ApproximateNumberOfMessages"], numbers["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")
    assert holding.redrive() == Worked(0, more=False)


def test_a_call_stops_after_its_time_and_says_that_there_is_more(world: Any, holding: Holding, make_job: Make) -> None:
    held(world, make_job)
    reads = iter([0.0, 1.0, 2.0, WORK_SECONDS + 1])
    slow = Holding(holding.store, holding.switch, holding.queue, holding.sqs, holding.dead_letters, lambda: next(reads))
    assert slow.release(Hold.PAUSED) == Worked(1, more=True)
    assert holding.release(Hold.PAUSED) == Worked(1, more=False)


def test_the_next_call_continues_after_jobs_held_for_another_reason(
    world: Any, holding: Holding, make_job: Make
) -> None:
    for number, code in enumerate([Hold.PAUSED, Hold.BUDGET]):
        error = {"code": code.value, "message": "m"}
        world.put(make_job(State.HELD, job_id=f"up-{number}", error=error, updated_at=1000.0 + number))
    reads = iter([0.0, 1.0, WORK_SECONDS + 1])
    slow = Holding(holding.store, holding.switch, holding.queue, holding.sqs, holding.dead_letters, lambda: next(reads))
    first = slow.release(Hold.BUDGET)
    assert (first, first.since) == (Worked(0, more=True), pytest.approx(1001.0, abs=0.01))
    assert holding.release(Hold.BUDGET, first.since) == Worked(1, more=False)


def test_an_unreadable_job_does_not_keep_others_held(world: Any, holding: Holding, make_job: Make) -> None:
    held(world, make_job)
    world.aws["dynamodb"].update_item(
        TableName=TABLE,
        Key={"job_id": {"S": "up-1"}},
        UpdateExpression="SET #parameters = :odd",
        ExpressionAttributeNames={"#parameters": "parameters"},
        ExpressionAttributeValues={":odd": {"S": "odd"}},
    )
    assert holding.resume() == Worked(1, more=False)
    assert world.job("up-2").state is State.RECEIVED
