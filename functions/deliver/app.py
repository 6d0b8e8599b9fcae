"""Lambda handler of deliver: takes a batch of queued webhooks, returns those that are not done with."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.deliver import deliver
from seedance.observability import logger


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.deliver. A message that raised an exception is delivered again after the visibility timeout."""
    failed = []
    for record in event["Records"]:
        try:
            attempt = int(record["attributes"]["ApproximateReceiveCount"])
            done = deliver().message(record["body"], record["receiptHandle"], attempt)
        except Exception:  # noqa: BLE001 - on any error this message is delivered again, but not the others
            logger().exception("the webhook will be delivered again", extra={"message_id": record["messageId"]})
            done = False
        failed += [] if done else [{"itemIdentifier": record["messageId"]}]
    return {"batchItemFailures": failed}
