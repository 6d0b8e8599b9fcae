"""What the money commands do: stop and go, repair a job, explain it, balance a day."""

import contextlib
import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError
from seedance.errors import Conflict
from seedance.jobs import catalogue
from seedance.jobs.bookings import Day
from seedance.jobs.handoff import IntakeQueue, Workflow
from seedance.jobs.job import Hold, Job, State
from seedance.jobs.prices import estimate_usd
from seedance.pacing.poll_schedule import CLOCKS_APART_SECONDS
from seedance.paid_call import reservation
from seedance.reconcile import release as release_job

from cli.target import CommandError, Target

_UNDER_WAY = (State.SUBMITTING, State.QUEUED, State.PROCESSING, State.COPYING, State.UNCERTAIN)
_ALL = 100_000
_CENT = 0.005
_REASON_CHARACTERS = 160

RECONCILE_SECONDS = 270.0
"""How long an answer of the reconcile function is waited for: its time-out of 240 s, and a start."""


def queue_of(target: Target) -> IntakeQueue:
    """The queue in front of submit."""
    return IntakeQueue(target.output("SubmitQueueUrl"), target.client("sqs"))


def workflow_of(target: Target) -> Workflow:
    """The state machine."""
    return Workflow(target.output("StateMachineArn"), target.client("stepfunctions"))


def ask_reconcile(target: Target, **event: Any) -> dict[str, Any]:
    """Ask the reconcile function, which has the provider's key. Raises CommandError with its refusal.

    Asked once: a client that tires earlier and asks again would have it run twice at a time.
    """
    answer = target.client("lambda", RECONCILE_SECONDS).invoke(
        FunctionName=target.output("ReconcileFunctionName"), Payload=json.dumps(event).encode()
    )
    said = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise CommandError(f"the reconcile function crashed: {said.get('errorMessage', said)}")
    if "error" in said:
        raise CommandError(said["error"])
    return dict(said)


def history(target: Target, model: str, since: float, until: float) -> Iterator[dict[str, Any]]:
    """The provider's history of a model between two Unix times, as reconcile shows it, a part an answer.

    Raises CommandError.
    """
    page: int | None = 1
    seen: set[tuple[str, str | None]] = set()
    while page is not None:
        answer = ask_reconcile(target, ask="history", model=model, since=since, until=until, page=page)
        for row in answer["rows"]:
            # A request that is made meanwhile moves the others down the pages: some come twice.
            if (known := (row["request_id"], row["url"])) not in seen:
                seen.add(known)
                yield row
        page = answer.get("next")  # a function of an earlier release answers everything at once


def resume(target: Target) -> int:
    """Let submits go on; how many held jobs that let go."""
    target.jobs.resume()
    return release(target, Hold.PAUSED)


def release(target: Target, hold: Hold) -> int:
    """Let go of every job that is HELD for that reason; how many."""
    queue, gone = queue_of(target), 0
    for listed in target.jobs.oldest(State.HELD, limit=_ALL):
        job = target.job(listed.job_id)
        if job.state is State.HELD and (job.error or {}).get("code") == hold:
            with contextlib.suppress(Conflict):  # somebody else let it go at the same moment
                release_job(target.jobs, queue, job)
                gone += 1
    return gone


def redrive(target: Target) -> int:
    """Put every dead letter back into the queue it came from; how many. Safe: no job is submitted twice."""
    sqs, dead = target.client("sqs"), target.output("DeadLetterQueueUrl")
    moved = 0
    while messages := sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages"):
        for message in messages:
            sqs.send_message(QueueUrl=target.output("SubmitQueueUrl"), MessageBody=message["Body"])
            sqs.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
            moved += 1
    return moved


