"""The calendar of requests: its guarantees hold for any order of bookings."""

from itertools import zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.pacing.calendar import (
    ARRIVALS_SECONDS,
    CROWDED_POLLS,
    SLACK_SECONDS,
    SPAN,
    WINDOW_SECONDS,
    Calendar,
    polls_affordable,
    turn_gap,
)

NOW = 1_763_600_000.0

wishes = st.lists(
    st.tuples(st.floats(0, 3), st.floats(0, 200), st.booleans()), min_size=1, max_size=120
)  # seconds that pass first, seconds ahead, whether it is a submit
limits = st.integers(2, 40)


def booked(wishes: list[tuple[float, float, bool]], limit: int) -> tuple[Calendar, list[tuple[float, int]]]:
    """A calendar with planned polls and taken submits, and the requested and assigned slots of queued submits."""
    calendar, now, got = Calendar(), NOW, []
    for passed, ahead, submit in wishes:
        now += passed
        if submit:
            slot = calendar.free(now, limit, plans=True)
            calendar = calendar.take(slot, now)
            got.append((now, slot))
        else:
            calendar = calendar.plan(calendar.free_for_plan(now + ahead, now, limit), now)
    return calendar, got


@given(wishes, limits)
def test_no_span_of_slots_holds_more_than_the_limit(wishes: list[tuple[float, float, bool]], limit: int) -> None:
    calendar, got = booked(wishes, limit)
    for counts in (calendar.taken, [a + b for a, b in zip_longest(calendar.taken, calendar.planned, fillvalue=0)]):
        assert all(sum(counts[start : start + SPAN]) <= limit for start in range(len(counts)))
    slots = sorted(slot for _, slot in got)
    assert all(sum(start <= slot < start + SPAN for slot in slots) <= limit for start in slots)


@given(wishes, limits, st.integers(0, 2**32))
def test_delayed_requests_fit_into_any_window_of_the_provider(
    wishes: list[tuple[float, float, bool]], limit: int, seed: int
) -> None:
    # Anywhere in the slot or in the seconds after it, in the worst possible way.
    _, got = booked(wishes, limit)
    late = 1000 * (1 + SLACK_SECONDS)
    left = sorted(slot + ((slot * 2654435761 + seed) % late) / 1000 for _, slot in got)
    for moment in left:
        assert sum(moment - WINDOW_SECONDS < other <= moment for other in left) <= limit


@given(wishes, limits)
def test_no_slot_is_before_the_requested_one(wishes: list[tuple[float, float, bool]], limit: int) -> None:
    _, got = booked(wishes, limit)
    assert all(slot >= int(wanted) for wanted, slot in got)


@given(wishes, limits, st.floats(0, 100))
@pytest.mark.parametrize("plans", [True, False])
def test_the_first_free_slot_is_the_first(
    plans: bool, wishes: list[tuple[float, float, bool]], limit: int, ahead: float
) -> None:
    calendar, _ = booked(wishes, limit)
    asked = int(NOW + ahead)
    found = calendar.free(asked, limit, plans=plans)
    counts = {calendar.first + n: count for n, count in enumerate(calendar.taken)}
    for n, count in enumerate(calendar.planned if plans else ()):
        counts[calendar.first + n] = counts.get(calendar.first + n, 0) + count
    for slot in range(asked, found):
        starts = range(slot - SPAN + 1, slot + 1)
        assert any(sum(counts.get(n, 0) for n in range(start, start + SPAN)) >= limit for start in starts)


def test_an_empty_calendar_gives_the_requested_slot() -> None:
    assert Calendar().free(NOW + 12.7, 5, plans=True) == int(NOW) + 12


def test_past_slots_are_dropped_and_future_ones_kept() -> None:
    calendar = Calendar().take(int(NOW), NOW).plan(int(NOW) + 100, NOW).plan(int(NOW) + 300, NOW)
    later = NOW + 200
    calendar = calendar.take(int(later), later)
    assert calendar.first == int(later) - SPAN
    assert calendar.taken == (0,) * SPAN + (1,)
    assert calendar.planned == (0,) * (SPAN + 100) + (1,)
    assert calendar.take(int(later) + 900, later + 900).planned == ()


def test_a_plan_can_be_removed_once_and_only_if_it_exists() -> None:
    slot = int(NOW) + 30
    calendar = Calendar().plan(slot, NOW).plan(slot, NOW)
    assert sum(calendar.unplan(slot).planned) == 1
    assert sum(calendar.unplan(slot).unplan(slot).unplan(slot).planned) == 0
    for other in (None, slot + 1, slot - 1, 0, slot + 1000):
        assert calendar.unplan(other) == calendar


