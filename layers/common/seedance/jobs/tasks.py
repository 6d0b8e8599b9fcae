"""What the executions of the two state machines, and the tasks in them, take and return. Pure.

As JSON, what a task returns is the input of the next state (statemachine/*.asl.json).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, NotRequired, TypedDict, final

from seedance.jobs.job import ErrorFacts, State


class TaskStatus(StrEnum):
    """The ``status`` that a task returns. The state machines' choices use these values."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    POSTPONED = "POSTPONED"
    UNCERTAIN = "UNCERTAIN"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    HELD = "HELD"
    NOT_READY = "NOT_READY"
    PLANNED = "PLANNED"
    UNAPPROVED = "UNAPPROVED"
    REFUSED = "REFUSED"


class TaskInput(TypedDict):
    """What a job's execution, poll, generate and finalize take. ``slot`` is reserved for the next poll, if any."""

    job_id: str
    transport: NotRequired[str]
    wait_seconds: NotRequired[int]
    slot: NotRequired[int | None]


class TaskAnswer(TaskInput):
    """What poll, generate and finalize return."""

    status: TaskStatus
    error: ErrorFacts | None
    request_id: NotRequired[str | None]
    """The request that ended: fail may run late, after a person has had the job submitted again."""


class FailInput(TaskInput):
    """What fail takes: a task's answer, or the input of a task that crashed, and its ``exception``."""

    status: NotRequired[str]
    error: NotRequired[Mapping[str, str] | None]
    request_id: NotRequired[str | None]
    exception: NotRequired[object]


class FailAnswer(TypedDict):
    """What fail returns: the job's state. ``unexpected``: the execution fails, and an alarm is raised."""

    job_id: str
    status: State
    unexpected: bool


class BatchInput(TypedDict):
    """What a batch's execution and plan take: the batch's id, and its manifest.

    ``restarts``: how often a person has started it again after it failed. ``approve``: whether its rows may be bought
    as soon as they are planned. If it is missing, they may, as for a manifest under ``batches/``.
    """

    batch_id: str
    bucket: str
    key: str
    version_id: str | None
    restarts: NotRequired[int]
    approve: NotRequired[bool]


@final
class RefusedBatch(BatchInput):
    """What plan returns if the manifest can't be used."""

    plan_key: str
    began_at: float
    status: Literal[TaskStatus.REFUSED]


@final
class PlannedBatch(BatchInput):
    """What plan returns if rows are to be enqueued, and what collect then takes and returns until the batch ends.

    UNAPPROVED: a person has to approve it first. Then an execution takes the same with the status PLANNED.
    """

    plan_key: str
    began_at: float
    status: Literal[TaskStatus.PLANNED, TaskStatus.UNAPPROVED, TaskStatus.RUNNING]
    rows: int
    rejected: int
    report_key: str | None
    columns: list[str]
    notes: NotRequired[list[str]]
    """What a person should know about the rows, in words (manifest.Tally.notes)."""
    estimate_usd: float
    tolerated_percent: float
    plan_bytes: int
    chunks: list[list[int]]
    """The chunks (plan_lines.Chunk) with jobs that have not ended."""
    over: int
    progressed_at: float
    wait_seconds: int
    fed_at: NotRequired[float]
    """When collect first saw the batch, which is after its last row was fed to the queue."""
    counted: NotRequired[dict[str, int]]
    """The states of the jobs in the chunks that are no longer listed."""
    spent_usd: NotRequired[float]
    """What these jobs cost."""
    exception: NotRequired[object]
    """If some rows could not be enqueued."""


@final
class CrashedBatch(BatchInput):
    """What collect takes if plan crashed."""

    exception: object


class EndedBatch(TypedDict):
    """What collect returns when the batch has ended. ``status``: see notices.batch_message.BatchStatus."""

    batch_id: str
    status: str
    rows: int
    rejected: int
    states: dict[str, int]
    cost_usd: float | None
    results_key: str | None
    report_key: str | None
    exception: NotRequired[object]


class ChunkInput(TypedDict):
    """What a chunk's child execution and enqueue take.

    ``next``: how many of the chunk's rows are done. Without it, the child execution is one of release 0.1.0, which
    calls enqueue only once.
    """

    batch_id: str
    key: str
    plan_key: str
    chunk: list[int]
    next: NotRequired[int]


@final
class FedChunk(ChunkInput):
    """What enqueue returns: RUNNING with the seconds until the next call, or COMPLETED if all rows are in the queue."""

    status: Literal[TaskStatus.RUNNING, TaskStatus.COMPLETED]
    wait_seconds: int
    jobs: int
    created: int
