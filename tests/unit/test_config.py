"""Settings: complete or named, from the environment alone, once."""

from dataclasses import fields
from typing import Any

import pytest
from seedance import config
from seedance.config import (
    ApiSettings,
    EnqueueSettings,
    IntakeSettings,
    PlanSettings,
    ReconcileSettings,
    Settings,
    SubmitSettings,
    read,
)
from seedance.errors import ConfigurationError

KINDS = pytest.mark.parametrize(
    "kind",
    [Settings, SubmitSettings, ApiSettings, ReconcileSettings, IntakeSettings, PlanSettings, EnqueueSettings],
)


def environment(kind: type[Settings]) -> dict[str, str]:
    return {field.name.upper(): f"value of {field.name}" for field in fields(kind)}


@KINDS
def test_a_field_is_the_variable_of_its_name(kind: type[Settings]) -> None:
    settings = read(kind, {**environment(kind), "PATH": "/bin"})
    assert {field.name: getattr(settings, field.name) for field in fields(kind)} == {
        field.name: f"value of {field.name}" for field in fields(kind)
    }


@KINDS
def test_each_missing_variable_is_named(kind: type[Settings]) -> None:
    for field in fields(kind):
        for broken in ({}, {field.name.upper(): ""}):
            given = {name: value for name, value in environment(kind).items() if name != field.name.upper()}
            with pytest.raises(ConfigurationError) as caught:
                read(kind, given | broken)
            assert field.name.upper() in str(caught.value)


def test_all_missing_variables_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(Settings, {})
    assert all(name in str(caught.value) for name in environment(Settings))


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("images.segmind.com", {"images.segmind.com"}),
        (" Images.Segmind.com , 127.0.0.1:9000,, ", {"images.segmind.com", "127.0.0.1:9000"}),
        (",", set()),
    ],
)
def test_media_hosts_are_a_list_in_lower_case(text: str, hosts: set[str]) -> None:
    assert read(Settings, {**environment(Settings), "SEGMIND_MEDIA_HOSTS": text}).media_hosts == hosts


@pytest.mark.parametrize(("text", "scale"), [("1", 1.0), ("0.1", 0.1)])
def test_time_scale_is_a_number(text: str, scale: float) -> None:
    assert read(Settings, {**environment(Settings), "TIME_SCALE": text}).scale == scale


@pytest.mark.parametrize(("text", "budget"), [("0", None), ("0.00", None), ("12.5", 12.5)])
def test_a_budget_of_zero_is_none(text: str, budget: float | None) -> None:
    assert read(Settings, {**environment(Settings), "DAILY_BUDGET_USD": text}).budget == budget


def test_the_environment_is_read_on_the_first_call_and_not_again(wired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.settings().job_table == "jobs-of-tests"
    assert config.submit_settings().state_machine == wired.arns.machine
    assert config.submit_settings().batch_state_machine == wired.arns.batch_machine
    assert config.plan_settings().tolerated_percent == 20.0
    assert config.enqueue_settings().intake_queue == wired.arns.queue
    assert config.reconcile_settings().resubmit_lost == "no"
    assert config.api_settings().intake_queue == wired.arns.queue
    monkeypatch.setenv("JOB_TABLE", "another")
    assert config.settings().job_table == "jobs-of-tests"
