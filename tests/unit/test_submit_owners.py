"""Submit and the owner of the request that the provider's response names."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
from seedance.jobs.job import Job, State
from seedance.provider.client import Provider
from seedance.submit import Submit

Make = Callable[..., Job]
SUBMITTED = "POST https://api.segmind.com/v2/seedance-1.0-pro-fast"


def accepted() -> httpx.Response:
    return httpx.Response(200, json={"request_id": "req-9", "status": "QUEUED"})


def test_a_response_with_another_jobs_request_is_uncertain_and_takes_nothing(
    world: Any, submit: Submit, make_job: Make
) -> None:
    world.store.move(world.put(make_job(State.SUBMITTING, job_id="up-2")), State.QUEUED, request_id="req-9")
    world.put(make_job())
    world.wire.will(accepted())
    world.intake(submit).message(json.dumps({"job_id": "up-1"}))
    assert (world.job().state, world.job().request_id) == (State.UNCERTAIN, None)
    assert "req-9" in world.job().error["message"]
    assert world.job("up-2").request_id == "req-9"
    assert world.executions() == []
    assert world.counted() == {"JobsUncertain": 1}
    world.intake(submit).message(json.dumps({"job_id": "up-1"}))
    assert world.wire.asked == [SUBMITTED]


def test_a_response_that_arrives_after_the_submit_was_declared_lost_is_used(
    world: Any, submit: Submit, make_job: Make
) -> None:
    def late(request: httpx.Request) -> httpx.Response:
        world.store.move(world.job(), State.UNCERTAIN, error={"code": "SUBMIT_UNCERTAIN", "message": "lost"})
        return accepted()

    at = Provider("https://api.segmind.com", "", "", key=lambda: "key", transport=httpx.MockTransport(late))
    replace(submit, provider=at, sending=replace(submit.sending, provider=at)).advance(world.put(make_job()))
    assert (world.job().state, world.job().request_id, world.job().error) == (State.QUEUED, "req-9", None)
    assert len(world.executions()) == 1
