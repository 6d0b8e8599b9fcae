"""Faults on demand: every kind at every stage, as a client sees it and as it is billed."""

import io
import json
from collections.abc import Callable
from typing import Any

import av
import httpx
import pytest
from api_calls import BODY, HISTORY, SLUG, completed, submitted

from local.sandbox import Sandbox
from local.sandbox.kinds import ACCEPTING, API, KINDS, READING

HANG = 0.05  # seconds: longer than the client waits


def test_the_kinds_are_listed_for_programs(sandbox: Sandbox) -> None:
    listed = sandbox.control.get("/_sandbox/fault-kinds").json()
    assert [kind["name"] for kind in listed["kinds"]] == list(KINDS)
    for kind in listed["kinds"]:
        assert set(kind["stages"]) <= set(listed["stages"])
        assert kind["meaning"].endswith(".")


# errors ---------------------------------------------------------------------------------------------------

ERRORS = [name for name in KINDS if name.startswith("http-")]


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("stage", API)
def test_an_error_is_returned_once_in_the_documented_format_and_nothing_is_queued(
    sandbox: Sandbox, call: Callable[[str], httpx.Response], stage: str, kind: str
) -> None:
    accepted = 1 if stage in ("status", "result", "history-id") else 0
    sandbox.fault(stage, kind)
    answer = call(stage)
    assert answer.status_code == int(kind.split("-")[1])
    if kind == "http-405" or kind.endswith("html") or answer.status_code >= 520:
        assert answer.headers["content-type"].startswith("text/html")
    else:
        assert set(answer.json()) >= {"error"}
        assert ("error_description" in answer.json()) == (answer.status_code == 401)
    assert ("x-rate-limit-reset-at-utc" in answer.headers) == (answer.status_code == 429)
    assert sandbox.summary()["accepted"] == accepted
    assert sandbox.calls()[-1]["fault"] == kind
    assert call(stage).status_code == 200


def test_the_three_406_errors_differ_only_in_their_message(
    sandbox: Sandbox, call: Callable[[str], httpx.Response]
) -> None:
    words = []
    for cause in ("content-type", "credits", "spend-limit"):
        sandbox.fault("submit", "http", status=f"406-{cause}")
        words.append(call("submit").json()["error"])
    assert len(set(words)) == 3


def test_an_errors_message_can_be_chosen(sandbox: Sandbox, call: Callable[[str], httpx.Response]) -> None:
    sandbox.fault("submit", "http-500", error="The model choked on 'seed'")
    assert call("submit").json() == {"error": "The model choked on 'seed'"}


# the connection -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", READING)
@pytest.mark.parametrize("kind", ["reset", "timeout"])
def test_a_read_is_cut_off_once_and_then_works_again(
    sandbox: Sandbox, call: Callable[[str], httpx.Response], stage: str, kind: str
) -> None:
    sandbox.fault(stage, kind, **({"seconds": HANG} if kind == "timeout" else {}))
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        call(stage)
    assert sandbox.calls()[-1]["status"] == kind
    assert call(stage).status_code == 200


@pytest.mark.parametrize("stage", ACCEPTING)
@pytest.mark.parametrize(
    "kind", ["reset-before-accept", "timeout-before-accept", "reset-after-accept", "timeout-after-accept"]
)
def test_a_submit_that_is_cut_off_looks_the_same_whether_or_not_it_is_billed(
    sandbox: Sandbox, api: httpx.Client, call: Callable[[str], httpx.Response], stage: str, kind: str
) -> None:
    sandbox.configure(history_bodies="object")
    accepted = int("after" in kind)
    sandbox.fault(stage, kind, **({"seconds": HANG} if "timeout" in kind else {}))
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        call(stage)
    (logged,) = sandbox.calls()
    assert logged["status"] == kind.split("-", maxsplit=1)[0]
    assert (logged["request_id"] is not None) == bool(accepted)
    rows = api.get(HISTORY).json()["data"]
    assert [row["request_body"] for row in rows] == [BODY] * accepted
    for row in rows:
        sandbox.finished(row["request_id"])
    assert sandbox.summary()["billed"] == accepted


def test_an_impatient_client_times_out_and_the_job_continues(sandbox: Sandbox) -> None:
    sandbox.fault("submit", "timeout-after-accept", seconds=2)
    with sandbox.client(timeout=0.1) as api, pytest.raises(httpx.ReadTimeout):
        api.post(f"/v2/{SLUG}", json=BODY)
    (job,) = sandbox.state.jobs.values()
    assert sandbox.finished(job.request_id).status == "COMPLETED"


