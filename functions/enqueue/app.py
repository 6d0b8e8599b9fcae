"""Lambda entry of enqueue: a chunk of a batch's plan in, how many jobs it became out."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.enqueue import enqueue


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """See seedance.enqueue."""
    return enqueue()(event)
