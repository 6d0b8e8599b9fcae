"""What is announced about a change of a job's state: the contract, whatever is in the record, and nothing secret."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from announcements import ARN, TABLE_ARN, change, record
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError
from limit_table import LIMITS
from seedance.events.bus import DETAIL_BYTES_A_REQUEST, ENTRIES_A_REQUEST
from seedance.events.change import SEQUENCE_DIGITS, Detail, change_in
from seedance.jobs.job import Job, State

from docs import event_schema

Make = Callable[..., Job]
SCHEMA = json.loads(event_schema.PATH.read_text())
VIDEO = {"bucket": "videos", "key": "videos/shoe/up-1.mp4", "bytes": 7, "sha256": "0" * 64}


def is_valid(detail: object) -> bool:
    Draft202012Validator(SCHEMA).validate(detail)
    return True


def test_a_finished_video_is_announced_with_all_that_is_known(make_job: Make) -> None:
    before = make_job(State.COPYING)
    video = {**VIDEO, "manifest_key": "videos/shoe/up-1.json"}
    after = make_job(State.COMPLETED, video=video, cost_usd=0.31, batch="batch-1", row=4)
    found = change(before, after, 21)
    assert found is not None
    assert (found.number, found.table, found.moment) == ("21", TABLE_ARN, after.entered["COMPLETED"])
    assert json.loads(found.event) == {
        "id": found.detail["id"],
        "job_id": "up-1",
        "state": "COMPLETED",
        "previous_state": "COPYING",
        "sequence": "21".zfill(40),
        "changed_at": "2025-11-20T00:52:30.000Z",
        "created_at": "2025-11-20T00:51:40.000Z",
        "submitted_at": "2025-11-20T00:52:30.000Z",
        "source": "upload",
        "model": "seedance-1.0-pro-fast",
        "name": "shoe",
        "metadata": {},
        "batch": {"batch_id": "batch-1", "row": 4},
        "cost_usd": 0.31,
        "error": None,
        "video": {"bucket": "videos", "key": "videos/shoe/up-1.mp4", "manifest_key": "videos/shoe/up-1.json"},
    }
    assert is_valid(found.detail)


@pytest.mark.parametrize("manifest", [{}, {"manifest_key": None}, {"manifest_key": 5}])
def test_a_video_without_a_manifest_is_announced_without_one(make_job: Make, manifest: dict[str, Any]) -> None:
    found = change(make_job(State.COPYING), make_job(State.COMPLETED, video={**VIDEO, **manifest}))
    assert found is not None
    assert found.detail["video"] == {"bucket": "videos", "key": "videos/shoe/up-1.mp4", "manifest_key": None}
    assert is_valid(found.detail)


def test_the_webhook_has_the_same_detail_with_a_type_and_the_time(make_job: Make) -> None:
    found = change(None, make_job())
    assert found is not None
    assert json.loads(found.webhook) == {
        "type": "video.state_changed",
        "timestamp": found.detail["changed_at"],
        "data": found.detail,
    }


def test_a_new_job_has_no_previous_state_and_no_video(make_job: Make) -> None:
    found = change(None, make_job(State.RECEIVED, submitted_at=None, video=VIDEO))
    assert found is not None
    assert (found.detail["previous_state"], found.detail["video"], found.detail["submitted_at"]) == (None, None, None)


@pytest.mark.parametrize("state", list(State))
def test_every_state_can_be_announced(make_job: Make, state: State) -> None:
    found = change(None, make_job(state))
    assert found is not None
    assert found.detail["state"] == state
    assert is_valid(found.detail)


def test_the_schema_names_all_states_and_all_fields() -> None:
    assert event_schema.brought_up_to_date(SCHEMA) == SCHEMA, "make reference"
    assert SCHEMA["$defs"]["state"]["examples"] == list(State)
    assert list(SCHEMA["properties"]) == SCHEMA["required"] == list(Detail.__annotations__)


def test_the_schema_accepts_what_a_later_release_may_add(make_job: Make) -> None:
    """Receivers may check what they get with an old copy of it."""
    found = change(None, make_job())
    assert found is not None
    assert is_valid({**found.detail, "state": "CANCELLED", "added_later": 1})
    with pytest.raises(ValidationError):
        is_valid({**found.detail, "state": None})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"order": "4711", "靴": 'a "quoted"\nline'}, {"order": "4711", "靴": 'a "quoted"\nline'}),
        ({}, {}),
        (None, {}),
        ("order", {}),
        ({"order": 4711}, {}),
        ({"order": "\ud800"}, {"order": "\ufffd"}),
        ({"order": '"' * 2040}, {"order": '"' * 2040}),
        ({"order": "x" * 7000}, {}),  # no request has as much: somebody edited the record
    ],
)
def test_metadata_are_announced_as_they_were_given_or_not_at_all(given: Any, told: dict[str, str]) -> None:
    found = change_in(record(None, {"job_id": "up-1", "state": "HELD", "metadata": given}))
    assert found is not None
    assert found.detail["metadata"] == told
    assert is_valid(found.detail)


def test_a_write_without_a_change_of_state_is_not_announced(make_job: Make) -> None:
    held = make_job(State.HELD)
    assert change(held, make_job(State.HELD, notified_at=1.0)) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, {"job_id": "day#2026-11-20", "reserved": 1}),
        ({"job_id": "up-1", "state": "HELD"}, None),  # deleted, by its time to live or by a person
        (None, {"job_id": "up-1", "state": "LOST"}),
        (None, {"job_id": "up-1", "state": 7}),
        ({"job_id": "up-1", "state": "HELD"}, {"job_id": "up-1"}),
        (None, {"job_id": "up-1", "state": {"deep": []}}),
    ],
)
def test_other_writes_are_not_changes(before: Any, after: Any) -> None:
    assert change_in(record(before, after)) is None


def test_the_id_is_the_same_each_time_and_different_for_each_change(make_job: Make) -> None:
    held, received = make_job(State.HELD), make_job()
    changes = [change(held, received, 5), change(held, received, 5), change(held, received, 6), change(None, held, 5)]
    ids = [found.detail["id"] for found in changes if found]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert all(set(one.removeprefix("evt_")) <= set("0123456789abcdef") for one in ids)


@pytest.mark.parametrize(("earlier", "later"), [("9", "10"), ("99999999999999999999", "100000000000000000000")])
def test_the_sequence_can_be_compared_as_text(make_job: Make, earlier: str, later: str) -> None:
    first, second = change(None, make_job(), earlier), change(None, make_job(), later)
    assert first is not None
    assert second is not None
    assert first.detail["sequence"] < second.detail["sequence"]


def test_the_time_of_the_write_counts_if_the_record_has_none(make_job: Make) -> None:
    found = change(None, make_job(entered={}))
    assert found is not None
    assert found.detail["changed_at"] == "2025-11-20T00:53:20.000Z"


def test_the_reason_is_announced_without_signatures(make_job: Make) -> None:
    link = "https://cdn.example/v.mp4?X-Amz-Signature=abc&X-Amz-Credential=def"
    found = change(None, make_job(State.HELD, error={"code": "RESULT_UNCLEAR", "message": f"It is at {link}."}))
    assert found is not None
    assert found.detail["error"] is not None
    assert found.detail["error"]["code"] == "RESULT_UNCLEAR"
    assert "abc" not in found.event
    assert "def" not in found.event


def test_nothing_else_of_the_record_is_announced(make_job: Make) -> None:
    secret = "https://images.segmind.com/v.mp4?Signature=abc"
    image = {"bucket": "uploads", "key": "uploads/secret.png"}
    job = make_job(State.COPYING, result_url=secret, last_frame_url=secret, answer=secret, image=image)
    found = change(None, job)
    assert found is not None
    for text in ("images.segmind.com", "uploads/secret.png", "a shoe turns"):
        assert text not in found.webhook


def test_an_invalid_value_is_null_and_keeps_nothing_else_from_being_announced(make_job: Make) -> None:
    job = make_job(State.FAILED).to_record()
    wrong = {"cost_usd": "free", "error": "odd", "model": 7, "created_at": "soon", "batch": 3, "submitted_at": {}}
    found = change_in(record(None, {**job, **wrong, "entered": "once"}))
    assert found is not None
    assert [found.detail[name] for name in wrong] == [None] * len(wrong)  # type: ignore[literal-required]
    assert (found.detail["state"], found.detail["name"]) == ("FAILED", "shoe")
    assert is_valid(found.detail)


texts = st.text(max_size=3000)
leaves = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | texts
values = st.recursive(leaves, lambda some: st.lists(some, max_size=3) | st.dictionaries(texts, some, max_size=3))
WORST = '\x00\u2028"\\🎬é\ud800' * 2000


@given(
    job_id=st.text(min_size=1, max_size=500),
    state=st.sampled_from(list(State)),
    more=st.dictionaries(st.sampled_from(sorted({*Job.__annotations__, "metadata"})), values, max_size=20),
)
def test_no_record_is_too_odd_to_be_announced(job_id: str, state: State, more: dict[str, Any]) -> None:
    found = change_in(record(None, {**more, "job_id": job_id, "state": state.value}))
    assert found is not None
    assert is_valid(found.detail)
    found.webhook.encode()


@pytest.mark.parametrize("text", [WORST, '"' * 9000, "é" * 9000, "🎬" * 9000])
def test_no_record_makes_a_detail_too_large_for_a_request(make_job: Make, text: str) -> None:
    worst = text.encode(errors="replace").decode()
    job = make_job(State.COMPLETED, job_id="\x01" * 2048, name=worst, source=worst, model=worst, batch=worst)
    job.error = {"code": worst, "message": worst}
    key = worst.encode()[:1024].decode(errors="ignore")  # a longer one is not valid
    job.video = {**VIDEO, "bucket": worst, "key": key}  # type: ignore[typeddict-item]
    found = change_in(record(None, {**job.to_record(), "metadata": {"order": '"' * 3060}}))
    assert found is not None
    assert found.detail["video"] is not None
    assert found.detail["metadata"]
    assert len(found.event.encode()) < DETAIL_BYTES_A_REQUEST / 4
    around = ENTRIES_A_REQUEST * (len(ARN) + 200)
    assert DETAIL_BYTES_A_REQUEST + around < LIMITS["events size"].most
    message = json.dumps({"id": found.detail["id"], "payload": found.webhook})
    assert len(message) / len(found.event.encode()) * DETAIL_BYTES_A_REQUEST < LIMITS["sqs message"].most


def test_a_sequence_number_has_at_most_forty_digits() -> None:
    from botocore.session import Session  # noqa: PLC0415 - only the model's word for it

    shape = Session().get_service_model("dynamodbstreams").shape_for("SequenceNumber")
    assert shape.metadata["max"] == SEQUENCE_DIGITS
