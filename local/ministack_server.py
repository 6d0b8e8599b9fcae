"""The emulator's process: MiniStack's ASGI application behind the gate, on one port of the loopback address.

It reads these variables: ``GATEWAY_PORT``, and ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, with which
requests must be signed. The emulator passes the secret on to the functions. With ``PERSIST_STATE=1``, its state is
written to ``STATE_DIR`` while it runs, and not only when it stops.
"""

import asyncio
import contextlib
import logging
import os
import resource
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from local.gate import SAVE, App, Gate
from local.sigv4 import Credentials

_SAVE_SECONDS = 5.0
_RECORDS = ("s3", "sns", "sqs", "secretsmanager")
"""Services besides the table whose state jobs change. A crash may lose recent changes: messages are delivered again."""

_TABLE_READS = (b"Get", b"BatchGet", b"Query", b"Scan", b"Describe", b"List", b"TransactGet")

_KEEP_ALIVE_SECONDS = 75.0
"""As in MiniStack's own server: longer than clients keep idle connections, so that none is closed in use."""


def main() -> None:
    """Serve until SIGINT or SIGTERM. MiniStack then writes its state."""
    # Imported here, because the import reads the environment and sets up logging.
    from ministack.app import app  # type: ignore[import-untyped]  # noqa: PLC0415

    port = int(os.environ["GATEWAY_PORT"])
    credentials = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    _allow_many_connections()
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    config.loglevel = os.environ.get("LOG_LEVEL", "INFO")
    kept = os.environ.get("PERSIST_STATE") == "1"
    asyncio.run(_serve(Gate(_kept(app) if kept else app, port, credentials), config, kept))


async def _serve(gate: Gate, config: Config, kept: bool) -> None:
    saving = asyncio.create_task(_save_records()) if kept else None
    try:
        await serve(gate, config, mode="asgi")  # type: ignore[arg-type]
    finally:
        if saving:
            saving.cancel()


def _kept(app: App) -> App:
    """The emulator, changed to respond to a table write only once that is on disk, and to save everything at SAVE.

    Otherwise, after a crash a job could be back in the state before its submit, and the next start would buy its video
    again. Written files survive a crash of this process, but not a power failure.
    """
    from ministack.core.persistence import save_all  # type: ignore[import-untyped]  # noqa: PLC0415 - as in main
    from ministack.services import dynamodb  # type: ignore[import-untyped]  # noqa: PLC0415

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
