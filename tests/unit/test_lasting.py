"""Lasting links in the table: made with a video's end, in the same transaction, revoked, and read again."""

import hashlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from clocks import NOW
from seedance.aws.attributes import read_item
from seedance.aws.table import link_key
from seedance.errors import Conflict, NotFound
from seedance.finalize import Finalize
from seedance.jobs.budget import Booking, day_of
from seedance.jobs.job import Job, State
from seedance.jobs.lasting import DAY_SECONDS, NO_LINKS, Addresses
from seedance.jobs.store import JobStore
from seedance.jobs.tokens import is_token, new_token
from seedance.notices.video_links import video_links
from seedance.rest.links import Links

Make = Callable[..., Job]
TABLE = "jobs-of-tests"
BASE = "https://links.example/w"
VIDEO = {"bucket": "example-videos", "key": "videos/shoe/up-1.mp4", "bytes": 7, "sha256": "ab" * 32}
ADDRESSES = Addresses(BASE, 90)


@pytest.fixture
def links(world: Any) -> Links:
    return Links(world.store, ADDRESSES, world.clock)


@pytest.fixture
def done(world: Any, make_job: Make) -> Job:
    """A job that was COMPLETED by this release."""
    return world.store.close(world.put(make_job(State.COPYING)), State.COMPLETED, video=VIDEO)  # type: ignore[no-any-return]


@pytest.fixture
def earlier(world: Any, make_job: Make) -> Job:
    """A job that an earlier release completed, without a link."""
    return world.put(make_job(State.COMPLETED, video=VIDEO))  # type: ignore[no-any-return]


def item(world: Any, token: str | None) -> dict[str, Any] | None:
    """The item of a link."""
    digest = hashlib.sha256((token or "").encode()).hexdigest()
    found = world.aws["dynamodb"].get_item(TableName=TABLE, Key={"job_id": {"S": f"link#{digest}"}})
    return read_item(found["Item"]) if "Item" in found else None


def test_a_token_has_128_random_bits() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(is_token(token) and len(token) * 4 == 128 for token in tokens)


def test_a_finished_video_gets_a_link_with_its_end(world: Any, done: Job) -> None:
    assert (done.state, done.link_until) == (State.COMPLETED, NOW + 90 * DAY_SECONDS)
    assert is_token(done.link_token or "")
    assert item(world, done.link_token) == {
        "job_id": link_key(hashlib.sha256((done.link_token or "").encode()).hexdigest()),
        "job": "up-1",
        "video_key": VIDEO["key"],
        "name": "shoe",
        "until": NOW + 90 * DAY_SECONDS,
        "expires_at": NOW + 120 * DAY_SECONDS,  # until then visitors are told that it has expired
    }
    assert world.job() == done


def test_the_item_does_not_say_the_token(world: Any, done: Job) -> None:
    assert (done.link_token or "") not in json.dumps(item(world, done.link_token))


def test_link_job_and_booking_are_one_transaction(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.RECEIVED))
    booking = Booking(day_of(NOW), reserved=0.5, limit=25.0, lease=1, max_in_flight=500)
    job = world.store.move(job, State.SUBMITTING, booking=booking, reserved_usd=0.5, reserved_day=booking.day)
    for state in (State.QUEUED, State.COPYING):
        job = world.store.move(job, state)
    before = len(world.called("TransactWriteItems"))
    done = world.store.close(job, State.COMPLETED, video=VIDEO, cost_usd=0.4)
    (written,) = world.called("TransactWriteItems")[before:]
    keys = [part["Update"]["Key"]["job_id"]["S"] for part in written["TransactItems"]]
    assert [key.partition("#")[0] for key in keys] == ["up-1", "day", "count", "link"]
    assert item(world, done.link_token) is not None


