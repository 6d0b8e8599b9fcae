"""What the commands do to a stack: AWS is moto, and a wire stands in for the API."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from seedance.errors import InvalidRequest
from seedance.jobs.job import Job, State, upload_job_id

from cli import actions, images
from cli.requests import Wish
from cli.target import CommandError, Target, UsageError

UPLOADS, VIDEOS = "uploads-of-cli", "videos-of-cli"
API = "https://api.example/v1"


@pytest.fixture
def target(world: Any, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A stack on AWS, which is moto."""
    s3 = world.aws["s3"]
    for bucket in (UPLOADS, VIDEOS):
        where = {"LocationConstraint": s3.meta.region_name}
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    s3.put_bucket_versioning(Bucket=UPLOADS, VersioningConfiguration={"Status": "Enabled"})
    made = Target({"UploadBucketName": UPLOADS, "ApiUrl": API, "ApiKeyId": "id"})
    monkeypatch.setattr(Target, "client", lambda _, service, _patience=None: world.aws[service])
    made.__dict__["_settings"] = {"DefaultModel": "seedance-1.0-pro-fast", "DefaultPrompt": "It turns."}
    made.__dict__["api_key"] = "key-of-the-api"
    line = httpx.MockTransport(world.wire)
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda _, request: line.handle_request(request))
    return made


@pytest.fixture
def image(tmp_path: Path, png: bytes) -> Path:
    file = tmp_path / "red shoe.png"
    file.write_bytes(png)
    return file


def accepted() -> httpx.Response:
    return httpx.Response(202, json={"job_id": "api-1", "state": "RECEIVED"})


def test_a_dropped_image_is_put_where_the_pipeline_looks(world: Any, target: Target, image: Path) -> None:
    job_id = actions.drop(target, images.look(image), Wish(prompt="größer", parameters={"duration": "5"}))

    stored = world.aws["s3"].head_object(Bucket=UPLOADS, Key="uploads/red shoe.png")
    assert stored["ContentType"] == "image/png"
    assert stored["Metadata"] == {"prompt": "=?utf-8?b?Z3LDtsOfZXI=?=", "duration": "5"}
    assert job_id == upload_job_id(UPLOADS, "uploads/red shoe.png", stored["VersionId"])


def test_an_unversioned_bucket_gives_no_job_id(world: Any, target: Target, image: Path) -> None:
    target.outputs["UploadBucketName"] = VIDEOS
    with pytest.raises(CommandError, match="is not versioned"):
        actions.drop(target, images.look(image), Wish())


def test_a_call_has_key_and_body(world: Any, target: Target) -> None:
    world.wire.will(accepted())
    assert actions.submit(target, Wish(prompt="turn"), None, "once") == "api-1"
    request = world.wire.requests[0]
    assert str(request.url) == f"{API}/videos"
    assert request.headers["x-api-key"] == "key-of-the-api"
    assert request.headers["idempotency-key"] == "once"
    assert world.wire.body() == {"prompt": "turn"}


def test_a_call_with_a_url_passes_it_on(world: Any, target: Target) -> None:
    world.wire.will(accepted())
    actions.submit(target, Wish(prompt="turn"), "https://shop.example/shoe.jpg", None)
    assert world.wire.body()["image"] == "https://shop.example/shoe.jpg"


@pytest.mark.parametrize("key", ["é", "two words", "a\nb", "x" * 256])
def test_an_idempotency_key_that_does_not_fit_into_a_header_is_refused(
    world: Any, target: Target, image: Path, key: str
) -> None:
    with pytest.raises(UsageError, match="visible ASCII"):
        actions.submit(target, Wish(prompt="turn"), str(image), key)
    assert world.called("PutObject") == []


def test_a_file_is_put_under_a_prefix_that_calls_may_use_by_default(template: dict[str, Any]) -> None:
    assert template["Parameters"]["ImageKeyPrefixes"]["Default"].split(",") == [actions.API_IMAGES_PREFIX]


