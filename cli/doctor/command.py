"""`seedance doctor`: checks whether a stack works, and says what to do if not."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from cli import show
from cli.doctor import facts, report, running, spending
from cli.doctor.deployment import Deployment
from cli.doctor.evidence import gather
from cli.doctor.report import Line
from cli.doctor.results import Check, Result, failed
from cli.doctor.table import CHECKS
from cli.options import OutputsFile, StackName, err, out
from cli.output import Exit, emit, for_progress, say, wants_json, warn
from cli.target import CommandError, find
from local.launch import STACK_NAME

REPEAT = "The lines below may be incomplete. Look at the jobs with `seedance explain JOB`."

_WIDEST = 100


def doctor(
    *,
    spend: Annotated[
        bool, typer.Option("--spend", help="Also buy three short videos, after asking, to prove the whole path.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --spend: buy without asking.")] = False,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Check a stack, free of charge: one line for each check, and a remedy for each that failed.

    Exit 0: all is fine. Exit 1: a line failed, or could not be checked because a permission is missing. With --json, it
    prints a report without secrets, which can be sent back to the project.
    """
    if wants_json() and spend and not yes:
        raise typer.BadParameter("--json --spend can't ask; add --yes to buy without asking")
    if yes and not spend:
        raise typer.BadParameter("--yes is only for --spend")
    of = Deployment(find(stack, outputs), stack or STACK_NAME)
    lines: list[Line] = []
    bought: dict[str, Any] = {}
    complete = False
    try:
        for line in _examined(of, spend=spend, yes=yes, bought=bought):
            lines.append(line)
            _print(line, first=len(lines) == 1 or lines[-2].group != line.group)
        complete = True
    finally:
        if lines:
            emit(_report(of, lines, bought, complete=complete))
    say(f"\n{report.summary(lines)}")
    if not report.fine(lines):
        raise typer.Exit(Exit.FAILED)


def _examined(of: Deployment, *, spend: bool, yes: bool, bought: dict[str, Any]) -> Iterator[Line]:
    """The lines of the free checks and, with ``spend``, of the purchase and of the provider's contract."""
    results: dict[str, Result] = {}
    with _progress() as tell:
        for check, result in running.run(of, CHECKS, lambda _, left: tell(f"{show.number(left, 'check')} left")):
            results[check.name] = result
            yield _line(check, result)
    if not spend:
        return
    plan = spending.plan(of)
    if wrong := spending.obstacles(of, results, plan):
        raise CommandError(f"nothing was bought: {'; '.join(wrong)}")
    if not yes:
        warn(f"\n{plan.words}")
        question = f"Buy {show.number(len(plan.videos), 'video')} for about {show.money(plan.usd)}?"
        typer.confirm(question, abort=True, err=True)
    with _progress() as tell:
        done = spending.begin(of, plan, tell)
        try:
            spending.follow(of, done, tell)
        except KeyboardInterrupt:
            warn("\nstopped watching; the jobs continue: `seedance list`")
            raise typer.Exit(Exit.STOPPED) from None
        finally:
            bought |= done.as_json()
        tell("looking at the results")
        seen = gather(of, done)
    if seen.troubles:
        yield Line("evidence", "bought", "All evidence could be read.", REPEAT, failed(*seen.troubles))
    for name, about, result in spending.judged(of, done, seen.files):
        yield Line(name, "bought", about, spending.REMEDY, result)
    for name, about, result in facts.answered(seen):
        yield Line(name, "contract", about, facts.REMEDY, result)


def _line(check: Check, result: Result) -> Line:
    return Line(check.name, check.group, check.about, check.remedy, result)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Where progress is shown: on stdout if that is a terminal, since two consoles would overwrite each other."""
    console = for_progress() if sys.stdout.isatty() else err
    with console.status("checking") as status:
        yield lambda said: status.update(Text(said))


def _print(line: Line, *, first: bool) -> None:
    if first:
        out.print(Text(line.group, style="bold"))
    for number, text in enumerate(report.written(line, min(out.width, _WIDEST))):
        shown = Text(text)
        if number == 0:
            shown.stylize(report.style(line.result.status), 2, 2 + len(text[2:].split(" ", 1)[0]))
        out.print(shown, soft_wrap=True)


def _report(of: Deployment, lines: list[Line], bought: dict[str, Any], *, complete: bool) -> dict[str, Any]:
    return report.as_json(
        lines,
        complete=complete,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        region=of.region,
        emulated=of.emulated,
        parameters=of.parameters_seen,
        extra={"bought": bought} if bought else {},
    )
