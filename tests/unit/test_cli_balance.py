"""A day's balance, with each kind of discrepancy provoked."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from seedance.jobs.budget import Booking, Day
from seedance.jobs.catalogue import MODELS
from seedance.jobs.job import Job, State

from cli import asking, balance
from cli.target import Target

Make = Callable[..., Job]
DAY = "2026-11-20"
LINK = "https://images.segmind.com/v.mp4"


@pytest.fixture
def asked() -> list[dict[str, Any]]:
    """The questions sent to the repair function."""
    return []


@pytest.fixture
def answers() -> dict[str, Any]:
    """Its answers."""
    return {"rows": [], "next": None}


@pytest.fixture
def target(world: Any, monkeypatch: pytest.MonkeyPatch, asked: Any, answers: Any) -> Target:
    """A stack on AWS, which is moto; its repair function gives the prepared answers."""
    dead = world.aws["sqs"].create_queue(QueueName="dead")["QueueUrl"]
    made = Target(
        {"SubmitQueueUrl": world.arns.queue, "StateMachineArn": world.arns.machine, "DeadLetterQueueUrl": dead}
    )
    monkeypatch.setattr(Target, "client", lambda _, service: world.aws[service])
    made.__dict__["jobs"] = world.store

    def ask(_: Target, **event: Any) -> dict[str, Any]:
        asked.append(event)
        return answers

    monkeypatch.setattr(asking, "ask_repair", ask)
    return made


# the balance ------------------------------------------------------------------------------------------------


def row(request_id: str = "req-1", job_id: str | None = "up-1", status: str = "COMPLETED", usd: Any = 0.3) -> Any:
    made = {"request_id": request_id, "job_id": job_id, "status": status, "cost_usd": usd}
    return {**made, "created_at": 0.0, "model": None, "url": LINK if status == "COMPLETED" else None}


@pytest.fixture
def done(make_job: Make) -> Job:
    """A job whose video was made and settled."""
    return make_job(State.COMPLETED, cost_usd=0.3, settled_usd=0.3, settled_days={DAY: 0.3})


SETTLED = Day(DAY, reserved=0.25, settled=0.3, committed=0.3)


def test_a_balanced_day_has_three_zeros(done: Job) -> None:
    found = balance.balance(SETTLED, [done], [row()])
    assert (found.duplicates, found.orphans, found.unreconciled) == ([], [], [])
    assert found.balanced
    assert (found.charged_usd, found.requests) == (0.3, 1)


def test_an_empty_day_balances() -> None:
    assert balance.balance(Day(DAY), [], []).balanced


def test_a_job_that_bought_two_videos_is_a_duplicate(done: Job) -> None:
    found = balance.balance(SETTLED, [done], [row(), row("req-2")])
    assert found.duplicates == ["job up-1 bought 2 videos"]
    assert found.orphans == ["request req-2 (COMPLETED)"]
    assert not found.balanced


def test_a_second_request_after_a_failed_one_is_no_duplicate(done: Job) -> None:
    assert balance.balance(SETTLED, [done], [row(), row("req-0", status="FAILED", usd=None)]).duplicates == []


def test_a_request_shared_by_two_jobs_is_a_duplicate(done: Job) -> None:
    found = balance.balance(SETTLED, [done, replace(done, job_id="up-2")], [row()])
    assert found.duplicates == ["request req-1 belongs to 2 jobs"]
    assert not found.balanced


def test_a_request_abandoned_by_a_retry_but_completed_is_counted_and_explained(done: Job) -> None:
    again = replace(done, earlier_request_ids=["req-0", "req-failed"])
    failed = row("req-failed", status="FAILED", usd=None)
    found = balance.balance(SETTLED, [again], [row(), row("req-0", usd=0.25), failed])
    assert (found.duplicates, found.orphans, found.unreconciled) == ([], [], [])
    assert found.paid_again == ["request req-0 of job up-1"]
    assert (found.paid_again_usd, found.charged_usd) == (0.25, 0.55)


def test_an_unexplained_second_payment_is_reported_beside_an_explained_one(done: Job) -> None:
    again = replace(done, earlier_request_ids=["req-0"])
    found = balance.balance(SETTLED, [again], [row(), row("req-0"), row("req-9")])
    assert found.duplicates == ["job up-1 bought 2 videos"]
    assert found.orphans == ["request req-9 (COMPLETED)"]
    assert found.paid_again == ["request req-0 of job up-1"]


def test_a_request_abandoned_by_one_job_and_held_by_another_is_a_duplicate(done: Job) -> None:
    other = replace(done, job_id="up-2", request_id="req-2", earlier_request_ids=["req-1"], settled_days={})
    assert balance.balance(SETTLED, [done, other], [row()]).duplicates == ["request req-1 belongs to 2 jobs"]
    assert balance.balance(Day(DAY), [other], []).duplicates == []


@pytest.mark.parametrize("status", ["COMPLETED", "PENDING"])
def test_a_request_without_a_job_is_an_orphan(done: Job, status: str) -> None:
    found = balance.balance(SETTLED, [done], [row(), row("req-9", None, status)])
    assert found.orphans == [f"request req-9 ({status})"]
    assert not found.balanced


@pytest.mark.parametrize("state", State)
def test_an_unfinished_job_of_the_day_is_unreconciled(make_job: Make, state: State) -> None:
    job = make_job(state, reserved_usd=0.2, reserved_day=DAY, request_id=None)
    under_way = state in ("SUBMITTING", "QUEUED", "PROCESSING", "COPYING", "UNCERTAIN")
    found = balance.balance(Day(DAY, reserved=0.2, committed=0.2), [job], [])
    assert found.unreconciled == ([f"job up-1 is {state.value}"] if under_way else [])


def test_a_job_reserved_on_another_day_does_not_count(make_job: Make) -> None:
    assert balance.balance(Day(DAY), [make_job(State.QUEUED, reserved_usd=0.2, reserved_day="2026-11-19")], []).balanced


@pytest.mark.parametrize(("committed", "stray"), [(0.3, None), (0.304, None), (0.5, "$0.20"), (0.1, "$-0.20")])
def test_a_reservation_without_a_job_is_unreconciled(done: Job, committed: float, stray: str | None) -> None:
    found = balance.balance(Day(DAY, reserved=0.5, settled=0.3, committed=committed), [done], [row()])
    assert found.unreconciled == ([f"{stray} is reserved by no job"] if stray else [])


@pytest.mark.parametrize(
    ("jobs", "strange"), [([0.1, 0.2], None), ([0.1, 0.204], None), ([0.1], "$0.20"), ([0.3, 0.3], "$-0.30")]
)
def test_the_day_settles_what_its_jobs_settle(make_job: Make, jobs: list[float], strange: str | None) -> None:
    made = [
        make_job(State.FAILED, job_id=f"up-{number}", settled_days={DAY: usd, "2026-11-19": 9.0})
        for number, usd in enumerate(jobs)
    ]
    found = balance.balance(Day(DAY, reserved=0.3, settled=0.3, committed=0.3), made, [])
    assert found.unreconciled == ([f"{strange} is settled for no job"] if strange else [])


@pytest.mark.parametrize(("settled", "balanced"), [(0.3, True), (0.304, True), (0.35, False), (None, False)])
def test_a_different_price_is_unreconciled(done: Job, settled: float | None, balanced: bool) -> None:
    days = {DAY: settled or 0.0}
    day = Day(DAY, settled=settled or 0.0, committed=settled or 0.0)
    job = replace(done, cost_usd=settled, settled_usd=settled, settled_days=days)
    found = balance.balance(day, [job], [row()])
    assert found.balanced is balanced
    assert all("the provider charged $0.30" in line for line in found.unreconciled)


@pytest.mark.parametrize(("estimate", "balanced"), [(0.3, True), (0.25, False)])
def test_an_estimate_is_labelled_as_an_estimate(done: Job, *, estimate: float, balanced: bool) -> None:
    job = replace(done, cost_usd=None, settled_usd=estimate, settled_days={DAY: estimate})
    found = balance.balance(Day(DAY, settled=estimate, committed=estimate), [job], [row()])
    said = [f"job up-1 settled ${estimate:.2f} (its estimate); the provider charged $0.30"]
    assert found.unreconciled == ([] if balanced else said)


def test_a_ledger_asks_for_every_model_and_only_for_the_days_rows(
    world: Any, target: Target, make_job: Make, asked: Any, answers: Any
) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
    job = world.put(make_job(reserved_usd=None, updated_at=noon))
    job = world.store.move(
        job, State.SUBMITTING, booking=Booking(DAY, reserved=0.2), reserved_usd=0.2, reserved_day=DAY
    )
    job = world.store.close(world.store.move(job, State.QUEUED, request_id="req-1"), State.FAILED, cost_usd=0.3)
    world.put(replace(job, updated_at=noon))
    answers["rows"] = [
        {**row(), "created_at": noon},
        {**row("req-before"), "created_at": noon - 43_201},
        {**row("req-after"), "created_at": noon + 43_200},
    ]
    found = balance.ledger(target, date(2026, 11, 20))
    assert found.balanced, found
    assert (found.requests, found.day.settled) == (1, 0.3)  # once, although it is in every model's answer
    assert sorted(event["model"] for event in asked) == sorted(MODELS)


def test_a_history_in_several_answers_is_read_to_the_end_and_no_row_counts_twice(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {
        1: {"rows": [row("req-1"), row("req-2")], "next": 3},
        3: {"rows": [row("req-2"), row("req-3")], "next": 4},
        4: {"rows": [], "next": None},
    }
    pages: list[int] = []

    def ask(_: Target, *, page: int, **event: Any) -> dict[str, Any]:
        assert event == {"ask": "history", "model": "seedance-pro", "since": 1.0, "until": 2.0}
        pages.append(page)
        return parts[page]

    monkeypatch.setattr(asking, "ask_repair", ask)
    rows = list(asking.history(target, "seedance-pro", 1.0, 2.0))
    assert [one["request_id"] for one in rows] == ["req-1", "req-2", "req-3"]
    assert pages == [1, 3, 4]


def test_a_ledger_has_the_rows_of_every_answer(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()

    def ask(_: Target, *, model: str, page: int, **__: Any) -> dict[str, Any]:
        if model != "seedance-pro":
            return {"rows": [], "next": None}
        rows = [{**row(f"req-{page}"), "created_at": noon}]
        rows += [{**row(f"req-next-{page}"), "created_at": noon, "model": "seedance-pro-next"}]  # not one of ours
        return {"rows": rows, "next": page + 1 if page < 3 else None}

    monkeypatch.setattr(asking, "ask_repair", ask)
    found = balance.ledger(target, date(2026, 11, 20))
    assert (found.requests, found.charged_usd) == (3, 0.9)
