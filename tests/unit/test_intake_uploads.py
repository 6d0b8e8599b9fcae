"""Intake of uploads: S3 notifications, unusual keys, object metadata."""

import json
from collections.abc import Callable
from email.header import Header
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.errors import InvalidRequest
from seedance.jobs import catalogue
from seedance.jobs.requests import (
    Defaults,
    Upload,
    asked_model,
    check_key,
    upload_name,
    upload_request,
    uploads_in,
)

DEFAULTS = Defaults(model="seedance-1.0-pro-fast", prompt="The camera moves slowly.", transport="v2")


def uploads_of(event: dict[str, Any]) -> list[Upload]:
    return [upload for record in event["Records"] for upload in uploads_in(json.loads(record["body"]))]


def refusal(metadata: dict[str, str], defaults: Defaults = DEFAULTS) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        upload_request(metadata, defaults)
    return caught.value


def test_a_plain_upload_is_read_completely(event: Callable[[str], dict[str, Any]]) -> None:
    assert uploads_of(event("s3-upload")) == [
        Upload(
            bucket="example-uploads",
            key="uploads/red-shoe.jpg",
            version_id="3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
            sequencer="0066F2A1B7C3D4E5F6",
            size=48213,
        )
    ]


@pytest.mark.hostile(kind="input")
def test_unusual_keys_are_decoded_once_and_only_creations_count(event: Callable[[str], dict[str, Any]]) -> None:
    assert [upload.key for upload in uploads_of(event("s3-upload-odd-keys"))] == [
        "uploads/summer sale/red shoe.JPG",
        "uploads/a+b.png",
        "uploads/100% wool.webp",
        "uploads/café/鞋.jpeg",
        "uploads/shoe [front] (1).png",
        "uploads/shoe+red%20blue.png",
        "uploads/no-extension",
        "uploads/.hidden",
        "uploads/two..dots.tar.gz.png",
        "uploads/a//b/../c.png",
        "uploads/line\nbreak.png",
        'uploads/quote"&<>.png',
        "uploads/👟.gif",
        "uploads/before-versioning.png",
        "uploads/unversioned.png",
        "uploads/folder/",
        "uploads/multipart.png",
        "uploads/copied.png",
    ]


@pytest.mark.parametrize(
    ("key", "version_id", "version"),
    [
        ("uploads/no-extension", "3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY", "3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY"),
        ("uploads/before-versioning.png", None, "0066F2A1B7C3D4E5F0"),
        ("uploads/unversioned.png", None, "0066F2A1B7C3D4E5F1"),
    ],
)
def test_without_a_real_version_id_the_sequencer_distinguishes_uploads(
    event: Callable[[str], dict[str, Any]], key: str, version_id: str | None, version: str
) -> None:
    (upload,) = (upload for upload in uploads_of(event("s3-upload-odd-keys")) if upload.key == key)
    assert (upload.version_id, upload.version) == (version_id, version)


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    ("key", "size", "is_marker"),
    [("uploads/folder/", 0, True), ("uploads/folder/", 5, False), ("uploads/empty.png", 0, False)],
)
def test_only_an_empty_object_whose_key_ends_with_a_slash_is_a_folder(key: str, size: int, is_marker: bool) -> None:
    assert Upload("b", key, None, "1", size).is_folder_marker is is_marker


def test_several_records_in_several_messages_are_all_found(event: Callable[[str], dict[str, Any]]) -> None:
    names = [upload.key.removeprefix("uploads/") for upload in uploads_of(event("s3-batch"))]
    assert names == ["1a.png", "1b.png", "2a.png", "2b.png", "2c.png", "3a.png"]


