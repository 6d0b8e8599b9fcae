"""Every change of a job's state is on the event bus of a deployed stack."""

import json
from typing import Any

import pytest
from deployed import Deployed, until

pytestmark = pytest.mark.e2e


def test_a_rule_gets_each_state_of_a_video(deployed: Deployed) -> None:
    sqs, events = deployed.client("sqs"), deployed.client("events")
    url = sqs.create_queue(QueueName="announced")["QueueUrl"]
    facts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    pattern = {
        "source": ["seedance.pipeline"],
        "detail-type": ["Video State Changed"],
        "detail": {"name": ["announced"]},
    }
    events.put_rule(Name="announced", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="announced", Targets=[{"Id": "queue", "Arn": facts["QueueArn"]}])
    job_id = deployed.upload("uploads/announced.png", resolution="480p")
    job = deployed.completed(job_id)
    told: dict[str, dict[str, Any]] = {}

    def arrived() -> bool:
        for event in deployed.received(url):
            assert event["detail"]["job_id"] == job_id
            assert event["resources"][0].endswith(f":table/{deployed.output('JobTableName')}")
            told[event["detail"]["state"]] = event["detail"]
        return "COMPLETED" in told

    until(arrived, "the event of the finished video", 10)
    assert {"RECEIVED", "SUBMITTING", "QUEUED", "COPYING", "COMPLETED"} <= set(told)
    last = told["COMPLETED"]
    assert last["video"] == {name: job["video"][name] for name in ("bucket", "key", "manifest_key")}
    assert (last["cost_usd"], last["source"], last["model"]) == (job["cost_usd"], "upload", job["model"])
    sequences = [told[state]["sequence"] for state in ("RECEIVED", "SUBMITTING", "QUEUED", "COPYING", "COMPLETED")]
    assert sequences == sorted(sequences)
