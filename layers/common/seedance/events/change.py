"""A change of a job's state, found in a record of the job table's stream, and what is announced about it. Pure.

A record has the item before and after one write (DynamoDB developer guide, "Change data capture for DynamoDB
Streams"). Anybody may have edited the item, so every field is checked by itself: an invalid one is announced as null,
and no item can keep later changes from being announced.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NotRequired, TypedDict, TypeGuard

from seedance import masking
from seedance.aws import fields
from seedance.aws.attributes import Item, read_item
from seedance.bounds import one_line, well_formed
from seedance.jobs import reasons, records
from seedance.jobs.job import ErrorFacts, State

SOURCE = "seedance.pipeline"
DETAIL_TYPE = "Video State Changed"
WEBHOOK_TYPE = "video.state_changed"

SEQUENCE_DIGITS = 40
"""The most digits of a sequence number (botocore's service model of DynamoDB Streams, SequenceNumber)."""

_TEXT_BYTES = 256
_MESSAGE_BYTES = 2000
_KEY_BYTES = 1024
_METADATA_BYTES = 6 * 1024
"""Of metadata as JSON, in which quotation marks are twice as long. A request has at most 2 KB of them."""


class Written(TypedDict):
    """A write to the table: the item before and after it."""

    SequenceNumber: str
    ApproximateCreationDateTime: float
    NewImage: NotRequired[Item]
    OldImage: NotRequired[Item]


class StreamRecord(TypedDict):
    """A record of the table's stream, as Lambda passes it on: the parts of it that are used."""

    eventSourceARN: str
    dynamodb: Written


class BatchFacts(TypedDict):
    """The batch of a job, and the job's row in its manifest."""

    batch_id: str
    row: int | None


class StoredVideo(TypedDict):
    """Where a job's video is, and its manifest, if it has one."""

    bucket: str
    key: str
    manifest_key: str | None


class Detail(TypedDict):
    """What is announced about a change: ``detail`` of the event, ``data`` of the webhook.

    The contract is docs/video-state-changed.schema.json; releases only add fields and states. Times are ISO 8601, UTC.
    """

    id: str
    """The same whenever this change is announced again."""
    job_id: str
    state: str
    previous_state: str | None
    """None for a new job."""
    sequence: str
    """Digits, always as many. Compared as text, it is greater for a later change of the same job."""
    changed_at: str
    created_at: str | None
    submitted_at: str | None
    source: str | None
    model: str | None
    name: str | None
    metadata: dict[str, str]
    """The caller's own pairs. Empty if there are none."""
    batch: BatchFacts | None
    cost_usd: float | None
    error: ErrorFacts | None
    video: StoredVideo | None
    """Of a COMPLETED job."""


@dataclass(frozen=True)
class Change:
    """A change of a job's state."""

    number: str
    """The sequence number of the stream's record."""
    moment: float
    """When it happened, as a Unix time."""
    table: str
    """The ARN of the job table."""
    detail: Detail

    @cached_property
    def event(self) -> str:
        """The detail as JSON."""
        return _json(self.detail)

    @property
    def webhook(self) -> str:
        """The webhook's body: the detail, with its type and time as Standard Webhooks recommends."""
        return _json({"type": WEBHOOK_TYPE, "timestamp": self.detail["changed_at"], "data": self.detail})


def change_in(record: StreamRecord) -> Change | None:
    """The change of state in a record of the stream. None if it has none, whatever else it is."""
    written = record["dynamodb"]
    new = read_item(written.get("NewImage", {}))
    old = read_item(written.get("OldImage", {}))
    state, before = new.get("state"), old.get("state")
    if state == before or not _is_state(state):
        return None
    number, job_id = str(written["SequenceNumber"]), str(new["job_id"])
    sequence = number.zfill(SEQUENCE_DIGITS)
    entered = _usable(new, "entered") or {}
    moment = entered.get(state, float(written["ApproximateCreationDateTime"]))
    return Change(
        number=number,
        moment=moment,
        table=str(record["eventSourceARN"]).partition("/stream/")[0],
        detail={
            "id": _id(job_id, state, sequence),
            "job_id": job_id,
            "state": state,
            "previous_state": before if _is_state(before) else None,
            "sequence": sequence,
            "changed_at": iso(moment),
            "created_at": _time(new, "created_at"),
            "submitted_at": _time(new, "submitted_at"),
            "source": _text(new, "source"),
            "model": _text(new, "model"),
            "name": _text(new, "name"),
            "metadata": _metadata(new),
            "batch": _batch(new),
            "cost_usd": _usable(new, "cost_usd"),
            "error": _error(new),
            "video": _video(new) if state == State.COMPLETED else None,
        },
    )


def iso(moment: float) -> str:
    """A Unix time in ISO 8601, UTC, to the millisecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _id(*parts: str) -> str:
    """No part of a webhook's id may come from users, or have a full stop (Standard Webhooks, "Signature scheme")."""
    return f"evt_{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"


def _is_state(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value in set(State)


def _usable(record: Mapping[str, Any], name: str) -> Any:
    value = record.get(name)
    return value if records.is_usable(name, value) else None


def _short(text: str, size: int = _TEXT_BYTES) -> str:
    """The text without control characters, which JSON would make six times as long, and cut to ``size`` bytes."""
    return fields.cut(one_line(text), size)


def _text(record: Mapping[str, Any], name: str) -> str | None:
    value = _usable(record, name)
    return None if value is None else _short(value)


def _time(record: Mapping[str, Any], name: str) -> str | None:
    value = _usable(record, name)
    return None if value is None else iso(value)


def _metadata(record: Mapping[str, Any]) -> dict[str, str]:
    """The caller's own words, which are not cut: they are told as they were given, or not at all."""
    given = record.get("metadata")
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        return {}
    pairs = {well_formed(name): well_formed(value) for name, value in given.items()}
    return pairs if len(_json(pairs).encode()) <= _METADATA_BYTES else {}


def _batch(record: Mapping[str, Any]) -> BatchFacts | None:
    batch = _text(record, "batch")
    return {"batch_id": batch, "row": _usable(record, "row")} if batch else None


def _error(record: Mapping[str, Any]) -> ErrorFacts | None:
    """The reason for the state. The message may quote a link."""
    error = _usable(record, "error")
    if error is None:
        return None
    message = masking.signatures(error["message"])
    return reasons.given(_short(error["code"]), _short(message, _MESSAGE_BYTES)).error


def _video(record: Mapping[str, Any]) -> StoredVideo | None:
    video = _usable(record, "video")
    if not video:
        return None
    manifest = video.get("manifest_key")
    return {
        "bucket": _short(video["bucket"]),
        "key": _short(video["key"], _KEY_BYTES),
        "manifest_key": _short(manifest, _KEY_BYTES) if isinstance(manifest, str) else None,
    }
