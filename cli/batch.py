"""`seedance batch`: check a manifest on this machine, upload it and its images to a stack, and follow the batch."""

from pathlib import Path
from typing import Annotated

import typer
from seedance.batches import manifest
from seedance.jobs import catalogue, requests
from seedance.jobs.defaults import Defaults

from cli import again, estimate, following, manifests, show, spending
from cli.estimate import TOLERATED_PERCENT
from cli.options import MaxUsd, Metadata, ModelName, OutputsFile, Settings, StackName, Transport, Yes
from cli.output import Exit, emit, say, warn
from cli.requests import Wish, read_labels, read_settings
from cli.target import DEFAULT_MODEL, CommandError, Target, find
from local.options import StackError


def batch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|FOLDER", help="A .csv or .jsonl manifest with one row per video, or a folder of images."
        ),
    ],
    *,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only check and estimate the cost; without a stack, from published prices."),
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Write the invalid rows to this CSV file.")] = None,
    prompt: Annotated[str | None, typer.Option(help="For a folder: what should happen in the videos.")] = None,
    model: ModelName = None,
    settings: Settings = None,
    transport: Transport = None,
    metadata: Metadata = None,
    image_column: Annotated[
        str | None, typer.Option(help="The image column, if it has another name.", metavar="NAME")
    ] = None,
    default_model: Annotated[
        str | None, typer.Option(help="The model for rows without one, for a check without a stack.")
    ] = None,
    tolerate: Annotated[
        float | None, typer.Option(min=0, max=99, help="Percentage of rows that may be invalid, without a stack.")
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed", help="Try the failed videos of the manifest's last batch, or of a batch, again."
        ),
    ] = False,
    yes: Yes = False,
    max_usd: MaxUsd = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show progress; exit 0 only if every row has its video.")
    ] = False,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Make a video from every row of a manifest, or from every image in a folder.

    Images that are beside the manifest are uploaded with it. If too many rows are invalid, nothing is bought. It asks
    before it buys videos for more than $10.
    """
    if retry_failed:
        again.retry_failed(find(stack, outputs), source, yes=yes, max_usd=max_usd, wait=wait)
        return
    wish = Wish(prompt, model, transport, read_settings(settings or []), labels=read_labels(metadata or []))
    opened = manifests.open_source(source, wish)
    manifests.check_name(opened)
    target = _asked(stack, outputs) if dry_run else find(stack, outputs)
    defaults = _defaults(target, default_model)
    checked = estimate.check(opened, defaults, image_column=image_column, report=report, target=target)
    checked.print()
    if refusal := checked.tally.refusal(_tolerated(target, tolerate)):
        emit(checked.facts())
        raise CommandError(refusal)
    if dry_run or target is None:
        emit(checked.facts())
        say("The stack checks the images in the bucket before anything is bought.")
        return
    tally = checked.tally
    spending.agree(show.number(tally.good, "video"), tally.estimate_usd, yes=yes, max_usd=max_usd)
    folder = manifests.upload_images(target, opened)
    name = manifests.send(target, opened, image_column, folder)
    key = manifest.beside(requests.BATCH_PREFIX + opened.name, name, requests.RESULTS_ENDING)
    where = f"s3://{target.output('UploadBucketName')}/{key}"
    say(f"batch {name}\nthe results will be at {where}")
    facts = {**checked.facts(), "batch_id": name, "results_key": key}
    if wait:
        _follow(target, name, where, facts)
    else:
        emit(facts)


def _follow(target: Target, name: str, where: str, facts: dict[str, object]) -> None:
    try:
        ended = following.follow(target, name)
    except KeyboardInterrupt:
        warn(f"\nstopped watching; the batch continues, and its results will be at {where}")
        raise typer.Exit(Exit.STOPPED) from None
    emit({**facts, **following.facts(target, name, ended)})
    following.tell(target, name, ended)


def _asked(stack: str | None, outputs: Path | None) -> Target | None:
    """The stack whose settings and bills a dry run uses. Only a stack that is named must exist."""
    if stack or outputs:
        return find(stack, outputs)
    try:
        return find(None, None)
    except (CommandError, StackError):
        return None


def _defaults(target: Target | None, named: str | None) -> Defaults:
    """What the stack uses for a row that leaves it open. ``named``: a model that a person has named instead."""
    usual = target.defaults if target else Defaults(DEFAULT_MODEL, "the stack's default", "v2")
    return Defaults(catalogue.find(named).slug, usual.prompt, usual.transport) if named else usual


def _tolerated(target: Target | None, named: float | None) -> float:
    if named is not None:
        return named
    if target is None:
        return TOLERATED_PERCENT
    return float(target.setting("BatchToleratedFailurePercent", str(TOLERATED_PERCENT)))
