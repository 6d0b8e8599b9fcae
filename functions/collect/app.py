"""Lambda handler of collect."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.collect import collect
from seedance.jobs.tasks import CrashedBatch, EndedBatch, PlannedBatch


@lambda_entry.observed
def handler(event: PlannedBatch | CrashedBatch, context: Any) -> PlannedBatch | EndedBatch:
    """See seedance.collect."""
    return collect()(event)
