"""Clicks on lasting links: where they lead, and what a visitor sees if a link does not work."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ClientError
from clocks import NOW
from hostile_values import TEXTS
from hypothesis import given
from hypothesis import strategies as st
from invoking import invoke
from seedance.aws.table import link_key
from seedance.jobs import lasting
from seedance.jobs.job import Job, State
from seedance.jobs.lasting import DAY_SECONDS
from seedance.jobs.tokens import new_token
from seedance.watch import GONE, HEADERS, NOT_FOUND, PAGE_HEADERS, SIGNED_SECONDS, Watch

Make = Callable[..., Job]
TABLE, VIDEOS = "jobs-of-tests", "example-videos"
KEY = "videos/shoes/red/up-1.mp4"
VIDEO = {"bucket": VIDEOS, "key": KEY, "bytes": 7, "sha256": "ab" * 32}


@pytest.fixture
def watch(world: Any) -> Watch:
    return Watch(world.table, VIDEOS, world.aws["s3"], 90, world.clock)


@pytest.fixture
def shared(world: Any, make_job: Make) -> Job:
    """A job whose video has a lasting link, and is in the bucket."""
    world.aws["s3"].put_object(Bucket=VIDEOS, Key=KEY, Body=b"a video")
    job = world.put(make_job(State.COPYING, name="Red shoe"))
    return world.store.close(job, State.COMPLETED, video=VIDEO)  # type: ignore[no-any-return]


def click(token: Any, method: str = "GET", **event: Any) -> dict[str, Any]:
    """What API Gateway sends for a click."""
    return {"httpMethod": method, "resource": "/{token}", "pathParameters": {"token": token}, "headers": {}, **event}


def signed(answer: Any) -> tuple[str, dict[str, str]]:
    """The path and the query of the link to which an answer redirects."""
    assert (answer["statusCode"], answer["body"]) == (302, "")
    assert answer["headers"] == {**HEADERS, "Location": answer["headers"]["Location"]}
    parts = urlsplit(answer["headers"]["Location"])
    return parts.path, {name: value for name, (value,) in parse_qs(parts.query).items()}


def is_page(answer: Any, status: int, text: str) -> None:
    assert (answer["statusCode"], answer["body"]) == (status, text)
    assert answer["headers"] == PAGE_HEADERS


def test_a_click_leads_to_the_video_which_the_browser_plays(watch: Watch, shared: Job) -> None:
    path, query = signed(watch.respond(click(shared.link_token)))
    assert path.endswith(KEY)
    assert query["response-content-type"] == "video/mp4"
    assert query["response-content-disposition"].startswith('inline; filename="Red shoe.mp4"')
    assert query["X-Amz-Expires"] == str(SIGNED_SECONDS) == "900"


@pytest.mark.parametrize(
    "query",
    [{"queryStringParameters": {"download": ""}}, {"multiValueQueryStringParameters": {"download": ["1", "2"]}}],
)
def test_with_download_the_browser_saves_the_file(watch: Watch, shared: Job, query: dict[str, Any]) -> None:
    _, found = signed(watch.respond(click(shared.link_token, **query)))
    assert found["response-content-disposition"].startswith('attachment; filename="Red shoe.mp4"')


def test_head_is_answered_like_get_with_a_link_that_is_signed_for_head(
    watch: Watch, shared: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations: list[str] = []
    sign = watch.client.generate_presigned_url

    def signing(operation: str, **options: Any) -> str:
        operations.append(operation)
        return str(sign(operation, **options))

    monkeypatch.setattr(watch.client, "generate_presigned_url", signing)
    get, head = (signed(watch.respond(click(shared.link_token, method))) for method in ("GET", "HEAD"))
    assert operations == ["get_object", "head_object"]
    assert get[0] == head[0]
    assert get[1]["X-Amz-Signature"] != head[1]["X-Amz-Signature"]
    assert get[1]["response-content-disposition"] == head[1]["response-content-disposition"]


def test_each_click_is_signed_afresh_and_programs_that_open_every_link_do_no_harm(
    world: Any, watch: Watch, shared: Job
) -> None:
    before = len(world.calls)
    for method in ("HEAD", "GET", "GET", "HEAD") * 5:
        signed(watch.respond(click(shared.link_token, method)))
    called = {name for name, _ in world.calls[before:]}
    assert called == {"GetItem", "HeadObject"} | {"GetObject"}  # the last one is only signed
    assert len(world.called("GetObject")) == 10
    assert len(world.called("HeadObject")) == 20 + 10  # each looks for the video; half of them are also signed
    assert world.job().link_token == shared.link_token


# links that do not work -----------------------------------------------------------------------------------------------


def test_an_unknown_token_is_not_found(watch: Watch, shared: Job) -> None:
    is_page(watch.respond(click(new_token())), 404, NOT_FOUND)
    answer = watch.respond(click(new_token(), "HEAD"))
    is_page(answer, 404, "")


def test_a_revoked_link_is_gone_at_once(world: Any, watch: Watch, shared: Job) -> None:
    world.store.unshare(shared)
    is_page(watch.respond(click(shared.link_token)), 410, GONE)
    is_page(watch.respond(click(shared.link_token, "HEAD")), 410, "")


def test_a_link_ends_after_its_days(world: Any, watch: Watch, shared: Job) -> None:
    world.clock.now = NOW + 90 * DAY_SECONDS - 1
    signed(watch.respond(click(shared.link_token)))
    world.clock.now += 1
    is_page(watch.respond(click(shared.link_token)), 410, GONE)


def test_a_stack_that_makes_no_links_serves_none(watch: Watch, shared: Job) -> None:
    is_page(replace(watch, days=0).respond(click(shared.link_token)), 410, GONE)


def test_a_video_that_is_deleted_is_gone(world: Any, watch: Watch, shared: Job) -> None:
    world.aws["s3"].delete_object(Bucket=VIDEOS, Key=KEY)
    is_page(watch.respond(click(shared.link_token)), 410, GONE)


def failing(code: str) -> Any:
    def head_object(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "x"}}, "HeadObject")

    return head_object


def test_without_permission_to_list_a_missing_video_is_forbidden_and_gone(
    watch: Watch, shared: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch.client, "head_object", failing("403"))
    is_page(watch.respond(click(shared.link_token)), 410, GONE)


def test_an_error_of_aws_is_not_mistaken_for_an_end(watch: Watch, shared: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch.client, "head_object", failing("503"))
    with pytest.raises(ClientError):
        watch.respond(click(shared.link_token))


@pytest.mark.hostile(kind="input", risk="5xx")
@pytest.mark.parametrize("kind", TEXTS)
def test_a_hostile_token_is_not_found_and_not_shown(watch: Watch, kind: str) -> None:
    is_page(watch.respond(click(TEXTS[kind])), 404, NOT_FOUND)


@pytest.mark.hostile(kind="input", risk="5xx")
@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda token: token[:-1],
        lambda token: f"{token}.",
        lambda token: f" {token}",
        lambda token: f"{token}0",
    ],
)
def test_a_token_that_is_changed_is_not_found(watch: Watch, shared: Job, change: Callable[[str], str]) -> None:
    token = shared.link_token or ""
    changed = change(token) if change(token) != token else token[::-1]
    is_page(watch.respond(click(changed)), 404, NOT_FOUND)


@pytest.mark.hostile(kind="input", risk="5xx")
@pytest.mark.parametrize("key", ["up-1", "switch#submits", "request#req-1"])
def test_the_key_of_another_item_is_no_token(watch: Watch, shared: Job, key: str) -> None:
    is_page(watch.respond(click(key)), 404, NOT_FOUND)
    is_page(watch.respond(click(lasting._digest(shared.link_token or ""))), 404, NOT_FOUND)


@pytest.mark.hostile(kind="input", risk="5xx")
@given(
    st.dictionaries(
        st.sampled_from(["httpMethod", "pathParameters", "queryStringParameters", "headers"]),
        st.none() | st.text() | st.integers() | st.lists(st.text()) | st.dictionaries(st.text(), st.none() | st.text()),
    )
)
def test_any_event_gets_a_page(event: dict[str, Any]) -> None:
    answer = Watch(None, VIDEOS, None, 90).respond(event)  # type: ignore[arg-type]
    assert answer["statusCode"] == 404


POISON: dict[str, Any] = {
    "video_key": [
        {"S": ""},
        {"N": "5"},
        {"S": "uploads/a.png"},
        {"S": "videos/" + "x" * 1024},
        {"NULL": True},
        {"M": {}},
    ],
    "until": [{"S": "tomorrow"}, {"N": "-5"}, {"N": "1e30"}, {"BOOL": True}, {"L": []}],
}


@pytest.mark.hostile(kind="input", risk="5xx")
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in POISON.items() for value in values])
def test_an_item_that_somebody_edited_is_gone(
    world: Any, watch: Watch, shared: Job, name: str, value: dict[str, Any]
) -> None:
    edit(world, shared, {name: value})
    is_page(watch.respond(click(shared.link_token)), 410, GONE)


@pytest.mark.hostile(kind="input", risk="5xx")
@pytest.mark.parametrize(
    "value", [{"S": "a\r\nSet-Cookie: x=y"}, {"N": "5"}, {"S": ""}, {"S": "x" * 5000}, {"B": b"x"}]
)
def test_an_edited_name_does_not_get_into_a_header(world: Any, watch: Watch, shared: Job, value: Any) -> None:
    edit(world, shared, {"name": value})
    _, query = signed(watch.respond(click(shared.link_token)))
    assert re.fullmatch(r"[\x20-\x7e]+", query["response-content-disposition"])


def edit(world: Any, job: Job, attributes: dict[str, Any]) -> None:
    key = {"job_id": {"S": link_key(lasting._digest(job.link_token or ""))}}
    item = world.aws["dynamodb"].get_item(TableName=TABLE, Key=key)["Item"]
    world.aws["dynamodb"].put_item(TableName=TABLE, Item={**item, **attributes})


# pages and headers ----------------------------------------------------------------------------------------------------


def test_pages_and_redirects_say_nothing_about_anything_and_set_no_cookie() -> None:
    for page in (NOT_FOUND, GONE):
        assert page.startswith("<!doctype html>")
        assert "<script" not in page
        assert "http" not in page
        assert not re.search(r"up-|api-|videos/|bucket|job", page)
    for headers in (HEADERS, PAGE_HEADERS):
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in headers
    assert "default-src 'none'" in PAGE_HEADERS["Content-Security-Policy"]


def test_the_function_answers_as_lambda_runs_it(root: Path, wired: Any, make_job: Make) -> None:
    run = partial(invoke, root)
    wired.aws["s3"].put_object(Bucket=VIDEOS, Key=KEY, Body=b"a video")
    wired.clock.now = 4e9  # the function has the real clock
    job = wired.store.close(wired.put(make_job(State.COPYING)), State.COMPLETED, video=VIDEO)
    assert run("watch", click(job.link_token))["statusCode"] == 302
    sample = json.loads((root / "events/watch.json").read_text())
    assert run("watch", sample)["statusCode"] == 404


def test_a_token_is_in_no_log(watch: Watch, shared: Job, world: Any, caplog: pytest.LogCaptureFixture) -> None:
    watch.respond(click(shared.link_token))
    world.aws["s3"].delete_object(Bucket=VIDEOS, Key=KEY)
    watch.respond(click(shared.link_token))
    edit(world, shared, {"video_key": {"N": "5"}})
    watch.respond(click(shared.link_token))
    said = [str(vars(record)) for record in caplog.records]
    assert len(said) == 2
    assert not any((shared.link_token or "") in line for line in said)
