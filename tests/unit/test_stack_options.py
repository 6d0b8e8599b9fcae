"""The options of a local stack, and the template parameters derived from them."""

import platform
import re
import sys
from typing import Any

import pytest

from local.options import (
    KEY_VARIABLE,
    LOCAL_PARAMETERS,
    Provider,
    StackError,
    choose_provider,
    read_parameters,
    scale_text,
    template_parameters,
)

KEY = "SG_0123456789abcdef"
WITH_KEY = {KEY_VARIABLE: KEY}


def test_the_sandbox_needs_nothing() -> None:
    assert choose_provider("sandbox", {}, 0.1) == Provider("sandbox")


def test_segmind_reads_the_key_from_the_environment() -> None:
    assert choose_provider("segmind", {KEY_VARIABLE: f" {KEY}\n"}, 1) == Provider("segmind", key=KEY)


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("https://provider.example", "https://provider.example"),
    ],
)
def test_a_base_url_is_kept_without_its_slash(text: str, base: str) -> None:
    assert choose_provider(text, WITH_KEY, 0.5) == Provider("url", key=KEY, base_url=base)


@pytest.mark.parametrize(
    ("text", "environ", "scale", "says"),
    [
        ("segmind", {}, 1, "SEGMIND_API_KEY is not set"),
        ("segmind", {KEY_VARIABLE: "  "}, 1, "SEGMIND_API_KEY is not set"),
        ("segmind", {KEY_VARIABLE: "abc"}, 1, "must be SG_ and 16 hex digits"),
        ("segmind", {KEY_VARIABLE: KEY + "0"}, 1, "must be SG_ and 16 hex digits"),
        ("segmind", WITH_KEY, 0.5, "only works with a stand-in"),
        ("http://127.0.0.1:1", {}, 1, "SEGMIND_API_KEY is not set"),
        ("sandbox", {}, 0, "must be from 0.001 to 1"),
        ("sandbox", {}, -1, "must be from 0.001 to 1"),
        ("sandbox", {}, 1.01, "must be from 0.001 to 1"),
        ("sandbox", {}, float("nan"), "must be from 0.001 to 1"),
        ("sandbox", {}, float("inf"), "must be from 0.001 to 1"),
    ],
)
def test_a_refusal_says_what_is_wrong(text: str, environ: dict[str, str], scale: float, says: str) -> None:
    with pytest.raises(StackError, match=says):
        choose_provider(text, environ, scale)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sandbox",
        "127.0.0.1:8080",
        "ftp://host",
        "http://",
        "http://host/v2",
        "http://host?x=1",
        "http://host:port",
        "http://host:0",
        "http://host:99999",
        "http://me:secret@host",
        "http://[::1]:8080",
        "https://[::1",
        # The key would be sent unencrypted over the network.
        "http://provider.example",
        "http://192.168.1.5:8080",
        "http://127.0.0.1.evil.example",
        "http://localhost@evil.example",
        "https://me@provider.example",
    ],
)
def test_an_invalid_provider_is_refused(text: str) -> None:
    with pytest.raises(StackError, match="must be sandbox, segmind, or a base URL"):
        choose_provider(text, WITH_KEY, 1)


@pytest.mark.parametrize(
    ("provider", "delivery"),
    [
        (Provider("sandbox"), "link"),
        (Provider("url", base_url="http://127.0.0.1:8080"), "link"),
        (Provider("url", base_url="http://localhost"), "link"),
        # A link to a bucket on this machine works only on this machine.
        (Provider("url", base_url="https://provider.example"), "upload"),
        (Provider("segmind", key=KEY), "upload"),
    ],
)
def test_the_image_delivery_depends_on_the_provider(provider: Provider, delivery: str) -> None:
    assert template_parameters(provider, 1, "arn:secret")["ImageDelivery"] == delivery


def test_a_base_url_serves_api_uploads_and_results() -> None:
    parameters = template_parameters(Provider("url", base_url="http://127.0.0.1:8080"), 0.1, "arn:secret")

    assert parameters["SegmindBaseUrl"] == parameters["SegmindUploadUrl"] == "http://127.0.0.1:8080"
    assert parameters["SegmindMediaHosts"] == "127.0.0.1:8080"


def test_segmind_keeps_the_templates_own_addresses() -> None:
    assert not {"SegmindBaseUrl", "SegmindUploadUrl", "SegmindMediaHosts"} & set(
        template_parameters(Provider("segmind", key=KEY), 1, "arn:secret")
    )


