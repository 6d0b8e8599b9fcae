"""Collect: count a batch's ended jobs; when all have ended, write the results and publish the summary, once.

Chunks whose jobs have all ended are not read again. If collect is repeated, it writes the same results. If the first
run crashed right after publishing, the summary is published a second time. It is never lost, like a job's notification.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from seedance.batches import manifest, plan_lines
from seedance.batches.files import Sheets, sheets
from seedance.batches.job_states import JOBS_A_READ, Register, register
from seedance.clock import CLOCK, Clock
from seedance.config import settings
from seedance.jobs import reasons, requests
from seedance.jobs.job import State, batch_job_id
from seedance.notices import batch_message
from seedance.notices.batch_message import NOT_STARTED, BatchStatus
from seedance.notices.notifier import Notifier, notifier
from seedance.observability import count, logger

HELD_SECONDS = 25 * 3600.0
"""How long a batch waits if all its open jobs are HELD. By then a new UTC day, with a new budget, has begun."""

FOLLOWED_SECONDS = 7 * 24 * 3600.0
"""The longest time that a batch is followed."""

SHORTEST_WAIT_SECONDS = 20.0
LONGEST_WAIT_SECONDS = 900.0


@dataclass(frozen=True)
class Collect:
    """The use case and its dependencies. ``scale`` shortens all its times (Settings.time_scale)."""

    register: Register
    sheets: Sheets
    notifier: Notifier
    scale: float = 1.0
    clock: Clock = CLOCK

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        """Check the batch that plan returned. Returns it with ``status`` RUNNING, or how the batch ended."""
        if "chunks" not in event:
            return self._failed(event)
        now = self.clock()
        left, waiting = [], Counter[State]()
        for chunk in event["chunks"]:
            if plan_lines.chunk(chunk) is None:
                logger().error("a chunk is skipped", extra={"batch": event["batch_id"], "chunk": str(chunk)[:100]})
                continue
            states = self._unfinished(event["batch_id"], chunk)
            if states:
                left.append(chunk)
                waiting.update(states)
        over = event["rows"] - waiting.total()
        moves = over > event["over"] or any(state is not State.HELD for state in waiting)
        event = {**event, "over": over, "progressed_at": now if moves else event["progressed_at"]}
        given_up = (now - event["began_at"]) / self.scale > FOLLOWED_SECONDS or (
            now - event["progressed_at"]
        ) / self.scale > HELD_SECONDS
        if left and not given_up:
            elapsed = (now - event["began_at"]) / self.scale
            wait = next_wait(elapsed, over - event["rejected"], waiting.total())
            return {**event, "chunks": left, "status": "RUNNING", "wait_seconds": wait}
        return self._finished(event, BatchStatus.OPEN if left else BatchStatus.DONE)

    def _unfinished(self, batch_id: str, chunk: Sequence[int]) -> list[State]:
        """The states of a chunk's jobs that have not ended. A row without a job will not get one any more."""
        _, _, first, last = chunk
        ids = [batch_job_id(batch_id, row) for row in range(first, last + 1)]
        found = self.register.read(ids, ["state"])
        return [state for record in found.values() if not (state := State(record["state"])).terminal]

    def _finished(self, event: dict[str, Any], status: BatchStatus) -> dict[str, Any]:
        key = manifest.beside(event["key"], event["batch_id"], requests.RESULTS_ENDING)
        states: Counter[str] = Counter()
        cost = 0.0
        with self.sheets.write(key) as results:
            results.write(manifest.csv_line((*manifest.RESULT_COLUMNS, *event["columns"])))
            for row, job in self._rows(event):
                states[job["state"]] += 1
                cost += job.get("cost_usd") or 0.0
                results.write(_result_line(row, job, event["columns"]))
        error = None
        if "exception" in event:
            error = reasons.batch_broken("Some rows were not enqueued; their state is NOT_STARTED.").error
        message = batch_message.machine_message(
            batch_id=event["batch_id"],
            status=status,
            bucket=event["bucket"],
            key=event["key"],
            rows=event["rows"],
            rejected=event["rejected"],
            states=dict(states),
            estimate_usd=event["estimate_usd"],
            cost_usd=cost,
            seconds=round(self.clock() - event["began_at"], 1),
            results=self.sheets.link(key),
            report=self.sheets.link(event["report_key"]) if event["report_key"] else None,
            error=error,
        )
        return self._told(event, message)

    def _failed(self, event: dict[str, Any]) -> dict[str, Any]:
        """The end of a batch that has no plan, because planning crashed."""
        message = batch_message.machine_message(
            batch_id=event["batch_id"],
            status=BatchStatus.FAILED,
            bucket=event["bucket"],
            key=event["key"],
            error=reasons.batch_broken(
                "The manifest could not be processed because of an internal error. Nothing was bought."
            ).error,
        )
        return self._told(event, message)

    def _told(self, event: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        self.notifier.summarise(message)
        count("BatchesEnded")
        logger().info("a batch ended", extra={"batch": event["batch_id"], "states": message["states"]})
        kept = {name: message[name] for name in ("batch_id", "status", "rows", "rejected", "states", "cost_usd")}
        kept |= {"results_key": (message["results"] or {}).get("key"), "report_key": event.get("report_key")}
        return kept | ({"exception": event["exception"]} if "exception" in event else {})

    def _rows(self, event: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each row of the plan, with the record of its job."""
        rows = self.sheets.rows(event["plan_key"], 0, event["plan_bytes"])
        while some := list(islice(rows, JOBS_A_READ)):
            ids = {row["row"]: batch_job_id(event["batch_id"], row["row"]) for row in some}
            found = self.register.read(list(ids.values()), ["state", "video", "cost_usd", "error"])
            for row in some:
                nothing = {"state": State.REJECTED.value if "error" in row else NOT_STARTED}
                yield row, found.get(ids[row["row"]], nothing)


def _result_line(row: dict[str, Any], job: dict[str, Any], columns: Sequence[str]) -> bytes:
    """A row of the results, in the order of manifest.RESULT_COLUMNS and then the passthrough columns."""
    made = job["state"] == State.COMPLETED
    error = row.get("error") or (job.get("error") or {}).get("message", "")
    return manifest.csv_line(
        (
            row["row"],
            job.get("job_id", ""),
            job["state"],
            job["video"]["key"] if made and job.get("video") else "",
            job.get("cost_usd", ""),
            "" if made else error,
            *(row["columns"].get(name, "") for name in columns),
        )
    )


def next_wait(elapsed: float, over: int, left: int) -> int:
    """The provider's seconds until the next check: a third of the remaining time, estimated from the speed so far.

    At most a quarter of the elapsed time: at first, all jobs of a small batch run at once, and their speed says little.
    So the number of checks grows with the logarithm of the batch's length, and a long batch's summary is 20 s late.
    """
    expected = elapsed * left / over if over > 0 else elapsed
    return round(min(LONGEST_WAIT_SECONDS, max(SHORTEST_WAIT_SECONDS, min(expected / 3, elapsed / 4))))


@cache
def collect() -> Collect:
    """The use case, configured for this stack."""
    return Collect(register(), sheets(), notifier(), settings().time_scale)
