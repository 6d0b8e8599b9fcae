"""What the doctor does not report as a fault, and what its free checks show."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import doctored
import httpx
import pytest
from doctored import Stack, alarm, dated, denied, execution, job, log_line
from doctored_changes import (
    BROKEN_STACK,
    EARLIER,
    a_job,
    answers,
    item,
    link_of_the_api,
    parameter,
    queue,
    rejected,
    without_trigger,
)
from seedance.jobs.job import State

from cli.doctor import running
from cli.doctor.checks_stack import concurrency_needed
from cli.doctor.deployment import Deployment
from cli.doctor.results import Result, Status
from cli.doctor.table import CHECKS
from cli.target import Target

BY_NAME = {check.name: check for check in CHECKS}
TODAY = f"day#{datetime.now(UTC).date().isoformat()}"


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Stack, Target]:
    return doctored.install(monkeypatch, tmp_path)


@pytest.fixture
def stack(both: tuple[Stack, Target]) -> Stack:
    return both[0]


@pytest.fixture
def look(both: tuple[Stack, Target]) -> Callable[[str], Result]:
    """The result of one check."""
    of = Deployment(both[1], doctored.STACK)
    return lambda name: running.look(of, BY_NAME[name])


# what is not a fault ------------------------------------------------------------------------------------------------


FINE: list[tuple[str, Callable[[Stack], None], str]] = [
    ("budget", parameter(DailyBudgetUsd="0"), "no limit"),
    ("budget", item(TODAY, committed=19.99), "$19.99 of $25.00"),
    ("uncertain jobs", a_job(State.UNCERTAIN, "up-5", code="SUBMIT_UNCERTAIN"), "reconcile is searching"),
    (
        "errors",
        answers(logs__FilterLogEvents=lambda _: {"events": [log_line(ago=7200)]}),
        "none in the last hour, 13 in",
    ),
    ("errors", answers(logs__FilterLogEvents=denied("FilterLogEvents", code="ResourceNotFoundException")), "none"),
    (
        "errors",
        answers(
            logs__FilterLogEvents=lambda _: {"events": [log_line(message='{"level": "INFO", "message": "ERROR"}')]}
        ),
        "none",
    ),
    (
        "workflows",
        answers(stepfunctions__ListExecutions=lambda _: {"executions": [execution("up-9", ago=90_000)]}),
        "none",
    ),
    ("notifications", parameter(NotificationEmail=""), "1 confirmed subscriber"),
    ("clock", answers(sts__GetCallerIdentity=lambda _: dated(30.0)), "within"),
    ("dead letters", queue("dead", ApproximateNumberOfMessagesDelayed="1"), "none"),
    (
        "alarms",
        answers(
            cloudwatch__DescribeAlarms={
                "MetricAlarms": [alarm(name, "INSUFFICIENT_DATA") for name in doctored.ALARM_NAMES]
            }
        ),
        "3 without data yet",
    ),
    ("public access", answers(s3__GetBucketPolicy=denied("GetBucketPolicy", code="NoSuchBucketPolicy")), "blocked"),
    ("links", link_of_the_api(httpx.Response(206)), "straight"),
    ("video pages", parameter(VideoLinkDays="0"), "VideoLinkDays is 0"),
    ("events", parameter(EventBusName="videos"), "to the event bus videos"),
    ("webhooks", queue("hooks", ApproximateNumberOfMessagesNotVisible="3"), "0 waiting, 3 being sent"),
    ("webhooks", item("webhook#gone", address="another receiver's", gone_at=1.0), "0 waiting"),
]


@pytest.mark.parametrize(
    ("name", "change", "says"), FINE, ids=[f"{name}-{number}" for number, (name, _, _) in enumerate(FINE)]
)
def test_what_is_in_order_passes(
    stack: Stack, look: Callable[[str], Result], name: str, change: Callable[[Stack], None], says: str
) -> None:
    change(stack)
    result = look(name)
    assert result.status is Status.OK, result
    assert says in result.said


def test_a_workflow_that_failed_is_no_fault_once_its_job_has_ended(stack: Stack, look: Callable[[str], Result]) -> None:
    stack.answers["stepfunctions.ListExecutions"] = {"executions": [execution("up-9"), execution("up-9-2")]}
    stack.put(job(State.COMPLETED, "up-9"))
    assert look("workflows").status is Status.OK
    stack.put(job(State.QUEUED, "up-9"))
    assert look("workflows").status is Status.FAILED


def test_no_subscriber_is_fine_if_nobody_asked_for_mail(stack: Stack, look: Callable[[str], Result]) -> None:
    stack.parameters["NotificationEmail"] = ""
    stack.answers["sns.ListSubscriptionsByTopic"] = {"Subscriptions": []}
    assert look("notifications").said == "no subscribers; NotificationEmail is empty"


def test_held_jobs_are_counted_by_reason_and_each_reason_has_its_remedy(
    stack: Stack, look: Callable[[str], Result]
) -> None:
    for number in range(4):
        stack.put(job(State.HELD, f"up-{number}", code="OVER_BUDGET"))
    stack.put(job(State.HELD, "up-9", code="RESULT_UNCLEAR"))
    result = look("held jobs")
    assert result.said == "5 jobs: 4 OVER_BUDGET, 1 RESULT_UNCLEAR"
    assert result.details == ("OVER_BUDGET: up-0, up-1, up-2", "RESULT_UNCLEAR: up-9")
    assert result.remedy and "`seedance release`" in result.remedy and "`seedance status JOB`" in result.remedy


def test_a_held_job_whose_record_can_not_be_read_is_counted_too(stack: Stack, look: Callable[[str], Result]) -> None:
    stack.items["up-1"] = {**job(State.HELD).to_record(), "created_at": "soon"}
    listed = stack.answers["dynamodb.Query"]

    def query(given: dict[str, Any]) -> dict[str, Any]:
        found = listed(given)
        for one in found["Items"]:
            one["created_at"] = {"N": "1"}  # the index still has the value of before
        return dict(found)

    stack.answers["dynamodb.Query"] = query
    assert look("held jobs").said == "1 job: 1 RECORD_UNREADABLE"


def test_metrics_are_expected_only_after_a_video(stack: Stack, look: Callable[[str], Result]) -> None:
    stack.answers["cloudwatch.ListMetrics"] = {"Metrics": []}
    assert look("metrics").status is Status.SKIPPED
    stack.put(job(State.COMPLETED, ago=60))
    assert look("metrics").status is Status.SKIPPED


def test_credits_are_not_judged_without_a_key(stack: Stack, look: Callable[[str], Result]) -> None:
    rejected("balance", "PROVIDER_KEY_REJECTED")(stack)
    assert look("credits").status is Status.SKIPPED


def test_the_balance_is_asked_for_once(stack: Stack, look: Callable[[str], Result]) -> None:
    look("provider key")
    look("credits")
    assert [question["what"] for question in stack.asked] == ["balance"]


@pytest.mark.parametrize("name", ["provider key", "credits", "plain http", "links"])
def test_a_stack_of_an_earlier_release_fails_only_the_line_about_versions(
    stack: Stack, look: Callable[[str], Result], name: str
) -> None:
    stack.examined = dict.fromkeys(stack.examined, EARLIER)
    assert look(name).said == "not known: the stack runs an earlier release"
    assert (look(name).status, look("versions").status) == (Status.SKIPPED, Status.FAILED)


def test_without_an_address_only_dead_letters_of_webhooks_are_looked_at(
    stack: Stack, look: Callable[[str], Result]
) -> None:
    stack.parameters["WebhookUrl"] = ""
    without_trigger("shop-deliver")(stack)
    assert (look("webhooks").status, look("webhooks").said) == (Status.OK, "off: WebhookUrl is empty")


def test_a_stack_of_before_events_has_no_line_about_them(stack: Stack, look: Callable[[str], Result]) -> None:
    new = ("Announce", "Deliver", "Webhook")
    listed = [one for one in doctored.resources() if not one["LogicalResourceId"].startswith(new)]
    stack.answers["cloudformation.ListStackResources"] = {"StackResourceSummaries": listed}
    for name in ("events", "webhooks"):
        assert look(name).said == "not known: the stack runs an earlier release"
    for name in ("public access", "encryption", "plain http", "dead letters"):
        assert look(name).status is Status.OK, look(name)


def test_a_repair_function_that_crashes_fails_the_line(stack: Stack, look: Callable[[str], Result]) -> None:
    stack.examined["balance"] = {"error": "the function crashed"}
    assert (look("provider key").status, look("provider key").said) == (Status.FAILED, "the function crashed")


def test_a_crash_of_the_function_itself_is_reported_in_its_words(stack: Stack, look: Callable[[str], Result]) -> None:
    crash = json.dumps({"errorMessage": "Task timed out after 240.00 seconds"}).encode()
    stack.answers["lambda.Invoke"] = lambda _: {"FunctionError": "Unhandled", "Payload": io.BytesIO(crash)}
    assert look("provider key").said == "the repair function crashed: Task timed out after 240.00 seconds"


def test_logs_of_many_pages_are_read_to_a_limit(stack: Stack, look: Callable[[str], Result]) -> None:
    stack.answers["logs.FilterLogEvents"] = lambda _: {"events": [], "nextToken": "more"}
    assert look("errors").said == "none in the last hour, 0 in a day, and perhaps more"


def test_errors_in_the_log_are_shown_without_signatures_and_cut(stack: Stack, look: Callable[[str], Result]) -> None:
    link = "https://a.example/b?X-Amz-Signature=secret&x=1 " + "y" * 300
    stack.answers["logs.FilterLogEvents"] = lambda _: {"events": [log_line(reason=link)]}
    (first, *_) = look("errors").details
    assert "secret" not in first and first.endswith("…")


def test_the_needed_concurrency_grows_with_the_rate() -> None:
    assert [concurrency_needed(rate) for rate in (2, 50, 1000)] == [19, 23, 118]


def test_a_fault_of_a_running_deployment_has_its_own_remedy(stack: Stack, look: Callable[[str], Result]) -> None:
    running_one = {**BROKEN_STACK["Stacks"][0], "StackStatus": "UPDATE_IN_PROGRESS"}
    stack.answers["cloudformation.DescribeStacks"] = {"Stacks": [running_one]}
    result = look("deployed")
    assert result.remedy and "Wait until" in result.remedy
