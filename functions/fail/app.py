"""Lambda handler of fail: takes the output of the previous state, returns how the job ended."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.fail import fail


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.fail."""
    return fail()(event)
