"""Lambda handler of plan: takes a manifest's batch, returns the batch's state."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.plan import plan


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.plan."""
    return plan()(event)
