"""Impossible stored values, in each item that the pipeline reads: none stops it, and none allows spending."""

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from seedance.aws import checks
from seedance.aws.attributes import read_item, written_item
from seedance.aws.table import CALENDAR, IN_FLIGHT, day_key
from seedance.batches import plan_lines
from seedance.collect import Collect
from seedance.enqueue import Enqueue
from seedance.errors import AllUnderWay, BadRecord, OverBudget
from seedance.jobs import budget
from seedance.jobs.budget import Booking
from seedance.jobs.in_flight import READINGS, SETTLED_SECONDS
from seedance.jobs.job import Hold, Job, State, batch_job_id
from seedance.notices import job_message
from seedance.observability import logger
from seedance.pacing import poll_schedule
from seedance.pacing.calendar import LONGEST_FED, LONGEST_QUEUE_SECONDS, SPAN, WINDOW_SECONDS, Calendar
from seedance.paid_call import Next, Verdict

pytestmark = pytest.mark.hostile(kind="input", risk=("lost", "paid twice"))

Make = Callable[..., Job]
TABLE = "jobs-of-tests"
HUGE = "100000000000000000000"
STORED: dict[str, Any] = {
    "null": {"NULL": True},
    "empty": {"S": ""},
    "text": {"S": "abc"},
    "negative": {"N": "-5"},
    "zero": {"N": "0"},
    "huge": {"N": HUGE},
    "hugely negative": {"N": f"-{HUGE}"},
    "true": {"BOOL": True},
    "list": {"L": [{"S": "abc"}]},
    "map": {"M": {"a": {"N": "1"}}},
    "bytes": {"B": b"abc"},
    "set": {"SS": ["abc"]},
}
VALUES = [None, "", "abc", -5, 0, 1e20, math.nan, math.inf, -math.inf, True, ["abc"], {"a": 1}, b"abc"]
EACH_STORED = pytest.mark.parametrize("poison", STORED)
EACH_VALUE = pytest.mark.parametrize("value", VALUES, ids=repr)


def put(world: Any, key: str, **attributes: Any) -> None:
    world.aws["dynamodb"].put_item(TableName=TABLE, Item={"job_id": {"S": key}, **attributes})


# valid values -------------------------------------------------------------------------------------------------------


@EACH_VALUE
def test_only_a_number_within_its_bounds_is_valid(value: Any) -> None:
    assert (checks.number(value, 0, 1000) is not None) is (value == 0 and not isinstance(value, bool))
    assert (checks.whole(value, 0, 1000) is not None) is (value == 0 and not isinstance(value, bool))
    assert checks.whole(0.5, 0, 1) is None
    assert (checks.text(value) is not None) is (value == "abc")


# the calendar of requests ------------------------------------------------------------------------------------------


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", [*(of.name for of in fields(Calendar)), "version"])
def test_a_poisoned_calendar_keeps_nobody_waiting(world: Any, name: str) -> None:
    for stored in STORED.values():
        now = world.clock.now
        calendar = written_item({**Calendar().take(int(now), now).to_record(), "version": 7})
        put(world, CALENDAR, **{**calendar, name: stored})
        turns = [world.pacer.submit_turn(None, 49.0) for _ in range(3)]
        assert turns == [None, None, None]
        plan = world.pacer.plan_poll(lambda _: 20.0, 49.0)
        assert plan.slot is not None
        assert plan.wait <= 20 + SPAN
        written = world.aws["dynamodb"].get_item(TableName=TABLE, Key={"job_id": {"S": CALENDAR}})["Item"]
        assert sum(int(count["N"]) for count in written["taken"]["L"]) >= 3  # the booking is written, and counts


