"""Fixtures for commands as people type them: a stack on moto, and a way to run them."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from seedance.jobs.by_month import ByMonth
from typer.testing import CliRunner, Result

from cli import main, options
from cli.main import app
from cli.target import Target

UPLOADS, VIDEOS = "example-uploads", "example-videos"
Typed = Callable[..., Result]


@pytest.fixture
def moto_stack(world: Any, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A stack on AWS, which is moto. All commands use it."""
    made = Target({"UploadBucketName": UPLOADS, "JobTableName": "jobs-of-tests"})
    monkeypatch.setattr(Target, "client", lambda _, service, patience=None: world.aws.get(service))
    made.__dict__.update({"jobs": world.store, "switch": world.switch, "register": world.register, "_settings": {}})
    made.__dict__["by_month"] = ByMonth(world.table)
    find = sys.modules["cli.target"].find
    for module in list(sys.modules.values()):
        if module.__name__.startswith("cli.") and vars(module).get("find") is find:
            monkeypatch.setattr(module, "find", lambda *_: made)
    return made


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Typed:
    """Run a command in an empty folder, on a wide screen."""
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    for console in (options.out, options.err):
        monkeypatch.setattr(console, "_width", 500)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments])
