"""The buckets: checking uploads, signed links, and videos that are stored completely or not at all."""

import base64
import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from botocore.exceptions import ClientError, IncompleteReadError
from botocore.response import StreamingBody
from seedance.aws import upload
from seedance.aws.upload import PART_BYTES
from seedance.config import settings
from seedance.errors import InvalidRequest, NotAVideo, SourceUnavailable
from seedance.media import buckets as media_module
from seedance.media.buckets import IMAGE_LINK_SECONDS, VIDEO_LINK_SECONDS, Media
from seedance.media.formats import MAX_IMAGE_BYTES

UPLOADS, VIDEOS, KEY = "example-uploads", "example-videos", "videos/shoe/up-1.mp4"
MIB = 1024 * 1024


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of the smallest size that S3, and moto, accept."""
    monkeypatch.setattr(upload, "PART_BYTES", 5 * MIB)


def put(world: Any, key: str, body: bytes, **options: Any) -> str:
    return str(world.aws["s3"].put_object(Bucket=UPLOADS, Key=key, Body=body, **options)["VersionId"])


def refusal(world: Any, key: str, version: str | None = None) -> str:
    with pytest.raises(InvalidRequest) as caught:
        world.media.look_at(UPLOADS, key, version)
    assert caught.value.field == "image"
    return caught.value.message


NFC, NFD = "images/caf\u00e9.png", "images/cafe\u0301.png"


@pytest.mark.parametrize(("stored", "asked"), [(NFC, NFD), (NFD, NFC), (NFC, NFC), (NFD, NFD)])
def test_an_image_is_found_however_its_accents_are_written(world: Any, png: bytes, stored: str, asked: str) -> None:
    version = put(world, stored, png)
    found = world.media.find_image(UPLOADS, asked)
    assert (found.facts["key"], found.facts["version_id"]) == (stored, version)


def test_the_key_as_given_is_tried_first(world: Any, png: bytes) -> None:
    for key in (NFC, NFD):
        put(world, key, png)
    assert [world.media.find_image(UPLOADS, key).key for key in (NFC, NFD)] == [NFC, NFD]


def test_an_image_that_is_missing_in_every_spelling_is_refused_as_it_was_given(world: Any) -> None:
    for key, looks in ((NFC, 2), (NFD, 2), ("images/a.png", 1), ("images/" + "\u00e9" * 500, 1)):
        world.calls.clear()
        with pytest.raises(InvalidRequest, match=f"{key} is not in the bucket"):
            world.media.find_image(UPLOADS, key)
        assert len(world.called("GetObject")) == looks


def test_another_spelling_is_only_tried_under_an_allowed_prefix(world: Any, png: bytes) -> None:
    put(world, "caf\u00e9/a.png", png)
    with pytest.raises(InvalidRequest, match="is not in the bucket"):
        world.media.find_image(UPLOADS, "cafe\u0301/a.png", ("cafe\u0301/",))


def test_an_invalid_image_under_another_spelling_is_refused_for_what_is_wrong_with_it(world: Any) -> None:
    put(world, NFD, b"prose")
    with pytest.raises(InvalidRequest, match="is not an image by its content"):
        world.media.find_image(UPLOADS, NFC)
    put(world, NFC, b"")
    with pytest.raises(InvalidRequest, match="is empty"):
        world.media.find_image(UPLOADS, NFC)


def long_movie(mp4: bytes, size: int) -> bytes:
    """The movie, followed by a box of free space, in ``size`` bytes."""
    return mp4 + (size - len(mp4)).to_bytes(4, "big") + b"free" + bytes(size - len(mp4) - 8)


def chunks(body: bytes, step: int = 256 * 1024, *, then: Exception | None = None) -> Iterator[bytes]:
    for start in range(0, len(body), step):
        yield body[start : start + step]
    if then:
        raise then


def store(world: Any, source: Iterator[bytes], name: str = "shoe") -> Any:
    return world.media.store_video(source, KEY, name=name, metadata={"job-id": "up-1"})


def parts_left(world: Any) -> int:
    return len(world.aws["s3"].list_multipart_uploads(Bucket=VIDEOS).get("Uploads", []))


def test_an_image_is_checked_whatever_its_name(world: Any, png: bytes) -> None:
    version = put(world, "uploads/a.txt", png.ljust(100_000, b"\0"), Metadata={"Prompt": "x"}, ContentType="text/plain")
    image = world.media.look_at(UPLOADS, "uploads/a.txt", version)
    assert (image.bucket, image.key, image.version_id) == (UPLOADS, "uploads/a.txt", version)
    assert (image.picture.media_type, image.size, image.metadata) == ("image/png", 100_000, {"prompt": "x"})
    assert (image.picture.width, image.picture.height) == (400, 300)
    assert len(world.called("GetObject")) == 1


def test_the_checked_version_is_the_recorded_one(world: Any, png: bytes) -> None:
    version = put(world, "uploads/a.png", png)
    looked_at = world.media.look_at(UPLOADS, "uploads/a.png", None)
    put(world, "uploads/a.png", b"GIF89a, uploaded over it")
    assert looked_at.version_id == version
    assert world.media.look_at(UPLOADS, "uploads/a.png", version).picture.media_type == "image/png"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "uploads/x is empty"),
        (b"BMW makes cars", "is not an image by its content; it must be JPEG, PNG or WebP"),
        (b"<svg/>", "is not an image by its content"),
        (b"%PDF-1.7", "is not an image by its content"),
        (b'{"image": "a.png"}', "is not an image by its content"),
        (b"\x89PNG\r\n\x1a\n", "uploads/x is cut off: it ends in the middle of the image"),
        (b"GIF89a\0\0\1\0\0\0\0;", "uploads/x is in GIF format; convert it to JPEG, PNG or WebP"),
    ],
)
def test_a_file_that_is_not_an_image_is_refused_with_a_clear_message(world: Any, body: bytes, words: str) -> None:
    put(world, "uploads/x", body)
    assert words in refusal(world, "uploads/x")


@pytest.mark.parametrize(("limit", "taken"), [(2000, True), (1999, False)])
def test_a_large_image_is_refused(
    world: Any, png: bytes, monkeypatch: pytest.MonkeyPatch, limit: int, taken: bool
) -> None:
    assert MAX_IMAGE_BYTES == 30 * MIB
    monkeypatch.setattr(media_module, "MAX_IMAGE_BYTES", limit)
    put(world, "uploads/x", png.ljust(2000, b"\0"))
    if taken:
        assert world.media.look_at(UPLOADS, "uploads/x", None).size == 2000
    else:
        assert "2,000 bytes" in refusal(world, "uploads/x")


def test_a_truncated_image_is_refused(world: Any, png: bytes) -> None:
    put(world, "uploads/x", png[:-30])
    assert refusal(world, "uploads/x") == "uploads/x is cut off: it ends in the middle of the image; upload it again"


def test_an_image_without_its_end_marker_is_read_again_in_the_same_version(world: Any, png: bytes) -> None:
    version = put(world, "uploads/x", png[:-12])
    image = world.media.look_at(UPLOADS, "uploads/x", None)
    assert (image.picture.ended, image.version_id) == (False, version)
    assert [call.get("VersionId") for call in world.called("GetObject")] == [None, version]


def test_an_image_that_is_gone_when_it_is_read_again_is_refused(world: Any, png: bytes) -> None:
    version = put(world, "uploads/x", png[:-12])
    get, calls = world.aws["s3"].get_object, []

    def once(**where: Any) -> Any:
        calls.append(where)
        if len(calls) == 2:
            world.aws["s3"].delete_object(Bucket=UPLOADS, Key="uploads/x", VersionId=version)
        return get(**where)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.aws["s3"], "get_object", once)
        assert "not in the bucket" in refusal(world, "uploads/x")


@pytest.mark.parametrize(("orientation", "shown"), [(1, None), (6, "303x333"), (8, "303x333")])
def test_a_turned_image_has_both_sizes_in_its_facts(
    world: Any, root: Path, orientation: int, shown: str | None
) -> None:
    jpeg = (root / "tests/unit/pictures/baseline.jpg").read_bytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1" + bytes([0, orientation]) + bytes(6)
    put(world, "uploads/x", jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif + jpeg[2:])
    facts = world.media.look_at(UPLOADS, "uploads/x", None).facts
    assert (facts["width"], facts["height"], facts.get("shown")) == (333, 303, shown)


@pytest.mark.parametrize(("sides", "words"), [((299, 299), "at least 300"), ((300, 751), "0.4 to 2.5 times")])
def test_an_unusual_shape_is_refused_unless_the_stack_allows_it(
    world: Any, png: bytes, sides: tuple[int, int], words: str
) -> None:
    put(world, "uploads/x", png[:16] + struct.pack(">II", *sides) + png[24:])
    assert words in refusal(world, "uploads/x")
    permissive = Media(VIDEOS, world.aws["s3"], any_shape=True)
    assert permissive.look_at(UPLOADS, "uploads/x", None).picture.shown == sides


def test_the_stacks_parameter_allows_unusual_shapes(wired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert media_module.media()._any_shape is False
    monkeypatch.setenv("ALLOW_UNUSUAL_IMAGES", "yes")
    settings.cache_clear()
    media_module.media.cache_clear()
    assert media_module.media()._any_shape is True


def test_a_broken_connection_does_not_reject_the_image(png: bytes) -> None:
    answer = {"Body": StreamingBody(io.BytesIO(png[:40]), len(png)), "ContentLength": len(png)}
    s3: Any = SimpleNamespace(get_object=lambda **_: answer)
    with pytest.raises(IncompleteReadError):
        Media(VIDEOS, s3).look_at(UPLOADS, "uploads/x", None)


def test_an_image_that_decodes_to_a_huge_one_is_refused(world: Any, png: bytes) -> None:
    put(world, "uploads/x", png[:16] + b"\0\0\xea\x60" * 2 + png[24:])
    assert refusal(world, "uploads/x") == (
        "uploads/x is 60,000 x 60,000 pixels; at most 178,956,970 pixels in total are allowed"
    )


def test_a_missing_image_is_refused(world: Any, png: bytes) -> None:
    assert "not in the bucket" in refusal(world, "uploads/never")
    version = put(world, "uploads/x", png)
    world.aws["s3"].delete_object(Bucket=UPLOADS, Key="uploads/x")
    assert "not in the bucket" in refusal(world, "uploads/x")
    assert world.media.look_at(UPLOADS, "uploads/x", version).picture.media_type == "image/png"
    world.aws["s3"].delete_object(Bucket=UPLOADS, Key="uploads/x", VersionId=version)
    assert "not in the bucket" in refusal(world, "uploads/x", version)
    with pytest.raises(InvalidRequest, match="not in the bucket"):
        world.media.image_base64({"bucket": UPLOADS, "key": "uploads/x", "version_id": version})


def test_a_missing_bucket_is_our_own_error(world: Any) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        world.media.look_at("no-such-bucket-here", "x", None)


def test_an_archived_image_is_refused_until_restored(world: Any, png: bytes) -> None:
    put(world, "uploads/a.png", png, StorageClass="GLACIER")
    assert "uploads/a.png is archived" in refusal(world, "uploads/a.png")


KMS = "User: arn:aws:sts::1:assumed-role/x is not authorized to perform: kms:Decrypt on the resource associated with it"
SSE_C = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided."


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        ("AccessDenied", KMS, "KMS key that the pipeline may not use"),
        ("AccessDenied", "The ciphertext refers to a customer master key that does not exist", "KMS key"),
        ("KMS.DisabledException", "x is disabled", "KMS key"),
        ("KMS.NotFoundException", "no such key", "KMS key"),
        ("KMS.KMSInvalidStateException", "x is pending deletion", "KMS key"),
        ("InvalidRequest", SSE_C, "SSE-C"),
        ("InvalidObjectState", "The operation is not valid for the object's storage class", "archived"),
        ("NoSuchVersion", "x", "not in the bucket"),
    ],
)
def test_an_unreadable_object_is_refused_with_a_clear_message(code: str, message: str, words: str) -> None:
    error = ClientError({"Error": {"Code": code, "Message": message}}, "GetObject")
    refused = media_module.refusal(error, "image", "uploads/a.png")
    assert isinstance(refused, InvalidRequest)
    assert words in refused.message


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDenied", "Access Denied"),
        ("AccessDenied", "User: x is not authorized to perform: s3:GetObject on resource: y"),
        ("InvalidRequest", "Missing required header"),
        ("SlowDown", "x"),
        ("NoSuchBucket", "x"),
        ("InternalError", "x"),
    ],
)
def test_an_error_that_may_be_ours_rejects_no_image(code: str, message: str) -> None:
    error = ClientError({"Error": {"Code": code, "Message": message}}, "GetObject")
    assert media_module.refusal(error, "image", "uploads/a.png") is error


def test_an_image_as_base64_is_the_recorded_version(world: Any, png: bytes) -> None:
    version = put(world, "uploads/x", png)
    put(world, "uploads/x", b"another")
    encoded = world.media.image_base64({"bucket": UPLOADS, "key": "uploads/x", "version_id": version})
    assert base64.b64decode(encoded) == png


def test_a_link_to_an_image_is_signed_for_its_version_and_contains_the_job_id(world: Any) -> None:
    image = {"bucket": UPLOADS, "key": "uploads/red shoe+1é.png", "version_id": "v-1", "content_type": "image/png"}
    parts = urlsplit(world.media.image_link(image, "up-1"))
    query = {name: value for name, (value,) in parse_qs(parts.query).items()}
    assert parts.scheme == "https"
    assert unquote(parts.path).endswith("uploads/red shoe+1é.png")
    assert query["versionId"] == "v-1"
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert "/eu-central-1/s3/aws4_request" in query["X-Amz-Credential"]
    assert query["X-Amz-Expires"] == str(IMAGE_LINK_SECONDS) == "7200"
    assert query["response-content-type"] == "image/png"
    assert query["response-content-disposition"] == 'inline; filename="up-1"'


@pytest.mark.parametrize("version", [None, ""])
def test_a_link_to_an_unversioned_image_names_no_version(world: Any, version: str | None) -> None:
    image = {"bucket": UPLOADS, "key": "uploads/x", "version_id": version, "content_type": "image/png"}
    assert "versionId" not in world.media.image_link(image, "up-1")


def test_a_link_to_a_video_is_signed(world: Any) -> None:
    parts = urlsplit(world.media.video_link(KEY, "Red shoe"))
    query = {name: value for name, (value,) in parse_qs(parts.query).items()}
    assert VIDEOS in parts.netloc + parts.path
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert query["X-Amz-Expires"] == str(VIDEO_LINK_SECONDS) == "43200"


@pytest.mark.parametrize(("download", "kind"), [(False, "inline"), (True, "attachment")])
def test_a_link_to_a_video_plays_or_downloads_it_under_its_name(world: Any, download: bool, kind: str) -> None:
    query = parse_qs(urlsplit(world.media.video_link(KEY, "Rötë shoe", download=download)).query)
    assert query["response-content-type"] == ["video/mp4"]
    name = "filename=\"R_t_ shoe.mp4\"; filename*=UTF-8''R%C3%B6t%C3%AB%20shoe.mp4"
    assert query["response-content-disposition"] == [f"{kind}; {name}"]


def test_a_short_video_is_one_request(world: Any, mp4: bytes) -> None:
    stored = store(world, chunks(mp4, 100))
    assert (stored.size, stored.sha256) == (len(mp4), hashlib.sha256(mp4).hexdigest())
    assert world.stored(KEY) == mp4
    assert len(world.called("PutObject")) == 1
    assert world.called("CreateMultipartUpload") == []


@pytest.mark.parametrize(
    ("name", "disposition"),
    [
        ("shoe", "attachment; filename=\"shoe.mp4\"; filename*=UTF-8''shoe.mp4"),
        ("red shoe", "attachment; filename=\"red shoe.mp4\"; filename*=UTF-8''red%20shoe.mp4"),
        ("café", "attachment; filename=\"caf_.mp4\"; filename*=UTF-8''caf%C3%A9.mp4"),
        ('a"b;c\\d%', "attachment; filename=\"a_b_c_d_.mp4\"; filename*=UTF-8''a%22b%3Bc%5Cd%25.mp4"),
        ("two\nlines", "attachment; filename=\"two_lines.mp4\"; filename*=UTF-8''two_lines.mp4"),
    ],
)
def test_a_video_is_stored_with_its_type_and_the_name_of_its_upload(
    world: Any, mp4: bytes, name: str, disposition: str
) -> None:
    store(world, chunks(mp4), name)
    head = world.aws["s3"].head_object(Bucket=VIDEOS, Key=KEY)
    assert head["ContentType"] == "video/mp4"
    assert head["ContentDisposition"] == disposition
    assert head["Metadata"] == {"job-id": "up-1"}


@pytest.mark.parametrize(
    ("size", "parts"),
    [(5 * MIB - 1, 0), (5 * MIB, 0), (5 * MIB + 1, 2), (10 * MIB, 2), (12 * MIB + 3, 3)],
)
def test_a_long_video_is_uploaded_in_parts(world: Any, mp4: bytes, small_parts: None, size: int, parts: int) -> None:
    movie = long_movie(mp4, size)
    stored = store(world, chunks(movie, 999_983))
    assert (stored.size, stored.sha256) == (size, hashlib.sha256(movie).hexdigest())
    assert world.stored(KEY) == movie
    assert len(world.called("UploadPart")) == parts
    assert all(len(call["Body"]) == 5 * MIB for call in world.called("UploadPart")[:-1])
    head = world.aws["s3"].head_object(Bucket=VIDEOS, Key=KEY)
    assert (head["ContentType"], head["Metadata"]) == ("video/mp4", {"job-id": "up-1"})
    assert parts_left(world) == 0


def test_every_part_has_a_checksum_and_the_completion_lists_them_all(world: Any, mp4: bytes, small_parts: None) -> None:
    store(world, chunks(long_movie(mp4, 11 * MIB)))
    assert [call["ChecksumAlgorithm"] for call in world.called("CreateMultipartUpload")] == ["CRC32"]
    sums = [
        base64.b64encode(zlib.crc32(call["Body"]).to_bytes(4, "big")).decode() for call in world.called("UploadPart")
    ]
    assert [call["ChecksumCRC32"] for call in world.called("UploadPart")] == sums
    (end,) = world.called("CompleteMultipartUpload")
    assert [part["ChecksumCRC32"] for part in end["MultipartUpload"]["Parts"]] == sums
    store(world, chunks(mp4))
    assert (
        world.called("PutObject")[-1]["ChecksumCRC32"] == base64.b64encode(zlib.crc32(mp4).to_bytes(4, "big")).decode()
    )


def test_a_part_is_large_enough_for_s3_and_small_enough_for_a_function() -> None:
    assert 5 * MIB <= PART_BYTES <= 16 * MIB


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda movie: chunks(movie[:-1]), NotAVideo),
        (lambda movie: chunks(movie + b"x"), NotAVideo),
        (lambda movie: chunks(b"<html>" + movie), NotAVideo),
        (lambda movie: chunks(movie[:-1], then=SourceUnavailable("broke")), SourceUnavailable),
        (lambda movie: chunks(movie, then=SourceUnavailable("too short")), SourceUnavailable),
        (lambda movie: chunks(movie, then=KeyboardInterrupt()), KeyboardInterrupt),
    ],
    ids=["cut", "rubbish behind", "web page", "broken line", "broken at the very end", "killed"],
)
def test_an_incomplete_video_leaves_nothing_behind(
    world: Any, mp4: bytes, small_parts: None, damage: Callable[[bytes], Iterator[bytes]], error: type[BaseException]
) -> None:
    for size in (2 * MIB, 5 * MIB, 11 * MIB):
        with pytest.raises(error):
            store(world, damage(long_movie(mp4, size)))
        assert world.video_keys() == []
        assert parts_left(world) == 0


def test_an_empty_file_is_no_video(world: Any) -> None:
    with pytest.raises(NotAVideo, match="it is empty"):
        store(world, iter([]))
    assert world.video_keys() == []


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
def test_an_s3_error_midway_leaves_no_parts(world: Any, mp4: bytes, small_parts: None, operation: str) -> None:
    def fail(params: dict[str, Any], **_: Any) -> None:
        if params.get("PartNumber", 2) == 2:
            raise ClientError({"Error": {"Code": "SlowDown", "Message": "no"}}, operation)

    events, name = world.aws["s3"].meta.events, f"before-parameter-build.s3.{operation}"
    events.register(name, fail, unique_id="fail")
    try:
        with pytest.raises(ClientError, match="SlowDown"):
            store(world, chunks(long_movie(mp4, 11 * MIB)))
    finally:
        events.unregister(name, unique_id="fail")
    assert world.video_keys() == []
    assert parts_left(world) == 0


def test_storing_the_same_video_again_replaces_it(world: Any, mp4: bytes) -> None:
    assert store(world, chunks(mp4)) == store(world, chunks(mp4))
    assert world.video_keys() == [KEY]


def test_the_bucket_comes_from_the_environment(wired: Any) -> None:
    assert isinstance(media_module.media(), Media)
    assert media_module.media().video_bucket == VIDEOS
