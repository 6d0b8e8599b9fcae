"""A job's timeline: everything known about it from all sources, in time order."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError
from seedance.jobs import timeline as record
from seedance.jobs.job import Job

from cli import asking
from cli.target import CommandError, Target

_REASON_CHARACTERS = 160


def timeline(target: Target, job: Job) -> list[tuple[float, str, str]]:
    """A job's events from all sources as (Unix time, source, what happened), in time order."""
    events = [(event.at, "record", event.what) for event in record.events(job)]
    # Sorted by time only, so events of the same millisecond keep their order.
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
    """An event of an execution's history in a few words, or None if it is of no interest to people."""
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
        answer = asking.ask_repair(target, ask="requests of", job_id=job.job_id)
    except CommandError as error:  # the other events are still useful
        yield now, "provider", f"its history could not be read: {error}"
        return
    if answer["incomplete"]:
        yield now, "provider", f"its history could not be read completely: {answer['incomplete']}"
    for row in answer["rows"]:
        cost = f", ${row['cost_usd']:.2f}" if row["cost_usd"] is not None else ""
        which = "earlier request" if row["request_id"] in job.earlier_request_ids else "request"
        moment = row["created_at"] or job.submitted_at
        yield moment, "provider", f"accepted {which} {row['request_id']}, now {row['status']}{cost}"
