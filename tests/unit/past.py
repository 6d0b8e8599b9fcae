"""Stalled and running jobs and rows of the provider's history, for tests of the code that asks the provider about them.

All unit tests can use the fixtures: conftest.py imports them.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from seedance.jobs.job import Job, State
from seedance.poll import Poll
from seedance.repair import Repair
from seedance.upkeep.holding import Holding

ID = "up-0123456789abcdef0123456789abcdef"
OTHER = "up-fedcba9876543210fedcba9876543210"
LINK = "https://images.segmind.com/v.mp4"
IMAGE = {"bucket": "example-uploads", "key": "uploads/a.png", "version_id": "v", "content_type": "image/png"}
LOST = {"code": "SUBMIT_UNCERTAIN", "message": "the connection dropped before a response"}


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()


def row(world: Any, request_id: str = "req-9", names: str | None = ID, **fields: Any) -> dict[str, Any]:
    """A row of the history, with an image link that names a job, or without one."""
    disposition = f"response-content-disposition=inline%3B%20filename%3D%22{names}%22"
    link = f"https://example-uploads.s3.eu-central-1.amazonaws.com/uploads/a.png?{disposition}&X-Amz-Signature=0"
    body = {"image_url": link} if names else {}
    made = {"request_id": request_id, "model_status": "PENDING", "request_body": body}
    return {**made, "created_at": iso(world.clock.now - 55), **fields}


def history(*rows: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"data": list(rows)})


@pytest.fixture
def put(world: Any, make_job: Callable[..., Job]) -> Callable[..., Job]:
    """A job that has not changed for ``idle`` seconds."""

    def make(state: State, idle: float = 0, **changes: Any) -> Job:
        then = world.clock.now - idle
        values = {"job_id": ID, "updated_at": then, "entered": {state.value: then}, "created_at": then - 10}
        return world.put(make_job(state, **{**values, **changes}))

    return make


@pytest.fixture
def uncertain(world: Any, put: Any) -> Callable[..., Job]:
    """A job whose submit, ``idle`` seconds ago, may have reached the provider."""

    def make(idle: float = 60, **changes: Any) -> Job:
        values = {"submitted_at": world.clock.now - idle, "error": LOST, "image": IMAGE, "request_id": None}
        return put(State.UNCERTAIN, idle, **{**values, **changes})

    return make


@pytest.fixture
def poll(world: Any) -> Poll:
    return Poll(world.store, world.provider, world.pacer, world.durations, clock=world.clock)


@pytest.fixture
def running(world: Any, make_job: Callable[..., Job]) -> Callable[..., Job]:
    """A job that was submitted ``age`` seconds ago."""

    def make(age: float = 50, state: State = State.QUEUED, **changes: Any) -> Job:
        return world.put(make_job(state, **{"submitted_at": world.clock.now - age, **changes}))

    return make


@pytest.fixture
def repair(world: Any) -> Repair:
    """The use case behind the operators' commands, with an intake queue that has no dead letters."""
    holding = Holding(world.store, world.switch, world.queue, world.aws["sqs"], "no-dead-letters", world.clock)
    return Repair(world.store, world.provider, world.notifier, world.workflow, holding, world.batches, world.clock)
