"""The job: its fields, its states, the transitions between them, and how its id comes about. Pure."""

import hashlib
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from seedance.errors import BadRecord
from seedance.jobs import records
from seedance.pacing import poll_schedule

RECORD_KEPT_SECONDS = 400 * 24 * 3600
"""How long a record is kept: past a year's accounts, and far past any redelivery of its event."""


SUBMITTING_SECONDS = 75.0
"""After this a v2 submit that has not been heard of is dead: its function's time-out and a margin."""


class State(StrEnum):
    """Where a job stands. The order is the usual order of events."""

    RECEIVED = "RECEIVED"
    """Accepted and waiting to be submitted. ``error`` says why the last submit was put off."""
    SUBMITTING = "SUBMITTING"
    """The request is being sent to the provider."""
    QUEUED = "QUEUED"
    """In the provider's queue."""
    PROCESSING = "PROCESSING"
    """The provider is making the video."""
    COPYING = "COPYING"
    """The video is made and is being copied into your bucket."""
    COMPLETED = "COMPLETED"
    """The video is in your bucket."""
    FAILED = "FAILED"
    """The provider could not make the video, or it could not be copied. ``error`` says why."""
    EXPIRED = "EXPIRED"
    """Not ready within the hour for which the provider keeps a request."""
    REJECTED = "REJECTED"
    """Invalid input, or more expensive than a whole day's budget. Never sent; costs nothing."""
    HELD = "HELD"
    """Waits for money or for a person. ``error`` says which."""
    UNCERTAIN = "UNCERTAIN"
    """The request was sent and its outcome is unknown. The provider's history is searched; nothing is sent again."""

    @property
    def terminal(self) -> bool:
        """Whether the job is over, with a notification."""
        return self in TERMINAL


TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.EXPIRED, State.REJECTED})

UNDER_WAY = frozenset({State.SUBMITTING, State.QUEUED, State.PROCESSING, State.COPYING, State.UNCERTAIN})
"""With a reservation in the day's budget, and counted against MaxInFlight."""

AT_PROVIDER = frozenset({State.QUEUED, State.PROCESSING, State.COPYING})
"""Bought, with a known request. Trouble of ours never ends such a job: its video may be there."""

TRANSITIONS: dict[State, frozenset[State]] = {
    # Back from SUBMITTING to RECEIVED: the provider certainly queued nothing, so it may be asked again.
    State.RECEIVED: frozenset({State.SUBMITTING, State.REJECTED, State.FAILED, State.HELD}),
    State.SUBMITTING: frozenset(
        {State.QUEUED, State.COPYING, State.RECEIVED, State.FAILED, State.HELD, State.UNCERTAIN}
    ),
    # To HELD: made and paid, but nobody can tell by itself where the video is.
    State.QUEUED: frozenset({State.PROCESSING, State.COPYING, State.FAILED, State.EXPIRED, State.HELD}),
    State.PROCESSING: frozenset({State.COPYING, State.FAILED, State.EXPIRED, State.HELD}),
    State.COPYING: frozenset({State.COMPLETED, State.FAILED, State.EXPIRED, State.HELD}),
    State.HELD: frozenset({State.RECEIVED, State.QUEUED, State.COPYING, State.FAILED}),
    # Found in the provider's history, or a person's decision.
    State.UNCERTAIN: frozenset({State.QUEUED, State.COPYING, State.HELD, State.RECEIVED, State.FAILED}),
    State.COMPLETED: frozenset(),
    # Only a person's command leads out of an end: to what was paid for, or to a new paid submit.
    State.FAILED: frozenset({State.COPYING, State.RECEIVED}),
    State.EXPIRED: frozenset({State.COPYING, State.RECEIVED}),
    State.REJECTED: frozenset(),
}


