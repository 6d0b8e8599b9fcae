"""The operators' commands as users see them: a job's story, a day's balance, and what each command did."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from seedance.jobs.budget import Booking
from seedance.jobs.job import Hold, Job, State
from seedance.jobs.prices import PRICES_OF
from seedance.jobs.requests import Upload
from seedance.repair import Repair
from seedance.upkeep.holding import WORK_SECONDS, Holding
from typer.testing import CliRunner

from cli import asking, operate, options, story
from cli.main import app
from cli.target import CommandError, Target

Make = Callable[..., Job]
DAY = "2026-11-20"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()


class Executions:
    """The part of Step Functions that returns the history of executions."""

    def __init__(self) -> None:
        self.told: dict[str, list[dict[str, Any]]] = {}
        self.trouble = "ExecutionDoesNotExist"

    def get_paginator(self, operation: str) -> "Executions":
        assert operation == "get_execution_history"
        return self

    def paginate(self, *, executionArn: str) -> list[dict[str, Any]]:  # noqa: N803 - boto3's name
        machine, _, name = executionArn.rpartition(":")
        assert ":execution:" in machine
        if name not in self.told:
            raise ClientError({"Error": {"Code": self.trouble, "Message": "m"}}, "GetExecutionHistory")
        events = self.told[name]
        return [{"events": events[:2]}, {"events": events[2:]}]


@pytest.fixture
def executions() -> Executions:
    return Executions()


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """The provider's history."""
    return []


