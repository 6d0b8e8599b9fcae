"""What programs do to a bucket without wanting a video: files beside the images, copies in place, empty objects."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote_plus

import httpx
import pytest
from botocore.exceptions import ClientError
from seedance.intake import AGAIN_SECONDS
from seedance.jobs.job import Job, State
from seedance.jobs.requests import Upload
from seedance.submit import Submit

pytestmark = pytest.mark.hostile(kind="input", risk=("lost", "paid twice"))

UPLOADS, KEY, MANIFEST = "example-uploads", "uploads/shoe.png", "batches/spring.csv"
Take = Callable[..., None]

LEFT_BEHIND = [
    *(".DS_Store", "._shoe.jpg", ".localized", "Icon\r", ".VolumeIcon.icns", ".apdisk"),  # macOS
    *("Thumbs.db", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "Desktop.ini"),  # Windows
    *(".directory", ".nfs000000000123abc", ".fuse_hidden0000000a", ".keep", ".gitkeep"),  # Linux
    *("shoes_$folder$", "~$prices.xlsx", ".~lock.prices.ods#"),  # Hadoop, Office, LibreOffice
    *("__MACOSX/shoe.jpg", ".AppleDouble/shoe.jpg", ".Trashes/501/shoe.jpg", ".Spotlight-V100/Store-V2/a"),
    *("$RECYCLE.BIN/S-1-5-21/shoe.jpg", "System Volume Information/IndexerVolumeGuid", ".Trash-1000/files/shoe.jpg"),
    *("@eaDir/shoe.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/shoe.jpg", ".thumbnails/large/shoe.png"),
]
IMAGES = [
    *(
        "DS_Store.jpg",
        "Thumbs.db.jpg",
        "desktop.ini.png",
        "_shoe.jpg",
        "a._b.jpg",
        ".shoe.jpg",
        "..jpg",
        "$folder$.png",
    ),
    *("Icon.png", "~shoe.jpg", "MACOSX/shoe.jpg", "thumbnails/shoe.jpg", "recycle/shoe.jpg", "eaDir/shoe.jpg"),
    *("icon", "Icon\r.png", ".nfs.jpg", "Trashes/a.jpg", "shoes_$folder$.jpg", "lock#.jpg"),
]


@pytest.fixture
def take(world: Any, submit: Submit) -> Take:
    """Process one message."""
    return lambda content: world.intake(submit).message(json.dumps(content))


@pytest.fixture
def bought(world: Any, take: Take) -> Callable[[dict[str, Any]], int]:
    """Process one message, and count the requests that it sent to the provider."""

    def count(content: dict[str, Any]) -> int:
        before = len(world.wire.requests)
        world.wire.will(httpx.Response(200, json={"request_id": f"req-{before}", "status": "QUEUED"}))
        take(content)
        sent = len(world.wire.requests) - before
        if not sent:
            world.wire.forget()
        return sent

    return count


@pytest.fixture
def bought_later(bought: Any) -> Callable[[dict[str, Any]], int]:
    """Process one message twice, as if a minute lay between: the first time, nothing may be bought."""

    def count(content: dict[str, Any]) -> int:
        assert bought(content) == 0
        return int(bought({**content, "again": True}))

    return count


def jobs(world: Any) -> list[Job]:
    return [job for state in State for job in world.store.newest(state)]


def copied(world: Any, key: str = KEY, *, source: str | None = None, **metadata: str) -> dict[str, Any]:
    """Copy an object, by default onto itself, with this metadata. Returns S3's notification."""
    answer = world.aws["s3"].copy_object(
        Bucket=UPLOADS,
        Key=key,
        CopySource={"Bucket": UPLOADS, "Key": source or key},
        Metadata=metadata,
        MetadataDirective="REPLACE",
    )
    size = world.aws["s3"].head_object(Bucket=UPLOADS, Key=key)["ContentLength"]
    thing = {"key": quote_plus(key, safe="/"), "size": size, "versionId": answer["VersionId"], "sequencer": "0067"}
    record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Copy"}
    return {"Records": [{**record, "s3": {"bucket": {"name": UPLOADS}, "object": thing}}]}


@pytest.mark.parametrize("name", LEFT_BEHIND)
@pytest.mark.parametrize("folder", ["uploads/", "uploads/spring/red/"])
def test_a_file_that_a_program_left_is_ignored(world: Any, take: Take, png: bytes, folder: str, name: str) -> None:
    take(world.upload(folder + name, png))
    assert jobs(world) == world.notified() == world.wire.requests == []
    assert Upload("b", folder + name, None, "1", 6148).is_left_behind


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_with_a_similar_name_is_none_of_them(name: str) -> None:
    assert not Upload("b", f"uploads/{name}", None, "1", 6148).is_left_behind


