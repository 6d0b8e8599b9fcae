"""GET /videos/{job_id}/timeline: what happened to a job, from its record."""

from typing import TypedDict

from seedance.jobs import timeline
from seedance.jobs.job import Job, State
from seedance.notices.job_message import iso


class TimelineEvent(TypedDict):
    """Something that happened to a job."""

    at: str
    """When. If the same happened several times in a row: the first time."""
    event: str
    """What happened, in words."""
    state: State | None
    """The state that the job entered, or that the reason is about."""
    code: str | None
    """The reason's code."""
    attempt: int | None
    """The submit that the reason is about, counted from 1."""


class Timeline(TypedDict):
    """What happened to a job, in time order: the states, each when it was last entered, and every reason."""

    job_id: str
    state: State
    events: list[TimelineEvent]


def describe(job: Job) -> Timeline:
    """The timeline as the API returns it."""
    events: list[TimelineEvent] = [
        {
            "at": iso(event.at) or "",
            "event": event.what,
            "state": event.state,
            "code": event.code,
            "attempt": event.attempt,
        }
        for event in timeline.events(job)
    ]
    return {"job_id": job.job_id, "state": job.state, "events": events}
