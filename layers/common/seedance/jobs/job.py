"""The job: its fields, its states, the transitions between them, and how its id is derived. Pure."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum, StrEnum, auto
from typing import Any, NotRequired, Self, TypedDict, assert_never

from seedance.errors import BadRecord
from seedance.jobs import records
from seedance.pacing import poll_schedule

RECORD_KEPT_DAYS = 400
"""The default of RecordRetentionDays: longer than a year's accounts need, and than any event is redelivered."""


SUBMITTING_SECONDS = 75.0
"""After this time, a v2 submit without a result has died: its function's timeout plus a margin."""


class State(StrEnum):
    """A job's state. The order is the usual order of events."""

    RECEIVED = "RECEIVED"
    """Accepted and waiting to be submitted. ``error`` says why the last submit was postponed."""
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
    CANCELLED = "CANCELLED"
    """A person or a program cancelled the job before it was bought."""
    HELD = "HELD"
    """Waiting for budget or for a person's decision. ``error`` says which."""
    UNCERTAIN = "UNCERTAIN"
    """The request was sent and its outcome is unknown. The provider's history is searched; nothing is sent again."""

    @property
    def terminal(self) -> bool:
        """Whether the job has ended, with a notification."""
        return self in TERMINAL


class Phase(Enum):
    """What a state means for the budget. Each state has exactly one phase."""

    WAITING = auto()
    """Nothing is reserved, and the job has not ended."""
    SENDING = auto()
    """Reserved, and perhaps bought, but no request is known."""
    AT_PROVIDER = auto()
    """Bought, with a known request. An error of ours never ends such a job, because its video may exist."""
    OVER = auto()
    """The job has ended. Its reservation is settled or released."""


def phase(state: State) -> Phase:
    """The phase of a state. mypy reports a state that is missing here."""
    match state:
        case State.RECEIVED | State.HELD:
            return Phase.WAITING
        case State.SUBMITTING | State.UNCERTAIN:
            return Phase.SENDING
        case State.QUEUED | State.PROCESSING | State.COPYING:
            return Phase.AT_PROVIDER
        case State.COMPLETED | State.FAILED | State.EXPIRED | State.REJECTED | State.CANCELLED:
            return Phase.OVER
        case _:
            assert_never(state)


TERMINAL = frozenset(state for state in State if phase(state) is Phase.OVER)

UNDER_WAY = frozenset(state for state in State if phase(state) in (Phase.SENDING, Phase.AT_PROVIDER))
"""States with a reservation in the day's budget, which count towards MaxInFlight."""

AT_PROVIDER = frozenset(state for state in State if phase(state) is Phase.AT_PROVIDER)

TRANSITIONS: dict[State, frozenset[State]] = {
    # Back from SUBMITTING to RECEIVED: the provider certainly queued nothing, so the job may be submitted again.
    State.RECEIVED: frozenset({State.SUBMITTING, State.REJECTED, State.FAILED, State.HELD, State.CANCELLED}),
    State.SUBMITTING: frozenset(
        {State.QUEUED, State.COPYING, State.RECEIVED, State.FAILED, State.HELD, State.UNCERTAIN}
    ),
    # To HELD: the video is made and paid for, but its link is unclear.
    State.QUEUED: frozenset({State.PROCESSING, State.COPYING, State.FAILED, State.EXPIRED, State.HELD}),
    State.PROCESSING: frozenset({State.COPYING, State.FAILED, State.EXPIRED, State.HELD}),
    State.COPYING: frozenset({State.COMPLETED, State.FAILED, State.EXPIRED, State.HELD}),
    State.HELD: frozenset({State.RECEIVED, State.QUEUED, State.COPYING, State.FAILED, State.CANCELLED}),
    # After it is found in the provider's history, or by a person's decision.
    State.UNCERTAIN: frozenset({State.QUEUED, State.COPYING, State.HELD, State.RECEIVED, State.FAILED}),
    State.COMPLETED: frozenset(),
    # Only a person's command can reopen an ended job: to copy a paid video, or to submit and pay again.
    State.FAILED: frozenset({State.COPYING, State.RECEIVED}),
    State.EXPIRED: frozenset({State.COPYING, State.RECEIVED}),
    State.REJECTED: frozenset(),
    State.CANCELLED: frozenset(),
}

REOPENABLE = frozenset(state for state in TERMINAL if TRANSITIONS[state])
"""Ended states that a person's command can leave."""


class Hold(StrEnum):
    """Why a job is HELD: the ``code`` of its error. It determines who may release the job."""

    BUDGET = "OVER_BUDGET"
    """The day's budget is used up. The job is released the next day."""
    PAUSED = "SUBMITS_PAUSED"
    """Submits are stopped, by a person or because there are no credits. ``seedance resume`` releases the job."""
    LOST = "SUBMIT_LOST"
    """An uncertain submit that can't be resolved automatically. A person decides."""
    RESULT = "RESULT_UNCLEAR"
    """The video is made and paid for, but its link is missing, ambiguous or not allowed. A person decides."""


ParameterValues = dict[str, Any]
"""A model's parameters by the provider's names. Each model has its own; seedance.jobs.catalogue checks them."""


