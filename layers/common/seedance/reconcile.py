"""Reconcile: find what fell between two steps, and bring it on. Runs on a schedule; any run may be repeated.

It never buys a video by itself: an uncertain submit is looked for in the provider's history and adopted, or
left to a person, or, where the stack says so, sent again once after it was certainly not found.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

from seedance.config import reconcile_settings
from seedance.errors import BadRecord, Conflict, SeedanceError
from seedance.holding import release
from seedance.jobs import reasons
from seedance.jobs.budget import day_of
from seedance.jobs.handoff import IntakeQueue, Workflow, intake_queue, workflow
from seedance.jobs.job import SUBMITTING_SECONDS, TERMINAL, Hold, Job, State
from seedance.jobs.reasons import Reason
from seedance.jobs.store import JobStore, jobs
from seedance.lost import LostSubmits, adopt
from seedance.notices.notifier import Notifier, notifier
from seedance.observability import count, logger
from seedance.pacing import poll_schedule
from seedance.pacing.poll_schedule import RESULT_KEPT_SECONDS
from seedance.provider.client import Provider, provider
from seedance.provider.payloads import HistoryRow

GENERATING_SECONDS = 930.0
"""After this a v1 call that has not been heard of is dead: its function's time-out and a margin."""

LOST_SECONDS = 900.0
"""How long an uncertain submit is looked for in the history before it counts as never arrived."""

PRICE_WINDOW_SECONDS = 2 * 3600.0
"""Around a submit, where its price is looked for. A price that is not found there stays an estimate."""

DAY_SECONDS = 24 * 3600.0
IDLE_SECONDS = 600.0
"""A job at the provider that nothing has happened to for so long is checked for its execution."""

AGAIN_SECONDS = 3600.0
"""Between two executions of a job beyond its first hour: the provider keeps the result for days."""

MOST_EXECUTIONS = 48
"""Of a v1 job that was never sent, half an hour apart: a day of trouble. Then people are told to ask again."""

RECEIVED_SECONDS = 1800.0
"""A job waits for its message 15 minutes at most; after twice that the message is lost."""

NOTIFY_WINDOW_SECONDS = DAY_SECONDS
"""How long after its end a job is looked at: was it told, does it have its price."""

ROUND_SECONDS = 150.0
"""After this a round begins nothing new; what is left of the function's 240 s is for what it is at."""

PLACE_SECONDS = 1.0
"""How often a round writes down its place. Before each job would be a write for every job that waits for a person."""

Action = Callable[[Job], bool]
Prices = dict[tuple[str, str, str], dict[str, float | None]]


