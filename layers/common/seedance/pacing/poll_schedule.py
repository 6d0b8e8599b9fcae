"""When to poll next. Pure. All times are in the provider's seconds.

The durations of a model's videos are distributed around their mean, approximately lognormally. A poll is most useful
when the job has probably just ended, so the time between polls follows the hazard rate h, the probability per second
that a job still running ends now. For a given mean number of polls, the mean lag between the end of a job and the poll
that sees it is smallest if the waits are r / sqrt(h). The first wait ends where the integral of sqrt(h) reaches 4/3 r:
compared with the optimum found by dynamic programming, 1 r loses 2% and 4/3 r 0.2%. With f the density, S the share
still running and K the integral of sqrt(f S), a job then has K / r + 1/6 polls on average, and the mean lag is about
K**2 / (2 (polls - 1/2)). docs/benchmarks.md compares this with the optimum, with fixed steps and with backoff.

The mean and the spread are learned: they start from the published mean and are corrected by the latest durations.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

DEADLINE_SECONDS = 3600.0
"""The provider keeps a request's record for one hour after submission (its model pages), then deletes it."""

CLOCKS_APART_SECONDS = 24 * 3600.0
"""How much the provider's clock may differ from ours, including a time without a time zone. The history is read from
this long before a submit to this long after now."""

HISTORY_SPAN_SECONDS = 29 * 24 * 3600.0
"""The longest time span of one query. The history allows 31 days, and queries are for whole days."""

RESULT_KEPT_SECONDS = 7 * 24 * 3600.0
"""How long the provider keeps a result's file (provider's contract)."""

LATEST_RESULT_SECONDS = 24 * 3600.0
"""No video is made later than this after its submit. The history has shown videos hours after their hour."""

USUAL_SECONDS = 80.0
"""The mean for a job whose model's mean is not known. The published means are around this value."""

POLLS_PER_VIDEO = 6.0
"""The mean number of polls with which the schedule was measured. A stack uses its PollsPerVideo."""

STEP_SECONDS = 10.0
"""The wait after a response that does not say usably whether the job is running or done."""
LONGEST_STEP_SECONDS = 60.0
"""The longest wait between polls of a job that takes much longer than expected."""
UNREACHABLE_STEP_SECONDS = 30.0
"""The wait after a poll without a result, because the provider is failing or rejects our key."""

HISTORY_PATIENCE_SECONDS = 3600.0
"""How long after its deadline a job waits for an unavailable history before it expires."""

PUBLISHED_SIGMA = math.sqrt(math.log1p(0.45**2))
"""The assumed standard deviation of the duration's logarithm: a coefficient of variation of 0.45."""

DURATIONS_KEPT = 20
"""How many of a model's latest durations are used."""

_MEAN_WEIGHT = 1.0
_SIGMA_WEIGHT = 3.0
"""How many observations the published mean and the assumed spread count as."""
_ODD = math.log(8)
"""The logarithm of a factor. A duration further than that from the published mean counts as if at that distance."""

_FIRST_REACH = 4 / 3
"""The reach of the first wait, relative to that of the later ones."""
_STUCK = 3.0
"""From this multiple of the mean on, a job counts as stuck rather than late and is polled less and less often."""
_Z_FROM, _Z_STEP, _Z_COUNT = -8.0, 0.1, 160


def history_window(began: float, now: float, since: float | None = None) -> tuple[float, float]:
    """The time span in which the history lists a request that was sent at ``began``, or since ``since`` if given.

    All three are Unix times. Allows for differing clocks, and is short enough for one query.
    """
    until = min(now, began + CLOCKS_APART_SECONDS) + CLOCKS_APART_SECONDS
    since = (began if since is None else since) - CLOCKS_APART_SECONDS
    return max(since, until - HISTORY_SPAN_SECONDS), until


