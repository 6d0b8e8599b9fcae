"""`seedance list`: the stack's jobs, newest first. The same list as `GET /videos` of the API."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import typer
from botocore.exceptions import ClientError
from seedance.bounds import shown
from seedance.jobs import catalogue
from seedance.jobs.job import State
from seedance.rest.listing import MOST, SOURCES, Listing
from seedance.rest.views import ListedVideo

from cli import ids, progress, show
from cli.options import ModelName, OutputsFile, StackName, out
from cli.output import emit_line, say
from cli.target import CommandError, Target, find

_TIME = "such as 2026-11-20 or 2026-11-20T09:30, in this machine's time if it has no zone"


def _sources(incomplete: str) -> list[str]:
    return [source for source in SOURCES if source.startswith(incomplete)]


def list_jobs(
    *,
    state: Annotated[
        list[State] | None, typer.Option(case_sensitive=False, help="Only jobs in this state; repeatable.")
    ] = None,
    model: ModelName = None,
    source: Annotated[
        str | None, typer.Option(autocompletion=_sources, help=f"Only jobs from this: {', '.join(SOURCES)}.")
    ] = None,
    batch: Annotated[
        str | None, typer.Option(metavar="BATCH", help="Only jobs of this batch: its id, or a prefix of it.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Only jobs whose name begins with this.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Only jobs created at this time or later, {_TIME}.")
    ] = None,
    before: Annotated[str | None, typer.Option(metavar="TIME", help="Only jobs created before this time.")] = None,
    updated_since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only jobs that changed at this time or later.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of jobs to show.")] = 20,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """List jobs, newest first. All filters that are given must apply.

    With --json, it prints a line for each job, with the fields of GET /videos.
    """
    given = {
        "state": ",".join(dict.fromkeys(one.value for one in state or [])),
        "model": catalogue.find(model).slug if model else None,
        "source": source,
        "name_prefix": name,
        "created_since": _moment("--since", since),
        "created_before": _moment("--before", before),
        "updated_since": _moment("--updated-since", updated_since),
    }
    target = find(stack, outputs)
    given["batch"] = ids.batch_id(target, batch) if batch else None
    wanted = {field: value for field, value in given.items() if value}
    found = list(_found(target, wanted, limit))
    for job in found:
        emit_line(job)
    if found:
        out.print(show.jobs(found, out.width))
    else:
        say("no such jobs" if wanted else "no jobs yet")


def _found(target: Target, wanted: dict[str, str], limit: int) -> Iterator[ListedVideo]:
    """Up to ``limit`` jobs. A page may be short although there are more, so pages are read until there are enough."""
    listing = Listing(target.by_month)
    query, left = dict(wanted), limit
    with progress.working("reading the jobs"):
        while True:
            try:
                page = listing.page({**query, "limit": str(min(left, MOST))})
            except ClientError as error:
                if "specified index" not in str(error):
                    raise
                raise CommandError("the stack runs an earlier release without this list; deploy this release") from None
            yield from page["videos"]
            left -= len(page["videos"])
            if not left or page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]


def _moment(option: str, text: str | None) -> str | None:
    """A time with its zone, in ISO 8601; without one, this machine's."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.strip()).astimezone().isoformat()
    except (ValueError, OverflowError, OSError):
        raise CommandError(f"{option} must be a time {_TIME}; not {shown(text)}") from None