def test_the_test_event_of_a_new_configuration_is_no_upload(event: Callable[[str], dict[str, Any]]) -> None:
    assert uploads_of(event("s3-test-event")) == []


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    "message",
    [
        {},
        {"Records": None},
        {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}]},
        {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}}}]},
        {
            "Records": [
                {
                    "eventSource": "aws:s3",
                    "eventName": "ObjectCreated:Put",
                    "s3": {"bucket": {"name": "b"}, "object": {"key": "k", "size": "many"}},
                }
            ]
        },
    ],
)
def test_a_message_that_is_no_notification_is_an_error(message: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError, TypeError)):
        uploads_in(message)


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("record", [{"eventSource": "aws:ses", "eventName": "ObjectCreated:Put"}, {}])
def test_records_of_other_services_are_an_error(record: dict[str, str]) -> None:
    with pytest.raises((KeyError, ValueError)):
        uploads_in({"Records": [record]})


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("key", ["uploads/../secrets.png", "uploads/./a.png", "..", "uploads/a/.."])
def test_a_key_that_cannot_be_linked_is_refused_with_advice(key: str) -> None:
    with pytest.raises(InvalidRequest, match="rename it"):
        check_key(key)


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("key", ["uploads/a..b.png", "uploads/...", "uploads//a.png", "uploads/.hidden"])
def test_other_unusual_keys_are_accepted(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    ("key", "folder", "name"),
    [
        ("uploads/red-shoe.jpg", "red-shoe", "red-shoe"),
        ("uploads/sale/red shoe.JPG", "sale/red shoe", "red shoe"),
        ("uploads/two..dots.tar.gz.png", "two..dots.tar.gz", "two..dots.tar.gz"),
        ("uploads/no-extension", "no-extension", "no-extension"),
        ("uploads/.hidden", ".hidden", ".hidden"),
        ("uploads/a//b/../c.png", "a/b/c", "c"),
        ("uploads/../../etc/passwd", "etc/passwd", "passwd"),
        ("uploads/./x.png", "x", "x"),
        ("uploads/bell\x07.png", "bell_", "bell_"),
        ("uploads/", "image", "image"),
        ("uploads/..", "image", "image"),
        ("uploads/café/鞋.jpeg", "café/鞋", "鞋"),
        ("elsewhere/shoe.png", "elsewhere/shoe", "shoe"),
    ],
)
def test_a_video_is_named_after_its_upload(key: str, folder: str, name: str) -> None:
    assert upload_name(key) == (folder, name)


@pytest.mark.hostile(kind="input")
@given(st.text(max_size=1100).filter(lambda text: text.isprintable()))
def test_any_key_gives_a_folder_with_room_for_a_videos_key(text: str) -> None:
    key = "uploads/" + text.encode()[:1016].decode(errors="ignore")
    folder, name = upload_name(key)
    assert folder
    assert name
    assert len(f"videos/{folder}/up-{'0' * 32}-last-frame.jpg".encode()) <= 1024
    assert not {"", ".", ".."} & set(folder.split("/"))


def test_the_longest_key_still_leaves_room_for_the_videos_own() -> None:
    folder, name = upload_name("uploads/" + "é" * 508)
    assert len(f"videos/{folder}/up-{'0' * 32}-last-frame.jpg".encode()) <= 1024
    assert set(name) == {"é"}


def test_an_upload_without_metadata_gets_the_stacks_defaults() -> None:
    request = upload_request({}, DEFAULTS)
    assert (request.model.slug, request.transport, request.image_key) == ("seedance-1.0-pro-fast", "v2", None)
    assert request.parameters["prompt"] == DEFAULTS.prompt
    assert "image_url" not in request.parameters


def test_metadata_names_options_in_any_spelling_that_s3_allows() -> None:
    request = upload_request(
        {
            "Model": "seedance-1.5-pro",
            "prompt": " a shoe turns ",
            "Aspect-Ratio": "9:16",
            "duration": "8",
            "generate-audio": "false",
            "seed": " 42 ",
        },
        DEFAULTS,
    )
    assert request.model.slug == "seedance-1.5-pro"
    assert request.parameters | {"skip_moderation": None} == {
        "prompt": "a shoe turns",
        "aspect_ratio": "9:16",
        "duration": 8,
        "resolution": "720p",
        "camera_fixed": False,
        "generate_audio": False,
        "seed": 42,
        "skip_moderation": None,
    }


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    "name",
    [
        *("mtime", "mode", "uid", "gid", "atime", "ctime", "btime", "tier"),  # rclone, s3fs
        *("xresolution", "y-resolution", "ResolutionUnit", "pixel-aspect-ratio", "make", "lens-model"),  # EXIF
        *("s3cmd-attrs", "md5chksum", "file-owner", "file-permissions", "user-agent", "file-acl"),  # s3cmd, DataSync
        *("sku", "title", "owner", "product", "author", "description", "last-modified", "source", "original-filename"),
        *("first-name", "last-name", "firstname", "model-name", "modelname", "lens_model", "camera-model"),  # forms
        *("image-width", "image-id", "image-description", "resolution-x", "duration-ms", "prompt-id", "seed-number"),
        *("aspect", "audio-codec", "frame-rate", "videos", "video", "video-", "video_"),
    ],
)
def test_metadata_that_is_no_option_changes_no_video(name: str) -> None:
    assert upload_request({name: "anything"}, DEFAULTS) == upload_request({}, DEFAULTS)