@EACH_VALUE
@pytest.mark.parametrize("name", [of.name for of in fields(Calendar)])
def test_any_stored_value_gives_a_usable_calendar(name: str, value: Any) -> None:
    now = 1_763_600_000.0
    for stored in (value, [value], [0, value]):
        calendar, bad = Calendar.from_record({**Calendar(first=int(now)).to_record(), name: stored}, now)
        assert set(bad) <= {name}
        assert calendar.take(int(now), now).plan(int(now) + 5, now).free(now, 50, plans=True) <= now + 200
        assert calendar.queued(now, 1.0).last_turn <= now + LONGEST_QUEUE_SECONDS + 1
        assert calendar.fed_until <= now + LONGEST_FED + WINDOW_SECONDS
        assert calendar.crowded_until <= now + LONGEST_FED + 2 * WINDOW_SECONDS


# how many are in progress --------------------------------------------------------------------------------------------


@EACH_STORED
def test_a_poisoned_count_holds_no_video_and_is_counted_anew(world: Any, make_job: Make, poison: str) -> None:
    paid = world.put(make_job(State.COPYING, job_id="up-paid", reserved_usd=0.25, reserved_day="2026-11-20"))
    put(world, IN_FLIGHT, held=STORED[poison])
    assert world.in_flight.count() >= 0
    assert world.pacer.submit_turn(None, 49.0) is None
    try:
        begun = world.sending.begin(world.put(make_job()))
    except AllUnderWay:
        pytest.fail("it must wait, not crash")
    if isinstance(begun, Verdict):
        assert begun.next is Next.LATER
    assert world.store.close(paid, State.COMPLETED, cost_usd=0.25).state is State.COMPLETED
    for _ in range(READINGS):  # one that may be right is replaced only when that many readings agree
        world.in_flight.recount()
        world.clock.now += SETTLED_SECONDS
    assert world.in_flight.count() == (not isinstance(begun, Verdict))
    if isinstance(begun, Verdict):
        assert not isinstance(world.sending.begin(world.job()), Verdict)


# the day's budget ----------------------------------------------------------------------------------------------------

AMOUNTS = ("reserved", "settled", "released", "committed")


@EACH_STORED
@pytest.mark.parametrize("name", AMOUNTS)
def test_a_poisoned_budget_is_no_leave_to_spend(world: Any, make_job: Make, name: str, poison: str) -> None:
    sending = replace(world.sending, budget=1.0, clock=world.clock)
    today = budget.day_of(world.clock.now)
    put(world, day_key(today), **{**{of: {"N": "0"} for of in AMOUNTS}, name: STORED[poison]})
    world.store.day(today)
    begun = sending.begin(world.put(make_job()))
    fits = poison == "zero" or (name != "committed" and "N" in STORED[poison])
    assert isinstance(begun, Verdict) is not fits
    if isinstance(begun, Verdict):
        assert (begun.next, begun.reason.code) == (Next.HELD, Hold.BUDGET)
        assert sending.settle(world.job(), begun).state is State.HELD
    world.clock.now += 24 * 3600  # the next day has its own item
    assert not isinstance(sending.begin(world.put(make_job(job_id="up-2"))), Verdict)


def test_a_day_that_has_lost_its_sum_is_no_leave_to_spend(world: Any, make_job: Make) -> None:
    put(world, day_key("2026-11-20"), settled={"N": "3"})
    booking = Booking("2026-11-20", reserved=0.25, limit=10.0)
    with pytest.raises(OverBudget):
        world.store.move(world.put(make_job()), State.SUBMITTING, booking=booking)


@EACH_STORED
@pytest.mark.parametrize("name", AMOUNTS)
def test_a_poisoned_budget_keeps_no_paid_video_from_its_end(
    world: Any, make_job: Make, name: str, poison: str, caplog: pytest.LogCaptureFixture
) -> None:
    day = "2026-11-20"
    put(world, IN_FLIGHT, held={"N": "1"})
    put(world, day_key(day), **{**{of: {"N": "1"} for of in AMOUNTS}, name: STORED[poison]})
    job = world.put(make_job(State.COPYING, reserved_usd=0.25, reserved_day=day))
    closed = world.store.close(job, State.COMPLETED, cost_usd=0.3)
    assert (closed.state, closed.cost_usd, closed.reserved_usd, closed.settled_usd) == (State.COMPLETED, 0.3, None, 0.3)
    assert world.in_flight.count() == 0  # the valid values are counted
    assert ("not booked" in caplog.text) is ("N" not in STORED[poison])


