"""Lambda handler of fail: takes the output of the previous state, returns how the job ended."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.fail import fail
from seedance.jobs.tasks import FailAnswer, FailInput


@lambda_entry.observed
def handler(event: FailInput, context: Any) -> FailAnswer:
    """See seedance.fail."""
    return fail()(event)
