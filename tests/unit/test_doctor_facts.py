"""`seedance doctor --spend`: what the results say about the provider's contract."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import doctored
import pytest
from doctored import Stack, job
from doctored_purchase import LINK, answers, done, listed, seen_as
from doctored_purchase import good as good_purchase
from seedance.jobs.job import Job, State

from cli.demo import Played
from cli.doctor import command, facts
from cli.doctor.deployment import Deployment
from cli.doctor.evidence import Evidence
from cli.doctor.results import Status, ok
from cli.doctor.spending import IMAGE, LONG, TEXT, Bought
from cli.target import Target


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Stack, Target]:
    stack, target = doctored.install(monkeypatch, tmp_path)
    stack.answers["s3.PutObject"] = lambda given: {"VersionId": f"version-of-{given['Key']}"}
    monkeypatch.setattr(command, "find", lambda *_: target)
    return stack, target


@pytest.fixture
def stack(both: tuple[Stack, Target]) -> Stack:
    return both[0]


@pytest.fixture
def of(both: tuple[Stack, Target]) -> Deployment:
    return Deployment(both[1], doctored.STACK)


@pytest.fixture
def good(of: Deployment) -> Bought:
    return good_purchase(of)


@pytest.fixture
def found(good: Bought) -> Evidence:
    """Evidence of a provider that is as documented."""
    good.balance_before, good.balance_after = 12.0, 12.0 - 3 * 0.0461
    good.jobs[LONG] = done(
        "l", parameters={**done("l").parameters, "duration": 12}, cost_usd=0.1382, settled_usd=0.1382
    )
    good.balance_after = 12.0 - 2 * 0.0461 - 0.1382
    good.jobs[TEXT] = done("t")
    names = (IMAGE, TEXT, LONG)
    return Evidence(
        good,
        files={name: Path(f"{name}.mp4") for name in names},
        played={name: Played(640, 640, 96, 12.0 if name == LONG else 4.0, "h264") for name in names},
        seen={name: seen_as() for name in names},
        rows={IMAGE: [listed(job_id="up-i", request_id="req-i")]},
        listed=[listed(), listed()],
        keyless=dict.fromkeys(names, 206),
        old={"record": {"status": 404, "shape": None}, "row": {"status": 200, "shape": {}}},
    )


UNANSWERED = {
    *("failure", "late checks", "no credits", "rate limit", "v1 cut", "data links", "faces", "references"),
}
"""What a provider that makes everything can't answer."""


def test_a_provider_as_documented_confirms_every_fact_that_can_be_asked_for(found: Evidence) -> None:
    said = answers(found)
    assert {name for name, one in said.items() if one.status is Status.SKIPPED} == UNANSWERED
    assert {name: one for name, one in said.items() if one.status is Status.FAILED} == {}
    assert all(said[name].said.startswith("not answered: ") for name in UNANSWERED)


def failing(code: str, request_id: str | None) -> Job:
    return job(State.FAILED, "up-l", code=code, request_id=request_id)


def shapes(**changes: Any) -> Callable[[Evidence], None]:
    return lambda found: found.seen.update(dict.fromkeys((IMAGE, TEXT, LONG), seen_as(**changes)))


def row(**changes: Any) -> Callable[[Evidence], None]:
    def change(found: Evidence) -> None:
        for one in found.seen.values():
            one["row"] = {"status": 200, "shape": {**one["row"]["shape"], **changes}}

    return change


def no_rows(found: Evidence) -> None:
    for one in found.seen.values():
        one["row"] = {"status": 404, "shape": {"error": "text"}}


def jobs(**changes: Job) -> Callable[[Evidence], None]:
    def change(found: Evidence) -> None:
        found.bought.jobs.update(changes)
        for name in changes:
            found.played.pop(name, None)

    return change


def billed_failure(found: Evidence) -> None:
    found.bought.jobs[LONG] = failing("PROVIDER_JOB_FAILED", "req-l")


