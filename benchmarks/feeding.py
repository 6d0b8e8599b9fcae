"""Measures what waiting costs a batch, and what a batch costs the jobs beside it: the real use cases in virtual time.

Two ways of taking in a batch: all rows at once, as release 0.1.0 did, and fed as the calendar has room. For each, how
often submit wakes up, what waiting costs, how long the batch takes, and how long 20 single jobs wait that arrive
together in the middle of it. The same 20 jobs alone are the comparison. Everything runs as in benchmarks/rate_limit.py.
"""

import contextlib
import io
import os
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import Any

from seedance.aws.table import IN_FLIGHT
from seedance.batches.job_states import Register
from seedance.batches.store import BatchStore
from seedance.enqueue import Enqueue
from seedance.jobs import catalogue
from seedance.jobs.creation import PlannedRow
from seedance.jobs.job import Job, State
from seedance.jobs.switch import Switch
from seedance.jobs.tasks import ChunkInput
from seedance.pacing.pacer import Pacer
from seedance.plan import CHUNK_ROWS

from benchmarks.cost import GB_SECOND, MEMORY_GB, PRICES, READ_UNIT, REQUEST, TRANSITION, WRITE_UNIT
from benchmarks.rate_limit import ENVIRONMENT, MODEL, PROMPT, Traffic, stack
from benchmarks.report import Table, publish
from local.sandbox import Sandbox

LIMIT = 50
ROWS = 2_000
MOST_ROWS = 100_000
SINGLES = 20
DROPPED_AT = 30 * 60.0
"""When the single jobs arrive, in seconds after the batch."""
POLLS = 5.0
"""The template's PollsPerVideo."""
CHILD_SECONDS = 1.0
"""How long Step Functions takes to start a child execution."""
WAKE_SECONDS = 0.1
FEED_SECONDS = 1.0
"""How long an invocation of submit that only waits, and one of enqueue, takes with 512 MB. Assumed, not measured."""

UNITS = {"GetItem": (1, 0), "BatchGetItem": (2, 0), "PutItem": (0, 2), "UpdateItem": (0, 3)}
"""DynamoDB's read and write units of a call. A job's update also changes its entry in an index (2 units)."""


@dataclass
class Beside:
    """The results of one run. Times are in the provider's seconds."""

    waits: list[float] = field(default_factory=list)
    """Of the single jobs: from arrival to accepted submit."""
    totals: list[float] = field(default_factory=list)
    """Of the single jobs: from arrival to the poll that found the video."""
    wakes: int = 0
    """Invocations of submit for the batch that only found that its job must wait."""
    rounds: int = 0
    """Invocations of enqueue."""
    children: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    """Calls to DynamoDB by those invocations, apart from creating jobs."""
    made: int = 0
    refused: int = 0
    ended: float = 0.0
    """When the batch's last video was found."""


class Batch(Traffic):
    """A batch and single jobs on one stack."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox, LIMIT, POLLS)
        self.beside = Beside()
        table = self.store._table
        sheets: Any = self
        queue: Any = self
        pacer: Pacer = self.pacer
        self.enqueue = Enqueue(self.store, sheets, queue, Register(table), pacer, Switch(table), BatchStore(table))
        self.counting: Counter[str] | None = None
        table.client.meta.events.register("provide-client-params.dynamodb", self._count)
        self.calendar.seen = self._seen

    def take_in(self, rows: int, *, fed: bool) -> None:
        """The batch's map: one chunk after the other."""
        for first in range(1, rows + 1, CHUNK_ROWS):
            last = min(rows, first + CHUNK_ROWS - 1)
            event: Any = {"batch_id": "b", "key": "batches/b.csv", "plan_key": "", "chunk": [first, last, first, last]}
            self.time.sleep(CHILD_SECONDS)
            if fed:
                event["next"] = 0
            self._chunk(event)

    def _chunk(self, event: ChunkInput) -> None:
        self.beside.children += 1
        while True:
            with self._counted():
                event = state = self.enqueue(event)
            self.beside.rounds += 1
            if state["status"] != "RUNNING":
                return
            self.time.sleep(state["wait_seconds"] + CHILD_SECONDS)

    def rows(self, key: str, first: int, last: int) -> Iterator[PlannedRow]:  # noqa: ARG002
        """The rows of the plan."""
        model = catalogue.find(MODEL)
        parameters = catalogue.validate(model, {"prompt": PROMPT}, has_image=False)
        for row in range(first, last + 1):
            yield {
                "row": row,
                "columns": {},
                "model": MODEL,
                "transport": "v2",
                "parameters": parameters,
                "image": None,
            }

    def send_all(self, job_ids: Iterable[str], delays: Iterable[float]) -> None:
        """The queue in front of submit."""
        for job_id, delay in zip(job_ids, delays, strict=True):
            self._invoke(round(delay), partial(self._wake, job_id, None))

    def send(self, job: Job, delay_seconds: float = 0) -> None:
        """The queue in front of submit."""
        self._invoke(min(900, round(delay_seconds)), partial(self._wake, job.job_id, job.turn_at))

    def _wake(self, job_id: str, turn: float | None) -> None:
        with self._counted() as calls:
            self.submit.advance(self._job(job_id), turn)
            job = self._job(job_id)
            if job.state is not State.RECEIVED:
                calls.clear()
            elif job.batch:
                self.beside.wakes += 1

    def start(self, job: Job, wait: float = 1.0, slot: int | None = None) -> None:
        """The workflow."""
        if not job.batch:
            self.beside.waits.append(self.time() - job.created_at)
        super().start(job, wait, slot)

    def _found(self, job: Job | None) -> None:
        super()._found(job)
        if job and job.batch:
            self.beside.made += 1
            self.beside.ended = self.time() - self.begin
        elif job:
            self.beside.totals.append(self.time() - job.created_at)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[Counter[str]]:
        """Count the calls of an invocation. Others may run while it sleeps, but only for a moment."""
        calls = self.counting = Counter[str]()
        try:
            yield calls
        finally:
            self.counting = None
            self.beside.calls += calls

    def _count(self, params: Any, model: Any, **_: Any) -> None:
        creates = model.name == "PutItem" and "#" not in str(params["Item"]["job_id"])
        of_the_calendar = IN_FLIGHT in str(params.get("Key"))  # part of a call that _seen counts
        if not creates and not of_the_calendar:
            self._seen(model.name)

    def _seen(self, call: str) -> None:
        if self.counting is not None:
            self.counting[call] += 1


