"""Submit reads the durations of the model's last videos before the POST, and a failure does not affect the job."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from seedance.jobs.job import Job, State
from seedance.pacing import poll_schedule
from seedance.submit import Submit

Make = Callable[..., Job]


def accepted() -> httpx.Response:
    return httpx.Response(200, json={"request_id": "req-9", "status": "QUEUED"})


def test_a_job_is_polled_by_its_models_recent_durations(world: Any, submit: Submit, make_job: Make) -> None:
    for _ in range(20):
        world.durations.learn("seedance-2.0-mini", 30.0)
    world.wire.will(accepted())
    submit.advance(world.put(make_job(model="seedance-2.0-mini")))
    job = world.job()
    assert job.expected_seconds < 40
    assert job.sigma < poll_schedule.PUBLISHED_SIGMA
    assert world.executions()[0]["wait_seconds"] == poll_schedule.first_wait(job.spread, 5)


def test_unreadable_durations_delay_no_job(
    world: Any, submit: Submit, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = world.aws["dynamodb"].get_item

    def fails(**call: Any) -> Any:
        if call["Key"]["job_id"]["S"].startswith("durations#"):
            raise ClientError({"Error": {"Code": "Throttling"}}, "GetItem")
        return get(**call)

    monkeypatch.setattr(world.aws["dynamodb"], "get_item", fails)
    world.wire.will(accepted())
    submit.advance(world.put(make_job()))
    assert (world.job().state, world.job().expected_seconds) == (State.QUEUED, 49)


def test_a_message_before_the_jobs_turn_is_postponed_until_then(world: Any, submit: Submit, make_job: Make) -> None:
    world.put(make_job(turn_at=world.clock.now + 40))
    world.intake(submit).message('{"job_id": "up-1"}')
    assert world.postponed() == [("up-1", 40)]
    assert (world.job().state, world.job().attempts) == (State.RECEIVED, 0)
