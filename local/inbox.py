"""What the local AWS sends to people and programs, as it was sent: it delivers no mail, and nobody may see its events.

The emulator's process keeps the newest of it and returns it at INBOX (local.ministack_server).
"""

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

INBOX = "/_seedance/inbox"
"""A request to this path of the emulator returns its inbox."""

KEPT = 1000
"""The newest entries that are kept."""

_MAIL = ("email", "email-json")
_NOT_OURS = "aws."
"""How the sources of AWS's own events begin."""


class Entry(TypedDict):
    """A mail, a notification for programs, or an event.

    ``kind`` is ``mail``, ``notification`` or ``event``. ``to`` is the mail's address, the topic or the event bus,
    ``subject`` the mail's subject or the event's type, ``body`` the mail's text, or the JSON of the others.
    """

    at: str
    kind: str
    to: str
    subject: str
    body: Any


class Inbox:
    """The newest entries, oldest first. With ``file``, they are also kept there, for the next start."""

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._file, self._clock = file, clock
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        if file and file.exists():
            for line in file.read_text().splitlines():
                with contextlib.suppress(ValueError):  # the last line, if the process was killed while it wrote it
                    self._entries.append(json.loads(line))
            file.write_text("".join(json.dumps(entry) + "\n" for entry in self._entries))

    def add(self, kind: str, to: str, subject: str, body: Any) -> None:
        """Add an entry."""
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        entry: Entry = {"at": at, "kind": kind, "to": to, "subject": subject, "body": body}
        with self._lock:
            self._entries.append(entry)
            if self._file:
                with self._file.open("a") as file:
                    file.write(json.dumps(entry) + "\n")

    def entries(self) -> list[Entry]:
        """The entries, oldest first."""
        with self._lock:
            return list(self._entries)


def watch(inbox: Inbox, sns: Any, events: Any) -> None:
    """Change the emulator's modules for SNS and EventBridge so that all that they send is also added to ``inbox``."""
    fanout, put_events = sns._fanout, events._put_events

    def fans_out(topic: str, number: str, message: str, subject: str, *args: Any, **more: Any) -> Any:
        done = fanout(topic, number, message, subject, *args, **more)
        structure, attributes = (*args, "", None)[:2]
        structure = more.get("message_structure", structure)
        attributes = more.get("message_attributes", attributes) or {}
        found = sns._topic_by_arn_any_scope(topic) or {}
        inbox.add("notification", topic, "", _json(sns._resolve_message_for_protocol(message, structure, "sqs")))
        for subscription in found.get("subscriptions", []):
            text = sns._resolve_message_for_protocol(message, structure, subscription["protocol"])
            if subscription["protocol"] in _MAIL and sns._matches_filter_policy(subscription, attributes, text):
                inbox.add("mail", subscription["endpoint"], subject, text)
        return done

    def puts(data: Any, *args: Any, **more: Any) -> Any:
        answer = put_events(data, *args, **more)
        if answer[0] == 200:
            results = json.loads(answer[2])["Entries"]
            for entry, result in zip(data.get("Entries", []), results, strict=False):
                if "EventId" in result and not str(entry.get("Source", "")).startswith(_NOT_OURS):
                    bus, kind = str(entry.get("EventBusName", "default")), str(entry.get("DetailType", ""))
                    inbox.add("event", bus, kind, {**entry, "Detail": _json(entry.get("Detail", ""))})
        return answer

    sns._fanout, events._put_events = fans_out, puts


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text
