"""Every command as programs use it: --json, exit codes, -h, --version, completion, NO_COLOR."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest
import typer.main
from rich.console import Console
from seedance.jobs.by_month import ByMonth
from seedance.jobs.job import Hold, Job, State
from typer.testing import CliRunner, Result

from cli import asking, ids, main, making, operate, options, output, show
from cli.main import app
from cli.requests import Wish
from cli.target import CommandError, Target
from local import stack as local_stack
from local.stack import Stack

COMMANDS: Any = typer.main.get_command(app).commands  # type: ignore[attr-defined]
JOB = f"up-{'0' * 32}"
Run = Callable[..., Result]
ANSWERS: dict[str, Any] = {
    "pause": {"fresh": True, "reason": "the fair"},
    "resume": {"number": 2, "more": False, "since": 0.0},
    "release": {
        "number": 2,
        "more": False,
        "since": 0.0,
        "left": 0,
        "left_usd": 0.0,
        "room_usd": None,
        "budget_usd": None,
    },
    "redrive": {"number": 2, "more": False, "since": 0.0},
    "restart": {"said": "started"},
    "retry": {"said": "copying"},
    "resolve": {"said": "adopted"},
    "take over": {"job_id": JOB, "state": "COPYING"},
    "requests of": {"rows": [], "incomplete": None},
    "history": {"rows": [], "next": None},
    "index": {"number": 0, "more": False, "step": 0, "since": 0.0},
}


@pytest.fixture
def target(world: Any, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """A stack on AWS, which is moto, with one finished job; its repair function has fixed answers."""
    video = {"bucket": "example-videos", "key": "v.mp4", "bytes": 1, "sha256": "ab"}
    world.put(make_job(State.COMPLETED, job_id=JOB, video=video, cost_usd=0.25))
    outputs = {
        "StateMachineArn": world.arns.machine,
        "BatchStateMachineArn": world.arns.batch_machine,
        "JobTableName": "jobs-of-tests",
        "UploadBucketName": "example-uploads",
    }
    made = Target(outputs)
    monkeypatch.setattr(Target, "client", lambda _, service: world.aws[service])
    made.__dict__.update({"jobs": world.store, "switch": world.switch, "register": world.register, "_settings": {}})
    made.__dict__["by_month"] = ByMonth(world.table)
    for module in sys.modules.values():
        if module.__name__.startswith("cli.") and hasattr(module, "find"):
            monkeypatch.setattr(module, "find", lambda *_: made)
    monkeypatch.setattr(asking, "ask_repair", lambda _, ask, **__: ANSWERS[ask])
    return made


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Run:
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setenv("SEEDANCE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_and_both_helps(run: Run, name: str) -> None:
    assert "--json" in {option for param in COMMANDS[name].params for option in param.opts}
    if name != "sandbox":  # its options are those of the program that it runs
        short, long = run(name, "-h"), run(name, "--help")
        assert short.exit_code == 0
        assert short.output == long.output
        assert "Usage:" in short.output


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["status", JOB], {"job_id": JOB, "state": "COMPLETED", "cost_usd": 0.25}),
        (["list", "--state", "FAILED"], None),
        (["models", "seedance-pro"], {"model": "seedance-pro"}),
        (["explain", JOB], {}),
        (["retry", JOB], {"job_id": JOB, "said": "copying"}),
        (["resolve", JOB, "--adopt", "r"], {"job_id": JOB, "said": "adopted"}),
        (["redrive"], {"messages": 2}),
        (["redrive", f"batch-{'0' * 32}"], {"batch_id": f"batch-{'0' * 32}", "said": "started"}),
        (["pause", "--reason", "the fair"], {"paused": True, "fresh": True, "reason": "the fair"}),
        (["resume"], {"paused": False, "released": 2}),
        (["release"], {"released": 2, "left": 0}),
        (["ledger", "--date", "2026-11-20"], {"charged_usd": 0, "balanced": True}),
        (["adopt", "r", "--model", "seedance-pro"], {"job_id": JOB, "state": "COPYING"}),
        (["costs"], {"by": "model", "total_usd": 0}),
        (["reindex"], {"added": 0}),
        (["down"], {"stopped": [], "purged": False}),
    ],
)
@pytest.mark.usefixtures("target")
def test_with_json_nothing_else_is_printed(run: Run, command: list[str], expected: dict[str, Any] | None) -> None:
    result = run(*command, "--json")
    assert result.exit_code == 0, result.output
    if expected is None:
        assert result.stdout == ""
        return
    told = json.loads(result.stdout)
    assert expected.items() <= told.items()
    assert run(*command).stdout != result.stdout


@pytest.mark.usefixtures("target")
def test_times_are_iso_8601_in_utc(run: Run) -> None:
    told = json.loads(run("status", JOB, "--json").stdout)
    times = [told["created_at"], told["updated_at"], told["submitted_at"], *told["entered"].values()]
    assert all(time.endswith("+00:00") and "T" in time for time in times)
    assert told["timings"]["total_seconds"] == 50


def full(make_job: Callable[..., Job]) -> Job:
    """A job with a value in every field, and in every optional part of one."""
    moment = 1_763_600_000.5
    error = {"code": "PROVIDER_RATE_LIMITED", "message": "m"}
    past = {**error, "at": moment, "state": "RECEIVED", "attempt": 1, "times": 2, "last_at": moment}
    retry = {"asked_at": moment, "pay": True, "max_usd": 1.0, "ended_at": moment, "said": "x", "estimate_usd": 0.2}
    image = {"bucket": "b", "key": "k", "version_id": "v", "content_type": "image/png", "bytes": 1, "width": 1}
    video = {"bucket": "b", "key": "k", "bytes": 1, "sha256": "ab", "last_frame_key": "l", "manifest_key": "m"}
    times = ("created_at", "updated_at", "turn_at", "submitted_at", "result_at", "notified_at", "link_until")
    texts = ("fingerprint", "batch", "month", "reserved_day", "held_day", "request_id", "result_url", "last_frame_url")
    made = make_job(
        State.RECEIVED,
        job_id="up-full",
        **dict.fromkeys(times, moment),
        **dict.fromkeys((*texts, "answer", "link_token"), "text"),
        **dict.fromkeys(("reserved_usd", "settled_usd", "cost_usd", "expected_seconds", "sigma"), 0.5),
        **dict.fromkeys(("row", "attempts", "executions", "gone_polls"), 3),
        **{"entered": {state.value: moment for state in State}, "past_reasons": [past], "retry": retry, "error": error},
        **{"image": image, "video": video, "notes": ["n"], "metadata": {"shot_at": "noon"}, "metrics": {"total": 1.0}},
        **{"settled_days": {"2025-11-20": 0.5}, "earlier_request_ids": ["r"]},
        **dict.fromkeys(("resubmitted", "copied_again"), True),
        expires_at=int(moment),
    )
    for of in fields(Job):
        assert getattr(made, of.name), f"{of.name} has no value here"
    return made


def times_in(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in JSON that is a time by its name."""
    if isinstance(value, dict):
        for each, one in value.items():
            yield from times_in(one, "entered_at" if name == "entered" else each)
    elif isinstance(value, list):
        for one in value:
            yield from times_in(one, name)
    elif name in ("at", "entered") or name.endswith(("_at", "_until")):
        yield name, value