def test_a_job_that_another_function_has_closed_gets_no_second_link(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.COPYING))
    first = world.store.close(job, State.COMPLETED, video=VIDEO)
    with pytest.raises(Conflict):
        world.store.close(job, State.COMPLETED, video=VIDEO)
    items = world.aws["dynamodb"].scan(TableName=TABLE)["Items"]
    assert [found["job_id"]["S"] for found in items if "#" in found["job_id"]["S"]] == [
        (item(world, first.link_token) or {})["job_id"]
    ]


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED, State.HELD])
def test_a_job_that_ends_otherwise_has_no_link(world: Any, make_job: Make, state: State) -> None:
    job = world.store.close(world.put(make_job(State.COPYING)), state, error={"code": "X", "message": "why"})
    assert (job.link_token, job.link_until) == (None, None)


def test_a_stack_without_lasting_links_makes_none(world: Any, make_job: Make) -> None:
    store = JobStore(world.table)
    assert store.close(world.put(make_job(State.COPYING)), State.COMPLETED, video=VIDEO).link_token is None


def test_finalize_sends_the_link_in_its_message(world: Any, make_job: Make, mp4: bytes) -> None:
    import httpx  # noqa: PLC0415 - only here

    world.put(make_job(State.COPYING))
    world.wire.will(httpx.Response(200, content=mp4))
    finalize = Finalize(world.store, world.downloads, world.media, world.notifier)
    assert finalize("up-1")["status"] == "COMPLETED"
    token = world.job().link_token
    (told,) = world.notified()
    assert told["video"]["link"] == f"{BASE}/{token}"
    assert told["video"]["link_expires_at"] == "2026-02-18T00:53:20+00:00"
    assert "response-content-disposition=inline" in told["video"]["url"]
    assert "response-content-disposition=attachment" in told["video"]["download_url"]
    (call,) = world.called("Publish")
    mail = json.loads(call["Message"])["email"]
    assert f"Watch\n  {BASE}/{token}\nDownload\n  {BASE}/{token}?download\n" in mail
    assert "until 2026-02-18 00:53 UTC)" in mail
    assert "X-Amz-Signature" not in mail


@pytest.mark.parametrize("frame", ["videos/shoe/up-1-last-frame.png", None])
def test_the_last_frame_has_a_link_of_its_own(world: Any, make_job: Make, frame: str | None) -> None:
    video: Any = {**VIDEO, **({"last_frame_key": frame} if frame else {})}
    job = world.put(make_job(State.COMPLETED, name="red shoe", video=video))
    links = video_links(job, world.media, NO_LINKS, world.clock.now)
    assert links is not None
    if frame is None:
        assert links.last_frame_url is None
        return
    assert urlsplit(links.last_frame_url).path.endswith(frame)
    asked = parse_qs(urlsplit(links.last_frame_url).query)
    assert asked["response-content-disposition"][0].startswith('inline; filename="red shoe.png"')
    assert "response-content-type" not in asked  # the object's own is a picture's


# the calls --------------------------------------------------------------------------------------------------------


def test_a_link_that_works_is_kept(links: Links, done: Job) -> None:
    address = f"{BASE}/{done.link_token}"
    expected = {
        "job_id": "up-1",
        "link": address,
        "download_link": f"{address}?download",
        "link_expires_at": "2026-02-18T00:53:20+00:00",
    }
    assert links.share("up-1") == links.share("up-1") == expected


def test_a_video_of_an_earlier_release_gets_one(world: Any, links: Links, earlier: Job) -> None:
    shown = links.share("up-1")
    job = world.job()
    assert shown["link"] == f"{BASE}/{job.link_token}"
    assert (item(world, job.link_token) or {})["video_key"] == VIDEO["key"]
    assert (job.state, job.video) == (earlier.state, earlier.video)


