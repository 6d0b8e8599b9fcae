"""Videos paid for at a real provider survive `down`, a crash of the emulator and the next `up`."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from deployed import SAMPLE, until
from typer.testing import CliRunner

from cli.main import app
from cli.target import Target
from local import keeping
from local import stack as local_stack
from local.sandbox import Sandbox, running
from local.sandbox.inprocess import KEY
from local.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

JOB = re.compile(r"job ((?:up|api|ad)-[0-9a-f]{32})")
Says = Callable[..., str]


@pytest.fixture
def provider() -> Iterator[Sandbox]:
    """A provider outside the stack: it keeps running while the stack is down."""
    with running(time_scale=0.15, fps=2) as sandbox:
        yield sandbox


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SEEDANCE_HOME", str(tmp_path))
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    yield tmp_path
    local_stack.down(tmp_path)


@pytest.fixture
def says(home: Path) -> Says:
    def run(*command: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, command, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_a_paid_video_survives_a_crash_and_a_stop(provider: Sandbox, home: Path, says: Says) -> None:
    wish = ("--provider", provider.url, "--time-scale", "0.15", "--port", "0")
    says("up", *wish)
    stack = Stack.read(home / "outputs.json")
    made = _job(says("drop", str(SAMPLE), "--set", "resolution=480p", "--wait"))

    # A crash with a job under way, the moment after it was submitted.
    under_way = _job(says("drop", str(SAMPLE), "--prompt", "another one", "--model", "seedance-2.0-fast"))
    target = Target(stack.outputs, stack)
    until(lambda: (job := target.jobs.get(under_way)) and job.request_id, "a submit", 30)
    os.killpg(stack.pids["emulator"], signal.SIGKILL)
    # The killed process may be listed for another moment.
    until(lambda: "is no longer running" in says("list", code=1), "the end of the emulator", 30)
    stranger = _bought_elsewhere(provider)

    again = says("up")
    assert "1 job in progress at the provider; polling continues" in again
    assert f"seedance adopt {stranger} --model seedance-pro" in again
    adopted = _job(says("adopt", stranger, "--model", "seedance-pro"))
    ids = made, under_way, adopted

    def told() -> list[str]:
        return [says("status", one) for one in ids]

    until(lambda: all("COMPLETED" in one for one in told()), "all videos", 180, seen=told)
    assert provider.summary()["accepted"] == len(ids)

    # After a stop and another `up`, everything is still there.
    assert "are kept in" in says("down")
    assert len(list(keeping.videos(home))) >= len(ids)
    refused = says("up", "--provider", "sandbox", code=1).replace("\n", " ")
    assert "has a kept stack" in refused
    up = says("up")
    assert "at the provider" not in up
    assert "without a job" not in up
    for number, one in enumerate(ids):
        says("get", one, "--output", str(home / f"{number}.mp4"))

    assert "deleted the kept data" in says("down", "--purge", "--yes")
    assert not keeping.is_kept(home)


def test_nothing_is_deleted_without_a_confirmation(home: Path, says: Says) -> None:
    keeping.Kept(since=0.0, build="", stack={}).write(_folder(home))
    result = CliRunner().invoke(app, ["down", "--purge"], input="n\n")
    assert result.exit_code == 1
    assert keeping.is_kept(home)
    assert "deleted" in says("down", "--purge", "--yes")


def _folder(home: Path) -> Path:
    (home / keeping.FOLDER).mkdir()
    return home


def _job(said: str) -> str:
    found = JOB.search(said)
    assert found, said
    return found[1]


def _bought_elsewhere(provider: Sandbox) -> str:
    body = {"prompt": "bought by hand", "duration": 5, "resolution": "480p", "aspect_ratio": "1:1"}
    answer = httpx.post(
        f"{provider.url}/v2/seedance-pro", json=body, headers={"x-api-key": KEY}, trust_env=False, timeout=30
    )
    return str(json.loads(answer.text)["request_id"])
