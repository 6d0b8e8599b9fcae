"""Lambda entry of generate: event ``{"job_id"}`` in, the task's outcome out."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.generate import generate


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.generate."""
    return generate()(event["job_id"])
