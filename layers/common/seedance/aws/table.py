"""The keys of the table's items. A job's key is its id; all other keys contain a "#". Pure."""

CALENDAR = "calendar#requests"
"""The calendar of requests to the provider (pacing.pacer)."""

IN_FLIGHT = "count#in_flight"
"""The number of videos in progress (jobs.budget)."""

SWITCH = "switch#submits"
"""Exists while submits are paused (jobs.store)."""

PLACE = "place#reconcile"
"""The place at which the last round of reconcile ran out of time (jobs.store)."""


def day_key(day: str) -> str:
    """The budget of a UTC day (jobs.budget)."""
    return f"day#{day}"


def request_key(request_id: str) -> str:
    """The job that owns a provider request (jobs.store)."""
    return f"request#{request_id}"


def durations_key(model: str) -> str:
    """The latest durations of a model's videos (jobs.store)."""
    return f"durations#{model}"
