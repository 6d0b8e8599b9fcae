"""Logs and metrics, set up on first use. Traces need no code, because the template enables X-Ray.

Powertools reads its own settings. The template sets the service to the stack's name, so that two stacks of one
account have separate metrics.
"""

import json
from functools import cache

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

ALARMING = frozenset({"JobsUncertain", "JobsHeld", "JobsStuck", "SubmitsPaused"})
"""The metrics that have an alarm in the template."""


@cache
def logger() -> Logger:
    """The functions' structured log."""
    return Logger(utc=True, json_serializer=_line)


def _line(log: dict[str, object]) -> str:
    # Half of a character can't be written to the log. Powertools' own serializer would lose the whole line.
    line = json.dumps(log, default=str, separators=(",", ":"), ensure_ascii=False)
    return line.encode(errors="replace").decode()


@cache
def _metrics() -> Metrics:
    return Metrics()


def count(name: str, number: int = 1) -> None:
    """Add to a metric of SeedancePipeline. It is written when the handler returns, or at once if it has an alarm."""
    _metrics().add_metric(name=name, unit=MetricUnit.Count, value=number)
    if name in ALARMING:  # called before the write that it reports, so a crash in between still alarms
        _metrics().flush_metrics()


def percent(name: str, value: float) -> None:
    """Set a metric of SeedancePipeline that is a percentage. It is written when the handler returns."""
    _metrics().add_metric(name=name, unit=MetricUnit.Percent, value=value)


def flush() -> None:
    """Write the counted metrics."""
    if _metrics().metric_set:
        _metrics().flush_metrics()