def test_a_call_with_a_file_puts_it_where_it_triggers_no_second_job(world: Any, target: Target, image: Path) -> None:
    world.wire.will(accepted())
    actions.submit(target, Wish(prompt="turn"), str(image), None)
    key = world.wire.body()["image_key"]
    assert re.fullmatch("images/[0-9a-f]{12}/red shoe.png", key)
    assert world.aws["s3"].get_object(Bucket=UPLOADS, Key=key)["Body"].read() == image.read_bytes()


def test_images_of_one_name_do_not_overwrite_each_other(world: Any, target: Target, tmp_path: Path, png: bytes) -> None:
    keys = []
    for content in (png, png + b"\x00", png):
        (tmp_path / "red.png").write_bytes(content)
        world.wire.will(accepted())
        actions.submit(target, Wish(prompt="turn"), str(tmp_path / "red.png"), None)
        keys.append(world.wire.body()["image_key"])
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.parametrize("address", ["ftp://shop.example/a.jpg", "gs://shop/a.jpg", "file:///tmp/a.jpg"])
def test_an_address_of_another_kind_is_refused_as_it_was_given(target: Target, address: str) -> None:
    with pytest.raises(InvalidRequest, match=f"must be a file, an http or https address, .* not '{address}'"):
        actions.submit(target, Wish(prompt="turn"), address, None)


def test_an_object_of_the_upload_bucket_is_named_and_not_copied(world: Any, target: Target) -> None:
    world.wire.will(accepted())
    actions.submit(target, Wish(prompt="turn"), f"s3://{UPLOADS}/images/shop/red.png", None)
    assert world.wire.body()["image_key"] == "images/shop/red.png"
    assert not world.called("CopyObject")


@pytest.mark.parametrize(("bucket", "key"), [(VIDEOS, "shop/red.png"), (UPLOADS, "uploads/red.png")])
def test_an_object_that_calls_may_not_use_is_copied_where_they_may(
    world: Any, target: Target, png: bytes, bucket: str, key: str
) -> None:
    world.aws["s3"].put_object(Bucket=bucket, Key=key, Body=png, ContentType="image/png")
    world.wire.will(accepted())
    actions.submit(target, Wish(prompt="turn"), f"s3://{bucket}/{key}", None)
    made = world.wire.body()["image_key"]
    assert re.fullmatch("images/[0-9a-f]{12}/red.png", made)
    copied = world.aws["s3"].get_object(Bucket=UPLOADS, Key=made)
    assert (copied["Body"].read(), copied["ContentType"]) == (png, "image/png")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("s3://", "must be s3://BUCKET/KEY"),
        (f"s3://{VIDEOS}", "must be s3://BUCKET/KEY"),
        (f"s3://{VIDEOS}/folder/", "must be s3://BUCKET/KEY"),
        (f"s3://{VIDEOS}/none.png", f"can't read s3://{VIDEOS}/none.png"),
        ("s3://not-ours/a.png", "can't read s3://not-ours/a.png"),
        (f"s3://{VIDEOS}/big.png", "at most 0 MB are allowed"),
    ],
)
def test_an_object_that_can_not_be_used_is_refused(
    world: Any, target: Target, address: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions.formats, "MAX_IMAGE_BYTES", 10)
    world.aws["s3"].put_object(Bucket=VIDEOS, Key="big.png", Body=b"x" * 11)
    with pytest.raises(CommandError, match=re.escape(says)):
        actions.submit(target, Wish(prompt="turn"), address, None)
    assert not world.wire.requests
    assert not world.called("CopyObject")


