"""The command line as users see it: each mistake gives one sentence and an exit code, never a traceback."""

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from seedance.jobs import catalogue
from seedance.jobs.job import Job, State
from typer.testing import CliRunner, Result

from cli import actions, ids, main, watch
from cli.demo import DemoFailed, play
from cli.main import app
from cli.target import CommandError, Target, find, home
from local import launch, processes
from local import stack as local_stack
from local.stack import Stack

STACK = Stack(
    endpoint_url="http://127.0.0.1:4566",
    access_key_id="SEEDANCE0001",
    secret_access_key="secret",
    outputs={"JobTableName": "jobs", "UploadBucketName": "uploads", "ApiUrl": "http://127.0.0.1:4566/v1"},
    api_key="key",
    pids={"emulator": 11},
    time_scale=0.1,
)

Run = Callable[..., Result]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state directory, without the user's own settings."""
    monkeypatch.setenv("SEEDANCE_HOME", str(tmp_path))
    for name in ("SEEDANCE_STACK", "SEGMIND_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def run(state: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for console in ("out", "err"):
        monkeypatch.setattr(getattr(main, console), "_width", 500)
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    return invoke


@pytest.fixture
def records(state: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Job]:
    """A running stack with these jobs in its table."""
    launch.write_json(state / "outputs.json", asdict(STACK))
    monkeypatch.setattr(processes, "command_line", lambda _: "python ministack")
    monkeypatch.setattr(launch, "answers", lambda _: True)
    jobs: dict[str, Job] = {}

    class Table:
        def get(self, job_id: str) -> Job | None:
            return jobs.get(job_id)

        bills = SimpleNamespace(estimate=lambda *_: 0.25)

    monkeypatch.setattr(Target, "jobs", Table())
    monkeypatch.setattr(Target, "_settings", {"DefaultModel": "seedance-1.0-pro-fast"})
    monkeypatch.setattr(ids, "_job_ids", lambda _: iter(jobs))
    monkeypatch.setattr(Target, "switch", SimpleNamespace(paused=lambda: None))
    monkeypatch.setattr(Target, "poll_seconds", 0.0)
    return jobs


@pytest.fixture
def image(tmp_path: Path, png: bytes) -> str:
    file = tmp_path / "shoe.png"
    file.write_bytes(png)
    return str(file)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["status", "up-1"], "no local stack is running; run `seedance up`"),
        (["list"], "no local stack is running"),
        (["get", "up-1"], "no local stack is running"),
        (["drop", "IMAGE"], "no local stack is running"),
        (["submit", "--prompt", "turn"], "no local stack is running"),
        (["drop", "no-such.jpg"], "no-such.jpg can't be read: no such file"),
        (["drop", __file__], "is not an image"),
        (["up", "--provider", "segmind"], "SEGMIND_API_KEY is not set"),
        (["list", "--outputs", __file__], "is not the outputs.json of a local stack"),
    ],
)
def test_a_mistake_is_reported_in_one_sentence(run: Run, image: str, arguments: list[str], says: str) -> None:
    _is_one_sentence(run(*[image if argument == "IMAGE" else argument for argument in arguments]), 1, says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["drop", "IMAGE", "--model", "seedance-por"], "did you mean seedance-pro?"),
        (["drop", "IMAGE", "--set", "durration=5"], "did you mean duration?"),
        (["drop", "IMAGE", "--set", "duration"], "must be KEY=VALUE"),
        (["models", "seedance-por"], "did you mean seedance-pro?"),
        (["up", "--provider", "nobody"], "must be sandbox, segmind, or a base URL"),
        (["up", "--time-scale", "7"], "must be from 0.001 to 1"),
        (["list", "--outputs", "x", "--stack", "y"], "use only one of them"),
        (["up", "--parameter", "DailyBudget=1"], "did you mean DailyBudgetUsd?"),
        (["submit", "--prompt", "turn", "--set", "duration=99"], "duration: must be 5 or 10, not 99"),
        (["submit", "--prompt", "turn", "--metadata", "sku"], "must be KEY=VALUE"),
        (["submit", "--prompt", "turn", "--name", "a/b"], "name: must be text"),
        (["batch", "IMAGE", "--set", "duration"], "must be KEY=VALUE"),
        (["costs", "--since", "yesterday"], "--since must be a day"),
        (["ledger", "--date", "yesterday"], "--date must be a day"),
        (["list", "--updated-since", "yesterday"], "--updated-since must be a time"),
        (["list", "--model", "seedance-por"], "did you mean seedance-pro?"),
        (["adopt", "req-1", "--model", "seedance-por"], "did you mean seedance-pro?"),
        (["retry", "up-1", "--max-usd", "1"], "it needs --pay"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_value_that_is_not_allowed_is_wrong_usage(
    *, run: Run, image: str, arguments: list[str], says: str, options: list[str]
) -> None:
    """Whatever the stack is like: none is running here."""
    result = run(*[image if argument == "IMAGE" else argument for argument in arguments], *options)
    _is_one_sentence(result, 2, says)


def _is_one_sentence(result: Any, code: int, says: str) -> None:
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output


@pytest.mark.parametrize("arguments", [["up", "--port", "70000"], ["nonsense"], ["drop"], ["list", "--state", "odd"]])
def test_wrong_usage_exits_with_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_unknown_job_is_named(run: Run, records: dict[str, Job]) -> None:
    for command in ("status", "get"):
        result = run(command, "up-404")
        assert (result.exit_code, result.stderr) == (
            1,
            "error: job up-404 does not exist; `seedance list` shows the newest jobs\n",
        )


@pytest.mark.usefixtures("records")
def test_a_batch_is_not_mistaken_for_a_job(run: Run) -> None:
    result = run("explain", "batch-0123")
    assert (result.exit_code, "`seedance status batch-0123` shows its status" in result.stderr) == (1, True)


@pytest.mark.parametrize("folder", [".", "new", "made/for/it/"])
def test_a_video_is_fetched_into_a_folder(
    *, run: Run, records: dict[str, Job], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_job: Any, folder: str
) -> None:
    video = {"bucket": "videos", "key": "v.mp4", "bytes": 1_000_000, "sha256": "ab" * 32}
    records["up-1"] = make_job(State.COMPLETED, name="red shoe", video=video)
    fetched: list[Path] = []

    def fetch(_: Target, __: Job, file: Path, *, force: bool) -> int:
        assert file.parent.is_dir()
        fetched.append(file)
        return 1_000_000

    monkeypatch.setattr(actions, "fetch", fetch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new").mkdir()
    assert run("get", "up-1", "-o", folder).exit_code == 0
    assert fetched == [Path(folder) / "red shoe.mp4"]


def test_a_half_running_stack_is_reported(run: Run, records: dict[str, Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "answers", lambda _: False)
    assert "the local AWS does not respond; run `seedance down`, then" in run("list").stderr


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            ClientError({"Error": {"Code": "403", "Message": "not [yours]"}}, "PutObject"),
            "AWS rejected PutObject: not [yours]",
        ),
        (
            EndpointConnectionError(endpoint_url="http://127.0.0.1:4566"),
            "can't reach the stack: Could not connect",
        ),
        (PermissionError(13, "Permission denied", "/v.mp4"), "/v.mp4: Permission denied"),
    ],
)
@pytest.mark.usefixtures("records")
def test_a_failure_during_a_command_is_reported_in_one_sentence(
    run: Run, image: str, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    def fails(*_: object) -> str:
        raise error

    monkeypatch.setattr(actions, "drop", fails)
    result = run("drop", image)
    assert (result.exit_code, result.stderr) == (1, f"error: {result.stderr[7:]}")
    assert says in result.stderr


def test_ctrl_c_exits_with_130(run: Run, records: dict[str, Job], image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(actions, "drop", interrupted)
    assert run("drop", image).exit_code == 130


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "drop", lambda *_: "up-1")


def wide(said: str) -> str:
    """A screen's text without its frames and line breaks."""
    return " ".join(said.replace("│", " ").split())


@pytest.mark.usefixtures("dropped")
class TestDropAndWait:
    def test_a_video_exits_with_0(self, run: Run, records: dict[str, Job], image: str, make_job: Any) -> None:
        video = {"bucket": "videos", "key": "videos/shoe/up-1.mp4"}
        records["up-1"] = make_job(State.COMPLETED, video=video, cost_usd=0.25)
        result = run("drop", image, "--wait")
        assert result.exit_code == 0
        assert "s3://videos/videos/shoe/up-1.mp4" in result.stdout
        assert "cost $0.25; `seedance get up-1` downloads it" in result.stdout

    @pytest.mark.parametrize("end", [State.FAILED, State.EXPIRED, State.REJECTED, State.HELD])
    def test_no_video_exits_with_1_and_says_why(
        self, run: Run, records: dict[str, Job], image: str, make_job: Any, end: State
    ) -> None:
        records["up-1"] = make_job(end, error={"code": "X", "message": "the picture was blocked"})
        result = run("drop", image, "--wait")
        assert result.exit_code == 1
        assert f"error: job up-1 is {end}" in result.stderr
        assert "the picture was blocked" in result.stderr

    def test_ctrl_c_says_that_the_job_continues(
        self, run: Run, records: dict[str, Job], image: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(watch, "follow", interrupted)
        result = run("drop", image, "--wait")
        assert result.exit_code == 130
        assert "the job continues: `seedance status up-1`" in result.stderr

    def test_the_output_says_that_submits_are_paused(
        self, run: Run, records: dict[str, Job], image: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Target.switch, "paused", lambda: "no money")
        result = run("drop", image)
        assert result.exit_code == 0
        assert "submits are paused (no money); it is HELD until `seedance resume`" in result.stderr

    def test_without_waiting_the_output_says_how_to_check_the_status(
        self, run: Run, records: dict[str, Job], image: str
    ) -> None:
        result = run("drop", image)
        assert result.exit_code == 0
        assert "job up-1\n`seedance status up-1`" in result.stdout


def test_models_are_printed_as_json_schema(run: Run) -> None:
    models = [json.loads(line) for line in run("models", "--json").stdout.splitlines()]
    assert [model["model"] for model in models] == list(catalogue.MODELS)
    assert all(model["parameters"]["properties"]["prompt"] for model in models)
    (one,) = run("models", "seedance-pro", "--json").stdout.splitlines()
    assert json.loads(one)["model"] == "seedance-pro"


def test_models_are_a_table_for_people(run: Run) -> None:
    lines = run("models").stdout.splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(catalogue.MODELS)]] == list(catalogue.MODELS)
    assert re.search(r"seedance-pro +\$0\.35 +1 min 2 s +480p, 720p, 1080p +5, 10", lines[1])
    one = run("models", "seedance-2.0-fast").stdout
    assert [line.split()[0] for line in one.splitlines()[1:] if line] == catalogue.find("seedance-2.0-fast").names
    assert re.search(r"duration +5 +4, 5, 6, 8, 10, 12, 15 or -1", one)
    assert re.search(r"prompt +required +text of 1 to 5000 characters", one)


