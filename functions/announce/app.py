"""Lambda handler of announce: takes records of the table's stream, returns where to start again."""

from typing import Any

from seedance.announce import announce
from seedance.aws import lambda_entry


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.announce. Lambda delivers the returned record and all later ones again.

    ``seedance redrive`` asks for what has become a dead letter: see seedance.redriving.
    """
    if event.get("ask") == "redrive":
        from seedance.redriving import redriving  # noqa: PLC0415 - rarely asked for

        return {**redriving()(event.get("run"))}
    refused = announce()(event["Records"])
    return {"batchItemFailures": [{"itemIdentifier": refused}] if refused else []}
