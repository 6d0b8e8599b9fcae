"""POST /uploads: what S3 will accept with a form, and what the answer says about it."""

import base64
import json
import re
from typing import Any

import pytest
from clocks import NOW
from hostile_values import TEXTS
from hypothesis import given
from hypothesis import strategies as st
from seedance.aws.fields import OBJECT_KEY_BYTES
from seedance.batches.lines import MAX_BYTES
from seedance.errors import InvalidRequest
from seedance.jobs.prefixes import POSTED_IMAGES, STAGED, readable, usable
from seedance.jobs.requests import BATCH_PREFIX, UPLOAD_PREFIX, check_key
from seedance.media.formats import MAX_IMAGE_BYTES
from seedance.rest.uploads import FORM_SECONDS, Uploads

UPLOADS = "example-uploads"


@pytest.fixture
def uploads(world: Any) -> Uploads:
    return Uploads(UPLOADS, world.aws["s3"], world.clock)


def form(uploads: Uploads, **body: Any) -> Any:
    return uploads.form(json.dumps(body))


def policy(made: Any) -> tuple[str, list[Any]]:
    """The end and the conditions of a form's policy."""
    read = json.loads(base64.b64decode(made["fields"]["policy"]))
    return read["expiration"], read["conditions"]


@pytest.mark.parametrize(
    ("name", "kind", "most"),
    [
        ("red-shoe.jpg", "image/jpeg", MAX_IMAGE_BYTES),
        ("red-shoe.JPEG", "image/jpeg", MAX_IMAGE_BYTES),
        ("red-shoe.png", "image/png", MAX_IMAGE_BYTES),
        ("red-shoe.webp", "image/webp", MAX_IMAGE_BYTES),
        ("red-shoe.csv", "text/csv", MAX_BYTES),
        ("red-shoe.jsonl", "application/x-ndjson", MAX_BYTES),
    ],
)
def test_the_policy_allows_one_key_type_and_range_of_sizes(uploads: Uploads, name: str, kind: str, most: int) -> None:
    made = form(uploads, name=name)
    _, conditions = policy(made)
    fixed = {name: value for one in conditions if isinstance(one, dict) for name, value in one.items()}
    assert fixed["bucket"] == UPLOADS
    assert fixed["key"] == made["fields"]["key"] == made["key"]
    assert fixed["Content-Type"] == made["fields"]["Content-Type"] == made["content_type"] == kind
    assert [one for one in conditions if isinstance(one, list)] == [["content-length-range", 1, most]]
    assert made["max_bytes"] == most
    # S3 refuses a form with a field that no condition covers.
    assert set(made["fields"]) - {"policy", "x-amz-signature"} <= set(fixed)
    assert (made["method"], UPLOADS in made["url"]) == ("POST", True)


def test_the_answer_says_what_the_key_is_for(uploads: Uploads) -> None:
    image, manifest = form(uploads, name="a.png"), form(uploads, name="spring.csv")
    assert (image["image_key"], image["manifest_key"]) == (image["key"], None)
    assert (manifest["image_key"], manifest["manifest_key"]) == (None, manifest["key"])
    assert image["key"].startswith(POSTED_IMAGES)
    assert manifest["key"].startswith(STAGED)
    for key in (image["key"], manifest["key"]):
        assert not key.startswith((UPLOAD_PREFIX, BATCH_PREFIX))  # these would start a job or a batch


def test_a_known_size_is_the_only_one(uploads: Uploads) -> None:
    made = form(uploads, name="a.png", bytes=12345)
    assert ["content-length-range", 12345, 12345] in policy(made)[1]
    assert made["max_bytes"] == 12345


def test_a_form_ends_after_an_hour(uploads: Uploads, world: Any) -> None:
    assert form(uploads, name="a.png")["form_expires_at"] == "2025-11-20T01:53:20+00:00"
    assert (NOW, FORM_SECONDS) == (1_763_600_000.0, 3600)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("red-shoe.jpg", "red-shoe"),
        ("Größe 42 (rot).jpg", "Groe-42-rot"),
        ("café.png", "cafe"),
        ("鞋.png", "file"),
        ("../../uploads/a.png", "a"),
        ("C:\\Bilder\\Schuh.PNG", "Schuh"),
        ("a.b.c.png", "a-b-c"),
        ("-.png", "file"),
        ("x" * 200 + ".png", "x" * 60),
        (".png.png", "png"),
    ],
)
def test_a_key_is_readable_and_safe(uploads: Uploads, name: str, stem: str) -> None:
    key = form(uploads, name=name)["key"]
    assert re.fullmatch(rf"images/posted/2025-11-20/{stem}-[0-9a-f]{{24}}\.(png|jpg)", key)
    check_key(key)


