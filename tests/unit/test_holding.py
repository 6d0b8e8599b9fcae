"""Holding: submissions stop and resume, held jobs are released, and dead letters are put back."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from seedance.jobs.budget import day_of
from seedance.jobs.job import Hold, Job, State
from seedance.upkeep.holding import WORK_SECONDS, Holding, Worked

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


@pytest.fixture
def dear(world: Any, make_job: Make) -> Callable[..., None]:
    """Jobs that are held for the budget, by their length in seconds. 5 s cost $0.25, 10 s $0.50."""

    def put(*seconds: int) -> None:
        for number, length in enumerate(seconds):
            parameters = {"prompt": "x", "duration": length, "resolution": "720p", "aspect_ratio": "16:9"}
            error = {"code": Hold.BUDGET.value, "message": "m"}
            job = make_job(State.HELD, job_id=f"up-{number}", parameters=parameters, error=error)
            world.put(replace(job, updated_at=1000.0 + number))

    return put


def test_only_what_fits_in_the_days_budget_is_released(world: Any, holding: Holding, dear: Any) -> None:
    dear(5, 10, 5, 5)
    table = world.table.client
    day = day_of(world.clock())
    item = {"job_id": {"S": f"day#{day}"}, "committed": {"N": "0.3"}, "reserved": {"N": "0.3"}}
    table.put_item(TableName=TABLE, Item=item)
    done = replace(holding, budget=0.9).release(Hold.BUDGET)
    assert done == Worked(2, more=False, left=2)
    assert (done.room_usd, done.left_usd) == (pytest.approx(0.1), pytest.approx(0.75))
    states = [world.job(f"up-{number}").state for number in range(4)]
    assert states == [State.RECEIVED, State.HELD, State.RECEIVED, State.HELD]
    assert len(world.postponed()) == 2


def test_a_day_that_is_over_its_budget_releases_nothing(world: Any, holding: Holding, dear: Any) -> None:
    dear(5)
    item = {"job_id": {"S": f"day#{day_of(world.clock())}"}, "committed": {"N": "2"}}
    world.table.client.put_item(TableName=TABLE, Item=item)
    done = replace(holding, budget=1.0).release(Hold.BUDGET)
    assert (done, done.room_usd) == (Worked(0, more=False, left=1), 0.0)


def test_the_next_call_knows_what_the_first_one_released(world: Any, holding: Holding, dear: Any) -> None:
    dear(5, 5, 5)
    reads = iter([0.0, 0.0, 1.0, WORK_SECONDS + 1])
    slow = replace(holding, budget=0.5, clock=lambda: next(reads))
    first = slow.release(Hold.BUDGET)
    assert (first, first.room_usd) == (Worked(1, more=True), pytest.approx(0.25))
    rest = replace(holding, budget=0.5).release(Hold.BUDGET, first.since, first.room_usd)
    assert rest == Worked(1, more=False, left=1)


def test_a_pause_ignores_the_budget(world: Any, holding: Holding, make_job: Make) -> None:
    held(world, make_job)
    world.switch.pause("x")
    assert replace(holding, budget=0.01).resume() == Worked(2, more=False)


def test_a_second_pause_replaces_the_reason_only_if_it_has_one(world: Any, holding: Holding) -> None:
    assert holding.pause(None) is True
    assert world.switch.paused() == "paused by a person"
    assert holding.pause("the fair") is False
    assert world.switch.paused() == "the fair"
    assert holding.pause(None) is False
    assert world.switch.paused() == "the fair"


def test_a_pause_that_meets_a_resume_pauses(world: Any, holding: Holding, monkeypatch: pytest.MonkeyPatch) -> None:
    world.switch.pause("old")
    explain = world.switch.explain

    def resumed(reason: str) -> bool:
        world.switch.resume()
        return bool(explain(reason))

    monkeypatch.setattr(world.switch, "explain", resumed)
    assert holding.pause("new") is True
    assert world.switch.paused() == "new"


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