class ErrorFacts(TypedDict):
    """The reason for a state: ``code`` for machines, ``message`` for people. See jobs.reasons."""

    code: str
    message: str


class PastReason(TypedDict):
    """A reason that a job had at some time, with the state that it explained."""

    at: float
    state: str
    code: str
    message: str
    attempt: NotRequired[int]
    """The submit that it is about, counted from 1."""
    times: NotRequired[int]
    """How often the same reason was given in a row, if more than once. ``at`` is the first time."""
    last_at: NotRequired[float]
    """The last time, if there was more than one."""


class Retry(TypedDict):
    """A retry that was requested through the API, or with a limit (upkeep.again).

    ``said`` is its outcome, once there is one.
    """

    asked_at: float
    pay: bool
    """Whether the video may be bought again."""
    max_usd: NotRequired[float]
    """The most that its estimate may be."""
    ended_at: NotRequired[float]
    said: NotRequired[str]
    estimate_usd: NotRequired[float]
    """If only a purchase helps: what it would cost."""


class ImageFacts(TypedDict):
    """A job's image in our bucket. ``uploaded``: its address in the provider's asset store, if it is there."""

    bucket: str
    key: str
    version_id: NotRequired[str | None]
    content_type: NotRequired[str]
    bytes: NotRequired[int]
    width: NotRequired[int]
    height: NotRequired[int]
    shown: NotRequired[str]
    """Width and height as programs show it, such as ``480x640``, if EXIF turns the picture."""
    uploaded: NotRequired[str]


class VideoFacts(TypedDict):
    """A job's video in our bucket. ``last_frame_key``: if the model returned one. ``manifest_key``: if it has one."""

    bucket: str
    key: str
    bytes: int
    sha256: str
    last_frame_key: NotRequired[str]
    manifest_key: NotRequired[str]


class ResultFacts(TypedDict, total=False):
    """The fields of a job that come from the provider's response about a finished video."""

    request_id: str | None
    cost_usd: float | None
    metrics: dict[str, float]
    last_frame_url: str | None


