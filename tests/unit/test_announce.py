"""Changes of state are announced at least once, and those of a job in their order, whatever is refused."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from announcements import TABLE_ARN, moved, record
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st
from seedance.announce import Announce, groups
from seedance.errors import NotAnnounced
from seedance.events.bus import Bus
from seedance.events.change import change_in
from seedance.events.hooks import HookQueue
from seedance.jobs.job import Job, State

Make = Callable[..., Job]


@pytest.fixture
def queue(world: Any) -> str:
    return str(world.aws["sqs"].create_queue(QueueName="webhooks")["QueueUrl"])


@pytest.fixture
def announce(world: Any, queue: str) -> Announce:
    return Announce(Bus("default", world.aws["events"]), HookQueue(queue, world.aws["sqs"]))


def entries(world: Any) -> list[dict[str, Any]]:
    return [entry for call in world.called("PutEvents") for entry in call["Entries"]]


def a_job(make_job: Make, job_id: str = "up-1") -> Iterator[dict[str, Any]]:
    """Records of a job's life, with writes between them that change no state."""
    before, numbers = None, itertools.count(10)
    for state in (State.RECEIVED, State.SUBMITTING, State.QUEUED):
        after = make_job(state, job_id=job_id)
        yield moved(before, after, next(numbers))
        before = make_job(state, job_id=job_id, turn_at=7.0)
        yield moved(after, before, next(numbers))


def test_each_change_is_one_event_and_one_webhook(
    *, world: Any, queue: str, announce: Announce, make_job: Make
) -> None:
    assert announce(a_job(make_job)) is None
    told = entries(world)
    assert {(entry["EventBusName"], entry["Source"], entry["DetailType"]) for entry in told} == {
        ("default", "seedance.pipeline", "Video State Changed")
    }
    assert all(entry["Resources"] == [TABLE_ARN] for entry in told)
    details = [json.loads(entry["Detail"]) for entry in told]
    assert [(detail["previous_state"], detail["state"]) for detail in details] == [
        (None, "RECEIVED"),
        ("RECEIVED", "SUBMITTING"),
        ("SUBMITTING", "QUEUED"),
    ]
    sent = [json.loads(entry["MessageBody"]) for call in world.called("SendMessageBatch") for entry in call["Entries"]]
    assert [one["id"] for one in sent] == [detail["id"] for detail in details]
    assert [json.loads(one["payload"])["data"] for one in sent] == details
    assert {call["QueueUrl"] for call in world.called("SendMessageBatch")} == {queue}


def test_without_webhooks_there_are_only_events(*, world: Any, make_job: Make) -> None:
    assert Announce(Bus("default", world.aws["events"]), None)(a_job(make_job)) is None
    assert len(entries(world)) == 3
    assert world.called("SendMessageBatch") == []


def test_nothing_is_called_without_a_change(world: Any, announce: Announce, make_job: Make) -> None:
    held = make_job(State.HELD)
    assert announce([moved(held, held), record(None, {"job_id": "day#2026-11-20", "reserved": 1})]) is None
    assert world.calls == [] or not (world.called("PutEvents") or world.called("SendMessageBatch"))


class Line:
    """An event bus and a queue that refuse the entries whose turn is in ``refused``, counted over all requests."""

    def __init__(self, refused: set[int]) -> None:
        self.refused = refused
        self.accepted: list[dict[str, Any]] = []
        self.turns = itertools.count()

    def _take(self, text: str) -> bool:
        if next(self.turns) in self.refused:
            return False
        self.accepted.append(json.loads(text))
        return True

    def put_events(self, *, Entries: Any) -> Any:  # noqa: N803 - boto3's name
        answers = [self._take(entry["Detail"]) for entry in Entries]
        told = [{"EventId": "e"} if fine else {"ErrorCode": "ThrottlingException"} for fine in answers]
        return {"FailedEntryCount": answers.count(False), "Entries": told}

    def send_message_batch(self, *, Entries: Any, **_: Any) -> Any:  # noqa: N803 - boto3's name
        failed = [entry["Id"] for entry in Entries if not self._take(json.loads(entry["MessageBody"])["payload"])]
        return {"Failed": [{"Id": one, "Code": "InternalError"} for one in failed]}