@pytest.mark.parametrize("ending", ["png", "csv"])
@pytest.mark.parametrize("name", ["red-shoe", "0123456789ab0123456789ab", "a.b", "-"])
def test_people_see_a_key_without_its_secret(uploads: Uploads, name: str, ending: str) -> None:
    key = form(uploads, name=f"{name}.{ending}")["key"]
    assert re.fullmatch(r"(.*)-[0-9a-f]{24}(\.[a-z]+)", key).expand(r"\1\2") == readable(key)  # type: ignore[union-attr]
    assert readable(readable(key)) == readable(key)


@pytest.mark.parametrize(
    "key",
    [
        "images/red-0123456789ab0123456789ab.png",  # under no folder of ours
        "uploads/staged/red-0123456789ab0123456789ab.csv",
        "staged/red-0123456789AB0123456789AB.csv",
        "staged/red-seventeen-and-some-more-x.csv",
        "staged/red-0123456789ab0123456789ab/spring.csv",
        "staged/-0123456789ab0123456789ab.csv",  # nothing would be left
        "",
    ],
)
def test_any_other_key_is_seen_as_it_is(key: str) -> None:
    assert readable(key) == key


def test_keys_are_unique(uploads: Uploads) -> None:
    assert len({form(uploads, name="a.png")["key"] for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        (None, "body", "is empty"),
        ("{", "body", "must be a JSON object"),
        ("[]", "body", "must be a JSON object"),
        ("{}", "name", "1 to 255 characters"),
        ('{"name": "a.gif"}', "name", "must end with .jpg"),
        ('{"name": "png"}', "name", "must end with .jpg"),
        ('{"name": "a.png", "size": 5}', "size", "allowed: name, bytes"),
        ('{"name": "a.png", "bytes": 0}', "bytes", "at least 1"),
        ('{"name": "a.png", "bytes": true}', "bytes", "at least 1"),
        ('{"name": "a.png", "bytes": 31457281}', "bytes", "at most 31457280 for image/png"),
        ('{"name": "a.png\\n"}', "name", "1 to 255 characters"),
    ],
)
def test_what_is_no_file_is_refused(uploads: Uploads, body: str | None, field: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        uploads.form(body)
    assert caught.value.field == field
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (("images/",), ("images/",)),
        (("images/posted/",), ("images/posted/",)),
        (("catalogue/",), ("catalogue/", "images/posted/")),
        (("catalogue/", "images/"), ("catalogue/", "images/")),
        ((), ("images/posted/",)),
    ],
)
def test_posted_images_are_usable_whatever_the_stack_allows(given: Any, found: Any) -> None:
    assert usable(given) == found


@pytest.mark.hostile(kind="input", risk="5xx")
@pytest.mark.parametrize("kind", TEXTS)
def test_a_hostile_name_makes_a_plain_key_or_none(uploads: Uploads, kind: str) -> None:
    try:
        key = form(uploads, name=TEXTS[kind][:200] + ".png")["key"]
    except InvalidRequest as refused:
        assert refused.field == "name"
    else:
        assert re.fullmatch(r"images/posted/[0-9-]{10}/[0-9A-Za-z_-]+\.png", key)


@given(st.text(max_size=255), st.sampled_from(["jpg", "csv", "PNG"]))
def test_any_name_makes_a_short_plain_key(name: str, ending: str) -> None:
    class Signer:
        @staticmethod
        def generate_presigned_post(_: str, key: str, **__: Any) -> dict[str, Any]:
            return {"url": "https://x/", "fields": {"key": key}}

    made = Uploads(UPLOADS, Signer(), lambda: NOW)  # type: ignore[arg-type]
    try:
        key = form(made, name=f"{name}.{ending}")["key"]
    except InvalidRequest:
        return
    assert re.fullmatch(r"(images/posted|staged)/2025-11-20/[0-9A-Za-z_-]+-[0-9a-f]{24}\.(jpg|csv|png)", key)
    assert len(key) < OBJECT_KEY_BYTES