@pytest.mark.parametrize("image", [None, "https://shop.example/a.jpg", f"s3://{VIDEOS}/a.png", "FILE"])
def test_a_call_that_the_stack_would_refuse_is_not_made(
    world: Any, target: Target, image: str | None, tmp_path: Path, png: bytes
) -> None:
    (tmp_path / "a.png").write_bytes(png)
    wish = Wish(prompt="turn", parameters={"duration": "4"})  # not for the stack's default model
    with pytest.raises(InvalidRequest, match="must be 5 or 10"):
        actions.submit(target, wish, str(tmp_path / "a.png") if image == "FILE" else image, None)
    assert not world.called("PutObject")
    assert not world.called("CopyObject")
    assert not world.wire.requests


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.Response(422, json={"error": {"field": "duration", "message": "must be 5 or 10"}}), "must be 5 or 10"),
        (httpx.Response(403, json={"message": "Forbidden"}), "Forbidden"),
        (httpx.Response(409, json={"detail": "used before", "error": {"message": "old"}}), "used before"),
        (httpx.Response(502, text="<html>bad gateway"), "<html>bad gateway"),
        (httpx.Response(500, json=["odd"]), "odd"),
    ],
)
def test_a_refusal_shows_the_apis_message(world: Any, target: Target, answer: httpx.Response, says: str) -> None:
    world.wire.will(answer)
    with pytest.raises(CommandError, match=rf"the API returned {answer.status_code}: .*{says}"):
        actions.submit(target, Wish(prompt="turn"), None, None)


@pytest.fixture
def finished(world: Any, target: Target, make_job: Callable[..., Job]) -> Job:
    content = b"the video"
    world.aws["s3"].put_object(Bucket=VIDEOS, Key="videos/v.mp4", Body=content)
    video = {"bucket": VIDEOS, "key": "videos/v.mp4", "bytes": len(content)}
    return make_job(State.COMPLETED, video=video | {"sha256": hashlib.sha256(content).hexdigest()})


def test_a_video_is_downloaded_completely(target: Target, finished: Job, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert actions.fetch(target, finished, tmp_path / "out" / "v.mp4") == 9
    assert [(p.name, p.read_bytes()) for p in (tmp_path / "out").iterdir()] == [("v.mp4", b"the video")]


def test_a_download_that_differs_from_the_stored_video_is_deleted(
    target: Target, finished: Job, tmp_path: Path
) -> None:
    assert finished.video
    finished.video["sha256"] = "0" * 64
    (tmp_path / "v.mp4").write_bytes(b"an older one")
    with pytest.raises(CommandError, match="SHA-256 differs"):
        actions.fetch(target, finished, tmp_path / "v.mp4", force=True)
    assert (tmp_path / "v.mp4").read_bytes() == b"an older one"
    assert not (tmp_path / ".v.mp4.part").exists()


def test_there_is_no_video_before_the_job_is_completed(
    target: Target, make_job: Callable[..., Job], tmp_path: Path
) -> None:
    failed = make_job(State.FAILED, error={"code": "X", "message": "blocked"})
    with pytest.raises(CommandError, match="has no video: it is FAILED: blocked"):
        actions.fetch(target, failed, tmp_path / "v.mp4")


def test_a_missing_folder_is_named(target: Target, finished: Job, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"the folder .*nowhere does not exist"):
        actions.fetch(target, finished, tmp_path / "nowhere" / "v.mp4")


def test_a_file_is_never_overwritten_without_force(target: Target, finished: Job, tmp_path: Path) -> None:
    file = tmp_path / "v.mp4"
    file.write_bytes(b"mine")
    with pytest.raises(CommandError, match=r"v\.mp4 exists; --force overwrites it"):
        actions.fetch(target, finished, file)
    assert file.read_bytes() == b"mine"
    assert actions.fetch(target, finished, file, force=True) == 9
    assert file.read_bytes() == b"the video"


def test_a_file_that_appears_during_the_download_is_not_overwritten(
    target: Target, finished: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pour = actions.pour

    def slow(*args: Any) -> int:
        (tmp_path / "v.mp4").write_bytes(b"mine")
        return pour(*args)

    monkeypatch.setattr(actions, "pour", slow)
    with pytest.raises(CommandError, match="exists"):
        actions.fetch(target, finished, tmp_path / "v.mp4")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("v.mp4", b"mine")]


@pytest.mark.parametrize(("content", "there"), [(b"the video", True), (b"the vide0", False), (b"shorter", False)])
def test_a_file_is_the_video_only_if_every_byte_is(finished: Job, tmp_path: Path, content: bytes, there: bool) -> None:
    (tmp_path / "v.mp4").write_bytes(content)
    assert actions.is_there(finished, tmp_path / "v.mp4") is there
    assert not actions.is_there(finished, tmp_path / "none.mp4")
