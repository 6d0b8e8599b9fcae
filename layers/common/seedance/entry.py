"""The way into every Lambda function, and the first thing that it loads.

A start makes a hundred thousand objects, nearly all of which stay. To look for garbage among them took a tenth of a
submit's start (docs/decisions.md), so nobody looks before the first call is over; from then on they are left out.
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

    @wraps(handler)
    def wrapper(event: dict[str, Any], context: Any) -> Any:
        logger().append_keys(
            function=getattr(context, "function_name", None), request=getattr(context, "aws_request_id", None)
        )
        try:
            return handler(event, context)
        finally:
            flush()
            if not gc.isenabled():
                gc.freeze()
                gc.enable()

    return wrapper
