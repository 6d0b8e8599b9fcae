"""`seedance costs`: what was spent, added up from the jobs' own settlements."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from seedance.jobs.job import Job, State
from typer.testing import CliRunner

from cli import costs, main, options
from cli.costs import By, spent
from cli.main import app
from cli.target import Target

FIRST, LAST = date(2026, 11, 18), date(2026, 11, 20)


def at(day: int) -> float:
    return datetime(2026, 11, day, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def target(world: Any, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> Target:
    """A stack whose jobs were paid on several days."""
    jobs: list[tuple[State, str, str, str | None, dict[str, float]]] = [
        (State.COMPLETED, "seedance-pro", "upload", None, {"2026-11-18": 0.35}),
        (State.COMPLETED, "seedance-pro", "batch", "batch-a", {"2026-11-19": 0.35}),
        (State.COMPLETED, "seedance-2.0-mini", "batch", "batch-a", {"2026-11-19": 0.4, "2026-11-20": 0.4}),  # twice
        (State.FAILED, "seedance-2.0-mini", "api", None, {"2026-11-20": 0.0}),  # cost nothing
        (State.HELD, "seedance-1.5-pro", "api", None, {"2026-11-20": 0.41}),
        (State.QUEUED, "seedance-pro", "api", None, {}),
        (State.COMPLETED, "seedance-pro", "upload", None, {"2026-11-10": 9.0, "2026-11-21": 9.0}),  # other days
    ]
    for number, (state, model, source, batch, days) in enumerate(jobs):
        facts = {"model": model, "source": source, "batch": batch, "settled_days": days}
        last = max(days, default="2026-11-20")
        world.put(make_job(state, job_id=f"up-{number}", updated_at=at(int(last[-2:])), **facts))
    made = Target({})
    made.__dict__.update({"jobs": world.store, "register": world.register})
    monkeypatch.setattr(costs, "find", lambda *_: made)
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    return made


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        (By.MODEL, [("seedance-2.0-mini", 1, 0.8), ("seedance-pro", 2, 0.7), ("seedance-1.5-pro", 1, 0.41)]),
        (By.DAY, [("2026-11-18", 1, 0.35), ("2026-11-19", 2, 0.75), ("2026-11-20", 2, 0.81)]),
        (By.SOURCE, [("batch", 2, 1.15), ("api", 1, 0.41), ("upload", 1, 0.35)]),
        (By.BATCH, [("batch-a", 2, 1.15), ("no batch", 2, 0.76)]),
    ],
)
def test_costs_are_added_up(target: Target, by: By, rows: list[Any]) -> None:
    assert spent(target, FIRST, LAST, by).rows() == rows


def test_they_are_the_days_bookings(world: Any, target: Target, make_job: Callable[..., Job]) -> None:
    """As the store writes them: a reservation, then the settlement of the reported cost."""
    world.clock.now = at(25)
    from seedance.jobs.budget import reservation  # noqa: PLC0415

    job = world.put(make_job(job_id="up-new"))
    booking, reserved = reservation(job, world.clock(), world.store.bills.estimate)
    job = world.store.move(job, State.SUBMITTING, booking=booking, **reserved)
    job = world.store.move(job, State.QUEUED)
    world.store.close(job, State.FAILED, cost_usd=0.3)
    day = date(2026, 11, 25)
    assert spent(target, day, day, By.MODEL).rows() == [("seedance-1.0-pro-fast", 1, 0.3)]
    assert world.store.day("2026-11-25").settled == 0.3


def test_an_edited_settlement_is_not_added(world: Any, target: Target) -> None:
    world.aws["dynamodb"].update_item(
        TableName="jobs-of-tests",
        Key={"job_id": {"S": "up-0"}},
        UpdateExpression="SET settled_days = :odd",
        ExpressionAttributeValues={":odd": {"M": {"2026-11-18": {"S": "much"}}}},
    )
    assert spent(target, FIRST, FIRST, By.MODEL).rows() == []


def test_people_see_a_table_and_programs_an_object(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    period = ["--since", "2026-11-18", "--until", "2026-11-20"]
    monkeypatch.setattr(options.out, "_width", 80)
    said = CliRunner().invoke(app, ["costs", "--by", "day", *period]).stdout.splitlines()
    assert [line.split() for line in said] == [
        ["Day", "Videos", "USD"],
        ["2026-11-18", "1", "0.35"],
        ["2026-11-19", "2", "0.75"],
        ["2026-11-20", "2", "0.81"],
        ["Total", "1.91"],
        ["2026-11-18", "to", "2026-11-20", "(UTC)"],
    ]
    told = json.loads(CliRunner().invoke(app, ["costs", "--by", "batch", *period, "--json"]).stdout)
    assert told == {
        "since": "2026-11-18",
        "until": "2026-11-20",
        "by": "batch",
        "costs": [{"batch": "batch-a", "videos": 2, "usd": 1.15}, {"batch": None, "videos": 2, "usd": 0.76}],
        "total_usd": 1.91,
    }


def test_a_period_without_costs_says_so(target: Target) -> None:
    said = CliRunner().invoke(app, ["costs", "--since", "2026-01-01", "--until", "2026-01-02"])
    assert said.stdout == "nothing was spent from 2026-01-01 to 2026-01-02 (UTC)\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--since", "yesterday"], "--since must be a day like 2026-11-20, not yesterday"),
        (["--since", "2026-11-20", "--until", "2026-11-19"], "--since 2026-11-20 is after --until 2026-11-19"),
    ],
)
def test_a_wrong_period_is_refused(target: Target, options: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["costs", *options])
    assert (result.exit_code, says in result.stderr) == (2, True)
