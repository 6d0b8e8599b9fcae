"""Jobs of earlier releases get into the list: by a command, in parts, and by themselves when they change."""

from collections.abc import Callable
from typing import Any

import pytest
from clocks import NOW
from seedance.jobs.budget import month_of
from seedance.jobs.by_month import ByMonth, Filters
from seedance.jobs.job import Job, State
from seedance.upkeep.holding import WORK_SECONDS
from seedance.upkeep.indexing import Indexed, Indexing

Make = Callable[..., Job]
TABLE = "jobs-of-tests"


def raw(world: Any, job_id: str) -> dict[str, Any]:
    return dict(world.aws["dynamodb"].get_item(TableName=TABLE, Key={"job_id": {"S": job_id}})["Item"])


def listed(world: Any) -> set[str]:
    return {job["job_id"] for job in ByMonth(world.table).page(Filters(), 100).jobs}


@pytest.fixture
def old(world: Any, make_job: Make) -> list[Job]:
    """A job of an earlier release in each state."""
    return [
        world.put(make_job(state, job_id=f"up-{number}", created_at=NOW - number * 86_400.5, updated_at=NOW - number))
        for number, state in enumerate(State)
    ]


def test_a_job_without_a_month_is_not_listed_until_it_is_indexed(world: Any, old: list[Job]) -> None:
    assert listed(world) == set()
    assert Indexing(world.store, world.clock).run() == Indexed(len(old), more=False)
    assert listed(world) == {job.job_id for job in old}
    assert {raw(world, job.job_id)["month"]["S"] for job in old} == {month_of(job.created_at) for job in old}


def test_nothing_but_the_month_is_written(world: Any, old: list[Job]) -> None:
    before = {job.job_id: raw(world, job.job_id) for job in old}
    Indexing(world.store, world.clock).run()
    for job_id, item in before.items():
        after = raw(world, job_id)
        del after["month"]
        assert after == item


def test_it_may_be_repeated(world: Any, old: list[Job]) -> None:
    Indexing(world.store, world.clock).run()
    assert Indexing(world.store, world.clock).run() == Indexed(0, more=False)


def test_a_call_ends_in_time_and_the_next_one_continues(world: Any, old: list[Job], monkeypatch: Any) -> None:
    index = world.store.index

    def slowly(job: Job) -> bool:
        world.clock.now += WORK_SECONDS / 2
        return bool(index(job))

    monkeypatch.setattr(world.store, "index", slowly)
    calls, number, step, since, more = 0, 0, 0, 0.0, True
    while more:
        done = Indexing(world.store, world.clock).run(step, since)
        calls, number, step, since, more = calls + 1, number + done.number, done.step, done.since, done.more
        assert calls < 20
    assert number == len(old)
    assert calls > 3
    assert listed(world) == {job.job_id for job in old}


def test_a_job_that_was_deleted_or_changed_in_the_meantime_is_left_alone(world: Any, old: list[Job]) -> None:
    gone, other, *_ = old
    world.aws["dynamodb"].delete_item(TableName=TABLE, Key={"job_id": {"S": gone.job_id}})
    assert world.store.index(gone) is False
    assert "Item" not in world.aws["dynamodb"].get_item(TableName=TABLE, Key={"job_id": {"S": gone.job_id}})
    other.created_at += 1
    assert world.store.index(other) is False
    assert "month" not in raw(world, other.job_id)


@pytest.mark.parametrize("write", ["move", "note", "close"])
def test_a_job_that_changes_is_indexed_by_that(world: Any, make_job: Make, write: str) -> None:
    job = world.put(make_job(State.COPYING, created_at=NOW - 40 * 86_400))
    match write:
        case "move":
            world.store.move(job, State.HELD)
        case "note":
            world.store.note(job, attempts=2)
        case _:
            world.store.close(job, State.FAILED)
    assert raw(world, "up-1")["month"] == {"S": month_of(job.created_at)}
    assert listed(world) == {"up-1"}


def test_a_job_that_changes_while_the_states_are_walked_is_not_missed(
    world: Any, old: list[Job], monkeypatch: Any
) -> None:
    """It moves from a state that is still to be visited to one that was visited."""
    each, job = world.store.each, next(job for job in old if job.state is State.HELD)

    def moving(state: State, since: float = 0.0) -> Any:
        if state is State.HELD:
            world.store.move(job, State.RECEIVED)
        return each(state, since)

    monkeypatch.setattr(world.store, "each", moving)
    Indexing(world.store, world.clock).run()
    assert listed(world) == {one.job_id for one in old}


def test_repair_answers_the_command(*, repair: Any, old: list[Job], world: Any) -> None:
    assert repair.answer({"ask": "index"}) == {"number": len(old), "more": False, "step": 0, "since": 0.0}
    assert repair.answer({"ask": "index", "step": 3, "since": 5.0}) == {
        **{"number": 0, "more": False, "step": 0, "since": 0.0}
    }
