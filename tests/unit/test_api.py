"""The API's use cases: a call makes one job, however often it is repeated; the public status of a job."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from seedance.api import Api
from seedance.errors import Conflict, InvalidRequest
from seedance.jobs.defaults import Defaults
from seedance.jobs.job import Job, State, api_job_id
from seedance.media.buckets import Media
from seedance.rest.views import describe

Make = Callable[..., Job]
BODY = '{"prompt": "a shoe turns"}'
VIDEO = {"bucket": "example-videos", "key": "videos/api/up-1.mp4", "bytes": 7, "sha256": "ab"}
FIELDS = {
    *("job_id", "state", "transport", "parameters", "request_id", "created_at", "submitted_at", "updated_at"),
    *("expected_seconds", "model", "source", "batch", "name", "image", "prompt", "notes", "video"),
    *("cost_usd", "timings", "error", "metadata", "retry"),
}


@pytest.fixture
def api(world: Any) -> Api:
    defaults = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")
    return Api(world.store, world.media, world.queue, "example-uploads", defaults, ("images/", "shop/"))


def shown(api: Api, job_id: str = "up-1") -> dict[str, Any]:
    """The body of GET /videos/{job_id}."""
    path = {"job_id": job_id}
    answer = api.respond({"httpMethod": "GET", "resource": "/videos/{job_id}", "pathParameters": path})
    return dict(json.loads(answer["body"]))


def create(api: Api, body: str | None = BODY, caller: str = "key-1", key: str | None = "order-1") -> Job:
    return api.create_video(body, caller=caller, idempotency_key=key)


def test_a_call_becomes_a_job_in_the_queue(world: Any, api: Api) -> None:
    job = create(api, '{"model": "seedance-2.0-mini", "prompt": "x", "image": "https://example.com/a.png"}')
    assert (job.job_id, job.name) == (api_job_id("key-1", "order-1"), "x")
    assert (job.state, job.source, job.folder) == (State.RECEIVED, "api", "api")
    assert (job.model, job.transport, job.expected_seconds) == ("seedance-2.0-mini", "v2", 159)
    assert job.parameters["first_frame_url"] == "https://example.com/a.png"
    assert world.job(job.job_id) == job
    assert world.postponed() == [(job.job_id, 0)]
    assert world.wire.requests == []


def test_a_seed_is_recorded_at_creation_and_a_chosen_seed_is_kept(api: Api) -> None:
    derived = create(api).parameters["seed"]
    assert derived in range(1, 1_000_000)
    assert create(api).parameters["seed"] == derived
    assert describe(create(api), None)["parameters"]["seed"] == derived
    chosen = '{"prompt": "x", "model": "seedance-2.0-mini", "parameters": {"seed": -1}}'
    assert create(api, chosen, key="order-2").parameters["seed"] == -1  # random, as requested


def test_an_image_in_the_bucket_is_checked_and_its_version_recorded(world: Any, api: Api, png: bytes) -> None:
    version = world.upload("images/a.png", png)["Records"][0]["s3"]["object"]["versionId"]
    job = create(api, '{"prompt": "x", "image_key": "images/a.png"}')
    assert job.image == {
        "bucket": "example-uploads",
        "key": "images/a.png",
        "version_id": version,
        "content_type": "image/png",
        "bytes": len(png),
        "width": 400,
        "height": 300,
    }
    assert describe(job, None)["notes"] == ["aspect_ratio is 4:3, the nearest to the image of 400 x 300 pixels."]
    assert job.parameters["aspect_ratio"] == "4:3"
    assert create(api, '{"prompt": "x", "image_key": "images/a.png"}') == job


def test_the_ratio_of_an_image_at_an_address_is_the_default_and_that_is_said(api: Api) -> None:
    job = create(api, '{"prompt": "x", "image": "https://example.com/a.png"}')
    assert job.parameters["aspect_ratio"] == "16:9"
    (note,) = describe(job, None)["notes"]
    assert note == "aspect_ratio is 16:9, the default: the size of an image at an address is not known."


@pytest.mark.parametrize("sides", [(299, 400), (300, 751)])
def test_an_image_of_an_unusual_shape_is_refused_unless_the_stack_allows_it(
    world: Any, api: Api, png: bytes, sides: tuple[int, int]
) -> None:
    world.upload("images/a.png", png[:16] + struct.pack(">II", *sides) + png[24:])
    with pytest.raises(InvalidRequest) as caught:
        create(api, '{"prompt": "x", "image_key": "images/a.png"}')
    assert caught.value.field == "image_key"
    assert "AllowUnusualImages" in caught.value.message
    permissive = replace(api, media=Media("example-videos", world.aws["s3"], any_shape=True))
    assert create(permissive, '{"prompt": "x", "image_key": "images/a.png"}').image["width"] == sides[0]


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("images/gone.png", "not in the bucket"),
        ("shop/\u0000", "not in the bucket"),
        ("images/👟", "not in the bucket"),
        ("images/../secrets", "rename it"),
        ("images/.", "rename it"),
    ],
)
def test_a_missing_image_is_refused_and_the_field_named(world: Any, api: Api, key: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        create(api, json.dumps({"prompt": "x", "image_key": key}))
    assert caught.value.field == "image_key"
    assert says in caught.value.message
    assert world.postponed() == []


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    ("cut", "says"), [(0, "is empty"), (4, "is not an image"), (30, "is cut off"), (-30, "is cut off")]
)
def test_an_unreadable_image_is_refused_and_the_field_named(
    world: Any, api: Api, png: bytes, cut: int, says: str
) -> None:
    world.upload("images/a.png", png[:cut])
    with pytest.raises(InvalidRequest) as caught:
        create(api, '{"prompt": "x", "image_key": "images/a.png"}')
    assert caught.value.field == "image_key"
    assert says in caught.value.message
    assert world.postponed() == []


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(
    "key",
    [
        *(
            "uploads/a.png",
            "plans/batch-1.jsonl",
            "batches/spring.csv",
            "a.png",
            "images",
            "image/a.png",
            "Images/a.png",
        ),
        *("/images/a.png", " images/a.png", "images\\a.png", "images%2Fa.png", "x/images/a.png", "../images/a.png"),
    ],
)
def test_an_image_key_outside_the_allowed_folders_is_refused_whether_or_not_it_exists(
    world: Any, api: Api, png: bytes, key: str, *, there: bool
) -> None:
    if there:
        world.upload(key, png)
    world.calls.clear()
    with pytest.raises(InvalidRequest) as caught:
        create(api, json.dumps({"prompt": "x", "image_key": key}))
    assert (caught.value.field, caught.value.message) == ("image_key", "must begin with one of images/, shop/")
    assert world.called("GetObject") == world.called("HeadObject") == world.postponed() == []
    assert world.store.newest(State.RECEIVED) == []


def test_an_image_key_is_found_however_its_accents_are_written(world: Any, api: Api, png: bytes) -> None:
    world.upload("images/cafe\u0301.png", png)
    job = create(api, json.dumps({"prompt": "x", "image_key": "images/caf\u00e9.png"}))
    assert job.image is not None
    assert job.image["key"] == "images/cafe\u0301.png"


def test_with_one_allowed_folder_the_refusal_names_it(world: Any, api: Api) -> None:
    with pytest.raises(InvalidRequest) as caught:
        create(replace(api, image_prefixes=("images/",)), '{"prompt": "x", "image_key": "uploads/a.png"}')
    assert str(caught.value) == "image_key: must begin with images/"


def test_a_repeated_call_is_answered_even_when_its_image_key_is_no_longer_allowed(
    world: Any, api: Api, png: bytes
) -> None:
    world.upload("shop/a.png", png)
    body = '{"prompt": "x", "image_key": "shop/a.png"}'
    first = create(api, body)
    assert create(replace(api, image_prefixes=("images/",)), body) == first


def test_a_refused_call_creates_no_job(world: Any, api: Api) -> None:
    with pytest.raises(InvalidRequest):
        create(api, '{"prompt": "x", "parameters": {"duration": 7}}')
    with pytest.raises(InvalidRequest, match="Idempotency-Key"):
        create(api, key="two words")
    assert world.store.newest(State.RECEIVED) == []


def test_a_repeated_call_is_answered_even_when_its_image_is_gone(world: Any, api: Api, png: bytes) -> None:
    uploaded = world.upload("images/a.png", png)["Records"][0]["s3"]
    body = '{"prompt": "x", "image_key": "images/a.png"}'
    first = create(api, body)
    version = uploaded["object"]["versionId"]
    world.aws["s3"].delete_object(Bucket=uploaded["bucket"]["name"], Key="images/a.png", VersionId=version)
    assert create(api, body) == first


def test_a_repeated_call_is_the_same_job_and_its_message_is_sent_again(world: Any, api: Api) -> None:
    first = create(api)
    again = create(api, '{ "prompt":"a shoe turns" }')
    assert again == first
    assert world.postponed() == [(first.job_id, 0)] * 2  # the first message may have been lost


@pytest.mark.parametrize("state", [state for state in State if state is not State.RECEIVED])
def test_a_repeated_call_returns_the_jobs_state_and_queues_nothing(
    world: Any, api: Api, make_job: Make, state: State
) -> None:
    first = create(api)
    world.put(make_job(state, job_id=first.job_id, fingerprint=first.fingerprint))
    assert create(api).state is state
    assert len(world.postponed()) == 1


@pytest.mark.hostile(kind="input", risk="paid twice")
@pytest.mark.parametrize("body", ['{"prompt": "another"}', '{"prompt": "a shoe turns", "model": "seedance-pro"}'])
def test_a_key_already_used_for_another_body_is_a_conflict(world: Any, api: Api, body: str) -> None:
    create(api)
    with pytest.raises(Conflict, match="use a new key"):
        create(api, body)
    assert len(world.postponed()) == 1


def test_two_callers_with_the_same_key_are_two_jobs(api: Api) -> None:
    assert create(api, caller="key-1").job_id != create(api, caller="key-2").job_id


def test_without_a_key_each_call_is_a_new_job(api: Api) -> None:
    assert create(api, key=None).job_id != create(api, key=None).job_id


def test_an_unknown_job_is_not_found(api: Api) -> None:
    assert shown(api, "up-nobody")["code"] == "NOT_FOUND"


@pytest.mark.parametrize("state", State)
def test_a_job_in_any_state_has_the_same_fields(world: Any, api: Api, make_job: Make, state: State) -> None:
    world.put(make_job(state, video=VIDEO))
    described = shown(api)
    assert set(described) == FIELDS
    assert described["state"] == state.value


def test_only_a_completed_job_has_a_video_with_a_fresh_link(world: Any, api: Api, make_job: Make) -> None:
    world.put(make_job(State.COMPLETED, video=VIDEO))
    video = shown(api)["video"]
    assert "X-Amz-Signature" in video["url"]
    world.put(make_job(State.COPYING, video=VIDEO))
    assert shown(api)["video"] is None


def test_times_are_readable_and_the_providers_urls_are_left_out(make_job: Make) -> None:
    described = describe(make_job(State.COPYING, created_at=0.0, submitted_at=None, updated_at=60.0), None)
    assert described["created_at"] == "1970-01-01T00:00:00+00:00"
    assert described["submitted_at"] is None
    assert "images.segmind.com" not in json.dumps(described)
