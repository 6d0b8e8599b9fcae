"""The stand-in's API, compared with the provider's documents: a real server, real sockets, nothing mocked."""

import base64
import json
import re
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from api_calls import MINI, PRO
from api_calls import ordered as submitted
from pictures import picture

from local.sandbox import Sandbox
from local.sandbox.models import MODELS
from local.sandbox.state import Job

HOUR = 3600
GIF = picture(codec="gif")


def until_status(api: httpx.Client, url: str, status: str) -> httpx.Response:
    deadline = time.monotonic() + 10
    while (answer := api.get(url)).json().get("status") != status:
        assert time.monotonic() < deadline, answer.text
    return answer


# submit, poll, fetch --------------------------------------------------------------------------------------


def test_a_submit_returns_an_id_and_absolute_urls(api: httpx.Client) -> None:
    answer = submitted(api)
    base = f"{api.base_url}/v2/requests/{answer['request_id']}"
    assert answer == {
        "request_id": answer["request_id"],
        "status": "QUEUED",
        "poll_url": f"{base}/status",
        "status_url": f"{base}/status",
        "response_url": base,
    }


def test_urls_use_the_host_that_the_caller_used(api: httpx.Client) -> None:
    answer = api.post("/v2/seedance-2.0-mini", json=MINI, headers={"host": f"localhost:{api.base_url.port}"}).json()
    assert answer["response_url"].startswith(f"http://localhost:{api.base_url.port}/v2/requests/")


@pytest.mark.parametrize("slug", MODELS)
def test_every_model_completes_with_an_output_under_v2(sandbox: Sandbox, api: httpx.Client, slug: str) -> None:
    job = submitted(api, slug)
    sandbox.finished(job["request_id"])
    result = api.get(job["response_url"]).json()
    assert result["status"] == "COMPLETED"
    assert result["output"] == f"{api.base_url}/media/{job['request_id']}.mp4"


def test_the_status_goes_from_queued_to_processing_to_completed_over_the_published_average(
    sandbox: Sandbox, api: httpx.Client
) -> None:
    sandbox.configure(time_scale=1.0)  # real time; only the clock is moved ahead
    job = submitted(api, "seedance-pro")  # published average: 62 s
    queued = api.get(job["status_url"]).json()
    assert queued["status"] == "QUEUED"
    assert queued["metrics"].keys() == {"inference_time", "queue_time", "total_time", "retry_count"}
    sandbox.configure(clock_offset=8)
    until_status(api, job["status_url"], "PROCESSING")
    sandbox.configure(clock_offset=60)
    processing = api.get(job["response_url"]).json()
    assert processing["status"] == "PROCESSING"
    assert "output" not in processing
    sandbox.configure(clock_offset=63)
    sandbox.finished(job["request_id"])
    completed = api.get(job["status_url"]).json()
    assert completed["status"] == "COMPLETED"
    assert "output" not in completed, "the status contains no output"
    assert completed["metrics"] == {
        "inference_time": 55.8,
        "queue_time": 6.2,
        "total_time": 62.0,
        "retry_count": 0,
        "cost": pytest.approx(0.1557, abs=1e-3),
        "remaining_credits": pytest.approx(99.844, abs=1e-2),
    }


def test_the_time_scale_shortens_the_wait(sandbox: Sandbox, api: httpx.Client) -> None:
    started = time.monotonic()
    sandbox.finished(submitted(api, "seedance-2.0-mini")["request_id"])  # published average: 159 s
    assert 159 * 0.001 <= time.monotonic() - started < 30


