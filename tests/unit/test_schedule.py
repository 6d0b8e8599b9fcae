"""When to poll: around the likely end of the job and never past the provider's hour; estimates learned per model."""

import itertools
import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from seedance.pacing.poll_schedule import (
    DEADLINE_SECONDS,
    DURATIONS_KEPT,
    LONGEST_STEP_SECONDS,
    POLLS_PER_VIDEO,
    PUBLISHED_SIGMA,
    Spread,
    estimate,
    first_wait,
    next_wait,
    submit_again_after,
)

AGES = st.floats(-10, DEADLINE_SECONDS - 1)
MEANS = st.floats(1, 1800)
SPREADS = st.builds(Spread, MEANS, st.floats(0.05, 1.5))
POLLS = st.floats(0.75, 30)
DURATIONS = st.lists(st.floats(1e-9, 1e9), max_size=30)


def polls_at(spread: Spread, polls: float) -> list[int]:
    """The ages at which a job that never ends would be polled."""
    ages = [first_wait(spread, polls)]
    while ages[-1] < DEADLINE_SECONDS:
        ages.append(ages[-1] + next_wait(ages[-1], spread, polls))
    return ages


def mean_polls(spread: Spread, polls: float) -> float:
    """The average number of polls: the first, and each later one weighted with the chance that it is needed."""
    logs = [(math.log(age) - spread.log_median) / spread.sigma for age in polls_at(spread, polls)]
    return 1 + sum(math.erfc(z / math.sqrt(2)) / 2 for z in logs)


def test_the_deadline_is_the_hour_for_which_the_provider_keeps_a_record() -> None:
    assert DEADLINE_SECONDS == 3600


@given(SPREADS, POLLS)
@example(Spread(1, 0.05), 30)
@example(Spread(1800, 1.5), 0.75)
def test_polls_continue_to_the_deadline_and_not_beyond(spread: Spread, polls: float) -> None:
    ages = polls_at(spread, polls)
    assert all(later - age >= 1 for age, later in itertools.pairwise(ages))
    assert ages[0] >= 1
    assert ages[-1] == DEADLINE_SECONDS


@given(AGES, SPREADS, POLLS)
def test_a_poll_at_any_age_is_followed_by_one_before_the_deadline(age: float, spread: Spread, polls: float) -> None:
    assert 1 <= next_wait(age, spread, polls) <= DEADLINE_SECONDS - age


@pytest.mark.parametrize("age", [DEADLINE_SECONDS - 0.5, DEADLINE_SECONDS, DEADLINE_SECONDS + 100])
def test_past_the_deadline_the_wait_is_the_shortest(age: float) -> None:
    assert next_wait(age, Spread(100)) == 1


@given(SPREADS, POLLS, POLLS)
def test_more_polls_never_mean_longer_waits(spread: Spread, one: float, other: float) -> None:
    few, many = sorted((one, other))
    assert first_wait(spread, many) <= first_wait(spread, few)
    age = 1.2 * spread.mean
    assert next_wait(age, spread, many) <= next_wait(age, spread, few)


@given(MEANS, MEANS, st.floats(0.05, 1.5), POLLS)
def test_a_slower_model_is_not_polled_sooner(one: float, other: float, sigma: float, polls: float) -> None:
    fast, slow = sorted((one, other))
    assert first_wait(Spread(slow, sigma), polls) >= first_wait(Spread(fast, sigma), polls)


@given(st.floats(20, 300), st.floats(0.2, 0.6), st.floats(2, 12))
def test_a_job_is_polled_about_as_often_as_configured(mean: float, sigma: float, polls: float) -> None:
    # Waits are whole seconds: with a wait near one second the number cannot be met exactly.
    if mean * sigma > 4 * polls:
        assert mean_polls(Spread(mean, sigma), polls) == pytest.approx(polls, rel=0.05, abs=0.3)


@pytest.mark.parametrize("mean", [49, 62, 99, 117, 159])
def test_the_default_is_six_polls(mean: float) -> None:
    assert POLLS_PER_VIDEO == 6
    assert mean_polls(Spread(mean), POLLS_PER_VIDEO) == pytest.approx(6, abs=0.15)


@pytest.mark.parametrize("polls", [0.75, 0.8, 1, 30])
@pytest.mark.parametrize("mean", [49, 159])
def test_the_first_poll_is_neither_immediate_nor_never(polls: float, mean: float) -> None:
    assert 0.2 * mean < first_wait(Spread(mean), polls) < 4 * mean


@pytest.mark.parametrize("polls", [0.5, 0, -1, math.nan, math.inf])
def test_less_than_one_poll_per_job_is_refused(polls: float) -> None:
    with pytest.raises(ValueError, match=r"polls must be a number above 0\.5"):
        first_wait(Spread(100), polls)
    with pytest.raises(ValueError, match=r"polls must be a number above 0\.5"):
        next_wait(50, Spread(100), polls)


