"""The API's calls that buy nothing, with all of AWS behind them: lists while the indexes lag, estimates, pauses."""

from typing import Any

import pytest
from pipeline import Pipeline, app
from seedance.jobs.job import State
from seedance.jobs.reasons import Code

SMALL = {"resolution": "480p"}


def listed(pipeline: Pipeline, query: str = "") -> list[dict[str, Any]]:
    """All pages of a list."""
    found, cursor = [], ""
    while True:
        status, page = pipeline.call("GET", f"/videos?{query}{cursor}")
        assert status == 200
        found += page["videos"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def three(pipeline: Pipeline) -> list[str]:
    """A completed upload, a failed call and a waiting one, oldest first."""
    done = pipeline.upload("uploads/red/shoe.png", resolution="480p")
    pipeline.run(done)
    failed = pipeline.order(prompt="a [blocked] lake", parameters=SMALL)
    pipeline.run(failed)
    return [done, failed, pipeline.order(model="seedance-2.0-mini", parameters=SMALL)]


def test_all_jobs_are_listed_newest_first(pipeline: Pipeline) -> None:
    ids = three(pipeline)
    pipeline.adversary.caught_up()
    found = listed(pipeline)
    assert [video["job_id"] for video in found] == ids[::-1]
    for video in found:
        _, whole = pipeline.call("GET", f"/videos/{video['job_id']}")
        assert {name: whole[name] for name in video} == video
    assert [video["job_id"] for video in listed(pipeline, "limit=1")] == ids[::-1]


def test_jobs_are_found_by_what_they_are(pipeline: Pipeline) -> None:
    expected = {
        "state=COMPLETED": [0],
        "state=RECEIVED,FAILED": [2, 1],
        "source=api": [2, 1],
        "model=seedance-2.0-mini": [2],
        "name_prefix=sho": [0],
        "batch=batch-1": [],
        "created_since=2020-01-01&updated_since=2020-01-01": [2, 1, 0],
        "created_before=2020-01-01": [],
    }
    ids = three(pipeline)
    pipeline.adversary.caught_up()
    found = {query: [ids.index(video["job_id"]) for video in listed(pipeline, query)] for query in expected}
    assert found == expected


def test_a_lagging_index_shows_what_was_and_nothing_that_never_was(pipeline: Pipeline) -> None:
    def look() -> None:
        for query in ("", "limit=1", "state=QUEUED", "updated_since=2020-01-01"):
            found = listed(pipeline, query)
            assert len({video["job_id"] for video in found}) == len(found)
            for video in found:
                assert video["job_id"] in known
                assert video["state"] in pipeline.job(video["job_id"]).entered

    known: list[str] = []
    for prompt in ("a lake", "a [blocked] lake"):
        known.append(pipeline.order(prompt=prompt, parameters=SMALL))
        look()
        pipeline.deliver()
        look()
    for job_id in known:
        pipeline.drive(job_id)
        look()
    pipeline.adversary.caught_up()
    assert [video["job_id"] for video in listed(pipeline)] == known[::-1]
    assert {video["state"] for video in listed(pipeline)} == {"COMPLETED", "FAILED"}


def test_a_program_that_asks_what_changed_misses_nothing(pipeline: Pipeline) -> None:
    job_id = pipeline.order(parameters=SMALL)
    pipeline.adversary.caught_up()
    (before,) = listed(pipeline, "updated_since=2020-01-01")
    pipeline.run(job_id)
    pipeline.adversary.caught_up()
    (after,) = listed(pipeline, "updated_since=2020-01-01")
    assert (before["state"], after["state"]) == ("RECEIVED", "COMPLETED")
    since = after["updated_at"].replace("+00:00", "Z")
    assert [video["job_id"] for video in listed(pipeline, f"updated_since={since}")] == [job_id]
    assert listed(pipeline, "updated_since=2099-01-01") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("stat=HELD", "stat"),
        ("state=DONE", "state"),
        ("limit=1&limit=2", "limit"),
        ("cursor=x", "cursor"),
        ("model=", "model"),
    ],
)
def test_an_invalid_filter_is_refused(pipeline: Pipeline, query: str, field: str) -> None:
    status, answer = pipeline.call("GET", f"/videos?{query}")
    assert (status, answer["field"]) == (422, field)


def test_a_job_of_an_earlier_release_is_listed_after_the_command(pipeline: Pipeline) -> None:
    job_id = pipeline.order(parameters=SMALL)
    pipeline.run(job_id)
    table = pipeline.client("dynamodb")
    names = {"#month": "month"}
    key = {"job_id": {"S": job_id}}
    table.update_item(TableName="jobs", Key=key, UpdateExpression="REMOVE #month", ExpressionAttributeNames=names)
    pipeline.adversary.caught_up()
    before = table.get_item(TableName="jobs", Key=key)["Item"]
    assert listed(pipeline) == []
    assert app("repair").handler({"ask": "index", "step": 0, "since": 0.0}, None)["number"] == 1
    pipeline.adversary.caught_up()
    assert [video["job_id"] for video in listed(pipeline)] == [job_id]
    after = table.get_item(TableName="jobs", Key=key)["Item"]
    assert {name: value for name, value in after.items() if name != "month"} == before


def test_an_estimate_buys_nothing_and_is_what_is_reserved(pipeline: Pipeline) -> None:
    body = {"model": "seedance-1.5-pro", "prompt": "a lake", "parameters": {**SMALL, "duration": 4}}
    status, told = pipeline.call("POST", "/estimates", body)
    assert status == 200
    assert pipeline.client("dynamodb").scan(TableName="jobs")["Count"] == 0
    job_id = pipeline.order(**body)
    pipeline.deliver()
    assert pipeline.job(job_id).reserved_usd == told["estimate_usd"]
    assert pipeline.call("GET", "/budget")[1]["reserved_usd"] == told["estimate_usd"]


def test_a_pause_holds_jobs_and_a_resume_lets_reconcile_release_them(pipeline: Pipeline) -> None:
    assert pipeline.call("POST", "/pause", {"reason": "prices are being checked"})[1]["paused"] is True
    job_id = pipeline.order(parameters=SMALL)
    pipeline.deliver()
    held = pipeline.job(job_id)
    assert (held.state, held.code) == (State.HELD, Code.SUBMITS_PAUSED)
    assert "prices are being checked" in (held.error or {})["message"]
    pipeline.adversary.caught_up()
    seen = pipeline.call("GET", "/budget")[1]
    assert (seen["paused"], seen["held"], seen["waiting"], seen["in_flight"]) == (True, 1, 0, 0)
    assert pipeline.call("POST", "/resume")[1]["paused"] is False
    pipeline.pass_time(600)
    assert pipeline.reconcile() == {"released": 1}
    assert pipeline.run(job_id).state is State.COMPLETED
    spent = pipeline.call("GET", "/budget")[1]
    assert (spent["spent_usd"], spent["reserved_usd"]) == (pipeline.job(job_id).cost_usd, 0.0)