def told_by(line: Any, announce: Announce, records: list[dict[str, Any]]) -> int:
    """Deliver records as Lambda does until all are announced; returns the number of invocations."""
    numbers = [one["dynamodb"]["SequenceNumber"] for one in records]
    position = 0
    for invocation in range(1, 200):
        try:
            refused = announce(records[position:])
        except (NotAnnounced, ClientError, EndpointConnectionError):
            continue
        if refused is None:
            return invocation
        assert numbers.index(refused) > position  # what was announced is not delivered again
        position = numbers.index(refused)
    raise AssertionError(line.accepted)


@given(
    jobs=st.lists(st.sampled_from(["up-1", "up-2", "api-3"]), min_size=1, max_size=40),
    refused=st.sets(st.integers(0, 120), max_size=40),
    hooks=st.booleans(),
)
def test_whatever_is_refused_all_is_reported_in_order(jobs: list[str], refused: set[int], *, hooks: bool) -> None:
    states: dict[str, Iterator[State]] = {name: itertools.cycle([State.RECEIVED, State.HELD]) for name in set(jobs)}
    last: dict[str, str | None] = dict.fromkeys(jobs)
    records, wanted = [], dict[str, list[str]]()
    for number, job_id in enumerate(jobs, 1):
        state = next(states[job_id]).value
        before = {"job_id": job_id, "state": last[job_id]} if last[job_id] else None
        records.append(record(before, {"job_id": job_id, "state": state}, number))
        wanted.setdefault(job_id, []).append(str(number))
        last[job_id] = state
    bus, queue = Line(refused), Line({turn + 3 for turn in refused})
    announce = Announce(Bus("default", bus), HookQueue("url", queue) if hooks else None)  # type: ignore[arg-type]
    told_by(bus, announce, records)
    bodies = [bus.accepted, *([[body["data"] for body in queue.accepted]] if hooks else [])]
    for accepted in bodies:
        for job_id, numbers in wanted.items():
            said = [detail["sequence"].lstrip("0") for detail in accepted if detail["job_id"] == job_id]
            assert list(dict.fromkeys(said)) == numbers


def test_if_not_even_the_first_can_be_announced_the_function_fails(make_job: Make) -> None:
    """Only then does its number of errors raise an alarm, and the emulator delivers the records again."""
    announce = Announce(Bus("default", Line({0})), None)  # type: ignore[arg-type]
    with pytest.raises(NotAnnounced, match="the change of job up-1 to RECEIVED was refused"):
        announce(a_job(make_job))


def test_a_broken_connection_in_the_middle_keeps_what_was_done(make_job: Make) -> None:
    class Breaking(Line):
        def put_events(self, *, Entries: Any) -> Any:  # noqa: N803 - boto3's name
            if self.accepted:
                raise EndpointConnectionError(endpoint_url="https://events.eu-central-1.amazonaws.com")
            return super().put_events(Entries=Entries)

    line = Breaking(set())
    records = list(a_job(make_job))
    assert Announce(Bus("default", line), None)(records) == records[2]["dynamodb"]["SequenceNumber"]  # type: ignore[arg-type]
    with pytest.raises(EndpointConnectionError):
        Announce(Bus("default", line), None)(records[2:])  # type: ignore[arg-type]


def test_a_group_has_ten_changes_and_one_of_a_job(make_job: Make) -> None:
    jobs = [f"up-{number}" for number in range(12)] + ["up-11", "up-0"]
    found = [change_in(record(None, {"job_id": job_id, "state": "HELD"})) for job_id in jobs]
    sizes = [[change.detail["job_id"] for change in group] for group in groups(filter(None, found))]
    assert sizes == [jobs[:10], jobs[10:12], jobs[12:]]
    assert list(groups([])) == []


def test_a_group_fits_in_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = [change_in(record(None, {"job_id": f"up-{number}", "state": "HELD"})) for number in range(9)]
    found = [change for change in changes if change]
    size = len(found[0].event.encode())
    for most, sizes in ((3 * size, [3, 3, 3]), (3 * size - 1, [2, 2, 2, 2, 1]), (1, [1] * 9)):
        monkeypatch.setattr("seedance.announce.DETAIL_BYTES_A_REQUEST", most)
        assert [len(group) for group in groups(found)] == sizes
