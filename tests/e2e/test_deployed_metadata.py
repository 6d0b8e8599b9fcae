"""A user's own metadata comes back wherever the job is shown, and `seedance list` shows the stack's jobs."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from deployed import SAMPLE, Deployed, until
from test_deployed_batches import over
from typer.testing import CliRunner

from cli.main import app

pytestmark = pytest.mark.e2e

Says = Callable[..., str]
OWN = {"SKU": "S-1", "Größe": "42 ½", "model": "red"}


@pytest.fixture(scope="module")
def says(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Says:
    """Run a command against the stack; returns its standard output."""
    outputs = tmp_path_factory.mktemp("says") / "outputs.json"
    outputs.write_text(json.dumps(asdict(deployed.stack)))

    def run(*command: str) -> str:
        result = CliRunner().invoke(app, [*command, "--outputs", str(outputs)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    return run


@pytest.fixture(scope="module")
def heard(deployed: Deployed) -> Callable[[str], list[dict[str, Any]]]:
    """The details of all events about a job, once it is COMPLETED."""
    sqs, events = deployed.client("sqs"), deployed.client("events")
    url = sqs.create_queue(QueueName="heard")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="heard", EventPattern=json.dumps({"source": ["seedance.pipeline"]}))
    events.put_targets(Rule="heard", Targets=[{"Id": "queue", "Arn": arn}])
    details: list[dict[str, Any]] = []

    def of(job_id: str) -> list[dict[str, Any]]:
        def arrived() -> list[dict[str, Any]] | None:
            details.extend(event["detail"] for event in deployed.received(url))
            ours = [detail for detail in details if detail["job_id"] == job_id]
            return ours if "COMPLETED" in [detail["state"] for detail in ours] else None

        return until(arrived, f"the events of {job_id}", 10)

    return of


def check(deployed: Deployed, heard: Any, job_id: str, own: dict[str, str]) -> dict[str, Any]:
    """Check that a finished job has its metadata in its record, its notification, the list and every event."""
    job = deployed.completed(job_id)
    assert job["metadata"] == deployed.told(job_id)["metadata"] == own
    assert [detail["metadata"] for detail in heard(job_id)] == [own] * len(heard(job_id))
    listed = deployed.call("GET", f"/videos?limit=100&source={job['source']}").json()["videos"]
    assert [one["metadata"] for one in listed if one["job_id"] == job_id] == [own]
    return job


def test_an_uploads_own_metadata_comes_back(deployed: Deployed, heard: Any) -> None:
    about = {"sku": "S-7", "metadata-mode": "night", "mtime": "1730000000.1", "resolution": "480p"}
    job = check(deployed, heard, deployed.upload("uploads/own.png", **about), {"sku": "S-7", "mode": "night"})
    assert job["parameters"]["resolution"] == "480p"


def test_a_refused_uploads_metadata_comes_back_too(deployed: Deployed) -> None:
    job = deployed.ended(deployed.upload("uploads/own.txt", b"just prose", sku="S-8"))
    assert (job["state"], job["metadata"]) == ("REJECTED", {"sku": "S-8"})
    assert deployed.told(job["job_id"])["metadata"] == {"sku": "S-8"}


def test_metadata_of_a_dropped_image_comes_back_as_it_was_given(
    deployed: Deployed, heard: Any, says: Says, tmp_path: Path
) -> None:
    image = tmp_path / "dropped with metadata.jpg"
    image.write_bytes(SAMPLE.read_bytes())
    given = [part for name, value in OWN.items() for part in ("--metadata", f"{name}={value}")]
    begun = json.loads(says("drop", str(image), "--set", "resolution=480p", *given, "--json"))
    check(deployed, heard, begun["job_id"], OWN)
    assert "SKU=S-1, Größe=42 ½, model=red" in says("status", begun["job_id"])


def test_a_rows_own_columns_come_back_with_its_video_and_in_the_results(deployed: Deployed, heard: Any) -> None:
    rows = (
        'prompt,resolution,sku,metadata.seed,metadata\nA row,480p,S-1,winter,"{""Shop"": ""North""}"\nA row,480p,,,\n'
    )
    batch = over(deployed, "batches/own.csv", rows)
    assert [(row["sku"], row["metadata.seed"], row["metadata"]) for row in batch.results] == [
        ("S-1", "winter", '{"Shop": "North"}'),
        ("", "", ""),
    ]
    own = {"seed": "winter", "Shop": "North", "sku": "S-1"}
    first = check(deployed, heard, batch.results[0]["job"], own)
    assert first["batch"] == {"batch_id": batch.batch_id, "row": 1}
    check(deployed, heard, batch.results[1]["job"], {})


def test_the_command_line_lists_jobs(deployed: Deployed, says: Says) -> None:
    good = deployed.order(prompt="a list", name="quince one", parameters={"resolution": "480p"}, metadata=OWN)
    bad = deployed.upload("uploads/quince two.txt", b"just prose")
    for job_id in (good, bad):
        deployed.ended(job_id)

    def listed(*options: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in says("list", "--name", "quince", *options, "--json").splitlines()]

    def all_listed() -> bool:  # the index may lag behind the table
        return {job["job_id"] for job in listed() if job["state"] in ("COMPLETED", "REJECTED")} == {good, bad}

    until(all_listed, "the jobs in the list", 10)
    both = listed()
    assert [job["created_at"] for job in both] == sorted((job["created_at"] for job in both), reverse=True)
    (one,) = listed("--state", "completed", "--source", "api")
    assert (one["job_id"], one["name"], one["metadata"]) == (good, "quince one", OWN)
    assert one["cost_usd"] == deployed.ended(good)["cost_usd"]
    (other,) = listed("--state", "REJECTED")
    assert (other["job_id"], other["error"]["code"]) == (bad, "INVALID_REQUEST")
    assert listed("--before", one["created_at"], "--source", "api") == []
    assert len(listed("--limit", "1")) == 1
    text = says("list", "--name", "quince one")
    assert good in text
    assert bad not in text
    assert says("list", "--name", "no such name") == "no such jobs\n"
