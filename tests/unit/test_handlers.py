"""The functions as Lambda runs them: app.py loaded by path, sample events as input, and their responses."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from described import check
from invoking import invoke
from seedance.jobs import catalogue
from seedance.jobs.budget import month_of
from seedance.jobs.job import Job, State

Make = Callable[..., Job]
Event = Callable[[str], dict[str, Any]]
JOB = "up-0123456789abcdef0123456789abcdef"
LINK = f"https://s3/uploads/a.png?response-content-disposition=inline%3B%20filename%3D%22{JOB}%22"
URL = "https://images.segmind.com/v.mp4"
LONG = "é" * 9000
pytestmark = pytest.mark.usefixtures("wired")


@pytest.fixture
def run(root: Path) -> Callable[[str, dict[str, Any]], Any]:
    return partial(invoke, root)


@pytest.fixture
def put(world: Any, make_job: Make) -> Callable[..., Job]:
    return lambda state, **changes: world.put(make_job(state, job_id=JOB, **changes))


def accepted(request_id: str = "req-9") -> httpx.Response:
    return httpx.Response(200, json={"request_id": request_id})


def with_real_versions(world: Any, event: dict[str, Any], png: bytes) -> dict[str, Any]:
    """Upload the objects that the event names, and put their real version ids into it."""
    for record in event["Records"]:
        body = json.loads(record["body"])
        for item in body["Records"]:
            uploaded = world.upload(item["s3"]["object"]["key"], png)["Records"][0]
            item["s3"]["object"]["versionId"] = uploaded["s3"]["object"]["versionId"]
        record["body"] = json.dumps(body)
    return event


def test_submit_accepts_an_upload(*, world: Any, run: Any, event: Event, png: bytes) -> None:
    world.wire.will(accepted())
    answer = run("submit", with_real_versions(world, event("s3-upload"), png))
    assert answer == {"batchItemFailures": []}
    (job,) = world.store.newest(State.QUEUED)
    assert job.name == "red-shoe"
    assert world.wire.body()["prompt"] == "The camera moves slowly."


def test_submit_recognises_a_test_event(world: Any, run: Any, event: Event) -> None:
    assert run("submit", event("s3-test-event")) == {"batchItemFailures": []}
    assert world.wire.requests == []


def test_odd_keys_all_become_jobs(*, world: Any, run: Any, event: Event) -> None:
    assert run("submit", event("s3-upload-odd-keys")) == {"batchItemFailures": []}
    # None of them is in the bucket, so each becomes a rejected job. The folder becomes none, and the copy is looked at
    # again later.
    assert len(world.store.newest(State.REJECTED)) == 16
    assert [call["DelaySeconds"] for call in world.called("SendMessage")] == [60]
    assert len({message["job_id"] for message in world.notified()}) == 16


def test_only_the_failed_message_of_a_batch_is_redelivered(*, world: Any, run: Any, event: Event, png: bytes) -> None:
    batch = with_real_versions(world, event("s3-batch"), png)
    batch["Records"][1]["body"] = '{"job_id": "up-nobody"}'
    world.wire.will(*(accepted(f"req-{number}") for number in range(3)))
    assert run("submit", batch) == {"batchItemFailures": [{"itemIdentifier": batch["Records"][1]["messageId"]}]}
    assert {job.name for job in world.store.newest(State.QUEUED)} == {"1a", "1b", "3a"}


def test_when_all_fail_all_are_redelivered(run: Any, event: Event) -> None:
    batch = event("s3-batch")
    for record in batch["Records"]:
        record["body"] = "{"
    assert [failed["itemIdentifier"] for failed in run("submit", batch)["batchItemFailures"]] == [
        record["messageId"] for record in batch["Records"]
    ]


def test_submit_continues_a_job_that_waited(*, world: Any, run: Any, event: Event, put: Any) -> None:
    put(State.RECEIVED)
    world.wire.will(accepted())
    assert run("submit", event("sqs-job")) == {"batchItemFailures": []}
    assert world.job(JOB).state is State.QUEUED


def test_with_a_missing_secret_the_message_is_redelivered_and_the_job_stays_received(
    *, world: Any, run: Any, event: Event, put: Any
) -> None:
    put(State.RECEIVED)
    world.aws["secretsmanager"].delete_secret(SecretId="key-of-tests", ForceDeleteWithoutRecovery=True)
    assert len(run("submit", event("sqs-job"))["batchItemFailures"]) == 1
    assert world.job(JOB).state is State.RECEIVED


def test_reconcile_runs_a_round(*, world: Any, run: Any, put: Any) -> None:
    put(State.RECEIVED, updated_at=1.0)
    assert run("reconcile", {"source": "aws.events", "detail-type": "Scheduled Event"}) == {"done": {"enqueued": 1}}
    assert world.postponed() == [(JOB, 0)]


def test_repair_answers_questions_about_the_history(*, world: Any, run: Any, put: Any) -> None:
    put(State.UNCERTAIN, submitted_at=1_763_599_000.0)
    row = {"request_id": "req-9", "model_status": "PENDING", "request_body": {"image_url": LINK}}
    for _ in range(2):
        world.wire.will(httpx.Response(200, json={"data": [row]}))
    ask = {"ask": "history", "model": "seedance-1.0-pro-fast", "since": 1_763_599_000.0, "until": 1_763_600_000.0}
    ask["page"] = 1
    assert [(one["job_id"], one["request_id"]) for one in run("repair", ask)["rows"]] == [(JOB, "req-9")]
    assert run("repair", {"ask": "adopt", "job_id": JOB, "request_id": "req-9"}) == {"state": "QUEUED"}
    assert world.job(JOB).request_id == "req-9"


def test_a_long_history_is_split_into_responses_far_below_lambdas_limit(*, world: Any, run: Any) -> None:
    # The worst rows possible: every text is long, and made of characters that take six bytes each in JSON.
    rows = [
        {
            "request_id": f"req-{number}",
            "model_status": "é" * 9000,
            "error": "é" * 9000,
            "generation_url": f"https://{LONG[:8000]}",
        }
        for number in range(450)
    ]
    pages = [httpx.Response(200, json={"data": rows[start : start + 100]}) for start in range(0, 500, 100)]
    ask = {"ask": "history", "model": "seedance-1.0-pro-fast", "since": 1_763_599_000.0, "until": 1_763_600_000.0}
    seen, page, answers = [], 1, 0
    world.wire.will(*pages)
    while page is not None:
        answer = run("repair", {**ask, "page": page})
        assert len(json.dumps(answer)) < 6_000_000 / 2
        seen += [row["request_id"] for row in answer["rows"]]
        page, answers = answer["next"], answers + 1
    assert seen == [f"req-{number}" for number in range(450)]
    assert answers > 1


def test_a_response_has_at_most_ten_pages_of_the_history(*, world: Any, run: Any) -> None:
    rows = [{"request_id": f"req-{number}", "model_status": "COMPLETED"} for number in range(2150)]
    ask = {"ask": "history", "model": "seedance-pro", "since": 1.0, "until": 2.0}
    pages = [httpx.Response(200, json={"data": rows[start : start + 100]}) for start in range(0, 2150, 100)]
    for page, count, following in ((1, 10, 11), (11, 10, 21), (21, 2, None)):
        world.wire.will(*pages[page - 1 : page - 1 + count])
        answer = run("repair", {**ask, "page": page})
        assert answer["rows"][0]["request_id"] == f"req-{(page - 1) * 100}"
        assert answer["next"] == following


def test_an_ordinary_day_of_the_history_is_one_response(*, world: Any, run: Any) -> None:
    rows = [
        {"request_id": f"req-{number}", "model_status": "COMPLETED", "generation_url": URL} for number in range(250)
    ]
    world.wire.will(*(httpx.Response(200, json={"data": rows[start : start + 100]}) for start in (0, 100, 200)))
    answer = run("repair", {"ask": "history", "model": "seedance-pro", "since": 1.0, "until": 2.0, "page": 1})
    assert (len(answer["rows"]), answer["next"]) == (250, None)


@pytest.mark.parametrize("job_id", [JOB, "up-nobody"])
def test_repair_refuses_with_a_clear_message(*, world: Any, run: Any, put: Any, job_id: str) -> None:
    before = put(State.COMPLETED)
    answer = run("repair", {"ask": "adopt", "job_id": job_id, "request_id": "req-9"})
    assert f"{job_id} is not UNCERTAIN or HELD" in answer["error"]
    assert world.job(JOB) == before


def test_poll(*, world: Any, run: Any, event: Event, put: Any) -> None:
    put(State.QUEUED, submitted_at=None)
    world.wire.will(httpx.Response(200, json={"status": "PROCESSING"}))
    outcome = run("poll", event("poll"))
    assert (outcome["job_id"], outcome["status"], outcome["error"]) == (JOB, "RUNNING", None)
    assert outcome["wait_seconds"] == pytest.approx(29, abs=1)
    assert outcome["slot"] == pytest.approx(time.time() + 29, abs=2)


def test_generate(*, world: Any, run: Any, event: Event, put: Any, mp4: bytes) -> None:
    put(State.RECEIVED, transport="v1", model="seedance-pro")
    world.wire.will(httpx.Response(200, content=mp4, headers={"content-type": "video/mp4"}))
    assert run("generate", event("generate"))["status"] == "COMPLETED"


def test_finalize(*, world: Any, run: Any, event: Event, put: Any, mp4: bytes) -> None:
    put(State.COPYING)
    world.wire.will(httpx.Response(200, content=mp4))
    assert run("finalize", event("finalize")) == {"job_id": JOB, "status": "COMPLETED", "error": None}


@pytest.mark.parametrize(
    ("name", "status", "unexpected"), [("fail", "FAILED", False), ("fail-crashed", "PROCESSING", True)]
)
def test_fail(*, run: Any, event: Event, put: Any, name: str, status: str, unexpected: bool) -> None:
    put(State.PROCESSING)
    assert run("fail", event(name)) == {"job_id": JOB, "status": status, "unexpected": unexpected}


def test_plan(*, world: Any, run: Any, event: Event) -> None:
    world.aws["s3"].put_object(Bucket="example-uploads", Key="batches/spring.csv", Body=b"prompt,sku\nIt turns,1\n")
    answer = run("plan", event("plan"))
    assert (answer["status"], answer["rows"], answer["tolerated_percent"]) == ("PLANNED", 1, 20.0)


def test_enqueue(*, world: Any, run: Any, event: Event) -> None:
    chunk = event("enqueue")
    body = b'{"row": 1, "error": "it is bad"}   \n'
    world.aws["s3"].put_object(Bucket="example-uploads", Key=chunk["plan_key"], Body=body)
    assert run("enqueue", chunk)["status"] == "COMPLETED"


def test_collect(*, world: Any, run: Any, event: Event) -> None:
    assert run("collect", event("collect"))["status"] == "BATCH_FAILED"
    assert world.notified()[0]["batch_id"] == event("collect")["batch_id"]


@pytest.mark.parametrize("function", ["poll", "generate", "finalize", "fail"])
def test_a_task_whose_job_has_no_record_raises(run: Any, event: Event, function: str) -> None:
    with pytest.raises(LookupError, match=JOB):
        run(function, event(function))


def test_metrics_are_written_even_when_a_task_raises(
    *, run: Any, event: Event, put: Any, capsys: pytest.CaptureFixture[str], world: Any
) -> None:
    put(State.RECEIVED)
    world.wire.will(httpx.Response(504))
    run("submit", event("sqs-job"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (metric,) = (line for line in lines if "_aws" in line)
    assert metric["JobsUncertain"] == [1.0]
    assert metric["service"] == "tests"
    assert metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "SeedancePipeline"


def call(run: Any, event: dict[str, Any], **changes: Any) -> tuple[int, Any]:
    answer = run("api", {**event, **changes})
    check(changes.get("httpMethod", event["httpMethod"]), changes.get("resource", event["resource"]), answer)
    return answer["statusCode"], json.loads(answer["body"])


def test_the_api_creates_a_video_once(world: Any, run: Any, event: Event) -> None:
    first, again = (call(run, event("api-create-video")) for _ in range(2))
    assert first == again
    status, body = first
    assert (status, body["state"], body["model"], body["source"]) == (202, "RECEIVED", "seedance-2.0-fast", "api")
    assert body["parameters"]["aspect_ratio"] == "9:16"
    assert body["job_id"].startswith("api-")
    assert world.job(body["job_id"]).state is State.RECEIVED


def test_header_names_are_case_insensitive(run: Any, event: Event) -> None:
    created = event("api-create-video")
    _, first = call(run, created)
    headers = {name.upper(): value for name, value in created["headers"].items()}
    assert call(run, created, headers=headers)[1]["job_id"] == first["job_id"]


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"body": None}, 400, "body"),
        ({"body": "{"}, 400, "body"),
        ({"body": "/w==", "isBase64Encoded": True}, 400, "body"),
        ({"body": "%", "isBase64Encoded": True}, 400, "body"),
        ({"body": "{}"}, 422, "prompt"),
        ({"body": '{"prompt": "x", "parameters": {"duration": 7}}'}, 422, "duration"),
        ({"body": '{"prompt": "x", "image_key": "images/gone.png"}'}, 422, "image_key"),
        ({"body": '{"prompt": "x", "image_key": "\\ud800"}'}, 422, "image_key"),
        ({"body": '{"prompt": "x", "\\ud800": 1}'}, 422, "\ufffd"),
        ({"headers": {"Idempotency-Key": "two words"}}, 422, "Idempotency-Key"),
    ],
)
def test_the_api_says_what_is_wrong(
    *, world: Any, run: Any, event: Event, changes: dict[str, Any], status: int, field: str
) -> None:
    answered, body = call(run, event("api-create-video"), **changes)
    assert answered == status
    assert (body["error"]["field"], body["error"]["code"]) == (field, "INVALID_REQUEST")
    assert body["error"]["message"]
    assert world.postponed() == []


def test_a_body_in_base64_is_read(run: Any, event: Event) -> None:
    status, body = call(run, event("api-create-video"), body="eyJwcm9tcHQiOiAieCJ9", isBase64Encoded=True)
    assert (status, body["prompt"]) == (202, "x")


def test_a_reused_key_is_a_conflict(run: Any, event: Event) -> None:
    call(run, event("api-create-video"))
    status, body = call(run, event("api-create-video"), body='{"prompt": "another"}')
    assert (status, body["error"]["code"]) == (409, "CONFLICT")


def test_the_api_returns_a_jobs_status(run: Any, event: Event, put: Any) -> None:
    assert call(run, event("api-get-video"))[0] == 404
    put(State.PROCESSING)
    status, body = call(run, event("api-get-video"))
    assert (status, body["job_id"], body["state"]) == (200, JOB, "PROCESSING")


def test_the_api_names_the_field_that_makes_a_record_unreadable(world: Any, run: Any, event: Event, put: Any) -> None:
    put(State.PROCESSING)
    item = world.aws["dynamodb"].get_item(TableName="jobs-of-tests", Key={"job_id": {"S": JOB}})["Item"]
    world.aws["dynamodb"].put_item(TableName="jobs-of-tests", Item=item | {"reserved_usd": {"S": "a lot"}})
    status, body = call(run, event("api-get-video"))
    assert (status, body["error"]["code"], body["error"]["field"]) == (500, "RECORD_UNREADABLE", "reserved_usd")


@pytest.mark.hostile(kind="input")
def test_an_id_that_no_job_can_have_is_not_found(run: Any, event: Event) -> None:
    assert call(run, event("api-get-video"), pathParameters={"job_id": "a" * 2049})[0] == 404


def test_the_api_lists_the_models(run: Any, event: Event) -> None:
    status, body = call(run, event("api-list-models"))
    assert (status, [model["model"] for model in body["models"]]) == (200, list(catalogue.MODELS))


def ask(run: Any, event: Event, method: str, resource: str, **changes: Any) -> tuple[int, Any]:
    return call(run, event("api-list-models"), httpMethod=method, resource=resource, path=resource, **changes)


def test_the_api_lists_the_jobs(*, run: Any, event: Event, put: Any) -> None:
    created = time.time()
    put(State.PROCESSING, created_at=created, month=month_of(created))
    status, body = ask(run, event, "GET", "/videos", multiValueQueryStringParameters={"state": ["PROCESSING,HELD"]})
    assert (status, [video["job_id"] for video in body["videos"]], body["next_cursor"]) == (200, [JOB], None)
    status, body = ask(run, event, "GET", "/videos", queryStringParameters={"stat": "HELD"})
    assert (status, body["field"], body["allowed"][0]) == (422, "stat", "state")


def test_the_api_estimates(run: Any, event: Event, world: Any) -> None:
    status, body = ask(run, event, "POST", "/estimates", body='{"model": "seedance-2.0-mini"}')
    assert (status, body["estimate_usd"], body["transport"]) == (200, 0.4, "v2")
    assert world.called("PutItem") == world.called("UpdateItem") == []
    assert ask(run, event, "POST", "/estimates", body="[]")[0] == 400


def test_the_api_shows_the_budget_and_pauses(run: Any, event: Event) -> None:
    assert ask(run, event, "GET", "/budget")[1]["paused"] is False
    status, body = ask(run, event, "POST", "/pause", body='{"reason": "prices"}')
    assert (status, body["paused"], body["paused_reason"]) == (200, True, "prices")
    assert ask(run, event, "GET", "/budget")[1]["paused_reason"] == "prices"
    assert ask(run, event, "POST", "/resume")[1]["paused"] is False
    assert ask(run, event, "POST", "/pause", body='{"reason": 5}')[0] == 422


def test_the_api_describes_itself(run: Any, event: Event) -> None:
    status, body = ask(run, event, "GET", "/openapi.json")
    assert (status, body["openapi"]) == (200, "3.1.0")


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("DELETE", "/videos"), ("GET", "/videos/a/b"), ("PUT", "/models")]
)
def test_any_other_path_or_method_is_not_found(run: Any, event: Event, method: str, path: str) -> None:
    status, body = call(run, event("api-list-models"), httpMethod=method, path=path, resource=path)
    assert (status, "POST /videos" in body["error"]["message"]) == (404, True)


def test_callers_are_distinguished_by_key_even_when_the_gateway_does_not_name_it(run: Any, event: Event) -> None:
    jobs = set()
    for key_id, key in (("id-1", "a"), ("id-2", "a"), (None, "a"), (None, "b")):
        created = event("api-create-video")
        created["requestContext"]["identity"]["apiKeyId"] = key_id
        created["headers"]["x-api-key"] = key
        jobs.add(call(run, created)[1]["job_id"])
    assert len(jobs) == 4


def test_every_sample_event_is_used(root: Path) -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for path in (root / "events").glob("*.json"):
        assert f'"{path.stem}"' in tests, path.name
