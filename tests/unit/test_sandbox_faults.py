"""The sandbox's faults: which orders are accepted, and which requests they hit."""

import pytest

from local.sandbox.faults import Faults, InvalidFault
from local.sandbox.kinds import KINDS, STAGES, Moment


@pytest.mark.parametrize(("stage", "kind"), [(stage, kind.name) for kind in KINDS.values() for stage in kind.stages])
def test_every_kind_can_be_ordered_at_each_of_its_stages(stage: str, kind: str) -> None:
    assert stage in STAGES
    faults = Faults()
    ordered = faults.order({"on": stage, "kind": kind})
    assert faults.take(stage) is ordered
    assert faults.take(stage) is None, "once is the default"


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ("slow", "JSON object"),
        ({"on": "submit", "kind": "earthquake"}, "unknown kind"),
        ({"on": "submit", "kind": "http", "status": 418}, "unknown kind"),
        ({"on": "status", "kind": "reset-after-accept"}, "valid on submit, v1"),
        ({"kind": "slow"}, "valid on"),
        ({"on": "submit", "kind": "slow", "minutes": 1}, "no option"),
        ({"on": "submit", "kind": "slow", "times": -1}, "whole numbers"),
    ],
)
def test_an_invalid_order_is_refused_with_the_valid_values(wish: object, words: str) -> None:
    with pytest.raises(InvalidFault, match=words):
        Faults().order(wish)


def test_a_fault_hits_only_the_requests_it_is_meant_for() -> None:
    faults = Faults()
    faults.order({"on": "submit", "kind": "http", "status": 500, "model": "seedance-pro", "prompt_contains": "red"})
    assert faults.take("status", "seedance-pro", "a red car") is None
    assert faults.take("submit", "seedance-1.5-pro", "a red car") is None
    assert faults.take("submit", "seedance-pro", "a blue car") is None
    assert faults.take("submit", "seedance-pro", None) is None
    struck = faults.take("submit", "seedance-pro", "a red car")
    assert struck is not None
    assert struck.kind == "http-500"


def test_after_and_times_are_counted() -> None:
    faults = Faults()
    faults.order({"on": "status", "kind": "reset", "after": 2, "times": 3})
    assert [faults.take("status") is not None for _ in range(7)] == [False, False, True, True, True, False, False]


def test_zero_times_means_until_cleared() -> None:
    faults = Faults()
    faults.order({"on": "status", "kind": "reset", "times": 0})
    assert all(faults.take("status") for _ in range(50))
    assert faults.as_json()[0]["struck"] == 50
    faults.clear()
    assert faults.take("status") is None


def test_a_fault_that_is_put_back_strikes_again() -> None:
    faults = Faults()
    fault = faults.order({"on": "submit", "kind": "reset-after-accept"})
    assert faults.take("submit") is fault
    faults.put_back(fault)
    assert (fault.remaining, fault.struck) == (1, 0)
    assert faults.take("submit") is fault


def test_a_moment_can_be_left_out() -> None:
    faults = Faults()
    faults.order({"on": "result", "kind": "output-null"})
    assert faults.take("result", without=Moment.OUTPUT) is None
    assert faults.take("result") is not None
