"""The keys of the job table's items, and its indexes. A job's key is its id; all other keys contain a "#". Pure."""

STATE_INDEX = "by_state"
REQUEST_INDEX = "by_request"
MONTH_INDEX = "by_month"

CALENDAR = "calendar#requests"
"""The calendar of requests to the provider (pacing.pacer)."""

IN_FLIGHT = "count#in_flight"
"""The number of videos in progress (jobs.in_flight)."""

READING = "reading"
"""The attribute of that item with what reconcile counted; each change of the number removes it."""

SWITCH = "switch#submits"
"""Exists while submits are paused (jobs.switch)."""

LEASE = "lease#reconcile"
"""The round of reconcile that is running (reconcile)."""

PLACE = "place#reconcile"
"""The place at which the last round of reconcile ran out of time (reconcile)."""

GONE = "webhook#gone"
"""Exists while the receiver of webhooks has answered that it is gone (events.endpoint)."""


BATCHES = "batches"
"""What the records of batches have as their ``month``: all of them are one partition of that index."""


def batch_key(batch_id: str) -> str:
    """The record of a batch (batches.store)."""
    return f"batch#{batch_id}"


def plan_key(batch_id: str) -> str:
    """The plan of a batch that waits for approval (batches.store)."""
    return f"batch#{batch_id}#plan"


def day_key(day: str) -> str:
    """The budget of a UTC day (jobs.budget)."""
    return f"day#{day}"


def request_key(request_id: str) -> str:
    """The job that owns a provider request (jobs.store)."""
    return f"request#{request_id}"


def link_key(digest: str) -> str:
    """The lasting link to a video, by the SHA-256 of its token (jobs.lasting)."""
    return f"link#{digest}"


def bills_key(model: str) -> str:
    """The latest bills for a model's videos, by setting (jobs.bills)."""
    return f"bills#{model}"


def durations_key(model: str) -> str:
    """The latest durations of a model's videos (pacing.durations)."""
    return f"durations#{model}"