def test_jitter_spreads_the_times_around_the_average(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.configure(jitter=0.45, time_scale=1.0)
    times = [sandbox.state.jobs[submitted(api, "seedance-pro")["request_id"]].total_seconds for _ in range(40)]
    assert len(set(times)) == 40
    assert 45 < sum(times) / len(times) < 80


def test_a_blocked_prompt_fails_as_422_on_both_gets_and_costs_nothing(sandbox: Sandbox, api: httpx.Client) -> None:
    job = submitted(api, prompt="a [blocked] horse")
    sandbox.finished(job["request_id"])
    for url in (job["status_url"], job["response_url"]):
        answer = api.get(url)
        assert answer.status_code == 422
        assert answer.json().keys() == {"status", "error", "metrics"}
        assert answer.json()["status"] == "FAILED"
        assert "content moderation" in answer.json()["error"]
        assert "cost" not in answer.json()["metrics"]
    assert api.get("/v1/get-user-credits").json() == {"credits": 100.0}


def test_a_flagged_prompt_passes_only_without_the_pre_filter(sandbox: Sandbox, api: httpx.Client) -> None:
    flagged = submitted(api, prompt="a [flagged] horse")["request_id"]
    waved_through = submitted(api, prompt="a [flagged] horse", skip_moderation="true")["request_id"]
    assert sandbox.finished(flagged).status == "FAILED"
    assert sandbox.finished(waved_through).status == "COMPLETED"


def test_a_record_expires_after_its_hour_but_its_file_and_history_stay(sandbox: Sandbox, api: httpx.Client) -> None:
    job = submitted(api)
    sandbox.finished(job["request_id"])
    output = api.get(job["response_url"]).json()["output"]
    sandbox.configure(clock_offset=HOUR)
    for url in (job["status_url"], job["response_url"]):
        answer = api.get(url)
        assert answer.status_code == 404
        assert answer.json() == {"error": f"Request {job['request_id']} not found"}
    assert api.get(output).status_code == 200
    assert api.get("/inference-request/request-history").json()["data"][0]["generation_url"] == output
    sandbox.configure(clock_offset=8 * 24 * HOUR)
    assert api.get(output).status_code == 404
    assert api.get("/inference-request/request-history").json()["data"][0]["generation_url"] is None


def test_an_unknown_request_is_404(api: httpx.Client) -> None:
    answer = api.get("/v2/requests/no-such-id/status")
    assert (answer.status_code, answer.json()) == (404, {"error": "Request no-such-id not found"})


def test_half_of_the_results_have_the_video_as_an_object_too(sandbox: Sandbox, api: httpx.Client) -> None:
    seen = []
    for _ in range(20):
        job = submitted(api)
        sandbox.finished(job["request_id"])
        result = api.get(job["response_url"]).json()
        assert result.get("video") in (None, {"url": result["output"]})
        seen.append("video" in result)
    assert set(seen) == {True, False}


def test_an_image_can_be_sent_as_data(sandbox: Sandbox, api: httpx.Client) -> None:
    data = f"data:image/gif;base64,{base64.b64encode(GIF).decode()}"
    assert sandbox.finished(submitted(api, first_frame_url=data)["request_id"]).status == "COMPLETED"
    broken = sandbox.finished(submitted(api, first_frame_url="data:image/gif;base64,aGk=")["request_id"])
    assert (broken.status, "image that can be decoded: the data URL" in str(broken.error)) == ("FAILED", True)
    sandbox.configure(validation="submit")
    refused = api.post("/v2/seedance-2.0-mini", json=MINI | {"reference_images": [data]})
    assert refused.status_code == 422


@pytest.mark.parametrize(("slug", "blocked"), [("seedance-2.0-mini", True), ("seedance-1.5-pro", False)])
def test_a_real_face_is_blocked_by_the_2_0_models(
    *, sandbox: Sandbox, api: httpx.Client, slug: str, blocked: bool
) -> None:
    data = f"data:image/gif;base64,{base64.b64encode(GIF).decode()}"
    job = sandbox.finished(submitted(api, slug, prompt="a [face]", first_frame_url=data)["request_id"])
    assert job.status == ("FAILED" if blocked else "COMPLETED")
    assert ("real human face" in str(job.error)) is blocked
    without = sandbox.finished(submitted(api, slug, prompt="a [face]", first_frame_url="")["request_id"])
    assert without.status == "COMPLETED"


@pytest.mark.parametrize("animated", [True, False])
def test_2_0_minis_sample_image_is_animated_if_the_first_image_is_left_out(
    *, sandbox: Sandbox, api: httpx.Client, animated: bool
) -> None:
    sandbox.configure(sample_image=animated)
    left_out, other, kept_out = (
        sandbox.finished(submitted(api, **changes)["request_id"])
        for changes in ({}, {"prompt": "another"}, {"first_frame_url": ""})
    )
    assert (left_out.render == other.render) is animated
    assert (left_out.render != kept_out.render) is animated
    assert sandbox.summary()["sampled"] == 2


# refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer SG_0123456789abcdef"}])
def test_without_a_key_or_with_a_bearer_token_it_is_401(sandbox: Sandbox, headers: dict[str, str]) -> None:
    answer = sandbox.control.post("/v2/seedance-2.0-mini", json=MINI, headers=headers)
    assert answer.status_code == 401
    assert re.match(r"Missing .*x-api-key", answer.json()["error"])
    assert answer.json()["status_code"] == 401
    assert answer.json()["error_description"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/seedance-2.0-mini"),
        ("GET", "/v2/requests/x"),
        ("POST", "/v1/seedance-pro"),
        ("GET", "/v1/get-user-credits"),
        ("POST", "/upload-asset"),
        ("GET", "/inference-request/request-history"),
    ],
)
def test_a_rejected_key_is_401_with_another_message(sandbox: Sandbox, method: str, path: str) -> None:
    answer = sandbox.control.request(method, path, headers={"x-api-key": "SG_wrong"})
    assert answer.status_code == 401
    assert answer.json()["error"] == "Invalid API key"


