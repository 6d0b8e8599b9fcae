"""Publishes changes of state on EventBridge."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from seedance.events.change import DETAIL_TYPE, SOURCE, Change
from seedance.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

ENTRIES_A_REQUEST = 10
"""The most entries of a PutEvents request (botocore's service model)."""

DETAIL_BYTES_A_REQUEST = 200 * 1024
"""The most bytes of its details together. With everything else, older pages of the user guide allow 256 KB."""


class Bus:
    """An event bus, by its name."""

    def __init__(self, name: str, client: "EventBridgeClient") -> None:
        self._name = name
        self._client = client

    def publish(self, changes: Sequence[Change]) -> int:
        """Publish a group of changes (announce.groups).

        Returns how many of them, from the first on, were accepted; a later one may have been accepted too. Raises
        ClientError and BotoCoreError.
        """
        answer = self._client.put_events(
            Entries=[
                {
                    "EventBusName": self._name,
                    "Source": SOURCE,
                    "DetailType": DETAIL_TYPE,
                    "Time": datetime.fromtimestamp(change.moment, UTC),
                    "Resources": [change.table],  # distinguishes the stacks of an account
                    "Detail": change.event,
                }
                for change in changes
            ]
        )
        for number, entry in enumerate(answer["Entries"]):
            if "ErrorCode" in entry:
                facts = {"code": entry["ErrorCode"], "reason": entry.get("ErrorMessage")}
                logger().error("EventBridge refused an event", extra={**facts, "event": changes[number].detail})
                return number
        return len(changes)
