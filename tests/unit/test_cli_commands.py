"""What holds for every command, by the parser's own list: --json, ids by their prefix, and progress."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import doctored
import pytest
import typer.main
from clocks import NOW
from command_line import UPLOADS, VIDEOS, Typed
from rich.console import Console
from seedance.jobs.budget import month_of
from seedance.jobs.job import Job, State, batch_job_id

from cli import asking, following, inbox, main, making, progress
from cli.demo import Played, Shown
from cli.doctor import command as doctor
from cli.following import Standing
from cli.main import app
from cli.target import Target
from local.sandbox import server
from local.stack import Stack

COMMANDS: Any = typer.main.get_command(app).commands  # type: ignore[attr-defined]
JOB, BATCH = f"up-{'0' * 32}", f"batch-{'0' * 32}"
ROW = batch_job_id(BATCH, 1)

CALLS: dict[str, list[list[str]]] = {
    "up": [[]],
    "down": [[], ["--purge", "--yes"]],
    "env": [[]],
    "demo": [["-o", "v.mp4"]],
    "status": [[JOB], [BATCH]],
    "list": [[], ["--batch", BATCH]],
    "models": [[], ["seedance-pro"]],
    "drop": [["red.png"], ["red.png", "hat.png"], ["red.png", "--wait"], ["red.png", "hat.png", "--wait"]],
    "submit": [["--prompt", "x"], ["--prompt", "x", "--wait"]],
    "get": [[JOB], [BATCH, "-o", "videos"]],
    "batch": [["rows.csv"], ["rows.csv", "--dry-run"], ["rows.csv", "--wait"], [BATCH, "--retry-failed"]],
    "explain": [[JOB]],
    "retry": [[JOB], [JOB, "--pay", "--max-usd", "0.4"]],
    "cancel": [[JOB]],
    "resolve": [[JOB, "--give-up"]],
    "redrive": [[], [BATCH]],
    "pause": [[], ["--reason", "the fair"]],
    "resume": [[]],
    "release": [[]],
    "reindex": [[]],
    "ledger": [["--date", "2026-11-20"]],
    "adopt": [["req-1", "--model", "seedance-pro"]],
    "costs": [["--by", name] for name in ("model", "day", "source", "batch")],
    "inbox": [[], ["--kind", "event"]],
    "doctor": [[]],
    "sandbox": [[]],
}
EACH = [(name, arguments) for name, calls in CALLS.items() for arguments in calls]
NAMES = [" ".join((name, *arguments)) for name, arguments in EACH]

NUMBERS = {"number": 2, "more": False, "since": 0.0}
ANSWERS: dict[str, Any] = {
    "pause": {"fresh": True, "reason": "the fair"},
    "resume": NUMBERS,
    "release": {**NUMBERS, "left": 1, "left_usd": 0.3, "room_usd": 0.1, "budget_usd": 25.0},
    "redrive": NUMBERS,
    "restart": {"said": "started"},
    "retry": {"said": "copying"},
    "cancel": {"job_id": JOB, "state": "CANCELLED", "said": "Nothing was bought."},
    "resolve": {"said": "given up"},
    "take over": {"job_id": JOB, "state": "COPYING"},
    "requests of": {"rows": [], "incomplete": None},
    "history": {"rows": [], "next": None},
    "index": {**NUMBERS, "step": 0},
}
ENTRY: dict[str, Any] = {"at": "2026-11-20T12:00:00+00:00", "to": "you@example.com", "subject": "Video ready"}


@dataclass
class Seen:
    """The calls that a command made while it showed no progress."""

    silent: list[str] = field(default_factory=list)

    def call(self, what: str) -> None:
        if not progress._screen.locked():
            self.silent.append(what)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    monkeypatch.setattr(progress, "err", Console(file=io.StringIO(), force_terminal=True, width=80))
    return Seen()


def _repair(seen: Seen) -> Callable[..., Any]:
    """The functions that commands invoke, with fixed answers, for the one job and the one batch."""

    def invoke(_: Target, output: str, question: Any) -> Any:
        seen.call(output)
        if question.get("job_id", JOB) not in (JOB, ROW) or question.get("batch_id", BATCH) != BATCH:
            return {"error": f"there is no {question}"}
        announced = {"number": 1, "more": False, "run": "r"}
        return announced if output == "AnnounceFunctionName" else ANSWERS[question["ask"]]

    return invoke


def _watched(world: Any, seen: Seen, patch: pytest.MonkeyPatch) -> None:
    """Note each call to AWS that is made without progress."""

    def noted(model: Any, **_: Any) -> None:
        seen.call(model.name)

    for client in world.aws.values():
        client.meta.events.register("before-call", noted, unique_id="progress")
    patch.setattr(making.actions, "submit", lambda *_: seen.call("POST /videos") or JOB)
    dropped = iter((JOB, ROW))
    patch.setattr(making.actions, "drop", lambda *_: seen.call("PutObject") or next(dropped))


def _files(world: Any, folder: Path, make_job: Callable[..., Job], png: bytes) -> None:
    """Two images and a manifest, and a job and a batch of one row that have videos."""
    for name in ("red.png", "hat.png"):
        (folder / name).write_bytes(png)
    (folder / "rows.csv").write_text("prompt\nA shoe turns\n")
    jobs: dict[str, dict[str, Any]] = {JOB: {}, ROW: {"batch": BATCH, "row": 1, "source": "batch"}}
    for job_id, facts in jobs.items():
        digest = "0cab1c9617404faf2b24e221e189ca5945813e14d3f766345b09ca13bbe28ffc"
        video = {"bucket": VIDEOS, "key": f"videos/{job_id}.mp4", "bytes": 5, "sha256": digest}
        facts |= {"created_at": NOW - 60, "month": month_of(NOW - 60)}
        world.put(make_job(State.COMPLETED, job_id=job_id, video=video, cost_usd=0.25, **facts))
        world.aws["s3"].put_object(Bucket=VIDEOS, Key=video["key"], Body=b"video")


@pytest.fixture
def run(
    *,
    world: Any,
    moto_stack: Target,
    make_job: Callable[..., Job],
    typed: Typed,
    seen: Seen,
    png: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Typed]:
    """Run any command on a stack that has what the commands look for."""
    moto_stack.outputs.update(
        StateMachineArn=world.arns.machine, BatchStateMachineArn=world.arns.batch_machine, AnnounceFunctionName="a"
    )
    _files(world, tmp_path, make_job, png)
    world.aws["stepfunctions"].start_execution(stateMachineArn=world.arns.batch_machine, name=BATCH, input="{}")
    monkeypatch.setenv("SEEDANCE_HOME", str(tmp_path))
    monkeypatch.setattr(asking, "_invoke", _repair(seen))
    ended = {"status": "BATCH_DONE", "rows": 1, "states": {"COMPLETED": 1}, "cost_usd": 0.25}
    standing = Standing("SUCCEEDED", "done", ended, 1, {"bucket": UPLOADS, "key": "batches/rows.csv"})
    monkeypatch.setattr(
        following, "_look", lambda _, batch: seen.call("the execution") or (standing if batch == BATCH else None)
    )
    monkeypatch.setattr("cli.manifests.batch_id", lambda *_: BATCH)
    local = Stack(endpoint_url="http://127.0.0.1:4566", outputs={"ApiUrl": "u"}, api_key="k")
    monkeypatch.setattr(main.local_stack, "up", lambda *_: seen.call("up") or (local, True))
    monkeypatch.setattr(main, "on_this_machine", lambda *_: local)
    monkeypatch.setattr(inbox, "on_this_machine", lambda *_: local)
    mails = [{**ENTRY, "kind": "mail", "body": "Ready"}, {**ENTRY, "kind": "event", "body": {"job_id": JOB}}]
    monkeypatch.setattr(inbox.aws, "inbox", lambda *_: seen.call("the inbox") or mails)
    shown = Shown(JOB, tmp_path / "v.mp4", Played(16, 16, 4, 1.0, "h264"), ENTRY)  # type: ignore[arg-type]
    monkeypatch.setattr(main, "run_demo", lambda *_: shown)
    monkeypatch.setattr(main.os, "execv", lambda _, command: server.main(command[3:]))
    monkeypatch.setattr(server, "serve", lambda _, ready: ready("http://127.0.0.1:8090"))

    def one(name: str, *arguments: str) -> Any:
        if name == "doctor":
            _, target = doctored.install(monkeypatch, tmp_path)
            monkeypatch.setattr(doctor, "find", lambda *_: target)
        else:
            _watched(world, seen, monkeypatch)
        return typed(name, *arguments)

    yield one
    for client in world.aws.values():
        client.meta.events.unregister("before-call", unique_id="progress")


def test_every_command_is_called_here() -> None:
    assert CALLS.keys() == COMMANDS.keys()


@pytest.mark.parametrize(("name", "arguments"), EACH, ids=NAMES)
def test_json_is_one_object_or_lines_and_nothing_else(run: Typed, name: str, arguments: list[str]) -> None:
    result = run(name, *arguments, "--json")
    assert result.exit_code == 0, result.output
    try:
        told = [json.loads(result.stdout)]
    except ValueError:
        told = [json.loads(line) for line in result.stdout.splitlines()]
    assert told
    assert all(isinstance(one, dict) and one for one in told)


def _takes_an_id(name: str) -> bool:
    return any({"JOB", "BATCH"} & set((param.metavar or "").strip("[]").split("|")) for param in COMMANDS[name].params)


WITH_ID = [(name, arguments) for name, arguments in EACH if {JOB, BATCH} & set(arguments)]


def test_every_command_that_takes_an_id_is_called_with_one() -> None:
    assert {name for name in COMMANDS if _takes_an_id(name)} <= {name for name, _ in WITH_ID}


@pytest.mark.parametrize(("name", "arguments"), WITH_ID, ids=[" ".join((name, *some)) for name, some in WITH_ID])
def test_an_id_may_be_its_beginning(run: Typed, name: str, arguments: list[str]) -> None:
    beginnings = {JOB: "up-0", BATCH: "batch-0"}
    result = run(name, *[beginnings.get(one, one) for one in arguments], "--json")
    assert result.exit_code == 0, result.output
    assert any(whole in result.stdout for whole in (JOB, BATCH, ROW))


QUICK = {"GetItem"}
"""One item by its key takes milliseconds."""


@pytest.mark.parametrize(("name", "arguments"), EACH, ids=NAMES)
def test_whatever_may_take_over_a_second_shows_progress(
    run: Typed, seen: Seen, name: str, arguments: list[str]
) -> None:
    assert run(name, *arguments).exit_code == 0
    waited = {"the execution"} if "--wait" in arguments else set()  # a line tells each change
    assert set(seen.silent) - QUICK - waited == set()


def test_a_video_on_its_way_to_standard_output_shows_progress(run: Typed, seen: Seen) -> None:
    assert run("get", JOB, "-o", "-").exit_code == 0
    assert set(seen.silent) - QUICK == set()