def test_a_shadow_of_a_manifest_starts_no_batch(world: Any, take: Take) -> None:
    take(world.upload("batches/._spring.csv", b"image,prompt\n,a\n"))
    take(world.upload("batches/.DS_Store", b"x"))
    assert world.called("StartExecution") == world.called("GetObject") == []


def test_a_new_time_is_no_new_order(world: Any, bought: Any, png: bytes) -> None:
    assert bought(world.upload(KEY, png, prompt="It turns.", mtime="1700000000")) == 1
    for moment in ("1700000001", "1700000002", "1700000003"):
        assert bought(copied(world, prompt="It turns.", mtime=moment)) == 0
    assert len(jobs(world)) == 1
    assert world.notified() == []


@pytest.mark.parametrize(
    "metadata",
    [
        {"prompt": "It falls."},
        {"prompt": "It turns.", "duration": "10"},
        {"prompt": "It turns.", "model": "seedance-pro"},
        {"prompt": "It turns.", "video-ratio": "16:9"},
        {},
    ],
    ids=str,
)
def test_a_changed_option_is_a_new_order(world: Any, bought: Any, png: bytes, metadata: dict[str, str]) -> None:
    assert bought(world.upload(KEY, png, prompt="It turns.")) == 1
    assert bought(copied(world, mtime="1", **metadata)) == 1
    assert bought(copied(world, mtime="2", **metadata)) == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"prompt": "The camera moves slowly."}),  # the stack's default
        ({"prompt": "It turns."}, {"video-prompt": "It turns."}),
        ({"duration": "5"}, {"duration": " 5 "}),
        ({"sku": "A-1"}, {"sku": "A-2", "owner": "me"}),
        ({"metadata": '{"sku": "A-1"}'}, {"metadata-seed": "5"}),
        ({"make": "Apple", "model": "iPhone 14 Pro"}, {}),
        ({"model": ""}, {}),
    ],
    ids=str,
)
def test_other_words_for_the_same_options_are_no_new_order(
    *, world: Any, bought: Any, png: bytes, before: dict[str, str], after: dict[str, str]
) -> None:
    assert bought(world.upload(KEY, png, **before)) == 1
    assert bought(copied(world, mtime="1", **after)) == 0


def test_a_corrected_option_is_an_order(world: Any, bought: Any, png: bytes) -> None:
    assert bought(world.upload(KEY, png, promt="It turns.")) == 0
    assert bought(copied(world, promt="It turns.", mtime="1")) == 0
    assert [job.state for job in jobs(world)] == [State.REJECTED]
    assert bought(copied(world, prompt="It turns.", mtime="2")) == 1
    assert bought(copied(world, mtime="3")) == 1


def test_a_new_file_is_an_order_whatever_its_content(world: Any, bought: Any, png: bytes) -> None:
    """Only a copy can be somebody's touch; who uploads the same file again wants another video."""
    assert [bought(world.upload(KEY, png)) for _ in range(2)] == [1, 1]


def test_a_renamed_file_is_a_new_upload(world: Any, bought: Any, bought_later: Any, png: bytes) -> None:
    assert bought(world.upload(KEY, png)) == 1
    assert bought_later(copied(world, "uploads/boot.png", source=KEY)) == 1
    world.aws["s3"].delete_object(Bucket=UPLOADS, Key=KEY)
    assert bought(copied(world, "uploads/boot.png", mtime="2")) == 0


def test_a_copy_of_another_image_is_an_order(world: Any, bought: Any, bought_later: Any, png: bytes) -> None:
    assert bought(world.upload(KEY, png)) == 1
    world.upload("images/other.png", png[:-1] + b"?")
    assert bought_later(copied(world, source="images/other.png")) == 1


def test_a_key_that_begins_like_it_is_another_object(world: Any, bought: Any, bought_later: Any, png: bytes) -> None:
    assert bought(world.upload("uploads/shoe", png)) == 1
    for number in range(3):
        world.upload(f"uploads/shoe-{number}", png)
    assert bought(copied(world, "uploads/shoe", mtime="1")) == 0
    assert bought_later(copied(world, "uploads/shoe-9", source="uploads/shoe")) == 1


# s3cmd does not upload a picture that it has just uploaded under another name: it copies it. If it then can't copy the
# ACL, because the bucket has none, it uploads the picture after all.


