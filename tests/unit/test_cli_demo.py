"""What `seedance demo --stay` leaves running."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Typed
from rich.console import Console

from cli import demo
from cli.demo import DEMO_SCALE, DemoFailed, Played, Shown, run_demo
from local.inbox import Entry
from local.stack import Stack

STACK = Stack(
    endpoint_url="http://127.0.0.1:1",
    outputs={"ApiUrl": "http://127.0.0.1:1/v1", "ConsoleUrl": "http://127.0.0.1:1/v1/"},
    api_key="k",
)
LINK = "http://127.0.0.1:1/v1/#key=k"
MAIL: Any = {"kind": "mail", "body": "ready"}
PLAYED = Played(16, 16, 4, 1.0, "h264")


class Machine:
    """What was started and stopped."""

    def __init__(self) -> None:
        self.runs_already = False
        self.fails = False
        self.stopped: list[Path] = []

    def start(self, *_: Any) -> tuple[Stack, bool]:
        return STACK, not self.runs_already

    def make_video(self, _target: Any, _stack: Any, output: Path, _console: Any) -> Shown:
        if self.fails:
            raise DemoFailed("the job failed")
        return Shown("up-1", output, PLAYED, Entry(**MAIL))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    made = Machine()
    monkeypatch.setattr(demo, "HOME", tmp_path)
    monkeypatch.setattr(demo, "_start", made.start)
    monkeypatch.setattr(demo, "_make_video", made.make_video)
    monkeypatch.setattr(demo.local_stack, "down", made.stopped.append)
    return made


def run(tmp_path: Path, stay: Path | None) -> tuple[Shown, str]:
    said = io.StringIO()
    shown = run_demo(DEMO_SCALE, tmp_path / "v.mp4", Console(file=said, width=200), stay)
    return shown, said.getvalue()


def test_the_stack_stays_up_and_the_last_line_is_its_console(machine: Machine, tmp_path: Path) -> None:
    shown, said = run(tmp_path, tmp_path)
    assert (machine.stopped, shown.console_url) == ([], LINK)
    assert said.splitlines()[-1].strip() == LINK


def test_otherwise_it_is_stopped_and_there_is_no_console(machine: Machine, tmp_path: Path) -> None:
    shown, said = run(tmp_path, None)
    assert (len(machine.stopped), shown.console_url) == (1, "")
    assert LINK not in said
    assert "--stay" in said.splitlines()[-1]


@pytest.mark.parametrize("runs_already", [True, False])
def test_if_it_fails_only_what_it_has_started_is_stopped(machine: Machine, tmp_path: Path, runs_already: bool) -> None:
    machine.fails, machine.runs_already = True, runs_already
    with pytest.raises(DemoFailed):
        run(tmp_path, tmp_path)
    assert machine.stopped == ([] if runs_already else [tmp_path])


def test_json_has_the_link(machine: Machine, typed: Typed) -> None:
    told = json.loads(typed("demo", "--stay", "--json").stdout)
    assert (told["console_url"], machine.stopped) == (LINK, [])
