"""Settings: read once, only from the environment; every missing variable is named."""

import re
from typing import Any

import pytest
from seedance import config
from seedance.config import (
    AnnounceSettings,
    ApiSettings,
    CollectSettings,
    ConsoleSettings,
    DeliverSettings,
    EnqueueSettings,
    IntakeSettings,
    PlanSettings,
    ProviderSettings,
    ReconcileSettings,
    RepairSettings,
    Settings,
    SubmitSettings,
    read,
)
from seedance.errors import ConfigurationError

KINDS = pytest.mark.parametrize(
    "kind",
    [
        Settings,
        SubmitSettings,
        ApiSettings,
        CollectSettings,
        ProviderSettings,
        ReconcileSettings,
        RepairSettings,
        IntakeSettings,
        PlanSettings,
        EnqueueSettings,
        AnnounceSettings,
        DeliverSettings,
        ConsoleSettings,
    ],
)


TEXTS: dict[Any, tuple[str, Any]] = {
    str: ("a text", "a text"),
    int: ("7", 7),
    float: ("0.5", 0.5),
    float | None: ("12.5", 12.5),
    bool: ("yes", True),
    tuple[str, ...]: ("a/,b/", ("a/", "b/")),
    frozenset[str]: ("One,two:80", {"one", "two:80"}),
    config.Address: ("https://api.segmind.com", "https://api.segmind.com"),
    config.Hook | None: ("https://hooks.example/video", "https://hooks.example/video"),
    str | None: ("a text", "a text"),
}
"""A variable's text for each type of field, and the value that it becomes."""


def environment(kind: type[Any]) -> dict[str, str]:
    return {name.upper(): TEXTS[of][0] for name, of in kind.types().items()}


def one(name: str, text: str, kind: type[Any] = Settings) -> Any:
    return getattr(read(kind, {**environment(kind), name.upper(): text}), name)


@KINDS
def test_each_field_is_read_from_the_variable_of_its_name(kind: type[Any]) -> None:
    settings = read(kind, {**environment(kind), "PATH": "/bin"})
    assert vars(settings) == {name: TEXTS[of][1] for name, of in kind.types().items()}


@KINDS
def test_each_missing_variable_is_named(kind: type[Any]) -> None:
    for field, of in kind.types().items():
        for broken in ({}, {field.upper(): ""}):
            given = {name: value for name, value in environment(kind).items() if name != field.upper()}
            if of in (config.Hook | None, str | None):
                assert getattr(read(kind, given | broken), field) is None
                continue
            with pytest.raises(ConfigurationError) as caught:
                read(kind, given | broken)
            assert field.upper() in str(caught.value)


def test_all_missing_variables_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(Settings, {})
    assert all(name in str(caught.value) for name in environment(Settings))


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("max_in_flight", "2.5", "a whole number"),
        ("max_in_flight", "-1", "a whole number"),
        ("max_in_flight", "many", "a whole number"),
        ("polls_per_video", "many", "a number"),
        ("polls_per_video", "inf", "a number"),
        ("daily_budget_usd", "nan", "a number"),
        ("resubmit_lost", "true", '"no" or "yes"'),
        ("segmind_base_url", "api.segmind.com", "https://"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, text: str, allowed: str) -> None:
    kind = ProviderSettings if name.startswith("segmind") else ReconcileSettings
    with pytest.raises(ConfigurationError, match=name.upper()) as caught:
        one(name, text, kind)
    assert allowed in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("images.segmind.com", {"images.segmind.com"}),
        (" Images.Segmind.com , 127.0.0.1:9000,, ", {"images.segmind.com", "127.0.0.1:9000"}),
        (",", set()),
    ],
)
def test_media_hosts_are_a_list_in_lower_case(text: str, hosts: set[str]) -> None:
    assert one("segmind_media_hosts", text, ProviderSettings) == hosts


@pytest.mark.parametrize(("text", "scale"), [("1", 1.0), ("0.1", 0.1)])
def test_time_scale_is_a_number(text: str, scale: float) -> None:
    assert one("time_scale", text) == scale


@pytest.mark.parametrize(("text", "budget"), [("0", None), ("0.00", None), ("12.5", 12.5)])
def test_a_budget_of_zero_means_no_budget(text: str, budget: float | None) -> None:
    assert one("daily_budget_usd", text) == budget


ADDRESSES = [
    "https://api.segmind.com",
    "https://api.segmind.com:8443",
    "https://10.0.0.7",
    "https://localhost:8443",
    "https://[::1]:8443",
    "http://127.0.0.1",
    "http://127.0.0.1:8080",
    "http://localhost:8080",
    "http://[::1]:8080",
]
NO_ADDRESSES = [
    "",
    "api.segmind.com",
    "//api.segmind.com",
    "ftp://api.segmind.com",
    "HTTPS://api.segmind.com",
    "https://",
    "https://:443",
    "https://host:",
    "https://host:port",
    "https://host:123456",
    # Unencrypted, over a network.
    "http://api.segmind.com",
    "http://10.0.0.7:8080",
    "http://0.0.0.0:8080",
    "http://[::ffff:10.0.0.7]:8080",
    # Not this machine, although it begins like it.
    "http://127.0.0.1.evil.example",
    "http://127.0.0.1.nip.io:8080",
    "http://localhost.evil.example",
    "http://localhostevil.example",
    "http://127.0.0.1:80.evil.example",
    "http://[::1].evil.example",
    # Another host after what looks like an allowed one.
    "http://localhost@evil.example",
    "http://127.0.0.1:8080@evil.example",
    "https://api.segmind.com@evil.example",
    "https://user:secret@api.segmind.com",
    "https://user@api.segmind.com",
    "https://api.segmind.com\\@evil.example",
    "https://evil.example#api.segmind.com",
    # More than a host.
    "https://api.segmind.com/",
    "https://api.segmind.com/v2",
    "https://api.segmind.com?x=1",
    "https://api.segmind.com#x",
    "https://api.segmind.com,https://evil.example",
    " https://api.segmind.com",
    "https://api.segmind.com ",
    "https://api.segmind.com\n",
    "https://api.segmind.com\r\nHost: evil.example",
    "https://api.segm\u0456nd.com",
]


