"""Enqueue: rows of a plan become jobs and messages as there is room; repeating it creates no more jobs."""

import json
from dataclasses import replace
from typing import Any

import pytest
from seedance.enqueue import Enqueue
from seedance.jobs.budget import Booking, day_of
from seedance.jobs.job import State, batch_job_id

BATCH = "batch-0123456789abcdef0123456789abcdef"
PARAMETERS = {"prompt": "It turns", "duration": 5, "resolution": "720p", "aspect_ratio": "16:9"}
IMAGE = {
    "bucket": "example-uploads",
    "key": "images/a.png",
    "version_id": "v1",
    "content_type": "image/png",
    "bytes": 9,
}


@pytest.fixture
def chunk(world: Any) -> Any:
    """Write a plan with the given number of rows, every fifth one bad, and return the event of its only chunk."""

    def write(rows: int, **changes: Any) -> dict[str, Any]:
        with world.sheets.write(f"plans/{BATCH}.jsonl") as plan:
            for row in range(1, rows + 1):
                line = {"row": row, "columns": {"sku": f"S-{row}"}}
                made = {"model": "seedance-pro", "transport": "v2", "parameters": PARAMETERS, "image": IMAGE, **changes}
                line |= {"error": "prompt: is missing"} if row % 5 == 0 else made
                plan.write(json.dumps(line).encode() + b"\n")
            chunk = [0, plan.size, 1, rows]
        plan_key = f"plans/{BATCH}.jsonl"
        return {"batch_id": BATCH, "key": "batches/shop/spring.csv", "plan_key": plan_key, "chunk": chunk, "next": 0}

    return write


def sent(world: Any) -> list[str]:
    return [
        json.loads(entry["MessageBody"])["job_id"]
        for call in world.called("SendMessageBatch")
        for entry in call["Entries"]
    ]


