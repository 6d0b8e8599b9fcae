"""The data that a local stack keeps if a real provider makes its videos, because they are paid for.

home/kept/stack.json  what is deployed, and the earliest time of a job; written once the stack is running
home/kept/aws, s3     the emulator's state and objects, written every few seconds (local.ministack_server)
"""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from local import launch
from local.options import StackError

FOLDER = "kept"
_RECORD = "stack.json"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A kept stack."""

    since: float
    """When it was first started, as a Unix time."""
    build: str
    """The deployed version of template and code (launch.build_digest)."""
    stack: dict[str, Any]
    """Its outputs.json."""
    clean: bool = False
    """Whether it was stopped by ``down``, so that all its state was written."""

    @classmethod
    def read(cls, home: Path) -> Self | None:
        """The kept stack there, or None. Raises StackError if it can't be read."""
        path = home / FOLDER / _RECORD
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise StackError(f"{path} can't be read ({error}); `seedance down --purge` deletes it") from error

    def write(self, home: Path) -> None:
        """Write it there."""
        launch.write_json(home / FOLDER / _RECORD, asdict(self))

    def marked(self, *, clean: bool) -> Self:
        """A copy, marked as cleanly stopped or as running."""
        return replace(self, clean=clean)


def is_kept(home: Path) -> bool:
    """Whether a stack is kept there."""
    return (home / FOLDER / _RECORD).exists()


def purge(home: Path) -> None:
    """Delete the kept data, including the videos."""
    shutil.rmtree(home / FOLDER, ignore_errors=True)


def set_aside(home: Path) -> Path:
    """Move the kept data to another folder, so that a new stack can start. Returns the folder."""
    aside = home / f"{FOLDER}-{time.strftime('%Y%m%d-%H%M%S')}"
    (home / FOLDER).rename(aside)
    return aside


def videos(home: Path) -> Iterator[Path]:
    """The files of the kept videos."""
    return (home / FOLDER / "s3").rglob("*.mp4")
