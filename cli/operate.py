"""The commands for operators: pause and resume, repair, explain, ledger."""

from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated, Any

import typer
from rich.text import Text
from seedance.bounds import shown
from seedance.jobs import catalogue
from seedance.jobs.retrying import LEAST_USD, MOST_USD

from cli import actions, asking, balance, ids, progress, show, story
from cli.options import JobId, JobOrBatchId, OutputsFile, StackName, out
from cli.output import Exit, emit, say
from cli.target import Target, UsageError, find, usage


def pause(
    reason: Annotated[
        str | None,
        typer.Option(help="The reason, shown on held jobs. If submits are paused already, it replaces the old one."),
    ] = None,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Stop new submits. Videos in progress at the provider are still polled and copied."""
    answer = asking.ask_repair(find(stack, outputs), ask="pause", reason=reason)
    fresh, why = answer["fresh"], answer.get("reason") or reason or "no reason was given"
    emit({"paused": True, "fresh": fresh, "reason": why})
    if fresh:
        say(f"submits are paused ({why}); new jobs are HELD until `seedance resume`")
    else:
        say(f"submits were already paused; the reason is {'now' if reason else 'still'}: {why}")


def resume(
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Resume submits and release the jobs that were held in the meantime."""
    number = asking.to_its_end(find(stack, outputs), ask="resume").number
    emit({"paused": False, "released": number})
    say(f"submits resumed; {show.number(number, 'held job')} released")


def release(
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Release the jobs that are held because of the day's budget, as far as they fit in it now.

    Use it after raising DailyBudgetUsd. The next day releases all of them by itself.
    """
    done = asking.to_its_end(find(stack, outputs), ask="release")
    emit(
        {
            "released": done.number,
            "left": done.left,
            "left_usd": round(done.left_usd, 4),
            "room_usd": None if done.room_usd is None else round(done.room_usd, 4),
            "budget_usd": done.budget_usd,
        }
    )
    say(f"{show.number(done.number, 'held job')} released")
    if done.room_usd is not None:
        say(f"today's budget of ${done.budget_usd:,.2f} has room for about ${done.room_usd:,.2f} more")
    if done.left:
        say(
            f"{show.number(done.left, 'job')} stay held: they cost about ${done.left_usd:,.2f}, which does not fit "
            "today. They continue by themselves on the next day (UTC), or with `seedance release` once DailyBudgetUsd "
            "is raised"
        )


def reindex(stack: StackName = None, outputs: OutputsFile = None) -> None:
    """Add the jobs of earlier releases to the list of jobs. Run it once after the update; it may be repeated."""
    number = 0
    with progress.working("adding jobs to the list") as tell:
        for number in asking.index_all(find(stack, outputs)):
            tell(f"adding jobs to the list: {number:,}")
    emit({"added": number})
    say(f"{show.number(number, 'job')} added; every job is in the list now")


def redrive(
    batch: Annotated[str | None, typer.Argument(metavar="[BATCH]", help="A batch whose execution failed.")] = None,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Put dead letters back into their queues, or start a failed batch again. This never submits a job twice.

    Changes of state that could not be announced are announced again, if the stack still has them: it keeps them for a
    day.
    """
    target = find(stack, outputs)
    if batch:
        batch = ids.batch_id(target, batch)
        said = asking.ask_repair(target, ask="restart", batch_id=batch)["said"]
        emit({"batch_id": batch, "said": said})
        say(said)
        return
    number = asking.to_its_end(target, ask="redrive").number + asking.redrive_events(target)
    emit({"messages": number})
    say(f"{show.number(number, 'message')} put back into the queue")


def retry(
    job_id: JobId,
    pay: Annotated[bool, typer.Option("--pay", help="Buy the video again if no result can be copied.")] = False,
    max_usd: Annotated[
        float | None,
        typer.Option(
            "--max-usd",
            min=LEAST_USD,
            max=MOST_USD,
            metavar="USD",
            help="With --pay: the most that the video may cost, by its estimate.",
        ),
    ] = None,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Try a FAILED, EXPIRED or HELD job again: copy its result if that can help, else submit it again, with --pay."""
    if max_usd is not None and not pay:
        raise UsageError("--max-usd is only for a retry that may buy the video again: it needs --pay")
    target = find(stack, outputs)
    job_id = ids.job_id(target, job_id)
    limit: dict[str, Any] = {} if max_usd is None else {"max_usd": max_usd}  # an earlier release does not know it
    said = asking.ask_repair(target, ask="retry", job_id=job_id, pay=pay, **limit)["said"]
    emit({"job_id": job_id, "said": said})
    say(said)


def cancel(job_id: JobOrBatchId, stack: StackName = None, outputs: OutputsFile = None) -> None:
    """Cancel a job before it is bought: one that is RECEIVED, or HELD for the budget or by a pause. Or stop a batch.

    Every row of the batch that is not bought yet is cancelled. Videos that are bought go on.
    """
    target = find(stack, outputs)
    if ids.is_batch(job_id):
        _cancel_batch(target, ids.batch_id(target, job_id))
        return
    answer = asking.ask_repair(target, ask="cancel", job_id=ids.job_id(target, job_id))
    emit({"job_id": answer["job_id"], "state": answer["state"], "said": answer["said"]})
    say(f"job {answer['job_id']} is {answer['state']}. {answer['said']}")


def _cancel_batch(target: Target, batch_id: str) -> None:
    with progress.working("cancelling the batch"):
        batch = actions.cancel_batch(target, batch_id)
    emit(batch)
    counted = ", ".join(f"{number} {state}" for state, number in (batch.get("states") or {}).items() if number)
    say(f"batch {batch_id} is {batch['state']}{f': {counted}' if counted else ''}")


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
    target = find(stack, outputs)
    job_id = ids.job_id(target, job_id)
    said = asking.ask_repair(
        target, ask="resolve", job_id=job_id, adopt=adopt, link=link, resubmit=resubmit, give_up=give_up
    )["said"]
    emit({"job_id": job_id, "said": said})
    say(said)


def adopt(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST", help="A provider request that has no job.")],
    *,
    model: Annotated[str, typer.Option(help="The model of the request.")],
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Create a job for a paid request that has none, and copy its video."""
    with usage():
        slug = catalogue.find(model).slug
    made = asking.ask_repair(find(stack, outputs), ask="take over", model=slug, request_id=request_id)
    emit({"job_id": made["job_id"], "state": made["state"]})
    say(f"job {made['job_id']} is {made['state']}; `seedance status {made['job_id']}` shows its progress")


def explain(
    job_id: JobId,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Show everything known about a job in time order: its record, executions, and the provider's history."""
    target = find(stack, outputs)
    job = ids.job(target, job_id)
    say(show.job(job, target.time_scale, target.link(job)))
    with progress.working("reading the job's executions and the provider's history"):
        events = story.timeline(target, job)
    table = show.grid("Time", "Source", "Event", whole=("Time", "Source"))
    for moment, source, what in events:
        table.add_row(show.moment(moment, exact=True), source, Text(what))
    say("")
    out.print(table)
    timeline = [{"at": show.iso(moment), "source": source, "event": what} for moment, source, what in events]
    emit({"job": show.facts(job, target.time_scale, target.link(job)), "timeline": timeline})


def ledger(
    day: Annotated[str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="A UTC day; default: today.")] = None,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Compare a day's bookings with the provider's history; exit 1 unless all three counts are zero."""
    try:
        wanted = date.fromisoformat(day) if day else datetime.now(UTC).date()
    except ValueError:
        raise UsageError(f"--date must be a day like 2026-11-20, not {shown(day)}") from None
    target = find(stack, outputs)
    with progress.working("comparing the bookings with the provider's history"):
        found, drifts = balance.ledger(target, wanted), balance.drifts(target)
    booked = found.day
    emit({**asdict(found), "balanced": found.balanced, "price_drifts": drifts})
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
    say(show.lines(facts))
    for line in [*found.paid_again, *drifts]:
        say(f"    {line}")
    for name, entries in (
        ("duplicates", found.duplicates),
        ("orphans", found.orphans),
        ("unreconciled", found.unreconciled),
    ):
        say(f"{name:<13} {len(entries)}")
        for line in entries:
            say(f"    {line}")
    if not found.balanced:
        raise typer.Exit(Exit.FAILED)
