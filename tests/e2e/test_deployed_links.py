"""Links to videos as people open them, and forms for uploads as web pages send them, on a deployed stack."""

import contextlib
from typing import Any

import httpx
import pytest
from deployed import SAMPLE, Deployed
from playwright.sync_api import BrowserContext, Error
from seedance.watch import GONE, NOT_FOUND, PAGE_HEADERS

pytestmark = pytest.mark.e2e

SMALL = {"resolution": "480p"}


@pytest.fixture(scope="module")
def job(deployed: Deployed) -> dict[str, Any]:
    """A job whose video is ready, as the API returns it."""
    return deployed.completed(deployed.order(prompt="a shoe with a link", name="Red shoe", parameters=SMALL))


def opened(link: str, method: str = "GET", **options: Any) -> httpx.Response:
    """What a program gets that follows redirects and has no key."""
    return httpx.request(method, link, follow_redirects=True, trust_env=False, **options)


def test_a_lasting_link_needs_no_key_and_redirects_to_the_video(deployed: Deployed, job: dict[str, Any]) -> None:
    link = job["video"]["link"]
    assert link == deployed.told(job["job_id"], "COMPLETED")["video"]["link"]
    assert link.startswith(f"{deployed.output('LinkUrl')}/")
    answer = opened(link)
    assert len(answer.content) == job["video"]["bytes"]
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"].startswith('inline; filename="Red shoe.mp4"')
    (redirect,) = answer.history
    assert (redirect.status_code, redirect.headers["referrer-policy"]) == (302, "no-referrer")
    assert "set-cookie" not in redirect.headers
    assert opened(f"{link}?download").headers["content-disposition"].startswith("attachment")
    head = opened(link, "HEAD")
    assert (head.status_code, head.headers["content-length"]) == (200, str(job["video"]["bytes"]))
    part = opened(link, headers={"Range": "bytes=0-99"})
    assert (part.status_code, len(part.content)) == (206, 100)


def test_a_browser_plays_the_video_and_downloads_it_on_request(job: dict[str, Any], context: BrowserContext) -> None:
    page = context.new_page()
    for link in (job["video"]["link"], job["video"]["url"]):
        page.goto(link, wait_until="commit")
        page.wait_for_selector("video", state="attached")
    for link in (f"{job['video']['link']}?download", job["video"]["download_url"]):
        with page.expect_download() as found, contextlib.suppress(Error):  # "Download is starting"
            page.goto(link)
        assert found.value.suggested_filename == "Red shoe.mp4"
        assert found.value.path().stat().st_size == job["video"]["bytes"]
    assert context.cookies() == []


def test_a_revoked_link_shows_a_page_and_a_new_one_works(deployed: Deployed, job: dict[str, Any]) -> None:
    path, link = f"/videos/{job['job_id']}/link", job["video"]["link"]
    try:
        assert deployed.call("DELETE", path).json()["link"] is None
        answer = opened(link)
        assert (answer.status_code, answer.text) == (410, GONE)
        assert {name: answer.headers[name] for name in PAGE_HEADERS} == PAGE_HEADERS
        assert deployed.call("GET", f"/videos/{job['job_id']}").json()["video"]["link"] is None
    finally:
        again = deployed.call("POST", path).json()["link"]
    job["video"]["link"] = again
    assert again != link
    assert opened(again).status_code == 200
    assert opened(link).status_code == 410


def test_an_unknown_link_shows_a_page(deployed: Deployed) -> None:
    answer = opened(f"{deployed.output('LinkUrl')}/{'0' * 32}")
    assert (answer.status_code, answer.text) == (404, NOT_FOUND)
    assert opened(f"{deployed.output('LinkUrl')}/{'0' * 32}", "HEAD").status_code == 404


# forms --------------------------------------------------------------------------------------------------------------


def form(deployed: Deployed, **body: Any) -> Any:
    answer = deployed.call("POST", "/uploads", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def send(made: Any, body: bytes = SAMPLE.read_bytes(), **changes: str) -> int:
    """Send a form with a file to S3, perhaps with other fields; returns the status."""
    fields = {**made["fields"], **changes}
    return httpx.post(made["url"], data=fields, files={"file": ("x", body)}, trust_env=False).status_code


def test_a_form_uploads_an_image_that_a_call_uses(deployed: Deployed) -> None:
    made = form(deployed, name="Rote Schuhe.jpg", bytes=SAMPLE.stat().st_size)
    assert send(made) == 204
    job = deployed.completed(deployed.order(prompt="an uploaded shoe", image_key=made["image_key"], parameters=SMALL))
    assert job["image"]["key"] == made["image_key"]


def test_s3_refuses_what_the_form_was_not_signed_for(deployed: Deployed) -> None:
    made = form(deployed, name="shoe.jpg", bytes=SAMPLE.stat().st_size)
    assert send(made, SAMPLE.read_bytes() + b"x") == 400  # EntityTooLarge
    assert send(made, b"x") == 400  # EntityTooSmall
    assert send(made, key="uploads/shoe.jpg") == 403
    assert send(made, **{"Content-Type": "text/html"}) == 403
    assert send(made, **{"x-amz-meta-model": "seedance-pro"}) == 403
    assert send(made, **{"x-amz-signature": "0" * 64}) == 403
    bucket = deployed.output("UploadBucketName")
    assert "Contents" not in deployed.client("s3").list_objects_v2(Bucket=bucket, Prefix=made["key"])


def test_an_uploaded_manifest_starts_no_batch(deployed: Deployed) -> None:
    made = form(deployed, name="spring.csv")
    assert send(made, b"prompt,resolution\nIt turns,480p\n") == 204
    machines = deployed.client("stepfunctions")
    runs = machines.list_executions(stateMachineArn=deployed.output("BatchStateMachineArn"))["executions"]
    assert made["manifest_key"] not in str([machines.describe_execution(executionArn=r["executionArn"]) for r in runs])