def test_no_time_of_a_full_record_is_a_number(
    run: Run, target: Target, world: Any, make_job: Callable[..., Job]
) -> None:
    job = full(make_job)
    world.put(job)
    for told in (
        json.loads(run("status", job.job_id, "--json").stdout),
        json.loads(run("explain", job.job_id, "--json").stdout),
    ):
        found = list(times_in(told))
        assert {name for name, _ in found} >= {"at", "last_at", "asked_at", "ended_at", "turn_at", "entered_at"}
        assert [name for name, one in found if isinstance(one, int | float)] == []
    assert show.facts(job, 0.1, None)["turn_at"] == show.iso(176_360_000.05)  # ten times faster than the provider
    assert show.facts(job, 1.0, None)["metadata"] == {"shot_at": "noon"}
    unnamed = {name for name, value in numbers_in(show.facts(job, 1.0, None)) if 1.7e9 < value < 1.9e9}
    assert unnamed == set()  # a Unix time under another name


def numbers_in(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else ((name, one) for one in value)
        for each, one in pairs:
            yield from numbers_in(one, each)
    elif isinstance(value, int | float):
        yield name, value


def test_a_failure_leaves_standard_output_empty_and_says_why_on_standard_error(run: Run, target: Target) -> None:
    result = run("status", f"up-{'1' * 32}", "--json")
    assert (result.exit_code, result.stdout) == (output.Exit.FAILED, "")
    assert "does not exist" in result.stderr


def test_models_without_json_are_one_list_and_with_it_a_line_each(run: Run) -> None:
    assert len(json.loads(run("models").stdout)) == 5
    lines = run("models", "--json").stdout.splitlines()
    assert [json.loads(line)["model"] for line in lines] == [one["model"] for one in json.loads(run("models").stdout)]


def test_up_prints_what_it_has_started_but_not_the_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = {"ApiUrl": "u", "ConsoleUrl": "u/"}
    stack = Stack(endpoint_url="http://127.0.0.1:4566", secret_access_key="hidden", outputs=outputs, api_key="k")
    monkeypatch.setattr(local_stack, "up", lambda *_: (stack, False))
    result = run("up", "--json")
    told = json.loads(result.stdout)
    assert {"started": False, "endpoint_url": "http://127.0.0.1:4566", "api_key": "k"}.items() <= told.items()
    assert told["outputs_file"].endswith("outputs.json")
    assert (told["api_url"], told["console_url"]) == ("u", "u/#key=k")
    assert run("up").stdout.endswith("The console, signed in:\n  u/#key=k\n")
    assert "hidden" not in result.output


def test_env_says_what_to_set_and_what_to_unset(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(endpoint_url="http://127.0.0.1:4566", outputs={"ApiUrl": "u"}, api_key="k")
    monkeypatch.setattr(main, "on_this_machine", lambda _: stack)
    told = json.loads(run("env", "--json").stdout)
    assert told["export"]["API_KEY"] == "k"
    assert "AWS_PROFILE" in told["unset"]


def test_a_wait_prints_the_job_at_its_end_and_shows_progress_on_standard_error(
    run: Run, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making.actions, "submit", lambda *_: JOB)
    result = run("submit", "--prompt", "x", "--wait", "--json")
    assert json.loads(result.stdout)["state"] == "COMPLETED"
    assert "COMPLETED  ready" in result.stderr
    assert run("submit", "--prompt", "x", "--json").stdout.split() == ["{", '"job_id":', f'"{JOB}"', "}"]


@pytest.mark.parametrize(
    ("options", "name", "metadata"),
    [
        ((), None, {}),
        (("--image", "shop/Red Shoe.jpg"), "Red Shoe", {}),
        (("--image", "s3://b/shop/red.png"), "red", {}),
        (("--image", "https://shop.example/a/red%20shoe.png?size=2"), "red shoe", {}),
        (("--image", f"{'x' * 101}.png"), None, {}),
        (("--image", "red.png", "--name", "Spring", "--metadata", "sku=S-1"), "Spring", {"sku": "S-1"}),
    ],
)
@pytest.mark.usefixtures("target")
def test_a_call_is_named_after_its_image(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], name: str | None, metadata: dict[str, str]
) -> None:
    wishes: list[Wish] = []
    monkeypatch.setattr(making.actions, "submit", lambda _, wish, *__: wishes.append(wish) or JOB)
    assert run("submit", "--prompt", "x", *options).exit_code == 0
    assert [(wish.name, wish.labels) for wish in wishes] == [(name, metadata)]


def test_a_wait_that_ends_without_a_video_prints_the_job_and_fails(
    run: Run, target: Target, world: Any, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = {"code": Hold.PAUSED.value, "message": "no credits"}
    world.put(make_job(State.HELD, job_id="up-2", error=error))
    monkeypatch.setattr(making.actions, "submit", lambda *_: "up-2")
    result = run("submit", "--prompt", "x", "--wait", "--json")
    assert result.exit_code == output.Exit.FAILED
    assert json.loads(result.stdout)["state"] == "HELD"
    assert "is HELD until `seedance resume`: no credits" in result.stderr


def test_after_a_command_with_json_people_read_text_again(run: Run, target: Target) -> None:
    run("status", JOB, "--json")
    assert "State" in run("status", JOB).stdout
    run("status", "up-404", "--json")
    assert not options.out.quiet


def test_names_that_no_encoding_has_are_still_json(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(options.out, "quiet", True)
    output.emit({"name": "half \ud83d and größe"})
    assert json.loads(capsys.readouterr().out)["name"] == "half \ufffd and größe"
    monkeypatch.setattr(sys, "stdout", open(os.devnull, "w", encoding="ascii"))  # noqa: SIM115, PTH123
    output.emit_line({"name": "größe"})


# the command as a whole -------------------------------------------------------------------------------------


def test_the_version_is_the_packages(run: Run, root: Any) -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert f'version = "{result.stdout.split()[-1]}"' in (root / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["--help"], 0),
        (["-h"], 0),
        (["nonsense"], 2),
        (["get"], 2),
        (["costs", "--by", "colour"], 2),
        (["status", "x"], 1),
    ],
)
def test_exit_codes(run: Run, target: Target, command: list[str], code: int) -> None:
    assert run(*command).exit_code == code


def test_ctrl_c_exits_with_its_own_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "find", interrupted)
    assert run("status", JOB).exit_code == output.Exit.STOPPED


