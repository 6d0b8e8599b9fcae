"""The doctor's output: what people read, the JSON report without secrets, and the exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import doctored
import pytest
from doctored import Stack, denied, job, log_line
from seedance.jobs.job import State
from typer.testing import CliRunner, Result

from cli.doctor import command, report
from cli.doctor.report import Line
from cli.doctor.results import Result as Found
from cli.doctor.results import Status, failed, ok, skipped
from cli.doctor.table import CHECKS
from cli.main import app
from cli.target import CommandError

Run = Callable[..., Result]


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Stack, Any]:
    stack, target = doctored.install(monkeypatch, tmp_path)
    monkeypatch.setattr(command, "find", lambda *_: target)
    return stack, target


@pytest.fixture
def stack(both: tuple[Stack, Any]) -> Stack:
    return both[0]


@pytest.fixture
def run(both: Any) -> Run:
    return lambda *arguments: CliRunner().invoke(app, ["doctor", "--stack", "shop", *arguments])


# for people -----------------------------------------------------------------------------------------------------------


def line(result: Found, name: str = "quotas") -> Line:
    return Line(name, "stack", "About it.", "Ask for more.", result)


def test_a_healthy_stack_exits_0(run: Run) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    assert "  ok      provider key   accepted by the provider\n" in result.stdout
    assert result.stdout.rstrip().endswith(f"{len(CHECKS) - 1} fine, 1 skipped")


def test_a_line_that_failed_has_its_remedy_and_exits_1(stack: Stack, run: Run) -> None:
    stack.answers["s3.GetBucketVersioning"] = {"Status": "Suspended"}
    result = run()
    assert result.exit_code == 1
    shown = result.stdout
    assert "  FAILED  versioning     the upload bucket's versioning is suspended\n" in shown
    assert "-> Somebody changed it since the deployment" in shown
    assert "1 failed" in shown


def test_a_line_that_is_not_permitted_names_the_permission_and_exits_1(stack: Stack, run: Run) -> None:
    stack.answers["lambda.GetAccountSettings"] = denied("GetAccountSettings", code="AccessDeniedException")
    result = run()
    assert result.exit_code == 1
    assert "  UNKNOWN quotas         not permitted: lambda:GetAccountSettings" in result.stdout
    assert "-> Allow lambda:GetAccountSettings" in result.stdout


@pytest.mark.parametrize("width", [40, 80, 100])
def test_lines_are_wrapped_without_loss(width: int) -> None:
    words = [f"word{number}" for number in range(40)]
    shown = report.written(line(failed(" ".join(words), "arn:" + "x" * 120)), width)
    assert " ".join(" ".join(shown).split()).startswith("FAILED quotas word0 word1")
    assert all(word in " ".join(shown) for word in words)
    assert any("x" * 120 in text for text in shown)  # never cut, because people copy it
    assert all(len(text) <= width for text in shown if "xxx" not in text)


@pytest.mark.parametrize("found", [ok("fine"), skipped("not on an emulator")])
def test_what_needs_no_action_has_no_advice(found: Found) -> None:
    assert line(found).advice is None
    assert report.fine([line(found)])


def test_the_remedy_of_a_result_comes_before_the_checks_own() -> None:
    assert line(failed("x")).advice == "Ask for more."
    assert line(failed("x", remedy="Wait.")).advice == "Wait."


def test_secrets_are_shown_to_nobody() -> None:
    said = "SG_0123456789abcdef AKIAIOSFODNN7EXAMPLE https://a.example/b?X-Amz-Signature=5ec4e7&y=1"
    shown = " ".join(report.written(line(failed(said, said, remedy=said)), 300))
    assert not any(secret in shown for secret in ("SG_0", "AKIA", "5ec4e7"))


# for the project ------------------------------------------------------------------------------------------------------


def test_the_report_is_one_object(stack: Stack, run: Run) -> None:
    stack.items["switch#submits"] = {"job_id": "switch#submits", "reason": 7}
    result = run("--json")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert said["complete"] is True
    assert (said["format"], said["fine"], said["emulator"], said["region"]) == (1, False, False, doctored.REGION)
    assert [one["name"] for one in said["checks"]] == [check.name for check in CHECKS]
    paused = next(one for one in said["checks"] if one["name"] == "paused")
    assert (paused["status"], paused["said"]) == ("failed", "submits are paused: no reason was given")
    assert paused["remedy"].startswith("Fix the cause")
    assert "bought" not in said


def test_the_report_has_no_secrets_and_no_account_numbers(stack: Stack, run: Run) -> None:
    link = "https://b.example/x?X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20261120&X-Amz-Signature=5ec4e7"
    told = f"key SG_0123456789abcdef of arn:aws:iam::{doctored.ACCOUNT}:role/x by root@example.org at {link}"
    stack.answers["logs.FilterLogEvents"] = lambda _: {"events": [log_line(reason=told)]}
    secret = stack.parameters["SegmindApiKeySecretArn"]
    stack.answers["s3.GetBucketVersioning"] = denied("GetBucketVersioning", f"secret {secret}", "Odd")
    stack.answers["sns.ListSubscriptionsByTopic"] = {
        "Subscriptions": [doctored.subscription(arn="PendingConfirmation")]
    }
    stack.put(job(State.HELD, "up-1", code="SUBMIT_LOST"))
    shown = run("--json").stdout
    for hidden in (doctored.ACCOUNT, doctored.MAIL, "root@", "SG_0", "AKIA", "5ec4e7", "segmind-abcdef", "the-key"):
        assert hidden not in shown, hidden
    assert "up-1" in shown


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        (f"arn:aws:sns:eu:{doctored.ACCOUNT}:x", "arn:aws:sns:eu:000000000000:x"),
        (f"bucket-{doctored.ACCOUNT}-eu", "bucket-000000000000-eu"),
        ("up-0a1b2c3d4e5f123456789012345678ab", "up-0a1b2c3d4e5f123456789012345678ab"),
        ("2026-11-20 12:00:00.000", "2026-11-20 12:00:00.000"),
        ("$12.50 of $25.00", "$12.50 of $25.00"),
        (
            f"arn:aws:secretsmanager:eu:{doctored.ACCOUNT}:secret:key-1",
            "arn:aws:secretsmanager:eu:000000000000:secret:***",
        ),
        ({"a@b.example": ["c@d.example", 1, None, True]}, {"***@***": ["***@***", 1, None, True]}),
    ],
)
def test_masking(said: Any, masked: Any) -> None:
    assert report.mask(said) == masked


def test_only_harmless_parameters_are_reported(stack: Stack, run: Run) -> None:
    shown = json.loads(run("--json").stdout)["parameters"]
    assert shown["DailyBudgetUsd"] == "25"
    assert not {"NotificationEmail", "SegmindApiKeySecretArn"} & set(shown)


def test_the_report_needs_no_parameters(stack: Stack, run: Run) -> None:
    stack.answers["cloudformation.DescribeStacks"] = denied("DescribeStacks")
    said = json.loads(run("--json").stdout)
    assert said["parameters"] == {}
    (deployed,) = [one for one in said["checks"] if one["name"] == "deployed"]
    assert (deployed["status"], deployed["permission"]) == ("unknown", "cloudformation:DescribeStacks")


# usage ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [("--json", "--spend"), ("--yes",), ("--nonsense",)])
def test_a_mistake_in_the_options_exits_2(run: Run, options: tuple[str, ...]) -> None:
    result = run(*options)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_a_stack_that_does_not_exist_is_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(*_: object) -> Any:
        raise CommandError("stack shop: does not exist")

    monkeypatch.setattr(command, "find", find)
    result = run()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error: stack shop: does not exist" in result.stderr


def test_every_status_has_a_word_and_a_style() -> None:
    for status in Status:
        assert report.style(status)
        assert report.written(line(Found(status, "said")), 80)
