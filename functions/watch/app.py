"""Lambda handler of watch: answers clicks on lasting links, which need no key."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.aws.gateway import Response
from seedance.watch import watch


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> Response:
    """See seedance.watch."""
    return watch().respond(event)
