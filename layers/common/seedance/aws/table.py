"""The table's items: the key of each kind. Jobs have their ids; everything else has a "#" in its key. Pure."""

CALENDAR = "calendar#requests"
"""When requests to the provider are booked (pacing.pacer)."""

IN_FLIGHT = "count#in_flight"
"""How many videos are under way (jobs.budget)."""

SWITCH = "switch#submits"
"""There while submits are paused (jobs.store)."""

PLACE = "place#reconcile"
"""Where the last round of reconcile ran out of time (jobs.store)."""


def day_key(day: str) -> str:
    """A UTC day's budget (jobs.budget)."""
    return f"day#{day}"


def request_key(request_id: str) -> str:
    """Which job owns a request of the provider's (jobs.store)."""
    return f"request#{request_id}"


def durations_key(model: str) -> str:
    """How long a model's videos took lately (jobs.store)."""
    return f"durations#{model}"
