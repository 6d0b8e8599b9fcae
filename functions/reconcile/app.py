"""Lambda entry of reconcile: a round when the schedule calls; a question when a person's command does.

So that those commands need no provider's key: ``{"ask": "history", "model", "since", "until", "page"}`` gives
``{"rows", "next"}``, ``{"ask": "adopt", "job_id", "request_id"}`` a state; a refusal is ``{"error"}``.
"""

from typing import Any

from seedance import entry
from seedance.errors import SeedanceError
from seedance.reconcile import reconcile


@entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.reconcile."""
    try:
        match event.get("ask"):
            case "history":
                return reconcile().history_part(event["model"], event["since"], event["until"], event.get("page"))
            case "adopt":
                return {"state": reconcile().adopt_request(event["job_id"], event["request_id"])}
    except SeedanceError as error:
        return {"error": str(error)}
    return {"done": reconcile()()}
