"""The jobs' table in DynamoDB. Every write is conditional, so that two who meet can't both win."""

import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from seedance import aws
from seedance.config import settings
from seedance.errors import Conflict
from seedance.job import RECORD_KEPT_SECONDS, Job, State, sources_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

STATE_INDEX = "by_state"


class JobStore:
    """Jobs by id, and by state through the index ``by_state``.

    Reads by id are strongly consistent: what a decision about money rests on must not be a second old.
    """

    def __init__(self, table: str, client: "DynamoDBClient", clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._client = client
        self._clock = clock

    def get(self, job_id: str) -> Job | None:
        """The job, or None."""
        answer = self._client.get_item(TableName=self._table, Key={"job_id": {"S": job_id}}, ConsistentRead=True)
        return Job.from_record(_read(answer["Item"])) if "Item" in answer else None

    def create(self, job: Job) -> bool:
        """Write a new job. False when its id is taken: the same event came twice."""
        now = self._now()
        job.created_at = job.created_at or now
        job.updated_at = now
        job.entered = {job.state.value: now}
        job.expires_at = int(now) + RECORD_KEPT_SECONDS
        try:
            self._client.put_item(
                TableName=self._table,
                Item=_written(job.to_record()),
                ConditionExpression="attribute_not_exists(job_id)",
            )
        except ClientError as error:
            if _is_conflict(error):
                return False
            raise
        return True

    def move(self, job: Job, target: State, **values: Any) -> Job:
        """Bring the job into another state and write ``values`` with it, in one conditional write.

        Returns the job as it is now. Raises Conflict when it is in no state from which ``target`` may be
        entered: somebody else was faster, or the job is over.
        """
        sources = sources_of(target)
        condition = "#state IN (" + ", ".join(f":from{i}" for i in range(len(sources))) + ")"
        return self._update(
            job.job_id,
            # A map's single entry: two writers of different states don't overwrite each other's times.
            {"state": target.value, f"entered.{target.value}": self._now(), **values},
            condition,
            {f":from{i}": source.value for i, source in enumerate(sources)},
        )

    def note(self, job: Job, **values: Any) -> Job:
        """Write facts about the job without moving it; None removes one. Raises Conflict when it is gone."""
        return self._update(job.job_id, values, "attribute_exists(job_id)", {})

    def newest(self, state: State, limit: int = 50) -> list[Job]:
        """Up to ``limit`` jobs of a state, latest change first, with the index's attributes only."""
        answer = self._client.query(
            TableName=self._table,
            IndexName=STATE_INDEX,
            KeyConditionExpression="#state = :state",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":state": {"S": state.value}},
            ScanIndexForward=False,
            Limit=limit,
        )
        blank = {"transport": "", "folder": ""}
        return [Job.from_record({**blank, **_read(item)}) for item in answer["Items"]]

    def _update(self, job_id: str, values: dict[str, Any], condition: str, extra: dict[str, Any]) -> Job:
        names: dict[str, str] = {"#state": "state"} if "#state" in condition else {}
        written: dict[str, Any] = _written(extra)
        sets, removes = [], []
        for number, (path, value) in enumerate({**values, "updated_at": self._now()}.items()):
            steps = []
            for step in path.split("."):
                names[f"#{step}"] = step
                steps.append(f"#{step}")
            if value is None:
                removes.append(".".join(steps))
            else:
                sets.append(f"{'.'.join(steps)} = :v{number}")
                written |= _written({f":v{number}": value})
        expression = "SET " + ", ".join(sets) + (" REMOVE " + ", ".join(removes) if removes else "")
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key={"job_id": {"S": job_id}},
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=written,
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if _is_conflict(error):
                raise Conflict(f"job {job_id} is not in a state that allows this") from error
            raise
        return Job.from_record(_read(answer["Attributes"]))

    def _now(self) -> float:
        return round(self._clock(), 3)


@cache
def jobs() -> JobStore:
    """The stack's job table."""
    return JobStore(settings().job_table, aws.dynamodb())


def _is_conflict(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "ConditionalCheckFailedException"


_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def _written(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _serialize(_to_decimal(value)) for name, value in record.items()}


def _read(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _from_decimal(_deserialize(value)) for name, value in item.items()}


def _to_decimal(value: Any) -> Any:
    # DynamoDB's numbers are decimal, and boto3 refuses floats; the shortest text of a float is exact enough.
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: _to_decimal(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_to_decimal(inner) for inner in value]
    return value


def _from_decimal(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _from_decimal(inner) for name, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [_from_decimal(inner) for inner in value]
    return value
