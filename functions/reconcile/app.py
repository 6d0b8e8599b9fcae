"""Lambda handler of reconcile: runs one round, on a schedule."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.reconcile import reconcile


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.reconcile."""
    return {"done": reconcile()()}