@dataclass(kw_only=True)
class Job:
    """One requested video. The fields are the attributes of its DynamoDB item. Times are Unix seconds."""

    job_id: str
    state: State
    source: str
    """``upload``, ``api`` or ``batch``; ``adopted`` if a person created the job for a request that had none."""
    name: str
    """The video's file name for downloads, without extension."""
    folder: str
    """The video's folder under ``videos/``."""
    model: str
    transport: str
    parameters: ParameterValues = field(default_factory=dict)
    """Validated, under the provider's names. An image in our bucket is not included; see ``image``."""
    image: ImageFacts | None = None
    notes: list[str] = field(default_factory=list)
    """What the pipeline decided or noticed, in words for people: a chosen aspect ratio, a very large image."""
    metadata: dict[str, str] = field(default_factory=dict)
    """The caller's own names and values, returned with the job and its notification."""
    fingerprint: str | None = None
    """Digest of the API body, to distinguish a repeated request from a reused Idempotency-Key."""
    batch: str | None = None
    """The batch it belongs to."""
    row: int | None = None
    """Its row in the batch's manifest, counted from 1."""
    month: str | None = None
    """The UTC month of ``created_at``, with which the index ``by_month`` finds the job. None for a job of an earlier
    release that has not changed since."""
    created_at: float = 0.0
    updated_at: float = 0.0
    entered: dict[str, float] = field(default_factory=dict)
    """When each state was last entered."""
    expected_seconds: float = 0.0
    """The mean duration of making the model's videos, in the provider's seconds. The published value, replaced at
    submit by what was learned since."""
    sigma: float = poll_schedule.PUBLISHED_SIGMA
    """Standard deviation of the logarithm of that duration."""
    attempts: int = 0
    """The number of submits started."""
    turn_at: float | None = None
    """When a waiting job may be submitted, in the provider's seconds (see pacing.pacer)."""
    executions: int = 0
    """The number of executions started after the first. It is part of their names."""
    reserved_usd: float | None = None
    """The job's reservation in the day's budget. None before the first submit and after the end."""
    reserved_day: str | None = None
    """The UTC day of the current or last reservation."""
    held_day: str | None = None
    """If the job is HELD because of the budget: the UTC day that had no room. Stored because midnight may pass before
    the record is written."""
    settled_usd: float | None = None
    """The amount settled for the request: its cost, or the estimate if the provider gave no cost."""
    settled_days: dict[str, float] = field(default_factory=dict)
    """The amounts settled for all requests of the job, by the UTC day of the booking."""
    resubmitted: bool = False
    """Whether an uncertain submit was sent again. This happens at most once."""
    submitted_at: float | None = None
    request_id: str | None = None
    earlier_request_ids: list[str] = field(default_factory=list)
    """Requests that were abandoned before the job was submitted again. They may still be made, and billed."""
    gone_polls: int = 0
    """The number of consecutive polls that found no record, or no usable link, at the provider."""
    result_url: str | None = None
    result_at: float | None = None
    """When ``result_url`` was first seen. None if there is no result, or if a release before this field wrote it."""
    copied_again: bool = False
    """Whether a retry has copied this result after the job had ended. If it is not a video, that is done once."""
    last_frame_url: str | None = None
    answer: str | None = None
    """If the link of a finished video is unclear: the provider's response, masked, at most masking.KEPT_BYTES."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The timings that the provider reported, in its seconds."""
    cost_usd: float | None = None
    video: VideoFacts | None = None
    error: ErrorFacts | None = None
    """For a RECEIVED job: why its last submit was postponed."""
    past_reasons: list[PastReason] = field(default_factory=list)
    """Why the job waited, was held or ended: each reason with its time, the latest last (see jobs.timeline)."""
    retry: Retry | None = None
    """The last retry that was requested through the API, or with a limit."""
    notified_at: float | None = None
    link_token: str | None = None
    """The token of the lasting link to the video (jobs.lasting). None if there is none, or it was revoked."""
    link_until: float | None = None
    """When that link expires."""
    expires_at: int | None = None
    """When DynamoDB may delete the record."""

    @classmethod
    def from_record(cls, record: Mapping[str, object], drop: Callable[[str], None] | None = None) -> Self:
        """A job from its item. Unknown attributes, written by a newer release, are ignored.

        An invalid value that does not matter is dropped, and ``drop`` is called with its name. Raises BadRecord if a
        required value is missing, or if a value that a video or money depends on is invalid.
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
        if "submitted_at" in dropped:  # without it, the job's hour would never end
            values["submitted_at"] = values.get("created_at")
        known = {of.name for of in fields(cls)}
        checked = {name: value for name, value in values.items() if name in known}
        return cls(**{**checked, "state": State(checked["state"])})

    def to_record(self) -> dict[str, object]:
        """The item, with every field that has a value."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in record.items() if value is not None}

    @property
    def code(self) -> str | None:
        """The code of the job's error, or None."""
        return self.error["code"] if self.error else None

    @property
    def retry_waits(self) -> bool:
        """Whether a retry was requested that has no outcome yet."""
        return self.retry is not None and "ended_at" not in self.retry

    @property
    def result_since(self) -> float:
        """From when the provider's seven days for the result count: when it was first seen, or else the submit.

        A retry that copies the result again does not change it.
        """
        if self.result_at is not None:
            return self.result_at
        submitted = self.submitted_at or self.created_at
        seen = self.state is State.COPYING or self.result_url is not None
        return self.entered.get(State.COPYING, submitted) if seen else submitted

    @property
    def max_usd(self) -> float | None:
        """The most that a purchase may cost by its estimate, as the caller of the last retry said."""
        return self.retry.get("max_usd") if self.retry else None

    @property
    def execution_name(self) -> str:
        """The name of the job's latest execution: the job's id, with a number from the second execution on."""
        return f"{self.job_id}-{self.executions + 1}" if self.executions else self.job_id

    @property
    def video_key(self) -> str:
        """The video's key in the video bucket."""
        return f"videos/{self.folder}/{self.job_id}.mp4"

    @property
    def spread(self) -> poll_schedule.Spread:
        """The expected duration of the job and its spread."""
        mean = self.expected_seconds or poll_schedule.USUAL_SECONDS
        return poll_schedule.Spread(max(1.0, mean), self.sigma)

    def left_behind(self, request_id: str | None) -> list[str]:
        """The job's earlier requests if its own becomes ``request_id``."""
        known = [*self.earlier_request_ids, *([self.request_id] if self.request_id else [])]
        return [one for one in dict.fromkeys(known) if one != request_id]

    def age(self, now: float, scale: float) -> float:
        """Seconds since submission, in the provider's time (see Settings.time_scale)."""
        return (now - (self.submitted_at or now)) / scale

    def timings(self) -> dict[str, float]:
        """How long each stage took, in seconds: ours as measured, the provider's as reported."""
        seconds: dict[str, float] = {}
        finished = max(
            (self.entered[s] for s in TERMINAL if s in self.entered), default=None
        )  # after a retry, the last
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
    """The id of an upload's job. The same event delivered twice gives the same job, a new upload gives a new one.

    ``version`` is the object's version id, or the event's sequencer if the bucket is not versioned.
    """
    return "up-" + _digest(bucket, key, version)


def api_job_id(caller: str, idempotency_key: str) -> str:
    """The id of an API call's job. ``caller`` separates the Idempotency-Keys of different API keys."""
    return "api-" + _digest(caller, idempotency_key)


def batch_id(bucket: str, key: str, version: str) -> str:
    """The id of a manifest's batch. As for uploads, the same event delivered twice gives the same batch."""
    return "batch-" + _digest(bucket, key, version)


def batch_job_id(batch: str, row: int) -> str:
    """The id of the job of a batch's row."""
    return "ba-" + _digest(batch, str(row))


def adopted_job_id(request_id: str) -> str:
    """The id of the job created for a request that had none. Adopting it twice gives the same job."""
    return "ad-" + _digest(request_id)


def _digest(*parts: str) -> str:
    # The lengths distinguish ("a", "bc") from ("ab", "c"). 32 hex digits fit a Step Functions execution name.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
