"""Reconcile's rounds: releasing held jobs, booking late prices, and reaching every job, however many are held."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from seedance import observability
from seedance import reconcile as module
from seedance.jobs import store
from seedance.jobs.budget import Booking
from seedance.jobs.job import Job, State
from seedance.reconcile import ROUND_SECONDS, Reconcile

Make = Callable[..., Job]
ID = "up-0123456789abcdef0123456789abcdef"
OTHER = "up-fedcba9876543210fedcba9876543210"
NOON = 1_763_640_000.0  # 2025-11-20T12:00Z


def row(request_id: str, **fields: Any) -> dict[str, Any]:
    return {"request_id": request_id, "model_status": "COMPLETED", "request_body": {}, **fields}


def history(*rows: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"data": list(rows)})


# jobs that are held ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "hours", "released"),
    [
        ("OVER_BUDGET", 11.9, False),
        ("OVER_BUDGET", 12.1, True),
        ("OVER_BUDGET", 72, True),
        ("SUBMITS_PAUSED", 72, False),
        ("SUBMITS_PAUSED", 0.1, False),
        ("SUBMIT_LOST", 72, False),
    ],
)
def test_only_a_hold_for_yesterdays_budget_is_released_automatically(
    *, world: Any, reconcile: Reconcile, put: Any, code: str, hours: float, released: bool
) -> None:
    world.clock.now = NOON
    world.switch.pause("no credits")
    put(State.HELD, error={"code": code, "message": "m"}, notified_at=NOON)
    world.clock.now += hours * 3600
    assert reconcile() == ({"released": 1} if released else {})
    job = world.job(ID)
    assert (job.state, job.notified_at) == ((State.RECEIVED, None) if released else (State.HELD, NOON))
    assert world.postponed() == ([(ID, 0)] if released else [])
    assert world.wire.requests == []


@pytest.mark.parametrize(("full", "released"), [("2025-11-20", False), ("2025-11-19", True)])
def test_the_day_without_budget_decides_not_the_day_of_the_write(
    *, world: Any, reconcile: Reconcile, put: Any, full: str, released: bool
) -> None:
    world.clock.now = NOON
    put(State.HELD, error={"code": "OVER_BUDGET", "message": "m"}, notified_at=NOON, held_day=full)
    assert reconcile() == ({"released": 1} if released else {})


@pytest.mark.parametrize("full", [None, "2025-11-20"])
def test_a_job_that_does_not_fit_into_todays_budget_either_waits_for_tomorrow(
    *, world: Any, reconcile: Reconcile, put: Any, full: str | None
) -> None:
    world.clock.now = NOON
    error = {"code": "OVER_BUDGET", "message": "m"}
    put(State.HELD, 3600, created_at=NOON - 86_400, error=error, notified_at=NOON, held_day=full)
    for _ in range(2):
        assert reconcile() == {}
    world.clock.now += 86_400
    assert reconcile() == {"released": 1}


def test_a_job_held_by_a_pause_that_is_over_is_released(world: Any, reconcile: Reconcile, put: Any) -> None:
    put(State.HELD, error={"code": "SUBMITS_PAUSED", "message": "m"}, notified_at=1.0)
    assert reconcile() == {"released": 1}
    assert (world.job(ID).state, world.postponed()) == (State.RECEIVED, [(ID, 0)])


@pytest.mark.parametrize(("transport", "executions"), [("v2", 0), ("v1", 1)])
def test_a_released_v1_job_gets_a_new_execution(*, world: Any, put: Any, transport: str, executions: int) -> None:
    module.release(world.store, world.queue, put(State.HELD, transport=transport, error={"code": "X", "message": "m"}))
    assert world.job(ID).executions == executions
    assert world.job(ID).error is None


# prices that come late --------------------------------------------------------------------------------------


@pytest.fixture
def unpriced(world: Any, put: Any) -> Callable[..., Job]:
    """A job completed a while ago without a price: its estimate is settled."""

    def make(idle: float = 700, **changes: Any) -> Job:
        then = world.clock.now - idle
        values = {"submitted_at": then - 60, "notified_at": then, "settled_usd": 0.25, "settled_days": {"d": 0.25}}
        return put(State.COMPLETED, idle, **{**values, "reserved_day": "d", **changes})

    return make


def test_an_estimate_is_replaced_once_by_the_historys_price(world: Any, reconcile: Reconcile, unpriced: Any) -> None:
    unpriced()
    world.wire.will(history(row("req-0", credits_deduction=9.0), row("req-1", credits_deduction=0.4)))
    assert reconcile() == {"priced": 1}
    job = world.job(ID)
    assert (job.state, job.cost_usd, job.settled_usd, job.settled_days) == (State.COMPLETED, 0.4, 0.4, {"d": 0.4})
    assert (world.store.day("d").settled, world.store.day("d").committed) == pytest.approx((0.15, 0.15))
    assert world.notified() == []
    assert reconcile() == {}


@pytest.mark.parametrize("idle", [599, 86_401])
def test_a_price_is_looked_up_for_a_day(world: Any, reconcile: Reconcile, unpriced: Any, idle: float) -> None:
    unpriced(idle)
    assert reconcile() == {}
    assert world.wire.requests == []


@pytest.mark.parametrize("answer", [{}, {"credits_deduction": None}])
def test_without_a_price_in_the_history_the_estimate_stays(
    *, world: Any, reconcile: Reconcile, unpriced: Any, answer: dict[str, Any]
) -> None:
    before = unpriced()
    world.wire.will(history(*([row("req-1", **answer)] if answer else [])))
    assert reconcile() == {}
    assert world.job(ID) == before


@pytest.mark.parametrize("works", [True, False])
def test_a_days_history_is_queried_once_per_round(
    world: Any, reconcile: Reconcile, unpriced: Any, *, works: bool
) -> None:
    world.clock.now = NOON
    unpriced()
    unpriced(job_id=OTHER, request_id="req-2")
    rows = [row(request, credits_deduction=0.4) for request in ("req-1", "req-2")]
    world.wire.will(history(*rows) if works else httpx.Response(500))
    assert reconcile() == ({"priced": 2} if works else {})
    assert world.counted() == ({} if works else {"ReconcileFailures": 1})


# many jobs, and little time -----------------------------------------------------------------------------------


def slow(world: Any, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[str]:
    """Make each read of a record take some time, and return the ids that were read, in order."""
    read: list[str] = []
    original = world.store.get

    def get(job_id: str) -> Job | None:
        world.clock.now += seconds
        read.append(job_id)
        return original(job_id)  # type: ignore[no-any-return]

    monkeypatch.setattr(world.store, "get", get)
    return read


def test_jobs_that_wait_for_a_person_do_not_block_others(
    world: Any, reconcile: Reconcile, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PAGE", 5)
    world.switch.pause("x")
    for number in range(12):
        put(State.HELD, 5000, job_id=f"up-{number}", notified_at=1.0, error={"code": "SUBMIT_LOST", "message": "m"})
    put(State.HELD, 100, error={"code": "OVER_BUDGET", "message": "m"}, notified_at=1.0)
    world.clock.now += 86_400
    assert reconcile() == {"released": 1}


def test_a_round_that_ran_out_of_time_is_continued_where_it_stopped(
    world: Any, reconcile: Reconcile, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = {"code": "SUBMIT_LOST", "message": "m"}
    held = [f"up-held-{number}" for number in range(12)]
    for number, job_id in enumerate(held):
        put(State.HELD, 9000 - number, job_id=job_id, notified_at=1.0, error=lost)
    queued = [f"up-queued-{number}" for number in range(3)]
    for number, job_id in enumerate(queued):
        put(State.QUEUED, 9000 - number, job_id=job_id)
        world.workflow.start(world.job(job_id))
    read = slow(world, reconcile, monkeypatch, ROUND_SECONDS / 4 - 1)
    rounds = []
    for _ in range(5):
        assert reconcile() == {}
        rounds.append(read[:])
        read.clear()
    # No job is read twice before every job was read once; then it starts over.
    assert rounds[0] == [*queued, *held[:2]]
    assert [*rounds[0], *rounds[1], *rounds[2]] == [*queued, *held]
    assert rounds[3][:3] == queued


def test_after_a_complete_round_the_next_starts_from_the_beginning(world: Any, reconcile: Reconcile, put: Any) -> None:
    world.place.save(6, world.clock.now - 3000)
    put(
        State.HELD, 4000, error={"code": "SUBMITS_PAUSED", "message": "m"}, notified_at=1.0
    )  # before the saved position
    put(State.QUEUED, 5000, job_id=OTHER)
    assert reconcile() == {"restarted": 1}
    assert world.place.read() == (0, 0.0)
    assert reconcile() == {"released": 1}


def test_a_position_in_the_first_step_is_cleared_too(world: Any, reconcile: Reconcile, put: Any) -> None:
    world.place.save(0, world.clock.now - 50)
    put(State.SUBMITTING, 100)
    assert reconcile() == {}
    assert world.place.read() == (0, 0.0)
    world.wire.will(history())
    assert reconcile() == {"uncertain": 1}


def test_a_job_that_kills_its_round_does_not_kill_the_next(
    world: Any, reconcile: Reconcile, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(State.QUEUED, 6000)
    put(State.QUEUED, 5000, job_id=OTHER)
    running = world.workflow.is_running

    def killed(job: Job) -> bool:
        if job.job_id == ID:
            raise SystemExit  # as when the function runs out of time or memory
        return bool(running(job))

    monkeypatch.setattr(world.workflow, "is_running", killed, raising=False)
    with pytest.raises(SystemExit):
        reconcile()
    assert reconcile() == {"restarted": 1}
    assert world.job(OTHER).executions == 1
    with pytest.raises(SystemExit):  # and it is tried again later
        reconcile()


@pytest.mark.parametrize("error", [AttributeError("x"), RuntimeError("x"), KeyError("x"), RecursionError()], ids=repr)
def test_a_job_that_raises_delays_no_other_and_raises_an_alarm(
    *, world: Any, reconcile: Reconcile, put: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    put(State.QUEUED, 6000)
    put(State.QUEUED, 5000, job_id=OTHER)
    world.table.client.put_item(
        TableName="jobs-of-tests", Item={"job_id": {"S": "count#in_flight"}, "held": {"N": "9"}}
    )
    running = world.workflow.is_running

    def raising(job: Job) -> bool:
        if job.job_id == ID:
            raise error
        return bool(running(job))

    monkeypatch.setattr(world.workflow, "is_running", raising, raising=False)
    assert reconcile() == {"restarted": 1}
    assert world.counted() == {"JobsStuck": 1}
    reading = world.table.get("count#in_flight")["reading"]
    assert reading["number"] == 1  # the steps after the jobs are done too
    assert world.place.read() == (0, 0.0)


def test_a_round_saves_its_position_once_a_second(
    world: Any, reconcile: Reconcile, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        put(State.HELD, 5000, job_id=f"up-{number}", notified_at=1.0, error={"code": "SUBMIT_LOST", "message": "m"})
    slow(world, reconcile, monkeypatch, 0.25)
    places: list[float] = []
    monkeypatch.setattr(world.place, "save", lambda _, since: places.append(since))
    reconcile()
    assert 5 <= len(places) <= 6


def test_a_position_saved_by_another_release_causes_no_failure(world: Any, reconcile: Reconcile, put: Any) -> None:
    world.place.save(99, 0.0)
    put(State.QUEUED, 5000)
    assert reconcile() == {"restarted": 1}


def test_a_round_leaves_time_to_finish_the_current_job(template: dict[str, Any]) -> None:
    timeout = template["Resources"]["ReconcileFunction"]["Properties"]["Timeout"]
    assert timeout - 60 >= ROUND_SECONDS


# the day's budget -------------------------------------------------------------------------------------------


def committed_percent() -> list[float]:
    metric = observability._metrics().metric_set.get("BudgetCommittedPercent")
    return [] if metric is None else list(metric["Value"])


def test_a_round_publishes_the_committed_part_of_the_days_budget(*, world: Any, reconcile: Reconcile, put: Any) -> None:
    world.clock.now = NOON
    world.store.move(put(State.RECEIVED), State.SUBMITTING, booking=Booking("2025-11-20", reserved=4.1))
    replace(reconcile, daily_budget_usd=5.0)()
    assert committed_percent() == [82.0]
    assert observability._metrics().metric_set["BudgetCommittedPercent"]["Unit"] == "Percent"


def test_a_new_day_begins_with_nothing_committed(*, world: Any, reconcile: Reconcile, put: Any) -> None:
    world.clock.now = NOON
    world.store.move(put(State.RECEIVED), State.SUBMITTING, booking=Booking("2025-11-19", reserved=4.1))
    replace(reconcile, daily_budget_usd=5.0)()
    assert committed_percent() == [0.0]


def test_without_a_budget_nothing_is_published(reconcile: Reconcile) -> None:
    reconcile()
    assert committed_percent() == []
