"""Reconcile's rounds: who is let go, who gets a price, and that all get their turn, however many wait for a person."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from seedance import reconcile as module
from seedance.jobs import store
from seedance.jobs.job import Job, State
from seedance.reconcile import ROUND_SECONDS, Reconcile

Make = Callable[..., Job]
ID = "up-0123456789abcdef0123456789abcdef"
OTHER = "up-fedcba9876543210fedcba9876543210"
NOON = 1_763_640_000.0  # 2025-11-20T12:00Z


@pytest.fixture
def reconcile(world: Any) -> Reconcile:
    return Reconcile(
        world.store,
        world.provider,
        world.notifier,
        world.workflow,
        world.queue,
        world.switch,
        world.in_flight,
        world.place,
        clock=world.clock,
    )


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
def test_only_yesterdays_budget_lets_go_by_itself(
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
def test_the_day_that_had_no_room_decides_not_the_one_on_which_that_was_written(
    *, world: Any, reconcile: Reconcile, put: Any, full: str, released: bool
) -> None:
    world.clock.now = NOON
    put(State.HELD, error={"code": "OVER_BUDGET", "message": "m"}, notified_at=NOON, held_day=full)
    assert reconcile() == ({"released": 1} if released else {})


@pytest.mark.parametrize("full", [None, "2025-11-20"])
def test_yesterdays_job_that_today_has_no_room_for_waits_for_tomorrow(
    *, world: Any, reconcile: Reconcile, put: Any, full: str | None
) -> None:
    world.clock.now = NOON
    error = {"code": "OVER_BUDGET", "message": "m"}
    put(State.HELD, 3600, created_at=NOON - 86_400, error=error, notified_at=NOON, held_day=full)
    for _ in range(2):
        assert reconcile() == {}
    world.clock.now += 86_400
    assert reconcile() == {"released": 1}


def test_a_job_that_a_pause_held_after_its_end_is_let_go(world: Any, reconcile: Reconcile, put: Any) -> None:
    put(State.HELD, error={"code": "SUBMITS_PAUSED", "message": "m"}, notified_at=1.0)
    assert reconcile() == {"released": 1}
    assert (world.job(ID).state, world.postponed()) == (State.RECEIVED, [(ID, 0)])


@pytest.mark.parametrize(("transport", "executions"), [("v2", 0), ("v1", 1)])
def test_a_v1_job_that_is_let_go_gets_an_execution_of_its_own(
    *, world: Any, put: Any, transport: str, executions: int
) -> None:
    module.release(world.store, world.queue, put(State.HELD, transport=transport, error={"code": "X", "message": "m"}))
    assert world.job(ID).executions == executions
    assert world.job(ID).error is None


# prices that come late --------------------------------------------------------------------------------------


@pytest.fixture
def unpriced(world: Any, put: Any) -> Callable[..., Job]:
    """A job that was made a while ago, without a price: its estimate is settled."""

    def make(idle: float = 700, **changes: Any) -> Job:
        then = world.clock.now - idle
        values = {"submitted_at": then - 60, "notified_at": then, "settled_usd": 0.25, "settled_days": {"d": 0.25}}
        return put(State.COMPLETED, idle, **{**values, "reserved_day": "d", **changes})

    return make


def test_an_estimate_gives_way_to_the_historys_price_once(world: Any, reconcile: Reconcile, unpriced: Any) -> None:
    unpriced()
    world.wire.will(history(row("req-0", credits_deduction=9.0), row("req-1", credits_deduction=0.4)))
    assert reconcile() == {"priced": 1}
    job = world.job(ID)
    assert (job.state, job.cost_usd, job.settled_usd, job.settled_days) == (State.COMPLETED, 0.4, 0.4, {"d": 0.4})
    assert (world.store.day("d").settled, world.store.day("d").committed) == pytest.approx((0.15, 0.15))
    assert world.notified() == []
    assert reconcile() == {}


@pytest.mark.parametrize("idle", [599, 86_401])
def test_a_price_is_asked_after_for_a_day(world: Any, reconcile: Reconcile, unpriced: Any, idle: float) -> None:
    unpriced(idle)
    assert reconcile() == {}
    assert world.wire.requests == []


@pytest.mark.parametrize("answer", [{}, {"credits_deduction": None}])
def test_where_the_history_has_no_price_the_estimate_stays(
    *, world: Any, reconcile: Reconcile, unpriced: Any, answer: dict[str, Any]
) -> None:
    before = unpriced()
    world.wire.will(history(*([row("req-1", **answer)] if answer else [])))
    assert reconcile() == {}
    assert world.job(ID) == before


@pytest.mark.parametrize("works", [True, False])
def test_a_days_history_is_asked_once_a_round(world: Any, reconcile: Reconcile, unpriced: Any, *, works: bool) -> None:
    world.clock.now = NOON
    unpriced()
    unpriced(job_id=OTHER, request_id="req-2")
    rows = [row(request, credits_deduction=0.4) for request in ("req-1", "req-2")]
    world.wire.will(history(*rows) if works else httpx.Response(500))
    assert reconcile() == ({"priced": 2} if works else {})
    assert world.counted() == ({} if works else {"ReconcileFailures": 1})


# many jobs, and little time -----------------------------------------------------------------------------------


def slow(world: Any, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[str]:
    """Every record that is read takes so long; which ones were read, in order."""
    read: list[str] = []
    original = world.store.get

    def get(job_id: str) -> Job | None:
        world.clock.now += seconds
        read.append(job_id)
        return original(job_id)  # type: ignore[no-any-return]

    monkeypatch.setattr(world.store, "get", get)
    return read


def test_jobs_that_wait_for_a_person_hide_nobody(
    world: Any, reconcile: Reconcile, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PAGE", 5)
    world.switch.pause("x")
    for number in range(12):
        put(State.HELD, 5000, job_id=f"up-{number}", notified_at=1.0, error={"code": "SUBMIT_LOST", "message": "m"})
    put(State.HELD, 100, error={"code": "OVER_BUDGET", "message": "m"}, notified_at=1.0)
    world.clock.now += 86_400
    assert reconcile() == {"released": 1}


def test_a_round_that_runs_out_of_time_goes_on_where_it_stopped(
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
    # Nobody is read twice before everybody was read once, and then it begins anew.
    assert rounds[0] == [*queued, *held[:2]]
    assert [*rounds[0], *rounds[1], *rounds[2]] == [*queued, *held]
    assert rounds[3][:3] == queued


def test_a_round_that_got_round_begins_at_the_beginning(world: Any, reconcile: Reconcile, put: Any) -> None:
    world.place.save(6, world.clock.now - 3000)
    put(State.HELD, 4000, error={"code": "SUBMITS_PAUSED", "message": "m"}, notified_at=1.0)  # before the place
    put(State.QUEUED, 5000, job_id=OTHER)
    assert reconcile() == {"restarted": 1}
    assert world.place.read() == (0, 0.0)
    assert reconcile() == {"released": 1}


def test_a_place_in_the_first_step_is_given_up_too(world: Any, reconcile: Reconcile, put: Any) -> None:
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
            raise SystemExit  # as when the function is out of time or of memory
        return bool(running(job))

    monkeypatch.setattr(world.workflow, "is_running", killed, raising=False)
    with pytest.raises(SystemExit):
        reconcile()
    assert reconcile() == {"restarted": 1}
    assert world.job(OTHER).executions == 1
    with pytest.raises(SystemExit):  # and its own turn comes again
        reconcile()


@pytest.mark.parametrize("error", [AttributeError("x"), RuntimeError("x"), KeyError("x"), RecursionError()], ids=repr)
def test_a_job_that_raises_keeps_nobody_waiting_and_rings(
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
    assert world.in_flight.count() == 2  # what comes after all jobs is done too
    assert world.place.read() == (0, 0.0)


def test_a_round_writes_down_its_place_once_a_second(
    world: Any, reconcile: Reconcile, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        put(State.HELD, 5000, job_id=f"up-{number}", notified_at=1.0, error={"code": "SUBMIT_LOST", "message": "m"})
    slow(world, reconcile, monkeypatch, 0.25)
    places: list[float] = []
    monkeypatch.setattr(world.place, "save", lambda _, since: places.append(since))
    reconcile()
    assert 5 <= len(places) <= 6


def test_a_place_of_another_release_is_no_reason_to_stop(world: Any, reconcile: Reconcile, put: Any) -> None:
    world.place.save(99, 0.0)
    put(State.QUEUED, 5000)
    assert reconcile() == {"restarted": 1}


def test_a_round_leaves_time_for_what_it_is_at(template: dict[str, Any]) -> None:
    timeout = template["Resources"]["ReconcileFunction"]["Properties"]["Timeout"]
    assert timeout - 60 >= ROUND_SECONDS
