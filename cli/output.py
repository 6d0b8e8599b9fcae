"""What commands print: text for people on `out`, or with --json nothing but JSON.

Progress, questions and warnings go to standard error in both cases.
"""

import contextlib
import functools
import inspect
import io
import json
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from seedance.bounds import well_formed
from seedance.observability import logger

from cli.options import err, out


class Exit(IntEnum):
    """The exit codes of all commands."""

    DONE = 0
    """The command did what it says. With `--wait`: every video is made."""
    FAILED = 1
    """It did not, or what was asked for is not so: no video, a ledger that does not balance, too high a price. Standard
    error says why."""
    USAGE = 2
    """The command line is wrong: an unknown command or option, a missing argument, a value that is not allowed."""
    STOPPED = 130
    """Stopped with Ctrl-C. After another signal: 128 and its number, such as 143 for SIGTERM. What runs in the stack
    continues."""


_AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON and nothing else to standard output: one object, or JSON lines.")
]


def with_json(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the option --json. With it, what the command prints for people is dropped, and `emit` prints."""

    @functools.wraps(command)
    def run(*args: Any, as_json: bool, **options: Any) -> None:
        before, out.quiet = out.quiet, as_json
        try:
            command(*args, **options)
        finally:
            out.quiet = before

    signature = inspect.signature(command)
    option = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_AsJson)
    vars(run)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), option])
    run.__annotations__ = {**command.__annotations__, "as_json": _AsJson}
    return run


class _StandardError(io.TextIOBase):
    """Standard error as it is at the time of each write."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)


def log_to_standard_error() -> None:
    """Send the layer's log, which a function writes to standard output, where it does not mix with results."""
    with contextlib.redirect_stdout(_StandardError()):
        logger()  # it keeps the standard output of its creation


def wants_json() -> bool:
    """Whether the command that runs was asked for JSON."""
    return out.quiet


def for_progress() -> Console:
    """Where progress is shown: with the rest of the text, or with --json on standard error."""
    return err if wants_json() else out


def say(text: str) -> None:
    """Print text for people. Lines are not cut, because people copy from them."""
    out.print(text, soft_wrap=True, markup=False)


def warn(text: str) -> None:
    """Print a warning."""
    err.print(text, soft_wrap=True, markup=False)


def emit(value: object) -> None:
    """Print one JSON object, if the command was asked for JSON."""
    _write(value, indent=2)


def emit_line(value: object) -> None:
    """Print one line of JSON lines, if the command was asked for JSON."""
    _write(value, indent=None)


def _write(value: object, indent: int | None) -> None:
    if not wants_json():
        return
    try:
        print(well_formed(json.dumps(value, indent=indent, ensure_ascii=False)), flush=True)
    except UnicodeEncodeError:  # standard output has another encoding than UTF-8
        print(json.dumps(value, indent=indent), flush=True)
