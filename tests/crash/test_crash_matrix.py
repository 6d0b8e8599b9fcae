"""The crash matrix, as much of it as `make test` has time for; `python tests/crash/matrix.py` runs all of it."""

import faults
import matrix
import pytest
from scenarios import SCENARIOS, Scenario
from stage import Stage

SAMPLED = 6
"""Points of each scenario that is not broken at every call."""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_call_that_breaks_neither_loses_a_job_nor_buys_it_twice(servers: Stage, scenario: Scenario) -> None:
    calls = matrix.clean(servers, scenario)
    assert not [call for call in calls for part in faults.NOT_CALLED.values() if part in call.name]
    points = matrix.points(scenario, calls)
    assert len(points) > len(calls) * 3
    outcomes = [
        matrix.judge(servers, point) for point in (points if scenario.always else matrix.sample(points, SAMPLED))
    ]
    assert [(str(outcome.point), outcome.violations) for outcome in outcomes if outcome.violations] == []


def test_every_function_that_talks_to_somebody_is_broken(servers: Stage) -> None:
    names = ("API call, v2", "v1, answer is the video", "uncertain: adopted", "failed at the provider")
    met = {call.verb for one in SCENARIOS if one.name in names for call in matrix.clean(servers, one)}
    assert met == {"api", "submit", "poll", "generate", "finalize", "fail", "reconcile"}
