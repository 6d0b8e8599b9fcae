"""Commands show the lasting link to a video, if it works."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from command_line import VIDEOS, Typed
from seedance.jobs.job import Job, State

from cli import making, story
from cli.target import Target

LINKS = "https://links.example/w"
TOKEN = "0123456789abcdef" * 2
JOB = f"up-{'0' * 32}"
LATER, LONG_AGO = 4e9, 1.0


@pytest.fixture
def linked(
    moto_stack: Target, world: Any, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """Put a finished job with a lasting link into a stack that makes such links for some days."""

    def put(until: float = LATER, days: str = "90", base: str | None = LINKS) -> None:
        video = {"bucket": VIDEOS, "key": "videos/shoe.mp4", "bytes": 1, "sha256": "ab"}
        world.put(make_job(State.COMPLETED, job_id=JOB, video=video, link_token=TOKEN, link_until=until))
        moto_stack.__dict__["_settings"] = {"VideoLinkDays": days}
        if base:
            moto_stack.outputs["LinkUrl"] = base

    monkeypatch.setattr(making.actions, "submit", lambda *_: JOB)
    monkeypatch.setattr(story, "timeline", lambda *_: [])
    yield put
    moto_stack.outputs.pop("LinkUrl", None)


@pytest.mark.parametrize("command", [("status", JOB), ("explain", JOB), ("submit", "--prompt", "x", "--wait")])
def test_what_shows_a_job_with_a_video_shows_its_link(
    typed: Typed, linked: Callable[..., None], command: tuple[str, ...]
) -> None:
    linked()
    said = typed(*command)
    assert said.exit_code == 0, said.output
    assert f"{LINKS}/{TOKEN}" in said.stdout.split()
    told = json.loads(typed(*command, "--json").stdout)
    told = told.get("job", told)
    assert (told["link"], told["link_until"]) == (f"{LINKS}/{TOKEN}", "2096-10-02T07:06:40.000+00:00")


@pytest.mark.parametrize(
    "given",
    [{"until": LONG_AGO}, {"days": "0"}, {"base": None}],
    ids=["the link has expired", "the stack has no links", "an earlier release"],
)
def test_a_link_that_does_not_work_is_not_shown(
    typed: Typed, linked: Callable[..., None], given: dict[str, Any]
) -> None:
    linked(**given)
    assert TOKEN not in typed("status", JOB).output
    assert json.loads(typed("status", JOB, "--json").stdout)["link"] is None
