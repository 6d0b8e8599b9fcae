"""What AWS does around functions that crash: it redelivers, retries, and starts the next round.

An event simulation with its own calendar: whatever is due next happens next, and nothing sleeps. The
functions, moto and the provider's stand-in are those of tests/integration.
"""

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shortcut
from moto.core import DEFAULT_ACCOUNT_ID
from moto.stepfunctions.models import stepfunctions_backends
from seedance.jobs.handoff import intake_queue
from seedance.jobs.job import Hold, Job, State, api_job_id
from seedance.jobs.store import jobs, read_item
from seedance.jobs.switch import switch
from seedance.upkeep.holding import release
from sharing import Sharing
from table_stream import EventSource
from wire import Killed

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from announcing import Announcing, Calendar, Hook
from pipeline import (
    API_KEY,
    ASL,
    NEVER_DONE,
    REGION,
    UPLOADS,
    VIDEOS,
    WEBHOOK_KEY,
    _holds,
    app,
    http,
    png,
    s3_event,
    template,
)

__all__ = [
    "REGION",
    "UPLOADS",
    "VIDEOS",
    "WEBHOOK_KEY",
    "Calendar",
    "World",
    "app",
    "forget",
    "http",
    "png",
    "s3_event",
]

ALL_FUNCTIONS = (
    *("api", "submit", "poll", "generate", "finalize", "fail", "reconcile"),
    *("plan", "enqueue", "collect", "repair", "watch", "announce", "deliver"),
)
DAY_SECONDS = 24 * 3600.0
ROUND_SECONDS = 700.0
"""From one round of reconcile to the next, when only reconcile can help: above what it takes for idle."""

SCHEDULE_SECONDS = 300.0
"""From one scheduled round of reconcile to the next, while anything else is due."""

ROUNDS = 24
"""After so many rounds without rest a job is lost."""

_QUEUE = template()["IntakeQueue"]["Properties"]
VISIBILITY_SECONDS = float(_QUEUE["VisibilityTimeout"])
SKEWS = (-3600.0, -121.0, 0.0, 121.0, 3600.0)
"""By how many seconds the provider's clock may be ahead of ours; below 0 it is behind."""

RECEIVES = int(_QUEUE["RedrivePolicy"]["maxReceiveCount"])


@dataclass
class Letter:
    """A message of the intake queue."""

    body: str
    due: float
    receives: int = 0


@dataclass
class Run:
    """An execution of the state machine."""

    name: str
    data: dict[str, Any]
    state: str
    due: float
    tries: int = 0


