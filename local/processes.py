"""Processes: started in groups of their own, recognised by pid and command line, stopped with all they started."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

STOP_SECONDS = 5.0
"""How long a process gets to end by itself. Both servers need well under one second."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and its like back for a moment; they are delivered when the block is left.

    For the two moments at which they would leave something behind: between a start and its record, and
    in the middle of stopping.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers signals to the main thread alone
        return
    arrived: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)

    before = {number: signal.signal(number, remember) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])


def start(command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a command that leaves a log and reads nothing.

    It leads a group of its own: the terminal's Ctrl-C does not reach it, and whatever it starts can be
    stopped with it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        child = subprocess.Popen(
            [str(part) for part in command],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # For an instant after its start a process has no command line yet, and `stop` would not know it.
    while command_line(child.pid) is None and child.poll() is None:
        time.sleep(0.001)
    return child


def command_line(pid: int) -> str | None:
    """The command line of a living process; None when there is none of that pid, or only its remains."""
    proc = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self/cmdline").exists():
        try:
            return proc.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip() or None
        except OSError:
            return None
    answer = subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)
    text = answer.stdout.strip()
    return None if not text or text.endswith("<defunct>") else text


def is_running(pid: int, mark: str) -> bool:
    """Whether that pid is still the process that was meant: ``mark`` is part of its command line."""
    return mark in (command_line(pid) or "")


def stop(pid: int, patience: float = STOP_SECONDS) -> None:
    """End a process that ``start`` began, and everything in its group; kill it if it takes longer than that."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    # What it started and left behind, such as the emulator's workers. (macOS answers EPERM for remains.)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    while _alive(pid) and time.monotonic() < deadline + 1:
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):  # it may be some other command's child
        os.waitpid(pid, os.WNOHANG)
    return command_line(pid) is not None


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody accepts connections on that port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def listener(port: int) -> str | None:
    """Who listens on a port, as ``name (pid 123)``, where the machine can tell."""
    lsof = shutil.which("lsof")
    if not lsof:
        return None
    answer = subprocess.run(
        [lsof, "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"], capture_output=True, text=True, check=False
    )
    fields = {line[:1]: line[1:] for line in reversed(answer.stdout.splitlines())}
    return f"{fields['c']} (pid {fields['p']})" if {"p", "c"} <= fields.keys() else None


def tail(log: Path, lines: int = 8) -> str:
    """The end of a log, for a message about what went wrong."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