def test_only_the_configured_keys_are_accepted_if_any_are_configured(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.configure(api_keys=["SG_aaaaaaaaaaaaaaaa"])
    assert api.get("/v1/get-user-credits").status_code == 401
    other = sandbox.control.get("/v1/get-user-credits", headers={"x-api-key": "SG_aaaaaaaaaaaaaaaa"})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("content", "content_type", "status", "words"),
    [
        (json.dumps(MINI), "text/plain", 406, "Content-Type"),
        ("{not json", "application/json", 400, "not valid JSON"),
        ("[]", "application/json", 400, "JSON object"),
        (json.dumps(MINI | {"duration": 7}), "application/json", 400, "duration"),
        (json.dumps(MINI | {"prompt": None}), "application/json", 422, "prompt"),
        (json.dumps(MINI | {"colour": "red"}), "application/json", 400, "colour"),
    ],
)
def test_an_invalid_body_is_refused_and_queues_nothing(
    sandbox: Sandbox, content: str, content_type: str, status: int, words: str
) -> None:
    sandbox.configure(validation="submit")
    with sandbox.client() as api:
        for path in ("/v2/seedance-2.0-mini", "/v1/seedance-2.0-mini"):
            answer = api.post(path, content=content, headers={"content-type": content_type})
            assert answer.status_code == status
            assert words in answer.json()["error"]
    assert sandbox.summary()["accepted"] == 0


WRONG = [{"duration": number} for number in range(16, 32)]
"""Bodies that no model accepts."""


def test_parameters_are_checked_at_the_submit_or_after_queueing(sandbox: Sandbox, api: httpx.Client) -> None:
    answers = [api.post("/v2/seedance-2.0-mini", json=MINI | wrong) for wrong in WRONG]
    assert {answer.status_code for answer in answers} == {200, 400}
    again = [api.post("/v2/seedance-2.0-mini", json=MINI | wrong) for wrong in WRONG]
    assert [answer.status_code for answer in again] == [answer.status_code for answer in answers]
    queued = next(answer.json() for answer in answers if answer.status_code == 200)
    job = sandbox.finished(queued["request_id"])
    failed = api.get(queued["response_url"])
    assert (failed.status_code, failed.json()["status"]) == (422, "FAILED")
    assert failed.json()["error"].startswith("Invalid value for duration: ")
    row = api.get(f"/inference-request/request-history/{queued['request_id']}").json()
    assert (row["model_status"], row["credits_deduction"], row["error"]) == ("FAILED", None, failed.json()["error"])
    assert sandbox.summary()["billed"] == 0
    restored = Job.from_json(json.loads(json.dumps(job.as_json())), "seedance-2.0-mini")
    assert (restored.status, restored.refusal) == ("FAILED", job.error)


@pytest.mark.parametrize(("validation", "status"), [("submit", 400), ("queued", 200)])
def test_the_time_of_the_check_can_be_chosen_for_v2(
    sandbox: Sandbox, api: httpx.Client, validation: str, status: int
) -> None:
    sandbox.configure(validation=validation)
    assert {api.post("/v2/seedance-2.0-mini", json=MINI | wrong).status_code for wrong in WRONG} == {status}
    assert {api.post("/v1/seedance-2.0-mini", json=MINI | wrong).status_code for wrong in WRONG} == {400}
    # What is wrong with the request as a whole is always found at once.
    assert api.post("/v2/seedance-2.0-mini", json=[]).status_code == 400
    assert api.post("/v2/seedance-9", json=MINI).status_code == 404


def test_an_unknown_model_and_an_unknown_endpoint_are_404(api: httpx.Client) -> None:
    assert "seedance-9" in api.post("/v2/seedance-9", json=MINI).json()["error"]
    assert api.post("/v2/seedance-9", json=MINI).status_code == 404
    assert api.get("/v3/x").status_code == 404


def test_a_wrong_method_is_405_in_html(api: httpx.Client) -> None:
    answer = api.get("/v2/seedance-2.0-mini")
    assert answer.status_code == 405
    assert answer.headers["content-type"].startswith("text/html")
    assert "<html>" in answer.text


