"""Compares the polling schedule with the optimum and with common alternatives.

    python -m benchmarks.polling

Durations are lognormal around the models' published means, with coefficients of variation (CV) of 0.3, 0.45 and
0.6. The lag is the time between a video's end and the poll that sees it. The mean number of polls and the mean lag are
calculated from the distribution's integrals, not simulated; only the durations that the schedule learns from are random
(seeded). The optimum comes from dynamic programming over all poll times. Ratios compare a schedule with the optimum
that has the same mean number of polls.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate, count, repeat
from statistics import median

from seedance.jobs import catalogue
from seedance.pacing.poll_schedule import DEADLINE_SECONDS, POLLS_PER_VIDEO, Spread, estimate, first_wait, next_wait

CVS = (0.3, 0.45, 0.6)
FACTORS = (0.6, 1.0, 1.6)
JOBS = (0, 5, 10, 20)
DRAWS = 60
SEED = 20261121

Cell = tuple[float, float]
Table = list[list[str]]


@dataclass(frozen=True)
class Cost:
    """What a schedule costs per job on average: polls, and seconds of lag."""

    polls: float
    lag: float

    def against_optimum(self, true: Spread) -> float:
        """The lag divided by that of the optimum with the same mean number of polls."""
        return self.lag / (optimal_lag(true.sigma, self.polls) * true.mean)


def spread_of(mean: float, cv: float) -> Spread:
    """The spread of a lognormal distribution with this mean and coefficient of variation."""
    return Spread(mean, math.sqrt(math.log1p(cv**2)))


def cells() -> list[Cell]:
    """The published mean and the CV of every case."""
    return [(float(model.average_seconds), cv) for model in catalogue.MODELS.values() for cv in CVS]


def cost(true: Spread, polls_at: Iterator[float]) -> Cost:
    """The mean polls and lag of polls at these ages (ascending) when durations are distributed like ``true``."""
    polls = lag = before = 0.0
    done, sum_done = 0.0, 0.0
    for age in polls_at:
        polls += 1 - done
        done_then, sum_then = ended(true, age)
        lag += sum_then - sum_done - done * (age - before)
        before, done, sum_done = age, done_then, sum_then
        if 1 - done < 1e-10 or age >= DEADLINE_SECONDS:
            break
    return Cost(polls, lag)


def ended(true: Spread, age: float) -> tuple[float, float]:
    """The share of jobs that ended by ``age``, and the integral of that share up to ``age``."""
    z = (math.log(age) - true.log_median) / true.sigma
    share = math.erfc(-z / math.sqrt(2)) / 2
    return share, age * share - true.mean * math.erfc(-(z - true.sigma) / math.sqrt(2)) / 2


# The optimum. A lognormal's optimum scales with its mean, so one per sigma is enough, for a mean of 1.
_STEP = 1 / 1000
_HORIZON = 4.6  # standard deviations; 2 jobs in a million run longer


@cache
def _grid(sigma: float) -> tuple[list[float], list[float]]:
    true = Spread(1.0, sigma)
    number = math.ceil(math.exp(true.log_median + _HORIZON * sigma) / _STEP)
    pairs = [(0.0, 0.0)] + [ended(true, k * _STEP) for k in range(1, number)]
    return [share for share, _ in pairs], [total for _, total in pairs]


def optimum(sigma: float, price: float) -> Cost:
    """The cost of the schedule with the smallest lag + price * polls, with polls on a fine grid of times.

    ``best[k]`` is the remaining cost after a poll at time k that found the job running, multiplied by the probability
    of that. The time of the next poll increases with k, so the search continues downwards from the previous one.
    """
    shares, totals = _grid(sigma)
    last = len(shares) - 1
    best, following = [0.0] * (last + 1), [last] * (last + 1)
    upper = last
    for k in range(last - 1, -1, -1):
        share, fixed = shares[k], price * (1 - shares[k]) - totals[k]
        least, at = math.inf, upper
        slope = share * _STEP
        for j in range(upper, k, -1):
            value = totals[j] - slope * (j - k) + best[j]
            if value < least:
                least, at = value, j
            elif value > least + 1e-3 * price:
                break
        best[k], following[k], upper = least + fixed, at, at
    ages, k = [], 0
    while k < last:
        k = following[k]
        ages.append(k * _STEP)
    return cost(Spread(1.0, sigma), iter(ages))


@cache
def _curve(sigma: float) -> tuple[list[float], list[float]]:
    """The mean polls, and lag * (polls - 1/2), of optima from few polls to many."""
    found = sorted((c.polls, c.lag * (c.polls - 0.5)) for c in (optimum(sigma, 10 ** (-k / 8)) for k in range(2, 37)))
    return [polls for polls, _ in found], [product for _, product in found]


@cache
def optimum_at(sigma: float, polls: float) -> Cost:
    """The optimum with this mean number of polls, by bisection of the price of a poll."""
    low, high = 1e-6, 1.0
    for _ in range(22):
        price = math.sqrt(low * high)
        found = optimum(sigma, price)
        low, high = (low, price) if found.polls < polls else (price, high)
    return found


def optimal_lag(sigma: float, polls: float) -> float:
    """The smallest possible mean lag with this mean number of polls, for a mean duration of 1."""
    xs, ys = _curve(sigma)
    right = min(max(bisect_left(xs, polls), 1), len(xs) - 1)
    (x0, x1), (y0, y1) = xs[right - 1 : right + 1], ys[right - 1 : right + 1]
    return (y0 + (y1 - y0) * (polls - x0) / (x1 - x0)) / (polls - 0.5)


# The contenders. Each returns the ages at which it polls a job that never ends.
def hazard(spread: Spread, polls: float = POLLS_PER_VIDEO) -> Iterator[float]:
    """The pipeline's own schedule, in whole seconds like the workflow's waits."""
    age = float(first_wait(spread, polls))
    while True:
        yield age
        age += next_wait(age, spread, polls)


def fixed(step: float) -> Iterator[float]:
    """Poll every ``step`` seconds."""
    return (step * k for k in count(1))


def p10_then(published: float, step: float) -> Iterator[float]:
    """Poll first when the fastest tenth should have ended (at CV 0.45), then every ``step`` seconds."""
    prior = Spread(published)
    first = math.exp(prior.log_median - 1.2815515655446004 * prior.sigma)
    return (first + step * k for k in count())


def backoff(factor: float, longest: float = 60.0) -> Iterator[float]:
    """Wait 2 s first, then each time ``factor`` times as long, up to a minute."""
    return accumulate(accumulate(repeat(2.0), lambda wait, _: min(longest, wait * factor)))


def tuned(true: Spread, schedule: Callable[[float], Iterator[float]], low: float, high: float) -> Cost:
    """The cost of a schedule whose step or factor is tuned so that it polls as often as ours."""
    for _ in range(40):
        middle = (low + high) / 2
        found = cost(true, schedule(middle))
        low, high = (low, middle) if found.polls < POLLS_PER_VIDEO else (middle, high)
    return found


def contenders() -> Table:
    """Each schedule unchanged, and tuned to six polls."""
    peers: dict[str, tuple[Callable[[float], Iterator[float]], Callable[[float, float], Iterator[float]] | None]] = {
        "fixed 2 s": (lambda _: fixed(2), None),
        "fixed 10 s": (lambda _: fixed(10), lambda _, step: fixed(step)),
        "fixed 30 s": (lambda _: fixed(30), None),
        "p10, then 10 s": (lambda mean: p10_then(mean, 10), p10_then),
        "backoff 2 s x 2": (lambda _: backoff(2), lambda _, factor: backoff(factor)),
    }
    rows = [["schedule", "polls", "lag, s", "lag / optimum, median", "worst", "at 6 polls, median", "worst"]]
    trues = [(mean, spread_of(mean, cv)) for mean, cv in cells()]
    best = [optimum_at(true.sigma, POLLS_PER_VIDEO) for _, true in trues]
    lags = [found.lag * true.mean for found, (_, true) in zip(best, trues, strict=True)]
    rows.append(_row("optimum", [c.polls for c in best], lags, [1.0] * len(best), [1.0] * len(best)))
    ours: dict[str, Callable[[float, Spread], Iterator[float]]] = {
        "ours, spread known": lambda _, true: hazard(true),
        "ours, published mean only": lambda mean, _: hazard(Spread(mean)),
    }
    for name, ages in ours.items():
        costs = [cost(true, ages(mean, true)) for mean, true in trues]
        ratios = [c.against_optimum(true) for c, (_, true) in zip(costs, trues, strict=True)]
        rows.append(_row(name, [c.polls for c in costs], [c.lag for c in costs], ratios, ratios))
    for name, (as_is, tunable) in peers.items():
        costs = [cost(true, as_is(mean)) for mean, true in trues]
        ratios = [c.against_optimum(true) for c, (_, true) in zip(costs, trues, strict=True)]
        even: list[float] = []
        if tunable:
            low, high = (1.01, 3.0) if "backoff" in name else (0.5, 200.0)
            for mean, true in trues:
                even.append(tuned(true, partial(tunable, mean), low, high).against_optimum(true))
        rows.append(_row(name, [c.polls for c in costs], [c.lag for c in costs], ratios, even))
    return rows


def by_spread() -> Table:
    """Our schedule by CV and by what it knows, set to six polls."""
    rows = [["CV", "known", "polls", "lag / optimum, median", "p90", "worst"]]
    chance = random.Random(SEED)  # noqa: S311 - made-up durations
    for cv in CVS:
        means = sorted({mean for mean, _ in cells()})
        known = {
            "mean and CV": [(m, spread_of(m, cv)) for m in means],
            "published mean": [(m, Spread(m)) for m in means],
            "20 durations": [(m, learnt(chance, m, spread_of(m, cv), 20)) for m in means for _ in range(DRAWS)],
        }
        for name, cases in known.items():
            costs = [(cost(spread_of(mean, cv), hazard(spread)), spread_of(mean, cv)) for mean, spread in cases]
            ratios = sorted(c.against_optimum(true) for c, true in costs)
            polls = median(c.polls for c, _ in costs)
            rows.append([f"{cv:g}", name, f"{polls:.2f}", *_three(ratios)])
    return rows


def learning() -> Table:
    """How fast the schedule adapts to a model whose true mean is not the published one."""
    rows = [["true / published mean", "jobs seen", "polls", "lag / optimum, median", "p90", "worst CV's median"]]
    chance = random.Random(SEED + 1)  # noqa: S311 - made-up durations
    for factor in FACTORS:
        for jobs in JOBS:
            ratios: dict[float, list[float]] = {cv: [] for cv in CVS}
            polls = []
            for published, cv in cells():
                true = spread_of(published * factor, cv)
                for _ in range(DRAWS // 2 if jobs else 1):
                    found = cost(true, hazard(learnt(chance, published, true, jobs)))
                    polls.append(found.polls)
                    ratios[cv].append(found.against_optimum(true))
            every = sorted(ratio for some in ratios.values() for ratio in some)
            worst = max(median(some) for some in ratios.values())
            rows.append([f"{factor:g}", str(jobs), f"{median(polls):.2f}", *_three(every)[:2], f"{worst:.3f}"])
    return rows


def learnt(chance: random.Random, published: float, true: Spread, jobs: int) -> Spread:
    """The spread that the pipeline learns from a number of durations."""
    return estimate(published, [chance.lognormvariate(true.log_median, true.sigma) for _ in range(jobs)])


def _row(name: str, polls: list[float], lags: list[float], ratios: list[float], even: list[float]) -> list[str]:
    tuned_to_six = [f"{median(even):.3f}", f"{max(even):.3f}"] if even else ["-", "-"]
    as_it_comes = [f"{median(polls):.1f}", f"{median(lags):.1f}", f"{median(ratios):.3f}", f"{max(ratios):.3f}"]
    return [name, *as_it_comes, *tuned_to_six]


def _three(ratios: Sequence[float]) -> list[str]:
    return [f"{median(ratios):.3f}", f"{ratios[math.ceil(0.9 * len(ratios)) - 1]:.3f}", f"{ratios[-1]:.3f}"]


def table(rows: Table) -> str:
    """The rows as a Markdown table. The first row is the header."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def main() -> str:
    """Print the three tables, and return them."""
    parts = [
        "The cases: each model's published mean, each with CV 0.3, 0.45 and 0.6. Median and worst are of these.",
        table(contenders()),
        f"Our schedule by what it knows, set to {POLLS_PER_VIDEO:g} polls; {DRAWS} draws of 20 durations per case.",
        table(by_spread()),
        f"Our schedule when the published mean is wrong; {DRAWS // 2} draws per case.",
        table(learning()),
    ]
    text = "\n\n".join(parts)
    print(text)
    return text


if __name__ == "__main__":
    main()
