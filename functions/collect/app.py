"""Lambda entry of collect: a batch's state in, the state after one look out."""

from typing import Any

from seedance import entry
from seedance.collect import collect


@entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.collect."""
    return collect()(event)