def test_the_exit_codes_are_in_the_help(run: Run) -> None:
    said = " ".join(run("--help").output.split())
    for code in output.Exit:
        assert f"{code.value} " in said[said.index("Exit codes") :]


def completions(*words: str) -> list[str]:
    """What bash offers after these words."""
    environment = {
        **os.environ,
        "_SEEDANCE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    code = "import sys; sys.argv[0] = 'seedance'; from cli.main import app; app(prog_name='seedance')"
    said = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    return said.stdout.split()


def test_a_shell_completes_commands_options_and_models() -> None:
    assert set(completions("seedance", "re")) == {"retry", "resolve", "redrive", "resume", "release", "reindex"}
    assert completions("seedance", "drop", "--model", "seedance-1") == ["seedance-1.0-pro-fast", "seedance-1.5-pro"]
    assert completions("seedance", "costs", "--by", "so") == ["source"]
    assert "--max-usd" in completions("seedance", "batch", "--m")


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    def printed() -> str:
        console = Console(force_terminal=True, width=80, color_system="standard", _environ=os.environ)
        with console.capture() as captured:
            console.print("[green]up[/green]")
        return captured.get()

    assert "\x1b[32m" in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert printed() == "up\n"
    code = "from cli.options import out, err; print(out.no_color, err.no_color)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert said.stdout.split() == ["True", "True"]


def test_a_reader_that_ends_early_is_no_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(main, "find", broken)
    result = run("list")
    assert "Broken pipe" not in result.output


# ids --------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(world: Any, target: Target, make_job: Callable[..., Job]) -> None:
    for state, name in ((State.FAILED, "up-abc1"), (State.QUEUED, "up-abc2"), (State.HELD, "api-abc1")):
        world.put(make_job(state, job_id=f"{name}{'0' * 28}"))


@pytest.mark.usefixtures("many")
def test_a_job_is_found_by_an_unambiguous_prefix_of_its_id(run: Run, target: Target) -> None:
    assert json.loads(run("status", "up-abc1", "--json").stdout)["job_id"] == f"up-abc1{'0' * 28}"
    assert json.loads(run("retry", "api-", "--json").stdout)["job_id"] == f"api-abc1{'0' * 28}"
    result = run("status", "up-abc")
    assert result.exit_code == 1
    assert f"up-abc is a prefix of 2 jobs: up-abc1{'0' * 28}, up-abc2{'0' * 28}" in " ".join(result.stderr.split())


@pytest.mark.usefixtures("many")
def test_a_whole_id_is_not_looked_for_among_the_others(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_job_ids", lambda _: pytest.fail("looked"))
    assert ids.job_id(target, JOB) == JOB
    with pytest.raises(CommandError, match="does not exist"):
        ids.job(target, f"up-{'1' * 32}")


@pytest.mark.usefixtures("many")
def test_too_many_jobs_need_the_whole_id(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "MOST_READ", 2)
    with pytest.raises(CommandError, match="use the whole id"):
        ids.job(target, "up-abc1")


def test_a_batch_is_found_by_a_prefix_also_if_it_was_started_again(target: Target, world: Any) -> None:
    for name in (f"batch-aa{'0' * 30}", f"batch-aa{'0' * 30}-2", f"batch-ab{'0' * 30}"):
        world.aws["stepfunctions"].start_execution(stateMachineArn=world.arns.batch_machine, name=name, input="{}")
    assert ids.batch_id(target, "batch-aa") == f"batch-aa{'0' * 30}"
    with pytest.raises(CommandError, match="prefix of 2 batches"):
        ids.batch_id(target, "batch-a")
    with pytest.raises(CommandError, match="batch batch-c does not exist"):
        ids.batch_id(target, "batch-c")
    with pytest.raises(CommandError, match="begins with batch-"):
        ids.batch_id(target, "up-1")


def test_a_paused_stack_is_mentioned(run: Run, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    target.__dict__["switch"] = SimpleNamespace(paused=lambda: "the [fair]")
    monkeypatch.setattr(making.actions, "submit", lambda *_: JOB)
    result = run("submit", "--prompt", "x", "--json")
    assert "submits are paused (the [fair])" in result.stderr
    assert json.loads(result.stdout) == {"job_id": JOB}
    assert operate.out is options.out
