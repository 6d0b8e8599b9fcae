"""GET /budget, POST /pause and POST /resume."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from clocks import NOW
from seedance.errors import InvalidRequest
from seedance.jobs import store as store_module
from seedance.jobs.budget import Booking, day_of
from seedance.jobs.job import Job, State
from seedance.rest.budget import LONGEST_REASON, USUAL_REASON, Spending

Make = Callable[..., Job]
NOT_PAUSED = {"paused": False, "paused_reason": None, "paused_at": None}


@pytest.fixture
def spending(world: Any) -> Spending:
    return Spending(world.store, world.switch, world.in_flight, 25.0, 500, world.clock)


def reserve(world: Any, make_job: Make, job_id: str, usd: float) -> Job:
    job = world.put(make_job(State.RECEIVED, job_id=job_id))
    booking = Booking(day_of(NOW), reserved=usd, limit=25.0, lease=1, max_in_flight=500)
    return world.store.move(  # type: ignore[no-any-return]
        job, State.SUBMITTING, booking=booking, reserved_usd=usd, reserved_day=booking.day
    )


def test_a_day_without_videos(spending: Spending) -> None:
    assert spending.look() == {
        **{"day": day_of(NOW), "limit_usd": 25.0, "reserved_usd": 0.0, "spent_usd": 0.0, "left_usd": 25.0},
        **{"in_flight": 0, "max_in_flight": 500, "waiting": 0, "held": 0},
        **NOT_PAUSED,
    }


def test_what_is_reserved_spent_in_progress_and_waiting(world: Any, spending: Spending, make_job: Make) -> None:
    reserve(world, make_job, "up-open", 0.4)
    done = reserve(world, make_job, "up-done", 0.5)
    for target in (State.QUEUED, State.COPYING):
        done = world.store.move(done, target)
    world.store.close(done, State.COMPLETED, cost_usd=0.45)
    for number in range(3):
        world.put(make_job(State.RECEIVED, job_id=f"up-{number}"))
    world.put(make_job(State.HELD, job_id="up-held"))
    seen = spending.look()
    assert (seen["reserved_usd"], seen["spent_usd"], seen["left_usd"]) == (0.4, 0.45, 24.15)
    assert (seen["in_flight"], seen["waiting"], seen["held"]) == (1, 3, 1)


def test_without_a_limit_there_is_nothing_left_to_tell(world: Any) -> None:
    seen = Spending(world.store, world.switch, world.in_flight, None, 500, world.clock).look()
    assert (seen["limit_usd"], seen["left_usd"]) == (None, None)


def test_more_is_committed_than_the_limit_allows_today(world: Any, make_job: Make) -> None:
    reserve(world, make_job, "up-open", 5.0)
    lowered = Spending(world.store, world.switch, world.in_flight, 2.0, 500, world.clock).look()
    assert (lowered["left_usd"], lowered["reserved_usd"]) == (0.0, 5.0)


def test_only_so_many_waiting_jobs_are_counted(
    world: Any, spending: Spending, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MOST_COUNTED", 2)
    for number in range(3):
        world.put(make_job(State.RECEIVED, job_id=f"up-{number}"))
    assert spending.look()["waiting"] == 2


def test_pause_and_resume(world: Any, spending: Spending) -> None:
    paused = spending.pause('{"reason": " checking prices "}')
    assert paused == {"paused": True, "paused_reason": "checking prices", "paused_at": "2025-11-20T00:53:20+00:00"}
    assert world.switch.paused() == "checking prices"
    assert {name: spending.look()[name] for name in paused} == paused  # type: ignore[literal-required]
    world.clock.now += 60
    for body in (None, "{}", '{"reason": null}'):
        assert spending.pause(body) == paused  # without a reason, the pause stays as it is
    # As with `seedance pause --reason`: whoever gives a reason must not be told later that it was another one.
    assert spending.pause('{"reason": "another"}') == {**paused, "paused_reason": "another"}
    assert world.switch.paused() == "another"
    assert spending.resume() == NOT_PAUSED
    assert spending.resume() == NOT_PAUSED
    assert world.switch.paused() is None


def test_the_api_deletes_nothing_but_the_switch(world: Any, spending: Spending) -> None:
    spending.pause(None)
    spending.resume()
    (deleted,) = world.called("DeleteItem")
    assert deleted["Key"] == {"job_id": {"S": "switch#submits"}}


@pytest.mark.parametrize("body", [None, "", "  ", "{}", '{"reason": null}'])
def test_a_pause_needs_no_reason(spending: Spending, body: str | None) -> None:
    assert spending.pause(body)["paused_reason"] == USUAL_REASON


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ("{", "body", "is not valid JSON"),
        ("[]", "body", "must be empty or a JSON object"),
        ("[" * 100_000, "body", "is nested more than 20 levels deep"),
        ('{"reason": "a", "reason": "b"}', "body", "reason"),
        ('{"reasons": "x"}', "reasons", "is not a field of this request; allowed: reason"),
        ('{"reason": 5}', "reason", "must be text of 1 to 500 characters"),
        ('{"reason": " "}', "reason", "must be text of 1 to 500 characters"),
        (json.dumps({"reason": "x" * (LONGEST_REASON + 1)}), "reason", "must be text of 1 to 500 characters"),
        ('{"reason": "a\\nb"}', "reason", "in one line"),
        ('{"reason": "\\ud800"}', "reason", "in one line"),
    ],
)
def test_an_invalid_reason_is_refused_and_nothing_is_paused(
    *, world: Any, spending: Spending, body: str, field: str, says: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        spending.pause(body)
    assert caught.value.field == field
    assert says in caught.value.message
    assert world.switch.paused() is None


def test_a_pause_of_earlier_without_a_time_is_shown(world: Any, spending: Spending) -> None:
    world.table.put({"job_id": "switch#submits", "reason": "no credits", "paused_at": "yesterday"})
    assert spending.look()["paused_at"] is None
    assert spending.look()["paused_reason"] == "no credits"