def test_a_revoked_link_is_never_used_again(world: Any, links: Links, done: Job) -> None:
    none = {"job_id": "up-1", "link": None, "download_link": None, "link_expires_at": None}
    assert links.unshare("up-1") == links.unshare("up-1") == none
    revoked = item(world, done.link_token) or {}
    assert set(revoked) == {"job_id", "revoked_at", "expires_at"}
    assert revoked["expires_at"] == NOW + 30 * DAY_SECONDS
    assert (world.job().link_token, world.job().link_until) == (None, None)
    again = links.share("up-1")["link"] or ""
    assert again != f"{BASE}/{done.link_token}"
    assert "revoked_at" in (item(world, done.link_token) or {})


def test_an_ended_link_is_replaced(world: Any, links: Links, done: Job) -> None:
    world.clock.now = NOW + 90 * DAY_SECONDS
    shown = links.share("up-1")
    assert shown["link"] not in (None, f"{BASE}/{done.link_token}")
    assert world.job().link_until == world.clock.now + 90 * DAY_SECONDS


@pytest.mark.parametrize("state", [state for state in State if state is not State.COMPLETED])
def test_without_a_video_there_is_no_link(world: Any, links: Links, make_job: Make, state: State) -> None:
    world.put(make_job(state, video=VIDEO if state is State.COPYING else None))
    with pytest.raises(Conflict, match=f"job up-1 is {state}"):
        links.share("up-1")
    assert links.unshare("up-1")["link"] is None


def test_an_unknown_job_is_not_found(links: Links) -> None:
    for call in (links.share, links.unshare):
        with pytest.raises(NotFound):
            call("up-2")


def test_a_stack_without_lasting_links_says_so(world: Any, earlier: Job) -> None:
    with pytest.raises(Conflict, match="VideoLinkDays"):
        Links(world.store, NO_LINKS, world.clock).share("up-1")


def test_of_two_calls_at_once_one_makes_the_link_and_both_show_it(
    world: Any, links: Links, earlier: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = world.store.share

    def slow(job: Job) -> Job:
        share(job)  # the other call
        return share(job)  # type: ignore[no-any-return]

    monkeypatch.setattr(JobStore, "share", lambda _, job: slow(job))
    shown = links.share("up-1")
    assert shown["link"] == f"{BASE}/{world.job().link_token}"
    items = [found["job_id"]["S"] for found in world.aws["dynamodb"].scan(TableName=TABLE)["Items"]]
    assert len([key for key in items if key.startswith("link#")]) == 1


def test_a_link_that_changes_meanwhile_is_not_revoked_halfway(world: Any, links: Links, done: Job) -> None:
    links.unshare("up-1")
    links.share("up-1")
    with pytest.raises(Conflict):
        world.store.unshare(done)  # read before the other two calls
    assert links.share("up-1")["link"] == f"{BASE}/{world.job().link_token}"
    assert "revoked_at" not in (item(world, world.job().link_token) or {})


# edited records ---------------------------------------------------------------------------------------------------


@pytest.mark.hostile(kind="input", risk="5xx")
@pytest.mark.parametrize(
    "value", [{"S": ""}, {"S": "x" * 32}, {"S": "../" * 10 + "ab"}, {"N": "5"}, {"M": {}}, {"B": b"x"}]
)
def test_an_edited_token_makes_no_link_and_no_error(world: Any, links: Links, done: Job, value: dict[str, Any]) -> None:
    key = {"job_id": {"S": "up-1"}}
    stored = world.aws["dynamodb"].get_item(TableName=TABLE, Key=key)["Item"]
    world.aws["dynamodb"].put_item(TableName=TABLE, Item={**stored, "link_token": value})
    job = world.job()
    assert job.link_token is None
    assert ADDRESSES.of(job, NOW) is None


@pytest.mark.hostile(kind="input", risk="5xx")
def test_the_item_of_a_link_is_no_job(world: Any, links: Links, done: Job) -> None:
    key = (item(world, done.link_token) or {})["job_id"]
    assert world.store.get(key) is None
    with pytest.raises(NotFound):
        links.share(key)
