"""`seedance drop` and `seedance submit`: request videos, and wait for them."""

import posixpath
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer
from seedance.errors import InvalidRequest
from seedance.jobs import labels
from seedance.jobs.job import Job, State

from cli import actions, images, progress, show, spending, watch
from cli.images import Local
from cli.options import MaxUsd, Metadata, ModelName, OutputsFile, Settings, StackName, Transport, Wait, Yes
from cli.output import Exit, emit, emit_line, for_progress, say, warn
from cli.requests import Wish, read_labels, read_settings
from cli.target import CommandError, Target, find

_SHOWN = 5


def drop(
    image: Annotated[list[str], typer.Argument(help="JPEG, PNG or WebP files, folders of them, or quoted globs.")],
    *,
    prompt: Annotated[str | None, typer.Option(help="What should happen in the video.")] = None,
    model: ModelName = None,
    settings: Settings = None,
    transport: Transport = None,
    metadata: Metadata = None,
    wait: Wait = False,
    yes: Yes = False,
    max_usd: MaxUsd = None,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Upload images to the bucket. The pipeline makes a video from each. All are checked before any is uploaded.

    It asks before it buys videos for more than $10. Prints a line of JSON for each video with --json.
    """
    labelled = read_labels(metadata or [])
    wish = Wish(prompt, model, transport, read_settings(settings or []), labels=labelled)
    wish.check(has_image=True)
    found, left_out = images.find(image)
    target = find(stack, outputs)
    request = wish.upload(target.defaults)
    for local in found:
        images.check_shape(local, any_shape=target.any_shape)
    for reason in left_out[:_SHOWN]:
        warn(f"left out: {reason}")
    if len(left_out) > _SHOWN:
        warn(f"left out: {len(left_out) - _SHOWN} more files")
    usd = len(found) * target.jobs.bills.estimate(request.model.slug, request.parameters)
    spending.agree(show.number(len(found), "video"), usd, yes=yes, max_usd=max_usd)
    if len(found) == 1:
        with progress.working(f"uploading {found[0].path.name}"):
            job_id = actions.drop(target, found[0], wish)
        _report(target, job_id, wait=wait)
        return
    _warn_if_paused(target)
    job_ids = _upload(target, found, wish)
    if wait:
        _report_all(target, job_ids)
        return
    for local, job_id in zip(found, job_ids, strict=True):
        say(f"job {job_id}  {local.path}")
        emit_line({"job_id": job_id, "image": str(local.path)})


def submit(
    *,
    prompt: Annotated[str, typer.Option(help="What should happen in the video.")],
    image: Annotated[
        str | None, typer.Option(help="The first image: a URL, a file, or s3://BUCKET/KEY, which may be any bucket.")
    ] = None,
    model: ModelName = None,
    settings: Settings = None,
    transport: Transport = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Repeating a request with the same key returns the same job and is billed once.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The video's name, in mails and for downloads. Default: the image file's.")
    ] = None,
    metadata: Metadata = None,
    wait: Wait = False,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Request a video through the API."""
    name = _named_after(image) if name is None and image else name
    wish = Wish(prompt, model, transport, read_settings(settings or []), name, read_labels(metadata or []))
    wish.check(has_image=False)
    target = find(stack, outputs)
    with progress.working("calling the API"):
        job_id = actions.submit(target, wish, image, idempotency_key)
    _report(target, job_id, wait=wait)


def _named_after(image: str) -> str | None:
    """The name of an image's file, without its ending, if it can be a job's name."""
    address = urlsplit(image)
    path = unquote(address.path) if address.scheme in ("http", "https") else image
    try:
        return labels.name(posixpath.splitext(posixpath.basename(path))[0] or None)
    except InvalidRequest:
        return None


def _upload(target: Target, found: Sequence[Local], wish: Wish) -> list[str]:
    target.client("s3")  # created here, because threads share it
    begun: list[str] = []

    def one(local: Local) -> str:
        job_id = actions.drop(target, local, wish)
        begun.append(job_id)
        return job_id

    try:
        return images.at_once(found, one, lambda local: local.size, "uploading the images")
    except BaseException:
        if begun:
            warn(f"{len(begun)} of {len(found)} images were uploaded, and their videos are made: {', '.join(begun)}")
        raise


def _warn_if_paused(target: Target) -> None:
    if reason := target.switch.paused():
        warn(f"submits are paused ({reason}); it is HELD until `seedance resume`")


def _report(target: Any, job_id: str, *, wait: bool) -> None:
    _warn_if_paused(target)
    say(f"job {job_id}")
    if not wait:
        say(f"`seedance status {job_id}` shows its status")
        emit({"job_id": job_id})
        return
    try:
        job = watch.follow(target, job_id, for_progress())
    except KeyboardInterrupt:
        warn(f"\nstopped watching; the job continues: `seedance status {job_id}`")
        raise typer.Exit(Exit.STOPPED) from None
    if job is None:
        raise CommandError(
            f"job {job_id} did not appear within {watch.PATIENCE_SECONDS:.0f} s; check the queues and the submit "
            "function's log"
        )
    link = target.link(job)
    emit(show.facts(job, target.time_scale, link))
    if job.state is not State.COMPLETED or not job.video:
        raise CommandError(watch.reason(job))
    say(f"s3://{job.video['bucket']}/{job.video['key']}")
    if link:
        say(link)
    say(f"cost {show.money(job.cost_usd)}; `seedance get {job_id}` downloads it")


def _report_all(target: Target, job_ids: Sequence[str]) -> None:
    try:
        jobs = watch.follow_all(target, job_ids)
    except KeyboardInterrupt:
        warn(f"\nstopped watching; the jobs continue: {', '.join(job_ids)}")
        raise typer.Exit(Exit.STOPPED) from None
    for job in jobs:
        emit_line(show.facts(job, target.time_scale, target.link(job)))
        if job.state is State.COMPLETED:
            say(f"job {job.job_id}  {show.money(job.cost_usd)}  {job.name}")
        else:
            warn(watch.reason(job))
    say(f"cost {show.money(sum(job.cost_usd or 0.0 for job in jobs))}")
    if missing := len(job_ids) - _made(jobs):
        raise CommandError(f"{missing} of {len(job_ids)} images have no video")


def _made(jobs: Sequence[Job]) -> int:
    return sum(job.state is State.COMPLETED for job in jobs)
