"""Batches through the API, with all of AWS and the provider behind them: planned, approved, made, cancelled, listed."""

import json
from typing import Any

import pytest
from pipeline import UPLOADS, Pipeline, app, http, png
from seedance.jobs.job import State, batch_job_id

KEY = "staged/shop/spring.csv"
ROWS = "image,prompt,resolution\nimages/a.png,It turns,480p\n,A lake,480p\nimages/a.png,It [blocked] turns,480p\n"
ROWS += ",A sea,480p\n" * 3 + ",NULL,480p\n"


def ask(pipeline: Pipeline, method: str, batch: str, verb: str = "") -> tuple[int, dict[str, Any]]:
    """A call about a batch."""
    return pipeline.call(method, f"/batches/{{batch_id}}{verb}", pathParameters={"batch_id": batch})


def task(function: str, event: Any) -> Any:
    """A task of the batch's state machine, with its retries."""
    for _ in range(8):
        try:
            return json.loads(json.dumps(app(function).handler(event, None)))
        except RuntimeError as error:
            last = error  # the queue rejected some messages
    raise last


def execution(pipeline: Pipeline, name: str) -> Any:
    """The input of a batch's execution."""
    arn = pipeline.batch_machine.replace(":stateMachine:", ":execution:")
    return json.loads(pipeline.client("stepfunctions").describe_execution(executionArn=f"{arn}:{name}")["input"])


def executions(pipeline: Pipeline) -> int:
    listed = pipeline.client("stepfunctions").list_executions(stateMachineArn=pipeline.batch_machine)["executions"]
    return len(listed)


def planned(pipeline: Pipeline, **body: Any) -> str:
    """A batch that the API had planned. Returns its id."""
    pipeline.put("images/a.png", png())
    pipeline.put(KEY, ROWS.encode())
    status, shown = pipeline.call("POST", "/batches", {"manifest_key": KEY, **body})
    assert (status, shown["state"]) == (202, "PLANNING")
    task("plan", execution(pipeline, shown["batch_id"]))
    return str(shown["batch_id"])


def fed(state: Any) -> None:
    """The map: each chunk's rows become jobs."""
    for chunk in state["chunks"]:
        event = {**{name: state[name] for name in ("batch_id", "key", "plan_key")}, "chunk": chunk, "next": 0}
        while event.get("status") != "COMPLETED":
            event = task("enqueue", event)


@pytest.mark.parametrize("times", [1, 2])
def test_a_batch_is_planned_approved_and_made_once(pipeline: Pipeline, times: int) -> None:
    batch = planned(pipeline)
    _, shown = ask(pipeline, "GET", batch)
    assert (shown["state"], shown["states"]) == ("PLANNED", {"PLANNED": 6, "REJECTED": 1})
    assert [row["row"] for row in shown["bad_rows"]] == [7]
    assert http().get(shown["rejected_report"]["url"]).text.count("\n") == 2
    assert (pipeline.sandbox.summary()["accepted"], pipeline.waiting()) == (0, [])
    for _ in range(times):
        status, shown = ask(pipeline, "POST", batch, "/approve")
        assert (status, shown["state"]) == (200, "RUNNING")
    assert executions(pipeline) == 2
    state = execution(pipeline, f"{batch}-approved")
    for _ in range(times):
        fed(state)
    jobs = [batch_job_id(batch, row) for row in range(1, 7)]
    for job_id in jobs:
        pipeline.run(job_id)
    assert task("collect", state)["status"] == "BATCH_DONE"
    _, shown = ask(pipeline, "GET", batch)
    assert (shown["state"], shown["states"]) == ("DONE", {"COMPLETED": 5, "FAILED": 1, "REJECTED": 1})
    summary = pipeline.sandbox.summary()
    assert (summary["accepted"], summary["duplicates"]) == (6, [])
    assert shown["spent_usd"] == pytest.approx(summary["billed_usd"])
    results = http().get(shown["results"]["url"]).content.decode("utf-8-sig").splitlines()
    assert [line.split(",")[2] for line in results[1:]] == [
        *("COMPLETED", "COMPLETED", "FAILED"),
        *["COMPLETED"] * 3,
        "REJECTED",
    ]
    assert [message["status"] for message in pipeline.notifications()][-1] == "BATCH_DONE"


