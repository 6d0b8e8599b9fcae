"""Lambda handler of poll."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.jobs.tasks import TaskAnswer, TaskInput
from seedance.poll import poll


@lambda_entry.observed
def handler(event: TaskInput, context: Any) -> TaskAnswer:
    """See seedance.poll."""
    return poll()(event["job_id"], event.get("slot"))
