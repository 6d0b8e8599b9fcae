"""The functions' settings. They are read from the environment once, and only here.

A field's name in upper case is the name of its variable in template.yaml; a test compares the two.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NewType, TypeVar, dataclass_transform

from seedance.errors import ConfigurationError

Address = NewType("Address", str)
"""An address of the provider: see ``is_address``."""

Hook = NewType("Hook", str)
"""The address that webhooks are sent to: an address as above, with any path and query."""


@dataclass_transform(kw_only_default=True, frozen_default=True)
class _Variables:
    """Values from variables: for the type checker a frozen dataclass.

    It has no generated methods. Those of the classes below took 5 ms of each cold start (2 % of poll's), and only
    ``read`` makes objects of them.
    """

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    @classmethod
    def types(cls) -> dict[str, object]:
        """The type of each field, in order."""
        return {name: of for base in reversed(cls.__mro__[:-1]) for name, of in base.__annotations__.items()}


class Settings(_Variables):
    """The settings that every function has."""

    job_table: str
    upload_bucket: str
    video_bucket: str
    notification_topic: str
    image_delivery: str
    allow_unusual_images: bool
    default_model: str
    default_prompt: str
    default_transport: str
    daily_budget_usd: float | None
    """The maximum that may be reserved and spent per UTC day; None (parameter value 0) means no limit."""
    requests_per_minute: int
    max_in_flight: int
    polls_per_video: float
    record_retention_days: int
    """How long a job's record is kept after its creation."""
    video_link_days: int
    """How long the lasting link to a video works. 0: there are none."""
    time_scale: float
    """Our seconds per second of the provider: 1 on AWS, below 1 with a faster stand-in."""


class ProviderSettings(_Variables):
    """The settings of the functions that call the provider, beside their others."""

    segmind_api_key_secret: str
    segmind_base_url: Address
    segmind_upload_url: Address
    segmind_history_url: Address
    segmind_media_hosts: frozenset[str]
    """The hosts from which results may be downloaded, in lower case. An entry may have a port."""


class LinkSettings(Settings):
    """The additional setting of the functions that show lasting links."""

    link_base: str
    """The address of lasting links, without the token and the slash before it."""


class SubmitSettings(LinkSettings):
    """The additional settings of submit."""

    state_machine: str
    intake_queue: str


class IntakeSettings(SubmitSettings):
    """The additional setting of the function submit, which also starts batches."""

    batch_state_machine: str


class PlanSettings(LinkSettings):
    """The additional settings of plan."""

    batch_tolerated_failure_percent: float
    """The percentage of a batch's rows that may be invalid."""


class EnqueueSettings(Settings):
    """The additional settings of enqueue."""

    intake_queue: str


class CollectSettings(LinkSettings):
    """The additional settings of collect."""

    intake_queue: str


class ReconcileSettings(SubmitSettings):
    """The additional settings of reconcile."""

    resubmit_lost: bool


class AnnounceSettings(Settings):
    """The additional settings of announce."""

    event_bus: str
    webhooks: bool
    """Whether the stack sends webhooks."""
    webhook_queue: str
    webhook_dead_letter_queue: str
    announce_dead_letter_queue: str


class DeliverSettings(Settings):
    """The additional settings of deliver."""

    webhook_url: Hook | None
    """None (parameter value "") means no webhooks."""
    webhook_secret: str | None
    """The ARN of the secret that webhooks are signed with."""
    webhook_queue: str


class RepairSettings(SubmitSettings):
    """The additional settings of repair."""

    dead_letter_queue: str
    batch_state_machine: str


class ApiSettings(LinkSettings):
    """The additional settings of the API."""

    intake_queue: str
    batch_state_machine: str
    image_key_prefixes: tuple[str, ...]
    """The prefixes of the image keys that a caller may use."""


class ConsoleSettings(Settings):
    """The additional settings of the console: the origins of the buckets, to which its page may connect."""

    upload_origin: str
    video_origin: str


_ADDRESS = re.compile(
    r"(?:https://(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[::1\])|http://(?:127\.0\.0\.1|localhost|\[::1\]))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)

AnySettings = TypeVar("AnySettings", bound=Settings | ProviderSettings)


def read(kind: type[AnySettings], environ: Mapping[str, str]) -> AnySettings:
    """Settings of the given kind, from a mapping. Raises ConfigurationError that names every wrong variable."""
    variables = {name: (name.upper(), of) for name, of in kind.types().items()}
    missing = [name for name, of in variables.values() if not environ.get(name) and of not in _MAY_BE_EMPTY]
    if missing:
        raise ConfigurationError(f"missing environment variables: {', '.join(missing)}; see template.yaml")
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for name, (variable, of) in variables.items():
        try:
            values[name] = _PARSERS[of](environ.get(variable, ""))
        except ValueError as error:
            wrong.append(f"{variable} {error}")
    if wrong:
        raise ConfigurationError(f"{'; '.join(wrong)}; see template.yaml")
    return kind(**values)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("must be a number")
    return number


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("must be a whole number")
    return int(text)


def _yes(text: str) -> bool:
    if text not in ("no", "yes"):
        raise ValueError('must be "no" or "yes"')
    return text == "yes"


def _list(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (entry.strip() for entry in text.split(","))))


def _address(text: str) -> Address:
    if not is_address(text):
        raise ValueError(
            "must be https:// and a host, without user, path or query; "
            "http:// is only allowed for 127.0.0.1, localhost and [::1]"
        )
    return Address(text)


def _hook(text: str) -> Hook | None:
    if not text:
        return None
    found = _ADDRESS.match(text)
    # A path and a query: printable ASCII without a fragment.
    if not found or not is_address(found[0]) or not re.fullmatch(r"(?:[/?][!-\"$-~]*)?", text[found.end() :]):
        raise ValueError(
            "must be https:// and a host, with a path if needed, without user or fragment; "
            "http:// is only allowed for 127.0.0.1, localhost and [::1]"
        )
    return Hook(text)


def is_address(text: str) -> bool:
    """Whether this is a valid address for the provider's API: https, or http on this machine, with an optional port.

    The API key is sent there. So a host that only begins like this machine's (``127.0.0.1.evil.example``), or that
    follows a user part that looks like it (``http://localhost@evil.example``), is not valid.
    """
    found = _ADDRESS.fullmatch(text)
    return found is not None and 0 < int(found["port"] or 443) < 65536


_PARSERS: dict[object, Callable[[str], object]] = {
    str: str,
    int: _whole,
    float: _number,
    float | None: lambda text: _number(text) or None,
    bool: _yes,
    tuple[str, ...]: _list,
    frozenset[str]: lambda text: frozenset(_list(text.lower())),
    Address: _address,
    Hook | None: _hook,
    str | None: lambda text: text or None,
}
"""How the text of a variable becomes a value of a field's type. Raises ValueError that says what is allowed."""

_MAY_BE_EMPTY: frozenset[object] = frozenset({Hook | None, str | None})
"""The types of fields whose variable may be empty."""


def _once(kind: type[AnySettings]) -> Callable[[], AnySettings]:
    """A function that returns settings of the given kind, read from the environment on its first call."""
    return cache(lambda: read(kind, os.environ))


settings = _once(Settings)
"""The settings that every function has."""
provider_settings = _once(ProviderSettings)
"""The settings of the functions that call the provider."""
link_settings = _once(LinkSettings)
"""The settings of the functions that show lasting links."""
intake_settings = _once(IntakeSettings)
"""The settings of intake."""
submit_settings = _once(SubmitSettings)
"""The settings of submit."""
plan_settings = _once(PlanSettings)
"""The settings of plan."""
enqueue_settings = _once(EnqueueSettings)
"""The settings of enqueue."""
collect_settings = _once(CollectSettings)
"""The settings of collect."""
reconcile_settings = _once(ReconcileSettings)
"""The settings of reconcile."""
announce_settings = _once(AnnounceSettings)
"""The settings of announce."""
deliver_settings = _once(DeliverSettings)
"""The settings of deliver."""
repair_settings = _once(RepairSettings)
"""The settings of repair."""
api_settings = _once(ApiSettings)
"""The settings of the API."""
console_settings = _once(ConsoleSettings)
"""The settings of the console."""


def s3_endpoint() -> str | None:
    """The address of a replacement for S3, if one of botocore's two variables for it is set."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def authorities() -> str | None:
    """The file with the certificate authorities for TLS, if one is set."""
    return os.environ.get("SSL_CERT_FILE")