def test_a_retired_model_is_410(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.configure(retired=["seedance-pro"])
    assert api.post("/v2/seedance-pro", json=PRO).status_code == 410
    assert api.post("/v2/seedance-2.0-mini", json=MINI).status_code == 200


def test_credits_are_charged_on_completion_and_run_out_as_402_or_406(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.configure(credits=0.5)
    first = submitted(api, resolution="720p", aspect_ratio="1:1")["request_id"]  # $0.40
    for version, status in (("v2", 402), ("v1", 406)):
        refused = api.post(f"/{version}/seedance-2.0-mini", json=MINI)
        assert refused.status_code == status
        assert "credits" in refused.json()["error"]
    sandbox.finished(first)
    assert api.get("/v1/get-user-credits").json() == {"credits": 0.1}
    sandbox.configure(credits=10)
    assert api.post("/v2/seedance-2.0-mini", json=MINI).status_code == 200


def test_the_rate_limit_counts_submits_and_gets_and_says_when_it_resets(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.configure(rate_limit=3, rate_window=60, time_scale=1.0)
    job = submitted(api)
    assert [api.get(job["status_url"]).status_code for _ in range(3)] == [200, 200, 429]
    refused = api.post("/v2/seedance-2.0-mini", json=MINI)
    assert refused.status_code == 429
    assert "retry-after" not in refused.headers
    resets_at = datetime.fromisoformat(refused.headers["x-rate-limit-reset-at-utc"])
    assert timedelta(seconds=50) < resets_at - datetime.now(UTC) <= timedelta(seconds=60)
    sandbox.configure(clock_offset=61)
    assert api.get(job["status_url"]).status_code == 200
    assert sandbox.summary()["accepted"] == 1


def test_the_rate_window_is_scaled_like_all_times(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.configure(rate_limit=1, rate_window=60)  # 0.06 s at this scale
    assert api.get("/v1/get-user-credits").status_code == 200
    refused = api.get("/v1/get-user-credits")
    assert refused.status_code == 429
    resets_at = datetime.fromisoformat(refused.headers["x-rate-limit-reset-at-utc"])
    assert resets_at - datetime.now(UTC) <= timedelta(seconds=0.07)


# v1 -------------------------------------------------------------------------------------------------------


def test_v1_blocks_and_returns_the_bytes_with_its_headers(api: httpx.Client) -> None:
    answer = api.post("/v1/seedance-pro", json=PRO | {"seed": 7})
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.content[4:8] == b"ftyp"
    assert answer.headers["x-request-id"].encode() in answer.content
    assert answer.headers["x-seed-value"] == "7"
    assert answer.headers["x-generation-time"] == "62.0"
    assert float(answer.headers["x-cost"]) + float(answer.headers["x-remaining-credits"]) == pytest.approx(100)


def test_v1_returns_json_with_a_url_if_so_configured(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.configure(v1_answer="json")
    answer = api.post("/v1/seedance-pro", json=PRO)
    assert answer.headers["x-request-id"] in answer.json()["output"]
    assert api.get(answer.json()["output"]).headers["content-type"] == "video/mp4"


def test_v1_reports_a_failure_with_a_message(api: httpx.Client) -> None:
    answer = api.post("/v1/seedance-pro", json=PRO | {"prompt": "[blocked]"})
    assert answer.status_code == 422
    assert "moderation" in answer.json()["error"]


def test_a_v1_call_has_no_v2_record_but_a_row_in_the_history(api: httpx.Client) -> None:
    request_id = api.post("/v1/seedance-pro", json=PRO).headers["x-request-id"]
    assert api.get(f"/v2/requests/{request_id}").status_code == 404
    assert api.get("/inference-request/request-history").json()["data"][0]["request_id"] == request_id


def test_an_interrupted_v1_call_leaves_a_billed_job_in_the_history(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.fault("v1", "cut-off", seconds=0.01)
    assert api.post("/v1/seedance-pro", json=PRO).status_code == 504
    row = api.get("/inference-request/request-history").json()["data"][0]
    assert (row["model_status"], row["credits_deduction"]) == ("PENDING", None)
    sandbox.finished(row["request_id"])
    row = api.get(f"/inference-request/request-history/{row['request_id']}").json()
    assert (row["model_status"], row["credits_deduction"]) == ("COMPLETED", pytest.approx(0.1557, abs=1e-3))
    assert api.get(row["generation_url"]).content[4:8] == b"ftyp"


# upload ---------------------------------------------------------------------------------------------------


def test_an_uploaded_file_is_served_unchanged(sandbox: Sandbox, api: httpx.Client) -> None:
    answer = api.post(
        "/upload-asset", json={"data_urls": ["data:image/png;base64,aGVsbG8=", "data:audio/mpeg;base64,aQ=="]}
    )
    picture, sound = (sandbox.control.get(url) for url in answer.json()["file_urls"])
    assert (picture.content, picture.headers["content-type"]) == (b"hello", "image/png")
    assert (sound.content, sound.headers["content-type"]) == (b"i", "audio/mpeg")


@pytest.mark.parametrize(
    "body", [[], {}, {"data_urls": []}, {"data_urls": ["https://x"]}, {"data_urls": ["data:image/png;base64,%%"]}]
)
def test_an_invalid_upload_is_400(api: httpx.Client, body: object) -> None:
    assert api.post("/upload-asset", json=body).status_code == 400
