"""The calendar of requests: what it promises holds for any order of bookings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.slots import (
    ARRIVALS_SECONDS,
    CROWDED_POLLS,
    SPAN,
    WINDOW_SECONDS,
    Calendar,
    poll_limit,
    polls_affordable,
    turn_gap,
)

NOW = 1_763_600_000.0

wishes = st.lists(
    st.tuples(st.floats(0, 3), st.floats(0, 200), st.booleans()), min_size=1, max_size=120
)  # seconds that pass before it, seconds ahead, whether it is a submit
limits = st.integers(2, 40)


def booked(wishes: list[tuple[float, float, bool]], limit: int) -> tuple[Calendar, list[tuple[float, int]]]:
    """A calendar after these bookings, and for each its wish and its slot."""
    calendar, now, got = Calendar(), NOW, []
    for passed, ahead, submit in wishes:
        now += passed
        wanted = now if submit else now + ahead
        slot = calendar.free(wanted, limit if submit else poll_limit(limit))
        calendar = calendar.book(slot, now)
        got.append((wanted, slot))
    return calendar, got


@given(wishes, limits)
def test_no_span_of_slots_holds_more_than_the_limit(wishes: list[tuple[float, float, bool]], limit: int) -> None:
    _, got = booked(wishes, limit)
    slots = sorted(slot for _, slot in got)
    for start in slots:
        assert sum(start <= slot < start + SPAN for slot in slots) <= limit


@given(wishes, limits, st.integers(0, 2**32))
def test_requests_that_leave_a_little_late_fit_any_window_of_the_provider(
    wishes: list[tuple[float, float, bool]], limit: int, seed: int
) -> None:
    # Anywhere in the slot or in the two seconds after it, in whatever way that is worst.
    _, got = booked(wishes, limit)
    left = sorted(slot + ((slot * 2654435761 + seed) % 3000) / 1000 for _, slot in got)
    for moment in left:
        assert sum(moment - WINDOW_SECONDS < other <= moment for other in left) <= limit


@given(wishes, limits)
def test_nobody_gets_a_slot_before_the_one_asked_for(wishes: list[tuple[float, float, bool]], limit: int) -> None:
    _, got = booked(wishes, limit)
    assert all(slot >= int(wanted) for wanted, slot in got)


@given(wishes, limits, st.floats(0, 100))
def test_the_first_free_slot_is_the_first(wishes: list[tuple[float, float, bool]], limit: int, ahead: float) -> None:
    calendar, got = booked(wishes, limit)
    asked = int(NOW + ahead)
    found = calendar.free(asked, limit)
    slots = [slot for _, slot in got]
    for slot in range(asked, found):
        starts = range(slot - SPAN + 1, slot + 1)
        assert any(sum(start <= other < start + SPAN for other in slots) >= limit for start in starts)


def test_an_empty_calendar_gives_what_is_asked() -> None:
    assert Calendar().free(NOW + 12.7, 5) == int(NOW) + 12


def test_what_is_past_is_dropped_and_what_is_ahead_is_kept() -> None:
    calendar = Calendar().book(int(NOW), NOW).book(int(NOW) + 300, NOW)
    later = NOW + 200
    calendar = calendar.book(int(later), later)
    assert calendar.first == int(later) - SPAN
    assert sum(calendar.booked) == 2
    assert len(calendar.booked) == SPAN + 101


def test_a_slot_may_hold_a_whole_minute_at_once() -> None:
    calendar = Calendar()
    for _ in range(50):
        slot = calendar.free(NOW, 50)
        assert slot == int(NOW)
        calendar = calendar.book(slot, NOW)
    assert calendar.free(NOW, 50) == int(NOW) + SPAN


def test_nothing_is_booked_before_the_providers_reset() -> None:
    calendar = Calendar().closed(NOW + 20).closed(NOW + 10)
    assert calendar.free(NOW, 50) == int(NOW) + 20


def test_a_record_gives_the_same_calendar_back() -> None:
    calendar = Calendar().book(int(NOW), NOW).arrived(NOW).queued(NOW + 5, 2.0).closed(NOW + 3)
    assert Calendar.from_record(calendar.to_record()) == calendar
    assert Calendar.from_record({}) == Calendar()


def test_the_queue_gives_turns_one_after_the_other() -> None:
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


@pytest.mark.parametrize(("limit", "polls"), [(2, 2), (5, 5), (50, 45), (60, 54), (120, 108)])
def test_polls_leave_a_tenth_to_submits(limit: int, polls: int) -> None:
    assert poll_limit(limit) == polls


def test_arrivals_are_counted_a_minute_and_forgotten() -> None:
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
def test_polls_follow_from_the_videos_under_way(in_flight: int, polls: float) -> None:
    assert polls_affordable(Calendar(), NOW, limit=60, in_flight=in_flight, mean=100, most=10) == pytest.approx(polls)


def test_arrivals_need_their_share() -> None:
    calendar = Calendar(arrivals=24.0, arrivals_at=NOW)
    # 24 videos a minute at 100 s each are 40 under way; 36 requests a minute are left: 1.5 for each.
    assert polls_affordable(calendar, NOW, limit=60, in_flight=40, mean=100, most=10) == pytest.approx(1.5)


def test_nobody_polls_more_than_need_be_while_submits_wait() -> None:
    calendar = Calendar(last_turn=NOW + 1)
    assert polls_affordable(calendar, NOW, limit=60, in_flight=1, mean=100, most=10) == CROWDED_POLLS