@dataclass(frozen=True)
class Spread:
    """The durations of a model's videos: the mean in seconds, and the standard deviation of the logarithm."""

    mean: float
    sigma: float = PUBLISHED_SIGMA

    def __post_init__(self) -> None:
        """Raise ValueError if a value is not a number above 0."""
        for name, value in (("mean", self.mean), ("sigma", self.sigma)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a number above 0, not {value}")

    @property
    def log_median(self) -> float:
        """The mean of the duration's logarithm."""
        return math.log(self.mean) - self.sigma**2 / 2


def estimate(published_mean: float, samples: Sequence[float]) -> Spread:
    """The spread of a model's durations, from the published mean and the latest durations, oldest first.

    Both are weighted in the logarithm, like the conjugate prior of a normal distribution: the published mean counts
    as one observation, the assumed coefficient of variation as three. Raises ValueError for a duration that is not a
    number above 0.
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
    """The valid ones of the stored durations: seconds above 0, up to the provider's hour."""
    if not isinstance(seconds, list):
        return []
    numbers = [value for value in seconds if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return [float(value) for value in numbers if 0 < value <= DEADLINE_SECONDS]


def first_wait(spread: Spread, polls: float = POLLS_PER_VIDEO) -> int:
    """Seconds from submission to the first poll of a job that may be polled ``polls`` times on average."""
    return max(1, min(round(_first(spread, _reach(spread, polls))), math.floor(DEADLINE_SECONDS)))


def next_wait(age: float, spread: Spread, polls: float = POLLS_PER_VIDEO) -> int:
    """Seconds to the next poll of a job that was still running at ``age``.

    Far beyond the mean, the waits grow to a minute. They never go past the deadline, so that the last poll still
    finds the record.
    """
    reach = _reach(spread, polls)
    first = _first(spread, reach)
    if age < first / 2:  # this poll came early, so the plan for the first poll still applies
        wait = first - age
    else:
        wait = _later(age, spread, reach)
        wait = max(wait, min((age - _STUCK * spread.mean) / 10, LONGEST_STEP_SECONDS))
    return max(1, min(round(wait), math.floor(DEADLINE_SECONDS - age)))


def submit_again_after(attempts: int) -> float:
    """Seconds until a submit that certainly queued nothing is retried: 15, 30, 60, … up to 15 minutes."""
    return float(min(900, 15 * 2 ** max(0, attempts - 1)))


def _reach(spread: Spread, polls: float) -> float:
    """The integral of sqrt(h) between two polls."""
    if not (math.isfinite(polls) and polls > 0.5):
        raise ValueError(f"polls must be a number above 0.5, not {polls}")
    return _scale(spread) * _kappa(spread.sigma) / (polls - 1.5 + _FIRST_REACH)


def _scale(spread: Spread) -> float:
    return math.sqrt(spread.sigma * math.exp(spread.log_median))


def _first(spread: Spread, reach: float) -> float:
    """The time at which the integral of sqrt(h) since submission reaches 4/3 of ``reach``."""
    steps = _hazard_sums(spread.sigma)
    wanted = _FIRST_REACH * reach / _scale(spread)
    for number, total in enumerate(steps):
        if total >= wanted:
            before = steps[number - 1] if number else 0.0
            z = _Z_FROM + _Z_STEP * (number + (wanted - before) / (total - before))
            return min(math.exp(spread.log_median + spread.sigma * z), DEADLINE_SECONDS)
    return DEADLINE_SECONDS


def _later(age: float, spread: Spread, reach: float) -> float:
    """The wait w = reach / sqrt(h), with h taken halfway through the wait. At most the mean."""
    low, high = 0.0, spread.mean
    for _ in range(20):
        wait = (low + high) / 2
        if wait * math.sqrt(_hazard(age + wait / 2, spread)) < reach:
            low = wait
        else:
            high = wait
    return high


def _hazard(age: float, spread: Spread) -> float:
    """The probability per second that a job still running at ``age`` ends now."""
    z = (math.log(age) - spread.log_median) / spread.sigma
    return _mills(z) / (spread.sigma * age)


def _mills(z: float) -> float:
    """Density divided by upper tail probability of the standard normal distribution."""
    if z > 25:  # the tail probability is near the smallest number that a float can hold
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