def test_each_good_row_becomes_a_job(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    event = chunk(12)
    ended = {"next": 12, "status": "COMPLETED", "wait_seconds": 1, "jobs": 10, "created": 10}
    assert enqueue(event) == {**event, **ended}
    good = [row for row in range(1, 13) if row % 5]
    assert sent(world) == [batch_job_id(BATCH, row) for row in good]
    job = world.job(batch_job_id(BATCH, 7))
    assert (job.state, job.source, job.batch, job.row) == (State.RECEIVED, "batch", BATCH, 7)
    assert (job.model, job.transport, job.parameters, job.image) == ("seedance-pro", "v2", PARAMETERS, IMAGE)
    assert (job.name, job.video_key) == ("spring-7", f"videos/shop/spring/{job.job_id}.mp4")
    assert job.expected_seconds == 62
    assert world.store.get(batch_job_id(BATCH, 5)) is None
    assert world.counted() == {"BatchJobsTakenIn": 10}


def test_a_text_to_video_row_has_no_image(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    enqueue(chunk(1, image=None))
    assert world.job(batch_job_id(BATCH, 1)).image is None


def test_a_job_keeps_its_rows_metadata(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    enqueue(chunk(1, metadata={"sku": "S-1", "Größe": "42"}))
    assert world.job(batch_job_id(BATCH, 1)).metadata == {"sku": "S-1", "Größe": "42"}


def test_a_row_of_an_earlier_release_has_no_metadata(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    enqueue(chunk(1))
    assert world.job(batch_job_id(BATCH, 1)).metadata == {}


def test_edited_metadata_in_a_plan_is_kept_as_far_as_it_is_valid(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    """The row is checked and wanted, so it is not left out for this."""
    enqueue(chunk(1, metadata={"sku": "S-1", "size": 42, "long": "x" * 300, "deep": {"a": 1}}))
    assert world.job(batch_job_id(BATCH, 1)).metadata == {"sku": "S-1"}
    assert enqueue(chunk(1, metadata="sku"))["jobs"] == 0


def test_messages_are_sent_ten_per_request_after_all_records(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    enqueue(chunk(25))
    assert [len(call["Entries"]) for call in world.called("SendMessageBatch")] == [10, 10]
    names = [name for name, _ in world.calls if name in ("PutItem", "SendMessageBatch")]
    assert names == ["PutItem"] * 21 + ["SendMessageBatch"] * 2  # the first is the calendar's


def test_only_as_many_rows_are_fed_as_there_is_room_for(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    event, rounds = chunk(100), []
    while True:
        event = enqueue(event)
        rounds.append((event["status"], event["next"], event["jobs"]))
        if event["status"] == "COMPLETED":
            break
        assert 1 <= event["wait_seconds"] <= 60
        world.clock.now += event["wait_seconds"]
    # Every fifth row is bad. At 50 requests a minute, a share has 25 rows.
    assert rounds == [("RUNNING", 31, 25), ("RUNNING", 62, 25), ("RUNNING", 93, 25), ("COMPLETED", 100, 5)]
    good = [row for row in range(1, 101) if row % 5]
    assert sent(world) == [batch_job_id(BATCH, row) for row in good]
    # Not earlier than needed: a record that exists is one that reconcile expects to have a message.
    assert {round(world.job(batch_job_id(BATCH, row)).created_at) for row in good} == {
        round(world.clock.now - ago) for ago in (145, 120, 60, 0)
    }


def test_messages_are_spread_over_the_minute(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    enqueue(chunk(100))
    delays = [entry["DelaySeconds"] for call in world.called("SendMessageBatch") for entry in call["Entries"]]
    assert delays == sorted(delays)
    assert (delays[0], delays[12], delays[-1]) == (0, 0, 28)


def test_rows_that_wait_for_room_have_no_record(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    state = enqueue(chunk(100))
    fed = [row for row in range(1, 101) if world.store.get(batch_job_id(BATCH, row))]
    assert len(fed) == state["jobs"] == 25
    assert max(fed) <= state["next"]


def test_while_submits_are_paused_nothing_is_fed(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    event = chunk(3)
    world.switch.pause("no credits")
    waiting = {"next": 0, "status": "RUNNING", "wait_seconds": 1800, "jobs": 0, "created": 0}
    assert enqueue(event) == {**event, **waiting}
    world.switch.resume()
    assert enqueue(event)["status"] == "COMPLETED"


def test_when_the_days_budget_is_used_up_rows_wait_for_the_next_day(
    world: Any, enqueue: Enqueue, chunk: Any, make_job: Any
) -> None:
    enqueue = replace(enqueue, budget=1.0, clock=world.clock)
    event = chunk(3)
    today = day_of(world.clock.now)
    booking = Booking(today, reserved=0.7, lease=1)
    world.store.move(world.put(make_job()), State.SUBMITTING, booking=booking, reserved_usd=0.7, reserved_day=today)
    answer = enqueue(event)  # a row costs $0.35
    assert (answer["status"], answer["wait_seconds"], answer["jobs"]) == ("RUNNING", 1800, 0)
    world.clock.now += 24 * 3600
    assert enqueue(event)["status"] == "COMPLETED"


def test_a_row_above_a_whole_days_budget_is_fed_because_submit_says_so(
    world: Any, enqueue: Enqueue, chunk: Any
) -> None:
    assert replace(enqueue, budget=0.1, clock=world.clock)(chunk(3))["status"] == "COMPLETED"


def test_after_a_restart_only_jobs_that_may_have_no_message_get_one(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    event = chunk(4)
    enqueue(event)
    moved = world.store.move(world.job(batch_job_id(BATCH, 1)), State.HELD)
    again = enqueue(event)
    assert (again["jobs"], again["created"]) == (3, 0)
    assert world.job(batch_job_id(BATCH, 1)) == moved
    assert sent(world)[4:] == [batch_job_id(BATCH, row) for row in (2, 3, 4)]


def test_a_chunk_whose_jobs_were_all_submitted_takes_no_room(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    event = chunk(4)
    enqueue(event)
    for row in (1, 2, 3, 4):
        world.store.move(world.job(batch_job_id(BATCH, row)), State.HELD)
    before = len(world.called("PutItem"))
    assert enqueue(event)["status"] == "COMPLETED"
    assert len(world.called("PutItem")) == before
    assert len(sent(world)) == 4


def test_an_execution_of_0_1_0_calls_once_and_gets_all_rows_enqueued(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    event = chunk(100)
    del event["next"]
    answer = enqueue(event)
    assert (answer["status"], answer["jobs"], answer["created"]) == ("COMPLETED", 80, 80)
    assert len(sent(world)) == 80


def test_a_crash_halfway_is_repaired_by_the_next_attempt(
    world: Any, enqueue: Enqueue, chunk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = chunk(3)
    with monkeypatch.context() as patch:
        patch.setattr(type(world.queue), "send_all", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            enqueue(event)
    assert sent(world) == []
    again = enqueue(event)
    assert (again["status"], again["jobs"], again["created"]) == ("COMPLETED", 3, 0)
    assert len(sent(world)) == 3


def test_a_chunk_of_bad_rows_creates_no_jobs(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    event = chunk(5)
    event["chunk"] = [event["chunk"][1] - len('{"row": 5, "columns": {"sku": "S-5"}, "error": "prompt: is missing"}\n')]
    event["chunk"] += [event["chunk"][0], 5, 5]
    answer = enqueue(event)
    assert (answer["status"], answer["jobs"], answer["created"]) == ("COMPLETED", 0, 0)
    assert sent(world) == []
