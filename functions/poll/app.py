"""Lambda entry of poll: event ``{"job_id", "slot"}`` in, the task's outcome out."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.poll import poll


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.poll."""
    return poll()(event["job_id"], event.get("slot"))