@pytest.mark.parametrize("stage", ACCEPTING)
@pytest.mark.parametrize("kind", ["504-after-accept", "504-html-after-accept"])
def test_a_504_may_leave_a_billed_job_behind(
    sandbox: Sandbox, call: Callable[[str], httpx.Response], stage: str, kind: str
) -> None:
    sandbox.fault(stage, kind)
    answer = call(stage)
    assert answer.status_code == 504
    assert ("html" in answer.headers["content-type"]) == ("html" in kind)
    assert sandbox.summary()["accepted"] == 1


@pytest.mark.parametrize("stage", ACCEPTING)
@pytest.mark.parametrize("status", [520, 522, 524, 527, 530])
def test_a_page_of_cloudflares_may_leave_a_billed_job_behind(
    sandbox: Sandbox, call: Callable[[str], httpx.Response], stage: str, status: int
) -> None:
    sandbox.fault(stage, "cloudflare-after-accept", status=status)
    answer = call(stage)
    assert answer.status_code == status
    assert f"<title>api.segmind.com | {status}: " in answer.text
    assert sandbox.summary()["accepted"] == 1


def test_a_fault_for_accepted_jobs_waits_for_an_accepted_job(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.configure(validation="submit")
    sandbox.fault("submit", "504-after-accept")
    assert api.post(f"/v2/{SLUG}", json=BODY | {"duration": 7}).status_code == 400
    assert api.post(f"/v2/{SLUG}", json=BODY).status_code == 504


@pytest.mark.parametrize("stage", [*API, "media"])
def test_a_slow_call_returns_the_right_response_in_the_end(
    sandbox: Sandbox, call: Callable[[str], httpx.Response], stage: str
) -> None:
    sandbox.fault(stage, "slow", seconds=0.05)
    answer = call(stage)
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() >= 0.05
    assert sandbox.calls()[-1]["fault"] == "slow"


# spoiled answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", API)
@pytest.mark.parametrize("kind", ["malformed-json", "empty-body", "not-an-object"])
def test_a_response_can_be_no_json_object_although_the_call_succeeded(
    sandbox: Sandbox, call: Callable[[str], httpx.Response], stage: str, kind: str
) -> None:
    sandbox.fault(stage, kind)
    answer = call(stage)
    assert answer.status_code == 200
    if kind == "not-an-object":
        assert isinstance(answer.json(), list)
    else:
        assert (answer.content == b"") == (kind == "empty-body")
        with pytest.raises(json.JSONDecodeError):
            answer.json()
    assert sandbox.summary()["accepted"] == (0 if stage in ("history", "credits", "upload") else 1)


@pytest.mark.parametrize("stage", ["result", "history-id"])
def test_an_answer_about_one_request_can_be_about_another(
    sandbox: Sandbox, call: Callable[[str], httpx.Response], stage: str
) -> None:
    sandbox.fault(stage, "foreign-id")
    answer = call(stage).json()
    assert answer["request_id"] not in sandbox.state.jobs
    assert answer["request_id"] in answer["output" if stage == "result" else "generation_url"]


def test_a_submit_can_be_accepted_without_an_id(sandbox: Sandbox, call: Callable[[str], httpx.Response]) -> None:
    sandbox.fault("submit", "no-request-id")
    assert call("submit").json() == {"status": "QUEUED"}
    assert sandbox.summary()["accepted"] == 1


def test_the_history_may_not_show_a_row_yet(sandbox: Sandbox, api: httpx.Client) -> None:
    submitted(api)
    sandbox.fault("history", "no-rows")
    assert [len(api.get(HISTORY).json()["data"]) for _ in range(2)] == [0, 1]


@pytest.mark.parametrize(
    ("kind", "matches"),
    [
        ("output-list", lambda output, url: output == [url]),
        ("output-empty-list", lambda output, _: output == []),
        ("output-number", lambda output, _: output == 42),
        ("output-null", lambda output, _: output is None),
        ("output-missing", lambda output, _: output == "missing"),
        ("output-dict", lambda output, url: output == {"url": url}),
        ("output-relative", lambda output, url: output.startswith("/media/") and url.endswith(output)),
        ("output-forbidden-host", lambda output, _: output.startswith("https://attacker.invalid/media/")),
        ("output-http-scheme", lambda output, _: output.startswith("http://images.segmind.com/media/")),
        ("output-file-scheme", lambda output, _: output == "file:///etc/passwd"),
        ("output-in-text", lambda output, url: json.loads(output)["videos"][0]["url"].strip() == url),
        ("output-written-oddly", lambda output, url: output == f" \t{url}#t=0\r\n"),
        ("output-two-videos", lambda output, url: len(set(output)) == 2 and output[0] == url),
    ],
)
def test_a_result_can_have_the_wrong_type_once(
    sandbox: Sandbox, api: httpx.Client, kind: str, matches: Callable[[Any, str], bool]
) -> None:
    sandbox.fault("result", kind)
    job = submitted(api)
    # The fault waits for a result with an output.
    assert api.get(job["response_url"]).json()["status"] in ("QUEUED", "PROCESSING")
    sandbox.finished(job["request_id"])
    wrong, right = (api.get(job["response_url"]).json() for _ in range(2))
    assert matches(wrong.get("output", "missing"), right["output"])
    assert "video" not in wrong  # otherwise it would still have the right link there
    assert wrong | {name: right[name] for name in ("output", "video") if name in right} == right


def test_every_wrong_output_is_tested_above() -> None:
    marks = test_a_result_can_have_the_wrong_type_once.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == {name for name in KINDS if name.startswith("output-")}


# the file -------------------------------------------------------------------------------------------------


@pytest.fixture
def video(sandbox: Sandbox, api: httpx.Client) -> tuple[str, bytes]:
    """A finished job's file: its URL and its bytes."""
    url = f"{sandbox.url}/media/{completed(sandbox, api)['request_id']}.mp4"
    return url, sandbox.control.get(url).content


def test_a_truncated_file_announces_more_than_it_sends(sandbox: Sandbox, video: tuple[str, bytes]) -> None:
    sandbox.fault("media", "truncated")
    received = bytearray()
    with pytest.raises(httpx.RemoteProtocolError), sandbox.control.stream("GET", video[0]) as answer:
        assert int(answer.headers["content-length"]) == len(video[1])
        for chunk in answer.iter_bytes():
            received += chunk
    assert received == video[1][: len(video[1]) // 2]
    assert sandbox.calls()[-1]["status"] == "cut"
    assert sandbox.control.get(video[0]).content == video[1]


def test_a_short_file_has_a_correct_length_but_cannot_be_decoded_to_its_end(
    sandbox: Sandbox, video: tuple[str, bytes]
) -> None:
    sandbox.fault("media", "short")
    answer = sandbox.control.get(video[0])
    assert int(answer.headers["content-length"]) == len(answer.content) == len(video[1]) // 2
    with av.open(io.BytesIO(answer.content)) as container:
        frames = 0
        try:
            for _ in container.decode(video=0):
                frames += 1
        except av.FFmpegError:
            pass
    assert frames < 4 * 6


def test_a_download_reset_midway_can_be_resumed_with_a_range(sandbox: Sandbox, video: tuple[str, bytes]) -> None:
    sandbox.fault("media", "reset-midway")
    received = bytearray()
    with pytest.raises(httpx.ReadError), sandbox.control.stream("GET", video[0]) as answer:
        for chunk in answer.iter_bytes():
            received += chunk
    assert 0 < len(received) < len(video[1])
    rest = sandbox.control.get(video[0], headers={"range": f"bytes={len(received)}-"})
    assert rest.status_code == 206
    assert bytes(received) + rest.content == video[1]


def test_a_range_with_another_etag_returns_the_whole_file(sandbox: Sandbox, video: tuple[str, bytes]) -> None:
    etag = sandbox.control.get(video[0]).headers["etag"]
    for mark, status in ((etag, 206), ('"another"', 200)):
        answer = sandbox.control.get(video[0], headers={"range": "bytes=10-", "if-range": mark})
        assert answer.status_code == status
        assert answer.content == video[1][10:] if status == 206 else video[1]


def test_a_file_can_come_without_its_length(sandbox: Sandbox, video: tuple[str, bytes]) -> None:
    sandbox.fault("media", "chunked")
    answer = sandbox.control.get(video[0])
    assert "content-length" not in answer.headers
    assert answer.content == video[1]


def test_a_range_can_be_ignored(sandbox: Sandbox, video: tuple[str, bytes]) -> None:
    sandbox.fault("media", "no-range")
    answer = sandbox.control.get(video[0], headers={"range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (200, video[1])


@pytest.mark.parametrize(
    ("kind", "status", "content_type"),
    [
        ("html", 200, "text/html"),
        ("empty", 200, "video/mp4"),
        ("wrong-content-type", 200, "text/plain"),
        ("media-403", 403, "application/xml"),
        ("media-404", 404, "application/xml"),
        ("media-500", 500, "application/xml"),
    ],
)
def test_something_else_can_be_returned_instead_of_the_file(
    sandbox: Sandbox, video: tuple[str, bytes], kind: str, status: int, content_type: str
) -> None:
    sandbox.fault("media", kind)
    answer = sandbox.control.get(video[0])
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith(content_type)
    assert (answer.content == video[1]) == (kind == "wrong-content-type")
    assert (answer.content == b"") == (kind == "empty")
    assert sandbox.control.get(video[0]).content == video[1]


def test_a_file_can_be_redirected_within_its_host(sandbox: Sandbox, video: tuple[str, bytes]) -> None:
    sandbox.fault("media", "redirect")
    answer = sandbox.control.get(video[0], follow_redirects=True)
    assert [step.status_code for step in answer.history] == [302]
    assert answer.content == video[1]


def test_a_file_can_be_redirected_to_a_forbidden_host(sandbox: Sandbox, video: tuple[str, bytes]) -> None:
    sandbox.fault("media", "redirect-forbidden", location="http://10.0.0.1/x")
    answer = sandbox.control.get(video[0])
    assert (answer.status_code, answer.headers["location"]) == (302, "http://10.0.0.1/x")


# the image, and the job -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "words"), [("unreachable", "could not be downloaded"), ("not-an-image", "not an image")]
)
def test_fetching_the_image_can_fail(sandbox: Sandbox, api: httpx.Client, kind: str, words: str) -> None:
    sandbox.fault("image-fetch", kind, prompt_contains="horse")
    job = submitted(api, first_frame_url="https://example.invalid/a.png?X-Amz-Signature=x")
    assert words in str(sandbox.finished(job["request_id"]).error)


def test_a_slow_image_delays_the_job(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.fault("image-fetch", "slow", seconds=0.3)
    job = sandbox.finished(submitted(api, first_frame_url=f"{sandbox.url}/media/asset-none.png")["request_id"])
    assert job.status == "FAILED"
    assert job.updated - job.created >= 0.3


def test_a_job_can_fail_with_a_chosen_message_and_costs_nothing(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.fault("job", "fail", error="CUDA out of memory")
    job = submitted(api)
    sandbox.finished(job["request_id"])
    answer = api.get(job["response_url"])
    assert (answer.status_code, answer.json()["error"]) == (422, "CUDA out of memory")
    assert sandbox.summary()["billed"] == 0


@pytest.mark.parametrize(("kind", "status"), [("stuck-queued", "QUEUED"), ("stuck-processing", "PROCESSING")])
def test_a_job_can_be_stuck_until_its_record_expires(
    sandbox: Sandbox, api: httpx.Client, kind: str, status: str
) -> None:
    sandbox.configure(time_scale=1.0)
    sandbox.fault("job", kind)
    job = submitted(api)
    other = submitted(api)
    sandbox.configure(clock_offset=3500)
    sandbox.finished(other["request_id"])  # by now the stuck one would be completed too
    assert api.get(job["status_url"]).json()["status"] == status
    sandbox.configure(clock_offset=3601)
    assert api.get(job["status_url"]).status_code == 404
    assert sandbox.summary()["billed"] == 1


def test_a_late_job_is_billed_although_its_record_expired(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.configure(time_scale=1.0)
    sandbox.fault("job", "late")
    job = submitted(api)
    other = submitted(api)
    sandbox.configure(clock_offset=3599)
    sandbox.finished(other["request_id"])
    assert api.get(job["status_url"]).json()["status"] == "PROCESSING"
    sandbox.configure(clock_offset=3700)
    sandbox.finished(job["request_id"])
    assert api.get(job["status_url"]).status_code == 404
    row = api.get(f"{HISTORY}/{job['request_id']}").json()
    assert row["model_status"] == "COMPLETED"
    assert sandbox.control.get(row["generation_url"]).status_code == 200


def test_a_record_can_vanish_early(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.configure(time_scale=1.0)
    sandbox.fault("job", "vanish", seconds=20)
    job = submitted(api)
    assert api.get(job["status_url"]).status_code == 200
    sandbox.configure(clock_offset=20)
    assert api.get(job["status_url"]).json() == {"error": f"Request {job['request_id']} not found"}


def test_a_record_can_be_missing_once(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.fault("job", "flapping")
    job = submitted(api)
    assert [api.get(job["status_url"]).status_code for _ in range(3)] == [404, 200, 200]


def test_a_status_can_be_an_unknown_word(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.configure(time_scale=1.0)
    sandbox.fault("job", "unknown-status", status="IN_ORBIT")
    job = submitted(api)
    assert api.get(job["status_url"]).json()["status"] == "IN_ORBIT"
    sandbox.configure(clock_offset=200)
    sandbox.finished(job["request_id"])
    assert api.get(job["status_url"]).json()["status"] == "COMPLETED"


def test_a_status_can_be_in_lower_case(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.fault("job", "lower-case-status")
    job = submitted(api)
    sandbox.finished(job["request_id"])
    assert api.get(job["status_url"]).json()["status"] == "completed"
