"""Lambda handler of generate: takes ``{"job_id"}``, returns the task's outcome."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.generate import generate


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.generate."""
    return generate()(event["job_id"])
