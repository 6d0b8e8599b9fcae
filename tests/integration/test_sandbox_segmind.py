"""The provider's own client, unchanged, against the stand-in."""

import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
import segmind as package
from pictures import picture
from segmind import InferenceFailed, InferenceTimeout, SegmindClient, SegmindError
from segmind.files import Files

from local.sandbox import Sandbox
from local.sandbox.inprocess import KEY

MINI: dict[str, Any] = {"prompt": "a horse", "aspect_ratio": "1:1", "resolution": "480p", "generate_audio": False}
PRO: dict[str, Any] = {"prompt": "a horse", "aspect_ratio": "1:1", "resolution": "480p", "duration": 5}


@pytest.fixture
def segmind(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> SegmindClient:
    # These two hosts are constants of the package: base_url does not reach them.
    monkeypatch.setattr(Files, "STORAGE_BASE_URL", sandbox.url)
    # (By name: the package hides its module `generations` behind an object of that name.)
    history = sys.modules["segmind.generations"]
    monkeypatch.setattr(history, "REQUEST_HISTORY_URL", f"{sandbox.url}/inference-request/request-history")
    return SegmindClient(api_key=KEY, base_url=f"{sandbox.url}/v1")


@pytest.fixture
def module(segmind: SegmindClient, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package itself, whose functions use a client of their own."""
    monkeypatch.setattr(package, "_default_client", segmind)
    monkeypatch.setattr(sys.modules["segmind.v2"].time, "sleep", lambda _: None)  # `run` polls once a second
    return package


def test_it_is_the_version_on_which_the_projects_facts_rely() -> None:
    assert version("segmind") == "1.3.0"


def test_the_packages_functions_run_submit_and_upload(module: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    result = module.run("seedance-2.0-mini", **MINI)
    assert (result["status"], result["request_id"] in result["output"]) == ("COMPLETED", True)
    assert module.run_sync("seedance-pro", **PRO).content[4:8] == b"ftyp"
    file = tmp_path / "a.png"
    file.write_bytes(b"hello")
    assert httpx.get(module.files.upload(file)["file_urls"][0]).content == b"hello"
    job = module.submit_async("seedance-2.0-mini", **MINI)
    sandbox.finished(job.request_id)
    assert module.generations.get(job.request_id)["request_id"] == job.request_id
    assert job.request_id in [row["request_id"] for row in module.generations.history()["data"]]


def test_a_job_is_submitted_and_waited_for(segmind: SegmindClient) -> None:
    job = segmind.submit_async("seedance-2.0-mini", **MINI)
    assert job.status()["status"] in ("QUEUED", "PROCESSING")
    result = job.wait(timeout=20, interval=0.02)
    assert result["status"] == "COMPLETED"
    assert job.request_id in result["output"]
    assert httpx.get(result["output"]).content[4:8] == b"ftyp"


def test_the_example_body_of_the_model_page_is_accepted(segmind: SegmindClient, sandbox: Sandbox) -> None:
    # Page 000, with its string "false", except for the image, which is on the internet.
    job = segmind.submit_async(
        "seedance-1.0-pro-fast",
        duration=10,
        prompt="A futuristic cityscape with flying cars zipping through neon-lit skyscrapers at night.",
        resolution="720p",
        seed=56789,
        camera_fixed=False,
        aspect_ratio="16:9",
        skip_moderation="false",
    )
    assert sandbox.finished(job.request_id).status == "COMPLETED"


def test_a_blocking_call_returns_the_video(segmind: SegmindClient) -> None:
    answer = segmind.run_sync("seedance-pro", **PRO)
    assert answer.content[4:8] == b"ftyp"
    assert float(answer.headers["x-cost"]) > 0


def test_a_failed_job_raises_its_message(segmind: SegmindClient) -> None:
    job = segmind.submit_async("seedance-2.0-mini", **MINI | {"prompt": "a [blocked] horse"})
    with pytest.raises(InferenceFailed) as caught:
        job.wait(timeout=20, interval=0.02)
    assert "content moderation" in str(caught.value.detail)
    assert caught.value.status_body["status"] == "FAILED"
    assert job.result()["error"] == caught.value.detail


def test_an_expired_id_raises_404(segmind: SegmindClient, sandbox: Sandbox) -> None:
    job = segmind.submit_async("seedance-2.0-mini", **MINI)
    sandbox.finished(job.request_id)
    sandbox.configure(clock_offset=3601)
    with pytest.raises(SegmindError) as caught:
        job.wait(timeout=5)
    assert (caught.value.status, caught.value.detail) == (404, f"Request {job.request_id} not found")


def test_a_stuck_job_times_out(segmind: SegmindClient, sandbox: Sandbox) -> None:
    sandbox.fault("job", "stuck-processing")
    job = segmind.submit_async("seedance-2.0-mini", **MINI)
    with pytest.raises(InferenceTimeout):
        job.wait(timeout=0.1, interval=0.02)


@pytest.mark.parametrize(
    ("key", "slug", "changes", "status"),
    [
        ("SG_wrong", "seedance-2.0-mini", {}, 401),
        (KEY, "seedance-9", {}, 404),
        (KEY, "seedance-2.0-mini", {"duration": 7}, 400),
        (KEY, "seedance-2.0-mini", {"prompt": None}, 422),
    ],
)
def test_a_refusal_raises_its_status_and_message(
    sandbox: Sandbox, key: str, slug: str, changes: dict[str, Any], status: int
) -> None:
    sandbox.configure(validation="submit")
    client = SegmindClient(api_key=key, base_url=f"{sandbox.url}/v1")
    with pytest.raises(SegmindError) as caught:
        client.submit_async(slug, **MINI | changes)
    assert caught.value.status == status
    assert caught.value.detail


def test_an_uploaded_file_can_be_the_first_frame(segmind: SegmindClient, sandbox: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "red.gif"
    file.write_bytes(picture(codec="gif"))
    (url,) = segmind.files.upload(file)["file_urls"]
    job = segmind.submit_async("seedance-2.0-mini", **MINI, first_frame_url=url)
    assert sandbox.finished(job.request_id).status == "COMPLETED"


def test_the_history_lists_the_request_and_its_cost(segmind: SegmindClient, sandbox: Sandbox) -> None:
    job = segmind.submit_async("seedance-2.0-mini", **MINI)
    sandbox.finished(job.request_id)
    (row,) = segmind.generations.history(model_name="seedance-2.0", status="COMPLETED", per_page=100)["data"]
    assert row["request_id"] == job.request_id
    assert row["credits_deduction"] == job.result()["metrics"]["cost"]
    assert segmind.generations.get(job.request_id) == row


def test_a_parameter_refused_after_queueing_raises_its_message_too(segmind: SegmindClient, sandbox: Sandbox) -> None:
    sandbox.configure(validation="queued")
    job = segmind.submit_async("seedance-2.0-mini", **MINI | {"duration": 7})
    with pytest.raises(InferenceFailed) as caught:
        job.wait(timeout=20, interval=0.02)
    assert str(caught.value.detail).startswith("Invalid value for duration: 7")


def test_the_balance_is_read_and_an_empty_one_is_an_error(segmind: SegmindClient, sandbox: Sandbox) -> None:
    # The package has no function for it.
    assert segmind._request("GET", "/get-user-credits").json() == {"credits": 100.0}
    sandbox.configure(credits=0.01)
    for call, status in ((segmind.submit_async, 402), (segmind.run_sync, 406)):
        with pytest.raises(SegmindError) as caught:
            call("seedance-pro", **PRO)
        assert caught.value.to_dict() == {"status": status, "detail": caught.value.detail}
        assert "Insufficient credits" in str(caught.value)


def test_the_history_is_paged_and_limited_to_31_days(segmind: SegmindClient, sandbox: Sandbox) -> None:
    jobs = [segmind.submit_async("seedance-2.0-mini", **MINI, return_last_frame=True) for _ in range(2)]
    for job in jobs:
        sandbox.finished(job.request_id)
    pages = [segmind.generations.history(page=page, per_page=1, sort_order="asc") for page in range(1, 5)]
    rows = [row for page in pages for row in page["data"]]
    assert [row["request_id"] for row in rows] == [job.request_id for job in jobs for _ in range(2)]
    assert {page["total_pages"] for page in pages} == {4}
    today = datetime.now(UTC).date()
    for days, status in ((30, None), (31, 400)):
        try:
            answer = segmind.generations.history(from_date=(today - timedelta(days=days)).isoformat())
            assert (status, answer["total"]) == (None, 4)
        except SegmindError as error:
            assert error.status == status


def test_a_teammates_request_is_in_the_history_but_not_found_by_its_id(
    segmind: SegmindClient, sandbox: Sandbox
) -> None:
    sandbox.configure(teammates=["SG_aaaaaaaaaaaaaaaa"])
    other = SegmindClient(api_key="SG_aaaaaaaaaaaaaaaa", base_url=f"{sandbox.url}/v1")
    theirs = other.submit_async("seedance-2.0-mini", **MINI).request_id
    assert [row["request_id"] for row in segmind.generations.history()["data"]] == [theirs]
    with pytest.raises(SegmindError) as caught:
        segmind.generations.get(theirs)
    assert caught.value.status == 404
    assert other.generations.get(theirs)["request_id"] == theirs
