"""What the provider really charged for videos, by model and setting, learned when a job's cost is settled."""

import math
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from seedance.aws.attributes import read_item
from seedance.aws.job_table import JobTable
from seedance.aws.table import bills_key
from seedance.jobs import prices
from seedance.jobs.prices import BILLS_KEPT
from seedance.observability import logger, percent

FRESH_SECONDS = 60.0
"""How long a process caches the bills it has read."""


class Bills:
    """The last bills of each model and setting, and the estimates that follow from them.

    An item has an attribute for each setting that was billed, so learning needs no read before it.
    """

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._known: dict[str, tuple[float, prices.Bills]] = {}

    def of(self, model: str) -> prices.Bills:
        """The model's last bills. Read once a minute.

        If the table can't be read, the last known values are used: that makes estimates less exact, but no job fails.
        """
        now = self._table.clock()
        read_at, known = self._known.get(model, (-math.inf, {}))
        if not 0 <= now - read_at < FRESH_SECONDS:
            try:
                # Not strongly consistent: half the price, and nothing depends on the latest value.
                answer = self._table.client.get_item(
                    TableName=self._table.name, Key={"job_id": {"S": bills_key(model)}}
                )
            except (BotoCoreError, ClientError) as error:
                logger().warning("the bills can't be read", extra={"model": model, "reason": str(error)})
                return known
            stored = {name: value for name, value in read_item(answer.get("Item", {})).items() if name != "job_id"}
            known = {name: prices.usable(value)[-BILLS_KEPT:] for name, value in stored.items()}
            if any(not isinstance(value, list) or prices.usable(value) != value for value in stored.values()):
                logger().warning("a stored bill is dropped", extra={"model": model})
            self._known[model] = (now, known)
        return known

    def estimate(self, model: str, parameters: Mapping[str, Any]) -> float:
        """The estimated cost of a video, in USD. If length or shape are left open, that of the most expensive."""
        # Here: poll and finalize estimate nothing, and start 0.06 s earlier without the catalogue's pydantic.
        from seedance.jobs import catalogue  # noqa: PLC0415

        possible = catalogue.settings(catalogue.find(model), parameters)
        return prices.estimate_usd(model, prices.setting(parameters), possible, self.of(model))

    def learn(self, model: str, parameters: Mapping[str, Any], usd: float) -> None:
        """Store what a video cost, and report the drift of its setting.

        An error is logged and ignored: only the bill is lost, for learning. The job's settlement is already written.
        """
        if usd <= 0 or not prices.is_complete(parameters):
            return
        setting = prices.setting(parameters)
        try:
            stored = self._table.append(bills_key(model), setting.name, round(float(usd), 6), keep=BILLS_KEPT)
        except (BotoCoreError, ClientError) as error:
            logger().warning("a bill may be lost", extra={"model": model, "reason": str(error)})
            return
        drift = prices.drift_percent(model, setting, prices.usable(stored))
        if drift is not None:
            percent("PriceDriftPercent", drift)

    def drifts(self, model: str) -> dict[str, float]:
        """The settings whose bills are too far above their published price: by how many percent."""
        found = {}
        for name, amounts in self.of(model).items():
            setting = prices.named(name)
            drift = setting and prices.drift_percent(model, setting, amounts)
            if drift and drift > prices.DRIFT_PERCENT:
                found[name] = drift
        return found