# reconcile's position ------------------------------------------------------------------------------------------------


@EACH_STORED
@pytest.mark.parametrize("name", ["step", "since"])
def test_a_poisoned_place_begins_the_round_anew(world: Any, name: str, poison: str) -> None:
    put(world, "place#reconcile", **{"step": {"N": "3"}, "since": {"N": "12.5"}, name: STORED[poison]})
    good = {"step": (0, 12.5), "since": (3, 0.0)}[name] if poison == "zero" else (0, 0.0)
    assert world.place.read() == good


def test_a_place_in_the_future_hides_no_job(world: Any) -> None:
    world.place.save(2, world.clock.now + 3600)
    assert world.place.read() == (0, 0.0)


# the switch ----------------------------------------------------------------------------------------------------------


@EACH_STORED
def test_a_switch_with_an_odd_reason_still_stops_submits(world: Any, make_job: Make, poison: str) -> None:
    put(world, "switch#submits", reason=STORED[poison], paused_at=STORED[poison])
    assert world.switch.paused() == ("abc" if poison == "text" else "no reason was given")
    begun = world.sending.begin(world.put(make_job()))
    assert isinstance(begun, Verdict)
    assert (begun.next, begun.reason.code) == (Next.HELD, Hold.PAUSED)


def test_a_switch_without_a_reason_stops_submits(world: Any) -> None:
    put(world, "switch#submits")
    assert world.switch.paused() == "no reason was given"


# jobs changed by hand ------------------------------------------------------------------------------------------------

WHOLE = {
    "image": {"bucket": "b", "key": "k", "version_id": None, "content_type": "image/png"},
    **{"fingerprint": "f", "batch": "batch-1", "row": 7, "sigma": 0.4, "turn_at": 5.0, "executions": 1},
    **{"reserved_usd": 0.25, "reserved_day": "2026-11-20", "settled_usd": 0.2, "settled_days": {"2026-11-20": 0.2}},
    **{"earlier_request_ids": ["r"], "gone_polls": 1, "last_frame_url": "https://x/f.png", "answer": "{}"},
    **{"metrics": {"total": 60.0}, "cost_usd": 0.25, "error": {"code": "X", "message": "why"}, "notified_at": 1.0},
    **{"video": {"bucket": "b", "key": "k", "bytes": 7, "sha256": "ab"}, "expires_at": 2_000_000_000},
}


IN_THE_INDEX = ("source", "name", "model")
"""What a list knows of a job, and can't do without."""

INDEX_KEYS = ("state", "request_id", "month", "created_at")
"""The table takes text for them, or a number for the last one, and nothing else."""


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", sorted({of.name for of in fields(Job)} - {"job_id", "updated_at", *INDEX_KEYS}))
def test_a_changed_record_is_read_or_reported_and_hides_no_other(world: Any, make_job: Make, name: str) -> None:
    item = written_item(make_job(State.COPYING, **WHOLE).to_record())
    world.put(make_job(State.COPYING, job_id="up-other"))
    for poison, stored in STORED.items():
        world.aws["dynamodb"].put_item(TableName=TABLE, Item={**item, name: stored})
        seen = {found.job_id for found in world.store.each(State.COPYING)}
        assert seen == {found.job_id for found in world.store.oldest(State.COPYING)}
        try:
            read = world.job()
        except BadRecord as error:
            assert error.field == name
            assert name in str(error)
            assert seen == ({"up-other"} if name in IN_THE_INDEX else {"up-other", "up-1"})
            continue
        assert seen == {"up-other", "up-1"}
        dropped: list[str] = []
        Job.from_record(read_item({**item, name: stored}), dropped.append)
        assert set(dropped) <= {name}
        assert dropped or poison == "null" or read.to_record()[name] == read_item({name: stored})[name]
        assert read.spread.mean >= 1
        poll_schedule.next_wait(read.age(world.clock.now, 1.0) + 1, read.spread)
        assert isinstance(read.execution_name, str)
        json.dumps(
            job_message.job_notification(read, job_message.VideoLinks("https://x/", "https://y/")), allow_nan=False
        )


