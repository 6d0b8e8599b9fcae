"""Runs all crash tests and writes docs/reliability.md: ``make reliability``.

The results are kept in docs/reliability.json. So a scenario that has changed can be run again without the others
(``--only``), and the page says for each part when it ran.
"""

import argparse
import json
import logging
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import faults
import interleavings
import matrix
from scenarios import SCENARIOS
from sections import section
from stage import stage
from world import RECEIVES, VISIBILITY_SECONDS

from local.sandbox.kinds import STAGES

DOCUMENT = Path(__file__).parents[2] / "docs/reliability.md"
RESULTS = DOCUMENT.with_suffix(".json")
COMMAND = "make reliability"
HISTORIES, STEPS = 300, 40
HISTORY_SEEDS = 6
"""The random histories are divided into this many parts, so that all cores are used."""
ENDS = ("COMPLETED", "HELD", "FAILED")

HEAD = """# Reliability: what happens when a call fails

In each scenario below, every call of a function to AWS or to the provider fails once in every way. Then the queue
delivers again, the workflow retries, reconcile runs its rounds, and the result is checked. The calls are recorded by
instrumenting botocore, httpx and urllib3 in a clean run, not listed by hand. This page is written by `{command}`, which
takes about an hour on two cores, except for [a hostile world](#a-hostile-world) and what follows it.

| | points | violations |
|---|---:|---:|
| crash matrix | {crashes} | {crash_violations} |
| fault matrix | {faults} | {fault_violations} |
| random histories of up to {steps} steps | {histories} | {history_violations} |

**What must be true in the end**, when nothing changes any more:

- The provider accepted at most one POST for a job, and one more for each retry that a person let pay.
- The job is in a terminal state with a notification, or HELD with an alarm that the template defines. No job may stay
  UNCERTAIN once the provider's history can be read.
- A video that was paid for is in the bucket, once, with the provider's bytes; unless it can't be had, and a person paid
  for another one.
- A completed job has the lasting link that the last answer said, or none if it was revoked; a revoked link leads
  nowhere.
- People are notified of one outcome only.
- Each day's ledger shows as reserved and as settled exactly what its jobs reserved and settled.
- The provider's key and the signatures of our links are in no record, no message and no event.
- Every state that a job reached is announced on the event bus, in order, with the same id however often; and if there
  are webhooks, each arrives with a valid signature.

In the random histories, everything that does not depend on the end is checked after every step.

**The provider's clock** differs from ours: at each point of the crash matrix it is up to an hour ahead or behind, and
in the random histories it also drifts. Half of the histories run with `ResubmitLost=yes`.

**How a call fails**: the process is *killed before* it; the process is *killed after* it; the call *takes effect and
times out* permanently; for AWS also: it takes effect, times out, and *botocore sends it again*. A kill ends the process
at once: no `except` and no `finally` runs, and metrics that are not written yet are lost. Afterwards SQS delivers the
message again after {visibility:.0f} s (dead letter after {receives}), Step Functions follows the Retry and Catch of the
state machine, and the schedule invokes reconcile again.
"""

CRASHES = """
## Crash matrix

"Held" needs a person: if a process dies around the POST, it is unknown whether the POST was sent. If the provider's
history does not show the job, it waits for `seedance resolve`. No scenario buys a second video, except where a
person asks for that.

| scenario | clean end | calls | points | completed | held | failed | other | violations | run on |
|---|---|---:|---:|---:|---:|---:|---:|---:|---|
"""

FAULTS = """
## Fault matrix

Every fault of the stand-in (`GET /_sandbox/fault-kinds`) at every stage of a job, once and for two hours; faults that
hang, once only. Afterwards the provider works again, and the next job must be COMPLETED. Not tested, because no
function calls them: {not_called}.

| stage | points | ends | violations | run on |
|---|---:|---|---:|---|
"""


@dataclass(frozen=True)
class Found:
    """The results of one unit of work: a scenario, a stage of the stand-in, or some histories."""

    name: str
    calls: int = 0
    points: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    violations: tuple[str, ...] = ()
    run_on: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())

    def __str__(self) -> str:
        return "\n  ".join([f"{self.name}: {self.points} points, {dict(self.ends)}", *self.violations])


Parts = dict[str, dict[str, Found]]
"""The results by kind of test and by name."""


