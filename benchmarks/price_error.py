"""Measures how far estimates are from what is charged, before and after the provider raises its prices by a tenth.

    python -m benchmarks.price_error

The provider is the stand-in, which bills by tokens from a price table of its own. For every model and a choice of
resolutions, lengths, shapes and audio, videos are made one after the other: 20 at the first price, then 20 at the
raised one. The estimate of each is compared with its bill, and then the bill is learned, by the pipeline's own code on
a table in memory. Once more with true prices that are half and twice as high as those that we know: of three models,
only an average is published.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from unittest import mock

from seedance.aws.attributes import written_item
from seedance.aws.job_table import JobTable
from seedance.clock import Clock
from seedance.errors import InvalidRequest
from seedance.jobs import bills as learned
from seedance.jobs import catalogue, prices
from seedance.jobs.bills import FRESH_SECONDS, Bills
from seedance.jobs.job import ParameterValues

from benchmarks.report import Table, publish
from local.sandbox.models import MODELS, cost_usd, read_order

VIDEOS = 20
RAISED = 1.1
KNOWN_WRONG = (0.5, 2.0)
OLD_FACTORS = {"480p": 0.5, "720p": 1.0, "1080p": 2.25}
"""Pixels relative to 720p, as the releases up to 0.2 counted them."""

SHOWN = (0, 1, VIDEOS - 1, VIDEOS, VIDEOS + 5, VIDEOS + 6, 2 * VIDEOS - 1)
"""The videos whose errors are shown, counted from 0: each follows as many bills."""

OPTIONS: dict[str, tuple[Any, ...]] = {
    "resolution": ("480p", "720p", "1080p"),
    "duration": (4, 5, 10, 15),
    "aspect_ratio": ("16:9", "1:1"),
    "generate_audio": (True, False),
}


class Minutes(Clock):
    """A clock that advances by a minute with each video, so that the bills are read anew."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Memory(JobTable):
    """A job table in memory, with the two calls that bills make."""

    def __init__(self, clock: Clock) -> None:
        self.items: dict[str, dict[str, list[Any]]] = {}
        client: Any = self
        super().__init__("jobs", client, clock)

    def get_item(self, *, Key: Any, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's names
        return {"Item": written_item(self.items.get(Key["job_id"]["S"], {}))}

    def append(self, key: str, name: str, value: Any, *, keep: int) -> list[Any]:
        stored = self.items.setdefault(key, {}).setdefault(name, [])
        stored.append(value)
        del stored[: -2 * keep]
        return stored


@dataclass(frozen=True)
class Case:
    """One setting of one model."""

    model: str
    parameters: ParameterValues

    def bill(self, factor: float) -> float:
        """What the stand-in charges."""
        return cost_usd(read_order(MODELS[self.model], {"prompt": "x", **self.parameters}), factor)


@dataclass
class Errors:
    """The errors of one way of estimating, in percent of the bill: a list per video, in the order of the videos."""

    by_video: list[list[float]] = field(default_factory=lambda: [[] for _ in range(2 * VIDEOS)])

    def after(self, bills: int) -> str:
        """Median and worst error of the estimate that follows this many bills."""
        found = self.by_video[bills]
        return f"{median(found):.1f} / {max(found):.1f}"


def cases() -> Iterator[Case]:
    """Every setting of OPTIONS that the model allows."""
    for slug, model in catalogue.MODELS.items():
        names = [name for name in OPTIONS if name in model.names]
        for values in itertools.product(*(OPTIONS[name] for name in names)):
            parameters = dict(zip(names, values, strict=True))
            try:
                catalogue.validate(model, {"prompt": "x", **parameters}, has_image=False)
            except InvalidRequest:
                continue
            yield Case(slug, parameters)


def by_average(case: Case) -> float:
    """The published average, whatever the setting."""
    return catalogue.MODELS[case.model].average_usd


def by_scaled_average(case: Case) -> float:
    """What the releases up to 0.2 did: the average, scaled by length and pixels."""
    return by_average(case) * float(case.parameters["duration"]) / 5 * OLD_FACTORS[case.parameters["resolution"]]


def by_formula(case: Case) -> float:
    """The published formula without bills."""
    return prices.published_usd(case.model, prices.setting(case.parameters))


def run(true: float) -> tuple[dict[str, Errors], list[int]]:
    """All cases, at ``true`` times the stand-in's prices and then at a tenth more.

    Returns the errors of each way of estimating, and after how many videos at the raised price the metric was above
    the alarm's threshold.
    """
    clock = Minutes()
    bills = Bills(Memory(clock))
    ways: dict[str, Callable[[Case], float]] = {
        "published average": by_average,
        "average, scaled by length and pixels": by_scaled_average,
        "published formula": by_formula,
        "**ours**: formula, then bills": lambda case: bills.estimate(case.model, case.parameters),
    }
    errors, rang = {name: Errors() for name in ways}, []
    reported: list[float] = []
    with mock.patch.object(learned, "percent", lambda _, value: reported.append(value)):
        for case in cases():
            late = 0
            for video in range(2 * VIDEOS):
                clock.now += FRESH_SECONDS
                bill = case.bill(true * (RAISED if video >= VIDEOS else 1.0))
                for name, way in ways.items():
                    errors[name].by_video[video].append(abs(way(case) / bill - 1) * 100)
                reported.clear()
                bills.learn(case.model, case.parameters, bill)
                if video >= VIDEOS and not late and max(reported) > prices.DRIFT_PERCENT:
                    late = video - VIDEOS + 1
            rang.append(late)
    return errors, rang


def main() -> None:
    """Print the table, and write it to docs/benchmarks.md."""
    rows: list[list[str]] = []
    rang: list[int] = []
    for true in (1.0, *KNOWN_WRONG):
        errors, found = run(true)
        rang = rang or found
        for name, one in errors.items():
            rows.append([name, f"{true:g}", *(one.after(bills) for bills in SHOWN)])
    cases_note = (
        f"Median / worst of {len(rang)} settings of all models: 480p to 1080p, 4 to 15 s, two shapes, with and without "
        "audio. The stand-in bills by tokens from its own price table. In the last rows its prices are half and twice "
        "as high, because of three models only an average is published."
    )
    drift_note = (
        f"With the first prices, PriceDriftPercent was above {prices.DRIFT_PERCENT:g} after {median(rang):g} videos at "
        f"the raised price (median; {min(rang)} to {max(rang)}; 0 would mean never)."
    )
    header = ["estimate", "true / known price", "first video", "1 bill", f"{VIDEOS - 1} bills"]
    header += ["first after + 10%", "5 bills later", "6 bills later", f"{VIDEOS - 1} bills later"]
    title = "Error of the price estimate, in percent of the bill"
    publish(Table("price_error", title, header, rows, [cases_note, drift_note]))


if __name__ == "__main__":
    main()
