"""Reads selected fields of many job records at once, for batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from seedance.aws.attributes import Record, read_item
from seedance.aws.job_table import JobTable, dropped, job_table
from seedance.jobs import records
from seedance.jobs.job import ErrorFacts, State, VideoFacts

JOBS_A_READ = 100
"""The limit of DynamoDB's BatchGetItem."""

ATTEMPTS = 8
"""Attempts to read the keys that a busy table left unprocessed. With the waits between them, up to 10 seconds."""


@dataclass(frozen=True)
class JobFacts:
    """The fields of a job that were read. Those that were not, or have no valid value, are None."""

    job_id: str
    state: State
    cost_usd: float | None = None
    video: VideoFacts | None = None
    error: ErrorFacts | None = None
    link_token: str | None = None
    link_until: float | None = None


class Register:
    """Reads the job table, up to JOBS_A_READ jobs at a time. Strongly consistent, like all reads by id."""

    def __init__(self, table: JobTable) -> None:
        self._table = table

    def read(self, job_ids: Sequence[str], fields: Sequence[str]) -> dict[str, JobFacts]:
        """The state and the given other fields of up to JOBS_A_READ jobs, by id. A job that does not exist is left out.

        An invalid state is read as HELD, because a person must look at the job. Raises TimeoutError if the table is too
        busy to answer.
        """
        return {str(record["job_id"]): _usable(record) for record in self.records(job_ids, ("state", *fields))}

    def records(self, job_ids: Sequence[str], fields: Sequence[str]) -> list[Record]:
        """The given fields of up to JOBS_A_READ jobs as they are stored, and their ids. Raises TimeoutError."""
        names = ("job_id", *fields)
        wanted: Any = {
            self._table.name: {
                "Keys": [{"job_id": {"S": job_id}} for job_id in job_ids],
                "ConsistentRead": True,
                "ProjectionExpression": ", ".join(f"#{name}" for name in names),
                "ExpressionAttributeNames": {f"#{name}": name for name in names},
            }
        }
        found: list[Record] = []
        for _ in self._table.clock.attempts(ATTEMPTS, 0.04):
            answer = self._table.client.batch_get_item(RequestItems=wanted)
            found += [read_item(item) for item in answer["Responses"].get(self._table.name, [])]
            wanted = answer.get("UnprocessedKeys")
            if not wanted:
                return found
        raise TimeoutError(
            f"the table did not return {len(wanted[self._table.name]['Keys'])} jobs in {ATTEMPTS} attempts"
        )


def _usable(record: Record) -> JobFacts:
    values: dict[str, Any] = {name: value for name, value in record.items() if records.is_usable(name, value)}
    if values.get("state") not in set(State):
        values["state"] = State.HELD.value
    for name in sorted({*record, "state"}):
        if values.get(name) != record.get(name):
            dropped(str(record["job_id"]), name)
    return JobFacts(**{**values, "state": State(values["state"])})


@cache
def register() -> Register:
    """The stack's job table."""
    return Register(job_table())
