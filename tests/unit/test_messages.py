"""Notifications: the fixed format for programs, the text for people, the limits of SNS."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.aws import fields
from seedance.aws.fields import SUBJECT_CHARACTERS
from seedance.jobs.catalogue import PROMPT_LIMIT
from seedance.jobs.job import Job, State
from seedance.jobs.reasons import Code, over_budget
from seedance.notices import advice
from seedance.notices.job_message import VideoLinks, iso, job_email, job_notification

SNS_LIMIT = 256 * 1024
LINK = "https://example-videos.s3.amazonaws.com/videos/shoe/up-1.mp4?X-Amz-Signature=abc"
UNTIL = 1_771_376_000.0
FRAME = "https://signed.example/frame"
LINKS = VideoLinks(LINK, "https://signed.example/download", None, None)
LASTING = VideoLinks(LINK, LINKS.download_url, "https://links.example/w/" + "0a" * 16, UNTIL, FRAME)
NUMBER = (int, float)
# The contract. Programs rely on it: a new name needs a minor version, any other change a major one.
SHAPE: dict[str, Any] = {
    "job_id": str,
    "state": str,
    "status": str,
    "model": str,
    "source": str,
    "batch": {"batch_id": str, "row": int},
    "name": str,
    "image": {"bucket": str, "key": str, "version_id": str},
    "prompt": str,
    "parameters": dict,
    "notes": list,
    "video": {
        "bucket": str,
        "key": str,
        "url": str,
        "download_url": str,
        "link": str,
        "link_expires_at": str,
        "bytes": int,
        "sha256": str,
        "last_frame_key": str,
        "last_frame_url": str,
        "manifest_key": str,
    },
    "cost_usd": NUMBER,
    "timings": dict,
    "metadata": dict,
    "error": {"code": str, "message": str},
}
# For each terminal state, the names with a value; the others are null.
PRESENT = {
    State.COMPLETED: {"image", "video", "cost_usd"},
    State.FAILED: {"image", "error"},
    State.EXPIRED: {"image", "error"},
    State.REJECTED: {"image", "error"},
    State.CANCELLED: {"image", "error"},
}
HEADLINES = {
    State.COMPLETED: "Video ready",
    State.FAILED: "No video",
    State.EXPIRED: "No video",
    State.REJECTED: "No video",
    State.CANCELLED: "No video",
}
SETTINGS = {"prompt": "a shoe turns", "duration": 8, "aspect_ratio": "9:16", "resolution": "720p"}
VIDEO = {"bucket": "example-videos", "key": "videos/shoe/up-1.mp4", "bytes": 2_345_678, "sha256": "ab" * 32}
IMAGE = {"bucket": "example-uploads", "key": "uploads/shoe.png", "version_id": "v1", "content_type": "image/png"}
ERROR = {"code": "PROVIDER_JOB_FAILED", "message": "The provider could not make the video: it was blocked."}
CANCELLED = {"code": "CANCELLED", "message": "The job was cancelled before the video was bought."}


@pytest.fixture
def ended(make_job: Callable[..., Job]) -> Callable[..., Job]:
    """A job in a terminal state, with the fields that such a job has."""

    def make(state: State, **changes: Any) -> Job:
        values: dict[str, Any] = {"image": IMAGE, "entered": {"RECEIVED": 1000.0, state.value: 1075.2}}
        values |= {"created_at": 1000.0}
        if state is State.COMPLETED:
            more = {"last_frame_key": "videos/shoe/up-1-last-frame.png", "manifest_key": "videos/shoe/up-1.json"}
            values |= {"video": {**VIDEO, **more}, "cost_usd": 0.25}
        else:
            values |= {"error": CANCELLED if state is State.CANCELLED else ERROR}
        return make_job(state, **{**values, **changes})

    return make


def body_for_sns(message: Any) -> str:
    return fields.message(message, lambda told: job_email(told)[1])


def conforms(value: Any, shape: Any) -> bool:
    if isinstance(shape, dict):
        return set(value) == set(shape) and all(
            value[name] is None or conforms(value[name], part) for name, part in shape.items()
        )
    return isinstance(value, shape) and not isinstance(value, bool)


@pytest.mark.parametrize("state", PRESENT)
def test_the_message_for_programs_has_exactly_this_format(ended: Callable[..., Job], state: State) -> None:
    message = job_notification(ended(state), LINKS if state is State.COMPLETED else None)
    assert conforms(message, SHAPE)
    assert message["status"] == state.value
    assert message["state"] == message["status"]
    always = {"job_id", "state", "status", "model", "source", "name", "metadata", "prompt", "parameters", "notes"}
    always |= {"timings"}
    assert {name for name, value in message.items() if value is not None} == always | PRESENT[state]
    assert json.loads(json.dumps(message)) == message


def test_the_full_message_of_a_completed_job(ended: Callable[..., Job]) -> None:
    job = ended(State.COMPLETED, submitted_at=1002.0, metrics={"total": 60.0})
    assert job_notification(job, LASTING) == {
        "job_id": "up-1",
        "state": "COMPLETED",
        "status": "COMPLETED",
        "model": "seedance-1.0-pro-fast",
        "source": "upload",
        "batch": None,
        "name": "shoe",
        "metadata": {},
        "image": {"bucket": "example-uploads", "key": "uploads/shoe.png", "version_id": "v1"},
        "prompt": "a shoe turns",
        "parameters": {"prompt": "a shoe turns", "duration": 5, "resolution": "720p", "aspect_ratio": "16:9"},
        "notes": [],
        "video": {
            **VIDEO,
            "url": LINK,
            "download_url": LINKS.download_url,
            "link": LASTING.link,
            "link_expires_at": "2026-02-18T00:53:20+00:00",
            "last_frame_key": "videos/shoe/up-1-last-frame.png",
            "last_frame_url": FRAME,
            "manifest_key": "videos/shoe/up-1.json",
        },
        "cost_usd": 0.25,
        "timings": {"total_seconds": 75.2, "until_submitted_seconds": 2.0, "provider_total_seconds": 60.0},
        "error": None,
    }


def test_what_the_pipeline_decided_is_in_the_notes(ended: Callable[..., Job]) -> None:
    notes = ["aspect_ratio is 1:1, the nearest.", "The image is very large."]
    message = job_notification(ended(State.COMPLETED, notes=notes), LINKS)
    assert message["notes"] == notes
    assert conforms(message, SHAPE)
    text = job_email(message)[1]
    assert "  Note    aspect_ratio is 1:1, the nearest.\n  Note    The image is very large.\n" in text
    assert "Note" not in job_email({**message, "notes": []})[1]


def test_the_message_of_a_batch_job_names_batch_and_row(ended: Callable[..., Job]) -> None:
    message = job_notification(ended(State.FAILED, source="batch", batch="batch-1", row=7), None)
    assert message["batch"] == {"batch_id": "batch-1", "row": 7}
    assert conforms(message, SHAPE)


def test_a_call_without_an_image_has_null_for_it(ended: Callable[..., Job]) -> None:
    message = job_notification(ended(State.COMPLETED, image=None, source="api", video=VIDEO), LINKS)
    assert message["image"] is None
    assert message["video"]["last_frame_key"] is message["video"]["manifest_key"] is None


def test_no_url_of_the_provider_is_published(ended: Callable[..., Job]) -> None:
    job = ended(State.COMPLETED, result_url="https://images.segmind.com/secret.mp4", request_id="req-secret")
    assert "secret" not in body_for_sns(job_notification(job, LINKS))


@pytest.mark.parametrize(
    ("code", "cost", "subject", "price"),
    [
        (
            "OVER_BUDGET",
            None,
            "Video on hold: shoe (over the day's budget, not charged)",
            "nothing; the request was not",
        ),
        ("SUBMIT_LOST", None, "Video on hold: shoe (needs a decision, perhaps charged)", "unknown; the provider may"),
        ("RESULT_UNCLEAR", None, "Video made, not copied yet: shoe (needs a decision, charged)", "video is charged"),
        ("RESULT_UNCLEAR", 0.25, "Video made, not copied yet: shoe (needs a decision, $0.25 charged)", "$0.25"),
    ],
)
def test_a_held_jobs_email_says_whether_it_is_paid(
    ended: Callable[..., Job], code: str, cost: float | None, subject: str, price: str
) -> None:
    job = ended(State.HELD, error={"code": code, "message": "because"}, cost_usd=cost)
    said, text = job_email(job_notification(job, None))
    assert said == subject
    assert price in text


@pytest.mark.parametrize("state", HEADLINES)
def test_an_email_says_what_happened_and_what_was_requested(ended: Callable[..., Job], state: State) -> None:
    subject, text = job_email(job_notification(ended(state), LINKS if state is State.COMPLETED else None))
    assert subject.startswith(f"{HEADLINES[state]}: shoe (")
    assert text.startswith(f"{HEADLINES[state]}: shoe\n")
    for words in (
        "seedance-1.0-pro-fast",
        "a shoe turns",
        "s3://example-uploads/uploads/shoe.png",
        "Job up-1",
        "1 min 15 s",
    ):
        assert words in text
    assert (LINK in text) is (state is State.COMPLETED)
    assert ("2.3 MB" in text) is (state is State.COMPLETED)
    assert (ERROR["message"] in text) is (state not in (State.COMPLETED, State.CANCELLED))
    assert (CANCELLED["message"] in text) is (state is State.CANCELLED)
    assert "None" not in text


def test_an_email_has_the_lasting_links_and_says_when_they_expire(ended: Callable[..., Job]) -> None:
    _, text = job_email(job_notification(ended(State.COMPLETED), LASTING))
    assert (
        f"Watch\n  {LASTING.link}\nDownload\n  {LASTING.link}?download\n  (for everyone who has the link, until" in text
    )
    assert "until 2026-02-18 00:53 UTC)" in text
    assert "signed.example" not in text


def test_every_date_in_an_email_has_its_zone(ended: Callable[..., Job]) -> None:
    held = over_budget("2026-11-20", 25.0, 24.9, 0.31).error
    mails = [job_email(job_notification(ended(State.COMPLETED), LASTING))[1]]
    mails.append(job_email(job_notification(ended(State.HELD, video=None, error=held), None))[1])
    for text in mails:
        dates = re.findall(r"\b\d{4}-\d\d-\d\d\b.{0,10}", text)
        assert dates
        assert [date for date in dates if not re.match(r".{10} (\d\d:\d\d )?(UTC|\(UTC\))", date)] == []


def test_without_a_lasting_link_an_email_has_the_signed_ones(ended: Callable[..., Job]) -> None:
    _, text = job_email(job_notification(ended(State.COMPLETED), LINKS))
    assert f"Watch\n  {LINK}\nDownload\n  {LINKS.download_url}\n  (the links work for a few hours" in text


def test_every_terminal_state_has_a_message_and_its_own_email(ended: Callable[..., Job]) -> None:
    subjects = set()
    for state in (state for state in State if state.terminal):
        message = job_notification(ended(state), None)
        assert conforms(message, SHAPE)
        subject, text = job_email({**message, "cost_usd": None})
        assert re.search(r"^  Cost    \w", text, re.MULTILINE)
        subjects.add((subject, text))
    assert len(subjects) == sum(state.terminal for state in State)


@pytest.mark.parametrize(
    ("state", "changes", "subject"),
    [
        (State.COMPLETED, {"cost_usd": 0.314}, "Video ready: shoe (8 s, 9:16, $0.31)"),
        (State.COMPLETED, {"cost_usd": None}, "Video ready: shoe (8 s, 9:16, price not reported)"),
        (
            State.COMPLETED,
            {"parameters": {"duration": -1, "aspect_ratio": "adaptive"}},
            "Video ready: shoe ($0.25)",
        ),
        (State.COMPLETED, {"name": "Bild größe"}, "Video ready: Bild gro?e (8 s, 9:16, $0.25)"),
        (State.COMPLETED, {"name": "café"}, "Video ready: cafe (8 s, 9:16, $0.25)"),
        (State.COMPLETED, {"name": "x" * 200}, f"Video ready: {'x' * 64}... (8 s, 9:16, $0.25)"),
        (State.FAILED, {}, "No video: shoe (the provider failed, not charged)"),
        (State.FAILED, {"cost_usd": 0.4}, "No video: shoe (the provider failed, $0.40 charged)"),
        (State.FAILED, {"cost_usd": 0.0}, "No video: shoe (the provider failed, not charged)"),
        (
            State.EXPIRED,
            {"error": {"code": "DEADLINE", "message": "m"}},
            "No video: shoe (out of time, perhaps charged)",
        ),
        (
            State.REJECTED,
            {"error": {"code": "INVALID_REQUEST", "message": "m"}},
            "No video: shoe (invalid request, not charged)",
        ),
        (State.FAILED, {"error": {"code": "OF_LATER", "message": "m"}}, "No video: shoe (perhaps charged)"),
    ],
)
def test_a_subject_says_it_all(ended: Callable[..., Job], state: State, changes: dict[str, Any], subject: str) -> None:
    job = ended(state, **{"parameters": SETTINGS, **changes})
    assert job_email(job_notification(job, None))[0] == subject


@pytest.mark.parametrize("code", Code)
def test_a_mail_says_what_to_do_for_every_code(ended: Callable[..., Job], code: Code) -> None:
    assert set(advice.ADVICE) == set(Code)
    job = ended(State.FAILED, error={"code": code.value, "message": "because"}, name="x" * 300)
    subject, text = job_email(job_notification(job, None))
    _, _, after = text.partition("What to do\n  ")
    assert after.partition("\n")[0].endswith((".", "--give-up."))
    assert "{" not in text
    assert f", {advice.charge(job.state, job.error, None).words})" in subject


def test_a_mail_names_the_command_for_its_job(ended: Callable[..., Job]) -> None:
    job = ended(State.EXPIRED, error={"code": "DEADLINE", "message": "late"})
    assert "Run `seedance retry up-1`." in job_email(job_notification(job, None))[1]


@pytest.mark.parametrize("state", [state for state in State if not state.terminal and state is not State.HELD])
def test_there_is_no_email_for_a_job_in_progress(make_job: Callable[..., Job], state: State) -> None:
    with pytest.raises(KeyError):
        job_email(job_notification(make_job(state), None))


@pytest.mark.parametrize(
    ("state", "changes", "words"),
    [
        (State.COMPLETED, {}, "$0.25"),
        (State.COMPLETED, {"cost_usd": None}, "not reported by the provider; a finished video is charged"),
        (State.COMPLETED, {"cost_usd": 0.0}, "$0.00"),
        (State.FAILED, {}, "nothing; the provider charges only for finished videos"),
        (State.FAILED, {"cost_usd": 0.4}, "$0.40"),
        (State.FAILED, {"error": {"code": "RESULT_NOT_A_VIDEO", "message": "m"}}, "a finished video is charged"),
        (State.FAILED, {"error": {"code": "GIVEN_UP", "message": "m"}}, "unknown; the provider may have charged"),
        (State.FAILED, {"error": {"code": "INTERNAL", "message": "m"}}, "nothing; the request was not sent"),
        (State.EXPIRED, {}, "unknown; the provider may have charged"),
        (State.HELD, {}, "nothing; the provider charges only for finished videos"),
        (State.REJECTED, {}, "nothing; the request was not sent to the provider"),
    ],
)
def test_an_email_gives_the_cost(ended: Callable[..., Job], state: State, changes: dict[str, Any], words: str) -> None:
    (line,) = (
        line for line in job_email(job_notification(ended(state, **changes), LINKS))[1].splitlines() if "  Cost" in line
    )
    assert words in line


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (99_999, "99,999 bytes"), (100_000, "0.1 MB"), (52_428_800, "52.4 MB")],
)
def test_sizes_are_readable(ended: Callable[..., Job], size: int, words: str) -> None:
    assert (
        f"  {words}\n" in job_email(job_notification(ended(State.COMPLETED, video={**VIDEO, "bytes": size}), LINKS))[1]
    )


@pytest.mark.parametrize(("seconds", "words"), [(9.4, "9 s"), (59.6, "1 min 0 s"), (3601, "60 min 1 s")])
def test_durations_are_readable(ended: Callable[..., Job], seconds: float, words: str) -> None:
    job = ended(State.FAILED, created_at=0.0, entered={"FAILED": seconds})
    assert f"Time    {words}\n" in job_email(job_notification(job, None))[1]


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    "name",
    ["café", "鞋" * 60, "two\nlines", "bell\x07", "x" * 400, "👟", "tab\there", "", "\x7f", "a\r\nBcc: x@example.com"],
)
def test_a_subject_is_accepted_by_sns_whatever_the_name(ended: Callable[..., Job], name: str) -> None:
    subject, _ = job_email(job_notification(ended(State.COMPLETED, name=name), LINKS))
    assert 1 <= len(subject) <= SUBJECT_CHARACTERS == 99
    assert subject.isascii()
    assert subject.isprintable()
    assert subject.startswith("Video ready: ")
    assert subject.endswith(" (5 s, 16:9, $0.25)")


@pytest.mark.hostile(kind="input")
@given(name=st.text(max_size=300), state=st.sampled_from(sorted(HEADLINES)))
def test_any_name_gives_a_valid_subject(name: str, state: State) -> None:
    message = {
        **dict.fromkeys(SHAPE),
        "job_id": "up-1",
        "status": state.value,
        "model": "m",
        "name": name,
        "notes": [],
        "timings": {},
    }
    subject, _ = job_email(message)  # type: ignore[arg-type]
    assert len(subject) <= SUBJECT_CHARACTERS
    assert subject.isascii()
    assert subject.isprintable()


@pytest.mark.parametrize("state", HEADLINES)
def test_the_body_for_sns_contains_both_texts(ended: Callable[..., Job], state: State) -> None:
    message = job_notification(ended(state), LINKS)
    body = json.loads(body_for_sns(message))
    assert set(body) == {"default", "email"}
    assert json.loads(body["default"]) == message
    assert body["email"] == job_email(message)[1]


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("character", ["x", '"', "\\", "é", "鞋", "👟", "\n"])
def test_the_body_fits_into_a_message_even_with_the_longest_values(ended: Callable[..., Job], character: str) -> None:
    key = character * (1024 // len(character.encode()))
    job = ended(
        State.COMPLETED,
        name=key,
        parameters={"prompt": character * PROMPT_LIMIT},
        image={**IMAGE, "key": key},
        video={**VIDEO, "key": key, "last_frame_key": key},
        error={"code": "X", "message": character * 800 + "x" * 2048},  # the provider's 500, our message, a link
    )
    longest = "https://" + "x" * 4000
    links = VideoLinks(longest, longest, longest, UNTIL, longest)
    assert len(body_for_sns(job_notification(job, links)).encode()) < SNS_LIMIT


@pytest.mark.parametrize(
    ("moment", "text"),
    [(None, None), (0.0, "1970-01-01T00:00:00+00:00"), (1_763_600_000.75, "2025-11-20T00:53:20+00:00")],
)
def test_times_are_iso_8601_in_utc(moment: float | None, text: str | None) -> None:
    assert iso(moment) == text
