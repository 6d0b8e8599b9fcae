"""Collect: the progress of a batch, when it has ended, its results, and its single notification."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from seedance.batches.stopping import Stopping
from seedance.collect import FOLLOWED_SECONDS, HELD_SECONDS, Collect, next_wait
from seedance.jobs.job import Job, State, batch_job_id
from seedance.jobs.lasting import Addresses

BATCH = "batch-0123456789abcdef0123456789abcdef"
PLAN = f"plans/{BATCH}.jsonl"
VIDEO = {"bucket": "example-videos", "key": "videos/spring/x.mp4", "bytes": 7, "sha256": "ab" * 32}
LINK = "https://links.example/w/" + "0a" * 16
RESULTS = "batches/spring-01234567.results.csv"
Make = Callable[..., Job]


@pytest.fixture
def collect(world: Any) -> Collect:
    addresses, stops = Addresses("https://links.example/w", 90), Stopping(world.store, world.queue)
    return Collect(world.register, world.sheets, world.notifier, world.batch_store, stops, addresses, clock=world.clock)


@pytest.fixture
def planned(world: Any) -> dict[str, Any]:
    """A batch of four rows, of which the last is bad, in two chunks."""
    with world.sheets.write(PLAN) as plan:
        for row in (1, 2, 3, 4):
            made = {"model": "seedance-pro", "transport": "v2", "parameters": {}, "image": None}
            line = {"row": row, "columns": {"sku": f"=S-{row}"}}
            line |= {"error": "prompt: is missing", "columns": {}} if row == 4 else made
            plan.write(json.dumps(line).encode() + b"\n")
            if row == 2:
                half = plan.size
    return {
        "batch_id": BATCH,
        "bucket": "example-uploads",
        "key": "batches/spring.csv",
        "plan_key": PLAN,
        "plan_bytes": plan.size,
        "chunks": [[0, half, 1, 2], [half, plan.size, 3, 4]],
        "rows": 4,
        "rejected": 1,
        "report_key": "batches/spring-01234567.rejected.csv",
        "columns": ["sku"],
        "notes": ["2 of 4 rows have no image (rows 1 and 2)."],
        "estimate_usd": 1.05,
        "tolerated_percent": 20.0,
        "over": 0,
        "began_at": world.clock.now,
        "progressed_at": world.clock.now,
        "wait_seconds": 62,
        "status": "PLANNED",
    }


@pytest.fixture
def stand(world: Any, make_job: Make) -> Callable[..., None]:
    """Set the states of the jobs of rows 1, 2, 3 …; None is a job that does not exist."""

    def put(*states: State | None, **changes: Any) -> None:
        for row, state in enumerate(states, start=1):
            if state:
                values = {"video": VIDEO, "cost_usd": 0.35} if state is State.COMPLETED else {}
                if state in (State.FAILED, State.HELD):
                    values = {"error": {"code": "X", "message": "It was blocked."}}
                world.put(
                    make_job(state, job_id=batch_job_id(BATCH, row), batch=BATCH, row=row, **{**values, **changes})
                )

    return put


def results(world: Any) -> list[dict[str, str]]:
    text = world.aws["s3"].get_object(Bucket="example-uploads", Key=RESULTS)["Body"].read().decode()
    assert text.startswith("\ufeff")  # so that Excel reads it as UTF-8
    text = text[1:]
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_batch_is_running_while_any_job_is(world: Any, collect: Collect, planned: Any, stand: Any) -> None:
    stand(State.COMPLETED, State.FAILED, State.PROCESSING)
    world.clock.now += 300
    state = collect(planned)
    assert (state["status"], state["over"]) == ("RUNNING", 3)
    assert state["chunks"] == planned["chunks"][1:]  # the first is not checked again
    assert state["wait_seconds"] == 50
    assert {**state, **{name: planned[name] for name in ("status", "over", "chunks", "wait_seconds")}} == {
        **planned,
        "progressed_at": world.clock.now,
        "fed_at": world.clock.now,
        "counted": {"COMPLETED": 1, "FAILED": 1},  # those of the chunk that is not checked again
        "spent_usd": 0.35,
    }
    assert world.called("Publish") == []


def test_when_all_jobs_have_ended_results_are_written_and_a_notification_is_sent(
    world: Any, collect: Collect, planned: Any, stand: Any
) -> None:
    stand(State.COMPLETED, State.FAILED, State.EXPIRED, link_token="0a" * 16, link_until=world.clock.now + 601)
    world.clock.now += 600
    state = collect(planned)
    assert results(world) == [
        {
            "row": "1",
            "job": batch_job_id(BATCH, 1),
            "state": "COMPLETED",
            "video_key": "videos/spring/x.mp4",
            "cost_usd": "0.35",
            "error": "",
            "video_link": LINK,
            "sku": "'=S-1",
        },
        {
            "row": "2",
            "job": batch_job_id(BATCH, 2),
            "state": "FAILED",
            "video_key": "",
            "cost_usd": "",
            "error": "It was blocked.",
            "video_link": "",
            "sku": "'=S-2",
        },
        {
            "row": "3",
            "job": batch_job_id(BATCH, 3),
            "state": "EXPIRED",
            "video_key": "",
            "cost_usd": "",
            "error": "",
            "video_link": "",
            "sku": "'=S-3",
        },
        {
            "row": "4",
            "job": "",
            "state": "REJECTED",
            "video_key": "",
            "cost_usd": "",
            "error": "prompt: is missing",
            "video_link": "",
            "sku": "",
        },
    ]
    (message,) = world.notified()
    assert message["results"]["key"] == RESULTS
    assert message["rejected_report"]["key"] == planned["report_key"]
    assert message["states"] == {"COMPLETED": 1, "FAILED": 1, "EXPIRED": 1, "REJECTED": 1}
    assert (message["status"], message["cost_usd"], message["estimate_usd"]) == ("BATCH_DONE", 0.35, 1.05)
    assert (message["seconds"], message["error"], message["notes"]) == (600.0, None, planned["notes"])
    (call,) = world.called("Publish")
    assert {name: value["StringValue"] for name, value in call["MessageAttributes"].items()} == {
        "status": "BATCH_DONE",
        "source": "batch",
    }
    assert state == {
        "batch_id": BATCH,
        "status": "BATCH_DONE",
        "rows": 4,
        "rejected": 1,
        "states": message["states"],
        "cost_usd": 0.35,
        "results_key": RESULTS,
        "report_key": planned["report_key"],
    }
    assert world.counted() == {"BatchesEnded": 1}


def test_a_row_that_was_never_enqueued_is_not_waited_for(
    world: Any, collect: Collect, planned: Any, stand: Any
) -> None:
    stand(State.COMPLETED, None, State.COMPLETED)
    del planned["notes"]  # as in an execution that an earlier release started
    state = collect({**planned, "exception": {"Error": "States.ExceedToleratedFailureThreshold"}})
    assert [row["state"] for row in results(world)] == ["COMPLETED", "NOT_STARTED", "COMPLETED", "REJECTED"]
    assert world.notified()[0]["error"]["code"] == "INTERNAL"
    assert state["exception"]  # so that the execution fails and an alarm goes off


@pytest.mark.parametrize(
    ("states", "idle", "ends"),
    [
        ((State.COMPLETED, State.HELD, State.COMPLETED), HELD_SECONDS - 1, None),
        ((State.COMPLETED, State.HELD, State.COMPLETED), HELD_SECONDS + 1, "BATCH_OPEN"),
        ((State.COMPLETED, State.HELD, State.PROCESSING), HELD_SECONDS + 1, None),
        ((State.COMPLETED, State.UNCERTAIN, State.COMPLETED), HELD_SECONDS + 1, None),
        ((State.COMPLETED, State.UNCERTAIN, State.PROCESSING), FOLLOWED_SECONDS + 1, "BATCH_OPEN"),
    ],
)
def test_a_batch_does_not_wait_for_a_person_forever(
    *, world: Any, collect: Collect, planned: Any, stand: Any, states: Any, idle: float, ends: str | None
) -> None:
    stand(*states)
    state = collect(planned)  # the first check at once, the next after a long time in which nothing happened
    assert state["status"] == "RUNNING"
    world.clock.now += idle
    state = collect(state)
    assert state["status"] == (ends or "RUNNING")
    if ends:
        assert [row["state"] for row in results(world)[:3]] == [one.value for one in states]


@pytest.mark.parametrize("states", [(State.COMPLETED, State.HELD, None), (State.COMPLETED, State.PROCESSING, None)])
def test_the_days_in_which_rows_were_fed_do_not_count(
    world: Any, collect: Collect, planned: Any, stand: Any, states: Any
) -> None:
    stand(*states)
    world.clock.now += 3 * FOLLOWED_SECONDS
    state = collect(planned)
    assert state["status"] == "RUNNING"
    world.clock.now += (HELD_SECONDS if State.HELD in states else FOLLOWED_SECONDS) + 1
    assert collect(state)["status"] == "BATCH_OPEN"


def test_a_batch_that_0_1_0_follows_ends_as_it_did_there(
    world: Any, collect: Collect, planned: Any, stand: Any
) -> None:
    stand(State.COMPLETED, State.PROCESSING, State.COMPLETED)
    world.clock.now += FOLLOWED_SECONDS + 1
    assert collect({**planned, "status": "RUNNING", "progressed_at": world.clock.now})["status"] == "BATCH_OPEN"


def test_a_faster_provider_shortens_every_wait(world: Any, collect: Collect, planned: Any, stand: Any) -> None:
    stand(State.COMPLETED, State.HELD, State.COMPLETED)
    state = collect(planned)
    world.clock.now += HELD_SECONDS / 10 + 1
    assert replace(collect, scale=0.1)(state)["status"] == "BATCH_OPEN"


def test_checking_again_writes_the_same_results(world: Any, collect: Collect, planned: Any, stand: Any) -> None:
    stand(State.COMPLETED, State.COMPLETED, State.COMPLETED)
    collect(planned)
    first = results(world)
    collect(planned)
    assert results(world) == first
    assert len(world.notified()) == 2  # published before it is recorded: repeated, never lost


def test_a_crashed_plan_is_notified(world: Any, collect: Collect) -> None:
    event = {"batch_id": BATCH, "bucket": "example-uploads", "key": "batches/spring.csv", "version_id": "v"}
    state = collect({**event, "exception": {"Error": "Lambda.Unknown"}})
    (message,) = world.notified()
    assert (message["status"], message["error"]["code"]) == ("BATCH_FAILED", "INTERNAL")
    assert "Nothing was bought" in message["error"]["message"]
    again = collect({**event, "restarts": 1, "exception": {"Error": "Lambda.Unknown"}})
    assert "Nothing more was bought" in world.notified()[1]["error"]["message"]
    assert again["status"] == state["status"]
    assert (state["status"], state["results_key"]) == ("BATCH_FAILED", None)
    assert state["exception"]


def test_many_rows_are_read_a_hundred_at_a_time(world: Any, collect: Collect, planned: Any) -> None:
    with world.sheets.write(PLAN) as plan:
        for row in range(1, 251):
            plan.write(json.dumps({"row": row, "columns": {}, "error": "x"}).encode() + b"\n")
    rows = {"rows": 250, "rejected": 250, "plan_bytes": plan.size, "columns": []}
    collect({**planned, **rows, "chunks": [[0, 1, 1, 100], [1, 2, 101, 200], [2, 3, 201, 250]]})
    assert len(results(world)) == 250
    reads = [len(call["RequestItems"]["jobs-of-tests"]["Keys"]) for call in world.called("BatchGetItem")]
    assert reads == [100, 100, 50] * 2


@pytest.mark.parametrize(
    ("elapsed", "over", "left", "wait"),
    [
        (30, 0, 10, 20),  # nothing is known yet
        (600, 0, 10, 150),
        (600, 6, 4, 133),  # six in 600 s: four more take 400
        (600, 1, 9, 150),  # though at that speed there are 5400 to come
        (3600, 1, 9999, 900),
        (3600, 9999, 1, 20),
        (10, 0, 0, 20),
    ],
)
def test_waits_depend_on_the_speed_so_far(elapsed: float, over: int, left: int, wait: int) -> None:
    assert next_wait(elapsed, over, left) == wait


def test_ten_thousand_rows_take_few_checks() -> None:
    """At 50 requests per minute and two or more per video, at most 25 videos per minute can be made."""
    elapsed, looks = 60.0, 0
    while (over := min(10_000, int(elapsed / 60 * 25))) < 10_000:
        elapsed += next_wait(elapsed, over, 10_000 - over)
        looks += 1
    assert looks < 60
    assert elapsed < 10_000 / 25 * 60 + 30
