"""When to poll next. Pure. All times are in the provider's seconds.

A video's duration spreads around its model's mean, about lognormally. A poll is worth most where the job is
likely to end just before it, so the time between polls follows the hazard rate h, the chance per second
that a job still running ends now: at a given mean number of polls, the mean lag between the end and the
poll that sees it is least when the waits are r / sqrt(h). The first wait ends where the integral of sqrt(h)
reaches 4/3 r: against the optimum found by dynamic programming, 1 r loses 2 % and 4/3 r 0.2 %. With f the
density, S the share still running and K the integral of sqrt(f S), a job is then asked after K / r + 1/6
times on average, and the mean lag is about K**2 / (2 (polls - 1/2)). docs/benchmarks.md holds this against
the optimum and against fixed steps and backoff.

The mean and the spread are learnt: the published mean is where it starts, the last durations correct it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

DEADLINE_SECONDS = 3600.0
"""The provider keeps a request's record for an hour after submission (its model pages); then it is gone."""

CLOCKS_APART_SECONDS = 24 * 3600.0
"""How far the provider's clock and ours may be apart, a time without its zone included. The history is read from so
much before a submit to so much after now."""

RESULT_KEPT_SECONDS = 7 * 24 * 3600.0
"""How long the provider keeps a result's file (provider's contract)."""

USUAL_SECONDS = 80.0
"""The mean of a job that does not say how long its model's videos take; the published means are around it."""

POLLS_PER_VIDEO = 6.0
"""The mean number of polls that the schedule was measured at; the stack's own is its PollsPerVideo."""

STEP_SECONDS = 10.0
"""Wait after an answer that says neither "running" nor "done" in a way that can be used."""
LONGEST_STEP_SECONDS = 60.0
"""What the waits for a job far beyond its time grow to."""
UNREACHABLE_STEP_SECONDS = 30.0
"""Wait after a poll that learned nothing: the provider is in trouble, or our key is."""

HISTORY_PATIENCE_SECONDS = 3600.0
"""How long beyond its deadline a job waits for a history that is out of reach, before it expires."""

PUBLISHED_SIGMA = math.sqrt(math.log1p(0.45**2))
"""Standard deviation of the duration's logarithm where nothing is known: a coefficient of variation of 0.45."""

DURATIONS_KEPT = 20
"""How many of a model's last durations are looked at."""

_MEAN_WEIGHT = 1.0
_SIGMA_WEIGHT = 3.0
"""How many observations the published mean, and the assumed spread, count for."""
_ODD = math.log(8)
"""A duration further than this factor from the published mean counts as one at that distance."""

_FIRST_REACH = 4 / 3
"""How far the first wait reaches, where the later ones reach 1."""
_STUCK = 3.0
"""From this multiple of the mean on a job is not late but stuck, and is asked after less and less often."""
_Z_FROM, _Z_STEP, _Z_COUNT = -8.0, 0.1, 160


