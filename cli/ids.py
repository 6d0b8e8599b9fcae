"""Finds a job or batch by its id or by an unambiguous prefix of it."""

import re
from collections.abc import Iterator

from seedance.aws.table import STATE_INDEX
from seedance.bounds import shown
from seedance.jobs.job import Job, State

from cli import progress
from cli.target import CommandError, Target

MOST_READ = 200_000
"""How many jobs or batches are searched for a prefix. That takes about ten seconds."""

_WHOLE = re.compile(r"(?:up|api|ba|ad|batch)-[0-9a-f]{32}")
_BATCH = "batch-"
_MOST_NAMED = 5


def is_batch(text: str) -> bool:
    """Whether an id, or a prefix, is a batch's."""
    return text.startswith(_BATCH)


def job(target: Target, text: str) -> Job:
    """The job with this id, or the only one whose id has this prefix. Raises CommandError."""
    if found := target.jobs.get(text):
        return found
    if is_batch(text):
        raise CommandError(f"{shown(text)} is a batch, not a job; `seedance status {shown(text)}` shows its status")
    missing = CommandError(f"job {shown(text)} does not exist; `seedance list` shows the newest jobs")
    if _WHOLE.fullmatch(text):
        raise missing
    with progress.working(f"looking for {shown(text)}"):
        (job_id,) = _only("jobs", text, _job_ids(target), missing)
    if found := target.jobs.get(job_id):
        return found
    raise missing


def job_id(target: Target, text: str) -> str:
    """The whole id of a job. Raises CommandError."""
    return job(target, text).job_id


def batch_id(target: Target, text: str) -> str:
    """The whole id of a batch, by its id or a prefix of it. Raises CommandError."""
    if _WHOLE.fullmatch(text):
        return text
    missing = CommandError(f"batch {shown(text)} does not exist")
    if not is_batch(text):
        raise CommandError(f"{shown(text)} is not the id of a batch, which begins with {_BATCH}")
    with progress.working(f"looking for {shown(text)}"):
        (found,) = _only("batches", text, _batch_ids(target), missing)
    return found


def _only(kind: str, text: str, ids: Iterator[str], missing: CommandError) -> list[str]:
    """The only id that begins with ``text``, in a list."""
    found: dict[str, None] = {}
    for number, one in enumerate(ids):
        if number >= MOST_READ:
            raise CommandError(f"{shown(text)}: there are too many to search by prefix; use the whole id")
        if one.startswith(text):
            found[one] = None
    if not found:
        raise missing
    if len(found) > 1:
        some = ", ".join(sorted(found)[:_MOST_NAMED])
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise CommandError(f"{text} is a prefix of {len(found)} {kind}: {some}{more}")
    return list(found)


def _job_ids(target: Target) -> Iterator[str]:
    """The ids of all jobs, from the index of states, without anything else."""
    client, name = target.client("dynamodb"), target.output("JobTableName")
    for state in State:
        pages = client.get_paginator("query").paginate(
            TableName=name,
            IndexName=STATE_INDEX,
            KeyConditionExpression="#state = :state",
            ProjectionExpression="job_id",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":state": {"S": state.value}},
        )
        for page in pages:
            yield from (item["job_id"]["S"] for item in page["Items"])


def _batch_ids(target: Target) -> Iterator[str]:
    """The ids of all batches, which are the names of their executions. Step Functions keeps those for 90 days."""
    pages = target.client("stepfunctions").get_paginator("list_executions")
    for page in pages.paginate(stateMachineArn=target.output("BatchStateMachineArn")):
        for run in page["executions"]:
            if found := _WHOLE.match(run["name"]):
                yield found[0]