@dataclass
class World(Announcing):
    """An empty stack, the wire through which its functions' calls pass, and the messages and executions in progress."""

    letters: list[Letter] = field(default_factory=list)
    dead_letters: list[Letter] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    """Executions that ended in a way that raises an alarm."""
    next_round: float | None = None
    """When the schedule invokes reconcile next while messages and executions are in progress."""
    round_gap: float = SCHEDULE_SECONDS
    held_up: float = 0.0
    """Seconds by which every execution starts late."""
    recovers_at: float | None = None
    """When the provider's faults end."""
    warm: str | None = None
    """The function whose process ran last."""
    cancelled: set[str] = field(default_factory=set)
    """The jobs of which the API said that they are cancelled."""
    retried: Counter[str] = field(default_factory=Counter)
    """How often retries of a job were accepted, or may have been."""
    paid_again: Counter[str] = field(default_factory=Counter)
    """And how many of them were allowed to buy its video again."""
    sharing: Sharing = field(default_factory=Sharing)
    known: set[str] = field(default_factory=set)
    made: dict[str, bytes] = field(default_factory=dict)
    """The provider's files that were looked at, by request."""

    def pass_time(self, seconds: float) -> None:
        """Jump ahead, and let the provider finish the jobs due by then."""
        if seconds <= 0:
            return
        self.calendar.passed = self.passed = self.calendar.passed + seconds
        self.sandbox.configure(clock_offset=self.passed)
        if self.recovers_at is not None and self.now() >= self.recovers_at:
            self.recover()
        clock = self.sandbox.state.clock
        for job in list(self.sandbox.state.running.values()):
            total = 3672.0 if job.fault == "late" else job.total_seconds
            never = job.fault in NEVER_DONE - {"late"}
            if clock.now() >= job.accepted_at + total and not never:
                self.sandbox.finished(job.request_id)

    # the functions ------------------------------------------------------------------------------------------

    def invoke(self, verb: str, event: dict[str, Any]) -> Any:
        """One invocation: the function that ran last still has its process, any other starts cold."""
        if verb != self.warm:
            forget()
        self.warm = verb
        try:
            with self.wire.inside(verb):
                return self._small_enough(verb, app(verb).handler(event, None))
        except Killed:
            self.warm = None
            self.log.append(f"{verb} was killed")
            raise

    def reconcile(self) -> None:
        """One scheduled round; it is not retried before the next."""
        try:
            self.log.append(f"reconcile {self.invoke('reconcile', {})}")
        except (Killed, Exception) as error:  # noqa: BLE001
            self.log.append(f"reconcile died: {error!r}")

    def ask(self, key: str, **body: Any) -> str:
        """Request a video from the API; returns the job's id."""
        body = {"prompt": f"The product turns, {key}.", **body}
        assert self.call_api("/videos", body, {"idempotency-key": key})[0] in (0, 202)
        return api_job_id(API_KEY, key)

    def cancel(self, job_id: str) -> int:
        """Cancel a job through the API; returns the status."""
        status, said = self.call_api("/videos/{job_id}/cancel", job_id=job_id)
        if status == 200:
            self.cancelled.add(job_id)
        self.log.append(f"cancel {status} {said.get('code', said.get('state'))}")
        return status

    def retry(self, job_id: str, *, pay: bool) -> int:
        """Ask the API for a retry; returns the status. Without a response, it may still be carried out."""
        status, said = self.call_api("/videos/{job_id}/retry", {"pay": pay}, job_id=job_id)
        if status in (0, 202):
            self.retried[job_id] += 1
            self.paid_again[job_id] += pay
        self.log.append(f"retry {status} {said.get('code', said.get('state'))}")
        return status

    def link(self, method: str, job: Job) -> int:
        """Create a job's lasting link, or revoke it, through the API; returns the status."""
        status, said = self.call_api("/videos/{job_id}/link", method=method, job_id=job.job_id)
        self.sharing.answered(method, job, status, said)
        self.log.append(f"{method} link {status} {said.get('code', said.get('link'))}")
        return status

    def open(self, token: str) -> int:
        """Click on a lasting link, again if there is no response; returns the status."""
        path = {"path": f"/w/{token}", "resource": "/w/{token}", "pathParameters": {"token": token}}
        event = {"httpMethod": "GET", **path}
        status, _ = self._call("watch", event)
        self.log.append(f"open {status}")
        return status

    def call_api(
        self,
        resource: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        method: str = "POST",
        **path: str,
    ) -> tuple[int, dict[str, Any]]:
        """A call, repeated if there is no response: its status and its answer; 0 if there was none at all."""
        event = {
            "httpMethod": method,
            "path": resource.format(**path),
            "resource": resource,
            "pathParameters": path or None,
            "headers": {"content-type": "application/json", **(headers or {})},
            "requestContext": {"stage": "v1", "identity": {"apiKeyId": API_KEY}},
            "body": None if body is None else json.dumps(body),
            "isBase64Encoded": False,
        }
        status, answer = self._call("api", event)
        return status, dict(json.loads(answer["body"])) if answer else {}

    def _call(self, verb: str, event: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """A request that API Gateway passes to a function, repeated if there is no response; 0 if there is none."""
        for _ in range(3):
            try:
                answer = self.invoke(verb, event)
                return int(answer["statusCode"]), dict(answer)
            except (Killed, Exception) as error:  # noqa: BLE001
                self.log.append(f"{verb} died: {error!r}")
        return 0, {}

    # the queue and the state machine --------------------------------------------------------------------------

    def collect(self) -> None:
        """Collect the messages and executions that the functions have sent and started."""
        for body, delay, _ in shortcut.take_messages(REGION, "intake"):
            self.letters.append(Letter(body, self.now() + delay))
        for execution in self.executions():
            if execution.name not in self.known:
                self.known.add(execution.name)
                start = self.now() + self.held_up
                self.runs.append(Run(execution.name, json.loads(execution.execution_input), ASL["StartAt"], start))
        self.collect_hooks()

    def executions(self) -> list[Any]:
        machines = stepfunctions_backends[DEFAULT_ACCOUNT_ID][REGION].state_machines
        return [run for machine in machines if machine.arn == self.state_machine for run in machine.executions]

    def deliver_letter(self, letter: Letter) -> None:
        """Pass a message to submit. If it is not completed, it is redelivered, up to five deliveries in all."""
        letter.receives += 1
        record = {"messageId": "m", "receiptHandle": "r", "body": letter.body, "eventSource": "aws:sqs"}
        event = {"Records": [{**record, "attributes": {}, "awsRegion": REGION}]}
        try:
            done = not self.invoke("submit", event)["batchItemFailures"]
        except (Killed, Exception):  # noqa: BLE001
            done = False
        self.log.append(f"submit {'done' if done else 'again'}")
        if done or letter.receives >= RECEIVES:
            self.letters.remove(letter)
            if not done:
                self.dead_letters.append(letter)
        else:
            letter.due = self.now() + VISIBILITY_SECONDS

    def redrive(self) -> None:
        """A person puts the dead letters back."""
        self.letters += [Letter(letter.body, self.now()) for letter in self.dead_letters]
        self.dead_letters.clear()

    def step(self, run: Run) -> None:
        """One state of an execution."""
        state = ASL["States"][run.state]
        match state["Type"]:
            case "Succeed" | "Fail":
                self._end(run, state["Type"])
                return
            case "Wait":
                run.due = self.now() + run.data[state["SecondsPath"].removeprefix("$.")]
            case "Task" if not self._task(run, state):
                return
        rule = next((choice["Next"] for choice in state.get("Choices", []) if _holds(choice, run.data)), None)
        caught = state["Type"] == "Task" and "exception" in run.data and run.data.pop("_caught", False)
        run.state = rule or state.get("Default") or (state["Catch"][0] if caught else state)["Next"]
        run.tries = 0

    def _task(self, run: Run, state: dict[str, Any]) -> bool:
        """Run a task; False if it will be retried."""
        try:
            run.data = dict(json.loads(json.dumps(self.invoke(run.state.lower(), run.data))))
        except (Killed, Exception) as error:  # noqa: BLE001
            name = "Lambda.Unknown" if isinstance(error, Killed) else type(error).__name__
            for retry in state["Retry"]:
                if {"States.ALL", name} & set(retry["ErrorEquals"]) and run.tries < retry["MaxAttempts"]:
                    wait = retry["IntervalSeconds"] * retry["BackoffRate"] ** run.tries
                    run.due, run.tries = self.now() + min(wait, retry["MaxDelaySeconds"]), run.tries + 1
                    self.log.append(f"{run.state} again after {name}")
                    return False
            run.data = {**run.data, "exception": {"Error": name, "Cause": str(error)}, "_caught": True}
        self.log.append(f"{run.state} {run.data.get('status')}")
        return True

    def stop(self, run: Run) -> None:
        """Stop an execution, as a person or a regional failure would."""
        self._end(run, "Fail")

    def _end(self, run: Run, kind: str) -> None:
        self.runs.remove(run)
        self.log.append(f"{run.name} ended in {run.state}")
        if kind == "Fail":
            self.crashed.append(run.name)
        for execution in self.executions():
            if execution.name == run.name:
                execution.status = "FAILED" if kind == "Fail" else "SUCCEEDED"

    # until nothing changes ------------------------------------------------------------------------------------

    def happen(self) -> bool:
        """Let the next due event happen; False if there is none. What it changes is announced at the next call."""
        self.announce()
        self.collect()
        waiting: list[Letter | Run | Hook | EventSource] = [*self.letters, *self.runs, *self.hooks]
        waiting += [self.source] if self.source.waits(self.adversary.stream) else []
        if not waiting:
            return False
        event = min(waiting, key=lambda each: each.due)
        if self.next_round is not None and event.due >= self.next_round:
            self.pass_time(self.next_round - self.now())
            self.next_round = max(self.next_round, self.now()) + self.round_gap
            self.round_gap *= 2  # the schedule has no pauses, but the first rounds meet the most
            with self.wire.unwatched():
                self.reconcile()
            return True
        self.pass_time(event.due - self.now())
        match event:
            case Letter():
                self.deliver_letter(event)
            case Run():
                self.step(event)
            case Hook():
                self.deliver_hook(event)
        return True

    def settle(self) -> None:
        """Let everything happen that happens by itself, with a round of reconcile whenever nothing else is due.

        From half of the rounds on, AWS no longer throttles calls for good: what is checked is the end.
        """
        for number in range(ROUNDS):
            if number == ROUNDS // 2:
                self.adversary.refused = 0.0
            for _ in range(2000):
                if not self.happen():
                    break
            else:
                raise AssertionError("the world never comes to rest")
            if self.at_rest() and not self.provider_is_busy():
                return
            self.pass_time(ROUND_SECONDS)
            self.reconcile()

    def provider_is_busy(self) -> bool:
        """Whether the provider is still working, and may still bill something."""
        return any(job.fault not in NEVER_DONE - {"late"} for job in self.sandbox.state.running.values())

    def at_rest(self) -> bool:
        """Whether every job has ended or waits for a person, and has been notified."""
        return all(
            (job.state.terminal or job.state is State.HELD) and job.notified_at is not None for job in self.all_jobs()
        )

    def records(self) -> list[dict[str, Any]]:
        """All items of the table."""
        return [read_item(item) for item in shortcut.items(REGION)]

    def all_jobs(self) -> list[Job]:
        return [Job.from_record(record) for record in self.records() if "state" in record]

    def days(self) -> dict[str, dict[str, float]]:
        """The ledger: the bookings of each day."""
        return {r["job_id"][4:]: r for r in self.records() if r["job_id"].startswith("day#")}

    def notifications(self) -> list[dict[str, Any]]:
        """All that was published so far."""
        self.told += [json.loads(body) for body, *_ in shortcut.take_messages(REGION, "told")]
        return self.told

    def drift(self, seconds: float) -> None:
        """Set the provider's clock ahead of or behind ours."""
        self.sandbox.configure(clock_skew=seconds)

    def recover(self) -> None:
        """The provider's faults end."""
        self.recovers_at = None
        self.sandbox.control.delete("/_sandbox/faults").raise_for_status()

    # what operators do ------------------------------------------------------------------------------------------

    def next_day(self) -> None:
        self.pass_time(ROUND_SECONDS)
        self.reconcile()  # the schedule runs at night too: jobs that just ended get their price
        self.pass_time(DAY_SECONDS - ROUND_SECONDS)
        self.reconcile()

    def top_up_and_resume(self) -> None:
        """``seedance resume``, when the account can pay again."""
        self.sandbox.configure(credits=50)
        self.resume()

    def resume(self) -> None:
        switch().resume()
        for job in self.all_jobs():
            if job.state is State.HELD and (job.error or {}).get("code") == Hold.PAUSED:
                release(jobs(), intake_queue(self.queue), job)


def forget() -> None:
    """Empty the functions' caches, as a fresh Lambda environment would have them; the AWS clients stay."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("seedance.", "app_of_")) and name != "seedance.aws.clients":
            for thing in list(vars(module).values()):
                if hasattr(thing, "cache_clear"):
                    thing.cache_clear()
