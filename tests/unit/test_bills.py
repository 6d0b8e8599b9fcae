"""Bills: learned where a cost is settled, once per job; read once a minute; and never in the way of a job."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from seedance.aws.attributes import written_item
from seedance.jobs.bills import FRESH_SECONDS
from seedance.jobs.job import Job, State
from seedance.paid_call import Sending

Make = Callable[..., Job]
MODEL, HERE = "seedance-1.0-pro-fast", "720p 5s 16:9"
PARAMETERS = {"prompt": "x", "duration": 5, "resolution": "720p", "aspect_ratio": "16:9"}
DRIFT = "PriceDriftPercent"


def reread(world: Any) -> dict[str, list[float]]:
    """The model's bills as another process would read them."""
    world.clock.now += FRESH_SECONDS
    return dict(world.store.bills.of(MODEL))


def learn(world: Any, *amounts: float, **parameters: Any) -> None:
    for usd in amounts:
        world.store.bills.learn(MODEL, {**PARAMETERS, **parameters}, usd)


@pytest.fixture(params=[ClientError({"Error": {"Code": "Throttling"}}, "x"), ReadTimeoutError(endpoint_url="x")])
def broken(request: Any, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call about bills fails."""
    client = world.aws["dynamodb"]
    for name in ("get_item", "update_item"):
        call = getattr(client, name)

        def fails(call: Any = call, **parameters: Any) -> Any:
            if parameters["Key"]["job_id"]["S"].startswith("bills#"):
                raise request.param
            return call(**parameters)

        monkeypatch.setattr(client, name, fails)


# learning -------------------------------------------------------------------------------------------------------


def test_bills_are_kept_by_model_and_setting_in_order(world: Any) -> None:
    learn(world, 0.25, 0.26)
    learn(world, 0.5, duration=10)
    world.store.bills.learn("seedance-pro", PARAMETERS, 0.35)
    assert reread(world) == {HERE: [0.25, 0.26], "720p 10s 16:9": [0.5]}
    assert world.store.bills.of("seedance-pro") == {HERE: [0.35]}


def test_the_last_ten_bills_are_used_and_the_item_does_not_grow(world: Any) -> None:
    learn(world, *(1 + number / 1000 for number in range(53)))
    assert reread(world)[HERE] == [1 + number / 1000 for number in range(43, 53)]
    item = world.aws["dynamodb"].get_item(TableName="jobs-of-tests", Key={"job_id": {"S": f"bills#{MODEL}"}})
    assert len(item["Item"][HERE]["L"]) < 20


def test_learning_is_one_write(world: Any) -> None:
    learn(world, 0.25)
    assert len(world.called("UpdateItem")) == 1
    assert world.called("GetItem") == []


@pytest.mark.parametrize("usd", [0, 0.0, -1])
def test_a_video_that_cost_nothing_is_no_price(world: Any, usd: float) -> None:
    learn(world, usd)
    assert world.called("UpdateItem") == []


@pytest.mark.parametrize("unknown", [{}, {"resolution": "720p"}, {"duration": 5}, {"resolution": "8k", "duration": 5}])
def test_the_bill_of_an_unknown_request_is_not_learned(world: Any, unknown: dict[str, Any]) -> None:
    world.store.bills.learn(MODEL, unknown, 0.25)
    assert world.called("UpdateItem") == []


def test_the_item_of_bills_is_no_job(world: Any) -> None:
    learn(world, 0.25)
    assert world.store.get(f"bills#{MODEL}") is None


def test_an_estimate_follows_the_bills_within_a_minute(world: Any) -> None:
    assert world.store.bills.estimate(MODEL, PARAMETERS) == 0.25
    learn(world, 0.3)
    assert world.store.bills.estimate(MODEL, PARAMETERS) == 0.25
    assert len(world.called("GetItem")) == 1
    world.clock.now += FRESH_SECONDS
    assert world.store.bills.estimate(MODEL, PARAMETERS) == 0.3


# at the end of a job ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [State.COMPLETED, State.FAILED, State.HELD])
def test_a_reported_cost_is_learned_when_it_is_settled(world: Any, make_job: Make, end: State) -> None:
    job = make_job(State.COPYING, cost_usd=0.3, reserved_usd=0.25, reserved_day="2026-11-20")
    assert world.store.close(world.put(job), end).settled_usd == 0.3
    assert reread(world) == {HERE: [0.3]}


def test_an_estimate_is_not_learned_as_a_bill(world: Any, make_job: Make) -> None:
    job = make_job(State.COPYING, reserved_usd=0.25, reserved_day="2026-11-20")
    assert world.store.close(world.put(job), State.COMPLETED).settled_usd == 0.25
    assert reread(world) == {}


def test_a_cost_reported_later_is_learned_then(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.COPYING, reserved_usd=0.25, reserved_day="2026-11-20"))
    world.store.price(world.store.close(job, State.COMPLETED), 0.3)
    assert reread(world) == {HERE: [0.3]}


def test_a_job_that_is_closed_twice_is_one_bill(world: Any, make_job: Make) -> None:
    job = make_job(State.PROCESSING, reserved_usd=0.25, reserved_day="2026-11-20")
    job = world.store.close(world.put(job), State.HELD, made=True, cost_usd=0.3)
    job = world.store.close(world.put(replace(job, state=State.COPYING)), State.COMPLETED)
    assert reread(world) == {HERE: [0.3]}
    assert (job.settled_usd, job.settled_days) == (0.3, {"2026-11-20": 0.3})


def test_a_job_that_was_held_at_its_estimate_is_learned_at_its_cost(world: Any, make_job: Make) -> None:
    job = make_job(State.PROCESSING, reserved_usd=0.25, reserved_day="2026-11-20")
    job = world.store.close(world.put(job), State.HELD, made=True)
    world.store.close(world.put(replace(job, state=State.COPYING, cost_usd=0.3)), State.COMPLETED)
    assert reread(world) == {HERE: [0.3]}


def test_a_close_that_loses_the_race_learns_nothing(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.COPYING, cost_usd=0.3, reserved_usd=0.25, reserved_day="2026-11-20"))
    world.store.close(job, State.COMPLETED)
    with pytest.raises(Exception, match="no longer COPYING"):
        world.store.close(job, State.COMPLETED)
    assert reread(world) == {HERE: [0.3]}


@pytest.mark.usefixtures("broken")
def test_an_error_loses_only_the_bill(world: Any, make_job: Make) -> None:
    job = make_job(State.COPYING, cost_usd=0.3, reserved_usd=0.25, reserved_day="2026-11-20")
    assert world.store.close(world.put(job), State.COMPLETED).settled_usd == 0.3
    assert world.store.day("2026-11-20").settled == 0.3


# before the call -------------------------------------------------------------------------------------------------


def test_a_submit_reserves_what_the_bills_say_and_reads_them_before_the_post(world: Any, make_job: Make) -> None:
    learn(world, 0.31)
    begun = world.sending.begin(world.put(make_job()))
    assert isinstance(begun, tuple)
    assert begun[0].reserved_usd == 0.31
    assert world.store.day(begun[0].reserved_day).committed == 0.31
    assert world.wire.requests == []


def test_bills_decide_whether_a_job_exceeds_the_budget(world: Any, make_job: Make) -> None:
    learn(world, 0.31)
    verdict = replace(world.sending, budget=0.3).begin(world.put(make_job()))
    assert verdict.reason.code == "DEARER_THAN_BUDGET"
    assert "about $0.31," in verdict.reason.message


@pytest.mark.usefixtures("broken")
def test_unreadable_bills_fail_no_submit(world: Any, make_job: Make) -> None:
    sending: Sending = world.sending
    begun = sending.begin(world.put(make_job()))
    assert isinstance(begun, tuple)
    assert begun[0].reserved_usd == 0.25


@pytest.mark.parametrize(
    ("stored", "known"),
    [
        ({HERE: [0.3, "x", None, -1, 0.3]}, {HERE: [0.3, 0.3]}),
        ({HERE: "0.3"}, {HERE: []}),
        ({HERE: {"a": 1}, "note": "mine"}, {HERE: [], "note": []}),
    ],
)
def test_an_edited_item_stops_no_submit(world: Any, make_job: Make, stored: Any, known: Any) -> None:
    item = written_item({"job_id": f"bills#{MODEL}", **stored})
    world.aws["dynamodb"].put_item(TableName="jobs-of-tests", Item=item)
    assert world.store.bills.of(MODEL) == known
    assert isinstance(world.sending.begin(world.put(make_job())), tuple)
    learn(world, 0.3)  # it can't be appended to text, which is no reason to fail either
    assert world.store.bills.drifts(MODEL) == {}


# drift -----------------------------------------------------------------------------------------------------------


def test_drift_is_reported_with_each_bill_from_the_third_on(world: Any) -> None:
    learn(world, *[0.25] * 3, *[0.275] * 8)
    reported = [value for name, value in world.reported if name == DRIFT]
    assert reported == pytest.approx([0, 0, 0, 5, 10, 10, 10, 10, 10])


def test_learning_does_not_move_the_baseline(world: Any) -> None:
    learn(world, *[0.275] * 60)
    assert world.store.bills.estimate(MODEL, PARAMETERS) == 0.275
    assert world.reported[-1] == (DRIFT, pytest.approx(10))
    assert world.store.bills.drifts(MODEL) == {HERE: pytest.approx(10)}


def test_only_settings_that_are_clearly_more_expensive_are_listed(world: Any) -> None:
    learn(world, *[0.262] * 3)
    learn(world, *[0.6] * 2, duration=10)
    learn(world, *[0.1] * 3, resolution="480p")
    learn(world, *[0.7] * 3, resolution="1080p")
    assert world.store.bills.drifts(MODEL) == {"1080p 5s 16:9": pytest.approx(24.4, abs=0.1)}