def main() -> int:
    """Run everything, print results as they arrive, and write the page. Returns 1 if there is any violation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="TEXT", help="only run parts with TEXT in their names; the others are kept")
    only = parser.parse_args().only
    began = time.monotonic()
    parts: Parts = {name: {} for name in WORK}
    with _workers() as pool:
        names = [(part, one) for part, (_, all_of_it) in WORK.items() for one in all_of_it if (only or "") in one]
        runs = {pool.submit(WORK[part][0], one): part for part, one in names}
        for done in as_completed(runs):
            found = done.result()
            parts[runs[done]][found.name] = found
            print(found, flush=True)
    violations = sum(len(found.violations) for part in parts.values() for found in part.values())
    points = sum(found.points for part in parts.values() for found in part.values())
    if only:
        parts = {part: _kept().get(part, {}) | found for part, found in parts.items()}
    RESULTS.write_text(json.dumps(_as_data(parts), indent=1) + "\n")
    DOCUMENT.write_text(_with_the_other_sections(_page(parts)))
    print(f"written: {DOCUMENT}\n{points} points, {violations} violations, {time.monotonic() - began:.0f} s")
    return 1 if violations else 0


def _as_data(parts: Parts) -> dict[str, list[dict[str, object]]]:
    return {part: [vars(found[name]) for name in WORK[part][1] if name in found] for part, found in parts.items()}


def _kept() -> Parts:
    """The results of earlier runs, without those of scenarios that no longer exist."""
    data = json.loads(RESULTS.read_text())
    return {
        part: {one["name"]: Found(**{**one, "ends": Counter(one["ends"])}) for one in found if one["name"] in names}
        for part, found in data.items()
        if (names := WORK[part][1])
    }


def _with_the_other_sections(text: str) -> str:
    """The page with the sections that `make hostile` and `make contract` write."""
    page = DOCUMENT.read_text()
    return "\n".join(filter(None, (text, section(page, "hostile"), section(page, "contract"))))


def _workers() -> ProcessPoolExecutor:
    """One process per core, each with its own servers."""
    return ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"), initializer=_open_stage)


_open = ExitStack()


def _open_stage() -> None:
    logging.disable()
    global _servers  # noqa: PLW0603 - one stage per process, opened at its start
    _servers = _open.enter_context(stage())


def _crash(name: str) -> Found:
    (row,) = matrix.rows(_servers, [one for one in SCENARIOS if one.name == name])
    violations = tuple(f"{point}: {text}" for point, text in row.violations)
    return Found(name, len(row.calls), len(row.outcomes), row.ends, violations)


def _faults(name: str) -> Found:
    line = faults.line(_servers, name)
    return Found(name, points=line.met, ends=Counter(line.ends), violations=line.violations)


def _histories(name: str) -> Found:
    number, seed = HISTORIES // HISTORY_SEEDS, int(name.rpartition(" ")[2])
    try:
        interleavings.play(_servers, number, STEPS, seed)
    except Exception as error:  # noqa: BLE001 - any exception is a finding
        return Found(name, points=number, violations=(f"random history of seed {seed}: {error!r}",))
    return Found(name, points=number)


WORK: dict[str, tuple[Callable[[str], Found], list[str]]] = {
    "crashes": (_crash, [one.name for one in SCENARIOS]),
    "faults": (_faults, list(STAGES)),
    "histories": (_histories, [f"histories {seed}" for seed in range(HISTORY_SEEDS)]),
}
"""Each kind of test: what runs a part of it, and the names of its parts."""


def _page(parts: Parts) -> str:
    rows, lines, plays = (list(parts[part].values()) for part in WORK)
    text = HEAD.format(
        command=COMMAND,
        crashes=sum(row.points for row in rows),
        crash_violations=sum(len(row.violations) for row in rows),
        faults=sum(line.points for line in lines),
        fault_violations=sum(len(line.violations) for line in lines),
        histories=sum(play.points for play in plays),
        history_violations=sum(len(play.violations) for play in plays),
        steps=STEPS,
        visibility=VISIBILITY_SECONDS,
        receives=RECEIVES,
    )
    text += CRASHES
    for scenario in SCENARIOS:
        row = parts["crashes"].get(scenario.name, Found(scenario.name, run_on="never"))
        ends = [row.ends[end] for end in ENDS]
        counts = (row.calls, row.points, *ends, row.points - sum(ends), len(row.violations))
        cells = (row.name, scenario.ends, *counts, row.run_on)
        text += "| " + " | ".join(str(cell) for cell in cells) + " |\n"
    text += FAULTS.format(not_called=", ".join(faults.NOT_CALLED))
    for line in lines:
        if line.points:
            ends = ", ".join(f"{number} {end}" for end, number in line.ends.most_common())
            text += f"| {line.name} | {line.points} | {ends} | {len(line.violations)} | {line.run_on} |\n"
    found = [words for part in (*rows, *lines, *plays) for words in part.violations]
    if found:
        text += "\n## Violations\n\n" + "".join(f"- {words}\n" for words in found[:20])
    return text
