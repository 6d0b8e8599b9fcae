"""Poll: a completed video whose link is missing, ambiguous or not allowed is looked up, then held, never lost."""

from collections.abc import Callable
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from seedance.jobs.budget import Booking
from seedance.jobs.job import Hold, Job, State
from seedance.poll import MISSING_POLLS, Poll

pytestmark = pytest.mark.hostile(kind="answer")

Make = Callable[..., Job]
LINK = "https://images.segmind.com/v.mp4"
OTHER = "https://images.segmind.com/w.mp4"
FRAME = "https://images.segmind.com/f.png"
STEP = 10


def answer(status: str, **fields: Any) -> httpx.Response:
    return httpx.Response(200, json={"status": status, "request_id": "req-1", **fields})


def history(*rows: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"data": list(rows)})


def row(status: str, **fields: Any) -> dict[str, Any]:
    return {"request_id": "req-1", "model_status": status, **fields}


def assert_runs(outcome: dict[str, Any], wait: float) -> None:
    assert outcome == {"job_id": "up-1", "status": "RUNNING", "error": None, "wait_seconds": wait, "slot": ANY}


def assert_held(world: Any, outcome: dict[str, Any], *says: str) -> None:
    """The job is HELD for a person with the reason, the alarm has gone off, and the money is settled."""
    job = world.job()
    assert (outcome["status"], outcome["error"]) == ("HELD", job.error)
    assert (job.state, job.error["code"]) == (State.HELD, Hold.RESULT)
    assert not [part for part in says if part not in job.error["message"]], job.error["message"]
    assert world.counted() == {"JobsHeld": 1}


@pytest.mark.parametrize("output", [None, "", "/relative.mp4", 5, [], {}])
def test_a_completed_status_without_a_link_is_held_at_the_third_poll(
    world: Any, poll: Poll, running: Any, output: Any
) -> None:
    running()
    for _ in range(MISSING_POLLS - 1):
        world.wire.will(answer("COMPLETED", output=output))
        assert_runs(poll("up-1"), STEP)
    world.wire.will(answer("COMPLETED", output=output, metrics={"cost": 0.25}), history())
    assert_held(world, poll("up-1"), "no link to a video", "request req-1", "seedance resolve up-1 --link")
    assert world.job().cost_usd == 0.25
    assert '"status":"COMPLETED"' in world.job().answer
    assert world.job().gone_polls == 0  # if it is polled again, the count starts from zero


@pytest.mark.parametrize(("cost", "settled"), [(0.3, 0.3), (None, 0.2)])
def test_a_held_result_is_settled_and_no_longer_under_way(
    *, world: Any, poll: Poll, running: Any, cost: float | None, settled: float
) -> None:
    running(state=State.SUBMITTING, request_id=None)
    booking = Booking("2026-11-20", reserved=0.2, lease=1)
    facts = {"reserved_usd": 0.2, "reserved_day": "2026-11-20", "request_id": "req-1", "gone_polls": MISSING_POLLS}
    world.store.move(world.job(), State.QUEUED, booking=booking, **facts)
    world.wire.will(answer("COMPLETED", metrics={"cost": cost}), history())
    assert_held(world, poll("up-1"))
    job, day = world.job(), world.store.day("2026-11-20")
    assert (job.reserved_usd, job.settled_usd, job.cost_usd) == (None, settled, cost)
    assert (day.settled, day.committed, day.released, world.in_flight.count()) == (settled, settled, 0.0, 0)


def test_of_two_videos_neither_is_chosen(world: Any, poll: Poll, running: Any) -> None:
    running(gone_polls=MISSING_POLLS - 1)
    world.wire.will(answer("COMPLETED", output=[LINK, OTHER]))
    assert_held(world, poll("up-1"), "2 different videos", LINK, OTHER)
    assert world.job().result_url is None
    assert len(world.wire.requests) == 1  # the history would show only one of them, by chance


