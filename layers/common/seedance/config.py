"""The functions' settings. They are read from the environment once, and only here.

A field's name in upper case is the name of its variable in template.yaml; a test compares the two.
"""

import os
import re
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import TypeVar

from seedance.errors import ConfigurationError


# Neither compared nor shown: without those methods 2 ms less for each cold start.
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Settings:
    """The settings that every function has.

    ``time_scale`` is the number of our seconds per second of the provider: 1 on AWS, below 1 with a faster stand-in.
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
        """The maximum that may be reserved and spent per UTC day, in USD; None (parameter value 0) means no limit."""
        return float(self.daily_budget_usd) or None

    @property
    def scale(self) -> float:
        """``time_scale`` as a number."""
        return float(self.time_scale)

    @property
    def media_hosts(self) -> frozenset[str]:
        """The allow list of result hosts, in lower case. An entry may have a port."""
        return frozenset(host.strip().lower() for host in self.segmind_media_hosts.split(",") if host.strip())


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SubmitSettings(Settings):
    """The additional settings of submit."""

    state_machine: str
    intake_queue: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class IntakeSettings(SubmitSettings):
    """The additional setting of the function submit, which also starts batches."""

    batch_state_machine: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PlanSettings(Settings):
    """The additional settings of plan."""

    batch_tolerated_failure_percent: str

    @property
    def tolerated_percent(self) -> float:
        """The percentage of a batch's rows that may be invalid."""
        return float(self.batch_tolerated_failure_percent)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EnqueueSettings(Settings):
    """The additional settings of enqueue."""

    intake_queue: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ReconcileSettings(SubmitSettings):
    """The additional settings of reconcile."""

    resubmit_lost: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RepairSettings(SubmitSettings):
    """The additional settings of repair."""

    dead_letter_queue: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ApiSettings(Settings):
    """The additional settings of the API."""

    intake_queue: str
    image_key_prefixes: str

    @property
    def image_prefixes(self) -> tuple[str, ...]:
        """The prefixes of the image keys that a caller may use."""
        return tuple(filter(None, self.image_key_prefixes.split(",")))


_ADDRESS = re.compile(
    r"(?:https://(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[::1\])|http://(?:127\.0\.0\.1|localhost|\[::1\]))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)

AnySettings = TypeVar("AnySettings", bound=Settings)


def read(kind: type[AnySettings], environ: dict[str, str]) -> AnySettings:
    """Settings of the given kind, from a mapping. Raises ConfigurationError that names all missing variables."""
    missing = [
        field.name.upper() for field in fields(kind) if field.default is MISSING and not environ.get(field.name.upper())
    ]
    if missing:
        raise ConfigurationError(f"missing environment variables: {', '.join(missing)}; see template.yaml")
    return kind(**{field.name: environ[field.name.upper()] for field in fields(kind)})


def _read(kind: type[AnySettings]) -> AnySettings:
    """Settings from the environment. Also raises ConfigurationError if an address of the provider is invalid."""
    told = read(kind, dict(os.environ))
    for name in ("segmind_base_url", "segmind_upload_url", "segmind_history_url"):
        if not is_address(getattr(told, name)):
            raise ConfigurationError(
                f"{name.upper()} must be https:// and a host, without user, path or query; "
                "http:// is only allowed for 127.0.0.1, localhost and [::1]; see template.yaml"
            )
    return told


def is_address(text: str) -> bool:
    """Whether this is a valid address for the provider's API: https, or http on this machine, with an optional port.

    The API key is sent there. So a host that only begins like this machine's (``127.0.0.1.evil.example``), or that
    follows a user part that looks like it (``http://localhost@evil.example``), is not valid.
    """
    found = _ADDRESS.fullmatch(text)
    return found is not None and 0 < int(found["port"] or 443) < 65536


@cache
def settings() -> Settings:
    """The settings that every function has, read on the first call."""
    return _read(Settings)


@cache
def intake_settings() -> IntakeSettings:
    """The settings of intake, read on the first call."""
    return _read(IntakeSettings)


@cache
def submit_settings() -> SubmitSettings:
    """The settings of submit, read on the first call."""
    return _read(SubmitSettings)


@cache
def plan_settings() -> PlanSettings:
    """The settings of plan, read on the first call."""
    return _read(PlanSettings)


@cache
def enqueue_settings() -> EnqueueSettings:
    """The settings of enqueue, read on the first call."""
    return _read(EnqueueSettings)


@cache
def reconcile_settings() -> ReconcileSettings:
    """The settings of reconcile, read on the first call."""
    return _read(ReconcileSettings)


@cache
def repair_settings() -> RepairSettings:
    """The settings of repair, read on the first call."""
    return _read(RepairSettings)


@cache
def api_settings() -> ApiSettings:
    """The settings of the API, read on the first call."""
    return _read(ApiSettings)


def s3_endpoint() -> str | None:
    """The address of a replacement for S3, if one of botocore's two variables for it is set."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def authorities() -> str | None:
    """The file with the certificate authorities for TLS, if one is set."""
    return os.environ.get("SSL_CERT_FILE")
