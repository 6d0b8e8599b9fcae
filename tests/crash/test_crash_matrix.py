"""A sample of the crash matrix, as large as `make test` has time for; `python tests/crash/matrix.py` runs all of it."""

from collections.abc import Callable

import faults
import matrix
import pytest
from scenarios import SCENARIOS, Scenario
from stage import Stage

SAMPLED = 1
"""Points of each scenario. `make reliability` plays all of them."""

MANY = 6
"""Points of the two main ways."""


@pytest.mark.hostile(kind="clock")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_broken_call_neither_loses_a_job_nor_buys_it_twice(
    servers: Stage, scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    calls = matrix.clean(servers, scenario)
    assert not [call for call in calls for part in faults.NOT_CALLED.values() if part in call.name]
    points = matrix.points(scenario, calls)
    assert len(points) > len(calls) * 3
    chosen = matrix.sample(points, MANY if scenario.always else SAMPLED)
    outcomes = [matrix.judge(servers, point) for point in chosen]
    assert [(str(outcome.point), outcome.violations) for outcome in outcomes if outcome.violations] == []
    record_property("tried", len(chosen))  # each with a clock of the provider that is up to an hour off


def test_every_function_that_makes_calls_is_covered(servers: Stage) -> None:
    names = ("API call, v2", "v1, answer is the video", "uncertain: adopted", "failed at the provider")
    names += ("webhooks: the receiver fails at first",)
    met = {call.verb for one in SCENARIOS if one.name in names for call in matrix.clean(servers, one)}
    assert met == {"api", "submit", "poll", "generate", "finalize", "fail", "reconcile", "announce", "deliver"}