def test_a_job_is_shown_in_full(run: Run, records: dict[str, Job], make_job: Any) -> None:
    records["up-1"] = make_job(State.FAILED, error={"code": "X", "message": "blocked: [nsfw]"})
    shown = run("status", "up-1").stdout
    assert "FAILED" in shown
    assert "blocked: [nsfw]" in shown
    assert json.loads(run("status", "up-1", "--json").stdout)["parameters"]["prompt"] == "a shoe turns"


def test_running_down_twice_is_no_error(run: Run) -> None:
    assert run("down").stdout == "nothing was running\n"


def test_up_prints_the_next_steps(run: Run, records: dict[str, Job], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run("up").stdout
    assert "already up at http://127.0.0.1:4566" in shown
    assert 'eval "$(seedance env)"' in shown
    assert STACK.secret_access_key not in shown
    assert "seedance drop local/sample/product.jpg --wait" in shown


def test_env_sets_everything_that_the_aws_cli_needs(
    run: Run, records: dict[str, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    shell = f"""export AWS_PROFILE=work AWS_SESSION_TOKEN=old AWS_REGION=eu-west-3
{run("env").stdout}
env"""
    said = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=True).stdout  # noqa: S603 - ours
    seen = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    assert {name: value for name, value in seen.items() if name.startswith(("AWS_", "API_"))} == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": STACK.access_key_id,
        "AWS_SECRET_ACCESS_KEY": STACK.secret_access_key,
        "AWS_EC2_METADATA_DISABLED": "true",
        "API_URL": STACK.outputs["ApiUrl"],
        "API_KEY": STACK.api_key,
    }


def test_env_without_a_stack_prints_nothing_that_a_shell_would_execute(run: Run) -> None:
    result = run("env")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no local stack is running" in result.stderr


def test_a_failed_demo_says_which_check_failed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise DemoFailed("no notification for job up-1 arrived within 30 s")

    monkeypatch.setattr(main, "run_demo", fails)
    result = run("demo")
    assert (result.exit_code, result.stderr) == (1, "error: no notification for job up-1 arrived within 30 s\n")


def test_a_video_is_decoded_to_its_end(tmp_path: Path, mp4: bytes) -> None:
    (tmp_path / "v.mp4").write_bytes(mp4)
    played = play(tmp_path / "v.mp4")
    assert (played.width, played.height, played.frames, played.seconds) == (16, 16, 4, 1.0)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"])
def test_a_video_that_cannot_be_decoded_fails_the_demo(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.mp4").write_bytes(content)
    with pytest.raises(DemoFailed, match="can't be played"):
        play(tmp_path / "v.mp4")


def test_the_nearest_stack_in_a_parent_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEEDANCE_HOME", raising=False)
    (tmp_path / "project" / ".seedance").mkdir(parents=True)
    (tmp_path / "project" / "photos" / "raw").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project" / "photos" / "raw")
    (tmp_path / "project" / ".seedance" / "outputs.json").touch()
    assert home() == tmp_path / "project" / ".seedance"
    monkeypatch.setenv("SEEDANCE_HOME", str(tmp_path))
    assert home() == tmp_path


def test_without_a_stack_in_a_parent_folder_the_checkouts_stack_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEEDANCE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert home() == local_stack.HOME


class CloudFormation:
    """An account with one stack."""

    def __init__(self, region_name: str | None = None) -> None:
        self.region = region_name

    def client(self, service: str) -> "CloudFormation":
        assert service == "cloudformation"
        return self

    def describe_stacks(self, **call: str) -> dict[str, Any]:
        if call["StackName"] == "locked":
            raise NoCredentialsError
        if call["StackName"] != "shop":
            message = f"Stack with id {call['StackName']} does not exist"
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, "DescribeStacks")
        parameters = [{"ParameterKey": "DefaultModel", "ParameterValue": "seedance-pro"}]
        return {
            "Stacks": [{"Outputs": [{"OutputKey": "JobTableName", "OutputValue": "jobs"}], "Parameters": parameters}]
        }


def test_a_stack_on_aws_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.target.Session", CloudFormation)
    stack = find("shop", None)
    assert stack.output("JobTableName") == "jobs"
    assert (stack.local, stack.time_scale) == (None, 1.0)
    assert (stack.setting("DefaultModel", "other"), stack.setting("NotThere", "other")) == ("seedance-pro", "other")
    assert (stack.defaults.model, stack.defaults.transport) == ("seedance-pro", "v2")
    with pytest.raises(CommandError, match="the stack has no output ApiUrl"):
        stack.output("ApiUrl")


@pytest.mark.parametrize(
    ("given", "region"),
    [({}, None), ({"AWS_REGION": "a"}, "a"), ({"AWS_REGION": "a", "AWS_DEFAULT_REGION": "b"}, "b")],
)
def test_either_variable_sets_the_region(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], region: str | None
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    asked: list[str | None] = []
    monkeypatch.setattr("cli.target.Session", lambda region_name=None: asked.append(region_name) or CloudFormation())
    find("shop", None)
    assert asked == [region]


@pytest.mark.parametrize(
    ("name", "says"),
    [("other", "stack other: Stack with id other does not exist"), ("locked", "Unable to locate credentials")],
)
def test_an_unknown_stack_on_aws_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    monkeypatch.setattr("cli.target.Session", CloudFormation)
    monkeypatch.setenv("SEEDANCE_STACK", name)
    result = run("list")
    assert (result.exit_code, says in result.stderr) == (1, True)
