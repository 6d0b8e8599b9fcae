"""The days' budgets and the switch: booked together with the job or not at all, and never above the limit."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from seedance.aws.job_table import JobTable
from seedance.errors import AllUnderWay, Conflict, OverBudget
from seedance.jobs.budget import Booking, Day
from seedance.jobs.job import Job, State
from seedance.jobs.store import JobStore
from seedance.jobs.switch import Switch

Make = Callable[..., Job]
DAY = "2026-11-20"


def reserve(world: Any, job: Job, usd: float, limit: float | None = None) -> Job:
    return world.store.move(
        job, State.SUBMITTING, booking=Booking(DAY, reserved=usd, limit=limit), reserved_usd=usd, reserved_day=DAY
    )


def test_a_day_without_bookings_is_all_zeros(world: Any) -> None:
    assert world.store.day(DAY) == Day(DAY)


def test_a_reservation_and_its_job_are_written_together(world: Any, make_job: Make) -> None:
    job = reserve(world, world.put(make_job()), 0.25)
    assert (job.state, job.reserved_usd, job.reserved_day) == (State.SUBMITTING, 0.25, DAY)
    assert job == world.job()
    assert world.store.day(DAY) == Day(DAY, reserved=0.25, committed=0.25)


# Open reservations before, the new reservation, the limit, whether it fits.
ROOM = [
    ([], 0.5, 0.5, True),
    ([], 0.51, 0.5, False),
    ([0.3], 0.2, 0.5, True),
    ([0.3], 0.21, 0.5, False),
    ([0.1, 0.2], 0.3, 0.6, True),  # 0.1 + 0.2 + 0.3 is more than 0.6 in floats
    ([0.5], 0.01, 0.5, False),
    ([9.0], 9.0, None, True),
    ([9.0], 0.01, 0.5, False),  # the limit was lowered in the meantime
]


@pytest.mark.parametrize(("before", "asked", "limit", "fits"), ROOM)
def test_a_reservation_fits_up_to_the_limit_exactly(
    *, world: Any, make_job: Make, before: list[float], asked: float, limit: float | None, fits: bool
) -> None:
    for number, usd in enumerate(before):
        reserve(world, world.put(make_job(job_id=f"up-before-{number}")), usd)
    job, booked = world.put(make_job()), world.store.day(DAY)
    if fits:
        reserve(world, job, asked, limit)
        assert world.store.day(DAY).committed == pytest.approx(sum(before) + asked)
    else:
        with pytest.raises(OverBudget):
            reserve(world, job, asked, limit)
        assert world.job() == job
        assert world.store.day(DAY) == booked


def test_a_job_that_has_moved_on_books_nothing(world: Any, make_job: Make) -> None:
    stale = world.put(make_job())
    reserve(world, stale, 0.25)
    with pytest.raises(Conflict):
        reserve(world, stale, 0.25)
    # If both conditions fail, the job's own counts: another invocation has it, whatever the budget says.
    with pytest.raises(Conflict):
        reserve(world, stale, 0.25, limit=0.25)
    assert world.store.day(DAY) == Day(DAY, reserved=0.25, committed=0.25)


def test_a_forbidden_transition_books_nothing(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.QUEUED))
    with pytest.raises(ValueError, match="QUEUED to SUBMITTING"):
        reserve(world, job, 0.25)
    assert world.store.day(DAY) == Day(DAY)


def test_of_many_reservations_only_those_that_fit_succeed(world: Any, make_job: Make) -> None:
    # In turn: moto's transactions undo each other's writes when threads run them at once; DynamoDB's do not.
    jobs = [world.put(make_job(job_id=f"up-{number}")) for number in range(8)]

    def take(job: Job) -> bool:
        try:
            reserve(world, job, 0.2, limit=0.6)
        except OverBudget:
            return False
        return True

    won = [take(job) for job in jobs]
    assert won.count(True) == 3
    assert world.store.day(DAY).committed == pytest.approx(0.6)
    assert len(world.store.oldest(State.SUBMITTING)) == 3


@pytest.mark.parametrize(
    ("reasons", "kind"),
    [
        (["ConditionalCheckFailed", "None"], Conflict),
        (["None", "ConditionalCheckFailed"], OverBudget),
        (["ConditionalCheckFailed", "ConditionalCheckFailed"], Conflict),
        (["None", "TransactionConflict"], Conflict),
        (["TransactionConflict", "None"], Conflict),
        (["None", "ThrottlingError"], ClientError),
        (["None", "ProvisionedThroughputExceeded"], ClientError),
        (["None", "ValidationError"], ClientError),
        ([], ClientError),
    ],
)
def test_the_reasons_of_a_cancelled_transaction_are_distinguished(
    *, world: Any, make_job: Make, monkeypatch: pytest.MonkeyPatch, reasons: list[str], kind: type[Exception]
) -> None:
    answer = {
        "Error": {"Code": "TransactionCanceledException", "Message": ""},
        "CancellationReasons": [{"Code": reason} for reason in reasons],
    }

    def cancelled(**_: Any) -> None:
        raise ClientError(answer, "TransactWriteItems")

    job = world.put(make_job())
    monkeypatch.setattr(world.aws["dynamodb"], "transact_write_items", cancelled)
    with pytest.raises(kind) as raised:
        reserve(world, job, 0.1, limit=1.0)
    assert type(raised.value) is kind


# The end, the cost on the job, the cost in the last write; what is settled and released of the 0.25 reserved.
ENDS = [
    (State.SUBMITTING, State.FAILED, None, {}, 0, 0.25),
    (State.SUBMITTING, State.HELD, None, {}, 0, 0.25),
    (State.QUEUED, State.FAILED, None, {}, 0, 0.25),
    (State.QUEUED, State.FAILED, 0.3, {}, 0.3, 0),  # completed without a link: still billed
    (State.QUEUED, State.EXPIRED, None, {}, 0, 0.25),
    (State.COPYING, State.COMPLETED, 0.3, {}, 0.3, 0),
    (State.COPYING, State.COMPLETED, 0.3, {"cost_usd": 0.2}, 0.2, 0),
    (State.COPYING, State.COMPLETED, 0.0, {}, 0, 0),
    (State.COPYING, State.COMPLETED, None, {}, 0.25, 0),  # no price given: the estimate
    (State.COPYING, State.FAILED, 0.2, {}, 0.2, 0),
]


@pytest.mark.parametrize(("state", "end", "cost", "values", "settled", "released"), ENDS)
def test_an_end_settles_the_cost_or_releases_the_reservation(
    *,
    world: Any,
    make_job: Make,
    state: State,
    end: State,
    cost: float | None,
    values: Any,
    settled: float,
    released: float,
) -> None:
    reserve(world, world.put(make_job(job_id="up-other")), 1.0)
    reserve(world, world.put(make_job()), 0.25)
    job = world.put(make_job(state, cost_usd=cost, reserved_usd=0.25, reserved_day=DAY))
    job = world.store.close(job, end, **values)
    assert (job.state, job.reserved_usd, job.reserved_day) == (end, None, DAY)
    booked = None if released else settled
    assert (job.settled_usd, job.settled_days) == (booked, {} if booked is None else {DAY: settled})
    day = world.store.day(DAY)
    assert (day.reserved, day.settled, day.released) == pytest.approx((1.25, settled, released))
    assert day.committed == pytest.approx(1.0 + settled)


def test_a_job_that_is_closed_twice_is_booked_once(world: Any, make_job: Make) -> None:
    job = reserve(world, world.put(make_job()), 0.25)
    world.store.close(job, State.FAILED)
    with pytest.raises(Conflict):
        world.store.close(job, State.FAILED)
    assert world.store.day(DAY) == Day(DAY, reserved=0.25, released=0.25, committed=0)


def test_a_job_that_reserved_nothing_is_closed_without_a_booking(world: Any, make_job: Make) -> None:
    assert world.store.close(world.put(make_job()), State.HELD).state is State.HELD
    assert world.called("TransactWriteItems") == []


@pytest.mark.parametrize("price", [0.4, 0.1, 0.25, 0.0])
def test_a_late_price_is_booked_once_as_the_difference(world: Any, make_job: Make, price: float) -> None:
    reserve(world, world.put(make_job(job_id="up-other")), 1.0)
    job = reserve(world, world.put(make_job()), 0.25)
    job = world.store.close(world.put(replace(job, state=State.COPYING)), State.COMPLETED)
    assert (job.cost_usd, job.settled_usd) == (None, 0.25)
    priced = world.store.price(job, price)
    assert priced == world.job()
    assert (priced.state, priced.cost_usd, priced.settled_usd) == (State.COMPLETED, price, price)
    assert priced.settled_days == {DAY: price}
    booked = Day(DAY, reserved=1.25, settled=price, committed=1.0 + price)
    assert world.store.day(DAY) == booked
    for stale in (job, priced):
        with pytest.raises(Conflict):
            world.store.price(stale, 0.9)
    assert world.store.day(DAY) == booked


def test_the_price_of_a_job_that_has_moved_on_is_not_written(world: Any, make_job: Make) -> None:
    stale = make_job(State.COMPLETED, settled_usd=0.25, settled_days={DAY: 0.25}, reserved_day=DAY)
    before = world.put(replace(stale, state=State.COPYING))
    with pytest.raises(Conflict):
        world.store.price(stale, 0.9)
    assert world.job() == before
    assert world.store.day(DAY) == Day(DAY)


def test_the_price_of_a_job_without_a_budget_is_still_written(world: Any, make_job: Make) -> None:
    assert world.store.price(world.put(make_job(State.COMPLETED)), 0.3).cost_usd == 0.3  # made by 0.1.0
    assert world.called("TransactWriteItems") == []


def test_a_job_that_ends_twice_is_settled_once(world: Any, make_job: Make) -> None:
    job = reserve(world, world.put(make_job()), 0.25)
    # A v1 call whose transfer broke and that is not in the history: HELD, with a known price.
    job = world.store.close(world.put(replace(job, state=State.UNCERTAIN, cost_usd=0.3)), State.HELD)
    job = world.store.close(world.store.move(job, State.COPYING, cost_usd=0.35), State.COMPLETED)
    assert world.store.day(DAY) == Day(DAY, reserved=0.25, settled=0.35, committed=0.35)
    assert (job.settled_usd, job.settled_days) == (0.35, {DAY: 0.35})


def test_a_second_request_is_settled_in_addition_to_the_first(world: Any, make_job: Make) -> None:
    other = "2026-11-21"
    job = make_job(State.COPYING, reserved_usd=0.25, reserved_day=DAY, cost_usd=0.3)
    job = world.put(replace(job, settled_days={DAY: 0.2, other: 0.1}))
    assert world.store.close(job, State.COMPLETED).settled_days == {DAY: 0.5, other: 0.1}


def test_after_a_release_there_is_room_again(world: Any, make_job: Make) -> None:
    first, second = world.put(make_job()), world.put(make_job(job_id="up-2"))
    first = reserve(world, first, 0.25, limit=0.25)
    with pytest.raises(OverBudget):
        reserve(world, second, 0.25, limit=0.25)
    world.store.close(first, State.FAILED)
    assert reserve(world, second, 0.25, limit=0.25).state is State.SUBMITTING


@pytest.mark.parametrize(("committed", "fits"), [("0", True), ("-0.01", True), ("-0.011", False), ("-1", False)])
def test_a_negative_sum_allows_no_extra_spending(world: Any, make_job: Make, committed: str, *, fits: bool) -> None:
    key = {"job_id": {"S": f"day#{DAY}"}}
    world.aws["dynamodb"].put_item(TableName="jobs-of-tests", Item={**key, "committed": {"N": committed}})
    job = world.put(make_job())
    if fits:
        reserve(world, job, 0.25, limit=0.25)
    else:
        with pytest.raises(OverBudget):
            reserve(world, job, 0.25, limit=0.25)


def test_a_day_whose_item_has_an_attribute_day_is_still_read(world: Any) -> None:
    item = {"job_id": {"S": f"day#{DAY}"}, "day": {"N": "5"}, "settled": {"N": "0.25"}}
    world.aws["dynamodb"].put_item(TableName="jobs-of-tests", Item=item)
    assert world.store.day(DAY) == Day(DAY, settled=0.25)


def test_the_item_of_a_day_is_no_job(world: Any, make_job: Make) -> None:
    reserve(world, world.put(make_job()), 0.25)
    assert world.store.get(f"day#{DAY}") is None
    world.switch.pause("x")
    assert world.store.get("switch#submits") is None


# videos in progress -------------------------------------------------------------------------------------------


def begin(world: Any, job: Job, most: int | None = None) -> Job:
    """Count a job as in progress, as a submit does."""
    booking = Booking(DAY, reserved=0.25, lease=1, max_in_flight=most)
    return world.store.move(job, State.SUBMITTING, booking=booking, reserved_usd=0.25, reserved_day=DAY)  # type: ignore[no-any-return]


@pytest.mark.parametrize("end", [State.FAILED, State.HELD, State.RECEIVED])
def test_a_job_is_counted_when_it_begins_and_uncounted_when_it_ends(world: Any, make_job: Make, end: State) -> None:
    job = begin(world, world.put(make_job()))
    assert world.in_flight.count() == 1
    world.store.close(job, end)
    assert world.in_flight.count() == 0


def test_a_late_price_does_not_change_the_count(world: Any, make_job: Make) -> None:
    begin(world, world.put(make_job(job_id="up-other")))
    job = world.store.close(begin(world, world.put(make_job())), State.RECEIVED)
    job = world.put(replace(job, state=State.COMPLETED, settled_usd=0.25, settled_days={DAY: 0.25}))
    assert world.in_flight.count() == 1
    world.store.price(job, 0.4)
    assert world.in_flight.count() == 1
    assert world.store.day(DAY).settled == pytest.approx(0.15)


def test_a_job_that_ends_twice_is_uncounted_once(world: Any, make_job: Make) -> None:
    begin(world, world.put(make_job(job_id="up-other")))
    job = begin(world, world.put(make_job()))
    job = world.store.close(world.put(replace(job, state=State.UNCERTAIN, cost_usd=0.3)), State.HELD)
    world.store.close(world.store.move(job, State.COPYING, cost_usd=0.35), State.COMPLETED)
    assert world.in_flight.count() == 1


def test_no_more_jobs_are_under_way_than_allowed(world: Any, make_job: Make) -> None:
    jobs = [world.put(make_job(job_id=f"up-{number}")) for number in range(3)]
    begun = [begin(world, job, most=2) for job in jobs[:2]]
    with pytest.raises(AllUnderWay, match="the maximum of 2 videos is in progress"):
        begin(world, jobs[2], most=2)
    assert world.job("up-2") == jobs[2]
    assert (world.in_flight.count(), world.store.day(DAY).reserved) == (2, 0.5)
    world.store.close(begun[0], State.FAILED)
    begin(world, jobs[2], most=2)
    assert world.in_flight.count() == 2


def test_an_adopted_job_is_counted_whatever_the_limit(world: Any, make_job: Make) -> None:
    begin(world, world.put(make_job(job_id="up-0")), most=1)
    begin(world, world.put(make_job(job_id="up-1")))
    assert world.in_flight.count() == 2


# the switch -------------------------------------------------------------------------------------------------


def test_submits_are_stopped_once_and_the_first_reason_counts(world: Any) -> None:
    assert world.switch.paused() is None
    assert [world.switch.pause("no credits"), world.switch.pause("again")] == [True, False]
    assert world.switch.paused() == "no credits"
    world.switch.resume()
    assert world.switch.paused() is None
    world.switch.resume()
    assert world.switch.pause("later") is True


def test_an_error_at_the_switch_is_not_mistaken_for_a_pause(world: Any) -> None:
    elsewhere = JobTable("no-such-table", world.aws["dynamodb"])
    switch, store = Switch(elsewhere), JobStore(elsewhere)
    for act in (lambda: switch.pause("x"), switch.paused, switch.resume, lambda: store.day(DAY)):
        with pytest.raises(ClientError, match="ResourceNotFound"):
            act()


# the indexes ------------------------------------------------------------------------------------------------


def test_all_jobs_of_a_request_are_found(world: Any, make_job: Make) -> None:
    for job_id, request in (("up-1", "a"), ("up-2", "a"), ("up-3", "b")):
        world.put(make_job(State.QUEUED, job_id=job_id, request_id=request))
    assert sorted(world.store.jobs_of_request("a")) == ["up-1", "up-2"]
    assert world.store.jobs_of_request("b") == ["up-3"]
    assert world.store.jobs_of_request("c") == []


def test_each_job_of_a_state_is_read_page_by_page(world: Any, make_job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedance.jobs.store.PAGE", 10)
    for number in range(25):
        world.put(make_job(State.HELD, job_id=f"up-{number}", updated_at=world.clock.now - number))
    each = world.store.each(State.HELD)
    assert next(each).job_id == "up-24"
    assert len(world.called("Query")) == 1
    assert [job.job_id for job in each] == [f"up-{number}" for number in range(23, -1, -1)]
    assert len(world.called("Query")) == 3
    assert [job.job_id for job in world.store.each(State.HELD, world.clock.now - 2)] == ["up-1", "up-0"]


def test_the_position_is_saved(world: Any) -> None:
    assert world.place.read() == (0, 0.0)
    world.place.save(6, 1763.5)
    assert world.place.read() == (6, 1763.5)


def test_the_oldest_come_first_from_a_given_time_and_across_pages(world: Any, make_job: Make) -> None:
    for number, age in enumerate([30, 10, 20, 40]):
        world.put(make_job(State.FAILED, job_id=f"up-{number}", updated_at=world.clock.now - age))
    world.put(make_job(State.QUEUED, job_id="up-running"))
    assert [job.job_id for job in world.store.oldest(State.FAILED)] == ["up-3", "up-0", "up-2", "up-1"]
    assert [job.job_id for job in world.store.oldest(State.FAILED, limit=2)] == ["up-3", "up-0"]
    since = world.clock.now - 30
    assert [job.job_id for job in world.store.oldest(State.FAILED, since=since)] == ["up-2", "up-1"]
