"""Lambda handler of enqueue: takes a chunk of a batch's plan, returns the number of jobs created from it."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.enqueue import enqueue


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """See seedance.enqueue."""
    return enqueue()(event)
