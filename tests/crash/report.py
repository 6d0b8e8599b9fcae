"""docs/reliability.md, written from a run of everything: ``make reliability``."""

import argparse
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import faults
import interleavings
import matrix
from scenarios import SCENARIOS
from stage import Stage, stage
from world import RECEIVES, VISIBILITY_SECONDS

DOCUMENT = Path(__file__).parents[2] / "docs/reliability.md"
COMMAND = "make reliability"
HISTORIES, STEPS = 300, 40
ENDS = ("COMPLETED", "HELD", "FAILED")

HEAD = """# Reliability: what happens when something dies

Every call that a function makes to AWS or to the provider is broken once, in every way, in every scenario
below; then the queue delivers again, the workflow tries again, reconcile makes its rounds, and the result is
judged. The calls are found by instrumenting botocore, httpx and urllib3 in a clean run, not listed by hand. This page
is written by `{command}` ({minutes:.0f} min); last on {date}.

| | points | violations |
|---|---:|---:|
| crash matrix | {crashes} | {crash_violations} |
| fault matrix | {faults} | {fault_violations} |
| random histories of up to {steps} steps | {histories} | {history_violations} |

**What must hold at rest**, in each of them: at most one POST accepted for a job; a terminal state with a
notification, or HELD with an alarm that the template watches (no job may stay UNCERTAIN once the provider's
history can be read); a video that was paid for is in the bucket, once, with the provider's bytes; people are
told of one end only; each day's ledger is open by what its jobs have reserved, and has settled what they say that
they settled; the provider's key and the signatures of our links are in no record and in no message. The random
histories hold all but "at rest" after every single step.

**The provider's clock** is its own: at each point of the crash matrix it is 0, 2 or 60 minutes ahead of ours or
behind it, and in the random histories it also drifts. Half of the histories run with `ResubmitLost=yes`.

**How a call is broken**: the process is *killed before* it; *killed after* it; it *takes effect and times out*,
for good; for AWS also: it takes effect, times out, and *botocore sends it again*. A kill ends everything in
that process: no `except`, no `finally`, no metric that was not written yet. Afterwards SQS shows the message
again after {visibility:.0f} s (dead letter after {receives}), Step Functions follows the Retry and Catch of the state
machine, the schedule calls reconcile again.
"""

CRASHES = """
## Crash matrix

"Held" needs a person: nobody can know whether a POST was sent by a process that died just before it, so a job
that the provider's history does not show waits for `seedance resolve`. No scenario buys a second video.

| scenario | clean end | calls | points | completed | held | failed | other | violations |
|---|---|---:|---:|---:|---:|---:|---:|---:|
"""

FAULTS = """
## Fault matrix

Every fault of the stand-in (`GET /_sandbox/fault-kinds`) at every stage that a job meets, once and for two
hours; what hangs, once only. Afterwards the provider is well again, and the next job must be COMPLETED. Not called
by any function, so not in here: {not_called}.

| stage | points | ends | violations |
|---|---:|---|---:|
"""


def main() -> int:
    """Run everything, print it as it comes, write the page; 1 when anything is violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="TEXT", help="scenarios whose name has it, nothing else, and no page")
    only = parser.parse_args().only
    began = time.monotonic()
    with stage() as servers:
        rows = _crashes(servers, only)
        violations = [f"{point}: {text}" for row in rows for point, text in row.violations]
        if not only:
            lines = _faults(servers)
            history = _histories(servers)
            violations += [text for line in lines for text in line.violations] + history
            DOCUMENT.write_text(_page(rows, lines, history, (time.monotonic() - began) / 60))
            print(f"written: {DOCUMENT}")
    points = sum(len(row.outcomes) for row in rows)
    print(f"{points} crash points, {len(violations)} violations in all, {time.monotonic() - began:.0f} s")
    return 1 if violations else 0


def _crashes(servers: Stage, only: str | None) -> list[matrix.Row]:
    rows = []
    for row in matrix.rows(servers, [one for one in SCENARIOS if not only or only in one.name]):
        print(f"{row.scenario.name}: {len(row.calls)} calls, {len(row.outcomes)} points, {dict(row.ends)}", flush=True)
        for point, text in row.violations:
            print(f"  VIOLATION {point}: {text}", flush=True)
        rows.append(row)
    return rows


def _faults(servers: Stage) -> list[faults.Line]:
    found = []
    for line in faults.lines(servers):
        print(f"faults on {line.stage}: {line.met} points, {line.ends}", *line.violations, sep="\n  ", flush=True)
        found.append(line)
    return found


def _histories(servers: Stage) -> list[str]:
    try:
        interleavings.play(servers, HISTORIES, STEPS)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        print(f"  VIOLATION in a random history: {error!r}", file=sys.stderr)
        return [f"random history: {error!r}"]
    return []


def _page(rows: list[matrix.Row], lines: list[faults.Line], history: list[str], minutes: float) -> str:
    text = HEAD.format(
        command=COMMAND,
        minutes=minutes,
        date=datetime.now(UTC).date().isoformat(),
        crashes=sum(len(row.outcomes) for row in rows),
        crash_violations=sum(len(row.violations) for row in rows),
        faults=sum(line.met for line in lines),
        fault_violations=sum(len(line.violations) for line in lines),
        histories=HISTORIES,
        history_violations=len(history),
        steps=STEPS,
        visibility=VISIBILITY_SECONDS,
        receives=RECEIVES,
    )
    text += CRASHES
    for row in rows:
        ends = [row.ends[end] for end in ENDS]
        other = len(row.outcomes) - sum(ends)
        cells = (row.scenario.name, row.scenario.ends, len(row.calls), len(row.outcomes), *ends, other)
        text += "| " + " | ".join(str(cell) for cell in (*cells, len(row.violations))) + " |\n"
    text += FAULTS.format(not_called=", ".join(faults.NOT_CALLED))
    for line in lines:
        ends = ", ".join(f"{number} {end}" for end, number in Counter(line.ends).most_common())
        text += f"| {line.stage} | {line.met} | {ends} | {len(line.violations)} |\n"
    found = [f"{point}: {words}" for row in rows for point, words in row.violations]
    found += [words for line in lines for words in line.violations] + history
    if found:
        text += "\n## Violations\n\n" + "".join(f"- {words}\n" for words in found[:20])
    return text