@pytest.mark.parametrize("parameter", ["SegmindBaseUrl", "SegmindUploadUrl", "SegmindHistoryUrl"])
@pytest.mark.parametrize(
    ("text", "fine"), [*((text, True) for text in ADDRESSES), *((text, False) for text in NO_ADDRESSES)]
)
def test_only_allowed_addresses_may_receive_the_key(
    wired: Any, template: dict[str, Any], monkeypatch: pytest.MonkeyPatch, parameter: str, text: str, *, fine: bool
) -> None:
    """The template and the functions agree on this."""
    declared = template["Parameters"][parameter]
    assert bool(re.fullmatch(declared["AllowedPattern"], text)) is fine
    assert "https://" in declared["ConstraintDescription"]
    variable = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", parameter).upper()
    monkeypatch.setenv(variable, text)
    if fine:
        assert getattr(config.provider_settings(), variable.lower()) == text
    else:
        with pytest.raises(ConfigurationError, match=variable):
            config.provider_settings()


HOOKS = [
    "",
    *ADDRESSES,
    "https://hooks.example/",
    "https://hooks.example/a/b.php?token=x&y=%20z",
    "https://hooks.example?x=1",
    "http://127.0.0.1:9000/hook",
]
ONLY_A_HOOK = {"", "https://api.segmind.com/", "https://api.segmind.com/v2", "https://api.segmind.com?x=1"}
NO_HOOKS = [
    *(text for text in NO_ADDRESSES if text not in ONLY_A_HOOK),
    "http://hooks.example/video",
    "https://hooks.example/a b",
    "https://hooks.example/#top",
    "https://hooks.example/schön",
    "https://user:secret@hooks.example/video",
    "https://hooks.example\\@evil.example/",
]


@pytest.mark.parametrize(("text", "fine"), [*((text, True) for text in HOOKS), *((text, False) for text in NO_HOOKS)])
def test_a_webhook_may_have_a_path(template: dict[str, Any], text: str, *, fine: bool) -> None:
    """The template and the functions agree on this."""
    declared = template["Parameters"]["WebhookUrl"]
    assert bool(re.fullmatch(declared["AllowedPattern"], text)) is fine
    if fine:
        assert one("webhook_url", text, DeliverSettings) == (text or None)
    else:
        with pytest.raises(ConfigurationError, match="WEBHOOK_URL must be https://"):
            one("webhook_url", text, DeliverSettings)


def test_a_port_above_65535_is_invalid() -> None:
    assert config.is_address("https://host:65535")
    assert not config.is_address("https://host:65536")
    assert not config.is_address("https://host:0")


def test_image_key_prefixes_are_a_list() -> None:
    assert one("image_key_prefixes", "images/,shop/new in/", ApiSettings) == ("images/", "shop/new in/")


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("images/", True),
        ("images/,shop/new in/", True),
        ("uploads/", True),
        ("", False),
        ("/", False),
        ("images", False),  # would let images-of-others/ in
        ("images/,", False),
        (",images/", False),
        ("images/, shop/", False),
        ("images/,/", False),
    ],
)
def test_an_image_key_prefix_ends_with_a_slash(template: dict[str, Any], text: str, *, fine: bool) -> None:
    assert bool(re.fullmatch(template["Parameters"]["ImageKeyPrefixes"]["AllowedPattern"], text)) is fine


def test_by_default_callers_may_use_keys_under_images(template: dict[str, Any]) -> None:
    assert template["Parameters"]["ImageKeyPrefixes"]["Default"] == "images/"


def test_the_environment_is_read_only_on_the_first_call(wired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.settings().job_table == "jobs-of-tests"
    assert config.submit_settings().state_machine == wired.arns.machine
    assert config.intake_settings().batch_state_machine == wired.arns.batch_machine
    assert config.plan_settings().batch_tolerated_failure_percent == 20.0
    assert config.enqueue_settings().intake_queue == wired.arns.queue
    assert config.collect_settings().intake_queue == wired.arns.queue
    assert config.provider_settings().segmind_media_hosts == {"images.segmind.com"}
    assert config.reconcile_settings().resubmit_lost is False
    assert config.api_settings().intake_queue == wired.arns.queue
    assert config.announce_settings().event_bus == "default"
    assert config.deliver_settings().webhook_url is None
    monkeypatch.setenv("JOB_TABLE", "another")
    assert config.settings().job_table == "jobs-of-tests"
