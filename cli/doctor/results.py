"""A check and its result."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from cli.doctor.deployment import Deployment

NOT_ON_AN_EMULATOR = "not on an emulator"

USUAL_SECONDS = 20.0
"""How long a check may take. Its calls take milliseconds; the rest is for retries of throttled ones."""

ASKING_SECONDS = 90.0
"""How long a check may take that invokes the repair function, which may start cold and wait for the provider."""

_DENIED = frozenset(
    {
        *("AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException"),
        *("UnauthorizedOperation", "NotAuthorized", "ForbiddenException", "403"),
    }
)
_NAMED = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z]+)")


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It does not apply here; ``said`` is why."""
    UNKNOWN = "unknown"
    """It could not be checked, because a permission is missing."""


@dataclass(frozen=True)
class Result:
    """What a check found: one line for people, and more lines as ``details``.

    ``remedy`` replaces the check's own. ``permission``: what is missing, of an UNKNOWN.
    """

    status: Status
    said: str
    details: tuple[str, ...] = ()
    remedy: str | None = None
    permission: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Check:
    """One line of the doctor's table. What it looks at is the docstring of ``look``."""

    name: str
    group: str
    look: "Callable[[Deployment], Result]"
    remedy: str
    needs: tuple[str, ...] = ()
    """The IAM actions of its calls, besides those of ``deployment.NEEDS``."""
    emulated: bool = True
    """Whether an emulator has what is checked."""
    seconds: float = USUAL_SECONDS

    @property
    def about(self) -> str:
        """What it looks at, as a sentence."""
        return " ".join((self.look.__doc__ or "").partition("\n\n")[0].split())


def ok(said: str, *details: str) -> Result:
    """Everything is fine."""
    return Result(Status.OK, said, details)


def failed(said: str, *details: str, remedy: str | None = None) -> Result:
    """Something is wrong."""
    return Result(Status.FAILED, said, details, remedy)


def skipped(why: str) -> Result:
    """It does not apply."""
    return Result(Status.SKIPPED, why)


def found(wrong: Collection[str], right: str, *, remedy: str | None = None) -> Result:
    """FAILED with everything that is wrong, or OK if nothing is."""
    if not wrong:
        return ok(right)
    first, *others = wrong
    return failed(first, *others, remedy=remedy)


def when(unix: float) -> str:
    """A Unix time, to the second."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def counted(counts: Mapping[str, int]) -> str:
    """Counts by name, most frequent first, such as ``2 OVER_BUDGET, 1 SUBMIT_LOST``."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def refusal(error: ClientError, needs: Collection[str]) -> Result:
    """What an error response of AWS means for a check: UNKNOWN if it may not make the call, else FAILED.

    ``needs``: the check's permissions, which name the missing one if AWS does not.
    """
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    if code not in _DENIED:
        return failed(f"{error.operation_name}: {code}: {message}")
    named = _NAMED.search(message)
    permission = named[1] if named else action(error.operation_name, needs)
    return Result(Status.UNKNOWN, f"not permitted: {permission}", permission=permission)


_ACTIONS = {
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "Invoke": "lambda:InvokeFunction",
    **dict.fromkeys(("GetApiKey", "GetStages"), "apigateway:GET"),
}
"""The actions that are not named after their operation (IAM service authorization reference)."""


def action(operation: str, needs: Collection[str]) -> str:
    """The IAM action for an operation, with its service as in ``needs``. The operation's name if it is not there."""
    if operation in _ACTIONS:
        return _ACTIONS[operation]
    return next((need for need in needs if need.partition(":")[2] == operation), operation)
