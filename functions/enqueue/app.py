"""Lambda handler of enqueue."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.enqueue import enqueue
from seedance.jobs.tasks import ChunkInput, FedChunk


@lambda_entry.observed
def handler(event: ChunkInput, context: Any) -> FedChunk:
    """See seedance.enqueue."""
    return enqueue()(event)
