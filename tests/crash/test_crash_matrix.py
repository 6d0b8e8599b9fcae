"""A sample of the crash matrix, as large as `make test` has time for; `python tests/crash/matrix.py` runs all of it."""

from typing import Any

import faults
import matrix
import pytest
from scenarios import SCENARIOS, Scenario
from stage import Stage
from wire import Call

from tests.integration.pipeline import template

SAMPLED = 6
"""Points of each scenario. `make reliability` plays all of them."""

MANY = 60
"""Points of the two main ways: about every third."""


SERVICES = {"stepfunctions": "states"}
ACTIONS = {"TransactWriteItems": "UpdateItem"} | dict.fromkeys(
    ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"), "PutObject"
)
"""Where the permission is not named after the call (IAM's service authorization reference)."""


def may(call: Call) -> bool:
    """Whether the function's policy in the template allows its calls; calls to the provider need no policy."""
    if call.name[:1].isupper():
        return True
    service, operation = call.name.split(".")
    action = f"{SERVICES.get(service, service)}:{ACTIONS.get(operation, operation)}"
    policies: Any = template()[f"{call.verb.capitalize()}Function"]["Properties"]["Policies"]
    return any(action in str(statement["Action"]) for policy in policies for statement in policy["Statement"])


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_broken_call_neither_loses_a_job_nor_buys_it_twice(servers: Stage, scenario: Scenario) -> None:
    calls = matrix.clean(servers, scenario)
    assert not [call for call in calls for part in faults.NOT_CALLED.values() if part in call.name]
    assert [str(call) for call in calls if not may(call)] == []
    points = matrix.points(scenario, calls)
    assert len(points) > len(calls) * 3
    chosen = matrix.sample(points, MANY if scenario.always else SAMPLED)
    outcomes = [matrix.judge(servers, point) for point in chosen]
    assert [(str(outcome.point), outcome.violations) for outcome in outcomes if outcome.violations] == []


def test_every_function_that_makes_calls_is_covered(servers: Stage) -> None:
    names = ("API call, v2", "v1, answer is the video", "uncertain: adopted", "failed at the provider")
    met = {call.verb for one in SCENARIOS if one.name in names for call in matrix.clean(servers, one)}
    assert met == {"api", "submit", "poll", "generate", "finalize", "fail", "reconcile"}