def retry(target: Target, job: Job, pay: bool) -> str:
    """Try an ended or stuck job again; what that does, in words. A new paid submit only with ``pay``."""
    held = job.state is State.HELD and (job.error or {}).get("code") == Hold.RESULT
    if job.state is State.COPYING or ((held or job.state in (State.FAILED, State.EXPIRED)) and job.result_url):
        _copy(target, job)
        return "copying the video again; nothing is paid"
    if held and job.request_id and _made_after_all(target, job):
        return _adopt(target, job, job.request_id)
    if job.state not in (State.FAILED, State.EXPIRED):
        undecided = "; `seedance resolve` decides about it" if _undecided(job) else ""
        raise CommandError(
            f"job {job.job_id} is {job.state.value}{undecided}; only a FAILED or EXPIRED job can be tried again"
        )
    failed_there = (job.error or {}).get("code") == "PROVIDER_JOB_FAILED"
    if job.request_id and not failed_there and _made_after_all(target, job):
        return _adopt(target, job, job.request_id)
    if not pay:
        price = estimate_usd(catalogue.find(job.model).average_usd, job.parameters)
        raise CommandError(f"job {job.job_id} has no result to copy; a new submit costs about ${price:.2f}: say --pay")
    _resubmit(target, job)
    return "submitting again, which will be billed"


def _copy(target: Target, job: Job, **link: str) -> None:
    """Have the job's result copied, from another ``result_url`` if there is one."""
    if job.state is State.COPYING and workflow_of(target).is_running(job):
        raise CommandError(f"job {job.job_id} is being copied right now")
    again: dict[str, Any] = {"executions": job.executions + 1, "error": None, "notified_at": None, **link}
    if job.state is State.COPYING:
        job = target.jobs.note(job, **again)
    else:
        # An end without a price has let go of its reservation; what is copied belongs on the books.
        entry, reserved = reservation(job, time.time(), limit=None)
        job = target.jobs.move(job, State.COPYING, entry=entry, **again, **reserved)
    workflow_of(target).start(job)


def _adopt(target: Target, job: Job, request_id: str) -> str:
    ask_reconcile(target, ask="adopt", job_id=job.job_id, request_id=request_id)
    return f"request {request_id} has a video by now: copying it; nothing is paid again"


def _made_after_all(target: Target, job: Job) -> bool:
    """Whether the provider's history has a video of the request that the job was given up with."""
    began = job.submitted_at or job.created_at
    window = {"since": began - CLOCKS_APART_SECONDS, "until": began + CLOCKS_APART_SECONDS}
    try:
        rows = list(history(target, job.model, **window))
    except CommandError as error:
        raise CommandError(f"request {job.request_id} may have a video by now, and nobody can tell: {error}") from error
    return any(row["request_id"] == job.request_id and row["url"] for row in rows)


def resolve(
    target: Target, job: Job, adopt: str | None, *, resubmit: bool, give_up: bool, link: str | None = None
) -> str:
    """A person's decision about a job in UNCERTAIN, or HELD for a lost submit or result; what that does, in words."""
    if [bool(adopt), bool(link), resubmit, give_up].count(True) != 1:
        raise CommandError("say one of --adopt REQUEST_ID, --link ADDRESS, --resubmit, --give-up")
    if not _undecided(job):
        raise CommandError(f"job {job.job_id} is {job.state.value}; there is nothing to decide")
    if adopt:
        state = ask_reconcile(target, ask="adopt", job_id=job.job_id, request_id=adopt)["state"]
        return f"adopted request {adopt}; the job is {state}"
    if link:
        if not re.match(r"https?://", link, re.IGNORECASE):
            raise CommandError(f"--link must be an address such as https://images.segmind.com/video.mp4, not {link}")
        _copy(target, job, result_url=link)
        return "copying the video from there, if its host is one of SegmindMediaHosts; nothing is paid"
    if resubmit:
        _resubmit(target, job)
        return "submitting again, which will be billed"
    error = {"code": "GIVEN_UP", "message": "A person gave this job up; the provider's history may show a video."}
    job = target.jobs.close(job, State.FAILED, error=error, notified_at=None)
    queue_of(target).send(job)  # submit notifies whatever is over and was not notified
    return "given up; the job is FAILED"


