"""The functions' settings, read from the environment once and only here.

A field's name in upper case is its variable's name in template.yaml; a test holds the two together.
"""

import os
import re
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import TypeVar

from seedance.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every function is told.

    ``time_scale`` is the provider's time per second of ours: 1 on AWS, below 1 with a faster stand-in.
    """

    job_table: str
    upload_bucket: str
    video_bucket: str
    notification_topic: str
    segmind_api_key_secret: str
    segmind_base_url: str
    segmind_upload_url: str
    segmind_history_url: str
    segmind_media_hosts: str
    image_delivery: str
    default_model: str
    default_prompt: str
    default_transport: str
    daily_budget_usd: str
    requests_per_minute: str
    max_in_flight: str
    polls_per_video: str
    time_scale: str

    @property
    def budget(self) -> float | None:
        """The most that a UTC day may reserve and spend, in USD; None (the parameter's 0) is no limit."""
        return float(self.daily_budget_usd) or None

    @property
    def scale(self) -> float:
        """``time_scale`` as a number."""
        return float(self.time_scale)

    @property
    def media_hosts(self) -> frozenset[str]:
        """The allow-list of result hosts, lower case; an entry may carry a port."""
        return frozenset(host.strip().lower() for host in self.segmind_media_hosts.split(",") if host.strip())


@dataclass(frozen=True, kw_only=True)
class SubmitSettings(Settings):
    """What submit is told besides."""

    state_machine: str
    intake_queue: str


@dataclass(frozen=True, kw_only=True)
class IntakeSettings(SubmitSettings):
    """What the function submit is told besides: it also takes in manifests."""

    batch_state_machine: str


@dataclass(frozen=True, kw_only=True)
class PlanSettings(Settings):
    """What plan is told besides."""

    batch_tolerated_failure_percent: str

    @property
    def tolerated_percent(self) -> float:
        """The share of a batch's rows that may be bad."""
        return float(self.batch_tolerated_failure_percent)


@dataclass(frozen=True, kw_only=True)
class EnqueueSettings(Settings):
    """What enqueue is told besides."""

    intake_queue: str


@dataclass(frozen=True, kw_only=True)
class ReconcileSettings(SubmitSettings):
    """What reconcile is told besides."""

    resubmit_lost: str


@dataclass(frozen=True, kw_only=True)
class RepairSettings(SubmitSettings):
    """What repair is told besides."""

    dead_letter_queue: str


@dataclass(frozen=True, kw_only=True)
class ApiSettings(Settings):
    """What the API is told besides."""

    intake_queue: str
    image_key_prefixes: str

    @property
    def image_prefixes(self) -> tuple[str, ...]:
        """What the keys of images begin with that a caller may name."""
        return tuple(filter(None, self.image_key_prefixes.split(",")))


_ADDRESS = re.compile(
    r"(?:https://(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[::1\])|http://(?:127\.0\.0\.1|localhost|\[::1\]))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)

AnySettings = TypeVar("AnySettings", bound=Settings)


def read(kind: type[AnySettings], environ: dict[str, str]) -> AnySettings:
    """Settings of a kind from a mapping. Raises ConfigurationError naming every variable that is missing."""
    missing = [
        field.name.upper() for field in fields(kind) if field.default is MISSING and not environ.get(field.name.upper())
    ]
    if missing:
        raise ConfigurationError(f"the function's environment lacks {', '.join(missing)}; see template.yaml")
    return kind(**{field.name: environ[field.name.upper()] for field in fields(kind)})


def _read(kind: type[AnySettings]) -> AnySettings:
    """Settings from the environment. Raises ConfigurationError as well for a provider's address that can't be one."""
    told = read(kind, dict(os.environ))
    for name in ("segmind_base_url", "segmind_upload_url", "segmind_history_url"):
        if not is_address(getattr(told, name)):
            raise ConfigurationError(
                f"{name.upper()} must be https:// and a host, without user, path or query; "
                "http:// is allowed for 127.0.0.1, localhost and [::1] only; see template.yaml"
            )
    return told


def is_address(text: str) -> bool:
    """Whether it is where a provider's API may be: https, or http on this machine; a host and perhaps a port.

    The key goes there. A host that only begins like this machine's (``127.0.0.1.evil.example``), or that stands behind
    what looks like one (``http://localhost@evil.example``), is none.
    """
    found = _ADDRESS.fullmatch(text)
    return found is not None and 0 < int(found["port"] or 443) < 65536


@cache
def settings() -> Settings:
    """What every function is told, read on the first call."""
    return _read(Settings)


@cache
def intake_settings() -> IntakeSettings:
    """What intake is told, read on the first call."""
    return _read(IntakeSettings)


@cache
def submit_settings() -> SubmitSettings:
    """What submit is told, read on the first call."""
    return _read(SubmitSettings)


@cache
def plan_settings() -> PlanSettings:
    """What plan is told, read on the first call."""
    return _read(PlanSettings)


@cache
def enqueue_settings() -> EnqueueSettings:
    """What enqueue is told, read on the first call."""
    return _read(EnqueueSettings)


@cache
def reconcile_settings() -> ReconcileSettings:
    """What reconcile is told, read on the first call."""
    return _read(ReconcileSettings)


@cache
def repair_settings() -> RepairSettings:
    """What repair is told, read on the first call."""
    return _read(RepairSettings)


@cache
def api_settings() -> ApiSettings:
    """What the API is told, read on the first call."""
    return _read(ApiSettings)


def s3_endpoint() -> str | None:
    """The address that stands in for S3, where somebody has named one: botocore's own two variables."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def authorities() -> str | None:
    """The file of the authorities that a TLS line trusts, where somebody has named one."""
    return os.environ.get("SSL_CERT_FILE")