def test_an_unknown_state_is_named(world: Any, make_job: Make) -> None:
    item = written_item(make_job().to_record()) | {"state": {"S": "DREAMING"}}
    world.aws["dynamodb"].put_item(TableName=TABLE, Item=item)
    with pytest.raises(BadRecord, match="its state has the invalid value 'DREAMING'"):
        world.store.get("up-1")


def test_what_is_dropped_or_skipped_is_logged(world: Any, make_job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, Any]] = []
    for level in ("warning", "error"):
        monkeypatch.setattr(logger(), level, lambda text, extra: said.append((text, extra)))
    item = written_item(make_job(State.COPYING).to_record())
    world.aws["dynamodb"].put_item(TableName=TABLE, Item=item | {"sigma": {"S": "abc"}, "name": {"N": "5"}})
    with pytest.raises(BadRecord):
        world.store.get("up-1")
    assert world.store.oldest(State.COPYING) == []
    world.aws["dynamodb"].put_item(TableName=TABLE, Item=item | {"sigma": {"S": "abc"}})
    world.store.get("up-1")
    skipped, dropped = said
    assert (skipped[0], skipped[1]["job_id"], skipped[1]["field"]) == ("a record is skipped", "up-1", "name")
    assert dropped == ("a stored value is dropped", {"item": "up-1", "field": "sigma"})


@EACH_VALUE
@pytest.mark.parametrize("name", ["expected_seconds", "sigma", "cost_usd", "submitted_at", "attempts", "turn_at"])
def test_an_unimportant_value_is_dropped(make_job: Make, name: str, value: Any) -> None:
    dropped: list[str] = []
    record = make_job(State.QUEUED).to_record()
    job = Job.from_record({**record, name: value}, dropped.append)
    if dropped:
        assert dropped == [name]
        default = {"sigma": poll_schedule.PUBLISHED_SIGMA, "expected_seconds": 0.0, "attempts": 0}.get(name)
        assert getattr(job, name) == (record["created_at"] if name == "submitted_at" else default)
    assert poll_schedule.first_wait(job.spread) <= poll_schedule.DEADLINE_SECONDS
    assert 1 <= poll_schedule.next_wait(100.0, job.spread) <= poll_schedule.DEADLINE_SECONDS
    assert math.isfinite(job.age(record["created_at"] + 5000, 1.0))


@pytest.mark.parametrize("name", ["state", "source", "name", "folder", "model", "transport"])
def test_a_missing_value_is_named(world: Any, make_job: Make, name: str) -> None:
    record = make_job(State.QUEUED).to_record()
    del record[name]
    world.aws["dynamodb"].put_item(TableName=TABLE, Item=written_item(record))
    with pytest.raises(BadRecord, match=f"record of job up-1 can't be read: its {name} is missing"):
        world.store.get("up-1")


@pytest.mark.parametrize(
    "key", ["day#2026-11-20", CALENDAR, IN_FLIGHT, "switch#submits", "request#r", "durations#m", "bills#m"]
)
def test_an_item_of_another_kind_is_no_job(world: Any, key: str) -> None:
    put(world, key, held={"N": "1"})
    assert world.store.get(key) is None


# a batch's plan ------------------------------------------------------------------------------------------------------

BATCH = "batch-0123456789abcdef0123456789abcdef"
PARAMETERS = {"prompt": "It turns", "duration": 5, "resolution": "720p", "aspect_ratio": "16:9"}
GOOD = {"row": 1, "columns": {}, "model": "seedance-pro", "transport": "v2", "parameters": PARAMETERS, "image": None}


def chunk_of(world: Any, *lines: Any) -> dict[str, Any]:
    with world.sheets.write(f"plans/{BATCH}.jsonl") as plan:
        for line in lines:
            plan.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
    chunk = [0, plan.size, 1, len(lines)]
    return {"batch_id": BATCH, "key": "batches/s.csv", "plan_key": f"plans/{BATCH}.jsonl", "chunk": chunk, "next": 0}