@pytest.mark.parametrize("prefix", ["video-", "video_", "Video-", "VIDEO_"])
def test_with_the_prefix_a_name_is_certainly_ours(prefix: str) -> None:
    asked = {f"{prefix}model": "seedance-1.5-pro", f"{prefix}prompt": "It turns.", f"{prefix}aspect-ratio": "1:1"}
    plain = {"model": "seedance-1.5-pro", "prompt": "It turns.", "aspect-ratio": "1:1"}
    assert upload_request(asked, DEFAULTS) == upload_request(plain, DEFAULTS)
    assert asked_model(asked) == "seedance-1.5-pro"
    for name, words in (
        ("promt", "did you mean prompt?"),
        ("codec", "is not an option; available: "),
        ("x", "resolution"),
    ):
        error = refusal({prefix + name: "anything"})
        assert (error.field, words in error.message) == (prefix + name, True)


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"prompt": "a", "video-prompt": "b"}, "prompt"),
        ({"video-model": "seedance-pro", "model": "seedance-1.5-pro"}, "model"),
        ({"aspect-ratio": "1:1", "aspect_ratio": "1:1"}, "aspect_ratio"),
    ],
)
def test_an_option_that_is_given_twice_is_refused(metadata: dict[str, str], name: str) -> None:
    assert f"is given twice, under two names of {name}" in refusal(metadata).message


def test_beside_ours_another_model_is_the_cameras() -> None:
    asked = {"video-model": "seedance-pro", "model": "Canon EOS R5"}
    assert upload_request(asked, DEFAULTS).model.slug == asked_model(asked) == "seedance-pro"


def distance(one: str, other: str) -> int:
    """The edit distance: letters that are missing, too many, wrong or swapped with their neighbour."""
    table = {(i, -1): i + 1 for i in range(-1, len(one))} | {(-1, j): j + 1 for j in range(-1, len(other))}
    for i, letter in enumerate(one):
        for j, wanted in enumerate(other):
            ways = [table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (letter != wanted)]
            if i and j and letter == other[j - 1] and one[i - 1] == wanted:
                ways.append(table[i - 2, j - 2] + 1)
            table[i, j] = min(ways)
    return table[len(one) - 1, len(other) - 1]


KNOWN = sorted(catalogue.known_names() | {"model", "transport"})
FOREIGN = {"mode", "xresolution", "yresolution"}


@pytest.mark.hostile
@given(
    st.sampled_from(KNOWN),
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["del", "ins", "sub", "swp"])), max_size=3),
)
def test_exactly_the_names_one_letter_off_are_refused(option: str, edits: list[tuple[int, str]]) -> None:
    name = option
    for place, kind in edits:
        at = place % max(1, len(name))
        head, tail = name[:at], name[at:]
        name = {
            "del": head + tail[1:],
            "ins": f"{head}x{tail}",
            "sub": f"{head}q{tail[1:]}",
            "swp": head + tail[:2][::-1] + tail[2:],
        }[kind]
    nearest = min(distance(name, known) for known in KNOWN)
    if name in KNOWN or name in FOREIGN or nearest > 1:
        try:
            upload_request({name: "5"}, DEFAULTS)
        except InvalidRequest as refused:
            assert "did you mean" not in refused.message
    else:
        assert "is not an option (did you mean " in refusal({name: "5"}).message


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("camera", ["iPhone 14 Pro", "NIKON D850", "Canon EOS R5 Mark II", "Pixel 7 Pro", "ILCE-7RM5"])
def test_a_camera_model_next_to_its_make_is_no_option(camera: str) -> None:
    metadata = {"Make": "Apple", "Model": camera, "XResolution": "72"}
    assert upload_request(metadata, DEFAULTS) == upload_request({}, DEFAULTS)
    assert asked_model(metadata) is None


def test_a_known_model_next_to_a_make_is_an_option() -> None:
    assert upload_request({"make": "x", "model": "seedance-2.0-mini"}, DEFAULTS).model.slug == "seedance-2.0-mini"
    assert refusal({"make": "x", "model": "sedance-pro"}).field == "model"
    assert refusal({"model": "iPhone 14 Pro"}).field == "model"


