"""Cancel, retry and timeline through the API, with all functions behind it."""

from typing import Any

import pytest
from pipeline import Pipeline
from seedance.jobs.job import State
from seedance.jobs.switch import switch


def events(pipeline: Pipeline, job_id: str) -> list[tuple[str | None, str | None]]:
    """State and code of each event of the timeline."""
    status, timeline = pipeline.call("GET", f"/videos/{job_id}/timeline")
    assert (status, timeline["job_id"]) == (200, job_id)
    moments = [event["at"] for event in timeline["events"]]
    assert moments == sorted(moments)
    return [(event["state"], event["code"]) for event in timeline["events"]]


@pytest.mark.parametrize("of", ["call", "upload", "v1"])
def test_a_waiting_job_is_cancelled_and_never_sent(pipeline: Pipeline, of: str) -> None:
    orders: dict[str, Any] = {
        "call": pipeline.order,
        "upload": lambda: pipeline.upload(resolution="480p"),
        "v1": lambda: pipeline.order(model="seedance-pro", transport="v1"),
    }
    switch().pause("a person")
    job_id = orders[of]()
    if of == "upload":
        pipeline.deliver()  # there is no job before
    for _ in range(2):
        status, cancelled = pipeline.call("POST", f"/videos/{job_id}/cancel")
        assert (status, cancelled["state"], cancelled["error"]["code"]) == (200, "CANCELLED", "CANCELLED")
    switch().resume()
    pipeline.run(job_id)
    pipeline.reconcile()
    assert pipeline.job(job_id).state is State.CANCELLED
    assert pipeline.sandbox.summary()["accepted"] == 0
    told = [message["status"] for message in pipeline.notifications()]
    assert told == (["HELD", "CANCELLED"] if of == "upload" else ["CANCELLED"])
    assert events(pipeline, job_id)[-2:] == [("CANCELLED", "CANCELLED"), (None, None)]


def test_a_bought_video_is_not_cancelled_and_comes(pipeline: Pipeline) -> None:
    job_id = pipeline.order(parameters={"resolution": "480p"})
    pipeline.deliver()
    status, refused = pipeline.call("POST", f"/videos/{job_id}/cancel")
    assert (status, refused["code"]) == (409, "ALREADY_BOUGHT")
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)
    assert [state for state, _ in events(pipeline, job_id)][:3] == ["RECEIVED", "SUBMITTING", "QUEUED"]


def test_a_failed_video_is_bought_again_only_if_the_call_says_so(pipeline: Pipeline) -> None:
    pipeline.sandbox.fault("job", "fail")
    job_id = pipeline.order(parameters={"resolution": "480p"})
    pipeline.run(job_id)
    assert pipeline.job(job_id).state is State.FAILED
    status, refused = pipeline.call("POST", f"/videos/{job_id}/retry")
    assert (status, refused["code"]) == (409, "NEEDS_PAYMENT")
    assert pipeline.waiting() == []
    body = {"pay": True, "max_usd": refused["estimate_usd"]}
    for _ in range(2):
        status, asked = pipeline.call("POST", f"/videos/{job_id}/retry", body)
        assert (status, asked["state"], asked["retry"]["ended_at"]) == (202, "FAILED", None)
    pipeline.run(job_id)
    job = pipeline.job(job_id)
    assert job.state is State.COMPLETED
    assert pipeline.sandbox.summary()["accepted"] == 2
    assert [message["status"] for message in pipeline.notifications()] == ["FAILED", "COMPLETED"]
    _, shown = pipeline.call("GET", f"/videos/{job_id}")
    assert (shown["retry"]["pay"], shown["retry"]["said"]) == (True, "submitting again, which will be billed")
    assert ("FAILED", "PROVIDER_JOB_FAILED") in events(pipeline, job_id)


def test_a_result_that_is_never_a_video_is_bought_again_within_a_limit(pipeline: Pipeline) -> None:
    pipeline.sandbox.fault("media", "html", times=4)
    job_id = pipeline.order(parameters={"resolution": "480p"})
    pipeline.run(job_id)
    assert pipeline.call("POST", f"/videos/{job_id}/retry", {"pay": True})[0] == 202
    pipeline.run(job_id)
    assert pipeline.job(job_id).code == "RESULT_NOT_A_VIDEO"
    assert pipeline.sandbox.summary()["accepted"] == 1  # that was a copy
    status, refused = pipeline.call("POST", f"/videos/{job_id}/retry")
    assert (status, refused["code"], refused["estimate_usd"] > 0) == (409, "NEEDS_PAYMENT", True)
    body = {"pay": True, "max_usd": 0.40}
    assert pipeline.call("POST", f"/videos/{job_id}/retry", body)[0] == 202
    pipeline.run(job_id)
    job = pipeline.job(job_id)
    assert (job.state, len(job.earlier_request_ids)) == (State.COMPLETED, 1)
    summary = pipeline.sandbox.summary()
    assert (summary["accepted"], round(sum(job.settled_days.values()), 6)) == (2, summary["billed_usd"])


def test_a_copy_that_failed_is_repeated_at_no_cost(pipeline: Pipeline) -> None:
    pipeline.sandbox.fault("media", "html", times=2)
    job_id = pipeline.order(parameters={"resolution": "480p"})
    pipeline.run(job_id)
    assert pipeline.job(job_id).code == "RESULT_NOT_A_VIDEO"
    assert pipeline.call("POST", f"/videos/{job_id}/retry")[0] == 202
    pipeline.run(job_id)
    job = pipeline.job(job_id)
    assert (job.state, job.video_key in pipeline.stored()) == (State.COMPLETED, True)
    summary = pipeline.sandbox.summary()
    assert (summary["accepted"], job.cost_usd) == (1, summary["billed_usd"])