@pytest.mark.parametrize("late", [False, True])
def test_a_copy_that_is_uploaded_after_all_is_one_order(world: Any, bought: Any, png: bytes, late: bool) -> None:
    assert bought(world.upload(KEY, png)) == 1
    copy = copied(world, "uploads/boot.png", source=KEY, **{"s3cmd-attrs": "mtime:1"})
    upload = world.upload("uploads/boot.png", png, **{"s3cmd-attrs": "mtime:2"})
    events = [upload, copy] if late else [copy, upload]
    assert sum(bought(event) for event in events) == 1
    assert bought({**copy, "again": True}) == 0
    assert [delay for _, delay in later(world)] == [AGAIN_SECONDS]
    assert len(jobs(world)) == 2


@pytest.mark.parametrize("then", ["another picture", "another prompt"])
def test_a_copy_and_then_another_upload_are_two_orders(*, world: Any, bought: Any, png: bytes, then: str) -> None:
    world.upload("images/a.png", png)
    copy = copied(world, source="images/a.png")
    assert bought(copy) == 0
    upload = (png[:-1] + b"?", {}) if then == "another picture" else (png, {"prompt": "It falls."})
    assert bought(world.upload(KEY, upload[0], **upload[1])) == 1
    assert bought({**copy, "again": True}) == 1


def test_a_copy_that_is_then_touched_is_an_order(world: Any, bought: Any, png: bytes) -> None:
    world.upload("images/a.png", png)
    copy = copied(world, source="images/a.png")
    assert bought(copy) == 0
    assert bought(copied(world, mtime="1")) == 0
    assert bought({**copy, "again": True}) == 1


def test_the_second_look_may_be_repeated(world: Any, bought: Any, png: bytes) -> None:
    world.upload("images/a.png", png)
    copy = copied(world, source="images/a.png")
    again = {**copy, "again": True}
    assert [bought(event) for event in (copy, again, again)] == [0, 1, 0]
    assert bought(world.upload(KEY, png)) == 1  # long after it
    assert bought(again) == 0
    assert len(jobs(world)) == 2


