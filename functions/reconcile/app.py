"""Lambda entry of reconcile: a round when the schedule calls; an answer when a person's command asks something."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.reconcile import reconcile
from seedance.repair import repair


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.reconcile and, for events with an ``ask``, seedance.repair."""
    return repair().answer(event) if "ask" in event else {"done": reconcile()()}
