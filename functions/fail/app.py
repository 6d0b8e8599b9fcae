"""Lambda entry of fail: what the state before returned in, how the job ended out."""

from typing import Any

from seedance import entry
from seedance.fail import fail


@entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.fail."""
    return fail()(event)
