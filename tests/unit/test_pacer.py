"""Turns and slots in DynamoDB: who may send a request now, who must come back later, and contention."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from seedance.aws.job_table import JobTable
from seedance.jobs.budget import Booking
from seedance.jobs.job import Job, State
from seedance.pacing import calendar
from seedance.pacing.pacer import ATTEMPTS, NextPoll, Pacer

Make = Callable[..., Job]
MEAN = 100.0


YEAR = 365 * 86_400.0


@pytest.fixture
def pacer(make_pacer: Callable[..., Pacer]) -> Callable[..., Pacer]:
    return make_pacer


def begun(world: Any, make_job: Make, number: int) -> Job:
    """A job that counts as in progress."""
    job = world.put(make_job(job_id=f"up-{number}"))
    booking = Booking("2026-11-20", reserved=0.1, lease=1)
    return world.store.move(job, State.SUBMITTING, booking=booking, reserved_usd=0.1, reserved_day="2026-11-20")  # type: ignore[no-any-return]


# submits ----------------------------------------------------------------------------------------------------


def test_a_submit_may_be_sent_at_once(world: Any, pacer: Any) -> None:
    before = world.clock.now
    assert pacer().submit_turn(None, MEAN) is None
    assert world.clock.now == before


def test_a_minutes_requests_may_be_sent_at_once_and_the_next_must_wait(world: Any, pacer: Any) -> None:
    shared = pacer(requests_per_minute=5)
    assert [shared.submit_turn(None, MEAN) for _ in range(5)] == [None] * 5
    turn = shared.submit_turn(None, MEAN)
    assert turn == int(world.clock.now) + calendar.SPAN
    assert shared.submit_turn(None, MEAN) == turn + 24, "each queued submit counts as a submit and a poll"


def test_a_turn_in_the_future_is_kept(world: Any, pacer: Any) -> None:
    later = world.clock.now + 100
    assert pacer().submit_turn(later, MEAN) == later
    assert world.called("PutItem") == []


def test_a_turn_far_back_in_a_long_queue_is_kept(world: Any, pacer: Any) -> None:
    shared = pacer(requests_per_minute=1)
    shared.submit_turn(None, MEAN)
    turns = [shared.submit_turn(None, MEAN) for _ in range(40)]
    assert turns[-1] > world.clock.now + 3600
    assert [shared.submit_turn(turn, MEAN) for turn in turns[-3:]] == turns[-3:]


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_an_impossible_turn_is_dropped(world: Any, pacer: Any, scale: float) -> None:
    shared = pacer(scale=scale)
    assert shared.submit_turn(shared.turn_in(YEAR), MEAN) is None
    full = pacer(scale=scale, requests_per_minute=1)
    turn = full.submit_turn(full.turn_in(YEAR), MEAN)
    assert full.seconds_until(turn) <= 2 * calendar.SPAN * scale


def test_a_submit_that_has_waited_is_not_put_at_the_end_of_the_queue(world: Any, pacer: Any) -> None:
    shared = pacer(requests_per_minute=2)
    assert [shared.submit_turn(None, MEAN) for _ in range(2)] == [None, None]
    turns = [shared.submit_turn(None, MEAN) for _ in range(3)]
    world.clock.now += 10
    again = shared.submit_turn(world.clock.now - 1, MEAN)
    assert turns[0] <= again <= turns[0] + calendar.turn_gap(2, 500, MEAN)
    assert again < turns[2]


def test_a_slot_within_seconds_is_waited_for(world: Any, pacer: Any) -> None:
    shared = pacer(requests_per_minute=2)
    for _ in range(2):
        shared.submit_turn(None, MEAN)
    world.clock.now += calendar.SPAN - 2
    before = world.clock.now
    assert shared.submit_turn(None, MEAN) is None
    assert world.clock.now == before + 2


def test_with_the_maximum_of_videos_under_way_a_submit_must_wait(world: Any, pacer: Any, make_job: Make) -> None:
    full = pacer(max_in_flight=2)
    jobs = [begun(world, make_job, number) for number in range(2)]
    assert full.submit_turn(None, MEAN) == world.clock.now + calendar.PATIENCE_SECONDS
    world.store.close(jobs[0], State.FAILED)
    assert full.submit_turn(None, MEAN) is None


def test_turns_are_in_the_providers_seconds_and_waits_in_ours(world: Any, pacer: Any) -> None:
    fast = pacer(requests_per_minute=2, scale=0.1)
    for _ in range(2):
        fast.submit_turn(None, MEAN)
    turn = fast.submit_turn(None, MEAN)
    assert fast.seconds_until(turn) == pytest.approx(calendar.SPAN * 0.1, abs=0.1)
    assert fast.seconds_until(fast.turn_in(7)) == pytest.approx(7)
    assert fast.seconds_until(0) == 0


# polls ------------------------------------------------------------------------------------------------------


def test_a_poll_is_planned_at_the_scheduled_time(world: Any, pacer: Any) -> None:
    asked: list[float] = []
    plan = pacer().plan_poll(lambda polls: asked.append(polls) or 42.0, MEAN)  # type: ignore[func-returns-value]
    assert plan == NextPoll(42, int(world.clock.now) + 42)
    assert asked == [5], "no other videos: all that PollsPerVideo allows"


def test_the_more_videos_are_under_way_the_fewer_polls_each_gets(world: Any, pacer: Any, make_job: Make) -> None:
    for number in range(10):
        begun(world, make_job, number)
    asked: list[float] = []
    pacer(requests_per_minute=12).plan_poll(lambda polls: asked.append(polls) or 42.0, MEAN)  # type: ignore[func-returns-value]
    assert asked == [pytest.approx(12 * MEAN / 60 / 10)]


def test_polls_are_spread_over_time(world: Any, pacer: Any) -> None:
    shared = pacer(requests_per_minute=10)
    now = int(world.clock.now)
    planned = [shared.plan_poll(lambda polls: 5.0, MEAN).slot for _ in range(12)]
    assert planned == [now + 5] * 10 + [now + 5 + calendar.SPAN] * 2


def test_a_burst_of_submits_may_displace_plans_but_a_queue_may_not(world: Any, pacer: Any) -> None:
    shared = pacer(requests_per_minute=10)
    for _ in range(10):
        shared.plan_poll(lambda polls: 5.0, MEAN)
    assert [shared.submit_turn(None, MEAN) for _ in range(10)] == [None] * 10
    assert None not in [shared.submit_turn(None, MEAN) for _ in range(2)]
    world.clock.now += calendar.SPAN
    for _ in range(10):
        shared.plan_poll(lambda polls: 5.0, MEAN)
    assert shared.submit_turn(world.clock.now, MEAN) is None, "a tenth is left for waiting submits"
    assert shared.submit_turn(world.clock.now, MEAN) is not None


@pytest.mark.parametrize("late", [0, 0.9, 5, 500])
def test_a_poll_takes_a_slot_whenever_it_arrives(world: Any, pacer: Any, late: float) -> None:
    shared = pacer(requests_per_minute=2)
    slot = shared.plan_poll(lambda polls: 30.0, MEAN).slot
    world.clock.now += 30 + late
    assert shared.poll_turn(slot) is None
    assert shared.submit_turn(None, MEAN) is None, "one is left, and the plan is gone"
    assert shared.submit_turn(None, MEAN) is not None


def test_a_poll_without_a_plan_takes_a_slot_too(world: Any, pacer: Any) -> None:
    shared = pacer(requests_per_minute=2)
    assert [shared.poll_turn(None) for _ in range(2)] == [None, None]
    assert shared.poll_turn(None) == NextPoll(calendar.SPAN, int(world.clock.now) + calendar.SPAN)


def test_a_poll_displaced_by_submits_is_planned_again(world: Any, pacer: Any) -> None:
    shared = pacer(requests_per_minute=2)
    slot = shared.plan_poll(lambda polls: 30.0, MEAN).slot
    for _ in range(2):
        shared.submit_turn(None, MEAN)
    world.clock.now += 30
    plan = shared.poll_turn(slot)
    assert plan == NextPoll(calendar.SPAN - 30, slot - 30 + calendar.SPAN)
    world.clock.now += plan.wait
    assert shared.poll_turn(plan.slot) is None


def test_a_poll_waits_a_few_seconds_in_place(world: Any, pacer: Any) -> None:
    shared = pacer(requests_per_minute=2)
    for _ in range(2):
        shared.submit_turn(None, MEAN)
    world.clock.now += calendar.SPAN - 2
    before = world.clock.now
    assert shared.poll_turn(None) is None
    assert world.clock.now == before + 2


# 429s -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reset_in", "closed"), [(None, calendar.PATIENCE_SECONDS), (20, 21), (0, 1), (86_400, calendar.LONGEST_CLOSURE)]
)
def test_after_a_429_nothing_is_sent_before_the_reset(
    world: Any, pacer: Any, reset_in: float | None, closed: float
) -> None:
    shared = pacer()
    shared.rate_limited(reset_in)
    plan = shared.plan_poll(lambda polls: 1.0, MEAN)
    assert plan.slot == max(int(world.clock.now + closed), int(world.clock.now) + 1)


# contention -------------------------------------------------------------------------------------------------


def meddle(world: Any, times: int) -> None:
    """Change the calendar between the pacer's read and its write, the given number of times."""
    left = [times]

    def first(params: dict[str, Any], **_: Any) -> None:
        if left[0] and params["Item"]["job_id"]["S"].startswith("calendar") and "ConditionExpression" in params:
            left[0] -= 1
            item = {**params["Item"], "version": {"N": str(int(params["Item"]["version"]["N"]) + 5)}}
            world.aws["dynamodb"].put_item(TableName="jobs-of-tests", Item=item)

    world.aws["dynamodb"].meta.events.register("provide-client-params.dynamodb.PutItem", first, unique_id="meddle")


