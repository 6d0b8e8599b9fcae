"""Records of the job table's stream, for tests of what is announced."""

from typing import Any

from clocks import NOW
from seedance.aws.attributes import written_item
from seedance.events.change import Change, change_in
from seedance.jobs.job import Job

TABLE_ARN = "arn:aws:dynamodb:eu-central-1:123456789012:table/jobs-of-tests"
ARN = f"{TABLE_ARN}/stream/2025-11-20T00:00:00.000"
KEY = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
HOOK = "https://hooks.example/video?token=1"


def record(before: dict[str, Any] | None, after: dict[str, Any] | None, number: object = 1) -> dict[str, Any]:
    """The record of a write, with the item before and after it."""
    images = {"OldImage": before, "NewImage": after}
    return {
        "eventID": "0" * 32,
        "eventSource": "aws:dynamodb",
        "eventSourceARN": ARN,
        "dynamodb": {
            "ApproximateCreationDateTime": NOW,
            "Keys": {"job_id": {"S": str((after or before or {})["job_id"])}},
            "SequenceNumber": str(number),
            **{name: written_item(image) for name, image in images.items() if image is not None},
        },
    }


def moved(before: Job | None, after: Job, number: object = 1) -> dict[str, Any]:
    """The record of a job's write."""
    return record(before and before.to_record(), after.to_record(), number)


def change(before: Job | None, after: Job, number: object = 1) -> Change | None:
    """The change in that record."""
    return change_in(moved(before, after, number))
