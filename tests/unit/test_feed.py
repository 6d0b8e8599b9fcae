"""How a batch's rows are fed to the queue: at most half of the room, one share after the other, and never nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.aws.attributes import written_item
from seedance.aws.table import IN_FLIGHT
from seedance.pacing.calendar import (
    CREDIT_SECONDS,
    CROWDED_POLLS,
    FED_ROWS,
    LONGEST_FED,
    LONGEST_SHARE_SECONDS,
    WINDOW_SECONDS,
    Calendar,
    Share,
    polls_affordable,
    share,
)
from seedance.pacing.pacer import EARLY_SECONDS, FULL_SECONDS, Feed, Pacer

NOW = 1_763_600_000.0
MEAN = 100.0


def part(calendar: Calendar | None = None, now: float = NOW, **changes: Any) -> Share:
    stack: dict[str, Any] = {"limit": 50, "in_flight": 0, "max_in_flight": 500, "mean": MEAN}
    found = share(calendar or Calendar(), now, **{**stack, **changes})
    assert found is not None
    return found


def a_minute(found: Share) -> float:
    return 60 / found.gap


# the calendar -------------------------------------------------------------------------------------------------------


def test_half_of_an_idle_minute_is_for_batches() -> None:
    assert part() == Share(NOW - CREDIT_SECONDS, 2.4, 25)


def test_polls_of_the_videos_in_progress_come_first() -> None:
    busy = part(in_flight=40)  # 24 of them end in a minute, and need 26.4 polls
    assert a_minute(busy) == pytest.approx((50 - 26.4) / 2)


def test_max_in_flight_is_shared_too() -> None:
    assert a_minute(part(in_flight=4, max_in_flight=5)) == pytest.approx((1 + 2.4) / 2)


@pytest.mark.parametrize(("queued", "rows"), [(0.0, 25), (24.0, 15), (600.0, 2.5)])
def test_submits_that_wait_have_their_turns_first(queued: float, rows: float) -> None:
    found = part(Calendar(last_turn=NOW + queued))
    assert a_minute(found) == pytest.approx(rows)


@pytest.mark.parametrize("limit", [2, 5, 10, 50, 1000, 6000])
@pytest.mark.parametrize("in_flight", [0, 500, 100_000])
@pytest.mark.parametrize("queued", [0.0, 10_000.0])
def test_a_batch_never_stops_and_is_never_woken_for_little(limit: int, in_flight: int, queued: float) -> None:
    found = part(Calendar(last_turn=NOW + queued), limit=limit, in_flight=in_flight)
    assert found.rows >= min(FED_ROWS, max(1, int(LONGEST_SHARE_SECONDS / found.gap)))
    assert a_minute(found) <= limit / 2
    assert found.rows * found.gap <= LONGEST_SHARE_SECONDS + found.gap


def test_no_share_is_given_further_ahead_than_sqs_can_delay_a_message() -> None:
    stack: dict[str, Any] = {"limit": 50, "in_flight": 0, "max_in_flight": 500, "mean": MEAN}
    assert share(Calendar(fed_until=NOW + LONGEST_FED - 61), NOW, **stack) is not None
    assert share(Calendar(fed_until=NOW + LONGEST_FED - 59), NOW, **stack) is None
    assert LONGEST_FED <= 900


def test_polls_of_a_batch_are_few_while_it_has_rows_left() -> None:
    stack: dict[str, Any] = {"limit": 50, "in_flight": 10, "mean": MEAN, "most": 5.0}
    crowded = Calendar().fed(NOW + 30, more=True)
    assert polls_affordable(crowded, NOW, **stack, of_a_batch=True) == CROWDED_POLLS
    assert polls_affordable(crowded, NOW, **stack) == 5.0
    assert polls_affordable(crowded, NOW + 30 + WINDOW_SECONDS, **stack, of_a_batch=True) == 5.0
    assert polls_affordable(Calendar().fed(NOW + 30, more=False), NOW, **stack, of_a_batch=True) == 5.0


# the pacer ----------------------------------------------------------------------------------------------------------


def test_rows_are_spread_over_the_minute_and_those_of_an_idle_one_start_at_once(world: Any) -> None:
    feed = world.pacer.feed(100, MEAN)
    assert len(feed.delays) == 25
    assert feed.delays[:13] == (0.0,) * 13
    assert feed.delays[13:15] == pytest.approx((1.2, 3.6))
    assert feed.wait == pytest.approx(30 - EARLY_SECONDS)


def test_a_small_batch_takes_only_what_it_needs(world: Any) -> None:
    assert world.pacer.feed(5, MEAN) == Feed((0.0,) * 5, 1.0)
    assert len(world.pacer.feed(100, MEAN).delays) == 25


@pytest.mark.parametrize(("rows", "more"), [(25, False), (26, True)])
def test_only_a_batch_with_rows_left_over_keeps_its_polls_few(
    world: Any, monkeypatch: pytest.MonkeyPatch, rows: int, more: bool
) -> None:
    told: list[bool] = []
    fed = Calendar.fed

    def seen(self: Calendar, until: float, *, more: bool) -> Calendar:
        told.append(more)
        return fed(self, until, more=more)

    monkeypatch.setattr(Calendar, "fed", seen)
    assert len(world.pacer.feed(rows, MEAN).delays) == 25
    assert told == [more]


@given(st.lists(st.tuples(st.integers(1, 100), st.floats(0, 90)), min_size=1, max_size=40))
def test_no_minute_has_more_than_half_of_its_requests_for_batches(calls: list[tuple[int, float]]) -> None:
    """However many batches ask, and whenever: their shares follow one another."""
    calendar, now, begins = Calendar(), NOW, []
    for rows, later in calls:
        found = share(calendar, now, limit=50, in_flight=0, max_in_flight=500, mean=MEAN)
        if found:
            taken = min(rows, found.rows)
            begins += [max(now, found.begins + row * found.gap) for row in range(taken)]
            calendar = calendar.fed(found.begins + taken * found.gap, more=taken < rows)
        now += later
    credit = CREDIT_SECONDS / 2.4
    for moment in begins:
        assert sum(moment <= other < moment + 60 for other in begins) <= 25 + credit + 1


def test_shares_of_several_batches_follow_one_another(world: Any) -> None:
    first, second = world.pacer.feed(100, MEAN), world.pacer.feed(100, MEAN)
    assert second.delays[0] == pytest.approx(first.delays[-1] + 2.4)
    assert second.wait == pytest.approx(first.wait + 60)


def test_a_batch_that_comes_back_early_continues_where_its_share_ended(world: Any) -> None:
    first = world.pacer.feed(100, MEAN)
    world.clock.now += first.wait + 1
    assert world.pacer.feed(100, MEAN).delays[0] == pytest.approx(EARLY_SECONDS - 1)


def test_when_all_shares_are_given_away_nothing_is_fed(world: Any) -> None:
    while world.pacer.feed(100, MEAN).delays:
        pass
    assert world.pacer.feed(100, MEAN) == Feed((), FULL_SECONDS)
    world.clock.now += FULL_SECONDS
    assert world.pacer.feed(100, MEAN).delays


def test_delays_are_in_our_seconds_and_waits_in_the_providers(make_pacer: Callable[..., Pacer], world: Any) -> None:
    world.clock.now /= 10  # as the pacer sees it, the time is as in the other tests
    feed = make_pacer(scale=0.1).feed(100, MEAN)
    assert feed.delays[-1] == pytest.approx((24 * 2.4 - CREDIT_SECONDS) / 10)
    assert feed.wait == pytest.approx(30 - EARLY_SECONDS)


def test_videos_in_progress_are_read_from_the_table(world: Any) -> None:
    world.aws["dynamodb"].put_item(TableName="jobs-of-tests", Item=written_item({"job_id": IN_FLIGHT, "held": 40}))
    assert len(world.pacer.feed(100, MEAN).delays) == 11


def test_a_batch_that_loses_every_attempt_to_others_asks_again(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pacer, "_write", lambda *_: False)
    feed = world.pacer.feed(100, MEAN)
    assert feed.delays == ()
    assert 1 <= feed.wait <= 60


def test_a_single_job_is_sent_at_once_beside_a_batch(world: Any) -> None:
    """Eight minutes of a batch whose videos take 100 s and one poll each, and a single job every 17 s."""
    begun, waited = world.clock.now, []
    due: list[tuple[float, str]] = [(begun, "feed"), *((begun + 17.0 * number, "single") for number in range(28))]
    while due:
        due.sort()
        moment, what = due.pop(0)
        world.clock.now = max(world.clock.now, moment)
        if what == "feed" and moment < begun + 480:
            feed = world.pacer.feed(100, MEAN)
            due += [(moment + delay, "row") for delay in feed.delays] + [(moment + feed.wait, "feed")]
        elif what in ("row", "single"):
            turn = world.pacer.submit_turn(None, MEAN)
            waited.append((what, 0.0 if turn is None else turn - moment))
            due.append((moment + MEAN, "poll"))
        elif what == "poll":
            world.pacer.poll_turn(None)
    rows = [wait for kind, wait in waited if kind == "row"]
    assert len(rows) > 8 * 12
    assert [wait for kind, wait in waited if kind == "single"] == [0.0] * 28
    assert max(rows) == 0.0
