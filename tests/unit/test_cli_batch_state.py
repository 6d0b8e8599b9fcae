"""The state of a batch in the CLI is the API's, also if its plan was cancelled or expired after its execution."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from command_line import UPLOADS, Typed
from seedance.aws.table import batch_key
from seedance.batches.record import APPROVAL_SECONDS, BatchState
from seedance.batches.store import BatchStore
from seedance.rest.batches import BatchCalls

from cli import following
from cli.following import Standing
from cli.target import CommandError, Target

BATCH = f"batch-{'0' * 32}"
UNAPPROVED = {
    **{"batch_id": BATCH, "status": "UNAPPROVED", "rows": 3, "rejected": 1, "estimate_usd": 0.5},
    **{"plan_key": "plans/a.jsonl", "chunks": [[0, 9, 1, 3]], "report_key": "batches/a.csv", "notes": []},
}
ENDED = {"status": "BATCH_DONE", "rows": 2, "states": {"COMPLETED": 2}, "cost_usd": 0.5}
Put = Callable[..., None]
Ended = Callable[[dict[str, Any] | None], None]
Status = Callable[[], tuple[str, dict[str, Any]]]


@pytest.fixture
def put(world: Any) -> Put:
    """Put a batch into the table that was planned so many seconds ago."""

    def add(standing: str, ago: float = 60.0) -> None:
        planned_at = time.time() - ago
        times = {"created_at": planned_at, "planned_at": planned_at, "approve_by": planned_at + APPROVAL_SECONDS}
        item = {"job_id": batch_key(BATCH), "batch_id": BATCH, "standing": standing, "bucket": UPLOADS}
        world.table.put({**item, **times, "key": "staged/a.csv", "approve": False, "rows": 3, "rejected": 1})

    return add


@pytest.fixture
def execution(moto_stack: Target, monkeypatch: pytest.MonkeyPatch) -> Ended:
    """Give the batch's execution an output. None: it still runs."""

    def end(output: dict[str, Any] | None) -> None:
        given = {"bucket": UPLOADS, "key": "staged/a.csv"}
        found = Standing("RUNNING", "1 of 2 rows are finished", rows=2, given=given)
        if output:
            found = Standing("SUCCEEDED", following.in_words(output), output, output["rows"], given)
        monkeypatch.setattr(following, "_look", lambda *_: found)

    return end


@pytest.fixture
def status(typed: Typed) -> Status:
    """The status of the batch, for people and for programs."""

    def look() -> tuple[str, dict[str, Any]]:
        shown = typed("status", BATCH)
        assert shown.exit_code == 0, shown.output
        return " ".join(shown.stdout.split()), json.loads(typed("status", BATCH, "--json").stdout)

    return look


@pytest.mark.parametrize("end", ["CANCELLED", "EXPIRED", "PLANNED"])
def test_a_plan_that_was_cancelled_or_expired_is_not_offered(
    *, world: Any, put: Put, execution: Ended, status: Status, moto_stack: Target, end: str
) -> None:
    put("PLANNED", ago=APPROVAL_SECONDS + 60 if end == "EXPIRED" else 60)
    execution(UNAPPROVED)
    store = BatchStore(world.table)
    nothing: Any = None
    calls = BatchCalls(store, world.batches, world.register, nothing, world.store, nothing, None)
    if end == "CANCELLED":
        store.move(BATCH, {BatchState.PLANNED}, BatchState.CANCELLED)
    assert calls.look(BATCH)["state"] == end
    shown, told = status()
    assert told["state"] == end
    assert "nothing was bought" in shown
    if end == "PLANNED":
        assert "To buy them: POST /batches" in shown
        assert told["status"] == "UNAPPROVED"
        return
    assert "POST" not in shown
    assert f"State {end}" in shown
    assert told["status"] == end
    now = following.look(moto_stack, BATCH)
    assert now
    with pytest.raises(CommandError, match=end):
        following.tell(moto_stack, BATCH, now)


@pytest.mark.parametrize("state", [one for one in BatchState if one is not BatchState.EXPIRED])
def test_the_state_is_the_apis(put: Put, execution: Ended, status: Status, state: BatchState) -> None:
    put(state.value)
    execution(None)
    shown, told = status()
    assert (told["state"], told["status"]) == (state, "RUNNING")
    stopped = state in (BatchState.CANCELLING, BatchState.CANCELLED)
    assert (f"State {state}; 1 of 2 rows are finished" in shown) is stopped


@pytest.mark.parametrize("standing", [None, "nonsense"])
def test_without_a_record_the_execution_still_shows_the_status(
    put: Put, execution: Ended, status: Status, standing: str | None
) -> None:
    if standing:
        put(standing)
    execution(ENDED)
    shown, told = status()
    assert "BATCH_DONE: 2 COMPLETED" in shown
    assert (told["state"], told["status"]) == (None, "BATCH_DONE")
