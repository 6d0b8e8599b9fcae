"""The commands for operators: pause and resume, repair, explain, ledger."""

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
    reason: Annotated[str, typer.Option(help="The reason, shown on held jobs.")] = "paused by a person",
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Stop new submits. Videos in progress at the provider are still polled and copied."""
    fresh = asking.ask_repair(find(stack, outputs), ask="pause", reason=reason)["fresh"]
    out.print(
        "submits are paused; new jobs are HELD until `seedance resume`" if fresh else "submits were already paused"
    )


def resume(stack: StackName = None, outputs: OutputsFile = None) -> None:
    """Resume submits and release the jobs that were held in the meantime."""
    number = asking.to_its_end(find(stack, outputs), ask="resume")
    out.print(f"submits resumed; {show.number(number, 'held job')} released")


def release(stack: StackName = None, outputs: OutputsFile = None) -> None:
    """Release the jobs that are held because of the day's budget, without waiting for the next day."""
    out.print(f"{show.number(asking.to_its_end(find(stack, outputs), ask='release'), 'held job')} released")


def reindex(stack: StackName = None, outputs: OutputsFile = None) -> None:
    """Add the jobs of earlier releases to the list that `GET /videos` returns. Run it once after the update."""
    target = find(stack, outputs)
    for number in asking.index_all(target):
        out.print(f"{show.number(number, 'job')} added so far")
    out.print("every job is in the list now")


def redrive(
    batch: Annotated[str | None, typer.Argument(metavar="[BATCH]", help="A batch whose execution failed.")] = None,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Put dead letters back into their queue, or start a failed batch again. This never submits a job twice."""
    target = find(stack, outputs)
    if batch:
        out.print(asking.ask_repair(target, ask="restart", batch_id=batch)["said"], markup=False, soft_wrap=True)
        return
    out.print(f"{show.number(asking.to_its_end(target, ask='redrive'), 'message')} put back into the queue")


def retry(
    job_id: JobId,
    pay: Annotated[bool, typer.Option("--pay", help="Buy the video again if there is no result to copy.")] = False,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Try a FAILED, EXPIRED or HELD job again: copy its result if one is known, else submit it again, with --pay."""
    out.print(asking.ask_repair(find(stack, outputs), ask="retry", job_id=job_id, pay=pay)["said"])


def cancel(job_id: JobId, stack: StackName = None, outputs: OutputsFile = None) -> None:
    """Cancel a job before it is bought: one that is RECEIVED, or HELD for the budget or by a pause."""
    answer = asking.ask_repair(find(stack, outputs), ask="cancel", job_id=job_id)
    out.print(f"job {answer['job_id']} is {answer['state']}. {answer['said']}", markup=False, soft_wrap=True)


def resolve(
    job_id: JobId,
    *,
    adopt: Annotated[
        str | None, typer.Option(metavar="REQUEST_ID", help="This request at the provider is the job's.")
    ] = None,
    link: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Copy the video from this address.")] = None,
    resubmit: Annotated[bool, typer.Option("--resubmit", help="Submit the job again, and pay for it.")] = False,
    give_up: Annotated[bool, typer.Option("--give-up", help="Close the job as FAILED.")] = False,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Decide about a job whose submit may have reached the provider, or whose paid video can't be found."""
    answer = asking.ask_repair(
        find(stack, outputs), ask="resolve", job_id=job_id, adopt=adopt, link=link, resubmit=resubmit, give_up=give_up
    )
    out.print(answer["said"])


def adopt(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST", help="A provider request that has no job.")],
    *,
    model: Annotated[str, typer.Option(help="The model of the request.")],
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Create a job for a paid request that has none, and copy its video."""
    slug = catalogue.find(model).slug
    made = asking.ask_repair(find(stack, outputs), ask="take over", model=slug, request_id=request_id)
    out.print(f"job {made['job_id']} is {made['state']}; `seedance status {made['job_id']}` shows its progress")


def explain(job_id: JobId, stack: StackName = None, outputs: OutputsFile = None) -> None:
    """Show everything known about a job in time order: its record, executions, and the provider's history."""
    target = find(stack, outputs)
    job = target.job(job_id)
    out.print(show.job(job, target.time_scale), markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("Time (UTC)", "Source", "Event"):
        table.add_column(column, no_wrap=True)
    for moment, source, what in story.timeline(target, job):
        table.add_row(show.moment(moment), source, Text(what))
    out.print()
    out.print(table)


def ledger(
    day: Annotated[str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="A UTC day; default: today.")] = None,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Compare a day's bookings with the provider's history; exit 1 unless all three counts are zero."""
    try:
        wanted = date.fromisoformat(day) if day else datetime.now(UTC).date()
    except ValueError:
        raise CommandError(f"--date must be a day like 2026-11-20, not {day}") from None
    target = find(stack, outputs)
    found, drifts = balance.ledger(target, wanted), balance.drifts(target)
    booked = found.day
    facts = {
        "Day": f"{booked.day} (UTC)",
        "Reserved": f"${booked.reserved:.2f}",
        "Settled": f"${booked.settled:.2f}",
        "Released": f"${booked.released:.2f}",
        "Open": f"${booked.committed - booked.settled:.2f}",
        "Charged": f"${found.charged_usd:.2f} for {show.number(found.requests, 'request')}",
        "Paid again": f"${found.paid_again_usd:.2f} of that, by `retry` or `resolve`" if found.paid_again else None,
        "Price drift": f"{show.number(len(drifts), 'setting')}, by the median of the last bills" if drifts else None,
    }
    out.print(show.lines(facts), markup=False)
    for line in [*found.paid_again, *drifts]:
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
