"""Lambda handler of plan."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.jobs.tasks import BatchInput, PlannedBatch, RefusedBatch
from seedance.plan import plan


@lambda_entry.observed
def handler(event: BatchInput, context: Any) -> PlannedBatch | RefusedBatch:
    """See seedance.plan."""
    return plan()(event)
