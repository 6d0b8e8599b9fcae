"""The job table's stream: its records, as the table's writes make them, and Lambda, which passes them to announce.

Sources: the DynamoDB developer guide, "Change data capture for DynamoDB Streams"; the Lambda developer guide, "Process
DynamoDB records with Lambda", "Using event filtering with a DynamoDB event source" and "Configuring partial batch
response with DynamoDB and Lambda".
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

STREAM = "arn:aws:dynamodb:us-east-1:123456789012:table/jobs/stream/2026-11-20T12:00:00.000"
LONGEST_WAIT = 60.0
"""Between two attempts at a batch. AWS does not say how long it waits."""


class Write(NamedTuple):
    """A write to an item, with the item before and after it, as moto has it; None if there was none."""

    key: str
    before: Any
    after: Any
    moment: float


def number_of(place: int) -> int:
    """The sequence number of the record at a place. They have gaps, and more and more digits."""
    return 10**20 + 7 * (place + 1) ** 9


def record(write: Write, place: int) -> dict[str, Any]:
    """The record that DynamoDB makes of a write, with both images, as Lambda passes it on."""
    images = {"OldImage": write.before, "NewImage": write.after}
    return {
        "eventID": f"{place:032x}",
        "eventName": "REMOVE" if write.after is None else "MODIFY" if write.before else "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "eventSourceARN": STREAM,
        "dynamodb": {
            "ApproximateCreationDateTime": float(int(write.moment)),
            "Keys": {"job_id": {"S": write.key}},
            "SequenceNumber": str(number_of(place)),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            **{name: image.to_json()["Attributes"] for name, image in images.items() if image is not None},
        },
    }


def changes_of_state(stream: Sequence[Write]) -> dict[str, list[str]]:
    """The states that each job has reached, in order, by its id. Read from the writes, not with the code under test."""
    reached: dict[str, list[str]] = {}
    for write in stream:
        states = [image and image.to_json()["Attributes"].get("state", {}).get("S") for image in write[1:3]]
        if states[1] and states[0] != states[1]:
            reached.setdefault(write.key, []).append(states[1])
    return reached


def passes(pattern: Any, part: Any) -> bool:
    """Whether a record passes a filter's pattern. ``exists`` works on leaves only, here as in Lambda."""
    for name, wanted in pattern.items():
        if isinstance(wanted, dict):
            if not isinstance(part.get(name), dict) or not passes(wanted, part[name]):
                return False
        elif wanted == [{"exists": True}]:
            if name not in part or isinstance(part[name], dict):
                return False
        else:
            raise NotImplementedError(wanted)
    return True


@dataclass
class EventSource:
    """The event source mapping of announce: one shard, read in order, with retries, bisection and checkpoints.

    ``settings`` are those of template.yaml.
    """

    settings: Mapping[str, Any]
    position: int = 0
    due: float = 0.0
    """When the next batch is due, if there are records."""
    invocations: int = 0
    findings: list[str] = field(default_factory=list)
    _size: int = 0
    """The size of the batch after bisection; 0 for the whole size."""
    _tries: int = 0

    def waits(self, stream: Sequence[Write]) -> bool:
        """Whether a record waits for announce. Records that don't pass the filter are skipped."""
        while self.position < len(stream):
            # Only jobs have keys without "#". To build the other records would take as long as everything else.
            if "#" not in stream[self.position].key and self._passes(record(stream[self.position], self.position)):
                return True
            self.position += 1
        return False

    def deliver(self, stream: Sequence[Write], announce: Callable[[dict[str, Any]], Any], now: float) -> str:
        """Pass the next batch to announce. Returns what happened, in words."""
        end = min(len(stream), self.position + (self._size or self.settings["BatchSize"]))
        taken = [place for place in range(self.position, end) if "#" not in stream[place].key]
        batch = {str(number_of(place)): record(stream[place], place) for place in taken}
        batch = {number: one for number, one in batch.items() if self._passes(one)}
        self.invocations += 1
        answer = announce(json.loads(json.dumps({"Records": list(batch.values())})))
        failed = [
            one["itemIdentifier"]
            for one in (answer or {"batchItemFailures": [{"itemIdentifier": ""}]})["batchItemFailures"]
        ]
        if not failed:
            self.position, self._size, self._tries = end, 0, 0
            return f"announced {len(batch)}"
        self.due = now + min(LONGEST_WAIT, 2.0**self._tries)
        self._tries += 1
        if len(failed) > 1 or failed[0] not in batch:  # the whole batch failed
            if answer:
                self.findings.append(f"announce returned {failed}, which is not a record of its batch")
            if self.settings["BisectBatchOnFunctionError"]:
                self._size = max(1, (end - self.position) // 2)
            return "announce failed"
        first = next(place for place in taken if str(number_of(place)) == failed[0])
        if first > self.position:
            self._tries = 0
        self.position = first
        return f"announce stopped before record {failed[0]}"

    def _passes(self, one: Mapping[str, Any]) -> bool:
        patterns = [json.loads(each["Pattern"]) for each in self.settings["FilterCriteria"]["Filters"]]
        return any(passes(pattern, one) for pattern in patterns)


def api_answer(target: str, body: bytes, stream: Sequence[Write]) -> dict[str, Any]:
    """What the API of DynamoDB Streams answers: GetShardIterator and GetRecords, of a stream with one shard."""
    asked = json.loads(body)
    if target.endswith("GetShardIterator"):
        assert asked["ShardIteratorType"] == "AT_SEQUENCE_NUMBER"
        places = [place for place in range(len(stream)) if number_of(place) >= int(asked["SequenceNumber"])]
        return {"ShardIterator": str(places[0])}
    start = int(asked["ShardIterator"])
    some = range(start, min(len(stream), start + min(asked.get("Limit", 1000), 3)))  # it may return fewer
    found = [record(stream[place], place) for place in some]
    return {"Records": found, "NextShardIterator": str(some.stop if found else start)}
