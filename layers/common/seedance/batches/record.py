"""The record of a batch: its states, and what the API shows of it. Pure.

It is an item of the job table, but not a job. The attribute of its state is ``standing``, so that the index
``by_state``, reconcile and everything else that looks for jobs does not find it.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self, TypedDict

from seedance.aws.checks import LATEST, Check, any_of, between, is_count, is_text, list_of, map_of
from seedance.errors import BadRecord
from seedance.jobs.budget import MOST_A_DAY_USD
from seedance.jobs.job import ErrorFacts, State

APPROVAL_SECONDS = 7 * 24 * 3600.0
"""How long a plan waits for approval. After that, prices and images may be others than planned. Plans are deleted after
30 days, and an approved one must last until its batch has ended."""

BAD_ROWS_KEPT = 20
"""How many invalid rows the record has. The report has all."""


class BatchState(StrEnum):
    """A batch's state."""

    PLANNING = "PLANNING"
    """Its rows are being checked. Nothing has been bought."""
    PLANNED = "PLANNED"
    """Its rows are checked, and it waits for approval. Nothing has been bought."""
    EXPIRED = "EXPIRED"
    """It was not approved in time. Nothing was bought. Upload the manifest again to plan it again."""
    REFUSED = "REFUSED"
    """The manifest can't be read, or too many of its rows are invalid. Nothing was bought. Correct it and upload it
    again."""
    RUNNING = "RUNNING"
    """Its rows become jobs, as there is room, and its videos are made."""
    CANCELLING = "CANCELLING"
    """It was cancelled. No more of its rows become jobs, and jobs that are not bought yet are cancelled. Videos that
    are bought continue."""
    CANCELLED = "CANCELLED"
    """It was cancelled, and its jobs have ended."""
    DONE = "DONE"
    """All its jobs have ended."""
    OPEN = "OPEN"
    """Some jobs have not ended, and the batch no longer waits for them. The results give their states."""
    FAILED = "FAILED"
    """An internal error. `seedance redrive` starts the batch again; no row is bought twice."""


STOPPED = frozenset({BatchState.CANCELLING, BatchState.CANCELLED})
"""States in which no more rows become jobs."""


class ModelShare(TypedDict):
    """A model's part of a batch."""

    model: str
    videos: int
    estimate_usd: float


class RefusedRow(TypedDict):
    """An invalid row. No video is made from it."""

    row: int
    """Its number in the manifest, counted from 1."""
    line: int
    """Its line in the file."""
    field: str
    error: str


@dataclass(kw_only=True)
class BatchRecord:
    """A batch. The fields are the attributes of its item. Times are Unix seconds."""

    batch_id: str
    standing: BatchState
    bucket: str
    key: str
    version_id: str | None = None
    approve: bool = True
    """Whether its rows are bought without an approval, as for a manifest under batches/."""
    created_at: float = 0.0
    updated_at: float = 0.0
    planned_at: float | None = None
    approve_by: float | None = None
    """Until when it may be approved."""
    approved_at: float | None = None
    ended_at: float | None = None
    rows: int | None = None
    rejected: int = 0
    estimate_usd: float | None = None
    models: list[ModelShare] = field(default_factory=list)
    bad_rows: list[RefusedRow] = field(default_factory=list)
    """The first of them."""
    notes: list[str] = field(default_factory=list)
    """Sentences about the rows, as in the summary."""
    fed: int = 0
    """How many rows, in their order, are jobs or were found invalid."""
    states: dict[str, int] = field(default_factory=dict)
    """The rows by the state of their jobs, as collect last counted them."""
    spent_usd: float = 0.0
    counted_at: float | None = None
    report_key: str | None = None
    results_key: str | None = None
    error: ErrorFacts | None = None

    @classmethod
    def from_item(cls, item: Mapping[str, object], drop: Callable[[str], None] | None = None) -> Self:
        """A record from its item. Invalid values are dropped, and ``drop`` is called with their names.

        Raises BadRecord if a required value is missing or invalid, such as the state.
        """
        values: dict[str, Any] = {}
        for name, check in _CHECKS.items():
            if item.get(name) is None:
                continue
            if check(item[name]):
                values[name] = item[name]
            elif drop:
                drop(name)
        for of in fields(cls):
            if of.name not in values and of.default is MISSING and of.default_factory is MISSING:
                raise BadRecord(str(item.get("batch_id") or item.get("job_id")), of.name, item.get(of.name))
        return cls(**{**values, "standing": BatchState(values["standing"])})

    def to_item(self) -> dict[str, object]:
        """The attributes that have a value."""
        found = {of.name: getattr(self, of.name) for of in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def state(self, now: float) -> BatchState:
        """The batch's state. Nothing is written when an approval comes too late."""
        too_late = self.approve_by is not None and now > self.approve_by
        return BatchState.EXPIRED if self.standing is BatchState.PLANNED and too_late else self.standing

    @property
    def good(self) -> int:
        """The number of valid rows."""
        return max(0, (self.rows or 0) - self.rejected)


def _stored(value: object) -> bool:
    return isinstance(value, str) and value in set(BatchState) - {BatchState.EXPIRED}


_AMOUNT = between(0, MOST_A_DAY_USD)
_MOMENT = between(0, LATEST)
_TEXT_MAP: Check = map_of(is_text, "code", "message")


def _share(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != {"model", "videos", "estimate_usd"}:
        return False
    return is_text(value["model"]) and is_count(value["videos"]) and _AMOUNT(value["estimate_usd"])


def _refused(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != {"row", "line", "field", "error"}:
        return False
    return all(is_count(value[name]) for name in ("row", "line")) and all(
        isinstance(value[name], str) for name in ("field", "error")
    )


_CHECKS: Mapping[str, Check] = {
    "batch_id": is_text,
    "standing": _stored,
    "bucket": is_text,
    "key": is_text,
    "version_id": is_text,
    "approve": any_of(bool),
    **dict.fromkeys(("created_at", "updated_at", "planned_at", "approve_by", "approved_at", "ended_at"), _MOMENT),
    "counted_at": _MOMENT,
    **dict.fromkeys(("rows", "rejected", "fed"), is_count),
    **dict.fromkeys(("estimate_usd", "spent_usd"), _AMOUNT),
    "models": list_of(_share),
    "bad_rows": list_of(_refused),
    "notes": list_of(any_of(str)),
    "states": map_of(is_count),
    **dict.fromkeys(("report_key", "results_key"), is_text),
    "error": _TEXT_MAP,
}

NOT_STARTED = "NOT_STARTED"
"""A row that is not a job: because of an error on our side, or because its batch was never approved."""

CANCELLED_ROW = "CANCELLED"
"""A row that was not a job when its batch was cancelled."""

PLANNED_ROW = "PLANNED"
"""A row that is not a job yet."""

_WITHOUT_A_JOB = {
    **dict.fromkeys((BatchState.PLANNED, BatchState.RUNNING), PLANNED_ROW),
    **dict.fromkeys(STOPPED, CANCELLED_ROW),
}


def tallied(record: BatchRecord, state: BatchState, jobs: Mapping[str, int]) -> dict[str, int]:
    """The rows by state: of their jobs, which are counted in ``jobs``; rejected; or not a job (yet)."""
    if record.rows is None:
        return {}
    found = dict(jobs)
    found[State.REJECTED] = found.get(State.REJECTED, 0) + record.rejected
    word = _WITHOUT_A_JOB.get(state, NOT_STARTED)
    found[word] = found.get(word, 0) + record.good - sum(jobs.values())
    return {str(name): count for name, count in found.items() if count > 0}
