"""What people click, and what programs upload with a form: from the call to the bytes in S3."""

import contextlib
import csv
import io
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from botocore.exceptions import ClientError
from pipeline import LINKS, UPLOADS, Pipeline, app, http, png
from seedance.jobs.job import State

SMALL = {"resolution": "480p"}


def made(pipeline: Pipeline) -> Any:
    """The record view of a job whose video is ready."""
    job_id = pipeline.order(parameters=SMALL, name="Red shoe")
    assert pipeline.run(job_id).state is State.COMPLETED
    return pipeline.call("GET", f"/videos/{job_id}")[1]


def click(link: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
    """Open a lasting link as API Gateway passes it on; returns status, headers and body."""
    base, _, rest = link.partition("/w/")
    token, _, query = rest.partition("?")
    assert f"{base}/w" == LINKS
    answer = app("watch").handler(
        {
            "httpMethod": method,
            "resource": "/{token}",
            "path": f"/{token}",
            "pathParameters": {"token": token},
            "queryStringParameters": {name: value for name, (value,) in parse_qs(query, keep_blank_values=True).items()}
            or None,
            "headers": {},
        },
        None,
    )
    return answer["statusCode"], answer["headers"], answer["body"]


def test_the_links_of_the_record_play_and_download_the_video(pipeline: Pipeline) -> None:
    video = made(pipeline)["video"]
    stored = pipeline.read(video["key"])
    for name, kind in (("url", "inline"), ("download_url", "attachment")):
        answer = http().get(video[name])
        assert answer.content == stored
        assert answer.headers["content-type"] == "video/mp4"
        assert answer.headers["content-disposition"].startswith(f'{kind}; filename="Red shoe.mp4"')


def test_a_lasting_link_leads_to_the_video_until_it_is_revoked(pipeline: Pipeline) -> None:
    shown = made(pipeline)
    link, stored = shown["video"]["link"], pipeline.read(shown["video"]["key"])
    (told,) = pipeline.notifications()
    assert told["video"]["link"] == link
    for query, kind in (("", "inline"), ("?download", "attachment")):
        status, headers, body = click(link + query)
        assert (status, body) == (302, "")
        answer = http().get(headers["Location"])
        assert answer.content == stored
        assert answer.headers["content-disposition"].startswith(kind)
        status, headers, _ = click(link + query, "HEAD")
        assert status == 302
        assert http().head(headers["Location"]).headers["content-length"] == str(len(stored))
    path = f"/videos/{shown['job_id']}"
    assert pipeline.call("POST", f"{path}/link") == (200, _link(shown["job_id"], shown["video"]))
    assert pipeline.call("DELETE", f"{path}/link")[1]["link"] is None
    assert click(link)[0] == 410
    assert pipeline.call("GET", path)[1]["video"]["link"] is None
    again = pipeline.call("POST", f"{path}/link")[1]["link"]
    assert again != link
    assert (click(again)[0], click(link)[0]) == (302, 410)
    assert pipeline.call("GET", path)[1]["video"]["link"] == again


def _link(job_id: str, video: Any) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "link": video["link"],
        "download_link": f"{video['link']}?download",
        "link_expires_at": video["link_expires_at"],
    }


def test_a_video_that_is_not_ready_has_no_link(pipeline: Pipeline) -> None:
    job_id = pipeline.order(parameters=SMALL)
    status, answer = pipeline.call("POST", f"/videos/{job_id}/link")
    assert (status, answer["code"]) == (409, "CONFLICT")
    assert "is RECEIVED" in answer["detail"]
    assert pipeline.call("POST", "/videos/api-none/link")[0] == 404
    assert click(f"https://links.example/w/{'0' * 32}")[0] == 404


def test_a_stack_that_makes_no_lasting_links_has_signed_ones(pipeline: Pipeline, set_up: Any) -> None:
    set_up(video_link_days="0")
    shown = made(pipeline)
    assert (shown["video"]["link"], shown["video"]["link_expires_at"]) == (None, None)
    assert http().get(shown["video"]["url"]).status_code == 200
    assert pipeline.call("POST", f"/videos/{shown['job_id']}/link")[0] == 409


