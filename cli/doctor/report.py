"""The doctor's report: lines for people, and JSON that can be sent back to the project."""

import platform
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import seedance
from seedance import masking

from cli.doctor.results import Result, Status, counted

FORMAT = 1
"""The version of the JSON report's form."""

_WORDS = {Status.OK: "ok", Status.FAILED: "FAILED", Status.SKIPPED: "-", Status.UNKNOWN: "UNKNOWN"}
_STYLES = {Status.OK: "green", Status.FAILED: "bold red", Status.SKIPPED: "dim", Status.UNKNOWN: "yellow"}
_STATUS_WIDTH, _NAME_WIDTH = 8, 15

_ACCOUNT = re.compile(r"(?<![0-9A-Za-z])[0-9]{12}(?![0-9A-Za-z])")
_SECRETS = (
    re.compile(r"SG_[0-9a-fA-F]{16}"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
)
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_SECRET_NAME = re.compile(r"(:secret:)[^\s\"',]+")

SHOWN_PARAMETERS = frozenset(
    {
        *("ImageDelivery", "DefaultModel", "DefaultTransport", "DailyBudgetUsd", "ResubmitLost", "RequestsPerMinute"),
        *("MaxInFlight", "PollsPerVideo", "BatchToleratedFailurePercent", "UploadRetentionDays", "VideoRetentionDays"),
        *("RecordRetentionDays", "LogRetentionDays", "LogLevel", "Dashboard", "Runtime", "Architecture", "TimeScale"),
        *("LocalEmulator", "SegmindBaseUrl", "SegmindUploadUrl", "SegmindHistoryUrl", "SegmindMediaHosts"),
        *("AllowUnusualImages", "VideoLinkDays", "EventBusName", "MailFor"),
    }
)
"""The stack parameters in the JSON report: none that names a person, a secret or somebody's account."""


@dataclass(frozen=True)
class Line:
    """One line of the report: a check or a fact, with its result."""

    name: str
    group: str
    about: str
    remedy: str
    result: Result

    @property
    def advice(self) -> str | None:
        """What to do. None if nothing is to be done."""
        match self.result.status:
            case Status.FAILED:
                return self.result.remedy or self.remedy
            case Status.UNKNOWN:
                return f'Allow {self.result.permission}: docs/operations.md, "The doctor\'s role".'
        return None


def fine(lines: Iterable[Line]) -> bool:
    """Whether every line passed or does not apply."""
    return all(line.result.status in (Status.OK, Status.SKIPPED) for line in lines)


def style(status: Status) -> str:
    """The colour of a status."""
    return _STYLES[status]


def written(line: Line, width: int) -> list[str]:
    """A line as it is shown: its status, name and finding, then details and remedy, wrapped to a width."""
    head = f"  {_WORDS[line.result.status]:<{_STATUS_WIDTH}}{line.name:<{_NAME_WIDTH}}"
    indent = " " * len(head)
    shown = _wrapped(_unsecret(line.result.said), width, head, indent)
    for detail in line.result.details:
        shown += _wrapped(_unsecret(detail), width, indent, f"{indent}  ")
    if line.advice:
        shown += _wrapped(_unsecret(line.advice), width, f"{indent}-> ", f"{indent}   ")
    return shown


def _wrapped(text: str, width: int, first: str, others: str) -> list[str]:
    # Names and commands are never cut, because people copy them.
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def summary(lines: Sequence[Line]) -> str:
    """The counts by status."""
    names = {Status.OK: "fine", Status.FAILED: "failed", Status.UNKNOWN: "unknown", Status.SKIPPED: "skipped"}
    return counted(Counter(names[line.result.status] for line in lines))


def as_json(
    lines: Sequence[Line],
    *,
    complete: bool,
    at: str,
    region: str,
    emulated: bool,
    parameters: dict[str, str],
    extra: dict[str, Any],
) -> dict[str, Any]:
    """The report as JSON, without secrets, addresses of people and account numbers.

    ``at``: the time, in ISO 8601. ``complete``: whether nothing prevented further lines.
    """
    report = {
        "format": FORMAT,
        "at": at,
        "release": seedance.__version__,
        "python": platform.python_version(),
        "region": region,
        "emulator": emulated,
        "parameters": {name: value for name, value in parameters.items() if name in SHOWN_PARAMETERS},
        "complete": complete,
        "fine": complete and fine(lines),
        "checks": [_entry(line) for line in lines],
        **extra,
    }
    masked: dict[str, Any] = mask(report)
    return masked


def _entry(line: Line) -> dict[str, Any]:
    result = line.result
    return {
        "name": line.name,
        "group": line.group,
        "about": line.about,
        "status": str(result.status),
        "said": result.said,
        "details": list(result.details),
        "remedy": line.advice,
        "permission": result.permission,
        "seconds": result.seconds,
    }


def mask(said: Any) -> Any:
    """A JSON value without secrets, mail addresses and account numbers, in every text, names of fields included."""
    if isinstance(said, dict):
        return {mask(name): mask(value) for name, value in said.items()}
    if isinstance(said, (list, tuple)):
        return [mask(one) for one in said]
    if not isinstance(said, str):
        return said
    text = _MAIL.sub(f"{masking.MASK}@{masking.MASK}", _unsecret(said))
    return _ACCOUNT.sub("0" * 12, _SECRET_NAME.sub(rf"\1{masking.MASK}", text))


def _unsecret(text: str) -> str:
    """A text without keys and signatures, which are shown to nobody."""
    for pattern in _SECRETS:
        text = pattern.sub(masking.MASK, text)
    return masking.signatures(text)
