"""`seedance get`: one video, or all videos of a batch, and never over a file that is there."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import UPLOADS, VIDEOS, Typed
from seedance.jobs.job import Job, State, batch_job_id

from cli import following
from cli.following import Standing
from cli.target import Target

BATCH = f"batch-{'0' * 32}"


@pytest.fixture
def made(
    world: Any, moto_stack: Target, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> dict[int, bytes]:
    """A batch of 12 rows, of which three have a video."""
    videos: dict[int, bytes] = {}
    image = {"bucket": UPLOADS, "key": "images/shop/red:shoe.png", "content_type": "image/png"}
    for row, state in ((1, State.COMPLETED), (2, State.FAILED), (7, State.COMPLETED), (12, State.COMPLETED)):
        content = f"video {row}".encode()
        video = {"bucket": VIDEOS, "key": f"videos/{row}.mp4", "bytes": len(content)}
        video["sha256"] = hashlib.sha256(content).hexdigest()
        facts: dict[str, Any] = {"batch": BATCH, "row": row, "source": "batch", "name": f"spring-{row}"}
        if state is State.COMPLETED:
            world.aws["s3"].put_object(Bucket=VIDEOS, Key=video["key"], Body=content)
            facts["video"], videos[row] = video, content
        if row == 7:
            facts["image"] = image
        world.put(make_job(state, job_id=batch_job_id(BATCH, row), **facts))
    given = {"bucket": UPLOADS, "key": "batches/shop/spring.csv"}
    standing = Standing("RUNNING", "9 of 12 rows are finished", rows=12, given=given)
    monkeypatch.setattr(following, "look", lambda *_: standing)
    return videos


def test_a_batch_is_downloaded_with_readable_names(typed: Typed, made: dict[int, bytes], tmp_path: Path) -> None:
    result = typed("get", BATCH, "-o", "videos")
    assert result.exit_code == 0, result.output
    assert {file.name: file.read_bytes() for file in (tmp_path / "videos").iterdir()} == {
        "01-spring.mp4": made[1],
        "07-red_shoe.mp4": made[7],
        "12-spring.mp4": made[12],
    }
    assert "3 of 12 videos in videos" in result.stdout
    assert typed("get", BATCH).exit_code == 0
    assert len(list((tmp_path / "spring").iterdir())) == 3


def test_files_are_named_without_the_secrets_of_posted_ones(
    typed: Typed, world: Any, made: dict[int, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = "0123456789ab" * 2
    image = {"bucket": UPLOADS, "key": f"images/posted/2026-11-30/red-{secret}.png", "content_type": "image/png"}
    world.put(replace(world.job(batch_job_id(BATCH, 7)), image=image))
    given = {"bucket": UPLOADS, "key": f"staged/2026-11-30/spring-{secret}.csv"}
    standing = Standing("RUNNING", "9 of 12 rows are finished", rows=12, given=given)
    monkeypatch.setattr(following, "look", lambda *_: standing)
    assert typed("get", BATCH).exit_code == 0
    assert sorted(file.name for file in (tmp_path / "spring").iterdir()) == [
        "01-spring.mp4", "07-red.mp4", "12-spring.mp4"
    ]  # fmt: skip


def test_what_is_there_is_not_downloaded_again_and_never_overwritten(
    typed: Typed, world: Any, made: dict[int, bytes], tmp_path: Path
) -> None:
    typed("get", BATCH, "-o", "videos")
    (tmp_path / "videos/07-red_shoe.mp4").write_text("mine")
    (tmp_path / "videos/12-spring.mp4").unlink()
    world.calls.clear()
    result = typed("get", BATCH, "-o", "videos", "--json")
    assert result.exit_code == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["row"], line.get("was_there"), "error" in line) for line in lines] == [
        (1, True, False), (7, None, True), (12, False, False)
    ]  # fmt: skip
    assert "07-red_shoe.mp4 exists; --force overwrites it" in result.stderr
    assert [call["Key"] for call in world.called("GetObject")] == ["videos/12.mp4"]
    assert (tmp_path / "videos/07-red_shoe.mp4").read_text() == "mine"
    assert typed("get", BATCH, "-o", "videos", "--force").exit_code == 0
    assert (tmp_path / "videos/07-red_shoe.mp4").read_bytes() == made[7]


def test_a_video_may_go_to_standard_output(typed: Typed, made: dict[int, bytes], tmp_path: Path) -> None:
    result = typed("get", batch_job_id(BATCH, 7), "-o", "-")
    assert result.stdout_bytes == made[7]
    assert "spring-7.mp4" in result.stderr
    assert list(tmp_path.iterdir()) == []
    for wrong in (["get", BATCH, "-o", "-"], ["get", batch_job_id(BATCH, 7), "-o", "-", "--json"]):
        result = typed(*wrong)
        assert (result.exit_code, result.stdout) == (2, "")


def test_one_video_is_never_overwritten_without_force(typed: Typed, made: dict[int, bytes], tmp_path: Path) -> None:
    job = batch_job_id(BATCH, 1)
    (tmp_path / "mine.mp4").write_text("mine")
    result = typed("get", job, "-o", "mine.mp4")
    assert (result.exit_code, "mine.mp4 exists; --force overwrites it" in result.stderr) == (1, True)
    told = json.loads(typed("get", job, "-o", "new/folder/", "--json").stdout)
    assert Path(told["file"]) == Path("new/folder/spring-1.mp4")
    assert (tmp_path / told["file"]).read_bytes() == made[1]
    assert typed("get", job, "-o", "mine.mp4", "--force").exit_code == 0
