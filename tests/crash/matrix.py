"""The crash matrix: every call of every scenario fails in every way. ``python tests/crash/matrix.py`` runs all of it.

The calls are recorded in a clean run of the scenario. Then the scenario runs once for each call and each way to fail,
until nothing changes any more, and the result is checked. The provider's clock is up to an hour off.
"""

import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from zlib import crc32

sys.path.insert(0, str(Path(__file__).parents[1]))  # for what all tests share; pytest finds it by itself

from scenarios import SCENARIOS, Scenario
from stage import Stage
from verdict import in_the_end
from wire import Call, How
from world import SKEWS, World


@dataclass(frozen=True)
class Point:
    """One call of one scenario that fails in one way."""

    scenario: Scenario
    call: Call
    how: How

    def __str__(self) -> str:
        return f"{self.scenario.name} | {self.call} | {self.how}"


@dataclass
class Outcome:
    """The result of a point."""

    point: Point
    end: str
    violations: list[str]


@dataclass
class Row:
    """A scenario's row of the table."""

    scenario: Scenario
    calls: list[Call]
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def violations(self) -> list[tuple[Point, str]]:
        return [(outcome.point, text) for outcome in self.outcomes for text in outcome.violations]

    @property
    def ends(self) -> Counter[str]:
        return Counter(outcome.end for outcome in self.outcomes)


def clean(stage: Stage, scenario: Scenario) -> list[Call]:
    """The calls of a run without failures, which must end as the scenario says."""
    found: list[str] = []
    world = scenario.play(stage, at_rest=lambda world: found.extend(in_the_end(world)))
    (job,) = world.all_jobs()
    end = (job.state, (job.error or {}).get("code", ""))
    if end != (scenario.ends, scenario.code) or found:
        raise AssertionError(f"{scenario.name}: the clean run ends in {end}; {found}; {world.log}")
    return world.wire.calls


def points(scenario: Scenario, calls: Iterable[Call]) -> list[Point]:
    """All points of a scenario."""
    return [Point(scenario, call, how) for call in calls for how in call.ways]


TRIES = 4
NEVER_MADE = "the call was never made"


def sample(found: list[Point], number: int, seed: int = 20) -> list[Point]:
    """``number`` of the points, the same ones every time."""
    return random.Random(seed).sample(found, min(number, len(found)))  # noqa: S311 - a repeatable choice, not a secret


def judge(stage: Stage, point: Point) -> Outcome:
    """Run a scenario with one failing call.

    The number of polls depends on the second in which a job started, so the last of many calls is not made in every
    run. In that case the scenario runs again.
    """
    for _ in range(TRIES):
        outcome = _played(stage, point)
        if outcome.violations != [NEVER_MADE]:
            break
    return outcome


def _played(stage: Stage, point: Point) -> Outcome:
    worlds: list[World] = []
    found: list[str] = []

    def arm(world: World) -> None:
        worlds.append(world)
        world.drift(SKEWS[crc32(str(point).encode()) % len(SKEWS)])  # the same skew every time
        world.wire.strike(point.call, point.how, nastier=crc32(str(point).encode()))

    try:
        point.scenario.play(stage, arm, lambda world: found.extend(in_the_end(world)))
    except Exception as error:  # noqa: BLE001 - any exception is a finding
        found.append(f"the run raised {error!r}")
    if not worlds[0].wire.struck:
        found.append(NEVER_MADE)
    return Outcome(point, "+".join(job.state for job in worlds[0].all_jobs()), found)


def rows(stage: Stage, scenarios: Iterable[Scenario] = SCENARIOS) -> Iterator[Row]:
    """The whole matrix, one scenario at a time."""
    for scenario in scenarios:
        row = Row(scenario, clean(stage, scenario))
        row.outcomes += map(partial(judge, stage), points(scenario, row.calls))
        yield row


if __name__ == "__main__":
    from report import main

    sys.exit(main())