JSON_VALUES = [value for value in VALUES if not isinstance(value, bytes)]


@pytest.mark.parametrize("value", JSON_VALUES, ids=repr)
@pytest.mark.parametrize("name", [*GOOD, "parameters.duration", "parameters.prompt"])
@pytest.mark.sampled(6)
def test_a_corrupt_row_of_a_plan_buys_nothing_and_stops_no_other(
    world: Any, enqueue: Enqueue, name: str, value: Any
) -> None:
    poisoned = {**GOOD, name: value}
    if "." in name:
        poisoned = {**GOOD, "parameters": {**PARAMETERS, name.partition(".")[2]: value}}
    answer = enqueue(chunk_of(world, poisoned, {**GOOD, "row": 2}))
    good_too = (name, value) in [("image", None), ("columns", {"a": 1}), ("parameters.prompt", "abc")]
    if not good_too and (name, value) != ("parameters.duration", None):
        assert (answer["status"], answer["jobs"], answer["created"]) == ("COMPLETED", 1, 1)
        assert world.store.get(batch_job_id(BATCH, 1)) is None
    assert world.store.get(batch_job_id(BATCH, 2)) is not None


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"\xff\xfe", b"NaN", b"[" * 100_000, b'{"row": 1}', b"null"])
def test_an_invalid_line_is_skipped(world: Any, enqueue: Enqueue, line: bytes) -> None:
    answer = enqueue(chunk_of(world, line, {**GOOD, "row": 2}))
    assert (answer["status"], answer["jobs"], answer["created"]) == ("COMPLETED", 1, 1)


@pytest.mark.parametrize(
    "value", [*JSON_VALUES, [], [0, 1, 1], [0, 1, 1, "1"], [5, 1, 1, 2], [0, 1, 5, 4], [0, 1, 1, 10**9], [0, 1, 0, 1]]
)
def test_an_invalid_chunk_is_skipped(world: Any, collect: Collect, make_job: Make, value: Any) -> None:
    assert plan_lines.chunk(value) is None
    chunk_of(world, GOOD, {**GOOD, "row": 2})
    world.put(make_job(State.QUEUED, job_id=batch_job_id(BATCH, 1)))
    now = world.clock.now
    event = {
        "batch_id": BATCH,
        "chunks": [value, [0, 9, 1, 2]],
        "rows": 2,
        "rejected": 0,
        "over": 0,
        "status": "RUNNING",
    }
    state = collect({**event, "began_at": now, "progressed_at": now})
    assert state["status"] == "RUNNING"
    assert state["chunks"] == [[0, 9, 1, 2]]


@pytest.mark.parametrize(
    ("name", "poison"), [("state", "text"), *((name, of) for name in ("cost_usd", "video", "error") for of in STORED)]
)
def test_a_batch_is_collected_whatever_its_jobs_records_contain(
    world: Any, collect: Collect, make_job: Make, name: str, poison: str
) -> None:
    chunk = chunk_of(world, GOOD)
    item = written_item(make_job(State.COMPLETED, job_id=batch_job_id(BATCH, 1), **WHOLE).to_record())
    world.aws["dynamodb"].put_item(TableName=TABLE, Item={**item, name: STORED[poison]})
    now = world.clock.now
    event = {
        **{"batch_id": BATCH, "bucket": "example-uploads", "key": "batches/s.csv", "plan_key": chunk["plan_key"]},
        **{"plan_bytes": chunk["chunk"][1], "chunks": [chunk["chunk"]], "rows": 1, "rejected": 0, "report_key": None},
        **{"columns": [], "estimate_usd": 0.3, "over": 0, "began_at": now, "progressed_at": now, "status": "RUNNING"},
    }
    first = collect(event)
    assert first["status"] == ("RUNNING" if name == "state" else "BATCH_DONE")
    world.clock.now += 26 * 3600
    assert collect(event)["status"] == ("BATCH_OPEN" if name == "state" else "BATCH_DONE")