def test_a_cancelled_batch_makes_what_was_fed_and_nothing_more(pipeline: Pipeline) -> None:
    batch = planned(pipeline, approve=True)
    state = task("plan", execution(pipeline, batch))
    (chunk,) = state["chunks"]
    event = {**{name: state[name] for name in ("batch_id", "key", "plan_key")}, "chunk": chunk}
    status, shown = ask(pipeline, "POST", batch, "/cancel")
    assert (status, shown["state"], shown["states"]) == (200, "CANCELLING", {"CANCELLED": 6, "REJECTED": 1})
    assert task("enqueue", {**event, "next": 0})["jobs"] == task("enqueue", event)["jobs"] == 0
    assert task("collect", state)["states"] == {"CANCELLED": 6, "REJECTED": 1}
    assert ask(pipeline, "GET", batch)[1]["state"] == "CANCELLED"
    assert ask(pipeline, "POST", batch, "/approve")[0] == 409
    assert pipeline.sandbox.summary()["accepted"] == 0
    assert executions(pipeline) == 1


@pytest.mark.sampled(2)
@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("by", ["the call", "collect"])
def test_a_cancelled_batch_never_buys_what_was_not_bought(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, by: str, *, paused: bool
) -> None:
    if by == "collect":
        monkeypatch.setattr("seedance.rest.batches.CANCEL_SECONDS", 0.0)
    batch = planned(pipeline, approve=True)
    state = task("plan", execution(pipeline, batch))
    fed(state)
    made, *others = [batch_job_id(batch, row) for row in range(1, 7)]
    assert pipeline.submit(json.dumps({"job_id": made}))  # row 1 is bought
    if paused:
        assert pipeline.call("POST", "/pause")[0] == 200
        pipeline.submit(json.dumps({"job_id": others[0]}))
        assert pipeline.job(others[0]).code == "SUBMITS_PAUSED"
    status, shown = ask(pipeline, "POST", batch, "/cancel")
    assert (status, shown["state"]) == (200, "CANCELLING")
    if by == "collect":
        assert "CANCELLED" not in shown["states"]
        assert task("collect", state)["status"] == "RUNNING"
    assert [pipeline.job(one).state for one in others] == [State.CANCELLED] * 5
    pipeline.call("POST", "/resume")
    pipeline.reconcile()
    while pipeline.deliver():
        pass
    assert pipeline.run(made).state is State.COMPLETED
    ended = task("collect", state)
    assert (ended["status"], ended["states"]) == ("BATCH_CANCELLED", {"COMPLETED": 1, "CANCELLED": 5, "REJECTED": 1})
    summary = pipeline.sandbox.summary()
    assert (summary["accepted"], summary["duplicates"]) == (1, [])
    told = [message["job_id"] for message in pipeline.notifications() if message["status"] == "CANCELLED"]
    assert sorted(told) == sorted(others)


def test_all_batches_are_listed(pipeline: Pipeline) -> None:
    staged = planned(pipeline)
    version = pipeline.put("batches/spring.csv", ROWS.encode())
    event = {"batch_id": "batch-1", "bucket": UPLOADS, "key": "batches/spring.csv", "version_id": version}
    task("plan", event)
    pipeline.adversary.caught_up()
    _, page = pipeline.call("GET", "/batches?limit=1")
    _, rest = pipeline.call("GET", f"/batches?cursor={page['next_cursor']}")
    found = page["batches"] + rest["batches"]
    assert [(one["batch_id"], one["state"]) for one in found] == [("batch-1", "RUNNING"), (staged, "PLANNED")]
    assert pipeline.call("GET", "/videos")[1]["videos"] == []
    assert pipeline.reconcile() == {}


def test_a_job_of_a_staged_manifest_is_like_any_other(pipeline: Pipeline) -> None:
    batch = planned(pipeline, approve=True)
    fed(task("plan", execution(pipeline, batch)))
    job = pipeline.run(batch_job_id(batch, 1))
    assert (job.state, job.source, job.batch, job.name) == (State.COMPLETED, "batch", batch, "spring-1")
    assert job.video_key == f"videos/shop/spring/{job.job_id}.mp4"
