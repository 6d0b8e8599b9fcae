"""What a local stack keeps when its videos are made by a real provider: they were paid for.

home/kept/stack.json  what was deployed, and when the first job can have been made; there once the stack is up
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
    """A stack that is kept."""

    since: float
    """When it was first started, as a Unix time."""
    build: str
    """The state of template and code that is deployed (launch.build_digest)."""
    stack: dict[str, Any]
    """Its outputs.json."""
    clean: bool = False
    """Whether it was stopped by ``down``, and so wrote down all of its state."""

    @classmethod
    def read(cls, home: Path) -> Self | None:
        """What is kept there; None if nothing is. Raises StackError when it can't be read."""
        path = home / FOLDER / _RECORD
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise StackError(f"{path} can't be read ({error}); `seedance down --purge` deletes it") from error

    def write(self, home: Path) -> None:
        """Keep it there."""
        launch.write_json(home / FOLDER / _RECORD, asdict(self))

    def marked(self, *, clean: bool) -> Self:
        """The same, stopped or running."""
        return replace(self, clean=clean)


def is_kept(home: Path) -> bool:
    """Whether a stack is kept there."""
    return (home / FOLDER / _RECORD).exists()


def purge(home: Path) -> None:
    """Delete what is kept, the videos too."""
    shutil.rmtree(home / FOLDER, ignore_errors=True)


def set_aside(home: Path) -> Path:
    """Move what is kept out of the way, for a new stack to begin; where it is now."""
    aside = home / f"{FOLDER}-{time.strftime('%Y%m%d-%H%M%S')}"
    (home / FOLDER).rename(aside)
    return aside


def videos(home: Path) -> Iterator[Path]:
    """The videos that are kept, as files."""
    return (home / FOLDER / "s3").rglob("*.mp4")
