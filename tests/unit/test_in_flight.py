"""The count of videos in progress, and its correction through an index that lags."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from seedance.aws.table import IN_FLIGHT
from seedance.jobs.budget import Booking
from seedance.jobs.in_flight import READINGS, SETTLED_SECONDS, InFlight
from seedance.jobs.job import UNDER_WAY, Job, State

Make = Callable[..., Job]
DAY = "2026-11-20"


def begin(world: Any, job: Job) -> Job:
    booking = Booking(DAY, reserved=0.25, lease=1)
    return world.store.move(job, State.SUBMITTING, booking=booking, reserved_usd=0.25, reserved_day=DAY)  # type: ignore[no-any-return]


def shown(monkeypatch: pytest.MonkeyPatch, *listings: list[str]) -> None:
    """What the index lists in the next recounts, whatever the table has."""
    rounds = iter(listings)
    now: list[str] = []

    def listed(self: InFlight, state: State) -> Iterator[str]:
        if state is sorted(UNDER_WAY)[0]:
            now[:] = next(rounds)
            return iter(now)
        return iter(())

    monkeypatch.setattr(InFlight, "_in", listed)


def set_count(world: Any, held: int) -> None:
    world.table.put({"job_id": IN_FLIGHT, "held": held})


@pytest.fixture
def two_under_way(world: Any, make_job: Make) -> list[Job]:
    return [begin(world, world.put(make_job(job_id=f"up-{number}"))) for number in range(2)]


def test_a_wrong_count_is_corrected_once_the_readings_agree(world: Any, make_job: Make) -> None:
    for number, state in enumerate(State):
        world.put(make_job(state, job_id=f"up-{number}", reserved_usd=0.25 if state in UNDER_WAY else None))
    set_count(world, 1)
    for _ in range(READINGS - 1):
        assert world.in_flight.recount() is False
        world.clock.now += SETTLED_SECONDS - 1
        assert world.in_flight.recount() is False  # too early for another reading
        assert world.in_flight.count() == 1
        world.clock.now += 1
    assert world.in_flight.recount() is True
    assert world.in_flight.count() == len(UNDER_WAY)
    assert world.in_flight.recount() is False


def test_a_count_that_is_no_number_is_replaced_at_once(world: Any, two_under_way: list[Job]) -> None:
    world.table.put({"job_id": IN_FLIGHT, "held": "many"})
    assert world.in_flight.recount() is True
    assert world.in_flight.count() == 2


@pytest.mark.parametrize("listed", [[], ["up-0"], ["up-0", "up-1", "up-ended"]])
def test_a_right_count_stays_right_if_the_index_lags_once(
    world: Any, two_under_way: list[Job], monkeypatch: pytest.MonkeyPatch, listed: list[str]
) -> None:
    shown(monkeypatch, listed, ["up-0", "up-1"])
    for _ in range(2):
        assert world.in_flight.recount() is False
        world.clock.now += SETTLED_SECONDS
    assert world.in_flight.count() == 2


def test_jobs_that_have_ended_are_not_counted_however_long_the_index_shows_them(
    world: Any, make_job: Make, two_under_way: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(make_job(State.COMPLETED, job_id="up-ended"))
    shown(monkeypatch, *[["up-0", "up-1", "up-ended"]] * 2 * READINGS)
    for _ in range(2 * READINGS):
        assert world.in_flight.recount() is False
        world.clock.now += SETTLED_SECONDS
    assert world.in_flight.count() == 2


def test_a_change_of_the_count_between_two_readings_voids_the_first(
    world: Any, make_job: Make, two_under_way: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy stack at its maximum: one job ends, another starts, and the index is late with the new one each time."""
    shown(monkeypatch, ["up-0"], ["up-1"])
    assert world.in_flight.recount() is False
    world.clock.now += SETTLED_SECONDS
    world.store.close(two_under_way[0], State.FAILED)
    begin(world, world.put(make_job(job_id="up-2")))
    assert world.in_flight.recount() is False
    assert world.in_flight.count() == 2


def test_a_job_that_was_settled_and_is_copied_again_is_not_in_progress(world: Any, make_job: Make) -> None:
    """Its request was settled before, so it has no reservation, and its end will not lower the count."""
    world.put(make_job(State.COPYING, settled_usd=0.25, reserved_day=DAY))
    for _ in range(2 * READINGS):
        assert world.in_flight.recount() is False
        world.clock.now += SETTLED_SECONDS
    assert world.in_flight.count() == 0


def test_a_job_that_is_missed_whenever_it_changes_its_state_stays_counted(
    world: Any, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each state's entries lag on their own, so a query for each state misses a job between two of them."""
    job = begin(world, world.put(make_job(job_id="up-0")))
    ways = (None, State.UNCERTAIN, State.QUEUED, State.PROCESSING, State.COPYING)
    shown(monkeypatch, *[[]] * len(ways), *[["up-0"]] * 2 * READINGS)
    for state in ways:
        if state:
            facts = {"request_id": "r-1"} if state is State.QUEUED else {}
            job = world.store.move(job, state, **facts)
        assert world.in_flight.recount() is False
        world.clock.now += SETTLED_SECONDS
    for _ in range(2 * READINGS):
        assert world.in_flight.recount() is False
        world.clock.now += SETTLED_SECONDS
    assert world.in_flight.count() == 1


def test_readings_of_different_jobs_do_not_agree(
    world: Any, two_under_way: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(monkeypatch, *[["up-0"], ["up-1"]] * READINGS)
    for _ in range(2 * READINGS):
        assert world.in_flight.recount() is False
        world.clock.now += SETTLED_SECONDS
    assert world.in_flight.count() == 2


@pytest.mark.parametrize("reading", ["words", {}, {"listed": "two"}, {"listed": 2, "noted_at": "noon"}])
def test_a_reading_that_somebody_edited_does_no_harm(world: Any, two_under_way: list[Job], reading: Any) -> None:
    world.table.put({"job_id": IN_FLIGHT, "held": 7, "reading": reading})
    for _ in range(READINGS):
        world.in_flight.recount()
        world.clock.now += SETTLED_SECONDS
    assert world.in_flight.count() == 2
