"""Shows on standard error that a command works, for everything that may take more than a second."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from cli.options import err
from cli.output import warn

LINE_SECONDS = 10.0
"""How often a log gets a line about work that is counted."""

Advance = Callable[[float], None]

_screen = threading.Lock()
"""Held by what is shown. A step of it, perhaps in another thread, shows nothing of its own."""


@contextlib.contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show what a command waits for, on a screen. The yielded call changes the text. A log gets nothing."""
    if not err.is_terminal or not _screen.acquire(blocking=False):
        yield lambda _: None
        return
    try:
        with err.status(escape(what)) as status:
            yield lambda text: status.update(escape(text))
    finally:
        _screen.release()


@contextlib.contextmanager
def counting(what: str, total: float, shown: Callable[[float], str] = "{:,.0f}".format) -> Iterator[Advance]:
    """Show how much of the work is done. The yielded call adds to it; threads may call it.

    ``shown`` writes an amount. A log gets a line every LINE_SECONDS.
    """
    if err.is_terminal and _screen.acquire(blocking=False):
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[done]}"))
        try:
            with Progress(*columns, console=err, transient=True) as progress:
                task = progress.add_task(escape(what), total=total, done="")

                def on_screen(amount: float) -> None:
                    progress.advance(task, amount)
                    done = progress.tasks[0].completed
                    progress.update(task, done=f"{shown(done)} of {shown(total)}")

                yield on_screen
        finally:
            _screen.release()
        return
    done, last = 0.0, time.monotonic()

    def in_a_log(amount: float) -> None:
        nonlocal done, last
        done += amount
        if (now := time.monotonic()) - last >= LINE_SECONDS:
            last = now
            warn(f"{what}: {shown(done)} of {shown(total)}")

    yield in_a_log


def megabytes(size: float) -> str:
    """A number of bytes in MB."""
    return f"{size / 1e6:,.1f} MB"
