"""Lambda handler of the API, behind an API key."""

from typing import Any

from seedance.aws import lambda_entry  # the first one, because it stops the garbage collector

# isort: split
from seedance.api import api
from seedance.aws.gateway import Response


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> Response:
    """See seedance.api."""
    return api().respond(event)
