"""The queue of webhooks: what is sent, what is refused, and how long failed ones wait."""

from typing import Any

import pytest
from announcements import change
from hypothesis import given
from hypothesis import strategies as st
from limit_table import LIMITS
from seedance.events.hooks import ATTEMPTS, LONGEST_WAIT_SECONDS, SPREAD, WAITS, HookQueue, wait
from seedance.jobs.job import State


@pytest.fixture
def queue(world: Any) -> HookQueue:
    return HookQueue(world.aws["sqs"].create_queue(QueueName="webhooks")["QueueUrl"], world.aws["sqs"])


def test_the_attempts_continue_for_about_a_day_with_growing_waits() -> None:
    assert 23 * 3600 <= sum(WAITS) <= 25 * 3600
    assert list(WAITS) == sorted(WAITS)
    assert WAITS[0] <= 5
    assert max(WAITS) * (1 + SPREAD) <= LONGEST_WAIT_SECONDS < LIMITS["sqs visibility"].most


def test_the_queue_allows_as_many_attempts(template: dict[str, Any]) -> None:
    queue = template["Resources"]["WebhookQueue"]["Properties"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] == ATTEMPTS
    assert queue["MessageRetentionPeriod"] > sum(WAITS) * (1 + SPREAD)


@given(attempt=st.integers(0, 30), asked=st.none() | st.floats(0, 1e9), name=st.text(max_size=40))
def test_a_wait_is_one_that_sqs_accepts(attempt: int, asked: float | None, name: str) -> None:
    seconds = wait(attempt, name, asked)
    assert 0 <= seconds <= LONGEST_WAIT_SECONDS
    if attempt < ATTEMPTS:
        planned = WAITS[max(0, attempt - 1)]
        assert seconds >= min(LONGEST_WAIT_SECONDS, max(planned, asked or 0))
        assert asked or seconds <= planned * (1 + SPREAD)
    else:
        assert seconds == 0


def test_webhooks_of_one_outage_come_back_at_different_times() -> None:
    assert len({round(wait(5, f"evt_{number}")) for number in range(100)}) > 50


def test_the_receivers_retry_after_counts_if_it_is_longer() -> None:
    assert wait(1, "evt_1", 90.0) == 90.0
    assert wait(5, "evt_1", 90.0) >= WAITS[4]


def test_a_refused_entry_ends_what_counts_as_sent(world: Any, queue: HookQueue, make_job: Any) -> None:
    changes = [change(None, make_job(State.RECEIVED, job_id=f"up-{number}"), number) for number in range(3)]

    class Refusing:
        def send_message_batch(self, **_: Any) -> dict[str, Any]:
            return {"Failed": [{"Id": "2", "Code": "InternalError"}, {"Id": "1", "Code": "InternalError"}]}

    assert HookQueue("url", Refusing()).send(changes) == 1  # type: ignore[arg-type]
    assert queue.send(changes) == 3  # type: ignore[arg-type]
