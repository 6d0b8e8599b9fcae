"""Hands jobs over to the workflow in Step Functions, or to the queue of submit."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import count, islice
from typing import TYPE_CHECKING, Any, TypeGuard

from botocore.exceptions import ClientError

from seedance.aws import clients
from seedance.errors import NotPossible
from seedance.jobs.job import Job, batch_id
from seedance.jobs.tasks import BatchInput, PlannedBatch, TaskInput, TaskStatus

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

    from seedance.jobs.requests import Upload  # it imports pydantic

LONGEST_DELAY_SECONDS = 900
"""The longest delay of an SQS message: 15 minutes."""

MESSAGES_A_REQUEST = 10
"""The limit of SQS's SendMessageBatch."""


class Workflow:
    """The state machine."""

    def __init__(self, state_machine: str, client: "SFNClient") -> None:
        self._state_machine = state_machine
        self._client = client

    def start(self, job: Job, wait: float = 1.0, slot: int | None = None) -> None:
        """Start the job's latest execution, named after the job. If it was started before, nothing happens.

        Its first poll is after ``wait`` of the provider's seconds, in ``slot`` if one is reserved for it.
        """
        given: TaskInput = {
            "job_id": job.job_id,
            "transport": job.transport,
            "wait_seconds": max(1, round(wait)),
            "slot": slot,
        }
        try:
            self._client.start_execution(
                stateMachineArn=self._state_machine, name=job.execution_name, input=json.dumps(given)
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise

    def is_running(self, job: Job) -> bool:
        """Whether the job's latest execution exists and is running."""
        machine = self._state_machine.replace(":stateMachine:", ":execution:", 1)
        try:
            answer = self._client.describe_execution(executionArn=f"{machine}:{job.execution_name}")
        except ClientError as error:
            if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
                return False
            raise
        return answer["status"] == "RUNNING"


@dataclass(frozen=True)
class BatchRun:
    """The latest execution of a batch. ``restarts``: how many were started before it."""

    restarts: int
    arn: str
    status: str
    given: object
    """Its input: a BatchInput or a PlannedBatch, unless a person has started it by hand."""
    output: dict[str, Any] | None


class Batches:
    """The state machine for batches."""

    def __init__(self, state_machine: str, client: "SFNClient") -> None:
        self._state_machine = state_machine
        self._client = client

    def start(self, manifest: "Upload") -> str:
        """Start the manifest's batch, unless it was started before. Returns its id, which is the execution's name."""
        batch = batch_id(manifest.bucket, manifest.key, manifest.version)
        self.plan(
            {
                "batch_id": batch,
                "bucket": manifest.bucket,
                "key": manifest.key,
                "version_id": manifest.version_id,
            }
        )
        return batch

    def plan(self, batch: BatchInput) -> None:
        """Start a batch, unless it was started before."""
        self._start(batch["batch_id"], batch)

    def approve(self, plan: PlannedBatch, now: float) -> None:
        """Start to buy a planned batch, unless that was started before: there is one name for it."""
        approved: PlannedBatch = {**plan, "status": TaskStatus.PLANNED, "began_at": now, "progressed_at": now}
        self._start(plan["batch_id"] + _APPROVED, approved)

    def latest(self, batch: str) -> BatchRun | None:
        """The latest execution of a batch. None if it has none, or not yet."""
        run = self._latest(batch)
        if run and isinstance(run.given, dict) and run.given.get("approve") is False:
            return self._latest(batch + _APPROVED) or run
        return run

    def _latest(self, batch: str) -> BatchRun | None:
        arn = self._state_machine.replace(":stateMachine:", ":execution:", 1)
        found = None
        for restarts in count():
            name = _run_name(batch, restarts)
            try:
                run = self._client.describe_execution(executionArn=f"{arn}:{name}")
            except ClientError as error:
                if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
                    raise
                return found
            output = json.loads(run["output"]) if run.get("output") else None
            found = BatchRun(restarts, run["executionArn"], run["status"], json.loads(run["input"]), output)
        return found

    def restart(self, batch: str) -> None:
        """Start a failed or stopped batch again. Its jobs are kept, because their ids follow from batch and row.

        Redriving the execution would only repeat its last state, which is the one that raises the alarm. Raises
        NotPossible.
        """
        run = self.latest(batch)
        if run is None:
            raise NotPossible(f"batch {batch} does not exist")
        if run.status in ("RUNNING", "SUCCEEDED", "PENDING_REDRIVE"):
            raise NotPossible(
                f"batch {batch} is {run.status}; only one that failed or was stopped can be started again"
            )
        if not _names_a_manifest(run.given):
            raise NotPossible(f"batch {batch} was started by hand, with an input that names no manifest")
        given: BatchInput = {
            "batch_id": batch,
            "bucket": run.given["bucket"],
            "key": run.given["key"],
            "version_id": run.given.get("version_id"),
        }
        if "chunks" in run.given:
            given, batch = run.given, batch + _APPROVED  # what was approved, not what a new plan would have
        elif "approve" in run.given:
            given["approve"] = run.given["approve"]
        given = {**given, "restarts": run.restarts + 1}
        self._start(_run_name(batch, run.restarts + 1), given)

    def _start(self, name: str, given: BatchInput | PlannedBatch) -> None:
        try:
            self._client.start_execution(stateMachineArn=self._state_machine, name=name, input=json.dumps(given))
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise


class IntakeQueue:
    """The queue of submit."""

    def __init__(self, url: str, client: "SQSClient") -> None:
        self._url = url
        self._client = client

    def send(self, job: Job, delay_seconds: float = 0) -> None:
        """Put the job into the queue, to be processed after a delay.

        The message contains the job's turn, so that submit can drop messages for an earlier turn.

        A waiting job gets a new message, instead of letting the current one fail: waiting for the provider must not
        use up the attempts after which a message becomes a dead letter.
        """
        self._client.send_message(
            QueueUrl=self._url,
            MessageBody=json.dumps({"job_id": job.job_id, "turn": job.turn_at}),
            DelaySeconds=_delay(delay_seconds),
        )

    def ask_again(self, job: Job) -> None:
        """Ask submit to carry out the retry that the job's record requests."""
        self.put_back(json.dumps({"job_id": job.job_id, "retry": True}))

    def put_back(self, body: str, delay_seconds: int = 0) -> None:
        """Put a message into the queue as it is."""
        self._client.send_message(QueueUrl=self._url, MessageBody=body, DelaySeconds=delay_seconds)

    def send_all(self, job_ids: Iterable[str], delays: Iterable[float]) -> None:
        """Put many jobs, for their first turn, into the queue, ten per request, each with its delay in seconds.

        Raises RuntimeError if the queue rejected some of them.
        """
        waiting = zip(job_ids, delays, strict=True)
        while ten := list(islice(waiting, MESSAGES_A_REQUEST)):
            answer = self._client.send_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {
                        "Id": str(number),
                        "MessageBody": json.dumps({"job_id": job_id, "turn": None}),
                        "DelaySeconds": _delay(delay),
                    }
                    for number, (job_id, delay) in enumerate(ten)
                ],
            )
            if failed := answer.get("Failed"):
                raise RuntimeError(f"the queue rejected {len(failed)} of {len(ten)} jobs: {failed[0].get('Message')}")


_APPROVED = "-approved"
"""The end of the name of the execution that an approval starts."""


def _run_name(batch: str, restarts: int) -> str:
    """The name of a batch's execution: the batch's id, with a number from the second one on."""
    return f"{batch}-{restarts + 1}" if restarts else batch


def _names_a_manifest(given: object) -> TypeGuard[BatchInput]:
    return isinstance(given, dict) and all(isinstance(given.get(name), str) for name in ("bucket", "key"))


def _delay(seconds: float) -> int:
    return min(LONGEST_DELAY_SECONDS, max(0, math.ceil(seconds)))


@cache
def batches(state_machine: str) -> Batches:
    """The stack's state machine for batches."""
    return Batches(state_machine, clients.step_functions())


@cache
def workflow(state_machine: str) -> Workflow:
    """The stack's state machine."""
    return Workflow(state_machine, clients.step_functions())


@cache
def intake_queue(url: str) -> IntakeQueue:
    """The stack's queue of submit."""
    return IntakeQueue(url, clients.sqs())
