"""Jobs in progress when the stack is updated: this release continues records and inputs of release 0.1.0.

tests/unit/recorded/0.1.0.json was recorded in the integration tests of 0.1.0, against the stand-in: the task, its
input, the table's items at that moment, and the response of 0.1.0.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from invoking import invoke
from seedance.jobs.job import State

RECORDED = json.loads((Path(__file__).parent / "recorded/0.1.0.json").read_text())
MOMENTS = ("created_at", "updated_at", "submitted_at")
LINK = "https://images.segmind.com/media/v.mp4"
pytestmark = pytest.mark.usefixtures("wired")

AFTER = {
    ("submit", "RECEIVED", "v2"): State.QUEUED,
    ("submit", "RECEIVED", "v1"): State.RECEIVED,  # the workflow makes its call
    ("poll", "RUNNING"): State.PROCESSING,
    ("poll", "COMPLETED"): State.COPYING,
    ("poll", "FAILED"): State.PROCESSING,  # the workflow's Fail records it
    ("generate", "COMPLETED"): State.COPYING,
    ("finalize", "COMPLETED"): State.COMPLETED,
    ("fail", "FAILED"): State.FAILED,
}


def name(recorded: dict[str, Any]) -> str:
    (item,) = recorded["items"]
    return f"{recorded['task']}-{item['state']['S']}-{item['transport']['S']}-{recorded['answer'].get('status')}"


def as_of_now(item: dict[str, Any]) -> dict[str, Any]:
    """The item as if everything had happened just now."""
    later = time.time() - 1 - float(item["updated_at"]["N"])
    for moment in (*(item[each] for each in MOMENTS if each in item), *item["entered"]["M"].values()):
        moment["N"] = str(float(moment["N"]) + later)
    return item


def provider(recorded: dict[str, Any], mp4: bytes) -> list[httpx.Response]:
    """The provider's responses that lead to the same outcome as in 0.1.0."""
    (item,) = recorded["items"]
    status = recorded["answer"].get("status")
    match recorded["task"], status:
        case "finalize", _ if "video" in item:
            return []  # v1 copies while it generates
        case "submit", _:
            return [httpx.Response(200, json={"request_id": "req-9"})]
        case "poll", "COMPLETED":
            return [httpx.Response(200, json={"status": "COMPLETED", "output": LINK, "cost": 0.1})]
        case "poll", "FAILED":
            return [httpx.Response(200, json={"status": "FAILED", "error": "moderation"})]
        case "poll", _:
            return [httpx.Response(200, json={"status": "PROCESSING"})]
        case (("generate" | "finalize"), _):
            return [httpx.Response(200, content=mp4, headers={"content-type": "video/mp4"})]
    return []


@pytest.mark.parametrize("recorded", RECORDED, ids=name)
def test_jobs_left_by_0_1_0_are_continued(world: Any, root: Path, recorded: dict[str, Any], mp4: bytes) -> None:
    (item,) = json.loads(json.dumps(recorded["items"]))
    before, transport = item["state"]["S"], item["transport"]["S"]
    world.aws["dynamodb"].put_item(TableName=os.environ["JOB_TABLE"], Item=as_of_now(item))
    status = recorded["answer"].get("status")
    wanted = AFTER.get((recorded["task"], before, transport)) or AFTER[recorded["task"], status]
    if recorded["task"] != "submit" or wanted is not State.RECEIVED:
        world.wire.will(*provider(recorded, mp4))
    answer = invoke(root, recorded["task"], recorded["input"])
    assert answer.get("status") == status
    assert answer.get("batchItemFailures", []) == []
    job = world.store.get(item["job_id"]["S"])
    assert (job.state, job.name) == (wanted, item["name"]["S"])
