"""`seedance get`: download a job's video, or all videos of a batch."""

import os
import posixpath
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from seedance.aws.fields import FILE_NAME_BYTES, cut
from seedance.bounds import well_formed
from seedance.jobs.job import Job, State
from seedance.jobs.prefixes import readable

from cli import actions, following, ids, images, progress, show
from cli.again import read_states
from cli.options import JobOrBatchId, OutputsFile, StackName
from cli.output import emit, emit_line, say, wants_json, warn
from cli.target import CommandError, Target, UsageError, find

STDOUT = "-"

_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
"""What a file name can't have on one of the usual systems."""


def get(
    job_id: JobOrBatchId,
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="A file; a folder, if it exists or ends with a slash; - is standard output."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Download a job's video, or all videos of a batch into a folder.

    The file is named after the job. A batch's videos are named after their row and image. A file that exists already
    is not changed.
    """
    if output == STDOUT and (wants_json() or ids.is_batch(job_id)):
        raise UsageError("-o - is for the video of one job, without --json")
    target = find(stack, outputs)
    if ids.is_batch(job_id):
        _get_batch(target, ids.batch_id(target, job_id), output, force=force)
        return
    job = ids.job(target, job_id)
    if output == STDOUT:
        with progress.working(f"downloading {job.name}.mp4"):
            size = actions.pour(target, job, sys.stdout.buffer)
        warn(f"{job.name}.mp4 ({progress.megabytes(size)})")
        return
    actions.check_video(job)
    file = destination(output, file_name(job))
    with progress.working(f"downloading {file.name}"):
        size = actions.fetch(target, job, file, force=force)
    say(f"{file} ({progress.megabytes(size)})")
    emit({"job_id": job.job_id, "file": str(file), "bytes": size, "sha256": job.video and job.video["sha256"]})


def destination(output: str | None, name: str) -> Path:
    """Where a file of this name goes. A folder that ends with a slash is created."""
    if output is None:
        return Path(name)
    path = Path(output)
    if output.endswith(("/", os.sep)):
        path.mkdir(parents=True, exist_ok=True)
    return path / name if path.is_dir() else path


def file_name(job: Job, digits: int = 0) -> str:
    """The name of a job's video for people. With ``digits``, it begins with the row, so that files are in its order."""
    stem = job.name
    if digits and job.row is not None:
        own = posixpath.splitext(posixpath.basename(readable(job.image["key"])))[0] if job.image else ""
        stem = f"{job.row:0{digits}d}-{own or job.name.removesuffix(f'-{job.row}')}"
    return cut(_UNSAFE.sub("_", well_formed(stem)), FILE_NAME_BYTES - 10) + ".mp4"


@dataclass(frozen=True)
class _Row:
    """A row of a batch that has a video: its job, its file, and whether it was there already or why it failed."""

    job: Job
    file: Path
    was_there: bool = False
    error: str | None = None


def _get_batch(target: Target, batch: str, output: str | None, *, force: bool) -> None:
    with progress.working("reading the batch"):
        now = following.look(target, batch)
    if now is None:
        raise CommandError(f"batch {batch} does not exist")
    if not now.rows:
        raise CommandError(f"batch {batch} has no videos: {now.words}")
    name = posixpath.splitext(posixpath.basename(readable(now.given["key"])))[0]
    folder = Path(output if output is not None else _UNSAFE.sub("_", name))
    folder.mkdir(parents=True, exist_ok=True)
    states = read_states(target, batch, now.rows)
    with progress.working("reading the batch's jobs"):
        made = [job for one, state in states.items() if state is State.COMPLETED and (job := target.jobs.get(one))]
    digits = len(str(now.rows))
    target.client("s3")  # created here, because threads share it

    def one(job: Job) -> _Row:
        file = folder / file_name(job, digits)
        try:
            if not force and actions.is_there(job, file):
                return _Row(job, file, was_there=True)
            actions.fetch(target, job, file, force=force)
        except CommandError as error:
            return _Row(job, file, error=str(error))
        return _Row(job, file)

    rows = images.at_once(made, one, lambda job: job.video["bytes"] if job.video else 0, "downloading the videos")
    for row in rows:
        _tell(row)
    there, failed = sum(row.was_there for row in rows), [row for row in rows if row.error]
    already = f", {there} of them were there already" if there else ""
    say(f"{len(rows) - len(failed)} of {show.number(now.rows, 'video')} in {folder}{already}")
    if failed:
        raise CommandError(f"{len(failed)} of {len(rows)} videos were not downloaded")


def _tell(row: _Row) -> None:
    facts = {"job_id": row.job.job_id, "row": row.job.row, "file": str(row.file)}
    if row.error:
        warn(row.error)
        emit_line({**facts, "error": row.error})
        return
    size = row.job.video["bytes"] if row.job.video else 0
    if not row.was_there:
        say(f"{row.file} ({progress.megabytes(size)})")
    emit_line({**facts, "bytes": size, "was_there": row.was_there})
