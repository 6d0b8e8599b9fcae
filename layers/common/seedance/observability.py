"""Logs and metrics, set up on first use. Traces need no code: the template switches X-Ray on.

Powertools reads its own settings: the template names the stack as the service, so that two stacks of one
account don't count into each other's metrics.
"""

from functools import cache

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

ALARMING = frozenset({"JobsUncertain", "JobsHeld", "JobsStuck", "SubmitsPaused"})
"""The metrics that an alarm of the template watches."""


@cache
def logger() -> Logger:
    """The functions' structured log."""
    return Logger(utc=True)


@cache
def _metrics() -> Metrics:
    return Metrics()


def count(name: str, number: int = 1) -> None:
    """Add to a metric of namespace SeedancePipeline; it is written when the handler returns, an alarm's at once."""
    _metrics().add_metric(name=name, unit=MetricUnit.Count, value=number)
    if name in ALARMING:  # called before the write that it speaks of: whoever dies in between has rung already
        _metrics().flush_metrics()


def flush() -> None:
    """Write the metrics that were counted."""
    if _metrics().metric_set:
        _metrics().flush_metrics()
