"""The emulator's process: MiniStack's ASGI application behind the gate, on one port of the loopback address.

It reads these variables: ``GATEWAY_PORT``, and ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, with which
requests must be signed. The emulator passes the secret on to the functions. With ``PERSIST_STATE=1``, its state is
written to ``STATE_DIR`` while it runs, and not only when it stops. Below 1, ``SCHEDULE_SCALE`` shortens the times of
schedules. What the emulator sends is kept in memory, and in the file ``INBOX_FILE`` if that is given.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import resource
import tempfile
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from local.gate import SAVE, App, Gate
from local.inbox import INBOX, Inbox, watch
from local.sigv4 import Credentials

_SAVE_SECONDS = 5.0
_RECORDS = ("s3", "sns", "sqs", "secretsmanager")
"""Services besides the table whose state jobs change. A crash may lose recent changes: messages are delivered again."""

_TABLE_READS = (b"Get", b"BatchGet", b"Query", b"Scan", b"Describe", b"List", b"TransactGet")

_SHORTEST_TICK_SECONDS = 1.0
"""The shortest time between two looks at the schedules."""

_SHORTEST_RATE_SECONDS = 5.0
"""The shortest time between two events of a schedule: each starts a function, which takes a part of a second."""

_KEEP_ALIVE_SECONDS = 75.0
"""As in MiniStack's own server: longer than clients keep idle connections, so that none is closed in use."""


def main() -> None:
    """Serve until SIGINT or SIGTERM. MiniStack then writes its state."""
    # Imported here, because the import reads the environment and sets up logging.
    from ministack.app import app  # type: ignore[import-untyped]  # noqa: PLC0415
    from ministack.core import lambda_runtime  # type: ignore[import-untyped]  # noqa: PLC0415
    from ministack.services import eventbridge, sns  # type: ignore[import-untyped]  # noqa: PLC0415

    port = int(os.environ["GATEWAY_PORT"])
    credentials = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    _allow_many_connections()
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    config.loglevel = os.environ.get("LOG_LEVEL", "INFO")
    kept = os.environ.get("PERSIST_STATE") == "1"
    file = os.environ.get("INBOX_FILE")
    inbox = Inbox(Path(file) if file else None)
    watch(inbox, sns, eventbridge)
    share_layers(lambda_runtime, Path(tempfile.gettempdir()) / "layers")
    hurry(eventbridge, float(os.environ.get("SCHEDULE_SCALE", "1")))
    shown = _with_inbox(_kept(app) if kept else app, inbox)
    asyncio.run(_serve(Gate(shown, port, credentials), config, kept))


async def _serve(gate: Gate, config: Config, kept: bool) -> None:
    saving = asyncio.create_task(_save_records()) if kept else None
    try:
        await serve(gate, config, mode="asgi")  # type: ignore[arg-type]
    finally:
        if saving:
            saving.cancel()


def share_layers(runtime: Any, folder: Path) -> None:
    """Change the emulator's module for Lambda so that a layer is unpacked into ``folder`` once, not by each worker.

    On Lambda too, environments share what is in /opt. Unpacking the layer takes longer than the rest of a cold start.
    """
    unpacking = threading.Lock()

    class Archive(zipfile.ZipFile):
        """What the emulator opens: the code of a function, or a layer, which goes to a folder with this name."""

        def extractall(self, path: Any = None, members: Any = None, pwd: bytes | None = None) -> None:
            target = Path(path)
            if not target.name.startswith("layer_"):
                super().extractall(path, members, pwd)
                return
            shared = folder / hashlib.sha256(Path(str(self.filename)).read_bytes()).hexdigest()[:32]
            with unpacking:
                if not shared.exists():
                    part = shared.with_suffix(".part")
                    super().extractall(part)
                    part.rename(shared)
            target.rmdir()
            target.symlink_to(shared, target_is_directory=True)

    runtime.zipfile = SimpleNamespace(**{**vars(zipfile), "ZipFile": Archive})


def hurry(events: Any, scale: float) -> None:
    """Change the emulator's module for EventBridge so that ``rate(5 minutes)`` means five minutes times ``scale``."""
    seconds_of = events._parse_rate_seconds

    def scaled(expression: str) -> float | None:
        seconds = seconds_of(expression)
        return None if seconds is None else max(seconds * scale, min(seconds, _SHORTEST_RATE_SECONDS))

    events._parse_rate_seconds = scaled
    events._SCHEDULER_TICK_INTERVAL = max(_SHORTEST_TICK_SECONDS, events._SCHEDULER_TICK_INTERVAL * scale)


def _with_inbox(app: App, inbox: Inbox) -> App:
    """The emulator, and the inbox at its own path."""

    async def served(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") != INBOX:
            await app(scope, receive, send)
            return
        body = json.dumps({"entries": inbox.entries()}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return served


def _kept(app: App) -> App:
    """The emulator, changed to respond to a table write only once that is on disk, and to save everything at SAVE.

    Otherwise, after a crash a job could be back in the state before its submit, and the next start would buy its video
    again. Written files survive a crash of this process, but not a power failure.
    """
    from ministack.core.persistence import save_all  # type: ignore[import-untyped]  # noqa: PLC0415 - as in main
    from ministack.services import dynamodb  # noqa: PLC0415

    logging.getLogger("persistence").setLevel(logging.WARNING)  # it would log every file

    async def durable(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") == SAVE:
            save_all(_states())
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
            return
        target = dict(scope.get("headers", ())).get(b"x-amz-target", b"")
        service, _, operation = target.partition(b".")
        reads = not service.startswith(b"DynamoDB") or operation.startswith(_TABLE_READS)

        async def answer(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                save_all({"dynamodb": dynamodb.get_state})
            await send(message)

        await app(scope, receive, send if reads else answer)

    return durable


async def _save_records() -> None:
    from ministack.core.persistence import save_all  # noqa: PLC0415 - as in main

    while True:
        await asyncio.sleep(_SAVE_SECONDS)
        save_all({name: state for name, state in _states().items() if name in _RECORDS})


def _states() -> dict[str, Any]:
    from ministack import app as emulator  # type: ignore[import-untyped]  # noqa: PLC0415 - as in main

    return dict(emulator._build_persistence_save_dict())  # as when it stops


def _allow_many_connections() -> None:
    # Each connection needs a file, and many systems have a default limit of 256 or 1024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
