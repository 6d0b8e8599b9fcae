"""`seedance batch --retry-failed`: a batch's failed videos are tried again, at no cost where that is possible."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from command_line import Typed
from seedance.jobs.job import Job, State, batch_id, batch_job_id
from seedance.repair import Repair
from seedance.upkeep.holding import Holding
from typer.testing import Result

from cli import again, asking, following, spending
from cli.following import Standing
from cli.target import CommandError, Target

UPLOADS = "example-uploads"
Run = Callable[..., Result]
ENDS = {
    1: State.COMPLETED,
    2: State.FAILED,
    3: State.EXPIRED,
    4: State.FAILED,
    5: State.REJECTED,
    6: State.HELD,
}
"""Row 4's result is known, so it can be copied at no cost."""


@pytest.fixture
def batch(world: Any) -> str:
    """The id of the batch of batches/spring.csv."""
    stored = world.aws["s3"].put_object(Bucket=UPLOADS, Key="batches/spring.csv", Body=b"prompt\nx\n")
    return batch_id(UPLOADS, "batches/spring.csv", stored["VersionId"])


@pytest.fixture
def target(
    world: Any, batch: str, moto_stack: Target, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> Target:
    for row, state in ENDS.items():
        facts: dict[str, Any] = {"batch": batch, "row": row, "source": "batch", "request_id": None}
        facts["error"] = {"code": "PROVIDER_JOB_FAILED", "message": "no luck"}
        if row == 4:
            facts |= {"result_url": "https://images.segmind.com/v.mp4", "request_id": "req-4"}
        world.put(make_job(state, job_id=batch_job_id(batch, row), **facts))
    given = {"bucket": UPLOADS, "key": "batches/spring.csv"}
    ended = {"status": "BATCH_DONE", "rows": 7, "states": {}, "cost_usd": 0.25}
    standings = {batch: Standing("SUCCEEDED", "done", ended, 7, given)}
    monkeypatch.setattr(following, "look", lambda _, wanted: standings.get(wanted))
    holding = Holding(world.store, world.switch, world.queue, world.aws["sqs"], "none", world.clock)
    repair = Repair(world.store, world.provider, world.notifier, world.workflow, holding, world.batches, world.clock)
    asked: list[Any] = []
    one_at_a_time = threading.Lock()  # moto is not made for threads

    def invoke(_: Target, __: str, question: Any) -> Any:
        asked.append(question)
        with one_at_a_time:
            return repair.answer(question)

    monkeypatch.setattr(asking, "_invoke", invoke)
    moto_stack.__dict__["asked"] = asked
    return moto_stack


@pytest.fixture
def run(typed: Typed) -> Run:
    return lambda *arguments: typed("batch", *arguments, "--retry-failed")


def states(world: Any, batch: str) -> list[State]:
    return [world.job(batch_job_id(batch, row)).state for row in ENDS]


def test_known_results_are_copied_and_the_others_bought(run: Run, world: Any, target: Target, batch: str) -> None:
    result = run("spring.csv")
    assert result.exit_code == 0, result.output
    assert states(world, batch) == [
        State.COMPLETED,
        State.RECEIVED,
        State.RECEIVED,
        State.COPYING,
        State.REJECTED,
        State.HELD,
    ]
    assert "1 video copied or being copied; this costs nothing" in result.stdout
    assert "2 videos submitted again, for about $0.50" in result.stdout
    assert "1 row REJECTED: correct them and send them as a new batch" in result.stderr
    paid = [question["job_id"] for question in target.__dict__["asked"] if question["pay"]]
    assert sorted(paid) == sorted(batch_job_id(batch, row) for row in (2, 3))


@pytest.mark.parametrize(
    "dead",
    [{"error": {"code": "RESULT_GONE", "message": "m"}}, {"result_at": 1.0}, {"copied_again": True}],
)
def test_a_result_that_can_not_be_copied_is_bought_and_not_counted_as_copied(
    *, run: Run, world: Any, target: Target, batch: str, make_job: Callable[..., Job], dead: dict[str, Any]
) -> None:
    facts = {"result_url": "https://images.segmind.com/v.mp4", "request_id": "req-4", "source": "batch", **dead}
    facts.setdefault("error", {"code": "RESULT_NOT_A_VIDEO", "message": "m"})
    world.put(make_job(State.FAILED, job_id=batch_job_id(batch, 4), batch=batch, row=4, **facts))
    result = run(batch, "--max-usd", "0.74", "--json")
    assert (result.exit_code, json.loads(result.stdout)["copied"]) == (1, 0)
    assert "3 failed videos again would cost about $0.75, more than --max-usd 0.74" in result.stderr
    assert json.loads(run(batch, "--json").stdout) == {"batch_id": batch, "failed": 3, "copied": 0, "bought": 3}
    assert states(world, batch)[1:4] == [State.RECEIVED] * 3


def test_nothing_is_bought_above_the_maximum_but_results_are_copied(
    run: Run, world: Any, target: Target, batch: str
) -> None:
    result = run(batch, "--max-usd", "0.49")
    assert result.exit_code == 1
    assert "2 failed videos again would cost about $0.50, more than --max-usd 0.49" in result.stderr
    assert states(world, batch)[1:4] == [State.FAILED, State.EXPIRED, State.COPYING]


def test_it_is_reported_as_json(run: Run, target: Target, batch: str) -> None:
    told = json.loads(run(batch, "--json").stdout)
    assert told == {"batch_id": batch, "failed": 3, "copied": 1, "bought": 2}


def test_a_batch_without_failures_is_left_alone(
    run: Run, world: Any, target: Target, batch: str, make_job: Callable[..., Job]
) -> None:
    for row in (2, 3, 4):
        world.put(make_job(State.COMPLETED, job_id=batch_job_id(batch, row)))
    result = run(batch)
    assert (result.exit_code, "has no failed videos" in result.stdout) == (0, True)
    assert target.__dict__["asked"] == []


def test_a_wait_fails_unless_every_failed_video_is_made(
    *, run: Run, world: Any, target: Target, batch: str, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(_: Target, job_ids: list[str]) -> list[Job]:
        return [make_job(State.COMPLETED if number else State.FAILED) for number, _ in enumerate(job_ids)]

    monkeypatch.setattr(again.watch, "follow_all", ended)
    result = run(batch, "--wait")
    assert (result.exit_code, "2 of 3 videos are ready" in result.stdout) == (1, True)
    assert "1 of 3 failed videos have not been made" in result.stderr


def test_a_refusal_for_one_job_does_not_stop_the_others(
    run: Run, world: Any, target: Target, batch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = asking.ask_repair

    def ask(target: Target, **question: Any) -> Any:
        if question["job_id"] == batch_job_id(batch, 2):
            raise CommandError("the history can't be read")
        return real(target, **question)

    monkeypatch.setattr(asking, "ask_repair", ask)
    result = run(batch)
    assert result.exit_code == 1
    assert f"job {batch_job_id(batch, 2)}: the history can't be read" in result.stderr
    assert "1 of 3 failed videos could not be tried again" in result.stderr
    assert states(world, batch)[2] is State.RECEIVED


def test_what_was_done_is_reported_even_if_a_price_is_refused_or_a_purchase_fails(
    run: Run, target: Target, batch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(batch, "--json", "--max-usd", "0.49")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"batch_id": batch, "failed": 3, "copied": 1, "bought": 0}
    real = asking.ask_repair

    def ask(target: Target, **question: Any) -> Any:
        if question["pay"] and question["job_id"] == batch_job_id(batch, 3):
            raise CommandError("the table is busy")
        return real(target, **question)

    monkeypatch.setattr(asking, "ask_repair", ask)
    result = run(batch, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"batch_id": batch, "failed": 2, "copied": 0, "bought": 1}
    assert f"job {batch_job_id(batch, 3)}: the table is busy" in result.stderr


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("summer.csv", "s3://example-uploads/batches/summer.csv does not exist: summer.csv was not uploaded"),
        ("summer.txt", "is neither a batch nor a manifest"),
        (f"batch-{'f' * 32}", "does not exist"),
    ],
)
def test_another_source_is_refused(run: Run, target: Target, source: str, says: str) -> None:
    result = run(source)
    assert (result.exit_code, says in result.stderr) == (1, True)


def test_the_price_is_asked_for_like_any_other(run: Run, target: Target, batch: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(spending, "ASK_ABOVE_USD", 0.4)
    result = run(batch)
    assert (result.exit_code, "use --yes, or --max-usd" in result.stderr) == (1, True)
    assert run(batch, "--yes").exit_code == 0