@dataclass(frozen=True)
class Spread:
    """How long a model's videos take: the mean in seconds, and the standard deviation of the logarithm."""

    mean: float
    sigma: float = PUBLISHED_SIGMA

    def __post_init__(self) -> None:
        """Raise ValueError for what no duration can be spread like."""
        for name, value in (("mean", self.mean), ("sigma", self.sigma)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a number above 0, not {value}")

    @property
    def log_median(self) -> float:
        """The mean of the duration's logarithm."""
        return math.log(self.mean) - self.sigma**2 / 2


def estimate(published_mean: float, samples: Sequence[float]) -> Spread:
    """The spread of a model's durations from the published mean and the last durations, oldest first.

    Both are weighed in the logarithm, as a normal distribution's conjugate prior would be: the published
    mean counts for one observation, the assumed coefficient of variation for three. Raises ValueError for a
    duration that is not a number above 0.
    """
    prior = Spread(published_mean)
    logs = []
    for seconds in samples[-DURATIONS_KEPT:]:
        if not (math.isfinite(seconds) and seconds > 0):
            raise ValueError(f"a duration must be a number of seconds above 0, not {seconds}")
        far = math.log(seconds / published_mean)
        logs.append(prior.log_median + math.copysign(min(abs(far), _ODD), far) + prior.sigma**2 / 2)
    if not logs:
        return prior
    count = len(logs)
    middle = math.fsum(logs) / count
    squares = math.fsum((value - middle) ** 2 for value in logs)
    log_median = (_MEAN_WEIGHT * prior.log_median + count * middle) / (_MEAN_WEIGHT + count)
    variance = (_SIGMA_WEIGHT * prior.sigma**2 + squares) / (_SIGMA_WEIGHT + count - 1)
    return Spread(math.exp(log_median + variance / 2), math.sqrt(variance))


def usable(seconds: object) -> list[float]:
    """Of what is stored as durations, those that can be: numbers of seconds above 0, up to the provider's hour."""
    if not isinstance(seconds, list):
        return []
    numbers = [value for value in seconds if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return [float(value) for value in numbers if 0 < value <= DEADLINE_SECONDS]


def first_wait(spread: Spread, polls: float = POLLS_PER_VIDEO) -> int:
    """Seconds from submission to the first poll of a job that may be asked after ``polls`` times on average."""
    return max(1, min(round(_first(spread, _reach(spread, polls))), math.floor(DEADLINE_SECONDS)))


def next_wait(age: float, spread: Spread, polls: float = POLLS_PER_VIDEO) -> int:
    """Seconds to the next poll of a job that was still running at ``age``.

    Far beyond the mean the waits grow to a minute; they never go past the deadline, so that the last poll
    still finds the record.
    """
    reach = _reach(spread, polls)
    first = _first(spread, reach)
    if age < first / 2:  # asked early, by whomever: the plan for the first poll still stands
        wait = first - age
    else:
        wait = _later(age, spread, reach)
        wait = max(wait, min((age - _STUCK * spread.mean) / 10, LONGEST_STEP_SECONDS))
    return max(1, min(round(wait), math.floor(DEADLINE_SECONDS - age)))


def submit_again_after(attempts: int) -> float:
    """Seconds until a submit that certainly queued nothing is tried again: 15, 30, 60, … up to 15 minutes."""
    return float(min(900, 15 * 2 ** max(0, attempts - 1)))


def _reach(spread: Spread, polls: float) -> float:
    """The integral of sqrt(h) between two polls."""
    if not (math.isfinite(polls) and polls > 0.5):
        raise ValueError(f"polls must be a number above 0.5, not {polls}")
    return _scale(spread) * _kappa(spread.sigma) / (polls - 1.5 + _FIRST_REACH)


def _scale(spread: Spread) -> float:
    return math.sqrt(spread.sigma * math.exp(spread.log_median))


def _first(spread: Spread, reach: float) -> float:
    """The time at which the integral of sqrt(h) from submission on is 4/3 of ``reach``."""
    steps = _hazard_sums(spread.sigma)
    wanted = _FIRST_REACH * reach / _scale(spread)
    for number, total in enumerate(steps):
        if total >= wanted:
            before = steps[number - 1] if number else 0.0
            z = _Z_FROM + _Z_STEP * (number + (wanted - before) / (total - before))
            return min(math.exp(spread.log_median + spread.sigma * z), DEADLINE_SECONDS)
    return DEADLINE_SECONDS


def _later(age: float, spread: Spread, reach: float) -> float:
    """The wait w = reach / sqrt(h), with h halfway through the wait; the mean at most."""
    low, high = 0.0, spread.mean
    for _ in range(20):
        wait = (low + high) / 2
        if wait * math.sqrt(_hazard(age + wait / 2, spread)) < reach:
            low = wait
        else:
            high = wait
    return high


def _hazard(age: float, spread: Spread) -> float:
    """The chance per second that a job still running at ``age`` ends now."""
    z = (math.log(age) - spread.log_median) / spread.sigma
    return _mills(z) / (spread.sigma * age)


def _mills(z: float) -> float:
    """Density over upper tail of the standard normal distribution."""
    if z > 25:  # the tail's own number is near the smallest a float can hold
        return z + 1 / z
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / (math.erfc(z / math.sqrt(2)) / 2)


@lru_cache(maxsize=64)
def _hazard_sums(sigma: float) -> tuple[float, ...]:
    """The integral of sqrt(h) up to each step of z, for a lognormal whose sigma * median is 1."""
    total, sums = 0.0, []
    for number in range(_Z_COUNT):
        z = _Z_FROM + (number + 0.5) * _Z_STEP
        total += math.sqrt(_mills(z)) * math.exp(sigma * z / 2) * _Z_STEP
        sums.append(total)
    return tuple(sums)


@lru_cache(maxsize=64)
def _kappa(sigma: float) -> float:
    """The integral of sqrt(f S), for a lognormal whose sigma * median is 1."""
    total = 0.0
    for number in range(_Z_COUNT):
        z = _Z_FROM + (number + 0.5) * _Z_STEP
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        total += math.sqrt(density * math.erfc(z / math.sqrt(2)) / 2) * math.exp(sigma * z / 2) * _Z_STEP
    return total
