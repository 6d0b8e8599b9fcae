"""Executions and tasks that somebody has started by hand with any input: they buy nothing and create no job."""

import json
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import httpx
import pytest
from hostile_values import TEXTS, WRONG_TYPES
from invoking import invoke
from seedance.aws.table import batch_key
from seedance.jobs.job import State

pytestmark = pytest.mark.hostile(kind="input", risk=("lost", "paid twice"))

TASKS = ("poll", "generate", "finalize", "fail")
BATCH = {"batch_id": "batch-" + "0" * 32, "bucket": "example-uploads", "key": "batches/a.csv", "version_id": None}
PLANNED = {
    **BATCH,
    **{"plan_key": "plans/x.jsonl", "began_at": 1.0, "status": "PLANNED", "rows": 1, "rejected": 0, "report_key": None},
    **{"columns": [], "estimate_usd": 0.0, "tolerated_percent": 20.0, "plan_bytes": 0, "chunks": [[0, 10, 1, 1]]},
    **{"over": 0, "progressed_at": 1.0, "wait_seconds": 1},
}
CHUNK = {
    "batch_id": BATCH["batch_id"],
    "key": BATCH["key"],
    "plan_key": "plans/x.jsonl",
    "chunk": [0, 10, 1, 1],
    "next": 0,
}
BUYING = ("PutItem", "TransactWriteItems", "SendMessage", "SendMessageBatch", "StartExecution")


def records_a_batch(params: dict[str, Any]) -> bool:
    """Whether a call of PutItem writes a batch's record, which is no job."""
    return str(params.get("Item", {}).get("job_id", {}).get("S", "")).startswith(batch_key(""))


@pytest.fixture
def run(wired: Any, root: Any, request: pytest.FixtureRequest) -> Callable[[str, Any], None]:
    """Runs a task on any input. It may fail, but briefly, and it buys nothing and creates no job."""
    tried = count(1)

    def task(function: str, given: Any) -> None:
        request.node.user_properties[:] = [("tried", next(tried))]
        wired.calls.clear()
        try:
            invoke(root, function, given)
        except Exception as error:  # noqa: BLE001 - any failure ends the execution, and raises its alarm
            assert len(str(error)) < 1000
            str(error).encode()
        for call in BUYING:
            assert [made for made in wired.called(call) if not records_a_batch(made)] == []
        assert wired.wire.requests == []

    return task


@pytest.mark.parametrize("function", TASKS)
def test_a_task_for_a_job_that_is_none_fails_briefly(run: Any, function: str) -> None:
    for job_id in (*WRONG_TYPES.values(), *TEXTS.values(), "switch#submits", "x" * 2049):
        run(function, {"job_id": job_id, "transport": "v1", "wait_seconds": 1, "slot": None})
    for given in (*WRONG_TYPES.values(), {"job_id": {"job_id": "x"}}):
        run(function, given)


@pytest.mark.parametrize("name", ["status", "error", "request_id", "exception", "slot", "wait_seconds", "transport"])
def test_fail_ends_no_job_whatever_its_input(world: Any, make_job: Any, run: Any, name: str) -> None:
    job = world.put(make_job(State.QUEUED))
    for value in (*WRONG_TYPES.values(), *TEXTS.values()):
        run("fail", {"job_id": job.job_id, "status": "RUNNING", name: value})
        assert world.job() == job


@pytest.mark.parametrize("error", ["code", "message"])
def test_an_error_entered_by_hand_is_cut_when_stored(world: Any, make_job: Any, run: Any, error: str) -> None:
    for value in (*WRONG_TYPES.values(), *TEXTS.values()):
        world.put(make_job(State.QUEUED))
        run("fail", {"job_id": "up-1", "status": "FAILED", "error": {"code": "X", "message": "y", error: value}})
        job = world.job()
        assert job.state is State.FAILED
        assert len(json.dumps(job.error)) < 30_000


@pytest.mark.parametrize("slot", [*WRONG_TYPES, "far"])
def test_a_slot_may_be_anything(world: Any, wired: Any, root: Any, make_job: Any, slot: str) -> None:
    world.put(make_job(State.QUEUED, submitted_at=time.time(), request_id="req-1"))
    world.wire.will(httpx.Response(200, json={"status": "PROCESSING"}))
    answer = invoke(root, "poll", {"job_id": "up-1", "slot": {**WRONG_TYPES, "far": 10**10}[slot]})
    assert answer["status"] == "RUNNING"


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("function", "name"),
    [
        *(("plan", name) for name in BATCH),
        *(("enqueue", name) for name in CHUNK),
        *(("collect", name) for name in PLANNED),
    ],
)
def test_a_batch_started_by_hand_with_rubbish_creates_no_job(run: Any, function: str, name: str) -> None:
    good: dict[str, Any] = {"plan": BATCH, "enqueue": CHUNK, "collect": PLANNED}[function]
    for value in (*WRONG_TYPES.values(), *TEXTS.values()):
        run(function, {**good, name: value})
    run(function, {other: value for other, value in good.items() if other != name})
