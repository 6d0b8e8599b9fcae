"""Lambda entry of submit: a batch of queue messages in, those that must come again out."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.intake import intake
from seedance.observability import logger


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.intake. A message that raised stays in the queue and comes again."""
    failed = []
    for record in event["Records"]:
        try:
            intake().message(record["body"])
        except Exception:  # noqa: BLE001 - whatever it was, this message comes again, and the others must not
            logger().exception("the message comes again", extra={"message_id": record["messageId"]})
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
