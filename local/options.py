"""The options of a local stack, checked before anything is started. Pure."""

import ipaddress
import math
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from seedance.config import is_address

DEFAULT_PORT = 4566
"""The usual port of AWS emulators."""

INBOX_ADDRESS = "you@example.com"
"""The usual NotificationEmail of a local stack. `seedance inbox` shows its mails; nothing is delivered."""

KEY_VARIABLE = "SEGMIND_API_KEY"
SECRET_NAME = "segmind-api-key"  # noqa: S105 - a name, not a secret
WEBHOOK_SECRET_NAME = "seedance-webhooks"  # noqa: S105 - a name, not a secret

LOCAL_PARAMETERS = frozenset(
    {
        *("Runtime", "Architecture", "SegmindApiKeySecretArn", "WebhookSecretArn"),
        *("TimeScale", "LocalEmulator", "LocalAddress"),
        *("SegmindBaseUrl", "SegmindUploadUrl", "SegmindHistoryUrl", "SegmindMediaHosts"),
    }
)
"""The template's parameters that a local stack sets itself, also from --provider and --time-scale."""

_KEY = re.compile(r"SG_[0-9a-fA-F]{16}")
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]+)?")
_SMALLEST_SCALE = 0.001


class StackError(Exception):
    """The stack could not be started or does not respond. The message is a sentence for the user."""


class OptionError(StackError):
    """An option, or a parameter in one, has a value that is not allowed."""


@dataclass(frozen=True)
class Provider:
    """The provider that makes the videos. ``base_url`` is None for Segmind, and for the stand-in before it runs."""

    name: str
    key: str | None = None
    base_url: str | None = None

    @property
    def is_sandbox(self) -> bool:
        """Whether it is the stand-in, which the stack starts and stops itself."""
        return self.name == "sandbox"

    @property
    def text(self) -> str:
        """The value of ``--provider`` for it."""
        return self.base_url if self.name == "url" and self.base_url else self.name

    @property
    def delivery(self) -> str:
        """How it receives an image: a link to a bucket on this machine only works from this machine."""
        if self.is_sandbox or (self.base_url and _is_loopback(self.base_url)):
            return "link"
        return "upload"


def choose_provider(text: str, environ: Mapping[str, str], time_scale: float) -> Provider:
    """The provider that ``--provider`` names. Raises StackError if it can't be used with these settings."""
    check_time_scale(time_scale)
    if text == "sandbox":
        return Provider("sandbox")
    if text == "segmind":
        if time_scale != 1:
            raise OptionError(
                "--time-scale only works with a stand-in: Segmind runs at its own speed, and shorter deadlines "
                "would abandon videos that are paid for"
            )
        return Provider("segmind", key=_key(environ))
    try:
        url = urlsplit(text)
        # SegmindMediaHosts only allows such hosts. This also excludes IPv6 addresses in brackets.
        valid = is_address(f"{url.scheme}://{url.netloc}") and _HOST.fullmatch(url.netloc)
    except ValueError:  # unclosed brackets
        valid = False
    if not valid or url.path.strip("/") or url.query or url.fragment:
        raise OptionError(
            f"--provider must be sandbox, segmind, or a base URL without a path, such as https://provider.example or, "
            f"on this machine, http://127.0.0.1:8080, not {text!r}"
        )
    return Provider("url", key=_key(environ), base_url=f"{url.scheme}://{url.netloc}")


def check_time_scale(scale: float) -> None:
    """Raise OptionError for a scale that the template does not allow."""
    if not math.isfinite(scale) or not _SMALLEST_SCALE <= scale <= 1:
        raise OptionError(
            f"--time-scale must be from {_SMALLEST_SCALE} to 1 (0.1 runs ten times faster), not {scale:g}"
        )


def read_parameters(pairs: Sequence[str], declared: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """``--parameter NAME=VALUE`` options; ``declared`` are the template's parameters.

    Raises OptionError for values that CloudFormation would refuse, and for parameters that a local stack sets itself.
    """
    parameters: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise OptionError(f"--parameter must be NAME=VALUE, such as DailyBudgetUsd=1, not {pair!r}")
        if name not in declared:
            close = get_close_matches(name, declared, n=1)
            hint = f"did you mean {close[0]}?" if close else f"available: {', '.join(declared)}"
            raise OptionError(f"--parameter {pair}: the template has no {name}; {hint}")
        if name in LOCAL_PARAMETERS:
            raise OptionError(f"--parameter {pair}: a local stack sets {name} itself")
        if name in parameters:
            raise OptionError(f"--parameter {name} is given twice")
        if wanted := _refusal(value, declared[name]):
            raise OptionError(f"--parameter {pair}: {name} must {wanted}")
        parameters[name] = value
    return parameters


def _refusal(value: str, about: Mapping[str, Any]) -> str:
    """What a value must be according to the parameter's declaration, if it is invalid; "" if it is valid."""
    if about["Type"] == "Number":
        try:
            number = float(value)
        except ValueError:
            return "be a number"
        low, high = float(about.get("MinValue", "-inf")), float(about.get("MaxValue", "inf"))
        if not low <= number <= high:
            return f"be from {low:g} to {high:g}"
    if allowed := about.get("AllowedValues"):
        return "" if value in map(str, allowed) else f"be one of {', '.join(map(str, allowed))}"
    if not int(about.get("MinLength", 0)) <= len(value) <= int(about.get("MaxLength", 4096)):
        return f"have at least {about.get('MinLength', 0)} and at most {about.get('MaxLength', 4096)} characters"
    if not re.fullmatch(about.get("AllowedPattern", "(?s).*"), value):
        return str(about.get("ConstraintDescription", f"match {about['AllowedPattern']}")).removeprefix("must ")
    return ""


def template_parameters(provider: Provider, time_scale: float, secret: str, webhook_secret: str = "") -> dict[str, str]:
    """The template's parameters for a local stack. All others keep their defaults."""
    parameters = {
        "Runtime": f"python3.{min(sys.version_info.minor, 13)}",
        "Architecture": "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64",
        "SegmindApiKeySecretArn": secret,
        "WebhookSecretArn": webhook_secret,
        "ImageDelivery": provider.delivery,
        "TimeScale": scale_text(time_scale),
        "LocalEmulator": "yes",
        "NotificationEmail": INBOX_ADDRESS,
    }
    if provider.base_url:
        parameters |= {
            "SegmindBaseUrl": provider.base_url,
            "SegmindUploadUrl": provider.base_url,
            "SegmindHistoryUrl": provider.base_url,
            "SegmindMediaHosts": urlsplit(provider.base_url).netloc,
        }
    return parameters


def scale_text(scale: float) -> str:
    """The scale in the format that the template requires: ``1`` or ``0.05``, never ``5e-02``."""
    return f"{scale:.6f}".rstrip("0").rstrip(".")


def _key(environ: Mapping[str, str]) -> str:
    key = environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise StackError(f"{KEY_VARIABLE} is not set; export the provider's key, or use --provider sandbox")
    if not _KEY.fullmatch(key):
        raise StackError(f"{KEY_VARIABLE} does not look like a key: it must be SG_ and 16 hex digits")
    return key


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