def _undecided(job: Job) -> bool:
    """Whether only a person can say if the job's submit arrived, or where its video is."""
    held = job.state is State.HELD and (job.error or {}).get("code") in (Hold.LOST, Hold.RESULT)
    return held or job.state is State.UNCERTAIN


def _resubmit(target: Target, job: Job) -> None:
    job = target.jobs.move(
        job,
        State.RECEIVED,
        executions=job.executions + 1,  # its next execution needs a name of its own
        request_id=None,
        earlier_request_ids=job.left_behind(None),
        submitted_at=None,
        error=None,
        notified_at=None,
        cost_usd=None,  # settled; the new call has a price of its own
        settled_usd=None,
        result_url=None,  # of the request that is given up
        last_frame_url=None,
        answer=None,
        gone_polls=0,
        attempts=0,
    )
    queue_of(target).send(job)


# explain ---------------------------------------------------------------------------------------------------


def timeline(target: Target, job: Job) -> list[tuple[float, str, str]]:
    """What is known of a job from all sides: (Unix time, where it is known from, what happened), in order."""
    events = [(moment, "record", state) for state, moment in job.entered.items()]
    if job.notified_at:
        events.append((job.notified_at, "record", "notified"))
    # By time alone: what happened in the same millisecond stays in the order in which it is told.
    return sorted([*events, *_executions(target, job), *_requests(target, job)], key=lambda event: event[0])


def _executions(target: Target, job: Job) -> Iterator[tuple[float, str, str]]:
    client = target.client("stepfunctions")
    machine = target.output("StateMachineArn").replace(":stateMachine:", ":execution:", 1)
    for number in range(1, job.executions + 2):
        name = f"{job.job_id}-{number}" if number > 1 else job.job_id
        try:
            pages = client.get_paginator("get_execution_history").paginate(executionArn=f"{machine}:{name}")
            events = [event for page in pages for event in page["events"]]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise
            continue
        told = [event for event in events if happened(event)]
        for what, same in itertools.groupby(told, key=happened):
            moments = [event["timestamp"].timestamp() for event in same]
            times = f", {len(moments)} times" if len(moments) > 1 else ""
            yield moments[0], f"workflow {number}", f"{what}{times}"


def happened(event: dict[str, Any]) -> str | None:
    """An event of an execution's history in a few words; None for what tells a person nothing."""
    kind = str(event["type"])
    details = event.get(f"{kind[0].lower()}{kind[1:]}EventDetails", {})
    why = ": " + " ".join(str(details[name]) for name in ("error", "cause") if name in details) if details else ""
    if kind.startswith("Execution"):
        return kind.removeprefix("Execution").lower() + (why if "error" in details else "")
    if kind.endswith(("Failed", "TimedOut")):
        return f"a task {'failed' if kind.endswith('Failed') else 'timed out'}{why[:_REASON_CHARACTERS]}"
    return str(event["stateEnteredEventDetails"]["name"]) if kind == "TaskStateEntered" else None


def _requests(target: Target, job: Job) -> Iterator[tuple[float, str, str]]:
    if not job.submitted_at:
        return
    now = datetime.now(UTC).timestamp()
    try:
        rows = list(history(target, job.model, job.created_at, now))
    except CommandError as error:  # the rest of the story is worth telling all the same
        yield now, "provider", f"its history could not be asked: {error}"
        return
    for row in rows:
        earlier = row["request_id"] in job.earlier_request_ids
        if job.job_id == row["job_id"] or job.request_id == row["request_id"] or earlier:
            cost = f", ${row['cost_usd']:.2f}" if row["cost_usd"] is not None else ""
            which = "earlier request" if earlier else "request"
            moment = row["created_at"] or job.submitted_at
            yield moment, "provider", f"took {which} {row['request_id']}, now {row['status']}{cost}"


