"""A provider that bills by tokens and then raises its prices: the reservations follow, and the drift is reported."""

import json
from collections.abc import Iterator

import pytest
from pipeline import Pipeline
from seedance.jobs import bills
from seedance.jobs.job import Job, State
from seedance.jobs.store import jobs

from cli import balance
from cli.target import Target

MODEL = "seedance-1.5-pro"
PARAMETERS = {"generate_audio": True, "resolution": "480p", "duration": 4}


def drifts(printed: str) -> Iterator[float]:
    """The reported drifts, as CloudWatch reads them from the log."""
    for line in printed.splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        for about in entry.get("_aws", {}).get("CloudWatchMetrics", []):
            units = {metric["Name"]: metric["Unit"] for metric in about["Metrics"]}
            if "PriceDriftPercent" in units:
                assert units["PriceDriftPercent"] == "Percent"
                yield from entry["PriceDriftPercent"]


@pytest.mark.slow
def test_reservations_follow_the_bills_and_a_raised_price_is_reported(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bills, "FRESH_SECONDS", 0.0)  # nothing sleeps

    def video() -> tuple[float, Job]:
        """Make a video. Returns the error of its reservation, and the job."""
        job_id = pipeline.order(model=MODEL, parameters=PARAMETERS)
        pipeline.deliver()
        reserved = pipeline.job(job_id).reserved_usd
        pipeline.drive(job_id)
        job = pipeline.job(job_id)
        assert (job.state, job.settled_usd) == (State.COMPLETED, job.cost_usd)
        assert reserved
        assert job.cost_usd
        pipeline.client("dynamodb").delete_item(TableName="jobs", Key={"job_id": {"S": job_id}})  # or it gets slow
        return abs(reserved / job.cost_usd - 1), job

    error, first = video()
    assert error < 0.05  # the published price: the stand-in's sizes are a little smaller than ours
    assert first.cost_usd
    for _ in range(8):  # as many videos like the first
        jobs().bills.learn(MODEL, first.parameters, first.cost_usd)
    assert video()[0] < 0.001
    assert max(drifts(capsys.readouterr().out)) <= 5

    pipeline.sandbox.configure(price_factor=1.1)
    errors = [video()[0] for _ in range(20)]
    assert errors[0] > 0.08
    assert max(errors[-10:]) <= 0.02
    assert max(drifts(capsys.readouterr().out)) > 5
    target = Target({"JobTableName": "jobs"})
    monkeypatch.setattr(Target, "client", lambda _, service: pipeline.client(service))
    (line,) = balance.drifts(target)
    assert line.startswith("seedance-1.5-pro, 480p 4s 16:9 audio: 5.3% above")


def test_the_price_of_a_length_that_the_model_chooses_is_reserved_at_its_highest(pipeline: Pipeline) -> None:
    job_id = pipeline.order(model="seedance-2.0-fast", parameters={"duration": -1, "resolution": "480p"})
    pipeline.deliver()
    assert pipeline.job(job_id).reserved_usd == pytest.approx(15 * 0.07)
    pipeline.drive(job_id)
    assert pipeline.job(job_id).settled_usd == pipeline.job(job_id).cost_usd