def test_days_of_zero_stop_all_links_that_were_made(pipeline: Pipeline, set_up: Any) -> None:
    shown = made(pipeline)
    set_up(video_link_days="0")
    assert click(shown["video"]["link"])[0] == 410
    assert pipeline.call("GET", f"/videos/{shown['job_id']}")[1]["video"]["link"] is None


def until_done(step: Callable[[], Any]) -> Any:
    """Repeat a step while AWS refuses its calls, as the state machine does."""
    for _ in range(5):
        with contextlib.suppress(ClientError, RuntimeError, TimeoutError):
            return step()
    return step()


def test_a_batchs_results_have_the_links(pipeline: Pipeline) -> None:
    key = "batches/spring.csv"
    version = pipeline.put(key, b"prompt,resolution,sku\nIt turns,480p,S-1\nA [blocked] shoe,480p,S-2\n")
    event = {"batch_id": "batch-" + "0" * 32, "bucket": UPLOADS, "key": key, "version_id": version}
    planned = until_done(lambda: app("plan").handler(event, None))
    names = ("batch_id", "key", "plan_key")
    (chunk,) = planned["chunks"]
    fed = {**{name: planned[name] for name in names}, "chunk": chunk, "next": 0}
    until_done(lambda: app("enqueue").handler(fed, None))
    for job_id in [item["job_id"]["S"] for item in pipeline.client("dynamodb").scan(TableName="jobs")["Items"]]:
        if job_id.startswith("ba-"):
            assert pipeline.run(job_id).metadata["sku"].startswith("S-")
    ended = until_done(lambda: app("collect").handler({**planned, "status": "RUNNING", "fed_at": 0.0}, None))
    text = pipeline.client("s3").get_object(Bucket=UPLOADS, Key=ended["results_key"])["Body"].read().decode("utf-8-sig")
    good, bad = csv.DictReader(io.StringIO(text))
    assert (good["state"], good["sku"], bad["state"], bad["video_link"]) == ("COMPLETED", "S-1", "FAILED", "")
    status, headers, _ = click(good["video_link"])
    assert status == 302
    assert http().get(headers["Location"]).content == pipeline.read(good["video_key"])


# forms --------------------------------------------------------------------------------------------------------------


def send(form: Any, body: bytes) -> httpx.Response:
    """Send a form with a file to S3, as the answer says."""
    return http().request(form["method"], form["url"], data=form["fields"], files={"file": ("x", body)})


@pytest.mark.parametrize("prefixes", ["images/,shop/", "catalogue/"])
def test_an_uploaded_image_makes_a_video_and_nothing_before(pipeline: Pipeline, set_up: Any, prefixes: str) -> None:
    set_up(image_key_prefixes=prefixes)
    status, form = pipeline.call("POST", "/uploads", {"name": "Red shoe.png", "bytes": len(png())})
    assert status == 200
    assert send(form, png()).status_code == 204
    stored = pipeline.client("s3").get_object(Bucket=UPLOADS, Key=form["image_key"])
    assert (stored["Body"].read(), stored["ContentType"]) == (png(), "image/png")
    assert pipeline.waiting() == []
    job = pipeline.run(pipeline.order(image_key=form["image_key"], parameters=SMALL))
    assert (job.state, (job.image or {})["key"]) == (State.COMPLETED, form["image_key"])


def test_an_uploaded_manifest_starts_nothing(pipeline: Pipeline) -> None:
    form = pipeline.call("POST", "/uploads", {"name": "spring.csv"})[1]
    assert send(form, b"prompt\nIt turns\n").status_code == 204
    assert pipeline.client("s3").get_object(Bucket=UPLOADS, Key=form["manifest_key"])["ContentType"] == "text/csv"
    assert pipeline.waiting() == []
