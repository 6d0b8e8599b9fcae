"""The calendar's item and the count beside it: how they are read, and how a change is written."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from seedance.aws.attributes import read_item, written_item
from seedance.aws.table import CALENDAR, IN_FLIGHT
from seedance.errors import LONGEST_WAIT_SECONDS
from seedance.pacing.calendar import CROWDED_POLLS, LONGEST_QUEUE_SECONDS, PATIENCE_SECONDS, SPAN
from seedance.pacing.pacer import ATTEMPTS

MEAN = 100.0
TABLE = "jobs-of-tests"


def item(world: Any) -> dict[str, Any]:
    stored = world.aws["dynamodb"].get_item(TableName=TABLE, Key={"job_id": {"S": CALENDAR}})["Item"]
    return read_item(stored)


def test_each_change_has_the_next_version(world: Any) -> None:
    versions = []
    for _ in range(4):
        world.pacer.submit_turn(None, MEAN)
        versions.append(item(world)["version"])
    assert versions == [1, 2, 3, 4]


def test_both_items_are_read_at_once_and_consistently(world: Any) -> None:
    world.pacer.submit_turn(None, MEAN)
    [request] = [call["RequestItems"][TABLE] for call in world.called("BatchGetItem")]
    assert request["ConsistentRead"] is True
    assert len(request["Keys"]) == 2


def test_an_item_that_was_left_out_of_an_answer_is_read_again(
    world: Any, make_pacer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it counted as missing, a full calendar would be an empty one."""
    pacer = make_pacer(requests_per_minute=2)
    assert [pacer.submit_turn(None, MEAN) for _ in range(2)] == [None, None]
    read, answers = world.table.client.batch_get_item, []

    def throttled(**parameters: Any) -> dict[str, Any]:
        answers.append(read(**parameters))
        if len(answers) == 1:
            return {"Responses": {TABLE: []}, "UnprocessedKeys": parameters["RequestItems"]}
        return answers[-1]  # type: ignore[no-any-return]

    monkeypatch.setattr(world.table.client, "batch_get_item", throttled)
    assert pacer.submit_turn(None, MEAN) == int(world.clock.now) + SPAN
    assert len(answers) == 2


def test_a_count_that_was_left_out_of_an_answer_is_read_again(
    world: Any, make_pacer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it counted as missing, all places at the provider would be free. The calendar's version does not show it."""
    pacer = make_pacer(max_in_flight=1)
    assert pacer.submit_turn(None, MEAN) is None
    world.aws["dynamodb"].put_item(TableName=TABLE, Item=written_item({"job_id": IN_FLIGHT, "held": 1}))
    read, answers = world.table.client.batch_get_item, []

    def throttled(**parameters: Any) -> dict[str, Any]:
        answers.append(read(**parameters))
        if len(answers) > 1:
            return answers[-1]  # type: ignore[no-any-return]
        items = [one for one in answers[0]["Responses"][TABLE] if one["job_id"]["S"] == CALENDAR]
        return {"Responses": {TABLE: items}, "UnprocessedKeys": {TABLE: {"Keys": [{"job_id": {"S": IN_FLIGHT}}]}}}

    monkeypatch.setattr(world.table.client, "batch_get_item", throttled)
    assert pacer.submit_turn(None, MEAN) is not None
    assert len(answers) == 2


@pytest.mark.parametrize("code", ["TransactionConflictException", "ConditionalCheckFailedException"])
def test_a_write_that_meets_another_is_done_again(world: Any, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    write, written = world.table.client.put_item, []

    def meet(**parameters: Any) -> Any:
        written.append(parameters)
        if len(written) == 1:
            raise ClientError({"Error": {"Code": code, "Message": ""}}, "PutItem")
        return write(**parameters)

    monkeypatch.setattr(world.table.client, "put_item", meet)
    assert world.pacer.submit_turn(None, MEAN) is None
    assert len(written) == 2


def test_the_waits_between_attempts_are_short(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function is paid for while it waits: at most 20 ms, 40 ms and so on, up to half a second."""
    monkeypatch.setattr(world.pacer, "_write", lambda *_: False)
    monkeypatch.setattr("random.uniform", lambda _, longest: longest)
    world.pacer.submit_turn(None, MEAN)
    assert world.clock.naps == pytest.approx([min(0.5, 0.01 * 2**number) for number in range(1, ATTEMPTS)])


def test_without_a_count_no_video_is_in_progress(make_pacer: Callable[..., Any]) -> None:
    assert make_pacer(max_in_flight=1).submit_turn(None, MEAN) is None


@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_a_turn_in_a_long_queue_counts_in_the_providers_seconds(
    world: Any, make_pacer: Callable[..., Any], scale: float
) -> None:
    """The queue may be as long as a message can wait, which is more of the provider's seconds if these are shorter."""
    pacer = make_pacer(requests_per_minute=1, scale=scale)
    assert pacer.submit_turn(None, MEAN) is None
    end = pacer.turn_in(LONGEST_QUEUE_SECONDS - 60)
    stored = {**item(world), "last_turn": end}
    world.aws["dynamodb"].put_item(TableName=TABLE, Item=written_item(stored))
    assert pacer.submit_turn(None, MEAN) > end


def test_soon_is_in_the_providers_seconds(world: Any, make_pacer: Callable[..., Any]) -> None:
    assert make_pacer(scale=0.5).soon() == world.clock.now / 0.5 + PATIENCE_SECONDS


def test_only_a_batch_gives_up_its_polls_to_its_own_rows(world: Any) -> None:
    """While a batch has rows left, its polls are few; those of a single job are not."""
    world.pacer.feed(100_000, MEAN)
    asked: list[float] = []

    def wait(polls: float) -> float:
        asked.append(polls)
        return 42.0

    world.pacer.plan_poll(wait, MEAN)
    world.pacer.plan_poll(wait, MEAN, of_a_batch=True)
    world.pacer.plan_poll(wait, MEAN, of_a_batch=False)
    single, batch, single_again = asked
    assert single == single_again > batch == CROWDED_POLLS


def test_a_submit_whose_turn_has_come_leaves_planned_polls_their_slots(make_pacer: Callable[..., Any]) -> None:
    pacer = make_pacer(requests_per_minute=2)
    now = int(pacer.turn_in(0))
    assert [pacer.plan_poll(lambda _: 1.0, MEAN).slot for _ in range(2)] == [now + 1] * 2
    assert pacer.submit_turn(now - 1, MEAN) >= now + 1 + SPAN


def test_a_poll_is_sent_although_others_are_planned(make_pacer: Callable[..., Any]) -> None:
    pacer = make_pacer(requests_per_minute=2)
    for _ in range(2):
        pacer.plan_poll(lambda _: 1.0, MEAN)
    assert pacer.poll_turn(None) is None


def test_a_turn_that_no_queue_can_have_given_is_given_anew(world: Any, make_pacer: Callable[..., Any]) -> None:
    """An older release let jobs wait for longer. Such a job takes the next place, so that others queue behind it."""
    pacer = make_pacer(max_in_flight=1)
    world.aws["dynamodb"].put_item(TableName=TABLE, Item=written_item({"job_id": IN_FLIGHT, "held": 1}))
    turn = pacer.submit_turn(world.clock.now + 2 * LONGEST_WAIT_SECONDS, MEAN)
    assert turn is not None
    assert turn < world.clock.now + 2 * MEAN
    assert item(world)["last_turn"] == pytest.approx(turn)
