"""Lambda entry of plan: a manifest's batch in, the batch's state out."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.plan import plan


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.plan."""
    return plan()(event)
