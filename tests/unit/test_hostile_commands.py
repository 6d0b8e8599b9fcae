"""Hostile command lines: each ends with one sentence, and nothing is sent that the stack could not store."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile_values import TEXTS
from seedance.errors import InvalidRequest
from typer.testing import CliRunner

from cli import actions, images
from cli.main import app
from cli.requests import Wish, read_settings
from cli.target import Target

pytestmark = pytest.mark.hostile(kind="input")

# A command line is bytes without NUL, and Python represents those that are no UTF-8 as halves of characters.
ARGUMENTS = {kind: text for kind, text in TEXTS.items() if "\x00" not in text and "\ude00" not in text}
ARGUMENTS["not UTF-8"] = os.fsdecode(b"caf\xe9")
NAMES = [b"caf\xe9.png", b"\xff\xfe.png", b"a\xed\xa0\x80.png"]


def settings_or_refusal(pair: str) -> None:
    try:
        wish = Wish("x", None, None, read_settings([pair]))
        wish.check(has_image=False)
        wish.metadata()
    except InvalidRequest as refusal:
        str(refusal).encode()
        assert len(str(refusal)) < 1000


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_a_hostile_setting_is_refused_or_can_be_sent(kind: str) -> None:
    settings_or_refusal(ARGUMENTS[kind])
    settings_or_refusal(f"{ARGUMENTS[kind]}=5")
    for name in ("duration", "seed", "camera-fixed", "reference_images", "last_image"):
        settings_or_refusal(f"{name}={ARGUMENTS[kind]}")


@pytest.mark.parametrize("kind", ARGUMENTS)
@pytest.mark.parametrize("option", ["prompt", "model", "transport"])
def test_a_hostile_option_is_refused_or_can_be_sent(option: str, kind: str) -> None:
    wish = Wish(**{"prompt": "x", option: ARGUMENTS[kind]})
    for has_image in (True, False):
        try:
            wish.check(has_image=has_image)
            for value in wish.metadata().values():
                assert value.isascii()
        except InvalidRequest as refusal:
            str(refusal).encode()
            assert len(str(refusal)) < 1000


@pytest.mark.parametrize("name", NAMES)
def test_a_file_whose_name_is_no_key_is_not_uploaded(tmp_path: Path, png: bytes, name: bytes) -> None:
    file = tmp_path / os.fsdecode(name)
    file.write_bytes(png)
    with pytest.raises(InvalidRequest, match="is not UTF-8; rename the file"):
        images.look(file)
    target: Any = Target({"UploadBucketName": "b", "ApiUrl": "https://api.example/v1"})
    target.__dict__["_settings"] = {}
    with pytest.raises(InvalidRequest, match="rename the file"):
        images.find([str(tmp_path)])
    with pytest.raises(InvalidRequest, match="rename the file"):
        actions.submit(target, Wish("x"), str(file), None)


@pytest.fixture
def say() -> Callable[..., str]:
    """Runs a command, which must fail with one sentence."""

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code in (1, 2), result.output
        assert isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result.output

    return run


@pytest.mark.parametrize("name", [name.replace(b".png", b".csv") for name in NAMES])
def test_a_manifest_whose_name_is_no_key_is_not_checked(say: Callable[..., str], tmp_path: Path, name: bytes) -> None:
    file = tmp_path / os.fsdecode(name)
    file.write_bytes(b"prompt\nx\n")
    assert "rename the file" in " ".join(say("batch", str(file), "--dry-run").split())


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (command, kind)
        for command in (("models",), ("drop",), ("batch", "--dry-run"), ("status",), ("get",), ("explain",))
        for kind, text in ARGUMENTS.items()
        if len(text) < 100_000 and (command, kind) != (("models",), "empty")  # `seedance models` shows all of them
    ],
)
def test_a_hostile_argument_ends_with_a_sentence(
    say: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], kind: str
) -> None:
    monkeypatch.setenv("SEEDANCE_HOME", str(tmp_path))
    assert len(say(*command, "--", ARGUMENTS[kind])) < 3000


OPTIONS = ("list --since", "list --updated-since", "list --model", "costs --since", "ledger --date")


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", [kind for kind, text in ARGUMENTS.items() if text and len(text) < 100_000])
def test_a_hostile_option_ends_with_a_sentence(
    say: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, kind: str
) -> None:
    monkeypatch.setenv("SEEDANCE_HOME", str(tmp_path))
    command, _, name = option.partition(" ")
    assert len(say(command, f"{name}={ARGUMENTS[kind]}")) < 3000
