"""Lambda handler of finalize: takes ``{"job_id"}``, returns the task's outcome."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.finalize import finalize


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.finalize."""
    return finalize()(event["job_id"])
