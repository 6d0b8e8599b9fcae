"""Lambda handler of generate."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.generate import generate
from seedance.jobs.tasks import TaskAnswer, TaskInput


@lambda_entry.observed
def handler(event: TaskInput, context: Any) -> TaskAnswer:
    """See seedance.generate."""
    return generate()(event["job_id"])
