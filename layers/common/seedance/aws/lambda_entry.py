"""The way into every Lambda function, and the first thing that it loads.

What a submit loads is eighty thousand objects that stay. To look for garbage among them takes 6 % of its
start (docs/decisions.md), so nobody looks before all is loaded; from then on they are left out.
"""

import gc
from collections.abc import Callable
from functools import wraps
from typing import Any

gc.disable()

Handler = Callable[[dict[str, Any], Any], Any]


def observed(handler: Handler) -> Handler:
    """Decorates a Lambda handler: its request id in every log line, its metrics out also when it raises."""
    from seedance.observability import flush, logger  # noqa: PLC0415 - Powertools is loaded without the collector, too

    gc.freeze()
    gc.enable()

    @wraps(handler)
    def wrapper(event: dict[str, Any], context: Any) -> Any:
        logger().append_keys(
            function=getattr(context, "function_name", None), request=getattr(context, "aws_request_id", None)
        )
        try:
            return handler(event, context)
        finally:
            flush()

    return wrapper