# ledger ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ledger:
    """A UTC day's balance. The three lists must be empty once the day's jobs are over."""

    day: Day
    charged_usd: float
    """What the provider's history says was deducted for the day's requests of our models."""
    requests: int
    duplicates: list[str]
    """Jobs that bought more than one video, and requests that several jobs own."""
    orphans: list[str]
    """Requests of the provider's that no job owns; one that failed does not count."""
    unreconciled: list[str]
    """Jobs of the day that are not over, and sums that differ."""
    paid_again: list[str]
    """Requests that were made although their jobs had been submitted again by then: spent, and explained."""
    paid_again_usd: float

    @property
    def balanced(self) -> bool:
        """Whether the first three are empty; what was paid again was a person's decision."""
        return not (self.duplicates or self.orphans or self.unreconciled)


def ledger(target: Target, day: date) -> Ledger:
    """Balance a day: what was reserved, settled and released, against the provider's own history."""
    start = datetime.combine(day, datetime.min.time(), UTC)
    since, until = start.timestamp(), (start + timedelta(days=1)).timestamp()
    rows = [
        row
        for slug in catalogue.MODELS
        for row in history(target, slug, since, until - 1)
        if row["created_at"] is None or since <= row["created_at"] < until
    ]
    listed = [one for state in State for one in target.jobs.oldest(state, limit=_ALL, since=since)]
    jobs = [job for one in listed if (job := target.jobs.get(one.job_id))]
    # A model's name is matched as a part: "seedance-pro" must not bring a row twice.
    return balance(target.jobs.day(day.isoformat()), jobs, list({row["request_id"]: row for row in rows}.values()))


def balance(day: Day, jobs: list[Job], rows: list[dict[str, Any]]) -> Ledger:
    """The balance of a day from its bookings, the jobs that changed since it began, and the provider's rows."""
    owners = Counter(request for job in jobs for request in job.left_behind(None))
    earlier = {request: job.job_id for job in jobs for request in job.earlier_request_ids}
    made = [row for row in rows if row["status"] != "FAILED"]  # a request that failed cost nothing
    again = [row for row in made if row["request_id"] in earlier]
    bought = Counter(row["job_id"] for row in made if row["job_id"] and row not in again)
    duplicates = [f"request {request} belongs to {number} jobs" for request, number in owners.items() if number > 1]
    duplicates += [f"job {job_id} bought {number} videos" for job_id, number in bought.items() if number > 1]
    orphans = [f"request {row['request_id']} ({row['status']})" for row in made if row["request_id"] not in owners]
    mine = [job for job in jobs if job.reserved_day == day.day]
    unreconciled = [f"job {job.job_id} is {job.state.value}" for job in mine if job.state in _UNDER_WAY]
    stray = day.committed - day.settled - sum(job.reserved_usd or 0.0 for job in mine)
    if abs(stray) > _CENT:
        unreconciled.append(f"${stray:.2f} is reserved by no job")
    strange = day.settled - sum(job.settled_days.get(day.day, 0.0) for job in jobs)
    if abs(strange) > _CENT:
        unreconciled.append(f"${strange:.2f} is settled for no job")
    costs = {row["request_id"]: row["cost_usd"] for row in rows if row["cost_usd"] is not None}
    for job in jobs:
        charged = costs.get(job.request_id or "")
        settled = job.settled_usd or 0.0
        if job.state not in _UNDER_WAY and charged is not None and abs(settled - charged) > _CENT:
            guess = ", its estimate" if job.settled_usd is not None and job.cost_usd is None else ""
            unreconciled.append(f"job {job.job_id} settled ${settled:.2f}{guess}; the provider took ${charged:.2f}")
    return Ledger(
        day,
        charged_usd=round(sum(costs.values()), 4),
        requests=len(rows),
        duplicates=duplicates,
        orphans=orphans,
        unreconciled=unreconciled,
        paid_again=[f"request {row['request_id']} of job {earlier[row['request_id']]}" for row in again],
        paid_again_usd=round(sum(row["cost_usd"] or 0.0 for row in again), 4),
    )
