"""Reconcile: find jobs that got stuck between two steps, and continue them. Runs on a schedule; runs can be repeated.

It never buys a video on its own. It searches the provider's history for an uncertain submit. If it finds the request,
it adopts it. Otherwise a person decides, or, if the stack allows it, the job is sent again once, but only if the
request is certainly not in the history.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

from botocore.exceptions import BotoCoreError, ClientError

from seedance.aws import checks, writes
from seedance.aws.attributes import written_item
from seedance.aws.job_table import JobTable, dropped, job_table
from seedance.aws.table import LEASE, PLACE
from seedance.clock import CLOCK, Clock
from seedance.config import reconcile_settings
from seedance.errors import BadRecord, Conflict, SeedanceError
from seedance.jobs import reasons
from seedance.jobs.budget import day_of
from seedance.jobs.handoff import IntakeQueue, Workflow, intake_queue, workflow
from seedance.jobs.in_flight import InFlight, in_flight
from seedance.jobs.job import SUBMITTING_SECONDS, TERMINAL, Hold, Job, State
from seedance.jobs.reasons import Reason
from seedance.jobs.store import JobStore, jobs
from seedance.jobs.switch import Switch, switch
from seedance.notices.notifier import Notifier, notifier
from seedance.observability import count, logger, percent
from seedance.pacing import poll_schedule
from seedance.pacing.poll_schedule import RESULT_KEPT_SECONDS
from seedance.provider.client import Provider, provider
from seedance.provider.history import Allowance, SharedHistory
from seedance.provider.payloads import HistoryRow
from seedance.upkeep.holding import release
from seedance.upkeep.lost import LostSubmits, adopt

GENERATING_SECONDS = 930.0
"""After this time, a v1 call without a result has died: its function's timeout plus a margin."""

LOST_SECONDS = 900.0
"""How long the history is searched for an uncertain submit before it counts as never arrived."""

PRICE_WINDOW_SECONDS = 2 * 3600.0
"""The time around a submit in which the history is searched for its price. If it is not found, the estimate stays."""

DAY_SECONDS = 24 * 3600.0
IDLE_SECONDS = 600.0
"""If a job at the provider has not changed for this long, reconcile checks whether its execution is running."""

AGAIN_SECONDS = 3600.0
"""The time between two executions of a job after its first hour. The provider keeps the result for days."""

MOST_EXECUTIONS = 48
"""The maximum for a v1 job that was never sent, half an hour apart: one day. Then its owner must request it again."""

RECEIVED_SECONDS = 1800.0
"""A job waits for its message for at most 15 minutes. After twice that time, the message counts as lost."""

NOTIFY_WINDOW_SECONDS = DAY_SECONDS
"""How long after its end a job is checked for a missing notification or price."""

ROUND_SECONDS = 150.0
"""After this time, a round starts nothing new. The rest of the function's 240 s is for the work in progress."""

LEASE_SECONDS = 240.0
"""The function's timeout: a round that took its lease longer ago has ended, however it ended."""

HISTORY_SECONDS = 75.0
HISTORY_REQUESTS = 300
"""The most time and requests for the history in one round, for all jobs together. Each model's list is read once. One
that does not end takes 200 requests. The jobs that are left over come first in the next round."""

READ_HISTORY = frozenset({"resolved", "priced"})
"""The steps that read the history."""

PLACE_SECONDS = 1.0
"""How often a round saves its place. Before every job would cost a write for each job that waits for a person."""

Action = Callable[[Job], bool]


class Place:
    """Where a round ran out of time, for the next one: step and time of last change; zeros if it finished."""

    def __init__(self, table: JobTable) -> None:
        self._table = table

    def read(self) -> tuple[int, float]:
        """The place of the last round. An invalid one is dropped, because a round can be repeated."""
        record = self._table.get(PLACE)
        if record is None:
            return 0, 0.0
        step = checks.whole(record.get("step"), 0, 1000)
        since = checks.number(record.get("since"), 0, self._table.now() + 60)  # the writer's clock may be ahead
        if step is None or since is None:
            dropped(PLACE, "step" if step is None else "since")
            return 0, 0.0
        return step, float(since)

    def save(self, step: int, since: float) -> None:
        """Save where the next round continues."""
        self._table.put({"job_id": PLACE, "step": step, "since": since})


