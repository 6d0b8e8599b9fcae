"""When to poll: from the published average, never past the provider's hour."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.schedule import DEADLINE_SECONDS, first_wait, next_wait, submit_again_after

AGES = st.floats(0, DEADLINE_SECONDS - 1, allow_nan=False)
AVERAGES = st.floats(1, 1800, allow_nan=False)


# The 10th percentile of a lognormal with the published average as its mean and a variation of 0.45,
# worked out by hand: 0.526 of the mean.
@pytest.mark.parametrize(("average", "seconds"), [(62, 33), (49, 26), (99, 52), (117, 62), (159, 84)])
def test_the_first_poll_comes_when_the_fastest_tenth_is_done(average: float, seconds: int) -> None:
    assert first_wait(average) == seconds


def test_the_deadline_is_the_hour_that_the_provider_keeps_a_record() -> None:
    assert DEADLINE_SECONDS == 3600


@given(AVERAGES)
def test_the_first_wait_is_at_least_a_second_and_shorter_than_the_average(average: float) -> None:
    assert 1 <= first_wait(average) <= max(1, average)


@given(AVERAGES, AVERAGES)
def test_a_slower_model_is_not_asked_sooner(one: float, other: float) -> None:
    slow, fast = max(one, other), min(one, other)
    assert first_wait(slow) >= first_wait(fast)


@given(AGES, AVERAGES)
def test_a_next_wait_is_between_a_second_and_a_minute(age: float, average: float) -> None:
    assert 1 <= next_wait(age, average) <= 60


@given(AGES, AVERAGES)
def test_the_next_poll_never_comes_after_the_deadline(age: float, average: float) -> None:
    assert age + next_wait(age, average) <= DEADLINE_SECONDS


@given(st.lists(AGES, min_size=2, max_size=2), AVERAGES)
def test_an_older_job_is_not_asked_after_more_often(ages: list[float], average: float) -> None:
    young, old = sorted(min(age, DEADLINE_SECONDS - 60) for age in ages)
    assert next_wait(young, average) <= next_wait(old, average)


@pytest.mark.parametrize(
    ("age", "average", "wait"),
    [
        (0, 49, 10),
        (97, 49, 10),
        (98, 49, 10),
        (300, 49, 30),
        (599, 49, 59),
        (900, 49, 60),
        (3595.5, 49, 4),
        (3600, 49, 1),
    ],
)
def test_the_step_is_steady_then_grows_by_a_tenth_of_the_age(age: float, average: float, wait: int) -> None:
    assert next_wait(age, average) == wait


@given(AVERAGES)
def test_a_job_that_never_ends_is_polled_a_bounded_number_of_times(average: float) -> None:
    age, polls = float(first_wait(average)), 1
    while age < DEADLINE_SECONDS:
        age += next_wait(age, average)
        polls += 1
    assert polls <= DEADLINE_SECONDS / 10


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(0, 15), (1, 15), (2, 30), (3, 60), (4, 120), (5, 240), (6, 480), (7, 900), (50, 900)]
)
def test_a_submit_waits_twice_as_long_each_time_up_to_fifteen_minutes(attempts: int, seconds: float) -> None:
    assert submit_again_after(attempts) == seconds
