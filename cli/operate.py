"""The commands for whoever runs the pipeline: stop and go, repair, explain, balance."""

from datetime import UTC, date, datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text
from seedance.jobs import catalogue
from seedance.jobs.job import Hold

from cli import money, show
from cli.options import JobId, OutputsFile, StackName, out
from cli.target import CommandError, find


def pause(
    reason: Annotated[str, typer.Option(help="Why; people see it on held jobs.")] = "a person stopped them",
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Stop new submits. What is at the provider is followed and copied as ever."""
    fresh = find(stack, outputs).jobs.pause(reason)
    out.print("submits are paused; new jobs are HELD until `seedance resume`" if fresh else "they were paused already")


def resume(stack: StackName = None, outputs: OutputsFile = None) -> None:
    """Let submits go on, and the jobs that were held meanwhile."""
    out.print(f"submits go on; {show.number(money.resume(find(stack, outputs)), 'held job')} let go")


def release(stack: StackName = None, outputs: OutputsFile = None) -> None:
    """Let go of the jobs that are held for the day's budget, today already."""
    out.print(f"{show.number(money.release(find(stack, outputs), Hold.BUDGET), 'held job')} let go")


def redrive(stack: StackName = None, outputs: OutputsFile = None) -> None:
    """Put dead letters back into their queue. No job is submitted twice by that."""
    out.print(f"{show.number(money.redrive(find(stack, outputs)), 'message')} put back")


def retry(
    job_id: JobId,
    pay: Annotated[bool, typer.Option("--pay", help="Buy the video anew if there is nothing to copy.")] = False,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Try a FAILED, EXPIRED or HELD job again: copy its result if one is known, else submit it with --pay."""
    target = find(stack, outputs)
    out.print(money.retry(target, target.job(job_id), pay))


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
    target = find(stack, outputs)
    out.print(money.resolve(target, target.job(job_id), adopt, resubmit=resubmit, give_up=give_up, link=link))


def adopt(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST", help="A request of the provider that has no job.")],
    *,
    model: Annotated[str, typer.Option(help="The model that it was made with.")],
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Make a job of a request that was paid for and has none, and bring its video home."""
    slug = catalogue.find(model).slug
    made = money.ask_reconcile(find(stack, outputs), ask="take over", model=slug, request_id=request_id)
    out.print(f"job {made['job_id']} is {made['state']}; `seedance status {made['job_id']}` shows how it goes on")


def explain(job_id: JobId, stack: StackName = None, outputs: OutputsFile = None) -> None:
    """All that is known of a job, in the order of time: record, executions, provider."""
    target = find(stack, outputs)
    job = target.job(job_id)
    out.print(show.job(job, target.time_scale), markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("When (UTC)", "From", "What"):
        table.add_column(column, no_wrap=True)
    for moment, source, what in money.timeline(target, job):
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
    balance = money.ledger(find(stack, outputs), wanted)
    booked = balance.day
    facts = {
        "Day": f"{booked.day} (UTC)",
        "Reserved": f"${booked.reserved:.2f}",
        "Settled": f"${booked.settled:.2f}",
        "Released": f"${booked.released:.2f}",
        "Still open": f"${booked.committed - booked.settled:.2f}",
        "Provider": f"${balance.charged_usd:.2f} for {show.number(balance.requests, 'request')}",
        "Paid again": f"${balance.paid_again_usd:.2f} of it, after `retry` or `resolve`"
        if balance.paid_again
        else None,
    }
    out.print(show.lines(facts), markup=False)
    for line in balance.paid_again:
        out.print(f"    {line}", markup=False, soft_wrap=True)
    for name, found in (
        ("duplicates", balance.duplicates),
        ("orphans", balance.orphans),
        ("unreconciled", balance.unreconciled),
    ):
        out.print(f"{name:<13} {len(found)}")
        for line in found:
            out.print(f"    {line}", markup=False, soft_wrap=True)
    if not balance.balanced:
        raise typer.Exit(1)
