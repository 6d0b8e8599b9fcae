"""Lasting links to videos: an item of the table for each link, and its address.

The key of the item is the SHA-256 of the token. So the function that answers clicks (seedance.watch), which can read
only these items, can't learn a token from them. The job's record has the token, because the link is shown again.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from seedance.aws import checks
from seedance.aws.attributes import Item, Record, written_item
from seedance.aws.fields import OBJECT_KEY_BYTES
from seedance.aws.job_table import JobTable, dropped
from seedance.aws.table import link_key
from seedance.jobs.job import Job
from seedance.jobs.tokens import is_token, new_token

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef, UpdateTypeDef

    from seedance.jobs.store import JobChanges

DAY_SECONDS = 24 * 3600

KEPT_DAYS = 30
"""How long the item of a link is kept after it expires, so that visitors are told that it has expired."""

VIDEO_PREFIX = "videos/"
"""Where all videos are in their bucket."""


class Linked(Protocol):
    """What has a link: a job, or the part of its record that was read."""

    @property
    def link_token(self) -> str | None:
        """The link's token."""

    @property
    def link_until(self) -> float | None:
        """When the link expires."""


@dataclass(frozen=True)
class Addresses:
    """The addresses of lasting links. ``days`` is VideoLinkDays; with 0, no link works."""

    base: str
    days: int

    def of(self, job: Linked, now: float) -> str | None:
        """The address of the job's lasting link, or None if it has none that works."""
        if not self.days or job.link_token is None or job.link_until is None or now >= job.link_until:
            return None
        return f"{self.base}/{job.link_token}"


NO_LINKS = Addresses("", 0)


@dataclass(frozen=True)
class Shared:
    """What a lasting link leads to: a video's key in its bucket, and its name."""

    key: str
    name: str


def new_share(now: float, days: int) -> "JobChanges":
    """The fields of a job's record for a new link that lasts for ``days``. Empty for 0 days."""
    return {"link_token": new_token(), "link_until": int(now) + days * DAY_SECONDS} if days else {}


def share_part(table: str, job: Job, values: "JobChanges") -> "list[TransactWriteItemTypeDef]":
    """The part of a transaction that writes the item of a new link, if there is one among a job's new values."""
    token, video = values.get("link_token"), values.get("video") or job.video
    until = values.get("link_until")
    if token is None or until is None or video is None:
        return []
    item = {":job": job.job_id, ":key": video["key"], ":name": job.name, ":until": until, ":kept": _kept(until)}
    # An update, not a put, which these functions' roles need not allow.
    update: UpdateTypeDef = {
        "TableName": table,
        "Key": _key(token),
        "UpdateExpression": "SET #job = :job, video_key = :key, #name = :name, #until = :until, expires_at = :kept",
        "ExpressionAttributeNames": {"#job": "job", "#name": "name", "#until": "until"},
        "ExpressionAttributeValues": written_item(item),
    }
    return [{"Update": update}]


def unshare_part(table: str, token: str, now: float) -> "list[TransactWriteItemTypeDef]":
    """The part of a transaction that revokes a link. The item stays, so that visitors can be told."""
    update: UpdateTypeDef = {
        "TableName": table,
        "Key": _key(token),
        "UpdateExpression": "SET revoked_at = :now, expires_at = :kept REMOVE video_key, #name, #job, #until",
        "ExpressionAttributeNames": {"#name": "name", "#job": "job", "#until": "until"},
        "ExpressionAttributeValues": written_item({":now": now, ":kept": _kept(now)}),
    }
    return [{"Update": update}]


def find(table: JobTable, token: str) -> Record | None:
    """The item of a link, or None if there never was one with this token, or DynamoDB has deleted it."""
    return table.get(link_key(_digest(token))) if is_token(token) else None


def read(record: Mapping[str, object], now: float) -> Shared | None:
    """What a link leads to. None if it was revoked, has expired, or its item was edited and is invalid."""
    if "revoked_at" in record:
        return None
    until = checks.number(record.get("until"), 0, checks.LATEST)
    key, name = checks.text(record.get("video_key")), checks.text(record.get("name"))
    if key is None or not key.startswith(VIDEO_PREFIX) or len(key.encode(errors="replace")) > OBJECT_KEY_BYTES:
        dropped(str(record.get("job_id")), "video_key")
        return None
    if until is None:
        dropped(str(record.get("job_id")), "until")
        return None
    return None if now >= until else Shared(key, name or "video")


def _key(token: str) -> Item:
    return {"job_id": {"S": link_key(_digest(token))}}


def _kept(until: float) -> int:
    """When DynamoDB may delete the item of a link that ends then."""
    return int(until) + KEPT_DAYS * DAY_SECONDS


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
