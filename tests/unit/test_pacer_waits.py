"""Edge cases of the pacer: the latest time that counts as now, waits in place, and table errors."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from seedance.aws.attributes import read_item
from seedance.errors import LONGEST_WAIT_SECONDS
from seedance.pacing import calendar
from seedance.pacing.calendar import CROWDED_POLLS, LONGEST_CLOSURE, PATIENCE_SECONDS
from seedance.pacing.pacer import NextPoll, Pacer

MEAN = 100.0


@pytest.fixture
def pacer(make_pacer: Callable[..., Pacer]) -> Callable[..., Pacer]:
    return make_pacer


def planned(world: Any) -> int:
    """The number of planned polls in the calendar."""
    key = {"job_id": {"S": "calendar#requests"}}
    item = world.aws["dynamodb"].get_item(TableName="jobs-of-tests", Key=key)["Item"]
    return int(sum(read_item(item)["planned"]))


@pytest.mark.parametrize(("ahead", "kept"), [(1.0, False), (1.5, True), (LONGEST_WAIT_SECONDS, True)])
def test_a_turn_less_than_a_second_away_is_now(world: Any, pacer: Any, ahead: float, *, kept: bool) -> None:
    turn = world.clock.now + ahead
    assert pacer().submit_turn(turn, MEAN) == (turn if kept else None)
    assert world.called("PutItem") == [] or not kept


def test_a_poll_that_is_sent_gives_its_plan_back(world: Any, pacer: Any) -> None:
    shared = pacer()
    slot = shared.plan_poll(lambda _: 30.0, MEAN).slot
    shared.plan_poll(lambda _: 30.0, MEAN)
    assert planned(world) == 2
    assert shared.poll_turn(slot) is None
    assert planned(world) == 1


def test_a_poll_whose_turn_it_is_does_not_wait_for_other_plans(world: Any, pacer: Any) -> None:
    shared = pacer(requests_per_minute=2)
    slots = [shared.plan_poll(lambda _: 5.0, MEAN).slot for _ in range(3)]
    assert slots[0] == slots[1] < slots[2]
    world.clock.now += 5
    assert [shared.poll_turn(slots[0]), shared.poll_turn(slots[1])] == [None, None]


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_a_poll_waits_in_place_for_at_most_the_patience(world: Any, pacer: Any, scale: float) -> None:
    shared = pacer(scale=scale)
    shared.rate_limited(None)
    before = world.clock.now
    assert shared.poll_turn(None) is None
    assert world.clock.now - before == pytest.approx(PATIENCE_SECONDS * scale)


def test_fractions_of_a_second_are_waited_for_too(world: Any, pacer: Any) -> None:
    shared = pacer()
    shared.rate_limited(None)
    before = world.clock.now
    world.clock.now += PATIENCE_SECONDS - 0.5
    assert shared.poll_turn(None) is None
    assert world.clock.now == before + PATIENCE_SECONDS


def test_the_shortest_wait_is_a_second(world: Any, pacer: Any) -> None:
    assert pacer().plan_poll(lambda _: 0.2, MEAN) == NextPoll(1, int(world.clock.now) + 1)


@pytest.mark.parametrize(("scale", "reset_in", "wait"), [(1.0, 20, 21), (0.1, 5, 51), (0.1, 60, LONGEST_CLOSURE)])
def test_a_reset_is_given_in_wall_clock_time(
    world: Any, pacer: Any, scale: float, reset_in: float, wait: float
) -> None:
    shared = pacer(scale=scale)
    shared.rate_limited(reset_in)
    assert shared.poll_turn(None).wait == wait


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_soon_is_a_few_seconds_ahead(world: Any, pacer: Any, scale: float) -> None:
    shared = pacer(scale=scale)
    assert shared.seconds_until(shared.soon()) == pytest.approx(PATIENCE_SECONDS * scale)


def test_without_a_calendar_a_poll_is_sent_now_and_repeated_by_the_schedule(
    world: Any, pacer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "Throttling"}}, "BatchGetItem")

    shared, before, asked = pacer(), world.clock.now, []
    monkeypatch.setattr(world.aws["dynamodb"], "batch_get_item", fails)
    assert shared.poll_turn(7) is None
    assert shared.plan_poll(lambda polls: asked.append(polls) or 0.2, MEAN) == NextPoll(1.0, None)
    assert shared.plan_poll(lambda _: 30.0, MEAN) == NextPoll(30.0, None)
    assert asked == [CROWDED_POLLS]
    assert world.clock.now == before
    assert world.counted() == {"CalendarsMissed": 3}


def test_under_contention_a_poll_is_deferred_by_seconds(
    world: Any, pacer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = pacer()
    monkeypatch.setattr(shared, "_write", lambda *_: False)
    assert shared.poll_turn(None) == NextPoll(calendar.PATIENCE_SECONDS + 1, None)
    assert shared.submit_turn(None, MEAN) == pytest.approx(shared.soon(), abs=3)
