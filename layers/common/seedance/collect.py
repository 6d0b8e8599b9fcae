"""Collect: count a batch's ended jobs; when all have ended, write the results and publish the summary, once.

Chunks whose jobs have all ended are not read again. If collect is repeated, it writes the same results. If the first
run crashed right after publishing, the summary is published a second time. It is never lost, like a job's notification.

If the batch was cancelled, it cancels the jobs that are not bought yet, and follows the others to their end.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

from seedance import bounds
from seedance.batches import manifest, plan_lines
from seedance.batches.columns import RESULT_COLUMNS
from seedance.batches.files import Sheets, sheets
from seedance.batches.job_states import JOBS_A_READ, JobFacts, Register, register
from seedance.batches.plan_lines import Chunk, PlanLine
from seedance.batches.record import CANCELLED_ROW, NOT_STARTED, BatchState
from seedance.batches.stopping import Stopping, stopping
from seedance.batches.store import BatchStore, batch_store
from seedance.clock import CLOCK, Clock
from seedance.config import collect_settings
from seedance.jobs import reasons, requests
from seedance.jobs.job import State, batch_job_id
from seedance.jobs.lasting import NO_LINKS, Addresses
from seedance.jobs.tasks import CrashedBatch, EndedBatch, PlannedBatch, TaskStatus
from seedance.notices.batch_message import BatchStatus, BatchSummary, batch_summary
from seedance.notices.notifier import Notifier, notifier
from seedance.observability import count, logger

HELD_SECONDS = 25 * 3600.0
"""How long a batch waits if all its open jobs are HELD. By then a new UTC day, with a new budget, has begun."""

FOLLOWED_SECONDS = 7 * 24 * 3600.0
"""The longest time that a batch is followed after its last row was fed to the queue. That alone may take days."""

_STANDING = {BatchStatus.DONE: BatchState.DONE, BatchStatus.OPEN: BatchState.OPEN}

SHORTEST_WAIT_SECONDS = 20.0
LONGEST_WAIT_SECONDS = 900.0


@dataclass(frozen=True)
class Collect:
    """The use case and its dependencies. ``scale`` shortens all its times (Settings.time_scale)."""

    register: Register
    sheets: Sheets
    notifier: Notifier
    batches: BatchStore
    stopping: Stopping
    addresses: Addresses = NO_LINKS
    scale: float = 1.0
    clock: Clock = CLOCK

    def __call__(self, event: PlannedBatch | CrashedBatch) -> PlannedBatch | EndedBatch:
        """Check the batch that plan returned. Returns it with ``status`` RUNNING, or how the batch ended."""
        if "chunks" not in event:
            return self._failed(event)
        now = self.clock()
        if event["status"] == TaskStatus.PLANNED:  # the first check: until now, rows were fed to the queue
            event = {**event, "fed_at": now, "progressed_at": now}
        left, waiting, states = [], Counter[State](), Counter[str](event.get("counted", {}))
        ended, spent = Counter[str](states), event.get("spent_usd", 0.0)
        ended_spent = spent
        chunks, stopped = event["chunks"], self.batches.is_stopped(event["batch_id"])
        for stored in chunks if isinstance(chunks, list) else [chunks]:  # not a list if somebody started it by hand
            chunk = plan_lines.chunk(stored)
            if chunk is None:
                extra = {"batch": bounds.shown(event["batch_id"]), "chunk": bounds.shown(stored)}
                logger().error("a chunk is skipped", extra=extra)
                continue
            found = self._jobs_of(event["batch_id"], chunk)
            if stopped:
                found = self.stopping(found)
            unfinished = [job.state for job in found if not job.state.terminal]
            here, cost = Counter(job.state.value for job in found), sum(job.cost_usd or 0.0 for job in found)
            states, spent = states + here, spent + cost
            if unfinished:
                left.append(stored)
                waiting.update(unfinished)
            else:
                ended, ended_spent = ended + here, ended_spent + cost
        over = event["rows"] - waiting.total()
        moves = over > event["over"] or any(state is not State.HELD for state in waiting)
        event = {**event, "over": over, "progressed_at": now if moves else event["progressed_at"]}
        event = {**event, "counted": dict(ended), "spent_usd": round(ended_spent, 4)}
        fed_at = event.get("fed_at", event["began_at"])  # as in an execution that release 0.1.0 started
        given_up = (now - fed_at) / self.scale > FOLLOWED_SECONDS or (
            now - event["progressed_at"]
        ) / self.scale > HELD_SECONDS
        if left and not given_up:
            elapsed = (now - event["began_at"]) / self.scale
            wait = next_wait(elapsed, over - event["rejected"], waiting.total())
            self.batches.note(event["batch_id"], states=dict(states), spent_usd=round(spent, 4), counted_at=now)
            return {**event, "chunks": left, "status": TaskStatus.RUNNING, "wait_seconds": wait}
        return self._finished(event, BatchStatus.OPEN if left else BatchStatus.DONE)

    def _jobs_of(self, batch_id: str, chunk: Chunk) -> list[JobFacts]:
        """A chunk's jobs. A row without a job will not get one any more."""
        ids = [batch_job_id(batch_id, row) for row in range(chunk.first, chunk.last + 1)]
        return list(self.register.read(ids, ["cost_usd"]).values())

    def _finished(self, event: PlannedBatch, status: BatchStatus) -> EndedBatch:
        key = manifest.beside(event["key"], event["batch_id"], requests.RESULTS_ENDING)
        stopped = self.batches.is_stopped(event["batch_id"])
        states: Counter[str] = Counter()
        jobs: Counter[str] = Counter()
        cost = 0.0
        with self.sheets.write(key) as results:
            results.write(manifest.csv_head((*RESULT_COLUMNS, *event["columns"])))
            for row, job in self._rows(event):
                state = _state(row, job, stopped=stopped)
                states[state] += 1
                if job:
                    jobs[state] += 1
                cost += (job and job.cost_usd) or 0.0
                link = self.addresses.of(job, self.clock()) if job else None
                results.write(_result_line(row, job, state, link, event["columns"]))
        error = None
        if "exception" in event:
            error = reasons.batch_broken("Some rows were not enqueued; their state is NOT_STARTED.").error
        standing = BatchState.FAILED if error else _STANDING[status]
        if stopped:
            status, standing = BatchStatus.CANCELLED, BatchState.CANCELLED
        self.batches.end(
            event["batch_id"],
            standing,
            states=dict(jobs),
            spent_usd=round(cost, 4),
            counted_at=round(self.clock(), 3),
            results_key=key,
            error=error,
        )
        message = batch_summary(
            event,
            status,
            rows=event["rows"],
            rejected=event["rejected"],
            notes=event.get("notes", []),
            states=dict(states),
            estimate_usd=event["estimate_usd"],
            cost_usd=cost,
            seconds=round(self.clock() - event["began_at"], 1),
            results=self.sheets.link(key),
            report=self.sheets.link(event["report_key"]) if event["report_key"] else None,
            error=error,
        )
        return self._told(event, message, event["report_key"])

    def _failed(self, event: CrashedBatch) -> EndedBatch:
        """The end of a batch that has no plan, because planning crashed."""
        error = reasons.not_planned(event.get("restarts", 0)).error
        self.batches.end(event["batch_id"], BatchState.FAILED, error=error)
        message = batch_summary(event, BatchStatus.FAILED, error=error)
        return self._told(event, message, None)

    def _told(self, event: PlannedBatch | CrashedBatch, message: BatchSummary, report_key: str | None) -> EndedBatch:
        self.notifier.summarise(message)
        count("BatchesEnded")
        logger().info("a batch ended", extra={"batch": event["batch_id"], "states": message["states"]})
        ended: EndedBatch = {
            "batch_id": message["batch_id"],
            "status": message["status"],
            "rows": message["rows"],
            "rejected": message["rejected"],
            "states": message["states"],
            "cost_usd": message["cost_usd"],
            "results_key": message["results"]["key"] if message["results"] else None,
            "report_key": report_key,
        }
        return {**ended, "exception": event["exception"]} if "exception" in event else ended

    def _rows(self, event: PlannedBatch) -> Iterator[tuple[PlanLine, JobFacts | None]]:
        """Each row of the plan, with its job if it has one."""
        rows = self.sheets.rows(event["plan_key"], 0, event["plan_bytes"])
        while some := list(islice(rows, JOBS_A_READ)):
            ids = {row["row"]: batch_job_id(event["batch_id"], row["row"]) for row in some}
            found = self.register.read(list(ids.values()), ["video", "cost_usd", "error", "link_token", "link_until"])
            for row in some:
                yield row, found.get(ids[row["row"]])


def _state(row: PlanLine, job: JobFacts | None, *, stopped: bool) -> str:
    if job is not None:
        return job.state.value
    if "error" in row:
        return State.REJECTED.value
    return CANCELLED_ROW if stopped else NOT_STARTED


def _result_line(row: PlanLine, job: JobFacts | None, state: str, link: str | None, columns: Sequence[str]) -> bytes:
    """A row of the results, in the order of RESULT_COLUMNS and then the passthrough columns."""
    made = job is not None and job.state is State.COMPLETED
    error = row.get("error") or (job and job.error and job.error["message"])
    return manifest.csv_line(
        (
            row["row"],
            job and job.job_id,
            state,
            job.video["key"] if made and job and job.video else "",
            job and job.cost_usd,
            "" if made else error,
            link if made else "",
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
    stack = collect_settings()
    addresses, stops = Addresses(stack.link_base, stack.video_link_days), stopping(stack.intake_queue)
    return Collect(register(), sheets(), notifier(), batch_store(), stops, addresses, stack.time_scale)