def run(rows: int, singles: int, fed: bool) -> Beside:
    """Take in a batch, and drop single jobs beside it."""
    os.environ |= ENVIRONMENT
    with stack(LIMIT) as sandbox, contextlib.redirect_stdout(io.StringIO()):
        sandbox.state._random.seed(0)
        traffic = Batch(sandbox)
        if rows:
            traffic.time.at(traffic.begin, partial(traffic.take_in, rows, fed=fed))
        for number in range(singles):
            traffic.arrive(DROPPED_AT, number)
        traffic.time.run()
        traffic.beside.refused = sandbox.summary()["by_status_code"].get("429", 0)
    return traffic.beside


def dollars(found: Beside, rows: int) -> float:
    """What waiting costs per 1000 rows, in USD: all invocations that make no video, and the map's transitions."""
    units = [sum(UNITS.get(name, (0, 0))[of] * number for name, number in found.calls.items()) for of in (0, 1)]
    # Each round of enqueue reads the states of up to 100 rows, one unit each, and the plan's chunk.
    reads = found.rounds * CHUNK_ROWS if found.rounds > found.children else 0
    compute = (found.wakes * WAKE_SECONDS + found.rounds * FEED_SECONDS) * MEMORY_GB * GB_SECOND
    transitions = 3 * found.rounds + found.children
    paid = (
        transitions * TRANSITION
        + (found.wakes + found.rounds) * REQUEST
        + compute
        + (units[0] + reads) * READ_UNIT
        + units[1] * WRITE_UNIT
        + found.wakes * 3 * PRICES["sqs SendMessage"]
        + found.rounds * PRICES["s3 GetObject"]
    )
    return paid / rows * 1000


def _row(name: str, found: Beside, rows: int) -> list[str]:
    waits, totals = found.waits, found.totals
    batch = ["", "", "", ""]
    if rows:
        waited = f"{found.wakes / rows:.2f}"
        batch = [waited, f"{dollars(found, rows):.4f}", f"{found.ended / 60:.0f}", f"{rows / found.ended * 60:.1f}"]
    lag = [f"{statistics.mean(waits):.1f}", f"{max(waits):.1f}", f"{statistics.mean(totals):.0f}"]
    return [name, *batch, *lag, str(found.refused)]


def main() -> None:
    """Run the three loads, print the table and write it to docs/benchmarks.md."""
    with ProcessPoolExecutor(max_tasks_per_child=1, mp_context=get_context("spawn")) as lanes:
        old, new, alone = lanes.map(run, (ROWS, ROWS, 0), (SINGLES,) * 3, (False, True, False))
    gap = 120.0 / LIMIT
    # A job whose turn is i gaps away wakes submit every 15 minutes until then.
    wakes = gap * MOST_ROWS / 2 / 900
    price = dollars(old, ROWS) * wakes / max(0.01, old.wakes / ROWS)
    header = [
        f"{ROWS:,} rows",
        "wake-ups a row",
        "waiting, USD per 1000 rows",
        "batch (min)",
        "rows a minute",
        "single jobs: mean wait (s)",
        "longest wait (s)",
        "mean time to video (s)",
        "429s",
    ]
    names = ("all at once, as 0.1.0", "fed as there is room", f"no batch, {SINGLES} jobs alone")
    rows = [
        _row(name, found, ROWS if found.rounds else 0) for name, found in zip(names, (old, new, alone), strict=True)
    ]
    note = (
        f"{LIMIT} requests a minute, {MODEL}, PollsPerVideo {POLLS:.0f}; the {SINGLES} single jobs arrive together "
        f"{DROPPED_AT / 60:.0f} minutes after the batch. A wake-up is an invocation of submit that only finds that its "
        "job must wait. Waiting costs these, the invocations of enqueue, the map's transitions, and their calls. "
        f"With {MOST_ROWS:,} rows at once, a row wakes submit {wakes:.0f} times on average ({gap} s a turn, a message "
        f"waits at most 15 minutes): {wakes * MOST_ROWS / 1e6:.1f} million in all, ${price * MOST_ROWS / 1000:.0f}. "
        "Fed, the figures do not depend on the number of rows. Lambda's durations are assumed "
        f"({WAKE_SECONDS} s to wait, {FEED_SECONDS:.0f} s to feed)."
    )
    publish(Table("feeding", "A batch and its neighbours", header, rows, [note]))


if __name__ == "__main__":
    main()
