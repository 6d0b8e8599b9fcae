"""The commands for whoever runs the pipeline: stop and go, repair, explain, balance."""

from datetime import UTC, date, datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text
from seedance.jobs import catalogue

from cli import asking, balance, show, story
from cli.options import JobId, OutputsFile, StackName, out
from cli.target import CommandError, find


def pause(
    reason: Annotated[str, typer.Option(help="Why; people see it on held jobs.")] = "a person stopped them",
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Stop new submits. What is at the provider is followed and copied as ever."""
    fresh = asking.ask_repair(find(stack, outputs), ask="pause", reason=reason)["fresh"]
    out.print("submits are paused; new jobs are HELD until `seedance resume`" if fresh else "they were paused already")


def resume(stack: StackName = None, outputs: OutputsFile = None) -> None:
    """Resume submissions, and release the jobs that were held meanwhile."""
    number = asking.to_its_end(find(stack, outputs), ask="resume")
    out.print(f"Submissions resumed; {show.number(number, 'held job')} released")


def release(stack: StackName = None, outputs: OutputsFile = None) -> None:
    """Release the jobs that are held for the day's budget now, without waiting for tomorrow."""
    out.print(f"{show.number(asking.to_its_end(find(stack, outputs), ask='release'), 'held job')} released")


def redrive(stack: StackName = None, outputs: OutputsFile = None) -> None:
    """Put dead letters back into their queue. No job is submitted twice by that."""
    out.print(
        f"{show.number(asking.to_its_end(find(stack, outputs), ask='redrive'), 'message')} put back into the queue"
    )


def retry(
    job_id: JobId,
    pay: Annotated[bool, typer.Option("--pay", help="Buy the video anew if there is nothing to copy.")] = False,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Try a FAILED, EXPIRED or HELD job again: copy its result if one is known, else submit it with --pay."""
    out.print(asking.ask_repair(find(stack, outputs), ask="retry", job_id=job_id, pay=pay)["said"])


def resolve(
    job_id: JobId,
    *,
    adopt: Annotated[str | None, typer.Option(metavar="REQUEST_ID", help="This request of the provider is it.")] = None,
    link: Annotated[str | None, typer.Option(metavar="ADDRESS", help="The video is here; copy it.")] = None,
    resubmit: Annotated[bool, typer.Option("--resubmit", help="It never arrived; submit it again, and pay.")] = False,
    give_up: Annotated[bool, typer.Option("--give-up", help="Close it as FAILED.")] = False,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Decide about a job whose submit may or may not have arrived, or whose paid video can't be found."""
    decision = {"adopt": adopt, "link": link, "resubmit": resubmit, "give_up": give_up}
    out.print(asking.ask_repair(find(stack, outputs), ask="resolve", job_id=job_id, **decision)["said"])


def adopt(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST", help="A request of the provider that has no job.")],
    *,
    model: Annotated[str, typer.Option(help="The model that it was made with.")],
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Make a job of a request that was paid for and has none, and bring its video home."""
    slug = catalogue.find(model).slug
    made = asking.ask_repair(find(stack, outputs), ask="take over", model=slug, request_id=request_id)
    out.print(f"job {made['job_id']} is {made['state']}; `seedance status {made['job_id']}` shows how it goes on")


def explain(job_id: JobId, stack: StackName = None, outputs: OutputsFile = None) -> None:
    """All that is known of a job, in the order of time: record, executions, provider."""
    target = find(stack, outputs)
    job = target.job(job_id)
    out.print(show.job(job, target.time_scale), markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("When (UTC)", "From", "What"):
        table.add_column(column, no_wrap=True)
    for moment, source, what in story.timeline(target, job):
        table.add_row(show.moment(moment), source, Text(what))
    out.print()
    out.print(table)


def ledger(
    day: Annotated[str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="A UTC day; default today.")] = None,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Balance a day against the provider's history; exit 1 unless the three counts are zero."""
    try:
        wanted = date.fromisoformat(day) if day else datetime.now(UTC).date()
    except ValueError:
        raise CommandError(f"--date must be a day such as 2026-11-20, not {day}") from None
    found = balance.ledger(find(stack, outputs), wanted)
    booked = found.day
    facts = {
        "Day": f"{booked.day} (UTC)",
        "Reserved": f"${booked.reserved:.2f}",
        "Settled": f"${booked.settled:.2f}",
        "Released": f"${booked.released:.2f}",
        "Still open": f"${booked.committed - booked.settled:.2f}",
        "Provider": f"${found.charged_usd:.2f} for {show.number(found.requests, 'request')}",
        "Paid again": f"${found.paid_again_usd:.2f} of it, after `retry` or `resolve`" if found.paid_again else None,
    }
    out.print(show.lines(facts), markup=False)
    for line in found.paid_again:
        out.print(f"    {line}", markup=False, soft_wrap=True)
    for name, entries in (
        ("duplicates", found.duplicates),
        ("orphans", found.orphans),
        ("unreconciled", found.unreconciled),
    ):
        out.print(f"{name:<13} {len(entries)}")
        for line in entries:
            out.print(f"    {line}", markup=False, soft_wrap=True)
    if not found.balanced:
        raise typer.Exit(1)
