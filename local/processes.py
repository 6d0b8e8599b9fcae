"""Starts processes in their own groups, identifies them by pid and command line, and stops them with their children."""

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
"""How long a process has to end by itself. Both servers need much less than one second."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C and similar signals until the end of the block.

    For the two situations in which they would leave a process behind: between starting and recording it, and while
    stopping it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python only delivers signals to the main thread
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
    """Start a command that writes to a log and has no input.

    It has its own process group, so the terminal's Ctrl-C does not reach it, and its children can be stopped with it.
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
    # Right after its start, a process has no command line yet, and `stop` would not recognise it.
    while command_line(child.pid) is None and child.poll() is None:
        time.sleep(0.001)
    return child


def command_line(pid: int) -> str | None:
    """The command line of a running process; None if there is no process with this pid, or only a zombie."""
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
    """Whether this pid is still the same process: ``mark`` must be part of its command line."""
    return mark in (command_line(pid) or "")


def stop(pid: int, patience: float = STOP_SECONDS) -> None:
    """Stop a process started by ``start``, and its whole group. Kill it if it takes longer than ``patience``."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    # The children that it left running, such as the emulator's workers. (macOS returns EPERM for zombies.)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    while _alive(pid) and time.monotonic() < deadline + 1:
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):  # it may be a child of another command
        os.waitpid(pid, os.WNOHANG)
    return command_line(pid) is not None


def free_port() -> int:
    """A port that is currently free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether a program accepts connections on this port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def listener(port: int) -> str | None:
    """The program that listens on a port, as ``name (pid 123)``, if it can be found out."""
    lsof = shutil.which("lsof")
    if not lsof:
        return None
    answer = subprocess.run(
        [lsof, "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"], capture_output=True, text=True, check=False
    )
    fields = {line[:1]: line[1:] for line in reversed(answer.stdout.splitlines())}
    return f"{fields['c']} (pid {fields['p']})" if {"p", "c"} <= fields.keys() else None


def tail(log: Path, lines: int = 8) -> str:
    """The end of a log, for an error message."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