@pytest.fixture
def unmeddled(world: Any) -> Any:
    yield
    world.aws["dynamodb"].meta.events.unregister("provide-client-params.dynamodb.PutItem", unique_id="meddle")


@pytest.mark.usefixtures("unmeddled")
def test_the_slower_writer_reads_again(world: Any, pacer: Any) -> None:
    meddle(world, 2)
    shared = pacer(requests_per_minute=4)
    assert shared.submit_turn(None, MEAN) is None
    # Two of the other writer's, one of ours.
    assert [shared.submit_turn(None, MEAN) is None for _ in range(2)] == [True, False]


@pytest.mark.usefixtures("unmeddled")
def test_under_contention_every_request_is_deferred_not_lost(world: Any, pacer: Any) -> None:
    meddle(world, 3 * ATTEMPTS)
    shared = pacer()
    assert shared.submit_turn(None, MEAN) is not None, "comes back"
    assert shared.plan_poll(lambda polls: 30.0, MEAN) == NextPoll(30, None), "books when it comes"
    plan = shared.poll_turn(None)
    assert plan is not None and plan.slot is None


def test_a_table_error_is_not_mistaken_for_contention(world: Any) -> None:
    lost = Pacer(JobTable("no-such-table", world.aws["dynamodb"]), requests_per_minute=5, max_in_flight=5, most_polls=5)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        lost.submit_turn(None, MEAN)
