"""Lambda handler of the API: POST /videos, GET /videos/{job_id} and GET /models, behind an API key."""

from typing import Any

from seedance.api import api
from seedance.aws import lambda_entry
from seedance.aws.gateway import Response


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> Response:
    """See seedance.api."""
    return api().respond(event)