DEVIATIONS: list[tuple[str, Callable[[Evidence], None], str]] = [
    ("output", shapes(output=[LINK]), "output is a list"),
    ("output", shapes(output="text"), "output is text"),
    ("video field", shapes(video=LINK), "video is link to images.segmind.com"),
    ("last frame", shapes(last_frame_url=None, last_frame_image=LINK), "it is last_frame_image"),
    ("last frame", shapes(last_frame_url=None), "no field"),
    ("row by id", no_rows, "is not found"),
    ("rows", lambda found: found.listed.pop(), "has 1 row"),
    ("rows", lambda found: found.listed.append(listed(0.0)), "the request cost $0.05"),
    ("request body", row(request_body=None), "missing"),
    ("request body", row(request_body="text"), "text"),
    ("recognised", lambda found: found.rows.update({IMAGE: [listed(request_id="req-i")]}), "names no job"),
    ("price", jobs(**{IMAGE: done("i", cost_usd=0.0922)}), "+100% to the published $0.05"),
    ("balance", lambda found: setattr(found.bought, "balance_after", 11.0), "the balance fell by $1.00"),
    ("failure", billed_failure, "long was billed"),
    ("12 seconds", lambda found: found.played.update({LONG: Played(640, 640, 1, 10.0, "h264")}), "it has 10.0 s"),
    ("12 seconds", jobs(**{LONG: failing("PROVIDER_REFUSED", None)}), "refused: m"),
    ("size", lambda found: found.played.update({TEXT: Played(320, 320, 1, 4.0, "h264")}), "text 320 x 320"),
    ("no image", jobs(**{TEXT: failing("PROVIDER_REFUSED", "req-t")}), "refused: m"),
    ("keyless file", lambda found: found.keyless.update({TEXT: 403}), "text: 403"),
    ("one hour", lambda found: setattr(found, "old", seen_as()), "200 after more than an hour"),
]


@pytest.mark.parametrize(
    ("name", "deviation", "says"), DEVIATIONS, ids=[f"{name}-{n}" for n, (name, _, _) in enumerate(DEVIATIONS)]
)
def test_a_provider_that_deviates_fails_the_facts_line(
    found: Evidence, name: str, deviation: Callable[[Evidence], None], says: str
) -> None:
    deviation(found)
    result = answers(found)[name]
    assert result.status is Status.FAILED, result
    assert says in " ".join((result.said, *result.details))


@pytest.mark.parametrize(("request_id", "says"), [("req-l", "after it was queued"), (None, "at the submit")])
def test_a_refused_parameter_tells_when_it_was_refused(found: Evidence, request_id: str | None, says: str) -> None:
    found.bought.jobs[LONG] = failing("PROVIDER_REFUSED", request_id)
    assert answers(found)["late checks"] == ok(says)


def test_both_readings_of_a_size_are_told_apart(found: Evidence) -> None:
    assert answers(found)["size"].said.startswith("as ByteDance documents: image 640 x 640")
    found.played = {name: Played(480, 480, 1, 4.0, "h264") for name in found.played}
    assert answers(found)["size"].said.startswith("480 on each side: image 480 x 480")


def test_every_fact_that_can_be_answered_has_a_deviation() -> None:
    names = {fact.name for fact in facts.FACTS}
    assert {name for name, _, _ in DEVIATIONS} == names - UNANSWERED | {"failure"}


def test_without_a_video_no_fact_is_judged(good: Bought) -> None:
    good.jobs = {name: failing("PROVIDER_JOB_FAILED", None) for name in (IMAGE, TEXT)}
    good.balance_before = None
    said = answers(Evidence(good, files=dict.fromkeys((IMAGE, TEXT, LONG), "no video")))
    judged = {name for name, one in said.items() if one.status is not Status.SKIPPED}
    assert judged == {"no image"}  # refused, which is an answer
