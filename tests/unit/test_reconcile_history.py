"""What a round of reconcile reads of the history: each list once, and within limits for all jobs together."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from past import OTHER, history, row
from seedance import reconcile as module
from seedance.jobs.job import Job, State
from seedance.reconcile import HISTORY_SECONDS, ROUND_SECONDS, Reconcile

pytestmark = pytest.mark.hostile(kind="answer")

THIRD = "up-00000000000000000000000000000000"
FOURTH = "up-11111111111111111111111111111111"


@pytest.fixture
def asked(world: Any) -> Callable[[], list[str]]:
    """The models whose lists were requested since the last call."""

    def models() -> list[str]:
        found = [request.url.params["model_name"] for request in world.wire.requests]
        world.wire.requests.clear()
        return found

    return models


def test_the_lost_jobs_of_a_model_share_a_list(
    world: Any, reconcile: Reconcile, uncertain: Callable[..., Job], asked: Callable[[], list[str]]
) -> None:
    for number, job_id in enumerate(("up-" + "1" * 32, OTHER, THIRD)):
        uncertain(60 - number, job_id=job_id)
    world.wire.will(history(row(world, "req-1", names=OTHER), row(world, "req-2", names=THIRD)))
    assert reconcile() == {"resolved": 2}
    assert len(asked()) == 1
    assert world.job(OTHER).request_id == "req-1"
    assert world.job(THIRD).request_id == "req-2"


@pytest.fixture
def lost(uncertain: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lost jobs of different models, and only one request for the history in a round."""
    monkeypatch.setattr(module, "HISTORY_REQUESTS", 1)
    uncertain(60, model="seedance-pro")
    uncertain(50, model="seedance-1.5-pro", job_id=OTHER)


@pytest.fixture
def unpriced(world: Any, put: Callable[..., Job]) -> None:
    """A finished job of a third model whose price is not known yet."""
    sold = {"request_id": "req-7", "submitted_at": world.clock.now - 700, "notified_at": 1.0, "cost_usd": None}
    put(State.COMPLETED, 650, job_id=THIRD, model="seedance-2.0-mini", **sold)


@pytest.mark.usefixtures("lost", "unpriced")
def test_what_is_left_over_comes_first_in_the_next_round(
    world: Any, reconcile: Reconcile, asked: Callable[[], list[str]]
) -> None:
    expected = ["seedance-pro", "seedance-1.5-pro", "seedance-2.0-mini", "seedance-pro", "seedance-1.5-pro"]
    for number, model in enumerate(expected):
        priced = model == "seedance-2.0-mini"
        world.wire.will(history(*([row(world, "req-7", credits_deduction=0.4)] if priced else [])))
        assert reconcile() == ({"priced": 1} if priced else {}), number
        assert asked() == [model]
    assert world.counted() == {}


@pytest.mark.usefixtures("lost", "unpriced")
def test_a_step_that_is_left_over_again_comes_last(
    world: Any, reconcile: Reconcile, uncertain: Callable[..., Job], asked: Callable[[], list[str]]
) -> None:
    """Otherwise many lost jobs would keep the price of a finished video from being looked up."""
    uncertain(40, model="seedance-2.0-fast", job_id=FOURTH)
    first, second, last = "seedance-pro", "seedance-1.5-pro", "seedance-2.0-fast"
    for number, model in enumerate((first, second, "seedance-2.0-mini", first, second, last)):
        world.wire.will(history(row(world, "req-7", credits_deduction=0.4)) if "mini" in model else history())
        reconcile()
        assert asked() == [model], number


@pytest.mark.usefixtures("lost")
def test_a_step_without_the_history_is_done_though_no_request_is_left(
    world: Any, reconcile: Reconcile, put: Callable[..., Job]
) -> None:
    put(State.RECEIVED, 2000, job_id=THIRD)
    world.wire.will(history())
    assert reconcile() == {"enqueued": 1}


def test_a_history_that_can_not_be_reached_is_asked_once(
    world: Any, reconcile: Reconcile, uncertain: Callable[..., Job]
) -> None:
    for number, job_id in enumerate(("up-" + "1" * 32, OTHER, THIRD)):
        uncertain(60 - number, job_id=job_id)
    world.wire.will(httpx.ReadTimeout("slow"))
    assert reconcile() == {}
    assert len(world.wire.requests) == 1
    assert world.counted() == {"ReconcileFailures": 3}


def test_a_round_that_begins_to_read_at_its_end_is_still_in_time(template: dict[str, Any]) -> None:
    timeout = template["Resources"]["ReconcileFunction"]["Properties"]["Timeout"]
    assert timeout >= ROUND_SECONDS + HISTORY_SECONDS + 10
