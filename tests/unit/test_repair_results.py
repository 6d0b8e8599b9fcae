"""What a person can do about a paid video whose link could not be determined: retry, and resolve --link."""

from collections.abc import Callable
from typing import Any

import pytest
from past import history, row
from seedance.errors import NotPossible
from seedance.jobs.job import Hold, Job, State
from seedance.repair import Repair

from cli import show

Make = Callable[..., Job]
LINK = "https://images.segmind.com/v.mp4"
LOST = {"code": Hold.LOST.value, "message": "m"}
RESULT = {"code": Hold.RESULT.value, "message": "m"}


def test_a_held_result_is_copied_from_its_link_once_its_host_is_allowed(
    world: Any, repair: Repair, make_job: Make
) -> None:
    facts = {"cost_usd": 0.3, "settled_usd": 0.3, "notified_at": 1.0}
    job = world.put(make_job(State.HELD, error=RESULT, result_url=LINK, request_id="req-1", **facts))
    assert "this costs nothing" in repair.retry(job.job_id, pay=True)
    after = world.job()
    assert (after.state, after.error, after.notified_at, after.result_url) == (State.COPYING, None, None, LINK)
    assert [call["name"] for call in world.called("StartExecution")] == ["up-1-2"]


def test_a_held_result_without_a_link_is_looked_up_in_the_history(world: Any, repair: Repair, make_job: Make) -> None:
    world.put(make_job(State.HELD, error=RESULT, request_id="req-1"))
    made = row(world, "req-1", names=None, model_status="COMPLETED", generation_url=LINK)
    world.wire.will(history(), history(made))
    with pytest.raises(NotPossible, match="use `seedance resolve`"):
        repair.retry("up-1", pay=True)
    assert "this costs nothing" in repair.retry("up-1", pay=False)
    assert (world.job().state, world.job().result_url) == (State.COPYING, LINK)
    assert world.postponed() == []


@pytest.mark.parametrize(
    ("state", "error"), [(State.UNCERTAIN, None), (State.HELD, LOST), (State.HELD, RESULT)], ids=str
)
def test_a_video_is_copied_from_a_link_given_by_a_person(
    *, world: Any, repair: Repair, make_job: Make, state: State, error: Any
) -> None:
    job = world.put(make_job(state, error=error, reserved_usd=None, notified_at=1.0))
    with pytest.raises(NotPossible, match="--link must be an address"):
        repair.resolve(job.job_id, link="video.mp4")
    assert world.job() == job
    assert "this costs nothing" in repair.resolve(job.job_id, link=LINK)
    after = world.job()
    assert (after.state, after.result_url, after.error, after.notified_at) == (State.COPYING, LINK, None, None)
    assert after.reserved_usd is not None
    assert [call["name"] for call in world.called("StartExecution")] == ["up-1-2"]
    assert world.postponed() == []


def test_a_held_result_that_is_bought_again_forgets_its_old_result(world: Any, repair: Repair, make_job: Make) -> None:
    known = {"result_url": LINK, "last_frame_url": LINK, "answer": "{}", "request_id": "req-1", "settled_usd": 0.2}
    job = world.put(make_job(State.HELD, error=RESULT, **known))
    assert "billed" in repair.resolve(job.job_id, resubmit=True)
    after = world.job()
    assert (after.state, after.result_url, after.last_frame_url, after.answer) == (State.RECEIVED, None, None, None)
    assert after.earlier_request_ids == ["req-1"]


def test_the_status_command_says_where_the_response_is(make_job: Make) -> None:
    said = show.job(make_job(State.HELD, error=RESULT, answer="x" * 1234, result_url=LINK), 1.0)
    assert "1,234 characters were kept: `seedance status up-1 --json`" in said
    assert LINK in said
    assert "Response" not in show.job(make_job(State.HELD, error=LOST), 1.0)
