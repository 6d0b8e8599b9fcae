"""Enqueue: a chunk of a plan becomes jobs and messages; repeating it creates no more jobs."""

import json
from typing import Any

import pytest
from seedance.enqueue import Enqueue
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
def enqueue(world: Any) -> Enqueue:
    return Enqueue(world.store, world.sheets, world.queue)


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
        return {"batch_id": BATCH, "key": "batches/shop/spring.csv", "plan_key": f"plans/{BATCH}.jsonl", "chunk": chunk}

    return write


def sent(world: Any) -> list[str]:
    return [
        json.loads(entry["MessageBody"])["job_id"]
        for call in world.called("SendMessageBatch")
        for entry in call["Entries"]
    ]


def test_each_good_row_becomes_a_job(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    assert enqueue(chunk(12)) == {"jobs": 10, "created": 10}
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


def test_messages_are_sent_ten_per_request_after_all_records(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    enqueue(chunk(25))
    assert [len(call["Entries"]) for call in world.called("SendMessageBatch")] == [10, 10]
    names = [name for name, _ in world.calls if name in ("PutItem", "SendMessageBatch")]
    assert names == ["PutItem"] * 20 + ["SendMessageBatch"] * 2


def test_a_repetition_changes_no_job_but_sends_the_messages_again(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    event = chunk(3)
    enqueue(event)
    moved = world.store.move(world.job(batch_job_id(BATCH, 1)), State.HELD)
    assert enqueue(event) == {"jobs": 3, "created": 0}
    assert world.job(batch_job_id(BATCH, 1)) == moved
    assert len(sent(world)) == 6


def test_a_crash_halfway_is_repaired_by_the_next_attempt(
    world: Any, enqueue: Enqueue, chunk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = chunk(3)
    with monkeypatch.context() as patch:
        patch.setattr(type(world.queue), "send_all", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            enqueue(event)
    assert sent(world) == []
    assert enqueue(event) == {"jobs": 3, "created": 0}
    assert len(sent(world)) == 3


def test_a_chunk_of_bad_rows_creates_no_jobs(world: Any, enqueue: Enqueue, chunk: Any) -> None:
    event = chunk(5)
    event["chunk"] = [event["chunk"][1] - len('{"row": 5, "columns": {"sku": "S-5"}, "error": "prompt: is missing"}\n')]
    event["chunk"] += [event["chunk"][0], 5, 5]
    assert enqueue(event) == {"jobs": 0, "created": 0}
    assert sent(world) == []
