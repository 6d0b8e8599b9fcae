"""Reading many records at once: only the requested attributes, even from a busy table."""

from collections.abc import Callable
from typing import Any

import pytest
from seedance.batches.job_states import JobFacts
from seedance.jobs.job import Job, State

Make = Callable[..., Job]


def test_many_jobs_are_read_at_once_with_the_requested_attributes(world: Any, make_job: Make) -> None:
    for number in range(3):
        world.put(make_job(State.COMPLETED, job_id=f"up-{number}", cost_usd=0.25))
    found = world.register.read(["up-0", "up-2", "up-none"], ["cost_usd", "error"])
    assert found == {job_id: JobFacts(job_id, State.COMPLETED, cost_usd=0.25) for job_id in ("up-0", "up-2")}
    (call,) = world.called("BatchGetItem")
    assert call["RequestItems"]["jobs-of-tests"]["ConsistentRead"] is True


def test_records_left_out_by_a_busy_table_are_requested_again(
    world: Any, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        world.put(make_job(job_id=f"up-{number}"))
    ask = world.aws["dynamodb"].batch_get_item

    def one_at_a_time(**request: Any) -> Any:
        (wanted,) = request["RequestItems"].values()
        first, rest = wanted["Keys"][:1], wanted["Keys"][1:]
        answer = ask(RequestItems={"jobs-of-tests": {**wanted, "Keys": first}})
        return {**answer, "UnprocessedKeys": {"jobs-of-tests": {**wanted, "Keys": rest}} if rest else {}}

    monkeypatch.setattr(world.aws["dynamodb"], "batch_get_item", one_at_a_time)
    assert set(world.register.read(["up-0", "up-1"], [])) == {"up-0", "up-1"}
    nothing = {"Responses": {}, "UnprocessedKeys": {"jobs-of-tests": {"Keys": [{}, {}]}}}
    monkeypatch.setattr(world.aws["dynamodb"], "batch_get_item", lambda **_: nothing)
    with pytest.raises(TimeoutError, match="did not return 2 jobs"):
        world.register.read(["up-0", "up-1"], [])