class Hold(StrEnum):
    """Why a job is HELD: the ``code`` of its error. It says who may let it go."""

    BUDGET = "OVER_BUDGET"
    """The day's budget is used up; the next day lets it go."""
    PAUSED = "SUBMITS_PAUSED"
    """Submits are stopped, by a person or for want of credits; ``seedance resume`` lets it go."""
    LOST = "SUBMIT_LOST"
    """An uncertain submit that can't be resolved by itself; a person decides."""
    RESULT = "RESULT_UNCLEAR"
    """The video is made and paid, but its link is missing, ambiguous or not allowed; a person decides."""


@dataclass(kw_only=True)
class Job:
    """One asked-for video. Fields are the attributes of its DynamoDB item; times are Unix seconds."""

    job_id: str
    state: State
    source: str
    """``upload``, ``api`` or ``batch``; ``adopted`` where a person made a job of a request that none owned."""
    name: str
    """What the video is called when it is downloaded, without extension."""
    folder: str
    """Where under ``videos/`` it lands."""
    model: str
    transport: str
    parameters: dict[str, Any] = field(default_factory=dict)
    """Validated, under the provider's names; an image in a bucket is not among them but in ``image``."""
    image: dict[str, Any] | None = None
    """``bucket``, ``key``, ``version_id`` (or None) and ``content_type`` of the image in our bucket; ``uploaded``, its
    address in the provider's asset store, where that was sent."""
    fingerprint: str | None = None
    """Digest of the API body, to tell a repeated Idempotency-Key from a reused one."""
    batch: str | None = None
    """The batch it belongs to."""
    row: int | None = None
    """Its row in the batch's manifest, from 1."""
    created_at: float = 0.0
    updated_at: float = 0.0
    entered: dict[str, float] = field(default_factory=dict)
    """When each state was entered last."""
    expected_seconds: float = 0.0
    """The mean that the model's videos take, in the provider's seconds: the published one, until the job is
    submitted with what was learnt since."""
    sigma: float = poll_schedule.PUBLISHED_SIGMA
    """Standard deviation of the logarithm of what they take."""
    attempts: int = 0
    """How often a submit was begun."""
    turn_at: float | None = None
    """When a job that had to wait may be submitted, in provider's seconds (see pacing.pacer)."""
    executions: int = 0
    """How many executions were started for the job beyond its first; part of their names."""
    reserved_usd: float | None = None
    """What the day's budget holds for this job; None before the first submit and after the end."""
    reserved_day: str | None = None
    """The UTC day whose budget that is, or was."""
    held_day: str | None = None
    """The UTC day whose budget had no room for it, where that is why it is HELD: midnight may pass before that is
    written."""
    settled_usd: float | None = None
    """What is booked as spent for the request: its cost, or the estimate where the provider gave none."""
    settled_days: dict[str, float] = field(default_factory=dict)
    """What is booked as spent for the job, all its requests together, by the UTC day that it is booked on."""
    resubmitted: bool = False
    """Whether an uncertain submit was sent again; it happens once at most."""
    submitted_at: float | None = None
    request_id: str | None = None
    earlier_request_ids: list[str] = field(default_factory=list)
    """Requests that were given up before the job was submitted again. They may be made, and billed, all the same."""
    gone_polls: int = 0
    """How many polls in a row found no record, or no usable link, at the provider."""
    result_url: str | None = None
    last_frame_url: str | None = None
    answer: str | None = None
    """The provider's answer of a video that is made but whose link is unclear; masked, at most masking.KEPT_BYTES."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The provider's own timings, in its seconds."""
    cost_usd: float | None = None
    video: dict[str, Any] | None = None
    """``bucket``, ``key``, ``bytes``, ``sha256`` and, when the model gave one, ``last_frame_key``."""
    error: dict[str, str] | None = None
    """``code`` for machines, ``message`` for people; of a job that is RECEIVED, why its last submit was put off."""
    notified_at: float | None = None
    expires_at: int | None = None
    """When DynamoDB may delete the record."""

    @classmethod
    def from_record(cls, record: dict[str, Any], drop: Callable[[str], None] | None = None) -> Self:
        """A job from its item. Attributes that a newer version wrote are passed over.

        A value that can not be and that nothing hangs on is left out, and ``drop`` is told its name. Raises BadRecord
        for one that a video or money hangs on, and for what is missing.
        """
        values, dropped = records.job(record)
        job_id = str(record.get("job_id"))
        if values.get("state") not in set(State):
            raise BadRecord(job_id, "state", values.get("state"))
        for of in fields(cls):
            if of.name not in values and of.default is MISSING and of.default_factory is MISSING:
                raise BadRecord(job_id, of.name)
        for name in dropped:
            if drop:
                drop(name)
        if "submitted_at" in dropped:  # without any the job's hour would never end
            values["submitted_at"] = values.get("created_at")
        known = {of.name for of in fields(cls)}
        values = {name: value for name, value in values.items() if name in known}
        return cls(**{**values, "state": State(values["state"])})

    def to_record(self) -> dict[str, Any]:
        """The item: every field that has a value."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in record.items() if value is not None}

    @property
    def code(self) -> str | None:
        """The code of the job's error, if it has one."""
        return (self.error or {}).get("code")

    @property
    def execution_name(self) -> str:
        """The name of the job's latest execution: its id, with a number from the second one on."""
        return f"{self.job_id}-{self.executions + 1}" if self.executions else self.job_id

    @property
    def video_key(self) -> str:
        """Where the video goes in the video bucket."""
        return f"videos/{self.folder}/{self.job_id}.mp4"

    @property
    def spread(self) -> poll_schedule.Spread:
        """How long the job may take."""
        mean = self.expected_seconds or poll_schedule.USUAL_SECONDS
        return poll_schedule.Spread(max(1.0, mean), self.sigma)

    def left_behind(self, request_id: str | None) -> list[str]:
        """The job's earlier requests once its own is ``request_id``."""
        known = [*self.earlier_request_ids, *([self.request_id] if self.request_id else [])]
        return [one for one in dict.fromkeys(known) if one != request_id]

    def age(self, now: float, scale: float) -> float:
        """Seconds since submission as the provider counts them (see Settings.time_scale)."""
        return (now - (self.submitted_at or now)) / scale

    def timings(self) -> dict[str, float]:
        """How long each stage took, in seconds: ours by the clock, the provider's as it reports them."""
        seconds: dict[str, float] = {}
        finished = next((self.entered[s] for s in TERMINAL if s in self.entered), None)
        if finished is not None:
            seconds["total_seconds"] = finished - self.created_at
        if self.submitted_at is not None:
            seconds["until_submitted_seconds"] = self.submitted_at - self.created_at
            copying = self.entered.get(State.COPYING)
            if copying is not None:
                seconds["at_provider_seconds"] = copying - self.submitted_at
                if finished is not None:
                    seconds["copying_seconds"] = finished - copying
        seconds |= {f"provider_{name}_seconds": value for name, value in self.metrics.items()}
        return {name: round(max(0.0, value), 3) for name, value in seconds.items()}


def upload_job_id(bucket: str, key: str, version: str) -> str:
    """The id of an upload's job: the same event twice is the same job, a new upload a new one.

    ``version`` is the object's version id, or the event's sequencer where the bucket is unversioned.
    """
    return "up-" + _digest(bucket, key, version)


def api_job_id(caller: str, idempotency_key: str) -> str:
    """The id of an API call's job; ``caller`` keeps two API keys' Idempotency-Keys apart."""
    return "api-" + _digest(caller, idempotency_key)


def batch_id(bucket: str, key: str, version: str) -> str:
    """The id of a manifest's batch, as that of an upload's job: the same event twice is the same batch."""
    return "batch-" + _digest(bucket, key, version)


def batch_job_id(batch: str, row: int) -> str:
    """The id of the job of a batch's row, whoever works it out."""
    return "ba-" + _digest(batch, str(row))


def adopted_job_id(request_id: str) -> str:
    """The id of the job that a request gets which had none: adopted twice, it is the same job."""
    return "ad-" + _digest(request_id)


def _digest(*parts: str) -> str:
    # Lengths make ("a", "bc") and ("ab", "c") differ. 32 hex digits fit a Step Functions execution name.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
