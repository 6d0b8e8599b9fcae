"""When to poll next. Pure; all times are in the provider's seconds.

A video's duration spreads around the model's published average. Polling before the fastest tenth can be
done buys nothing, so the first wait is the 10th percentile of a lognormal with that mean and a
coefficient of variation of 0.45: 0.53 of the mean. From there a steady step; "wait until p10, then every
10 s" was simulated at 6 polls a job for a mean lag of 5.7 s, where the best possible is 5.3 s and a fixed
interval gives 9.0 s. A job that is far beyond its time is asked after less and less often.
"""

import math

DEADLINE_SECONDS = 3600.0
"""The provider keeps a request's record for an hour after submission (its model pages); then it is gone."""

STEP_SECONDS = 10.0
LONGEST_STEP_SECONDS = 60.0
UNREACHABLE_STEP_SECONDS = 30.0
"""Wait after a poll that learned nothing: the provider is in trouble, or our key is."""

HISTORY_PATIENCE_SECONDS = 3600.0
"""How long beyond its deadline a job waits for a history that is out of reach, before it expires."""

_CV = 0.45
_P10_Z = -1.2815515655446004  # standard normal quantile of 0.1


def first_wait(expected: float) -> int:
    """Seconds from submission to the first poll of a job that takes ``expected`` on average."""
    variance = math.log1p(_CV**2)
    tenth_percentile = expected * math.exp(-variance / 2 + _P10_Z * math.sqrt(variance))
    return max(1, round(tenth_percentile))


def next_wait(age: float, expected: float) -> int:
    """Seconds to the next poll of a job that was still running at ``age``.

    Steady up to twice the expected duration, then growing by a tenth of the age; never past the deadline,
    so that the last poll still finds the record.
    """
    step = STEP_SECONDS if age < 2 * expected else max(STEP_SECONDS, age / 10)
    remaining = DEADLINE_SECONDS - age
    return max(1, math.floor(min(step, LONGEST_STEP_SECONDS, max(remaining, 1.0))))


def submit_again_after(attempts: int) -> float:
    """Seconds until a submit that certainly queued nothing is tried again: 15, 30, 60, … up to 15 minutes."""
    return float(min(900, 15 * 2 ** max(0, attempts - 1)))
