"""Reconcile: its metrics, the messages on the job, and the days of the history that it queries."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from past import ID, IMAGE, LOST, OTHER, history, row
from seedance.jobs.job import Job, State
from seedance.reconcile import LOST_SECONDS, Reconcile

Make = Callable[..., Job]


def test_an_uncertain_submit_is_counted_and_says_why(world: Any, reconcile: Reconcile, put: Any) -> None:
    put(State.SUBMITTING, 76, submitted_at=world.clock.now - 76)
    world.wire.will(history())
    reconcile()
    why = "The call was interrupted, so it is not known whether the request arrived."
    assert world.job(ID).error == {"code": "SUBMIT_UNCERTAIN", "message": why}
    assert world.counted() == {"JobsUncertain": 1}


@pytest.mark.parametrize(
    ("job", "rows", "words"),
    [
        ({}, 0, "The provider's history shows no request of this job; it probably never arrived."),
        ({}, 2, "The provider's history has requests that may be this job's: req-1, req-2."),
        ({"request_id": "req-7"}, 0, "The provider accepted request req-7, but its history does not show it."),
    ],
)
def test_a_lost_submit_is_held_counted_and_says_what_to_do(
    *, world: Any, reconcile: Reconcile, put: Any, job: dict[str, Any], rows: int, words: str
) -> None:
    idle = LOST_SECONDS + 1
    values = {"submitted_at": world.clock.now - idle, "error": LOST, "image": IMAGE, "request_id": None, **job}
    put(State.UNCERTAIN, idle, **values)
    then = datetime.fromtimestamp(world.clock.now - idle + 5, UTC).isoformat()
    world.wire.will(history(*(row(world, f"req-{number}", created_at=then) for number in range(1, rows + 1))))
    assert reconcile() == {"resolved": 1}
    assert world.job(ID).error == {"code": "SUBMIT_LOST", "message": f"{words} Decide with `seedance resolve {ID}`."}
    assert world.counted() == {"JobsHeld": 1}
    assert [message["status"] for message in world.notified()] == ["HELD"]


@pytest.mark.parametrize(
    ("began", "since", "until"),
    [
        (datetime(2025, 11, 20, 1, 59, tzinfo=UTC), "2025-11-19", "2025-11-20"),
        (datetime(2025, 11, 20, 2, 1, tzinfo=UTC), "2025-11-20", "2025-11-20"),
        (datetime(2025, 11, 20, 22, 1, tzinfo=UTC), "2025-11-20", "2025-11-21"),
    ],
)
@pytest.mark.parametrize("sent", [True, False])
def test_a_price_is_looked_up_around_the_time_of_the_submit(
    *, world: Any, reconcile: Reconcile, put: Any, began: datetime, since: str, until: str, sent: bool
) -> None:
    world.clock.now = began.timestamp() + 3600
    then = {"submitted_at": began.timestamp(), "created_at": 5.0} if sent else {"submitted_at": None}
    put(State.COMPLETED, 700, **{"notified_at": 1.0, "created_at": began.timestamp(), **then})
    world.wire.will(history({"request_id": "req-1", "model_status": "COMPLETED", "credits_deduction": 0.4}))
    assert reconcile() == {"priced": 1}
    asked = httpx.URL(world.wire.asked[0].removeprefix("GET ")).params
    assert (asked["from_date"], asked["to_date"], asked["model_name"]) == (since, until, "seedance-1.0-pro-fast")


def test_prices_of_two_models_are_queried_separately(world: Any, reconcile: Reconcile, put: Any) -> None:
    for number, model in enumerate(("seedance-1.0-pro-fast", "seedance-2.0-mini")):
        put(State.COMPLETED, 700 - number, job_id=(ID, OTHER)[number], model=model, notified_at=1.0)
    priced = {"request_id": "req-1", "model_status": "COMPLETED", "credits_deduction": 0.4}
    world.wire.will(history(priced), history())
    assert reconcile() == {"priced": 1}
