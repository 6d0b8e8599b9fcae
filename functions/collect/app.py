"""Lambda entry of collect: a batch's state in, the state after one look out."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.collect import collect


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.collect."""
    return collect()(event)