@pytest.mark.parametrize(
    ("metadata", "asked"),
    [({}, None), ({"model": ""}, None), ({"model": " "}, None), ({"model": "sora"}, "sora"), ({"Model": "x"}, "x")],
)
def test_the_requested_model_is_recorded_even_if_invalid(metadata: dict[str, str], asked: str | None) -> None:
    assert asked_model(metadata) == asked


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("promt", "prompt"),
        ("duraton", "duration"),
        ("Durations", "duration"),
        ("aspect-ration", "aspect_ratio"),
        ("resolutoin", "resolution"),
        ("modell", "model"),
        ("seeds", "seed"),
        ("generate_audios", "generate_audio"),
        ("camera-fixd", "camera_fixed"),
        ("transports", "transport"),
    ],
)
def test_a_misspelt_option_is_refused_with_the_right_spelling(name: str, meant: str) -> None:
    error = refusal({name: "5"})
    assert error.field == name
    assert f"did you mean {meant}?" in error.message


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    ("metadata", "field", "words"),
    [
        ({"duration": "7"}, "duration", "5 or 10"),
        ({"duration": "five"}, "duration", "5 or 10"),
        ({"model": "seedance-3"}, "model", "'seedance-3' does not exist"),
        ({"transport": "v3"}, "transport", "must be v2"),
        ({"transport": "v1"}, "transport", "must be v2 for seedance-1.0-pro-fast"),
        ({"image_url": "https://example.com/a.png"}, "image_url", "the image in the bucket is already the first image"),
        ({"generate_audio": "true"}, "generate_audio", "has no such parameter"),
        ({"prompt": ""}, "prompt", "text of 1 to 5000 characters"),
        ({"prompt": "x" * 5001}, "prompt", "text of 5001 characters"),
        ({"model": "seedance-2.0-mini", "reference_images": "https://example.com/a"}, "reference_images", "combined"),
    ],
)
def test_an_impossible_option_is_refused_by_name(metadata: dict[str, str], field: str, words: str) -> None:
    error = refusal(metadata)
    assert error.field == field
    assert words in str(error)


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("plain", "plain"),
        ("=?UTF-8?B?Y2Fmw6k=?=", "café"),
        ("=?utf-8?Q?caf=C3=A9_au_lait?=", "café au lait"),
        ("red =?utf-8?Q?caf=C3=A9?= shoe", "red café shoe"),
        ("=?UTF-8?B?6Z6L?= =?UTF-8?B?5a2Q?=", "鞋子"),
        ("=?iso-8859-1?Q?caf=E9?=", "café"),
        ("what =? why", "what =? why"),
        ("a = b?", "a = b?"),
    ],
)
def test_non_ascii_text_arrives_as_it_was_typed(raw: str, text: str) -> None:
    assert upload_request({"prompt": raw}, DEFAULTS).parameters["prompt"] == text


@pytest.mark.hostile(kind="input")
@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200))
def test_any_text_survives_the_encoding_that_s3_uses(text: str) -> None:
    encoded = Header(text, "utf-8", maxlinelen=10_000).encode()
    if text.strip():
        assert upload_request({"prompt": encoded}, DEFAULTS).parameters["prompt"] == text.strip()


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("raw", ["=?UTF-8?B?w?=", "=?no-such-charset?Q?caf=E9?=", "=?utf-8?Q?=C3?="])
def test_broken_encodings_are_refused_by_name(raw: str) -> None:
    error = refusal({"prompt": raw})
    assert (error.field, "RFC 2047" in error.message) == ("prompt", True)


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("raw", ["bell\x07", "null\x00", "=?utf-8?Q?escape=1B?=", "delete\x7f"])
def test_control_characters_are_refused(raw: str) -> None:
    error = refusal({"prompt": raw})
    assert (error.field, "control characters" in error.message) == ("prompt", True)


def test_line_breaks_and_tabs_in_a_prompt_are_kept() -> None:
    encoded = "=?utf-8?Q?Shot_1:=0A=09a_shoe?="
    assert upload_request({"prompt": encoded}, DEFAULTS).parameters["prompt"] == "Shot 1:\n\ta shoe"


@pytest.mark.parametrize(
    ("default", "model", "asked", "transport"),
    [
        ("v1", "seedance-pro", None, "v1"),
        ("v1", "seedance-2.0-fast", None, "v1"),
        ("v1", "seedance-1.5-pro", None, "v2"),  # a preference, not an order
        ("v1", "seedance-pro", "v2", "v2"),
        ("v2", "seedance-pro", "v1", "v1"),
    ],
)
def test_the_transport_is_the_requested_one_or_the_stacks_default(
    default: str, model: str, asked: str | None, transport: str
) -> None:
    metadata = {"model": model} | ({"transport": asked} if asked else {})
    assert upload_request(metadata, Defaults(DEFAULTS.model, DEFAULTS.prompt, default)).transport == transport
