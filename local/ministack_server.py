"""The emulator's process: MiniStack's ASGI application behind the gate, on one port of this machine alone.

It reads its environment: ``GATEWAY_PORT``, and ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, with which
requests must be signed. The emulator hands the secret on to the functions.
"""

import asyncio
import contextlib
import os
import resource

from hypercorn.asyncio import serve
from hypercorn.config import Config

from local.gate import Gate
from local.sigv4 import Credentials

_KEEP_ALIVE_SECONDS = 75.0
"""As in MiniStack's own server: longer than clients keep an idle connection, so that none is closed in use."""


def main() -> None:
    """Serve until SIGINT or SIGTERM; MiniStack then writes down what it keeps."""
    # Here: importing it reads the environment and sets up logging.
    from ministack.app import app  # type: ignore[import-untyped]  # noqa: PLC0415

    port = int(os.environ["GATEWAY_PORT"])
    credentials = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    _allow_many_connections()
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    config.loglevel = os.environ.get("LOG_LEVEL", "INFO")
    asyncio.run(serve(Gate(app, port, credentials), config, mode="asgi"))  # type: ignore[arg-type]


def _allow_many_connections() -> None:
    # Each takes a file, and many systems start with a limit of 256 or 1024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
