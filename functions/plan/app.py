"""Lambda entry of plan: a manifest's batch in, the batch's state out."""

from typing import Any

from seedance import entry
from seedance.plan import plan


@entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.plan."""
    return plan()(event)