class Lease:
    """Lets one round run at a time. The schedule delivers each event at least once, so rounds may overlap.

    An item says which round has it and until when, so a round that is killed keeps it for LEASE_SECONDS at most.
    """

    def __init__(self, table: JobTable) -> None:
        self._table = table

    def take(self) -> str | None:
        """Take the lease and return this round's id, or None if another round has it."""
        now, holder = self._table.now(), writes.write_id()
        # An invalid end, or one that no round can have written, is as good as none.
        free = ["attribute_not_exists(ends)", "NOT attribute_type(ends, :number)", "ends <= :now", "ends > :latest"]
        try:
            self._table.put(
                {"job_id": LEASE, "holder": holder, "ends": now + LEASE_SECONDS},
                ConditionExpression=" OR ".join(free),
                ExpressionAttributeValues=written_item(
                    {":number": "N", ":now": now, ":latest": now + 2 * LEASE_SECONDS}
                ),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if not writes.failed_condition(error):
                raise
            return holder if writes.record_found(error).get("holder") == holder else None  # as in JobTable.put_new
        return holder

    def give_back(self, holder: str) -> None:
        """End the lease, unless another round has it by now. If that fails, it ends by itself."""
        try:
            self._table.put(
                {"job_id": LEASE, "holder": holder, "ends": 0},
                ConditionExpression="holder = :me",
                ExpressionAttributeValues=written_item({":me": holder}),
            )
        except (BotoCoreError, ClientError) as error:
            logger().warning("the lease was not given back", extra={"reason": str(error)})


@dataclass(frozen=True)
class Reconcile:
    """The use case and its dependencies. ``scale`` shortens all its times (Settings.time_scale)."""

    store: JobStore
    provider: Provider
    notifier: Notifier
    workflow: Workflow
    queue: IntakeQueue
    switch: Switch
    in_flight: InFlight
    place: Place
    lease: Lease
    resubmit_lost: bool = False
    scale: float = 1.0
    daily_budget_usd: float | None = None
    clock: Clock = CLOCK

    def __call__(self) -> dict[str, int]:
        """Run one round, unless another one is running. Returns the number of jobs that were continued, by step."""
        holder = self.lease.take()
        if holder is None:
            logger().warning("another round is running")
            return {}
        try:
            return self._round()
        finally:
            self.lease.give_back(holder)

    def _round(self) -> dict[str, int]:
        """Do all the work.

        An error in one job does not stop the others: an unexpected error is logged and counted as JobsStuck, which has
        an alarm. If a round runs out of time or crashes, the next one does the rest.
        """
        done: dict[str, int] = {}
        for what, job, action in self._work():
            try:
                if action(job):
                    done[what] = done.get(what, 0) + 1
            except Conflict:
                continue  # the job changed in the meantime
            except SeedanceError as error:
                facts = {"job_id": job.job_id, "what": what, "reason": str(error)}
                logger().error("reconcile", extra={**facts, "excerpt": getattr(error, "excerpt", "")})
                count("ReconcileFailures")
            except Exception:  # noqa: BLE001 - any error raises an alarm and does not stop the other jobs
                logger().exception("reconcile", extra={"job_id": job.job_id, "what": what})
                count("JobsStuck")
        if self.in_flight.recount():
            logger().warning("the count of videos in progress was wrong and has been corrected")
        self._report_budget()
        return done

    def _report_budget(self) -> None:
        """Publish how much of the day's budget is spent or reserved. Here, because here it costs one read per round."""
        if self.daily_budget_usd:
            committed = self.store.day(day_of(self.clock())).committed
            percent("BudgetCommittedPercent", round(100 * committed / self.daily_budget_usd, 1))

    def _work(self) -> Iterator[tuple[str, Job, Action]]:
        """The work to do, oldest jobs first in each step. Starts where the last round ran out of time.

        Held and uncertain jobs keep their position in this order. Without a saved place, every round could spend all
        its time on the same ones.
        """
        until, place_due = self.clock() + ROUND_SECONDS, 0.0
        history = SharedHistory(self.provider, Allowance(HISTORY_SECONDS, HISTORY_REQUESTS))
        steps = self._steps(history)
        begin, since = self.place.read()
        postponed: dict[int, float] = {}
        for number in ((begin + turn) % len(steps) for turn in range(len(steps))):
            what, state, idle, window, action = steps[number]
            for listed in self.store.each(state, max(since, window)):
                if self.clock() > until:
                    self.place.save(number, listed.updated_at - 0.0005)  # times have millisecond precision
                    logger().warning("the round ran out of time", extra={"step": what, "state": state})
                    return
                if self._idle(listed) < idle:
                    break  # and the following jobs changed even later
                if not self._calls_for(what, listed):
                    continue
                if history.within.used_up and what in READ_HISTORY:
                    postponed[number] = listed.updated_at - 0.0005
                    logger().warning("the history took too long", extra={"step": what, "job_id": listed.job_id})
                    break
                if job := self._fresh(listed, idle):
                    if self.clock() >= place_due:
                        # If this job kills the round, the next one continues after it, so it can't kill every round.
                        self.place.save(number, listed.updated_at)
                        place_due = self.clock() + PLACE_SECONDS
                    yield what, job, action
            since = 0.0
        # The step with which this round began comes last, so that it can't take all of the next round's requests too.
        number = min(postponed, key=lambda number: (number - begin - 1) % len(steps), default=0)
        place = number, postponed.get(number, 0.0)
        if self.place.read() != place:
            self.place.save(*place)

    def _steps(self, history: SharedHistory) -> list[tuple[str, State, float, float, Action]]:
        """The steps: name, state of the jobs, minimum time without a change, earliest change, and action."""
        window = self.clock() - NOTIFY_WINDOW_SECONDS
        lost = LostSubmits(self.store, history, self.clock)
        return [
            ("uncertain", State.SUBMITTING, SUBMITTING_SECONDS, 0.0, self._give_up_waiting),
            ("resolved", State.UNCERTAIN, 0.0, 0.0, partial(self._resolve, lost)),
            ("restarted", State.QUEUED, IDLE_SECONDS, 0.0, self._restart),
            ("restarted", State.PROCESSING, IDLE_SECONDS, 0.0, self._restart),
            ("restarted", State.COPYING, IDLE_SECONDS, 0.0, self._restart),
            ("enqueued", State.RECEIVED, RECEIVED_SECONDS, 0.0, self._enqueue),
            ("released", State.HELD, 0.0, 0.0, self._release),
            *(("notified", state, IDLE_SECONDS, window, self._notify) for state in (*sorted(TERMINAL), State.HELD)),
            ("priced", State.COMPLETED, IDLE_SECONDS, window, partial(self._price, history)),
        ]

    @staticmethod
    def _calls_for(what: str, listed: Job) -> bool:
        """Whether a job's index entry is a reason to read its record."""
        if what == "notified":
            return listed.notified_at is None
        return what != "priced" or listed.cost_usd is None

    def _idle(self, job: Job) -> float:
        return (self.clock() - job.updated_at) / self.scale

    def _fresh(self, listed: Job, idle: float) -> Job | None:
        """The complete job, or None if the index lags: the job has changed since it shows it."""
        try:
            job = self.store.get(listed.job_id)
        except BadRecord as error:  # a person edited it; an unreadable job is left alone
            logger().error("reconcile", extra={"job_id": listed.job_id, "reason": str(error)})
            count("JobsStuck")
            return None
        return job if job and job.state is listed.state and self._idle(job) >= idle else None

    def _give_up_waiting(self, job: Job) -> bool:
        limit = GENERATING_SECONDS if job.transport == "v1" else SUBMITTING_SECONDS
        if self.clock() - job.entered[State.SUBMITTING] < limit:
            return False
        why = "The call was interrupted, so it is not known whether the request arrived."
        count("JobsUncertain")
        self.store.move(job, State.UNCERTAIN, error=reasons.uncertain(why).error)
        return True

    def _resolve(self, lost: LostSubmits, job: Job) -> bool:
        found = lost.find(job)
        if found.request:
            logger().info("found", extra={"job_id": job.job_id, "request_id": found.request.request_id})
            return self._adopt(job, found.request)
        if not found.certain and (self.clock() - job.entered[State.UNCERTAIN]) / self.scale < LOST_SECONDS:
            return False
        # With an id or a price, the provider accepted it. Then only a person may buy it again.
        taken = job.request_id is not None or job.cost_usd is not None
        if found.nothing and self.resubmit_lost and not job.resubmitted and not taken:
            executions = job.executions + (1 if job.transport == "v1" else 0)  # as in release
            # Closed, not moved: nothing is in progress, so its reservation is released until it is sent again.
            job = self.store.close(job, State.RECEIVED, resubmitted=True, error=None, executions=executions)
            self.queue.send(job)
            return True
        if found.possible:
            ids = ", ".join(found.possible)
            self._hold(job, f"The provider's history has requests that may be this job's: {ids}.")
        elif job.request_id:
            self._hold(job, f"The provider accepted request {job.request_id}, but its history does not show it.")
        else:
            self._hold(job, "The provider's history shows no request of this job; it probably never arrived.")
        return True

    def _adopt(self, job: Job, request: HistoryRow) -> bool:
        if adopt(self.store, self.workflow, self.notifier, job, request, now=self.clock()):
            return True
        # Only the history can have its link. Once that is no longer possible, a person decides.
        if job.age(self.clock(), self.scale) < poll_schedule.DEADLINE_SECONDS + poll_schedule.HISTORY_PATIENCE_SECONDS:
            return False
        self._hold(job, f"Request {request.request_id} belongs to this job, but the history has no link to its video.")
        return True

    def _hold(self, job: Job, why: str) -> None:
        count("JobsHeld")
        self.notifier.notify(self.store.close(job, State.HELD, error=reasons.lost(why, job.job_id).error))

    def _restart(self, job: Job) -> bool:
        # During its first hour there is no wait: the provider only keeps the request's record that long.
        hurried = job.state is not State.COPYING and job.age(self.clock(), self.scale) < poll_schedule.DEADLINE_SECONDS
        if job.executions and not hurried and self._idle(job) < AGAIN_SECONDS:
            return False
        if self.workflow.is_running(job):
            return False
        if end := self._given_up(job):
            state, reason = end
            if state is State.COMPLETED:
                count("ManifestsLost")  # only finalize writes them
            self.notifier.notify(self.store.close(job, state, error=reason.error if reason else None))
            return True
        self.workflow.start(self.store.note(job, executions=job.executions + 1))
        return True

    def _given_up(self, job: Job) -> tuple[State, Reason | None] | None:
        """The end of a job whose executions all fail, once another one is pointless; None until then.

        Each of those executions has raised an alarm. The reason is None if the video is in the bucket.
        """
        if job.state is State.RECEIVED:
            if job.executions < MOST_EXECUTIONS:
                return None
            return State.FAILED, reasons.never_sent()
        if self.clock() - job.result_since <= RESULT_KEPT_SECONDS:
            return None
        if job.video:
            return State.COMPLETED, None
        if job.state is State.COPYING:
            return State.FAILED, reasons.never_copied()
        return State.EXPIRED, reasons.never_asked(job.request_id)

    def _enqueue(self, job: Job) -> bool:
        if job.transport == "v1":
            return self._restart(job)  # the workflow makes its call, and may have crashed before it
        self.queue.send(self.store.note(job, updated_at=self.clock()))
        return True

    def _release(self, job: Job) -> bool:
        code = job.code
        full = job.held_day or day_of(job.entered[State.HELD])
        new_day = code == Hold.BUDGET and full != day_of(self.clock())
        # It read the switch just before `seedance resume`, and was written just after that.
        left_behind = code == Hold.PAUSED and self.switch.paused() is None
        if not new_day and not left_behind:
            return False
        release(self.store, self.queue, job)
        return True

    def _price(self, history: SharedHistory, job: Job) -> bool:
        """Settle a video at the history's price instead of its estimate."""
        began = job.submitted_at or job.created_at
        # Not only the hours around it, so that the list that is read for the oldest job serves the others too.
        until = min(self.clock(), began + DAY_SECONDS) + PRICE_WINDOW_SECONDS
        price = history.price(job.request_id or "", job.model, began - PRICE_WINDOW_SECONDS, until)
        if price is None:
            return False
        logger().info("priced", extra={"job_id": job.job_id, "cost_usd": price, "settled_usd": job.settled_usd})
        self.store.price(job, price)
        return True

    def _notify(self, job: Job) -> bool:
        self.notifier.notify(job)
        return True


@cache
def reconcile() -> Reconcile:
    """The use case, configured for this stack."""
    stack = reconcile_settings()
    return Reconcile(
        jobs(),
        provider(),
        notifier(),
        workflow(stack.state_machine),
        intake_queue(stack.intake_queue),
        switch(),
        in_flight(),
        Place(job_table()),
        Lease(job_table()),
        stack.resubmit_lost,
        stack.time_scale,
        stack.daily_budget_usd,
    )
