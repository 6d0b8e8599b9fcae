"""Lambda handler of poll: takes ``{"job_id", "slot"}``, returns the task's outcome."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.poll import poll


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.poll."""
    return poll()(event["job_id"], event.get("slot"))
