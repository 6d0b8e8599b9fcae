"""The state of a stack that is running, half running, or not running; and what `down` does."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from local import launch, processes
from local import stack as local_stack
from local.options import StackError
from local.stack import Options, Stack, down, up

PIDS = {"emulator": 11, "sandbox": 12}
STACK = Stack(
    endpoint_url="http://127.0.0.1:4566",
    access_key_id="SEEDANCE0001",
    secret_access_key="secret",
    sandbox_url="http://127.0.0.1:5000",
    pids=PIDS,
    time_scale=0.1,
)


class Machine:
    """The running processes, and which of them respond."""

    def __init__(self) -> None:
        self.commands = {11: "python ministack", 12: "python -m local.sandbox --port 0"}
        self.silent: set[str] = set()
        self.stopped: list[int] = []

    def stop(self, pid: int, _patience: float) -> None:
        self.stopped.append(pid)
        del self.commands[pid]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(processes, "command_line", made.commands.get)
    monkeypatch.setattr(processes, "stop", made.stop)
    monkeypatch.setattr(launch, "answers", lambda url: url not in made.silent)

    def nothing_starts(*_: object, **__: object) -> Stack:
        raise AssertionError("a stack was started")

    monkeypatch.setattr(local_stack, "_start", nothing_starts)
    return made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    launch.write_json(tmp_path / "outputs.json", asdict(STACK))
    launch.write_json(tmp_path / "pids.json", PIDS)
    (tmp_path / "tmp").mkdir()
    return tmp_path


def test_outputs_have_the_addresses_of_the_api_and_the_console_signed_in(tmp_path: Path) -> None:
    outputs = {"ApiUrl": "http://127.0.0.1:4566/v1", "ConsoleUrl": "http://127.0.0.1:4566/v1/"}
    stack = replace(STACK, api_key="k", outputs=outputs)
    launch.write_json(tmp_path / "outputs.json", stack.facts())
    told = json.loads((tmp_path / "outputs.json").read_text())
    assert told == {
        **asdict(stack),
        "api_url": "http://127.0.0.1:4566/v1",
        "console_url": "http://127.0.0.1:4566/v1/#key=k",
    }
    assert (tmp_path / "outputs.json").stat().st_mode & 0o777 == 0o600  # the key is in there
    assert Stack.read(tmp_path / "outputs.json") == stack
    assert replace(STACK, outputs={"ApiUrl": "u"}).console_url == ""  # of an earlier release


def silent(_: str) -> None:
    """Ignore progress messages."""


def test_outputs_have_the_documented_names(home: Path) -> None:
    written = json.loads((home / "outputs.json").read_text())
    promised = {
        "endpoint_url",
        "access_key_id",
        "secret_access_key",
        "region",
        "outputs",
        "api_key",
        "sandbox_url",
        "pids",
    }
    assert promised <= written.keys()
    assert "secret" not in repr(STACK)
    assert Stack.read(home / "outputs.json") == STACK


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"endpoint_url": "x", "colour": "red"}'])
def test_another_file_is_refused_as_outputs_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "outputs.json").write_text(text)
    with pytest.raises(StackError, match=r"is not the outputs\.json of a local stack"):
        Stack.read(tmp_path / "outputs.json")


def test_a_second_up_finds_the_running_stack(machine: Machine, home: Path) -> None:
    assert up(Options(home=home), silent) == (STACK, False)
    assert up(Options(home=home, port=4566, provider="sandbox", time_scale=0.1), silent) == (STACK, False)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"port": 5000}, "--port 5000"),
        ({"provider": "http://127.0.0.1:9"}, "--provider http://127.0.0.1:9"),
        ({"time_scale": 0.5, "port": 5000}, "--port 5000 --time-scale 0.5"),
        ({"parameters": {"DailyBudgetUsd": "1"}}, "--parameter DailyBudgetUsd=1"),
    ],
)
def test_a_second_up_with_other_options_is_refused(
    machine: Machine, home: Path, options: dict[str, object], named: str
) -> None:
    with pytest.raises(StackError, match=f"is running at http://127.0.0.1:4566; run .*`seedance up {named}`"):
        up(Options(home=home, **options), silent)  # type: ignore[arg-type]


def test_a_half_running_stack_is_reported(machine: Machine, home: Path) -> None:
    del machine.commands[12]
    for ask in (STACK.check, lambda: up(Options(home=home), silent)):
        says = "the provider's stand-in is no longer running; run `seedance down`, then `seedance up`"
        with pytest.raises(StackError, match=says):
            ask()


def test_up_starts_anew_when_the_local_aws_has_ended(
    machine: Machine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its jobs have ended with it, so what still runs is stopped, and not left to the next `seedance down`."""
    monkeypatch.setattr(local_stack, "_start", lambda *_: replace(STACK, pids={"emulator": 21, "sandbox": 22}))
    monkeypatch.setattr(local_stack, "_port", lambda _: 4566)
    del machine.commands[11]
    with pytest.raises(StackError, match="the local AWS is no longer running; run `seedance up`"):
        STACK.check()
    stack, started = up(Options(home=home), silent)
    assert (started, stack.pids["emulator"], machine.stopped) == (True, 21, [12])