@pytest.fixture
def target(world: Any, executions: Executions, rows: Any, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A stack on AWS, which is moto; its repair function sees ``rows`` as the provider's history."""
    dead = world.aws["sqs"].create_queue(QueueName="dead")["QueueUrl"]
    made = Target(
        {
            "StateMachineArn": world.arns.machine,
            "BatchStateMachineArn": world.arns.batch_machine,
            "DeadLetterQueueUrl": dead,
            "JobTableName": "jobs-of-tests",
        }
    )
    clients = {**world.aws, "stepfunctions": executions}
    monkeypatch.setattr(Target, "client", lambda _, service: clients[service])
    made.__dict__["jobs"] = world.store
    holding = Holding(world.store, world.switch, world.queue, world.aws["sqs"], dead, world.clock)
    repair = Repair(world.store, world.provider, world.notifier, world.workflow, holding, world.batches, world.clock)
    made.__dict__["repair"] = repair

    def ask(_: Target, **event: Any) -> dict[str, Any]:
        asked = event["ask"]
        told = {"history": {"rows": rows, "next": None}, "requests of": {"rows": rows, "incomplete": None}}
        answer = told.get(asked) or made.__dict__["repair"].answer(event)
        if "needs_usd" in answer:
            raise asking.NeedsPayment(answer["error"], answer["needs_usd"])
        if "error" in answer:
            raise CommandError(answer["error"])
        return answer

    monkeypatch.setattr(asking, "ask_repair", ask)
    return made


@pytest.fixture
def says(target: Target, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a command, which must exit with that code, and return its output."""
    monkeypatch.setattr(operate, "find", lambda *_: target)
    monkeypatch.setattr(options.out, "_width", 200)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()

    def run(*command: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, command, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    return run


@pytest.fixture
def repair_with(target: Target) -> Callable[..., None]:
    """Change the settings of holding."""

    def change(**settings: Any) -> None:
        repair = target.__dict__["repair"]
        target.__dict__["repair"] = replace(repair, holding=replace(repair.holding, **settings))

    return change


def event(kind: str, seconds: float, **details: Any) -> dict[str, Any]:
    name = "stateEnteredEventDetails" if kind.endswith("StateEntered") else f"{kind[0].lower()}{kind[1:]}EventDetails"
    moment = datetime.fromtimestamp(NOON + seconds, UTC)
    return {"type": kind, "timestamp": moment, **({name: details} if details else {})}


def row(request_id: str, **fields: Any) -> dict[str, Any]:
    made = {"request_id": request_id, "job_id": None, "status": "COMPLETED", "cost_usd": 0.3, "created_at": NOON + 2}
    return {**made, "url": None, "model": None, **fields}


# a job's story ----------------------------------------------------------------------------------------------


@pytest.fixture
def made(make_job: Make) -> Job:
    entered = {"RECEIVED": NOON, "SUBMITTING": NOON + 1, "COMPLETED": NOON + 60}
    return make_job(
        State.COMPLETED, entered=entered, submitted_at=NOON + 1, created_at=NOON, notified_at=NOON + 61, executions=2
    )


def test_a_story_merges_all_sources_in_chronological_order(
    target: Target, made: Job, executions: Executions, rows: Any
) -> None:
    executions.told["up-1"] = [
        event("ExecutionStarted", 3, input="{}"),
        event("TaskStateEntered", 4, name="Poll"),
        event("LambdaFunctionScheduled", 4),
        event("TaskStateEntered", 14, name="Poll"),
        event("TaskTimedOut", 50, error="States.Timeout"),
        event("ExecutionFailed", 51, error="Unexpected", cause="x" * 400),
    ]
    executions.told["up-1-3"] = [event("ExecutionStarted", 55)]  # the second execution was never started
    rows.append(row("req-1"))
    told = [(moment - NOON, source, what) for moment, source, what in story.timeline(target, made)]
    assert told[:-5] == [
        (0, "record", "RECEIVED"),
        (1, "record", "SUBMITTING"),
        (2, "provider", "accepted request req-1, now COMPLETED, $0.30"),
        (3, "workflow 1", "started"),
        (4, "workflow 1", "Poll, 2 times"),
    ]
    assert told[-5:-3] == [
        (50, "workflow 1", "a task timed out: States.Timeout"),
        (51, "workflow 1", f"failed: Unexpected {'x' * 400}"),
    ]
    assert told[-3:] == [
        (55, "workflow 3", "started"),
        (60, "record", "COMPLETED"),
        (61, "record", "notified"),
    ]


def test_a_story_includes_the_requests_before_a_retry(target: Target, made: Job, rows: Any) -> None:
    made.earlier_request_ids = ["req-0"]
    rows += [row("req-0", cost_usd=None, status="PENDING", created_at=None), row("req-9", job_id="up-1")]
    told = [what for _, source, what in story.timeline(target, made) if source == "provider"]
    assert told == ["accepted earlier request req-0, now PENDING", "accepted request req-9, now COMPLETED, $0.30"]


def test_the_provider_is_not_asked_about_a_job_that_was_never_submitted(
    target: Target, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: Any, **__: Any) -> Any:
        raise AssertionError("was asked")

    monkeypatch.setattr(asking, "ask_repair", nobody)
    assert {source for _, source, _ in story.timeline(target, make_job(State.REJECTED))} == {"record"}


def test_an_unreachable_history_does_not_hide_the_rest(
    target: Target, made: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise CommandError("the provider answered 500")

    monkeypatch.setattr(asking, "ask_repair", refused)
    told = story.timeline(target, made)
    assert told[-1][1:] == ("provider", "its history could not be read: the provider answered 500")
    assert len(told) == 5


def test_a_history_that_was_not_read_completely_is_mentioned(
    target: Target, made: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"rows": [row("req-1")], "incomplete": "the provider answered 500"}
    monkeypatch.setattr(asking, "ask_repair", lambda *_, **__: answer)
    told = {what for _, source, what in story.timeline(target, made) if source == "provider"}
    assert told == {
        "accepted request req-1, now COMPLETED, $0.30",
        "its history could not be read completely: the provider answered 500",
    }


def test_an_error_from_step_functions_does_not_mean_no_executions(
    target: Target, made: Job, executions: Executions
) -> None:
    executions.trouble = "AccessDeniedException"
    with pytest.raises(ClientError, match="AccessDenied"):
        story.timeline(target, made)


def test_explain_shows_the_job_and_its_story(world: Any, says: Any, made: Job, rows: Any) -> None:
    made.earlier_request_ids = ["req-0"]
    world.put(made)
    rows.append(row("req-0"))
    said = says("explain", "up-1")
    assert "COMPLETED" in said
    assert "2026-11-20 12:00:02.000 UTC  provider  accepted earlier request req-0, now COMPLETED, $0.30" in said
    told = json.loads(says("explain", "up-1", "--json"))
    assert told["job"]["created_at"] == "2026-11-20T12:00:00.000+00:00"
    assert {"at": "2026-11-20T12:00:02.000+00:00", "source": "provider"}.items() <= told["timeline"][2].items()


def test_explain_loses_nothing_on_a_narrow_screen(
    says: Any, world: Any, made: Job, rows: Any, monkeypatch: Any
) -> None:
    world.put(made)
    rows.append(row("req-with-a-long-id-" + "0123456789" * 8))
    monkeypatch.setattr(options.out, "_width", 80)
    lines = says("explain", "up-1").splitlines()
    (header,) = (number for number, line in enumerate(lines) if line.startswith("Time") and "Event" in line)
    table = lines[header:]
    assert max(map(len, table)) <= 80
    assert "…" not in "".join(lines)
    events = "".join(line[table[0].index("Event") :].strip() for line in table)
    assert "accepted requestreq-with-a-long-id-" + "0123456789" * 8 in events


# stop and go ------------------------------------------------------------------------------------------------


def test_pause_says_whether_it_changed_anything_and_resume_how_many_jobs_it_released(
    world: Any, says: Any, make_job: Make
) -> None:
    assert "held until" in says("pause", "--reason", "the fair").lower()
    assert world.switch.paused() == "the fair"
    assert says("pause") == "submits were already paused; the reason is still: the fair\n"
    assert says("pause", "--reason", "the [red] fair") == (
        "submits were already paused; the reason is now: the [red] fair\n"
    )
    assert world.switch.paused() == "the [red] fair"
    world.put(make_job(State.HELD, error={"code": Hold.PAUSED.value, "message": "m"}))
    assert says("resume") == "submits resumed; 1 held job released\n"
    assert world.switch.paused() is None
    assert says("resume") == "submits resumed; 0 held jobs released\n"


def test_release_releases_only_jobs_held_for_the_budget(world: Any, says: Any, make_job: Make) -> None:
    for number, code in enumerate([Hold.BUDGET, Hold.BUDGET, Hold.PAUSED]):
        world.put(make_job(State.HELD, job_id=f"up-{number}", error={"code": code.value, "message": "m"}))
    assert says("release") == "2 held jobs released\n"
    assert world.job("up-2").state is State.HELD


def test_release_says_what_fits_today(says: Any, world: Any, make_job: Make, repair_with: Any) -> None:
    repair_with(budget=0.6)
    for number in range(4):
        error = {"code": Hold.BUDGET.value, "message": "m"}
        world.put(make_job(State.HELD, job_id=f"up-{number}", error=error))
    said = says("release").splitlines()
    assert said[0] == "2 held jobs released"
    assert said[1] == "today's budget of $0.60 has room for about $0.10 more"
    assert said[2].startswith(
        "2 jobs stay held: they cost about $0.50, which does not fit today. They continue by themselv"
    )
    assert sum(world.job(f"up-{number}").state is State.HELD for number in range(4)) == 2
    repair_with(budget=0.3)
    told = json.loads(says("release", "--json"))
    assert told == {"released": 1, "left": 1, "left_usd": 0.25, "room_usd": 0.05, "budget_usd": 0.3}


def test_redrive_starts_a_failed_batch_again(world: Any, says: Any, target: Target) -> None:
    batch = world.batches.start(Upload("example-uploads", "batches/a.csv", "v1", "", 9))
    world.aws["stepfunctions"].stop_execution(executionArn=world.batches.latest(batch).arn)
    assert says("redrive", batch) == f"batch {batch} was started again; what it has made is kept\n"
    assert world.batches.latest(batch).restarts == 1


def test_redrive_asks_announce_until_nothing_is_left(
    says: Any, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.outputs["AnnounceFunctionName"] = "announce"
    answers = iter([{"number": 10, "more": True, "run": "r"}, {"number": 2, "more": False, "run": "r"}])
    asked: list[Any] = []
    monkeypatch.setattr(asking, "_invoke", lambda _, name, about: asked.append((name, {**about})) or next(answers))
    assert says("redrive") == "12 messages put back into the queue\n"
    assert asked == [
        ("AnnounceFunctionName", {"ask": "redrive"}),
        ("AnnounceFunctionName", {"ask": "redrive", "run": "r"}),
    ]


def test_redrive_counts_messages(world: Any, says: Any, target: Target) -> None:
    world.aws["sqs"].send_message(QueueUrl=target.output("DeadLetterQueueUrl"), MessageBody="{}")
    assert says("redrive") == "1 message put back into the queue\n"


def test_a_retry_buys_at_most_for_the_given_sum(world: Any, says: Any, make_job: Make) -> None:
    job = world.put(make_job(State.FAILED, error={"code": "PROVIDER_JOB_FAILED", "message": "m"}))
    assert "needs --pay" in says("retry", "up-1", "--max-usd", "0.25", code=1)
    assert "about $0.25, and at most $0.20 is allowed" in says("retry", "up-1", "--pay", "--max-usd", "0.2", code=1)
    assert world.job() == job
    assert "will be billed" in says("retry", "up-1", "--pay", "--max-usd", "0.25")
    assert world.job().max_usd == 0.25


def test_retry_and_resolve_say_what_they_did_or_why_not(world: Any, says: Any, make_job: Make) -> None:
    world.put(make_job(State.FAILED, request_id=None))
    assert "use --pay" in says("retry", "up-1", code=1)
    assert "will be billed" in says("retry", "up-1", "--pay")
    assert "there is nothing to decide" in says("resolve", "up-1", "--give-up", code=1)
    world.put(make_job(State.UNCERTAIN))
    assert "use exactly one of" in says("resolve", "up-1", code=1)
    assert "given up" in says("resolve", "up-1", "--give-up")


def test_cancel_says_that_nothing_was_bought_or_why_it_is_too_late(world: Any, says: Any, make_job: Make) -> None:
    world.put(make_job())
    for _ in range(2):
        told = "job up-1 is CANCELLED. The job was cancelled before the video was bought."
        assert says("cancel", "up-1").strip() == told
    assert "CANCELLED: The job was cancelled before the video was bought. (CANCELLED)" in says("explain", "up-1")
    world.put(make_job(State.QUEUED))
    assert "job up-1 is QUEUED: the video is bought, and comes as usual" in says("cancel", "up-1", code=1)


# a day's balance --------------------------------------------------------------------------------------------


def test_a_ledger_shows_the_days_sums_and_three_zeros(world: Any, says: Any, make_job: Make, rows: Any) -> None:
    world.clock.now = NOON
    job = world.put(make_job(State.COMPLETED, updated_at=NOON, reserved_day=DAY, earlier_request_ids=["req-0"]))
    world.store.price(job, 0.3)
    rows += [row("req-1"), row("req-0", cost_usd=0.25)]
    lines = says("ledger", "--date", DAY).splitlines()
    assert [line.split() for line in lines[-3:]] == [["duplicates", "0"], ["orphans", "0"], ["unreconciled", "0"]]
    shown = {line[:12].strip(): line[12:].strip() for line in lines[:-4]}
    assert shown["Settled"] == "$0.30"
    assert shown["Charged"] == "$0.55 for 2 requests"
    assert shown["Paid again"].startswith("$0.25")
    assert "    request req-0 of job up-1" in lines


def test_a_ledger_that_does_not_balance_lists_why_and_exits_with_1(
    world: Any, says: Any, make_job: Make, rows: Any
) -> None:
    world.clock.now = NOON
    booking = Booking(DAY, reserved=0.25)
    world.store.move(world.put(make_job()), State.SUBMITTING, booking=booking, reserved_usd=0.25, reserved_day=DAY)
    rows.append(row("req-9"))
    said = says("ledger", "--date", DAY, code=1)
    assert "request req-9 (COMPLETED)" in said
    assert "job up-1 is SUBMITTING" in said
    assert "Paid again" not in said


def test_a_ledger_names_the_settings_that_have_become_more_expensive(world: Any, says: Any) -> None:
    parameters = {"duration": 5, "resolution": "720p", "aspect_ratio": "16:9"}
    for usd in [0.25] * 3 + [0.275] * 4:
        world.store.bills.learn("seedance-1.0-pro-fast", parameters, usd)
        world.store.bills.learn("seedance-pro", parameters, 0.35)
    said = says("ledger", "--date", DAY).splitlines()
    assert "Price drift  1 setting, by the median of the last bills" in said
    drift = f"seedance-1.0-pro-fast, 720p 5s 16:9: 10.0% above the price published on {PRICES_OF}"
    assert [line.strip() for line in said if line.startswith("    ")] == [drift]


def test_an_invalid_date_is_refused(says: Any) -> None:
    assert "--date must be a day like" in says("ledger", "--date", "yesterday", code=1)


# asking repair    -------------------------------------------------------------------------------------------


def test_reindex_continues_until_every_job_is_listed(world: Any, says: Any, make_job: Make, monkeypatch: Any) -> None:
    for number in range(3):
        world.put(make_job(State.COMPLETED, job_id=f"up-{number}", created_at=NOON, updated_at=NOON + number))
    index = world.store.index

    def slowly(job: Job) -> bool:
        world.clock.now += WORK_SECONDS + 1
        return bool(index(job))

    monkeypatch.setattr(world.store, "index", slowly)
    assert says("reindex").strip() == "3 jobs added; every job is in the list now"
    assert [world.job(f"up-{number}").month for number in range(3)] == ["2026-11"] * 3
