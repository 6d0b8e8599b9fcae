"""The job table: which writes its conditions allow, and that two concurrent writers cannot both succeed."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from seedance.aws.job_table import JobTable
from seedance.errors import Conflict
from seedance.jobs import store as store_module
from seedance.jobs.job import RECORD_KEPT_DAYS, TRANSITIONS, Job, State
from seedance.jobs.store import JobStore, read_item, written_item
from seedance.pacing.poll_schedule import DURATIONS_KEPT

Make = Callable[..., Job]


def test_a_new_job_is_written_with_its_times(world: Any, make_job: Make) -> None:
    assert world.store.create(make_job(created_at=0.0, entered={})) is True
    job = world.job()
    assert (job.created_at, job.updated_at) == (world.clock.now, world.clock.now)
    assert job.entered == {"RECEIVED": world.clock.now}
    assert job.expires_at == int(world.clock.now) + RECORD_KEPT_DAYS * 24 * 3600


def test_a_record_and_its_request_are_kept_as_long_as_the_stack_says(world: Any, make_job: Make) -> None:
    store = JobStore(world.table, kept_days=30)
    until = int(world.clock.now) + 30 * 24 * 3600
    assert store.create(make_job(State.SUBMITTING)) is True
    assert world.job().expires_at == until
    store.move(world.job(), State.QUEUED, request_id="req-1")
    assert world.table.get("request#req-1")["expires_at"] == until


def test_the_second_creation_of_an_id_changes_nothing(world: Any, make_job: Make) -> None:
    assert world.store.create(make_job(name="first")) is True
    assert world.store.create(make_job(name="second")) is False
    assert world.job().name == "first"


def test_an_unknown_job_is_none(world: Any) -> None:
    assert world.store.get("up-nobody") is None


def test_reads_by_id_are_consistent(world: Any) -> None:
    world.store.get("up-1")
    assert [call["ConsistentRead"] for call in world.called("GetItem")] == [True]


@pytest.mark.parametrize("target", State)
@pytest.mark.parametrize("state", State)
def test_only_allowed_transitions_are_written(world: Any, make_job: Make, state: State, target: State) -> None:
    before = world.put(make_job(state))
    world.clock.now += 7
    if target in TRANSITIONS[state]:
        after = world.store.move(before, target, cost_usd=0.5)
        assert (after.state, after.cost_usd, after.updated_at) == (target, 0.5, world.clock.now)
        assert after.entered == {**before.entered, target.value: world.clock.now}
        assert after == world.job()
    else:
        with pytest.raises(ValueError, match=f"from {state} to {target}"):
            world.store.move(before, target, cost_usd=0.5)
        assert world.job() == before


def test_a_deleted_job_can_be_neither_moved_nor_updated(world: Any, make_job: Make) -> None:
    with pytest.raises(Conflict):
        world.store.move(make_job(), State.SUBMITTING)
    with pytest.raises(Conflict):
        world.store.note(make_job(), cost_usd=1.0)
    assert world.store.get("up-1") is None


def test_of_several_writers_with_the_same_read_one_moves_the_job(world: Any, make_job: Make) -> None:
    # One after the other: moto's conditional writes are not atomic. DynamoDB's are, by its contract.
    job = world.put(make_job())
    assert world.store.move(job, State.SUBMITTING, attempts=1).attempts == 1
    for number in range(2, 5):
        with pytest.raises(Conflict):
            world.store.move(job, State.SUBMITTING, attempts=number)
    assert world.job().attempts == 1


def test_a_note_keeps_the_state_and_none_removes_an_attribute(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.QUEUED, gone_polls=2))
    job = world.store.note(job, request_id=None, gone_polls=0, metrics={"total": 61.25})
    assert (job.state, job.request_id, job.gone_polls, job.metrics) == (State.QUEUED, None, 0, {"total": 61.25})
    assert (
        "request_id"
        not in world.aws["dynamodb"].get_item(TableName="jobs-of-tests", Key={"job_id": {"S": "up-1"}})["Item"]
    )


def test_a_note_with_only_removals_works(world: Any, make_job: Make) -> None:
    assert world.store.note(world.put(make_job(State.QUEUED)), request_id=None).request_id is None


def test_reserved_names_of_dynamodb_can_be_written(world: Any, make_job: Make) -> None:
    job = world.store.note(world.put(make_job()), name="x", source="api", error={"code": "A", "message": "b"})
    assert (job.name, job.source, job.error) == ("x", "api", {"code": "A", "message": "b"})


FLOATS = st.floats(allow_nan=False, allow_infinity=False, min_value=-(2.0**53), max_value=2.0**53).filter(
    lambda number: number == 0 or abs(number) > 1e-100
)
VALUES = st.recursive(
    st.booleans() | st.integers(-(10**30), 10**30) | FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=4))
def test_values_are_read_as_they_were_written(record: dict[str, Any]) -> None:
    assert read_item(written_item(record)) == record


def test_numbers_are_read_as_numbers(world: Any, make_job: Make) -> None:
    world.put(make_job(cost_usd=0.1, expected_seconds=62.0, parameters={"seed": 7, "cfg": 0.3, "audio": True}))
    job = world.job()
    assert (job.cost_usd, job.expected_seconds) == (0.1, 62)
    assert job.parameters == {"seed": 7, "cfg": 0.3, "audio": True}
    assert type(job.parameters["seed"]) is int
    assert type(job.parameters["cfg"]) is float
    assert job.parameters["audio"] is True


def test_the_newest_jobs_of_a_state_come_first_and_no_others(world: Any, make_job: Make) -> None:
    for number, age in enumerate([30, 10, 20]):
        world.put(make_job(State.FAILED, job_id=f"up-{number}", updated_at=world.clock.now - age))
    world.put(make_job(State.QUEUED, job_id="up-running"))
    assert [job.job_id for job in world.store.newest(State.FAILED)] == ["up-1", "up-2", "up-0"]
    assert [job.job_id for job in world.store.newest(State.FAILED, limit=2)] == ["up-1", "up-2"]
    assert world.store.newest(State.EXPIRED) == []


def test_the_index_has_the_fields_that_a_list_shows(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.COMPLETED, cost_usd=0.25))
    (listed,) = world.store.newest(State.COMPLETED)
    for name in ("job_id", "state", "model", "source", "name", "created_at", "updated_at", "cost_usd"):
        assert getattr(listed, name) == getattr(job, name)


def test_a_dynamodb_error_is_not_mistaken_for_a_conflict(world: Any, make_job: Make) -> None:
    elsewhere = JobStore(JobTable("no-such-table", world.aws["dynamodb"]))
    for act in (
        lambda: elsewhere.create(make_job()),
        lambda: elsewhere.move(make_job(), State.SUBMITTING),
        lambda: elsewhere.get("up-1"),
    ):
        with pytest.raises(ClientError, match="ResourceNotFound"):
            act()


def test_the_table_comes_from_the_environment(wired: Any, make_job: Make) -> None:
    assert store_module.jobs().create(make_job()) is True
    assert wired.job().state is State.RECEIVED
    assert store_module.jobs() is store_module.jobs()


def test_an_unused_model_has_no_durations(world: Any) -> None:
    assert world.durations.of("seedance-pro") == []


def test_the_last_durations_of_each_model_are_kept_in_order(world: Any) -> None:
    for number in range(100):
        world.durations.learn("seedance-pro", 50.25 + number)
    world.durations.learn("seedance-2.0-mini", 160)
    assert world.durations.of("seedance-pro") == [50.25 + number for number in range(80, 100)]
    assert world.durations.of("seedance-2.0-mini") == [160]
    item = world.aws["dynamodb"].get_item(TableName="jobs-of-tests", Key={"job_id": {"S": "durations#seedance-pro"}})
    assert len(item["Item"]["seconds"]["L"]) < 2 * DURATIONS_KEPT
    assert len(world.called("UpdateItem")) <= 101 + 100 / DURATIONS_KEPT


def test_two_concurrent_trims_of_the_durations_trim_once(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2 * DURATIONS_KEPT - 1):
        world.durations.learn("seedance-pro", float(number + 1))
    update = world.aws["dynamodb"].update_item

    def meanwhile(**call: Any) -> Any:
        if call["UpdateExpression"].startswith("REMOVE"):
            monkeypatch.setattr(world.aws["dynamodb"], "update_item", update)
            world.durations.learn("seedance-pro", 999.0)  # one more, which also trims the list
        return update(**call)

    monkeypatch.setattr(world.aws["dynamodb"], "update_item", meanwhile)
    world.durations.learn("seedance-pro", 500.0)
    assert world.durations.of("seedance-pro") == [*map(float, range(22, 40)), 500.0, 999.0]


def test_durations_are_read_once_a_minute(world: Any) -> None:
    world.durations.learn("seedance-pro", 50.0)
    before = len(world.called("GetItem"))
    assert [world.durations.of("seedance-pro") for _ in range(5)] == [[50.0]] * 5
    assert len(world.called("GetItem")) == before + 1
    world.durations.learn("seedance-pro", 60.0)
    world.clock.now += 59
    assert world.durations.of("seedance-pro") == [50.0]
    world.clock.now += 2
    assert world.durations.of("seedance-pro") == [50.0, 60.0]


def test_the_item_of_durations_is_no_job(world: Any) -> None:
    world.durations.learn("seedance-pro", 50.0)
    assert world.store.get("durations#seedance-pro") is None
    assert [job for state in State for job in world.store.newest(state)] == []