def test_a_stack_without_credentials_is_from_an_earlier_release(machine: Machine) -> None:
    with pytest.raises(StackError, match="the local stack was started by an earlier release; run `seedance down`"):
        replace(STACK, secret_access_key="").check()


def test_a_pid_reused_by_another_process_counts_as_ended(machine: Machine) -> None:
    machine.commands[11] = "vim notes.txt"
    with pytest.raises(StackError, match="the local AWS is no longer running"):
        STACK.check()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:4566/_ministack/health", "the local AWS does not respond"),
        ("http://127.0.0.1:5000", "the provider's stand-in does not respond"),
    ],
)
def test_a_hanging_process_is_named(machine: Machine, url: str, says: str) -> None:
    machine.silent.add(url)
    with pytest.raises(StackError, match=says):
        STACK.check()


def test_a_stack_without_processes_is_not_running(machine: Machine, home: Path) -> None:
    machine.commands.clear()
    with pytest.raises(StackError, match="is no longer running; run `seedance up`"):
        STACK.check()
    assert local_stack._already_up(Options(home=home)) is None


def test_processes_left_by_an_interrupted_up_are_named(machine: Machine, home: Path) -> None:
    (home / "outputs.json").unlink()
    with pytest.raises(StackError, match="left the local AWS and the provider's stand-in running"):
        up(Options(home=home), silent)


def test_a_port_in_use_is_reported_with_its_process(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "listens", lambda port: True)
    monkeypatch.setattr(processes, "listener", lambda port: "nginx (pid 7)")
    with pytest.raises(StackError, match=r"port 4566 is used by nginx \(pid 7\)"):
        up(Options(home=tmp_path), silent)


def test_two_ups_cannot_run_at_the_same_time(machine: Machine, tmp_path: Path) -> None:
    with local_stack._alone(tmp_path), pytest.raises(StackError, match="another `seedance up` is running"):
        up(Options(home=tmp_path), silent)


@pytest.mark.parametrize("error", [StackError("no"), KeyboardInterrupt(), SystemExit(143)])
def test_an_up_that_fails_leaves_nothing_behind(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def breaks_off(options: Options, *_: object) -> Stack:
        launch.write_json(options.home / "pids.json", PIDS)
        raise error

    monkeypatch.setattr(processes, "free_port", lambda: 4567)
    monkeypatch.setattr(local_stack, "_start", breaks_off)
    with pytest.raises(type(error)):
        up(Options(home=tmp_path, port=0), silent)
    assert machine.stopped == [11, 12]


def test_down_stops_both_processes_and_keeps_the_users_data(machine: Machine, home: Path) -> None:
    (home / "emulator.log").write_text("said")
    assert down(home) == ["the local AWS", "the provider's stand-in"]
    assert machine.stopped == [11, 12]
    assert [path.name for path in home.iterdir()] == ["emulator.log"]


def test_down_leaves_other_processes_alone(machine: Machine, home: Path) -> None:
    machine.commands[11] = "vim notes.txt"
    assert down(home) == ["the provider's stand-in"]
    assert machine.stopped == [12]


def test_running_down_twice_is_no_error(machine: Machine, home: Path) -> None:
    down(home)
    assert down(home) == []
