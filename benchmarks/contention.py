"""Measures contention on the calendar: writers change its one item as fast as possible, on the emulator's DynamoDB.

Each writer is a thread with its own client, like a function. The results are how often a change conflicts with another
one and must be repeated, and how long it takes in total. A stack at 1000 requests a minute makes 17 changes a second.
"""

import random
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from seedance.aws.job_table import JobTable
from seedance.pacing.calendar import Calendar
from seedance.pacing.pacer import ATTEMPTS, Pacer

from benchmarks.report import Table, publish
from local import aws
from local import stack as local_stack
from local.stack import Options, Stack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

WRITERS = (1, 2, 4, 8, 16)
CHANGES = 240
"""The number of changes by all writers together."""


class Counting(Pacer):
    """A pacer that counts its writes that failed because of a conflict."""

    lost = 0

    def _write(self, calendar: Calendar, version: "AttributeValueTypeDef | None") -> bool:
        written = super()._write(calendar, version)
        self.lost += not written
        return written


def crowd(stack: Stack, writers: int) -> tuple[float, int, int, list[float]]:
    """Plan polls with all writers. Returns total seconds, conflicts, abandoned changes, and seconds per change."""
    together, times, given_up, lost = threading.Barrier(writers), [], [], []

    def write() -> None:
        pacer = Counting(
            JobTable(stack.outputs["JobTableName"], aws.client(stack.access, "dynamodb")),
            requests_per_minute=1000,
            max_in_flight=10_000,
            most_polls=5,
        )
        together.wait()
        for _ in range(CHANGES // writers):
            begun = time.perf_counter()
            plan = pacer.plan_poll(lambda _: random.uniform(5, 120), 100.0)  # noqa: S311
            times.append(time.perf_counter() - begun)
            given_up.append(plan.slot is None)
        lost.append(pacer.lost)

    with ThreadPoolExecutor(writers) as lanes:
        begun = time.perf_counter()
        for lane in [lanes.submit(write) for _ in range(writers)]:
            lane.result()
    return time.perf_counter() - begun, sum(lost), sum(given_up), times


def main() -> None:
    """Run the writers, print the table and write it to docs/benchmarks.md."""
    with tempfile.TemporaryDirectory(prefix="contention-") as home:
        try:
            stack, _ = local_stack.up(Options(port=0, provider="sandbox", home=Path(home)), print)
            rows = []
            for writers in WRITERS:
                seconds, lost, given_up, times = crowd(stack, writers)
                times.sort()
                rows.append(
                    [
                        str(writers),
                        f"{len(times) / seconds:.0f}",
                        f"{1 + lost / len(times):.2f}",
                        str(given_up),
                        f"{statistics.median(times) * 1000:.0f}",
                        f"{times[round(0.99 * len(times)) - 1] * 1000:.0f}",
                    ]
                )
        finally:
            local_stack.down(Path(home))
    header = ["concurrent writers", "changes per second", "attempts per change", "abandoned", "median (ms)", "p99 (ms)"]
    note = (
        f"A change that conflicts reads and writes again, up to {ATTEMPTS} attempts with growing random waits. An "
        "abandoned change loses nothing: a poll then has no planned slot and takes one when it runs; a submit is "
        "retried. 1000 requests per minute are 17 changes per second, at most a few of them concurrent."
    )
    publish(Table("contention", "Contention on the calendar's item", header, rows, [note]))


if __name__ == "__main__":
    main()