def test_a_video_on_a_new_host_is_held_with_its_link(world: Any, poll: Poll, running: Any) -> None:
    running(gone_polls=MISSING_POLLS - 1)
    world.wire.will(answer("COMPLETED", output="https://cdn.new.example/v.mp4?sig=5d6e"))
    assert_held(world, poll("up-1"), "cdn.new.example", "SegmindMediaHosts", "seedance retry up-1")
    assert world.job().result_url == "https://cdn.new.example/v.mp4?sig=5d6e"
    assert "sig=" not in world.job().answer


def test_a_link_found_only_in_the_history_is_used(world: Any, poll: Poll, running: Any) -> None:
    running(gone_polls=MISSING_POLLS - 1)
    rows = (row("COMPLETED", generation_url=FRAME), row("COMPLETED", generation_url=LINK), {"request_id": "req-2"})
    world.wire.will(answer("COMPLETED", metrics={"cost": 0.25}), history(*rows))
    assert poll("up-1") == {"job_id": "up-1", "status": "COMPLETED", "error": None}
    assert (world.job().state, world.job().result_url, world.job().cost_usd) == (State.COPYING, LINK, 0.25)


def test_a_link_that_the_history_has_by_the_requests_id_is_used(world: Any, poll: Poll, running: Any) -> None:
    running(gone_polls=MISSING_POLLS - 1)
    world.wire.will(answer("COMPLETED", metrics={"cost": 0.25}))
    world.wire.will_know("req-1", row("COMPLETED", generation_url=LINK))
    assert poll("up-1")["status"] == "COMPLETED"
    assert (world.job().result_url, world.job().cost_usd) == (LINK, 0.25)


@pytest.mark.parametrize(
    "said", [httpx.Response(500), httpx.ReadTimeout(""), httpx.Response(200, json={})], ids=["500", "time-out", "none"]
)
def test_a_failing_history_does_not_prevent_the_hold(world: Any, poll: Poll, running: Any, said: Any) -> None:
    running(gone_polls=MISSING_POLLS - 1)
    world.wire.will(answer("COMPLETED"), said)
    assert_held(world, poll("up-1"))


def test_the_jobs_own_urls_are_not_its_result(world: Any, poll: Poll, running: Any) -> None:
    running(parameters={"prompt": "x", "reference_videos": [LINK]}, gone_polls=MISSING_POLLS - 1)
    world.wire.will(answer("COMPLETED", output=LINK), history(row("COMPLETED", generation_url=None)))
    assert_held(world, poll("up-1"), "no link")


@pytest.mark.parametrize(
    ("urls", "says"),
    [
        ([None], "no link"),
        ([FRAME], "no link"),
        ([LINK, "https://images.segmind.com/w.mp4"], "several different links"),
    ],
)
def test_a_request_completed_in_the_history_is_held_not_expired(
    *, world: Any, poll: Poll, running: Any, urls: list[Any], says: str
) -> None:
    rows = [row("COMPLETED", generation_url=url, credits_deduction=0.3) for url in urls]
    running(age=7199)
    world.wire.will(httpx.Response(404), history(*rows))
    assert_runs(poll("up-1"), 300)
    running(age=7200)
    world.wire.will(httpx.Response(404), history(*rows))
    assert_held(world, poll("up-1"), says)
    assert world.job().cost_usd == 0.3


def test_before_a_job_expires_all_outputs_of_its_request_are_checked(world: Any, poll: Poll, running: Any) -> None:
    running(age=3600)
    rows = [row("COMPLETED", generation_url=url, created_at="2025-11-20T00:00:00Z") for url in (FRAME, LINK)]
    world.wire.will(httpx.Response(404), history(*rows, {"request_id": "req-2", "created_at": "2025-11-19T00:00:00Z"}))
    assert poll("up-1")["status"] == "COMPLETED"
    assert world.job().result_url == LINK
