"""`/_sandbox`, the log, the command line and restarts."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from local.sandbox import Sandbox
from local.sandbox.inprocess import KEY

MINI = {"prompt": "a horse", "aspect_ratio": "1:1", "resolution": "480p", "generate_audio": False}


def test_the_log_has_every_call_in_order_and_never_a_key(sandbox: Sandbox, api: httpx.Client) -> None:
    job = api.post("/v2/seedance-2.0-mini", json=MINI).json()
    api.get(job["status_url"])
    api.get("/v1/get-user-credits?x=1")
    sandbox.control.get("/v2/requests/x")
    log = sandbox.calls()
    assert [call["n"] for call in log] == [1, 2, 3, 4]
    submit, poll, balance, keyless = log
    assert (submit["method"], submit["path"], submit["status"]) == ("POST", "/v2/seedance-2.0-mini", 200)
    assert submit["body"] == MINI
    assert submit["request_id"] == job["request_id"]
    assert poll["path"].endswith("/status")
    assert balance["query"] == "x=1"
    assert submit["key"] == poll["key"] != KEY
    assert (keyless["key"], keyless["status"]) == (None, 401)
    assert KEY not in sandbox.control.get("/_sandbox/calls").text
    assert submit["at"] <= poll["at"]


def test_the_log_can_be_filtered(sandbox: Sandbox, api: httpx.Client) -> None:
    for _ in range(3):
        api.get("/v1/get-user-credits")
    api.get("/v2/requests/x")
    assert [call["n"] for call in sandbox.calls("requests")] == [4]
    since = sandbox.control.get("/_sandbox/calls", params={"since": 2}).json()["calls"]
    assert [call["n"] for call in since] == [3, 4]


def test_a_long_body_is_shortened_in_the_log(sandbox: Sandbox, api: httpx.Client) -> None:
    api.post("/upload-asset", json={"data_urls": ["data:image/png;base64," + "A" * 100_000]})
    assert len(sandbox.calls()[0]["body"]["data_urls"][0]) < 200


def test_the_summary_sums_what_is_billed_and_finds_duplicate_orders(sandbox: Sandbox, api: httpx.Client) -> None:
    def submit(**changes: Any) -> str:
        return str(api.post("/v2/seedance-2.0-mini", json=MINI | changes).json()["request_id"])

    first, again, other = submit(), submit(), submit(prompt="another")
    failed = submit(prompt="[blocked]")
    for request_id in (first, again, other, failed):
        sandbox.finished(request_id)
    api.get("/v2/requests/x")
    summary = sandbox.summary()
    assert (summary["accepted"], summary["billed"], summary["failed"], summary["running"]) == (4, 3, 1, 0)
    assert summary["billed_usd"] == pytest.approx(100 - summary["credits"])
    assert summary["by_status_code"] == {"200": 4, "404": 1}
    assert summary["duplicates"] == [{"model": "seedance-2.0-mini", "request_ids": [first, again], "body": MINI}]


def test_two_signed_links_to_one_image_count_as_the_same_order(sandbox: Sandbox, api: httpx.Client) -> None:
    link = f"{sandbox.url}/media/asset-a.png?versionId=1&X-Amz-Signature="
    signed = [MINI | {"first_frame_url": link + signature} for signature in ("aa", "bb")]
    other_version = MINI | {"first_frame_url": link.replace("versionId=1", "versionId=2") + "aa"}
    ids = [api.post("/v2/seedance-2.0-mini", json=body).json()["request_id"] for body in (*signed, other_version)]
    assert [group["request_ids"] for group in sandbox.summary()["duplicates"]] == [ids[:2]]


def test_the_configuration_can_be_read_changed_and_reset(sandbox: Sandbox) -> None:
    url = f"{sandbox.url}/_sandbox/config"
    before = sandbox.control.get(url).json()
    assert (before["time_scale"], before["credits"], before["api_keys"]) == (0.001, 100.0, "any")
    after = sandbox.control.post(url, json={"rate_limit": 9, "api_keys": [KEY]}).json()
    assert after == before | {"rate_limit": 9, "api_keys": 1}
    assert KEY not in sandbox.control.get(url).text
    sandbox.reset()
    assert sandbox.control.get(url).json() == before


@pytest.mark.parametrize(
    "values",
    [
        {"time_scale": 0},
        {"time_scale": "fast"},
        {"port": 1},
        {"colour": 1},
        {"credits": "many"},
        {"v1_answer": "xml"},
        {"video_tail": "xyz"},
        {"retired": ["no-such-model"]},
        {"validation": "never"},
        {"reading": "aloud"},
        {"rate_limit": -1},
        [],
    ],
)
def test_an_invalid_configuration_is_refused_completely(sandbox: Sandbox, values: object) -> None:
    url = f"{sandbox.url}/_sandbox/config"
    before = sandbox.control.get(url).json()
    answer = sandbox.control.post(url, json=values)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert sandbox.control.get(url).json() == before


def test_a_reset_forgets_everything(sandbox: Sandbox, api: httpx.Client) -> None:
    job = api.post("/v2/seedance-2.0-mini", json=MINI).json()
    sandbox.fault("submit", "http-500")
    sandbox.reset()
    assert sandbox.calls() == []
    assert sandbox.summary()["accepted"] == 0
    assert sandbox.control.get("/_sandbox/jobs").json() == {"jobs": []}
    assert sandbox.control.get("/_sandbox/faults").json() == {"faults": []}
    assert api.get(job["status_url"]).status_code == 404
    assert api.post("/v2/seedance-2.0-mini", json=MINI).status_code == 200


def test_a_reset_during_an_encoding_breaks_nothing(sandbox: Sandbox, api: httpx.Client) -> None:
    long = MINI | {"prompt": "long", "duration": 15, "resolution": "1080p"}
    for _ in range(3):
        api.post("/v2/seedance-2.0-mini", json=long)
        sandbox.reset()
    request_id = api.post("/v2/seedance-2.0-mini", json=long).json()["request_id"]
    assert sandbox.finished(request_id).status == "COMPLETED"
    with av.open(io.BytesIO(api.get(f"/media/{request_id}.mp4").content)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 15 * 6


def test_faults_are_listed_with_their_remaining_count_and_cleared(sandbox: Sandbox, api: httpx.Client) -> None:
    url = f"{sandbox.url}/_sandbox/faults"
    ordered = sandbox.control.post(url, json=[{"on": "credits", "kind": "http", "status": 500, "times": 2}])
    assert (ordered.status_code, ordered.json()["faults"][0]["kind"]) == (201, "http-500")
    api.get("/v1/get-user-credits")
    (fault,) = sandbox.control.get(url).json()["faults"]
    assert (fault["remaining"], fault["struck"]) == (1, 1)
    httpx.delete(url)
    assert api.get("/v1/get-user-credits").status_code == 200
    assert sandbox.control.post(url, json={"on": "credits", "kind": "flood"}).status_code == 400


def test_health_and_jobs_can_be_read_without_a_key(sandbox: Sandbox, api: httpx.Client) -> None:
    assert sandbox.control.get("/_sandbox/health").json()["status"] == "ok"
    request_id = api.post("/v2/seedance-2.0-mini", json=MINI).json()["request_id"]
    (job,) = sandbox.control.get("/_sandbox/jobs").json()["jobs"]
    assert (job["request_id"], job["model"], job["body"]) == (request_id, "seedance-2.0-mini", MINI)


def test_a_thousand_jobs_at_once_share_one_encoding(sandbox: Sandbox) -> None:
    limits = httpx.Limits(max_connections=64)
    sandbox.configure(credits=10_000)
    with sandbox.client(limits=limits, timeout=30) as api, ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: api.post("/v2/seedance-2.0-mini", json=MINI), range(1000)))
        ids = {answer.json()["request_id"] for answer in answers}
        assert len(ids) == 1000
        for request_id in ids:
            assert sandbox.finished(request_id).status == "COMPLETED"
    assert len({sandbox.state.jobs[request_id].render for request_id in ids}) == 1
    assert sandbox.summary()["billed"] == 1000


# the process ----------------------------------------------------------------------------------------------


def started(*options: str, ready: str = "sandbox ready on http://127.0.0.1:") -> tuple["subprocess.Popen[str]", str]:
    """The sandbox started from the command line, and the last word of the line that it prints once it listens."""
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "local.sandbox", "--port", "0", *options],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    assert process.stdout
    line = process.stdout.readline()
    assert line.startswith(ready)
    return process, line.split()[-1]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_command_reports_when_it_is_ready_and_stops_cleanly(stop: signal.Signals) -> None:
    process, url = started("--credits", "3", "--api-key", "SG_mine", "--rate-limit", "7")
    with process:
        assert httpx.get(f"{url}/v1/get-user-credits", headers={"x-api-key": "SG_mine"}).json() == {"credits": 3.0}
        assert httpx.get(f"{url}/v1/get-user-credits", headers={"x-api-key": KEY}).status_code == 401
        assert httpx.get(f"{url}/_sandbox/config").json()["rate_limit"] == 7
        process.send_signal(stop)
        assert process.wait(timeout=10) == 0


def test_the_command_prints_its_address_as_json() -> None:
    process, url = started("--json", ready='{"url": "http://127.0.0.1:')
    with process:
        assert httpx.get(f"{json.loads(f'[{url[:-1]}]')[0]}/_sandbox/config").status_code == 200
        process.terminate()
        assert process.wait(timeout=10) == 0


def test_the_command_refuses_invalid_options_with_a_clear_message() -> None:
    command = [sys.executable, "-m", "local.sandbox", "--time-scale", "0"]
    done = subprocess.run(  # noqa: S603 - our own module
        command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == 2
    assert "time_scale" in done.stderr


def test_a_restart_keeps_jobs_files_history_log_and_credits(tmp_path: Path) -> None:
    options = ("--state", str(tmp_path / "sandbox.json"), "--fps", "6", "--time-scale", "0.002")
    process, url = started(*options)
    headers = {"x-api-key": KEY}
    with process:
        done = httpx.post(f"{url}/v2/seedance-2.0-mini", json=MINI, headers=headers).json()
        while httpx.get(done["status_url"], headers=headers).json()["status"] != "COMPLETED":
            time.sleep(0.02)  # another process: its response is the only condition to wait for
        video = httpx.get(f"{url}/media/{done['request_id']}.mp4").content
        httpx.post(f"{url}/_sandbox/config", json={"time_scale": 1.0})
        running_on = httpx.post(f"{url}/v2/seedance-2.0-mini", json=MINI, headers=headers).json()
        before = httpx.get(f"{url}/_sandbox/summary").json()
        process.terminate()
        assert process.wait(timeout=10) == 0

    process, url = started(*options)
    with process:
        after = httpx.get(f"{url}/_sandbox/summary").json()
        assert after["accepted"] == before["accepted"] == 2
        assert after["calls"] == before["calls"]
        assert after["credits"] == before["credits"]
        result = httpx.get(f"{url}/v2/requests/{done['request_id']}", headers=headers).json()
        assert result["status"] == "COMPLETED"
        assert httpx.get(result["output"]).content == video
        other = f"{url}/v2/requests/{running_on['request_id']}"
        while (answer := httpx.get(other, headers=headers).json())["status"] != "COMPLETED":
            assert answer["status"] in ("QUEUED", "PROCESSING")
            time.sleep(0.02)
        process.terminate()
        assert process.wait(timeout=10) == 0
