"""Lambda entry of submit: a batch of queue messages in, those that must come again out."""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from seedance.observability import observed
from seedance.submit import submit


def _record(record: SQSRecord) -> None:
    submit().message(record.body)


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """See seedance.submit. A message that raised stays in the queue and comes again."""
    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    return dict(process_partial_response(event, _record, processor, context))
