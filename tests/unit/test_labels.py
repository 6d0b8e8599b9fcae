"""A caller's own words for a job: checked, stored, and returned wherever the job is."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.api import Api
from seedance.aws.fields import OBJECT_KEY_BYTES
from seedance.errors import InvalidRequest
from seedance.jobs import creation, labels, requests
from seedance.jobs.defaults import Defaults
from seedance.jobs.job import Job, State
from seedance.notices.job_message import job_email, job_notification

Make = Callable[..., Job]
DEFAULTS = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")


def refused(**body: object) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        requests.api_request(json.dumps({"prompt": "x", **body}), DEFAULTS)
    return caught.value


NAMES = {"Red shoe": "Red shoe", " ü 👟 ": "ü 👟", "x" * 100: "x" * 100, "a.b": "a.b", None: None}


@pytest.mark.parametrize("given", NAMES)
def test_a_name_is_used_as_it_is(given: str | None) -> None:
    assert labels.name(given) == NAMES[given]


@pytest.mark.parametrize(
    "name", ["", "  ", "x" * 101, "a/b", "..", "../../x", "a\\b", ".hidden", "a\nb", "a\x00b", "\ud800", 5, ["x"], True]
)
def test_a_name_that_is_no_file_name_is_refused(name: object) -> None:
    error = refused(name=name)
    assert (error.field, error.allowed) == ("name", error.message.removeprefix("must be "))


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ([], "must be a JSON object with at most 20 pairs"),
        ("sku=1", "must be a JSON object with at most 20 pairs"),
        ({f"n{number}": "x" for number in range(21)}, "must be a JSON object with at most 20 pairs"),
        ({"": "x"}, "has a name that is not text of 1 to 64 characters"),
        ({"x" * 65: "x"}, "has a name that is not text of 1 to 64 characters"),
        ({"a\x00": "x"}, "has a name that is not text of 1 to 64 characters"),
        ({"sku": 5}, "the value of 'sku' must be text of at most 256 characters"),
        ({"sku": None}, "the value of 'sku' must be text of at most 256 characters"),
        ({"sku": "x" * 257}, "the value of 'sku' must be text of at most 256 characters"),
        ({"sku": "\ud800"}, "the value of 'sku' must be text of at most 256 characters"),
        ({f"n{number}": "é" * 120 for number in range(9)}, "has more than 2048 bytes"),
    ],
)
def test_metadata_has_limits(pairs: object, says: str) -> None:
    error = refused(metadata=pairs)
    assert error.field == "metadata"
    assert says in error.message
    assert len(error.message) < 200


def test_labels_come_back_with_the_job_its_notification_and_its_mail(world: Any, make_job: Make) -> None:
    api = Api(world.store, world.media, world.queue, "example-uploads", DEFAULTS, ("images/",), world.clock)
    body = {"prompt": "x", "name": "Red shoe", "metadata": {"sku": "S-1", "note": ""}}
    job = api.create_video(json.dumps(body), caller="key", idempotency_key=None)
    stored = world.job(job.job_id)
    assert (stored.name, stored.metadata) == ("Red shoe", {"sku": "S-1", "note": ""})
    assert stored.video_key == f"videos/api/{job.job_id}.mp4"  # the name is no part of it
    path = {"job_id": job.job_id}
    answer = api.respond({"httpMethod": "GET", "resource": "/videos/{job_id}", "pathParameters": path})
    assert (json.loads(answer["body"])["name"], json.loads(answer["body"])["metadata"]) == (
        stored.name,
        stored.metadata,
    )
    stored.state = State.FAILED
    message = job_notification(stored, None)
    assert message["metadata"] == {"sku": "S-1", "note": ""}
    assert job_email(message)[0] == "No video: Red shoe (perhaps charged)"


LONG = "A red shoe turns slowly, on a white table; the camera follows it closely until it stops."


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"prompt": "A red shoe turns."}, "A red shoe turns"),
        ({"prompt": LONG}, "A red shoe turns slowly, on a white table; the camera"),
        ({"prompt": "left/right\\up\n..down"}, "left right up ..down"),
        ({"prompt": " ./../etc/passwd"}, "etc passwd"),
        ({"prompt": "鞋" * 80}, "鞋" * 60),
        ({"prompt": "a\u2028b\u0085c"}, "a b c"),
        ({"prompt": "x", "image": "https://example.com/a.png"}, "x"),
        ({"prompt": "x", "image_key": "images/spring/red shoe.v2.png"}, "red shoe.v2"),
        ({"prompt": "x", "image_key": f"images/posted/2026-11-30/red-shoe-{'0123456789ab' * 2}.png"}, "red-shoe"),
        ({"prompt": "x", "image_key": f"images/red-shoe-{'0123456789ab' * 2}.png"}, f"red-shoe-{'0123456789ab' * 2}"),
        ({"prompt": "x y", "image_key": "images/ .png"}, "x y"),
        ({"prompt": "x", "image_key": "images/a.png", "name": "given"}, "given"),
    ],
)
def test_without_a_name_it_is_named_after_its_image_or_its_prompt(world: Any, body: dict[str, str], name: str) -> None:
    request = requests.api_request(json.dumps(body), DEFAULTS)
    job = creation.from_call("api-1", request, requests.fingerprint(json.dumps(body)))
    assert job.name == name == labels.name(job.name)
    assert job.video_key == "videos/api/api-1.mp4"
    message = job_notification(replace(job, state=State.FAILED), None)
    assert "api-1" not in job_email(message)[0]
    assert message["source"] == "api"


@pytest.mark.parametrize("prompt", ["...", " . / \\ ", "?!"])
def test_if_nothing_is_left_of_a_prompt_the_job_is_named_after_its_id(prompt: str) -> None:
    body = json.dumps({"prompt": prompt})
    job = creation.from_call("api-1", requests.api_request(body, DEFAULTS), requests.fingerprint(body))
    assert job.name == "api-1"


def test_a_call_repeated_over_the_upgrade_is_the_same_request(world: Any) -> None:
    api = Api(world.store, world.media, world.queue, "example-uploads", DEFAULTS, ("images/",), world.clock)
    first = api.create_video('{"prompt": "A red shoe turns."}', caller="key", idempotency_key="order-1")
    world.put(replace(first, name=first.job_id))  # as an earlier release named it
    again = api.create_video('{"prompt": "A red shoe turns."}', caller="key", idempotency_key="order-1")
    assert (again.job_id, again.name) == (first.job_id, first.job_id)


@given(st.text(max_size=300))
def test_a_name_that_is_made_is_one_that_could_be_given(text: str) -> None:
    made = labels.derived_name(text)
    assert made is None or (labels.name(made) == made and len(made) <= labels.DERIVED_CHARACTERS)


@given(st.text(max_size=120))
def test_no_name_leaves_its_folder(text: str) -> None:
    try:
        name = labels.name(text)
    except InvalidRequest:
        return
    assert name
    assert "/" not in name
    assert len(f"videos/api/{name}.mp4".encode()) < OBJECT_KEY_BYTES


@given(
    st.lists(st.tuples(st.text(max_size=70), st.one_of(st.text(max_size=300), st.integers(), st.none())), max_size=30)
)
def test_what_fits_is_valid_and_nothing_is_lost_unseen(pairs: list[tuple[str, object]]) -> None:
    kept, left_out = labels.fitting(pairs)
    assert labels.metadata(kept) == kept
    assert sorted([*kept, *left_out]) == sorted(name for name, _ in pairs)
    assert all((name, value) in pairs for name, value in kept.items())


def test_the_first_pairs_are_kept() -> None:
    kept, left_out = labels.fitting((f"n{number}", "x") for number in range(22))
    assert (list(kept), left_out) == ([f"n{number}" for number in range(20)], ["n20", "n21"])
    long = [(f"n{number}", "x" * 256) for number in range(9)]
    kept, left_out = labels.fitting([*long, ("small", "x")])
    assert (len(kept), left_out) == (8, ["n7", "n8"])  # 7 * 258 bytes, and "small" still fits
    assert labels.fitting([("a", "1"), ("a", "2"), ("", "3")]) == ({"a": "1"}, ["a", ""])


def test_the_note_about_the_others_is_short() -> None:
    note = labels.left_out_note([f"n{number}\n" * 50 for number in range(7)])
    assert note.startswith("Not kept as metadata: n0")
    assert " and 2 more. There is room for 20 pairs" in note
    assert len(note) < 700
