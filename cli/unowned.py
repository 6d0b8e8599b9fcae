"""What `up` reports about a kept stack: jobs in progress, and requests that a crash left without a job."""

from typing import TYPE_CHECKING

from seedance.jobs import catalogue

from cli import asking, show
from cli.options import err, out
from cli.target import CommandError, Target

if TYPE_CHECKING:
    from seedance.upkeep.questions import ShownRequest


def report(target: Target, crashed_since: float | None) -> None:
    """Continue the jobs in progress and report their number. After a crash, also list the requests without a job.

    ``crashed_since``: jobs created after this Unix time may be lost; None after a clean stop.
    """
    under_way = asking.ask_repair(target, ask="go on")["under_way"]
    if under_way:
        out.print(f"\n{show.number(under_way, 'job')} in progress at the provider; polling continues")
    if crashed_since is None:
        return
    out.print("\nthe stack was not stopped with `seedance down`; searching the history for requests without a job")
    found = 0
    for slug in catalogue.MODELS:
        try:
            answer = asking.ask_repair(target, ask="unowned", model=slug, since=crashed_since)
        except CommandError as error:
            err.print(f"{slug}: its history could not be read: {error}", markup=False, soft_wrap=True)
            err.print("`seedance ledger` can compare a day with it later", markup=False)
            continue
        found += len(answer["requests"])
        for request in answer["requests"]:
            out.print(_line(slug, request), markup=False, soft_wrap=True)
        if missing := answer.get("incomplete"):
            err.print(f"{slug}: {missing}", markup=False, soft_wrap=True)
    if not found:
        out.print("every request has a job")


def _line(model: str, request: "ShownRequest") -> str:
    """A request, with the command that adopts it."""
    request_id, job_id = request["request_id"], request["job_id"]
    command = f"resolve {job_id} --adopt {request_id}" if job_id else f"adopt {request_id} --model {model}"
    when = show.moment(request["created_at"]) if request["created_at"] else "at an unknown time"
    return f"  {request['status']}, {when}, {show.money(request['cost_usd'])}: seedance {command}"
