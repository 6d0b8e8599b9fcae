"""MiniStack with its IAM enforcement on (``AUTH=true``), instead of behind the gate of ``local.ministack_server``.

Each function gets a session of its own role, so the emulator must see the request as the function signed it: the gate
knows only the stack's credentials. Those are the account's root user for the emulator.

The emulator evaluates SendMessageBatch as an action of its own. On AWS, sqs:SendMessage grants it (SQS developer guide,
"Amazon SQS batch actions"), and no policy can name it.
"""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.core import iam_actions, lambda_runtime

from local.ministack_server import _allow_many_connections, share_layers

_GRANTED_BY = {"sqs:SendMessageBatch": "sqs:SendMessage", "sqs:DeleteMessageBatch": "sqs:DeleteMessage"}


def main() -> None:
    """Serve until the process is stopped."""
    from ministack.app import AUTH, app  # noqa: PLC0415 - the import reads the environment and sets up logging

    assert AUTH
    extract = iam_actions.extract_iam_action

    def granted_by(*args: Any, **kwargs: Any) -> Any:
        action = extract(*args, **kwargs)
        return _GRANTED_BY.get(action, action)

    iam_actions.extract_iam_action = granted_by
    share_layers(lambda_runtime, Path(tempfile.gettempdir()) / "layers")
    _allow_many_connections()
    config = Config()
    config.bind = [f"127.0.0.1:{os.environ['GATEWAY_PORT']}"]
    asyncio.run(serve(app, config, mode="asgi"))


if __name__ == "__main__":
    main()