@dataclass(frozen=True)
class Reconcile:
    """The use case, with everything it talks to. ``scale`` shortens all its times (Settings.scale)."""

    store: JobStore
    provider: Provider
    notifier: Notifier
    workflow: Workflow
    queue: IntakeQueue
    resubmit_lost: bool = False
    scale: float = 1.0
    clock: Callable[[], float] = time.time

    @property
    def _lost(self) -> LostSubmits:
        return LostSubmits(self.store, self.provider, self.clock)

    def __call__(self) -> dict[str, int]:
        """One round; how many jobs were moved on, by what was done.

        One job's trouble does not keep the others waiting: what nobody expected is logged and counted as JobsStuck,
        which has an alarm. A round that runs out of time, or dies, leaves the rest to the next one.
        """
        done: dict[str, int] = {}
        for what, job, action in self._work():
            try:
                if action(job):
                    done[what] = done.get(what, 0) + 1
            except Conflict:
                continue  # the job moved on by itself meanwhile
            except SeedanceError as error:
                facts = {"job_id": job.job_id, "what": what, "reason": str(error)}
                logger().error("reconcile", extra={**facts, "excerpt": getattr(error, "excerpt", "")})
                count("ReconcileFailures")
            except Exception:  # noqa: BLE001 - whatever it is, it reaches an alarm, and the others get their turn
                logger().exception("reconcile", extra={"job_id": job.job_id, "what": what})
                count("JobsStuck")
        if self.store.recount_in_flight():
            logger().warning("the count of videos under way was wrong and is set right")
        return done

    def _work(self) -> Iterator[tuple[str, Job, Action]]:
        """What there is to do, each step's oldest first, going round from where the last round ran out of time.

        Held or uncertain jobs stay where they are in the order, however many: without a place of its own each
        round would spend its time on the same ones.
        """
        until, place_due = self.clock() + ROUND_SECONDS, 0.0
        steps = self._steps()
        begin, since = self.store.place()
        for number in ((begin + turn) % len(steps) for turn in range(len(steps))):
            what, state, idle, window, action = steps[number]
            for listed in self.store.each(state, max(since, window)):
                if self.clock() > until:
                    self.store.keep_place(number, listed.updated_at - 0.0005)  # times are to the millisecond
                    logger().warning("the round ran out of time", extra={"step": what, "state": state})
                    return
                if self._idle(listed) < idle:
                    break  # and those after it even less
                if self._calls_for(what, listed) and (job := self._fresh(listed)):
                    if self.clock() >= place_due:
                        # The next round goes on behind a job that kills this one: it must not kill every round.
                        self.store.keep_place(number, listed.updated_at)
                        place_due = self.clock() + PLACE_SECONDS
                    yield what, job, action
            since = 0.0
        if self.store.place() != (0, 0.0):
            self.store.keep_place(0, 0.0)

    def _steps(self) -> list[tuple[str, State, float, float, Action]]:
        """What is done, to jobs of which state, that stood still for how long, and changed after which moment."""
        window = self.clock() - NOTIFY_WINDOW_SECONDS
        return [
            ("uncertain", State.SUBMITTING, SUBMITTING_SECONDS, 0.0, self._give_up_waiting),
            ("resolved", State.UNCERTAIN, 0.0, 0.0, self._resolve),
            ("restarted", State.QUEUED, IDLE_SECONDS, 0.0, self._restart),
            ("restarted", State.PROCESSING, IDLE_SECONDS, 0.0, self._restart),
            ("restarted", State.COPYING, IDLE_SECONDS, 0.0, self._restart),
            ("enqueued", State.RECEIVED, RECEIVED_SECONDS, 0.0, self._enqueue),
            ("released", State.HELD, 0.0, 0.0, self._release),
            *(("notified", state, IDLE_SECONDS, window, self._notify) for state in (*sorted(TERMINAL), State.HELD)),
            ("priced", State.COMPLETED, IDLE_SECONDS, window, partial(self._price, {})),
        ]

    @staticmethod
    def _calls_for(what: str, listed: Job) -> bool:
        """Whether a job's line in the index is reason enough to read its record."""
        if what == "notified":
            return listed.notified_at is None
        return what != "priced" or listed.cost_usd is None

    def _idle(self, job: Job) -> float:
        return (self.clock() - job.updated_at) / self.scale

    def _fresh(self, listed: Job) -> Job | None:
        """The whole job, if the index, which may lag, still tells the truth."""
        try:
            job = self.store.get(listed.job_id)
        except BadRecord as error:  # a person's hand was in it; nothing is done to a job that can't be read
            logger().error("reconcile", extra={"job_id": listed.job_id, "reason": str(error)})
            count("JobsStuck")
            return None
        return job if job and job.state is listed.state else None

    def _give_up_waiting(self, job: Job) -> bool:
        limit = GENERATING_SECONDS if job.transport == "v1" else SUBMITTING_SECONDS
        if self.clock() - job.entered[State.SUBMITTING] < limit:
            return False
        why = "The call was interrupted, and nobody knows whether the request arrived."
        count("JobsUncertain")
        self.store.move(job, State.UNCERTAIN, error=reasons.uncertain(why).error)
        return True

    def _resolve(self, job: Job) -> bool:
        found = self._lost.find(job)
        if found.request:
            logger().info("found", extra={"job_id": job.job_id, "request_id": found.request.request_id})
            return self._adopt(job, found.request)
        if not found.certain and (self.clock() - job.entered[State.UNCERTAIN]) / self.scale < LOST_SECONDS:
            return False
        # With an id or a price the provider did take it: that is never bought again but by a person's word.
        taken = job.request_id is not None or job.cost_usd is not None
        if found.nothing and self.resubmit_lost and not job.resubmitted and not taken:
            executions = job.executions + (1 if job.transport == "v1" else 0)  # as in release
            job = self.store.move(job, State.RECEIVED, resubmitted=True, error=None, executions=executions)
            self.queue.send(job)
            return True
        if found.possible:
            ids = ", ".join(found.possible)
            self._hold(job, f"The provider's history has requests that may be this job's: {ids}.")
        elif job.request_id:
            self._hold(job, f"The provider took request {job.request_id}, but its history does not show it.")
        else:
            self._hold(job, "The provider's history shows no request of this job; it seems never to have arrived.")
        return True

    def _adopt(self, job: Job, request: HistoryRow) -> bool:
        if adopt(self.store, self.workflow, self.notifier, job, request):
            return True
        # Nobody can be asked for it but the history: once it can't get a link any more, a person decides.
        if job.age(self.clock(), self.scale) < poll_schedule.DEADLINE_SECONDS + poll_schedule.HISTORY_PATIENCE_SECONDS:
            return False
        self._hold(job, f"Request {request.request_id} is this job's, and the history has no link to its video.")
        return True

    def _hold(self, job: Job, why: str) -> None:
        count("JobsHeld")
        self.notifier.notify(self.store.close(job, State.HELD, error=reasons.lost(why, job.job_id).error))

    def _restart(self, job: Job) -> bool:
        # Within its hour the record that the provider keeps of a request is at stake, so no time is lost.
        hurried = job.state is not State.COPYING and job.age(self.clock(), self.scale) < poll_schedule.DEADLINE_SECONDS
        if job.executions and not hurried and self._idle(job) < AGAIN_SECONDS:
            return False
        if self.workflow.is_running(job):
            return False
        if end := self._given_up(job):
            state, reason = end
            self.notifier.notify(self.store.close(job, state, error=reason and reason.error))
            return True
        self.workflow.start(self.store.note(job, executions=job.executions + 1))
        return True

    def _given_up(self, job: Job) -> tuple[State, Reason | None] | None:
        """The end of a job for which no execution gets anywhere, once it can't be helped any more; None until then.

        Each of those executions has raised an alarm. ``None`` as its reason: the video is in the bucket.
        """
        if job.state is State.RECEIVED:
            if job.executions < MOST_EXECUTIONS:
                return None
            return State.FAILED, reasons.never_sent()
        if self.clock() - job.entered.get(State.COPYING, job.submitted_at or job.created_at) <= RESULT_KEPT_SECONDS:
            return None
        if job.video:
            return State.COMPLETED, None
        if job.state is State.COPYING:
            return State.FAILED, reasons.never_copied()
        return State.EXPIRED, reasons.never_asked(job.request_id)

    def _enqueue(self, job: Job) -> bool:
        if job.transport == "v1":
            return self._restart(job)  # its call is made by the workflow, which may have died before it
        self.queue.send(self.store.note(job, updated_at=self.clock()))
        return True

    def _release(self, job: Job) -> bool:
        code = job.code
        full = job.held_day or day_of(job.entered[State.HELD])
        new_day = code == Hold.BUDGET and full != day_of(self.clock())
        # It saw the switch just before `seedance resume` did, and was written just after.
        left_behind = code == Hold.PAUSED and self.store.paused() is None
        if not new_day and not left_behind:
            return False
        release(self.store, self.queue, job)
        return True

    def _price(self, seen: Prices, job: Job) -> bool:
        """Settle a video by the history's price that was settled by its estimate. ``seen``: asked in this round."""
        began = job.submitted_at or job.created_at
        since, until = began - PRICE_WINDOW_SECONDS, began + PRICE_WINDOW_SECONDS
        asked = (job.model, day_of(since), day_of(until))
        if asked not in seen:
            seen[asked] = {}  # also if there is no answer: the next round asks again
            seen[asked] = {row.request_id: row.cost_usd for row in self.provider.history(job.model, since, until)}
        price = seen[asked].get(job.request_id or "")
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
    """The use case as the stack has it."""
    stack = reconcile_settings()
    return Reconcile(
        jobs(),
        provider(),
        notifier(),
        workflow(stack.state_machine),
        intake_queue(stack.intake_queue),
        stack.resubmit_lost == "yes",
        stack.scale,
    )
