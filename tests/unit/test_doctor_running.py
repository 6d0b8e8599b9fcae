"""How checks are run: in order, within their time, and whatever happens in one of them."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import doctored
import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from doctored import Stack, denied
from seedance.errors import BadRecord

from cli.doctor import running
from cli.doctor.deployment import Deployment
from cli.doctor.results import NOT_ON_AN_EMULATOR, Check, Result, Status, action, ok, refusal
from cli.doctor.table import CHECKS
from cli.target import CommandError, Target
from local.stack import Stack as LocalStack


@pytest.fixture
def of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Deployment:
    return Deployment(doctored.install(monkeypatch, tmp_path)[1], doctored.STACK)


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stack:
    return doctored.install(monkeypatch, tmp_path)[0]


def check(name: str, look: Callable[[Deployment], Result], **facts: Any) -> Check:
    return Check(name, "stack", look, "the remedy", **facts)


def raising(error: Exception) -> Callable[[Deployment], Result]:
    def look(_: Deployment) -> Result:
        raise error

    return look


def test_results_come_in_the_order_of_the_table_whichever_ends_first(of: Deployment) -> None:
    first_may_end = threading.Event()

    def slow(_: Deployment) -> Result:
        assert first_may_end.wait(5)
        return ok("slow")

    def quick(_: Deployment) -> Result:
        first_may_end.set()
        return ok("quick")

    said: list[tuple[str, int]] = []
    results = running.run(of, [check("a", slow), check("b", quick)], lambda one, left: said.append((one.name, left)))
    assert [(one.name, result.said) for one, result in results] == [("a", "slow"), ("b", "quick")]
    assert said == [("b", 1), ("a", 0)]


@pytest.fixture
def hanging() -> Iterator[Callable[[Deployment], Result]]:
    """A check whose service hangs until the end of the test."""
    over = threading.Event()

    def look(_: Deployment) -> Result:
        over.wait(30)
        return ok("too late")

    yield look
    over.set()


def test_a_service_that_hangs_delays_only_its_own_line(of: Deployment, hanging: Any) -> None:
    began = time.monotonic()
    checks = [check("hangs", hanging, seconds=0.2), *(check(f"b{number}", lambda _: ok("b")) for number in range(20))]
    results = {one.name: result for one, result in running.run(of, checks)}
    assert time.monotonic() - began < 5
    assert (results.pop("hangs").status, {result.status for result in results.values()}) == (Status.FAILED, {Status.OK})


def test_a_hanging_check_says_so_and_gives_its_place_to_the_next_one(of: Deployment, hanging: Any) -> None:
    hangs = [check(f"a{number}", hanging, seconds=0.2) for number in range(running.AT_ONCE)]
    results = list(running.run(of, [*hangs, check("b", lambda _: ok("b"))]))
    assert [result.said for _, result in results] == [*["no answer within 0.2 s"] * running.AT_ONCE, "b"]
    assert results[0][1].remedy != "the remedy"


def test_a_result_that_comes_after_its_time_is_not_counted_twice(of: Deployment) -> None:
    late = threading.Event()

    def slow(_: Deployment) -> Result:
        late.wait(5)
        return ok("too late")

    def frees(_: Deployment) -> Result:
        time.sleep(0.4)  # until the other one is given up
        late.set()
        time.sleep(0.2)
        return ok("b")

    results = list(running.run(of, [check("a", slow, seconds=0.2), check("b", frees), check("c", lambda _: ok("c"))]))
    assert [result.said for _, result in results] == ["no answer within 0.2 s", "b", "c"]


def test_every_hanging_check_of_the_table_ends_within_the_longest_limit(of: Deployment, hanging: Any) -> None:
    checks = [replace(one, look=hanging, seconds=0.1) for one in CHECKS]
    began = time.monotonic()
    assert {result.status for _, result in running.run(of, checks)} == {Status.FAILED}
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (denied("X", "bad", "ValidationError"), "X: ValidationError: bad"),
        (CommandError("no such output"), "no such output"),
        (BadRecord("up-1", "state"), "the record of job up-1 can't be read: its state is missing"),
        (EndpointConnectionError(endpoint_url="https://x"), "no answer: Could not connect"),
        (httpx.ConnectTimeout("timed out"), "no answer: timed out"),
        (KeyError("Rules"), "the check crashed: KeyError('Rules')"),
    ],
)
def test_an_error_fails_the_line_and_says_what_it_was(of: Deployment, error: Exception, says: str) -> None:
    result = running.look(of, check("a", raising(error)))
    assert result.status is Status.FAILED
    assert says in result.said


@pytest.mark.parametrize(
    ("error", "permission"),
    [
        (denied("GetPublicAccessBlock"), "s3:GetBucketPublicAccessBlock"),
        (denied("GetBucketEncryption"), "s3:GetEncryptionConfiguration"),
        (denied("Invoke", code="AccessDeniedException"), "lambda:InvokeFunction"),
        (denied("DescribeRule", code="AccessDeniedException"), "events:DescribeRule"),
        (denied("ListStackResources"), "cloudformation:ListStackResources"),
        (denied("ListSubscriptionsByTopic", code="AuthorizationError"), "sns:ListSubscriptionsByTopic"),
        (
            denied("ListExecutions", "User: x is not authorized to perform: states:ListExecutions on resource: y"),
            "states:ListExecutions",
        ),
    ],
)
def test_a_missing_permission_makes_the_line_unknown_and_is_named(
    of: Deployment, error: ClientError, permission: str
) -> None:
    needs = ("events:DescribeRule", "sns:ListSubscriptionsByTopic")
    result = running.look(of, check("a", raising(error), needs=needs))
    assert (result.status, result.permission) == (Status.UNKNOWN, permission)
    assert permission in result.said


@pytest.mark.parametrize("name", sorted(one.name for one in CHECKS if one.needs))
def test_each_permission_that_is_missing_is_named(stack: Stack, name: str) -> None:
    """Deny every call of a check: the permission that its line names is one that it needs."""
    (one,) = [one for one in CHECKS if one.name == name]
    for operation in stack.answers:
        if not operation.startswith("cloudformation."):
            stack.answers[operation] = denied(operation.partition(".")[2], code="AccessDeniedException")
    result = running.look(Deployment(Target(doctored.OUTPUTS), doctored.STACK), one)
    assert (result.status, result.permission in one.needs) == (Status.UNKNOWN, True), result


def test_an_error_that_is_not_a_refusal_is_a_failure() -> None:
    assert refusal(denied("X", code="Throttling"), ()).status is Status.FAILED
    assert action("Unheard", ("s3:GetObject",)) == "Unheard"


def test_what_an_emulator_does_not_have_is_skipped_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    doctored.install(monkeypatch, tmp_path)
    local = Deployment(Target(doctored.OUTPUTS, LocalStack(endpoint_url="http://127.0.0.1:1")), doctored.STACK)
    skipped = {one.name for one in CHECKS if running.look(local, one).said == NOT_ON_AN_EMULATOR}
    assert skipped == {one.name for one in CHECKS if not one.emulated}
    assert skipped == {
        *("machines", "quotas", "plain http", "backups", "time to live", "alarm mail", "alarms", "metrics"),
        "lifecycle",
    }


def test_an_emulator_that_does_not_know_the_logs_pattern_hides_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stack, on_aws = doctored.install(monkeypatch, tmp_path)
    asked: list[bool] = []

    def found(given: dict[str, Any]) -> dict[str, Any]:
        asked.append("filterPattern" in given)
        return {"events": [] if "filterPattern" in given else [doctored.log_line()]}

    stack.answers["logs.FilterLogEvents"] = found
    (check,) = (one for one in CHECKS if one.name == "errors")
    local = Target(doctored.OUTPUTS, LocalStack(endpoint_url="http://127.0.0.1:1"))
    assert running.look(Deployment(local, doctored.STACK), check).status is Status.FAILED
    asked.clear()
    assert running.look(Deployment(on_aws, doctored.STACK), check).status is Status.OK
    assert set(asked) == {True}  # there it spares reading everything


def test_the_local_stack_must_hear_its_own_notifications(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stack, _ = doctored.install(monkeypatch, tmp_path)
    local = Deployment(Target(doctored.OUTPUTS, LocalStack(endpoint_url="http://127.0.0.1:1")), doctored.STACK)
    (one,) = [one for one in CHECKS if one.name == "notifications"]
    assert running.look(local, one).status is Status.OK
    stack.answers["sns.ListSubscriptionsByTopic"] = {"Subscriptions": []}
    local = Deployment(Target(doctored.OUTPUTS, LocalStack(endpoint_url="http://127.0.0.1:1")), doctored.STACK)
    assert running.look(local, one).status is Status.FAILED


def test_facts_that_several_checks_need_are_read_once(stack: Stack) -> None:
    of = Deployment(Target(doctored.OUTPUTS), doctored.STACK)
    list(running.run(of, CHECKS))
    calls = [name for name, _ in stack.calls]
    assert calls.count("cloudformation.DescribeStacks") == calls.count("cloudformation.ListStackResources") == 1
    assert calls.count("sqs.GetQueueAttributes") == len(doctored.QUEUES)


def test_an_error_is_not_remembered(stack: Stack) -> None:
    of = Deployment(Target(doctored.OUTPUTS), doctored.STACK)
    healthy = stack.answers["cloudformation.DescribeStacks"]
    stack.answers["cloudformation.DescribeStacks"] = denied("DescribeStacks")
    with pytest.raises(ClientError):
        _ = of.status
    assert of.parameters_seen == {}
    stack.answers["cloudformation.DescribeStacks"] = healthy
    assert of.status == "UPDATE_COMPLETE"
    assert of.parameters_seen["DailyBudgetUsd"] == "25"
