"""Lambda handler of collect: takes a batch's state, checks its jobs once, and returns the new state."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.collect import collect


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.collect."""
    return collect()(event)
