"""Lambda entry of fail: what the state before returned in, how the job ended out."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.fail import fail


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.fail."""
    return fail()(event)