def test_the_content_decides_where_the_etags_differ(
    world: Any, bought: Any, bought_later: Any, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload in parts has another ETag than its copy, and so has each object that is encrypted with a KMS key."""
    listed = world.aws["s3"].list_object_versions

    def otherwise(**asked: Any) -> Any:
        answer = listed(**asked)
        for one in answer["Versions"]:
            one["ETag"] = one["VersionId"]
        return answer

    monkeypatch.setattr(world.aws["s3"], "list_object_versions", otherwise)
    assert bought(world.upload(KEY, png)) == 1
    assert bought(copied(world, mtime="1")) == 0
    assert bought(world.upload(KEY, png[:-1] + b"?")) == 1
    world.upload("images/old.png", png)
    assert bought_later(copied(world, source="images/old.png")) == 1


@pytest.mark.parametrize("code", ["NoSuchKey", "404", "InvalidObjectState"])
def test_a_version_that_cant_be_read_any_more_proves_nothing(
    *, world: Any, bought: Any, bought_later: Any, png: bytes, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    assert bought(world.upload(KEY, png)) == 1
    event = copied(world, mtime="1")

    def gone(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "HeadObject")

    monkeypatch.setattr(world.aws["s3"], "head_object", gone)
    assert bought_later(event) == 1


def test_without_permission_nothing_is_decided(
    world: Any, take: Take, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.upload(KEY, png)
    event = copied(world, mtime="1")

    def forbidden(**_: Any) -> Iterator[Any]:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectVersions")

    monkeypatch.setattr(world.aws["s3"], "list_object_versions", forbidden)
    with pytest.raises(ClientError):
        take(event)


def test_a_late_event_is_compared_with_the_version_before_its_own(world: Any, bought: Any, png: bytes) -> None:
    assert bought(world.upload(KEY, png)) == 1
    touched, changed = copied(world, mtime="1"), copied(world, prompt="It falls.")
    assert [bought(changed), bought(touched), bought(changed)] == [1, 0, 0]


def test_an_object_without_a_version_is_an_order(world: Any, bought_later: Any, png: bytes) -> None:
    world.upload(KEY, png)
    event = copied(world, mtime="1")
    del event["Records"][0]["s3"]["object"]["versionId"]
    assert bought_later(event) == 1


def test_a_manifest_that_was_touched_starts_no_second_batch(world: Any, take: Take) -> None:
    take(world.upload(MANIFEST, b"image,prompt\n,a\n"))
    take(copied(world, MANIFEST, mtime="1"))
    assert len(world.called("StartExecution")) == 1
    take(copied(world, "batches/summer.csv", source=MANIFEST))
    take(world.upload(MANIFEST, b"image,prompt\n,a\n"))
    assert len(world.called("StartExecution")) == 3


@pytest.mark.parametrize(
    ("before", "after", "batches"), [("a-2", "b", 1), ("a", "b-3", 1), ("a-2", "b-2", 1), ("a", "b", 2)]
)
def test_a_manifest_in_parts_is_known_by_its_size(
    *, world: Any, take: Take, monkeypatch: pytest.MonkeyPatch, before: str, after: str, batches: int
) -> None:
    """Submit may not read manifests. A copy has another ETag than an upload in parts."""
    listed = world.aws["s3"].list_object_versions

    def in_parts(**asked: Any) -> Any:
        answer = listed(**asked)
        for one, tag in zip(answer["Versions"], (after, before), strict=True):
            one["ETag"] = tag
        return answer

    monkeypatch.setattr(world.aws["s3"], "list_object_versions", in_parts)
    take(world.upload(MANIFEST, b"image,prompt\n,a\n"))
    take(copied(world, MANIFEST, mtime="1"))
    assert len(world.called("StartExecution")) == batches
    assert world.called("GetObject") == []


def later(world: Any) -> list[tuple[dict[str, Any], int]]:
    """The messages that were put back, each with its delay."""
    return [(json.loads(call["MessageBody"]), call["DelaySeconds"]) for call in world.called("SendMessage")]


def test_an_empty_object_is_looked_at_again_a_minute_later(world: Any, take: Take) -> None:
    event = world.upload(KEY, b"")
    take(event)
    assert jobs(world) == []
    assert later(world) == [({**event, "again": True}, AGAIN_SECONDS)]
    take({**event, "again": True})
    (found,) = jobs(world)
    job = world.job(found.job_id)
    assert (job.state, job.error["message"]) == (State.REJECTED, f"image: {KEY} is empty")
    assert len(world.notified()) == len(later(world)) == 1


@pytest.mark.parametrize("then", ["its content", "another empty object", "nothing"])
def test_an_empty_object_that_was_replaced_or_deleted_is_dropped(
    *, world: Any, take: Take, png: bytes, then: str
) -> None:
    event = world.upload(KEY, b"")
    take(event)
    if then == "nothing":
        world.aws["s3"].delete_object(Bucket=UPLOADS, Key=KEY)
    else:
        world.upload(KEY, png if then == "its content" else b"")
    take({**event, "again": True})
    assert jobs(world) == world.notified() == []


def test_an_empty_object_beside_an_image_does_not_delay_it(world: Any, bought: Any, png: bytes) -> None:
    records = [*world.upload("uploads/a.png", b"")["Records"], *world.upload("uploads/b.png", png)["Records"]]
    assert bought({"Records": records}) == 1
    assert [delay for _, delay in later(world)] == [AGAIN_SECONDS]
    world.aws["s3"].delete_object(Bucket=UPLOADS, Key="uploads/a.png")
    assert bought({"Records": records, "again": True}) == 0
    assert [job.name for job in jobs(world)] == ["b"]


def test_in_a_bucket_without_versions_an_empty_object_is_dropped_once_it_has_content(
    world: Any, take: Take, png: bytes
) -> None:
    world.aws["s3"].put_bucket_versioning(Bucket=UPLOADS, VersioningConfiguration={"Status": "Suspended"})
    world.aws["s3"].put_object(Bucket=UPLOADS, Key=KEY, Body=png)
    record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}
    thing = {"key": KEY, "size": 0, "versionId": "null", "sequencer": "1"}
    event = {"Records": [{**record, "s3": {"bucket": {"name": UPLOADS}, "object": thing}}], "again": True}
    take(event)
    assert jobs(world) == []
    world.aws["s3"].put_object(Bucket=UPLOADS, Key=KEY, Body=b"")
    take(event)
    assert [job.state for job in jobs(world)] == [State.REJECTED]


def test_other_errors_of_the_second_look_are_no_decision(
    world: Any, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = world.upload(KEY, b"")

    def forbidden(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "403", "Message": "no"}}, "HeadObject")

    monkeypatch.setattr(world.aws["s3"], "head_object", forbidden)
    with pytest.raises(ClientError):
        take({**event, "again": True})
