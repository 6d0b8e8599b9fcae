"""`seedance list`: the stack's jobs, newest first, with filters, on moto."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from clocks import NOW
from command_line import Typed
from seedance.jobs.budget import month_of
from seedance.jobs.job import Job, State

from cli.options import out
from cli.target import Target

DAY = 24 * 3600.0
BATCH = f"batch-{'a' * 32}"


def ago(seconds: float) -> str:
    return datetime.fromtimestamp(NOW - seconds, UTC).isoformat()


@pytest.fixture
def put(world: Any, moto_stack: Target, make_job: Callable[..., Job]) -> Callable[..., Job]:
    """Put a job into the table that was created so many seconds ago."""

    def add(job_id: str, state: State = State.COMPLETED, ago: float = 60.0, **facts: Any) -> Job:
        created = round(NOW - ago, 3)
        values = {"created_at": created, "updated_at": created, "month": month_of(created), **facts}
        return world.put(make_job(state, job_id=job_id, **values))  # type: ignore[no-any-return]

    return add


@pytest.fixture
def listed(typed: Typed) -> Callable[..., list[str]]:
    """The ids in the list with these options."""

    def run(*options: str) -> list[str]:
        result = typed("list", *options, "--json")
        assert result.exit_code == 0, result.output
        return [json.loads(line)["job_id"] for line in result.stdout.splitlines()]

    return run


def test_the_newest_come_first_over_all_states_and_months(put: Any, listed: Any, typed: Typed) -> None:
    put("up-old", ago=40 * DAY)
    put("up-2", State.QUEUED, ago=20)
    put("up-1", ago=30)
    put("up-3", State.HELD, ago=10, error={"code": "OVER_BUDGET", "message": "m"})
    assert listed() == ["up-3", "up-2", "up-1", "up-old"]
    assert listed("--limit", "2") == ["up-3", "up-2"]
    head, first, *_ = typed("list").stdout.splitlines()
    assert head.split() == ["Job", "State", "Created", "Cost", "Model", "Name", "Reason"]
    assert (first.split()[:2], first.split()[-1]) == (["up-3", "HELD"], "OVER_BUDGET")


def test_the_list_is_read_page_by_page_up_to_the_limit(put: Any, listed: Any) -> None:
    for number in range(105):
        put(f"up-{number:03}", State.FAILED if number % 2 else State.COMPLETED, ago=1000.0 - number)
    everything = [f"up-{number:03}" for number in reversed(range(105))]
    assert listed("--limit", "1000") == everything
    assert listed("--limit", "103") == everything[:103]
    assert listed("--limit", "51", "--state", "failed") == everything[1::2][:51]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--state", "held"], ["up-held"]),
        (["--state", "HELD", "--state", "FAILED"], ["up-held", "up-failed"]),
        (["--model", "seedance-1.5-pro"], ["up-held"]),
        (["--source", "batch"], ["ba-1"]),
        (["--batch", BATCH], ["ba-1"]),
        (["--name", "red-"], ["up-failed"]),
        (["--since", ago(3600), "--before", ago(1800)], ["ba-1"]),
        (["--updated-since", ago(30)], ["up-failed"]),
        (["--name", "nothing"], []),
    ],
)
def test_filters(put: Any, listed: Any, options: list[str], expected: list[str]) -> None:
    put("up-held", State.HELD, ago=60, model="seedance-1.5-pro")
    put("up-failed", State.FAILED, ago=120, name="red-shoe", updated_at=NOW - 1)
    put("ba-1", ago=3000, source="batch", batch=BATCH, row=1)
    assert listed(*options) == expected


def test_a_time_without_a_zone_is_this_machines(put: Any, listed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put("up-now", ago=0)
    in_tokyo = datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None) + timedelta(hours=9)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert listed("--since", (in_tokyo - timedelta(minutes=1)).isoformat()) == ["up-now"]
        assert listed("--since", (in_tokyo + timedelta(minutes=1)).isoformat()) == []
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--since", "yesterday"], 1, "--since must be a time such as 2026-11-20"),
        (["--source", "mail"], 1, "source: must be upload, api, batch or adopted"),
        (["--model", "sedance-pro"], 1, "seedance-pro"),
        (["--since", "2026-11-20", "--before", "2026-11-19"], 1, "created_before: must be later than created_since"),
        (["--limit", "0"], 2, "--limit"),
    ],
)
@pytest.mark.usefixtures("moto_stack")
def test_a_wrong_filter_is_refused(typed: Typed, options: list[str], code: int, says: str) -> None:
    result = typed("list", *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert says in " ".join(result.stderr.split())


@pytest.mark.usefixtures("moto_stack")
def test_an_empty_list_is_no_error(typed: Typed) -> None:
    assert typed("list").stdout == "no jobs yet\n"
    assert typed("list", "--state", "HELD").stdout == "no such jobs\n"
    assert typed("list", "--json").stdout == ""


@pytest.mark.parametrize("width", [60, 80, 500])
def test_nothing_is_lost_on_a_narrow_screen(
    put: Any, typed: Typed, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(out, "_width", width)
    job_id, name = f"up-{'0' * 32}", f"a [red] shoe in {'many ' * 20}words"
    error = {"code": "RESULT_NOT_A_VIDEO", "message": "m"}
    put(job_id, State.FAILED, name=name, model="seedance-1.0-pro-fast", cost_usd=0.25, error=error)
    lines = typed("list").stdout.splitlines()
    assert max(map(len, lines)) <= width
    said = "".join(lines).replace(" ", "")
    for shown in (job_id, "FAILED", "$0.25", "seedance-1.0-pro-fast", name.replace(" ", ""), "RESULT_NOT_A_VIDEO"):
        assert shown in said


def test_a_record_that_was_edited_is_left_out(put: Any, typed: Typed, caplog: pytest.LogCaptureFixture) -> None:
    put("up-1")
    put("up-2", updated_at=-5.0)
    result = typed("list", "--json")
    assert [json.loads(line)["job_id"] for line in result.stdout.splitlines()] == ["up-1"]
    assert [record.message for record in caplog.records] == ["a record is skipped"]


def test_the_layers_log_is_not_among_the_results() -> None:
    code = """from cli.output import log_to_standard_error as log
from seedance.observability import logger
log()
logger().error("a record is skipped")"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert (said.stdout, "a record is skipped" in said.stderr) == ("", True)


def test_a_stack_without_the_index_is_of_an_earlier_release(
    typed: Typed, moto_stack: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = {"Code": "ValidationException", "Message": "The table does not have the specified index: by_month"}

    def missing(*_: Any) -> Any:
        raise ClientError({"Error": error}, "Query")

    monkeypatch.setattr(moto_stack.by_month, "page", missing)
    result = typed("list")
    assert (result.exit_code, "runs an earlier release" in result.stderr) == (1, True)