def test_the_key_is_in_no_parameter() -> None:
    assert KEY not in template_parameters(Provider("segmind", key=KEY), 1, "arn:secret").values()


@pytest.mark.parametrize(
    ("minor", "machine", "runtime", "architecture"),
    [
        (11, "x86_64", "python3.11", "x86_64"),
        (13, "arm64", "python3.13", "arm64"),
        (14, "aarch64", "python3.13", "arm64"),
    ],
)
def test_the_functions_are_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, minor: int, machine: str, runtime: str, architecture: str
) -> None:
    monkeypatch.setattr(sys, "version_info", type("Version", (), {"minor": minor}))
    monkeypatch.setattr(platform, "machine", lambda: machine)
    parameters = template_parameters(Provider("sandbox"), 1, "arn:secret")
    assert (parameters["Runtime"], parameters["Architecture"]) == (runtime, architecture)


@pytest.mark.parametrize("provider", [Provider("sandbox", key=KEY, base_url="http://127.0.0.1:1"), Provider("segmind")])
@pytest.mark.parametrize("scale", [1, 0.5, 0.1, 0.05, 0.001])
def test_the_template_accepts_the_parameters(template: dict[str, Any], provider: Provider, scale: float) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:segmind-api-key-AbCdEf"
    for name, value in template_parameters(provider, scale, arn).items():
        declared = template["Parameters"][name]
        assert value in declared.get("AllowedValues", [value])
        assert re.search(declared.get("AllowedPattern", ""), value), (name, value)
        assert float(declared.get("MinValue", 0)) <= (float(value) if declared["Type"] == "Number" else 1)


@pytest.mark.parametrize(("scale", "text"), [(1.0, "1"), (0.1, "0.1"), (0.05, "0.05"), (0.001, "0.001")])
def test_a_scale_is_written_without_exponents(scale: float, text: str) -> None:
    assert scale_text(scale) == text


def test_parameters_are_checked_as_the_template_declares_them(template: dict[str, Any]) -> None:
    given = ["DailyBudgetUsd=0.5", "ResubmitLost=yes", "RequestsPerMinute=60", "DefaultPrompt=a=b, c"]
    assert read_parameters(given, template["Parameters"]) == {
        "DailyBudgetUsd": "0.5",
        "ResubmitLost": "yes",
        "RequestsPerMinute": "60",
        "DefaultPrompt": "a=b, c",
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["DailyBudgetUsd"], "must be NAME=VALUE, such as DailyBudgetUsd=1, not 'DailyBudgetUsd'"),
        (["DailyBudget=1"], "has no DailyBudget; did you mean DailyBudgetUsd?"),
        (["Zzz=1"], "the template has no Zzz; available: "),
        (["TimeScale=0.5"], "a local stack sets TimeScale itself"),
        (["DailyBudgetUsd=1", "DailyBudgetUsd=2"], "DailyBudgetUsd is given twice"),
        (["DailyBudgetUsd=free"], "DailyBudgetUsd must be an amount of dollars, such as 25 or 12.50"),
        (["RequestsPerMinute=many"], "RequestsPerMinute must be a number"),
        (["RequestsPerMinute=1"], "RequestsPerMinute must be from 2 to 6000"),
        (["ResubmitLost=maybe"], "ResubmitLost must be one of no, yes"),
        (["DefaultPrompt=" + 301 * "x"], "DefaultPrompt must have at least 1 and at most 300 characters"),
        (["DefaultPrompt="], "DefaultPrompt must have at least 1 and at most 300 characters"),
        (["UploadRetentionDays=7"], "UploadRetentionDays must be 0 (keep forever) or 8 to 9999 days"),
    ],
)
def test_a_parameter_that_cloudformation_would_refuse_is_refused(
    template: dict[str, Any], given: list[str], says: str
) -> None:
    with pytest.raises(StackError, match=re.escape(says)):
        read_parameters(given, template["Parameters"])


def test_the_parameters_that_a_local_stack_sets_are_declared(template: dict[str, Any]) -> None:
    assert set(template["Parameters"]) >= LOCAL_PARAMETERS
    changeable = {"ImageDelivery", "NotificationEmail"}  # `up --parameter` may set these
    assert LOCAL_PARAMETERS | changeable >= set(template_parameters(Provider("sandbox"), 1, "arn"))
