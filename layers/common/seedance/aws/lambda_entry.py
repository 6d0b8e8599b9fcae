"""The entry point of every Lambda function, and the first module that it imports.

The imports of a submit create eighty thousand permanent objects. Searching them for garbage takes 6% of its cold start
(docs/decisions.md), so the garbage collector is off until everything is imported, and ignores these objects afterwards.
"""

import gc
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

gc.disable()

Event = TypeVar("Event")
Answer = TypeVar("Answer")


def observed(handler: Callable[[Event, Any], Answer]) -> Callable[[Event, Any], Answer]:
    """Decorates a Lambda handler: adds its request id to every log line, and writes its metrics even if it raises."""
    from seedance.observability import flush, logger  # noqa: PLC0415 - imports Powertools while the collector is off

    gc.freeze()
    gc.enable()

    @wraps(handler)
    def wrapper(event: Event, context: Any) -> Answer:
        logger().append_keys(
            function=getattr(context, "function_name", None), request=getattr(context, "aws_request_id", None)
        )
        try:
            return handler(event, context)
        finally:
            flush()

    return wrapper
