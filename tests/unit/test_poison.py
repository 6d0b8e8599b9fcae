"""Impossible durations and prices: dropped when they are read, whoever wrote them."""

from typing import Any

import pytest
from seedance.jobs import catalogue
from seedance.pacing import poll_schedule
from seedance.provider import payloads
from seedance.provider.payloads import history_row, price

pytestmark = pytest.mark.hostile(kind="answer")

MODEL = "seedance-1.0-pro-fast"
POISON = [0, 0.0, -5, 1e20, True, "soon", None, [60.0], {"a": 1}]


def write(world: Any, value: dict[str, Any]) -> None:
    item = {"job_id": {"S": f"durations#{MODEL}"}, "seconds": value}
    world.aws["dynamodb"].put_item(TableName="jobs-of-tests", Item=item)


@pytest.mark.parametrize("value", POISON)
def test_an_impossible_duration_is_not_used(value: object) -> None:
    assert poll_schedule.usable([60.0, value, 61]) == [60.0, 61.0]
    poll_schedule.estimate(catalogue.find(MODEL).average_seconds, poll_schedule.usable([value]))


def test_durations_that_are_no_list_are_ignored() -> None:
    assert poll_schedule.usable("60") == poll_schedule.usable(None) == []


@pytest.mark.parametrize(
    ("stored", "known"),
    [
        ({"L": [{"N": "0.0"}, {"N": "60"}, {"S": "soon"}]}, [60.0]),
        ({"L": [{"N": "1e20"}]}, []),
        ({"S": "60"}, []),
        ({"L": [{"N": "61.5"}]}, [61.5]),
    ],
)
def test_a_corrupt_record_of_durations_stops_no_submit(world: Any, stored: dict[str, Any], known: list[float]) -> None:
    write(world, stored)
    assert world.durations.of(MODEL) == known


@pytest.mark.parametrize("cost", [-5, -0.01, 1e20, "NaN", float("nan"), "inf", 1000.01, True, None, "free", {}])
def test_an_impossible_price_is_not_reported(cost: object) -> None:
    assert price(cost) is None
    assert payloads.standing({"status": "QUEUED", "metrics": {"cost": cost}}).cost_usd is None
    row = history_row({"request_id": "r", "credits_deduction": cost})
    assert row is not None
    assert row.cost_usd is None


@pytest.mark.parametrize("cost", [0, 0.25, "0.25", 12])
def test_a_price_is_a_number_of_dollars(cost: object) -> None:
    assert price(cost) == float(str(cost))
