"""Lambda handler of finalize."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.finalize import finalize
from seedance.jobs.tasks import TaskAnswer, TaskInput


@lambda_entry.observed
def handler(event: TaskInput, context: Any) -> TaskAnswer:
    """See seedance.finalize."""
    return finalize()(event["job_id"])