@given(SPREADS, POLLS, st.floats(1, DEADLINE_SECONDS - 1))
def test_a_wait_is_at_most_the_mean_or_a_minute(spread: Spread, polls: float, age: float) -> None:
    if age >= first_wait(spread, polls):
        assert next_wait(age, spread, polls) <= max(1, round(spread.mean), LONGEST_STEP_SECONDS)


@given(st.floats(20, 200))
def test_a_stuck_job_is_polled_less_and_less_often(mean: float) -> None:
    spread = Spread(mean)
    waits = [next_wait(age, spread) for age in range(math.ceil(4 * mean), 3500, 50)]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_STEP_SECONDS
    assert len(polls_at(spread, POLLS_PER_VIDEO)) < 150


def test_an_early_poll_does_not_move_the_plan_forward() -> None:
    spread = Spread(100)
    assert next_wait(0, spread) == first_wait(spread)
    assert next_wait(10, spread) == pytest.approx(first_wait(spread) - 10, abs=1)


def test_without_durations_the_estimate_is_the_published_mean() -> None:
    assert estimate(62, []) == Spread(62, PUBLISHED_SIGMA)
    assert math.expm1(PUBLISHED_SIGMA**2) == pytest.approx(0.45**2)


@given(MEANS, DURATIONS)
def test_any_durations_give_a_usable_estimate(published: float, samples: list[float]) -> None:
    spread = estimate(published, samples)
    assert published / 20 < spread.mean < published * 200
    assert 0.15 < spread.sigma < 4
    assert 1 <= first_wait(spread) <= DEADLINE_SECONDS


@given(MEANS, st.lists(st.floats(1, 3600), min_size=DURATIONS_KEPT, max_size=60))
def test_only_the_last_durations_count(published: float, samples: list[float]) -> None:
    assert estimate(published, samples) == estimate(published, samples[-DURATIONS_KEPT:])


@given(MEANS, st.permutations(range(30, 50)))
def test_the_order_of_the_durations_does_not_matter(published: float, samples: list[int]) -> None:
    assert estimate(published, samples) == estimate(published, range(30, 50))


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.6])
@pytest.mark.parametrize("cv", [0.3, 0.45, 0.6])
def test_twenty_durations_bring_the_estimate_close_to_the_truth(factor: float, cv: float) -> None:
    true = Spread(100 * factor, math.sqrt(math.log1p(cv**2)))
    chance = random.Random(7)  # noqa: S311 - made-up durations
    means, sigmas = [], []
    for _ in range(200):
        seen = [chance.lognormvariate(true.log_median, true.sigma) for _ in range(20)]
        learnt = estimate(100, seen)
        means.append(learnt.mean / true.mean)
        sigmas.append(learnt.sigma / true.sigma)
    assert sum(means) / 200 == pytest.approx(1, abs=0.06)
    assert sum(sigmas) / 200 == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("seconds", [10, 300])
def test_one_duration_moves_the_estimate_part_of_the_way(seconds: float) -> None:
    learnt = estimate(99, [seconds])
    low, high = sorted((seconds, 99))
    assert low < learnt.mean < high


def test_equal_durations_do_not_make_the_estimate_certain() -> None:
    learnt = estimate(100, [80] * 20)
    assert learnt.mean == pytest.approx(82, abs=5)
    assert learnt.sigma > 0.15


@pytest.mark.parametrize("odd", [1e-6, 1e9])
def test_one_outlier_does_not_spoil_nineteen_durations(odd: float) -> None:
    chance = random.Random(1)  # noqa: S311 - made-up durations
    seen = [chance.lognormvariate(math.log(90), 0.4) for _ in range(19)]
    sober, shaken = estimate(100, seen), estimate(100, [*seen, odd])
    assert shaken.mean == pytest.approx(sober.mean, rel=0.45)
    assert first_wait(shaken) == pytest.approx(first_wait(sober), rel=0.6)


@pytest.mark.parametrize("odd", [0, -1, math.nan, math.inf])
def test_an_invalid_duration_is_refused(odd: float) -> None:
    with pytest.raises(ValueError, match="a duration must be a number of seconds above 0"):
        estimate(100, [80, odd])
    with pytest.raises(ValueError, match="mean must be a number above 0"):
        estimate(odd, [])
    with pytest.raises(ValueError, match="sigma must be a number above 0"):
        Spread(100, odd)


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(0, 15), (1, 15), (2, 30), (3, 60), (4, 120), (5, 240), (6, 480), (7, 900), (50, 900)]
)
def test_a_submit_waits_twice_as_long_each_time_up_to_fifteen_minutes(attempts: int, seconds: float) -> None:
    assert submit_again_after(attempts) == seconds
