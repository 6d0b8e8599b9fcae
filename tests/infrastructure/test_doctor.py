"""The doctor's table against the template, the pages, and the permissions that docs/operations.md lists for it."""

import json
import re
from pathlib import Path
from typing import Any

from reading import of_type

from cli.doctor import checks_money, checks_stack, facts, report
from cli.doctor.deployment import NEEDS
from cli.doctor.table import CHECKS

READ_ONLY = ("Get", "List", "Describe", "Filter", "Query", "Validate", "GET")


def policy(root: Path, title: str) -> dict[str, Any]:
    """The policy below a heading of docs/operations.md."""
    page = (root / "docs/operations.md").read_text()
    (section,) = re.findall(rf"^## {title}$(.*?)(?=^## |\Z)", page, flags=re.MULTILINE | re.DOTALL)
    return dict(json.loads(re.findall(r"```json\n(.*?)```", section, flags=re.DOTALL)[0]))


def actions(statement: dict[str, Any]) -> list[str]:
    given = statement["Action"]
    return given if isinstance(given, list) else [given]


def test_the_doctors_role_has_exactly_the_permissions_of_its_checks(root: Path) -> None:
    allowed = [action for one in policy(root, "The doctor's role")["Statement"] for action in actions(one)]
    needed = {need for check in CHECKS for need in check.needs} | set(NEEDS)
    assert sorted(allowed) == sorted(needed)


def test_the_doctors_role_changes_nothing(root: Path) -> None:
    """Its only call that is not a read is an invocation of repair, which only looks when the doctor asks."""
    statements = policy(root, "The doctor's role")["Statement"]
    assert {one["Effect"] for one in statements} == {"Allow"}
    others = {
        action for one in statements for action in actions(one) if not action.partition(":")[2].startswith(READ_ONLY)
    }
    assert others == {"lambda:InvokeFunction"}


def test_resources_are_named_where_the_action_supports_it(root: Path) -> None:
    """These actions support only the resource "*" (IAM service authorization reference)."""
    everywhere = {
        action
        for one in policy(root, "The doctor's role")["Statement"]
        if one["Resource"] == "*"
        for action in actions(one)
    }
    assert everywhere == {
        "cloudwatch:DescribeAlarms",
        "cloudwatch:ListMetrics",
        "lambda:GetAccountSettings",
        "lambda:ListEventSourceMappings",
        "states:ValidateStateMachineDefinition",
    }


def test_every_check_has_a_name_of_its_own_a_remedy_and_says_what_it_looks_at() -> None:
    names = [check.name for check in CHECKS] + [fact.name for fact in facts.FACTS]
    assert len(set(names)) == len(names)
    for check in CHECKS:
        assert check.about.endswith((".", ")")), check.name
        assert len(check.about) > 20 and check.remedy.endswith("."), check.name
        assert len(check.name) < 15, check.name
    groups = [check.group for check in CHECKS]
    assert groups == sorted(groups, key=groups.index), "the checks of a group stand together"


def test_commands_and_alarms_that_remedies_name_exist(root: Path) -> None:
    from cli.main import app  # noqa: PLC0415 - as the pages do

    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    page = (root / "docs/operations.md").read_text()
    for check in CHECKS:
        assert set(re.findall(r"`seedance ([a-z]+)", check.remedy)) <= known, check.name
        assert all(f"`{name}`" in page for name in re.findall(r"\b\w+Alarm\b", check.remedy)), check.name


def test_thresholds_are_those_of_the_template(resources: dict[str, Any]) -> None:
    submit = resources["SubmitFunction"]["Properties"]["Events"]["Intake"]["Properties"]["ScalingConfig"]
    assert submit["MaximumConcurrency"] == checks_stack.SUBMITS_AT_A_TIME
    alarms = of_type(resources, "AWS::CloudWatch::Alarm")
    assert alarms["BudgetAlarm"]["Threshold"] == checks_money.BUDGET_PERCENT
    assert alarms["PriceDriftAlarm"]["Threshold"] == facts.PRICE_PERCENT


def test_reported_parameters_are_parameters_and_none_is_private(template: dict[str, Any]) -> None:
    private = {
        *("SegmindApiKeySecretArn", "NotificationEmail", "AlarmEmail", "PermissionsBoundaryArn", "DefaultPrompt"),
        *("ImageKeyPrefixes", "ConsoleOrigins", "DomainName", "DomainCertificateArn", "LocalAddress"),
        *("WebhookUrl", "WebhookSecretArn"),
    }
    assert set(template["Parameters"]) == report.SHOWN_PARAMETERS | private
    assert not report.SHOWN_PARAMETERS & private


def test_the_rule_of_reconcile_has_the_name_that_sam_gives_it(resources: dict[str, Any]) -> None:
    """SAM names a schedule's rule after function and event (SAM guide, "Generated CloudFormation resources")."""
    assert list(resources["ReconcileFunction"]["Properties"]["Events"]) == ["EveryFiveMinutes"]
