"""How long the videos of each model took, learned from those that were made."""

import math
from functools import cache

from botocore.exceptions import BotoCoreError, ClientError

from seedance.aws.attributes import read_item
from seedance.aws.job_table import JobTable, job_table
from seedance.aws.table import durations_key
from seedance.observability import logger
from seedance.pacing import poll_schedule
from seedance.pacing.poll_schedule import DURATIONS_KEPT

FRESH_SECONDS = 60.0
"""How long a process caches the durations it has read."""


class Durations:
    """The durations of each model's last videos, in the provider's seconds."""

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._known: dict[str, tuple[float, list[float]]] = {}

    def of(self, model: str) -> list[float]:
        """The model's last durations, oldest first. Read once a minute.

        If the table can't be read, the last known values are used: that makes the waits less exact, but no job fails.
        """
        now = self._table.clock()
        read_at, known = self._known.get(model, (-math.inf, []))
        if not 0 <= now - read_at < FRESH_SECONDS:
            try:
                # Not strongly consistent: half the price, and nothing depends on the latest value.
                answer = self._table.client.get_item(
                    TableName=self._table.name, Key={"job_id": {"S": durations_key(model)}}
                )
            except (BotoCoreError, ClientError) as error:
                logger().warning("the durations can't be read", extra={"model": model, "reason": str(error)})
                return known
            stored = read_item(answer.get("Item", {})).get("seconds", [])
            known = poll_schedule.usable(stored)[-DURATIONS_KEPT:]
            if not isinstance(stored, list) or len(poll_schedule.usable(stored)) < len(stored):
                logger().warning("a stored duration is dropped", extra={"model": model})
            self._known[model] = (now, known)
        return known

    def learn(self, model: str, seconds: float) -> None:
        """Store the duration of a video of the model. An error is logged and ignored: only the duration is lost."""
        try:
            self._table.append(durations_key(model), "seconds", round(float(seconds), 3), keep=DURATIONS_KEPT)
        except (BotoCoreError, ClientError) as error:
            logger().warning("a duration may be lost", extra={"model": model, "reason": str(error)})


@cache
def durations() -> Durations:
    """The stack's durations."""
    return Durations(job_table())
