"""Lambda handler of submit: takes a batch of queue messages, returns those that must be delivered again."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.intake import intake
from seedance.observability import logger


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.intake. A message that raised an exception stays in the queue and is delivered again."""
    failed = []
    for record in event["Records"]:
        try:
            intake().message(record["body"])
        except Exception:  # noqa: BLE001 - on any error this message is delivered again, but not the others
            logger().exception("the message will be delivered again", extra={"message_id": record["messageId"]})
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
