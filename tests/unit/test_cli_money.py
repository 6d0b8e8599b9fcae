"""The money commands: a day's balance with each kind of trouble provoked, and what may be tried again, and paid."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from seedance.jobs.bookings import Day, Entry
from seedance.jobs.catalogue import MODELS
from seedance.jobs.job import Hold, Job, State

from cli import money
from cli.target import CommandError, Target

Make = Callable[..., Job]
DAY = "2026-11-20"
LINK = "https://images.segmind.com/v.mp4"


@pytest.fixture
def asked() -> list[dict[str, Any]]:
    """What the reconcile function was asked."""
    return []


@pytest.fixture
def answers() -> dict[str, Any]:
    """What it answers."""
    return {"rows": []}


@pytest.fixture
def target(world: Any, monkeypatch: pytest.MonkeyPatch, asked: Any, answers: Any) -> Target:
    """A stack on AWS that is moto; its reconcile function answers as told."""
    dead = world.aws["sqs"].create_queue(QueueName="dead")["QueueUrl"]
    made = Target(
        {"SubmitQueueUrl": world.arns.queue, "StateMachineArn": world.arns.machine, "DeadLetterQueueUrl": dead}
    )
    monkeypatch.setattr(Target, "client", lambda _, service: world.aws[service])
    made.__dict__["jobs"] = world.store

    def ask(_: Target, **event: Any) -> dict[str, Any]:
        asked.append(event)
        return answers

    monkeypatch.setattr(money, "ask_reconcile", ask)
    return made


# the balance ------------------------------------------------------------------------------------------------


def row(request_id: str = "req-1", job_id: str | None = "up-1", status: str = "COMPLETED", usd: Any = 0.3) -> Any:
    made = {"request_id": request_id, "job_id": job_id, "status": status, "cost_usd": usd}
    return {**made, "created_at": 0.0, "url": LINK if status == "COMPLETED" else None}


@pytest.fixture
def done(make_job: Make) -> Job:
    """A job that was made and settled."""
    return make_job(State.COMPLETED, cost_usd=0.3, settled_usd=0.3, settled_days={DAY: 0.3})


SETTLED = Day(DAY, reserved=0.25, settled=0.3, committed=0.3)


def test_a_day_that_balances_has_three_zeros(done: Job) -> None:
    balance = money.balance(SETTLED, [done], [row()])
    assert (balance.duplicates, balance.orphans, balance.unreconciled) == ([], [], [])
    assert balance.balanced
    assert (balance.charged_usd, balance.requests) == (0.3, 1)


def test_an_empty_day_balances() -> None:
    assert money.balance(Day(DAY), [], []).balanced


def test_a_job_that_bought_two_videos_is_a_duplicate(done: Job) -> None:
    balance = money.balance(SETTLED, [done], [row(), row("req-2")])
    assert balance.duplicates == ["job up-1 bought 2 videos"]
    assert balance.orphans == ["request req-2 (COMPLETED)"]
    assert not balance.balanced


def test_a_second_try_after_a_failure_is_none(done: Job) -> None:
    assert money.balance(SETTLED, [done], [row(), row("req-0", status="FAILED", usd=None)]).duplicates == []


def test_a_request_that_two_jobs_have_is_a_duplicate(done: Job) -> None:
    balance = money.balance(SETTLED, [done, replace(done, job_id="up-2")], [row()])
    assert balance.duplicates == ["request req-1 belongs to 2 jobs"]
    assert not balance.balanced


def test_what_a_retry_left_behind_and_was_made_after_all_is_spent_and_explained(done: Job) -> None:
    again = replace(done, earlier_request_ids=["req-0", "req-failed"])
    failed = row("req-failed", status="FAILED", usd=None)
    balance = money.balance(SETTLED, [again], [row(), row("req-0", usd=0.25), failed])
    assert (balance.duplicates, balance.orphans, balance.unreconciled) == ([], [], [])
    assert balance.paid_again == ["request req-0 of job up-1"]
    assert (balance.paid_again_usd, balance.charged_usd) == (0.25, 0.55)


def test_a_second_payment_shows_beside_one_that_is_explained(done: Job) -> None:
    again = replace(done, earlier_request_ids=["req-0"])
    balance = money.balance(SETTLED, [again], [row(), row("req-0"), row("req-9")])
    assert balance.duplicates == ["job up-1 bought 2 videos"]
    assert balance.orphans == ["request req-9 (COMPLETED)"]
    assert balance.paid_again == ["request req-0 of job up-1"]


def test_a_request_that_one_job_gave_up_and_another_has_is_a_duplicate(done: Job) -> None:
    other = replace(done, job_id="up-2", request_id="req-2", earlier_request_ids=["req-1"], settled_days={})
    assert money.balance(SETTLED, [done, other], [row()]).duplicates == ["request req-1 belongs to 2 jobs"]
    assert money.balance(Day(DAY), [other], []).duplicates == []


@pytest.mark.parametrize("status", ["COMPLETED", "PENDING"])
def test_a_request_that_no_job_has_is_an_orphan(done: Job, status: str) -> None:
    balance = money.balance(SETTLED, [done], [row(), row("req-9", None, status)])
    assert balance.orphans == [f"request req-9 ({status})"]
    assert not balance.balanced


@pytest.mark.parametrize("state", State)
def test_a_job_of_the_day_that_is_under_way_is_unreconciled(make_job: Make, state: State) -> None:
    job = make_job(state, reserved_usd=0.2, reserved_day=DAY, request_id=None)
    under_way = state in ("SUBMITTING", "QUEUED", "PROCESSING", "COPYING", "UNCERTAIN")
    balance = money.balance(Day(DAY, reserved=0.2, committed=0.2), [job], [])
    assert balance.unreconciled == ([f"job up-1 is {state.value}"] if under_way else [])


def test_a_job_that_another_day_pays_for_is_that_days(make_job: Make) -> None:
    assert money.balance(Day(DAY), [make_job(State.QUEUED, reserved_usd=0.2, reserved_day="2026-11-19")], []).balanced


@pytest.mark.parametrize(("committed", "stray"), [(0.3, None), (0.304, None), (0.5, "$0.20"), (0.1, "$-0.20")])
def test_money_that_no_job_holds_is_unreconciled(done: Job, committed: float, stray: str | None) -> None:
    balance = money.balance(Day(DAY, reserved=0.5, settled=0.3, committed=committed), [done], [row()])
    assert balance.unreconciled == ([f"{stray} is reserved by no job"] if stray else [])


@pytest.mark.parametrize(
    ("jobs", "strange"), [([0.1, 0.2], None), ([0.1, 0.204], None), ([0.1], "$0.20"), ([0.3, 0.3], "$-0.30")]
)
def test_what_the_day_settled_is_what_its_jobs_settled(make_job: Make, jobs: list[float], strange: str | None) -> None:
    made = [
        make_job(State.FAILED, job_id=f"up-{number}", settled_days={DAY: usd, "2026-11-19": 9.0})
        for number, usd in enumerate(jobs)
    ]
    balance = money.balance(Day(DAY, reserved=0.3, settled=0.3, committed=0.3), made, [])
    assert balance.unreconciled == ([f"{strange} is settled for no job"] if strange else [])


@pytest.mark.parametrize(("settled", "balanced"), [(0.3, True), (0.304, True), (0.35, False), (None, False)])
def test_a_price_that_differs_is_unreconciled(done: Job, settled: float | None, balanced: bool) -> None:
    days = {DAY: settled or 0.0}
    day = Day(DAY, settled=settled or 0.0, committed=settled or 0.0)
    job = replace(done, cost_usd=settled, settled_usd=settled, settled_days=days)
    balance = money.balance(day, [job], [row()])
    assert balance.balanced is balanced
    assert all("the provider took $0.30" in line for line in balance.unreconciled)


@pytest.mark.parametrize(("estimate", "balanced"), [(0.3, True), (0.25, False)])
def test_an_estimate_is_called_one(done: Job, *, estimate: float, balanced: bool) -> None:
    job = replace(done, cost_usd=None, settled_usd=estimate, settled_days={DAY: estimate})
    balance = money.balance(Day(DAY, settled=estimate, committed=estimate), [job], [row()])
    said = [f"job up-1 settled ${estimate:.2f}, its estimate; the provider took $0.30"]
    assert balance.unreconciled == ([] if balanced else said)


def test_a_ledger_asks_for_every_model_and_the_days_rows_alone(
    world: Any, target: Target, make_job: Make, asked: Any, answers: Any
) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
    job = world.put(make_job(reserved_usd=None, updated_at=noon))
    job = world.store.move(job, State.SUBMITTING, entry=Entry(DAY, reserved=0.2), reserved_usd=0.2, reserved_day=DAY)
    job = world.store.close(world.store.move(job, State.QUEUED, request_id="req-1"), State.FAILED, cost_usd=0.3)
    world.put(replace(job, updated_at=noon))
    answers["rows"] = [
        {**row(), "created_at": noon},
        {**row("req-before"), "created_at": noon - 43_201},
        {**row("req-after"), "created_at": noon + 43_200},
    ]
    balance = money.ledger(target, date(2026, 11, 20))
    assert balance.balanced, balance
    assert (balance.requests, balance.day.settled) == (1, 0.3)  # once, though every model's answer has it
    assert sorted(event["model"] for event in asked) == sorted(MODELS)


def test_a_history_that_takes_several_answers_is_read_to_its_last_row_and_no_row_counts_twice(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {
        1: {"rows": [row("req-1"), row("req-2")], "next": 3},
        3: {"rows": [row("req-2"), row("req-3")], "next": 4},
        4: {"rows": [], "next": None},
    }
    pages: list[int] = []

    def ask(_: Target, *, page: int, **event: Any) -> dict[str, Any]:
        assert event == {"ask": "history", "model": "seedance-pro", "since": 1.0, "until": 2.0}
        pages.append(page)
        return parts[page]

    monkeypatch.setattr(money, "ask_reconcile", ask)
    rows = list(money.history(target, "seedance-pro", 1.0, 2.0))
    assert [one["request_id"] for one in rows] == ["req-1", "req-2", "req-3"]
    assert pages == [1, 3, 4]


def test_a_ledger_has_the_rows_of_every_part(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()

    def ask(_: Target, *, model: str, page: int, **__: Any) -> dict[str, Any]:
        if model != "seedance-pro":
            return {"rows": [], "next": None}
        return {"rows": [{**row(f"req-{page}"), "created_at": noon}], "next": page + 1 if page < 3 else None}

    monkeypatch.setattr(money, "ask_reconcile", ask)
    balance = money.ledger(target, date(2026, 11, 20))
    assert (balance.requests, balance.charged_usd) == (3, 0.9)


# retry ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED])
@pytest.mark.parametrize("pay", [False, True])
def test_a_known_result_is_copied_again_and_nothing_is_paid(
    *, world: Any, target: Target, make_job: Make, state: State, pay: bool
) -> None:
    job = world.put(make_job(state, result_url=LINK, notified_at=1.0, error={"code": "X", "message": "m"}))
    assert "nothing is paid" in money.retry(target, job, pay)
    after = world.job()
    assert (after.state, after.executions, after.error, after.notified_at) == (State.COPYING, 1, None, None)
    assert [call["name"] for call in world.called("StartExecution")] == ["up-1-2"]
    assert world.postponed() == []


def test_a_copy_that_is_under_way_is_not_started_again(world: Any, target: Target, make_job: Make) -> None:
    job = world.put(make_job(State.COPYING))
    world.workflow.start(job)
    with pytest.raises(CommandError, match="being copied right now"):
        money.retry(target, job, pay=True)
    assert world.job() == job


def test_a_copy_that_stands_still_is_started_again(world: Any, target: Target, make_job: Make) -> None:
    assert "nothing is paid" in money.retry(target, world.put(make_job(State.COPYING)), pay=False)
    assert (world.job().state, world.job().executions) == (State.COPYING, 1)


@pytest.mark.parametrize(("cost", "reserved"), [(None, True), (0.3, False)])
def test_a_copy_is_booked_where_its_job_had_let_go_of_its_money(
    *, world: Any, target: Target, make_job: Make, cost: float | None, reserved: bool
) -> None:
    money.retry(target, world.put(make_job(State.FAILED, result_url=LINK, cost_usd=cost, settled_usd=cost)), pay=False)
    assert (world.job().reserved_usd is not None) is reserved
    assert world.store.day(world.job().reserved_day or DAY).committed == (world.job().reserved_usd or 0)


@pytest.mark.parametrize("pay", [False, True])
def test_what_was_made_after_all_is_copied_and_not_paid_again(
    *, world: Any, target: Target, make_job: Make, asked: Any, answers: Any, pay: bool
) -> None:
    job = world.put(make_job(State.EXPIRED, request_id="req-1"))
    answers |= {"rows": [row("req-0"), row()], "state": "COPYING"}
    assert "nothing is paid again" in money.retry(target, job, pay)
    assert [event["ask"] for event in asked] == ["history", "adopt"]
    assert asked[1] == {"ask": "adopt", "job_id": "up-1", "request_id": "req-1"}
    assert world.postponed() == []


@pytest.mark.parametrize("pay", [False, True])
def test_while_the_history_is_out_of_reach_nothing_is_bought_anew(
    *, world: Any, target: Target, make_job: Make, monkeypatch: pytest.MonkeyPatch, pay: bool
) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise CommandError("the provider answered 500")

    monkeypatch.setattr(money, "ask_reconcile", refused)
    job = world.put(make_job(State.EXPIRED, request_id="req-1"))
    with pytest.raises(CommandError, match="may have a video by now, and nobody can tell: the provider answered 500"):
        money.retry(target, job, pay)
    assert world.job() == job
    # What failed at the provider has none.
    error = {"code": "PROVIDER_JOB_FAILED", "message": "m"}
    failed = world.put(make_job(State.FAILED, request_id="req-1", error=error))
    if pay:
        assert "billed" in money.retry(target, failed, pay)


@pytest.mark.parametrize("rows", [[], [row("req-0")], [row(status="PENDING")], [row(status="FAILED")]])
def test_what_was_not_made_is_bought_anew(
    *, world: Any, target: Target, make_job: Make, asked: Any, answers: Any, rows: list[Any]
) -> None:
    answers["rows"] = rows
    assert "billed" in money.retry(target, world.put(make_job(State.EXPIRED, request_id="req-1")), pay=True)
    assert [event["ask"] for event in asked] == ["history"]
    assert world.job().earlier_request_ids == ["req-1"]


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED])
def test_without_a_result_only_pay_buys_anew(*, world: Any, target: Target, make_job: Make, state: State) -> None:
    facts = {"cost_usd": 0.3, "settled_usd": 0.3, "settled_days": {DAY: 0.3}, "earlier_request_ids": ["req-0"]}
    job = world.put(make_job(state, request_id="req-1", attempts=6, notified_at=1.0, gone_polls=2, **facts))
    with pytest.raises(CommandError, match="--pay"):
        money.retry(target, job, pay=False)
    assert world.job() == job
    assert "billed" in money.retry(target, job, pay=True)
    after = world.job()
    assert (after.state, after.request_id, after.attempts, after.notified_at) == (State.RECEIVED, None, 0, None)
    # What was settled for the first video is not settled once more with the second.
    assert (after.cost_usd, after.settled_usd, after.gone_polls, after.executions) == (None, None, 0, 1)
    assert (after.settled_days, after.earlier_request_ids) == ({DAY: 0.3}, ["req-0", "req-1"])
    assert world.postponed() == [("up-1", 0)]


@pytest.mark.parametrize("state", [s for s in State if s not in (State.FAILED, State.EXPIRED, State.COPYING)])
def test_nothing_else_can_be_tried_again(world: Any, target: Target, make_job: Make, state: State) -> None:
    job = world.put(make_job(state))
    with pytest.raises(CommandError, match=f"is {state.value}"):
        money.retry(target, job, pay=True)
    assert world.job() == job
    assert (world.executions(), world.postponed()) == ([], [])


# resolve ----------------------------------------------------------------------------------------------------

LOST = {"code": Hold.LOST.value, "message": "m"}
IN_DOUBT = pytest.mark.parametrize("state", [State.UNCERTAIN, State.HELD])


@pytest.mark.parametrize(
    "decision", [(None, False, False), ("r", True, False), ("r", False, True), (None, True, True), ("r", True, True)]
)
def test_one_decision_must_be_made(world: Any, target: Target, make_job: Make, decision: Any) -> None:
    adopt, resubmit, give_up = decision
    job = world.put(make_job(State.UNCERTAIN))
    with pytest.raises(CommandError, match="say one of"):
        money.resolve(target, job, adopt, resubmit=resubmit, give_up=give_up)
    assert world.job() == job


@pytest.mark.parametrize("decision", [("r", False, False), (None, True, False), (None, False, True)])
@pytest.mark.parametrize("state", [state for state in State if state is not State.UNCERTAIN])
@pytest.mark.parametrize("code", [Hold.BUDGET, Hold.PAUSED])
def test_where_nothing_is_in_doubt_nothing_is_decided(
    *, world: Any, target: Target, make_job: Make, asked: Any, state: State, code: Hold, decision: Any
) -> None:
    adopt, resubmit, give_up = decision
    job = world.put(make_job(state, error={"code": code.value, "message": "m"}))
    with pytest.raises(CommandError, match="nothing to decide"):
        money.resolve(target, job, adopt, resubmit=resubmit, give_up=give_up)
    assert world.job() == job
    assert asked == []


@IN_DOUBT
def test_adopting_is_left_to_the_function_that_has_the_key(
    *, world: Any, target: Target, make_job: Make, asked: Any, answers: Any, state: State
) -> None:
    job = world.put(make_job(state, error=LOST))
    answers["state"] = "QUEUED"
    assert "QUEUED" in money.resolve(target, job, "req-9", resubmit=False, give_up=False)
    assert asked == [{"ask": "adopt", "job_id": "up-1", "request_id": "req-9"}]


@IN_DOUBT
def test_a_lost_submit_is_sent_again_by_a_persons_word(
    *, world: Any, target: Target, make_job: Make, state: State
) -> None:
    job = world.put(make_job(state, error=LOST, notified_at=1.0, submitted_at=5.0, attempts=1))
    assert "billed" in money.resolve(target, job, None, resubmit=True, give_up=False)
    after = world.job()
    assert (after.state, after.error, after.submitted_at, after.executions) == (State.RECEIVED, None, None, 1)
    assert world.postponed() == [("up-1", 0)]


@IN_DOUBT
def test_a_job_that_is_given_up_fails_and_lets_its_money_go(
    *, world: Any, target: Target, make_job: Make, state: State
) -> None:
    job = world.put(make_job(state, error=LOST, notified_at=1.0, reserved_usd=0.2, reserved_day=DAY))
    money.resolve(target, job, None, resubmit=False, give_up=True)
    after = world.job()
    assert (after.state, after.error["code"], after.notified_at) == (State.FAILED, "GIVEN_UP", None)
    assert world.store.day(DAY).released == 0.2
    assert world.postponed() == [("up-1", 0)]  # submit notifies


# stop and go ------------------------------------------------------------------------------------------------


def held(world: Any, make_job: Make) -> None:
    for number, code in enumerate([Hold.BUDGET, Hold.PAUSED, Hold.PAUSED, Hold.LOST]):
        world.put(
            make_job(State.HELD, job_id=f"up-{number}", error={"code": code.value, "message": "m"}, notified_at=1)
        )


def test_resume_lets_go_of_what_the_pause_held_and_of_nothing_else(world: Any, target: Target, make_job: Make) -> None:
    held(world, make_job)
    world.store.pause("x")
    assert money.resume(target) == 2
    assert world.store.paused() is None
    assert sorted(job for job, _ in world.postponed()) == ["up-1", "up-2"]
    assert {job.job_id for job in world.store.oldest(State.HELD)} == {"up-0", "up-3"}
    assert world.job("up-1").notified_at is None


def test_release_lets_go_of_what_the_budget_held(world: Any, target: Target, make_job: Make) -> None:
    held(world, make_job)
    assert money.release(target, Hold.BUDGET) == 1
    assert world.job("up-0").state is State.RECEIVED


def test_dead_letters_go_back_where_they_came_from(world: Any, target: Target) -> None:
    sqs, dead = world.aws["sqs"], target.output("DeadLetterQueueUrl")
    bodies = [json.dumps({"job_id": f"up-{number}"}) for number in range(12)]
    for body in bodies:
        sqs.send_message(QueueUrl=dead, MessageBody=body)
    world.calls.clear()
    assert money.redrive(target) == 12
    assert sorted(call["MessageBody"] for call in world.called("SendMessage")) == sorted(bodies)
    assert {call["QueueUrl"] for call in world.called("SendMessage")} == {world.arns.queue}
    numbers = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["All"])["Attributes"]
    assert (numbers["ApproximateNumberOfMessages"], numbers["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")
    assert money.redrive(target) == 0
