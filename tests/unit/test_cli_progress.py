"""Progress: shown on a screen while a command works, in a log now and then, and only once at a time."""

import io
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from rich.console import Console

from cli import images, progress
from cli.target import CommandError


def test_a_log_gets_a_line_about_counted_work_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 4.0, 11.0, 12.0, 22.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with progress.counting("uploading", 4e6, progress.megabytes) as advance:
        for _ in range(4):
            advance(1e6)
    assert capsys.readouterr().err == "uploading: 2.0 MB of 4.0 MB\nuploading: 4.0 MB of 4.0 MB\n"


def test_a_screen_shows_what_is_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(progress, "err", Console(file=shown, force_terminal=True, width=80, color_system=None))
    with progress.working("reading [the] history"):
        pass
    assert "reading [the] history" in shown.getvalue()
    with progress.working("reading") as tell:
        tell("nearly [there]")
    assert "nearly [there]" in shown.getvalue()
    with progress.counting("videos", 3) as advance:
        advance(2)
    assert "2 of 3" in shown.getvalue()


def test_a_step_of_what_is_shown_shows_nothing_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(progress, "err", Console(file=shown, force_terminal=True, width=80, color_system=None))

    def step(number: int) -> None:
        with progress.working(f"step {number}"), progress.counting(f"part {number}", 1) as advance:
            advance(1)

    with progress.counting("all", 8), ThreadPoolExecutor(4) as pool:
        list(pool.map(step, range(8)))
    assert "step" not in shown.getvalue()
    assert "part" not in shown.getvalue()
    step(9)  # and afterwards the screen is free again
    assert "step 9" in shown.getvalue()


def test_an_error_stops_what_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "AT_ONCE", 1)
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        raise CommandError("no")

    with pytest.raises(CommandError):
        images.at_once(range(50), work, float, "working")
    assert len(begun) < 50