def test_one_slot_may_hold_a_whole_minutes_requests() -> None:
    calendar = Calendar()
    for _ in range(50):
        slot = calendar.free(NOW, 50, plans=True)
        assert slot == int(NOW)
        calendar = calendar.take(slot, NOW)
    assert calendar.free(NOW, 50, plans=False) == int(NOW) + SPAN


def test_a_submit_may_displace_plans_but_a_poll_may_not() -> None:
    calendar = Calendar()
    for _ in range(5):
        calendar = calendar.plan(calendar.free_for_plan(NOW + 10, NOW, 5), NOW)
    assert calendar.free(NOW, 5, plans=False) == int(NOW)
    assert calendar.free(NOW, 5, plans=True) == int(NOW) + 10 + SPAN
    assert calendar.free_for_plan(NOW, NOW, 5) == int(NOW) + 10 + SPAN


def test_plans_leave_a_tenth_for_waiting_submits() -> None:
    calendar, waiting = Calendar(), Calendar(last_turn=NOW + 5)
    for _ in range(18):
        calendar, waiting = calendar.plan(int(NOW) + 10, NOW), waiting.plan(int(NOW) + 10, NOW)
    assert calendar.free_for_plan(NOW + 10, NOW, 20) == int(NOW) + 10
    assert waiting.free_for_plan(NOW + 10, NOW, 20) == int(NOW) + 10 + SPAN
    assert waiting.free(NOW, 20, plans=True) == int(NOW)


@pytest.mark.parametrize("plans", [True, False])
def test_no_slot_is_before_the_providers_reset(plans: bool) -> None:
    calendar = Calendar().closed(NOW + 20).closed(NOW + 10)
    assert calendar.free(NOW, 50, plans=plans) == int(NOW) + 20


def test_a_calendar_survives_a_round_trip_through_its_record() -> None:
    calendar = Calendar().take(int(NOW), NOW).plan(int(NOW) + 9, NOW).arrived(NOW).queued(NOW + 5, 2.0).closed(NOW + 3)
    assert Calendar.from_record(calendar.to_record(), NOW) == (calendar, [])
    assert Calendar.from_record({}, NOW) == (Calendar(), [])


def test_queued_submits_get_turns_one_after_the_other() -> None:
    calendar = Calendar().queued(NOW, 2.5)
    assert calendar.last_turn == NOW
    assert calendar.queued(NOW, 2.5).last_turn == NOW + 2.5
    assert calendar.queued(NOW + 100, 2.5).last_turn == NOW + 100


@pytest.mark.parametrize(
    ("requests", "in_flight", "mean", "gap"),
    [(60, 500, 100, 2.0), (5, 500, 100, 24.0), (60, 10, 100, 10.0), (600, 1000, 100, 0.2)],
)
def test_the_queue_moves_as_fast_as_requests_and_videos_under_way_allow(
    requests: int, in_flight: int, mean: float, gap: float
) -> None:
    assert turn_gap(requests, in_flight, mean) == pytest.approx(gap)


def test_arrivals_are_counted_per_minute_and_decay() -> None:
    calendar, now = Calendar(), NOW
    for _ in range(300):  # 12 a minute for 25 minutes
        calendar, now = calendar.arrived(now), now + 5
    assert calendar.arrivals_now(now) == pytest.approx(12, rel=0.05)
    assert calendar.arrivals_now(now + 5 * ARRIVALS_SECONDS) < 0.1


@pytest.mark.parametrize(
    ("in_flight", "polls"),
    # 60 requests a minute, videos of 100 s, no arrivals: 100 polls while one video is made.
    [(0, 10), (1, 10), (10, 10), (20, 5), (50, 2), (100, CROWDED_POLLS), (1000, CROWDED_POLLS)],
)
def test_the_number_of_polls_depends_on_the_videos_under_way(in_flight: int, polls: float) -> None:
    assert polls_affordable(Calendar(), NOW, limit=60, in_flight=in_flight, mean=100, most=10) == pytest.approx(polls)


def test_arrivals_reduce_the_number_of_polls() -> None:
    calendar = Calendar(arrivals=24.0, arrivals_at=NOW)
    # 24 videos a minute at 100 s each are 40 in progress; 36 requests a minute are left: 1.5 for each.
    assert polls_affordable(calendar, NOW, limit=60, in_flight=40, mean=100, most=10) == pytest.approx(1.5)


def test_while_submits_wait_polls_are_kept_to_a_minimum() -> None:
    calendar = Calendar(last_turn=NOW + 1)
    assert polls_affordable(calendar, NOW, limit=60, in_flight=1, mean=100, most=10) == CROWDED_POLLS
