"""Lambda handler of deliver: takes a queued webhook, returns it if it is not done with."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.deliver import deliver


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.deliver. A batch is one webhook, so an exception fails no other one, and triggers an alarm."""
    failed = []
    for record in event["Records"]:
        attempt = int(record["attributes"]["ApproximateReceiveCount"])
        if not deliver().message(record["body"], record["receiptHandle"], attempt):
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
