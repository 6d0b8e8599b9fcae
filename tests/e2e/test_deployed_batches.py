"""Batches on the deployed stack: a manifest leads to a report, results and one summary."""

import csv
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from deployed import SAMPLE, Deployed, until
from seedance.jobs.job import State, batch_id, batch_job_id
from typer.testing import CliRunner

from cli import asking
from cli.main import app
from cli.target import Target

pytestmark = pytest.mark.e2e

IMAGE = "images/of a batch.jpg"
HEADER = "image,prompt,model,resolution,duration,sku\n"


@dataclass(frozen=True)
class Batch:
    """A batch that has ended."""

    batch_id: str
    summary: dict[str, Any]
    results: list[dict[str, str]]
    report: list[dict[str, str]]


def sheet(deployed: Deployed, file: dict[str, str] | None) -> list[dict[str, str]]:
    """A CSV file that a summary names, downloaded with its link."""
    if file is None:
        return []
    fetched = deployed.api.get(file["url"]).raise_for_status().content
    stored = deployed.client("s3").get_object(Bucket=file["bucket"], Key=file["key"])["Body"].read()
    assert fetched == stored
    return list(csv.DictReader(io.StringIO(fetched.decode("utf-8-sig"), newline="")))


def over(deployed: Deployed, key: str, manifest: str, *, twice: bool = False) -> Batch:
    """Upload a manifest, with its event once or twice, and wait for its summary."""
    version = deployed.put(key, manifest.encode())
    batch = batch_id(deployed.output("UploadBucketName"), key, version)
    if twice:
        event = json.dumps(deployed.event(key, version))
        deployed.client("sqs").send_message(QueueUrl=deployed.output("SubmitQueueUrl"), MessageBody=event)
    return ended(deployed, batch, execution_of(deployed, batch), key)


def execution_of(deployed: Deployed, batch: str) -> str:
    return deployed.output("BatchStateMachineArn").replace(":stateMachine:", ":execution:") + f":{batch}"


def ended(deployed: Deployed, batch: str, execution: str, key: str) -> Batch:
    """A batch, when its execution has succeeded."""
    step_functions = deployed.client("stepfunctions")

    def over() -> str | None:
        try:
            status = step_functions.describe_execution(executionArn=execution)["status"]
        except step_functions.exceptions.ExecutionDoesNotExist:
            return None
        return None if status == "RUNNING" else str(status)

    assert until(over, f"the end of {key}", seen=deployed.states) == "SUCCEEDED"
    summary = deployed.told(batch)
    report = sheet(deployed, summary["rejected_report"])
    return Batch(batch, summary, sheet(deployed, summary["results"]), report)


@pytest.fixture(scope="session")
def spring(deployed: Deployed) -> Batch:
    """Twelve rows: two are bad, one has the URL of an image, one will fail. The event is delivered twice."""
    deployed.put(IMAGE, SAMPLE.read_bytes())
    where = {"Bucket": deployed.output("UploadBucketName"), "Key": IMAGE}
    address = deployed.client("s3").generate_presigned_url("get_object", Params=where)
    rows = [f"{IMAGE},The bottle turns {n},,480p,,SKU-{n}\n" for n in range(1, 9)]
    rows += [
        f'"{address}","A bottle, ""seen"" from an address",seedance-1.5-pro,480p,5,=SKU-9\n',
        f"{IMAGE},[blocked] bottle,,480p,,SKU-10\n",
        "images/none.jpg,The bottle turns,,480p,,SKU-11\n",
        f"{IMAGE},The bottle turns,,480p,7,SKU-12\n",
    ]
    return over(deployed, "batches/shop/spring.csv", HEADER + "".join(rows), twice=True)


def test_every_row_is_in_the_results_with_its_own_columns(spring: Batch) -> None:
    assert [row["row"] for row in spring.results] == [str(n) for n in range(1, 13)]
    assert [row["sku"] for row in spring.results] == [
        *(f"SKU-{n}" for n in range(1, 9)),
        "'=SKU-9",  # would be a formula
        *("SKU-10", "SKU-11", "SKU-12"),
    ]
    assert [row["state"] for row in spring.results] == ["COMPLETED"] * 9 + ["FAILED", "REJECTED", "REJECTED"]
    for row in spring.results[:10]:
        assert row["job"] == batch_job_id(spring.batch_id, int(row["row"]))


def test_a_rows_video_is_at_the_key_in_the_results(deployed: Deployed, spring: Batch) -> None:
    for row in (spring.results[0], spring.results[8]):
        job = deployed.completed(row["job"])
        assert (row["video_key"], float(row["cost_usd"])) == (job["video"]["key"], job["cost_usd"])
        assert job["video"]["key"] == f"videos/shop/spring/{row['job']}.mp4"
        assert job["batch"] == {"batch_id": spring.batch_id, "row": int(row["row"])}
    assert "content moderation" in spring.results[9]["error"]


def test_the_report_names_row_line_and_field(spring: Batch) -> None:
    assert [(row["row"], row["line"], row["field"]) for row in spring.report] == [
        ("11", "12", "image"),
        ("12", "13", "duration"),
    ]
    assert "is not in the bucket" in spring.report[0]["error"]
    assert "must be 5 or 10" in spring.report[1]["error"]


def test_the_summary_has_the_right_counts_and_sums(spring: Batch) -> None:
    summary = spring.summary
    assert (summary["status"], summary["rows"], summary["rejected"]) == ("BATCH_DONE", 12, 2)
    assert summary["states"] == {"COMPLETED": 9, "FAILED": 1, "REJECTED": 2}
    assert summary["cost_usd"] == pytest.approx(sum(float(row["cost_usd"] or 0) for row in spring.results))
    assert summary["attributes"] == {"status": "BATCH_DONE", "source": "batch"}
    assert summary["error"] is None


def test_a_manifest_whose_event_comes_twice_is_bought_once(deployed: Deployed, spring: Batch) -> None:
    prompts = [order["body"]["prompt"] for order in deployed.sandbox("jobs")["jobs"]]
    assert [prompts.count(f"The bottle turns {n}") for n in range(1, 9)] == [1] * 8
    assert deployed.bought_twice() == set()
    pages = deployed.client("stepfunctions").get_paginator("list_executions")
    found = pages.paginate(stateMachineArn=deployed.output("BatchStateMachineArn")).build_full_result()["executions"]
    assert [one["name"] for one in found].count(spring.batch_id) == 1


def test_a_folder_of_images_becomes_a_batch_and_comes_back_as_videos(deployed: Deployed, tmp_path: Path) -> None:
    """As a person does it, on the command line, with one image that the provider blocks at first."""
    outputs = tmp_path / "outputs.json"
    outputs.write_text(json.dumps(asdict(deployed.stack)))

    def says(*command: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, [*command, "--outputs", str(outputs), "--json"], catch_exceptions=False)
        assert result.exit_code == code, result.output
        return str(result.stdout)

    for name in ("red.jpg", "summer/hat.jpg"):
        (tmp_path / "shoes" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shoes" / name).write_bytes(SAMPLE.read_bytes())
    wish = {"on": "job", "kind": "fail", "prompt_contains": "A folder", "times": 1}
    deployed.api.post(f"{deployed.stack.sandbox_url}/_sandbox/faults", json=wish).raise_for_status()
    begun = ("batch", str(tmp_path / "shoes"), "--prompt", "A folder turns", "--set", "resolution=480p")
    refused = CliRunner().invoke(app, [*begun, "--max-usd", "0.01", "--outputs", str(outputs)])
    assert (refused.exit_code, "more than --max-usd" in refused.stderr) == (1, True)
    made = json.loads(says(*begun, "--wait", code=1))
    assert (made["images_to_upload"], made["states"]) == (2, {"COMPLETED": 1, "FAILED": 1})
    batch = made["batch_id"]
    again = json.loads(says("batch", batch[:16], "--retry-failed", "--wait"))
    assert again == {"batch_id": batch, "failed": 1, "copied": 0, "bought": 1, "completed": 1}
    says("get", batch, "-o", str(tmp_path / "videos"))
    assert sorted(file.name for file in (tmp_path / "videos").iterdir()) == ["1-red.mp4", "2-hat.mp4"]
    costs = json.loads(says("costs", "--by", "batch"))["costs"]
    (ours,) = [row for row in costs if row["batch"] == batch]
    orders = [order for order in deployed.sandbox("jobs")["jobs"] if order["body"]["prompt"] == "A folder turns"]
    billed = sum(order["cost"] for order in orders if order["status"] == "COMPLETED")
    assert (len(orders), ours["videos"], ours["usd"]) == (3, 2, pytest.approx(billed))
    mails = [json.loads(line) for line in says("inbox", "--kind", "mail", "--about", batch).splitlines()]
    assert [mail["subject"].partition(",")[0] for mail in mails] == ["Batch done: shoes.jsonl (1 of 2 videos"]


def test_json_lines_are_a_manifest_too(deployed: Deployed) -> None:
    lines = [
        {"prompt": "A lake in JSON", "parameters": {"resolution": "480p"}, "sku": 4711},
        {"prompt": "A sea in JSON", "resolution": "480p", "shop": {"id": 7}},
    ]
    batch = over(deployed, "batches/lines.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert [(row["state"], row["sku"], row["shop"]) for row in batch.results] == [
        ("COMPLETED", "4711", ""),
        ("COMPLETED", "", '{"id": 7}'),
    ]
    assert batch.report == []


def test_a_stopped_batch_is_started_again_and_keeps_what_it_has_bought(deployed: Deployed) -> None:
    key, prompts = "batches/stopped.csv", [f"A stopped lake {row}" for row in (1, 2, 3)]
    version = deployed.put(key, (HEADER + "".join(f",{prompt},,480p,,\n" for prompt in prompts)).encode())
    batch = batch_id(deployed.output("UploadBucketName"), key, version)
    execution = execution_of(deployed, batch)
    until(lambda: batch_job_id(batch, 1) in deployed.states(), "a job of the batch", seen=deployed.states)
    deployed.client("stepfunctions").stop_execution(executionArn=execution)
    asking.ask_repair(Target(deployed.stack.outputs, deployed.stack), ask="restart", batch_id=batch)
    again = ended(deployed, batch, f"{execution}-2", key)
    assert [(row["job"], row["state"]) for row in again.results] == [
        (batch_job_id(batch, row), "COMPLETED") for row in (1, 2, 3)
    ]
    bought = [order["body"]["prompt"] for order in deployed.sandbox("jobs")["jobs"]]
    assert [bought.count(prompt) for prompt in prompts] == [1, 1, 1]


def through_the_api(deployed: Deployed, name: str, prompts: list[str]) -> str:
    """A batch that the API has planned and that waits for its approval. Returns its id."""
    key = f"staged/{name}"
    deployed.put(key, (HEADER + "".join(f",{prompt},,480p,,\n" for prompt in prompts)).encode())
    answer = deployed.call("POST", "/batches", json={"manifest_key": key})
    assert answer.status_code == 202, answer.text
    batch = str(answer.json()["batch_id"])
    assert until(lambda: shown(deployed, batch)["state"] != "PLANNING", f"the plan of {key}", seen=deployed.states)
    assert shown(deployed, batch)["state"] == "PLANNED"
    return batch


def shown(deployed: Deployed, batch: str) -> dict[str, Any]:
    return dict(deployed.call("GET", f"/batches/{batch}").raise_for_status().json())


def test_a_staged_manifest_is_bought_when_it_is_approved(deployed: Deployed) -> None:
    prompts = [f"A staged lake {row}" for row in (1, 2)]
    batch = through_the_api(deployed, "summer.csv", prompts)
    assert not {batch_job_id(batch, row) for row in (1, 2)} & deployed.states().keys()
    for _ in range(2):
        answer = deployed.call("POST", f"/batches/{batch}/approve")
        assert (answer.status_code, answer.json()["state"]) == (200, "RUNNING")
    done = ended(deployed, batch, f"{execution_of(deployed, batch)}-approved", "staged/summer.csv")
    assert [row["state"] for row in done.results] == ["COMPLETED"] * 2
    found = shown(deployed, batch)
    assert (found["state"], found["states"]) == ("DONE", {"COMPLETED": 2})
    assert found["spent_usd"] == pytest.approx(done.summary["cost_usd"])
    assert deployed.api.get(found["results"]["url"]).status_code == 200
    bought = [order["body"]["prompt"] for order in deployed.sandbox("jobs")["jobs"]]
    assert [bought.count(prompt) for prompt in prompts] == [1, 1]
    listed = deployed.call("GET", "/batches?limit=100").json()["batches"]
    assert batch in [one["batch_id"] for one in listed]


def test_a_batch_that_is_cancelled_before_its_approval_buys_nothing(deployed: Deployed) -> None:
    batch = through_the_api(deployed, "autumn.csv", ["A cancelled lake"])
    assert deployed.call("POST", f"/batches/{batch}/cancel").json()["state"] == "CANCELLED"
    assert deployed.call("POST", f"/batches/{batch}/approve").status_code == 409
    assert batch_job_id(batch, 1) not in deployed.states()


@pytest.mark.parametrize("paused", [False, True])
def test_a_cancelled_batch_makes_what_is_bought_and_never_buys_the_rest(deployed: Deployed, *, paused: bool) -> None:
    """Row 1 is bought. The provider refuses the others for now, so they wait; if submits are paused, they are held."""
    bought, waits = (f"A {word} lake {paused}" for word in ("bought", "waiting"))
    wish = {"on": "submit", "kind": "http-429", "prompt_contains": waits, "times": 0}
    deployed.api.post(f"{deployed.stack.sandbox_url}/_sandbox/faults", json=wish).raise_for_status()
    batch = through_the_api(deployed, f"winter-{paused}.csv", [bought, waits, waits])
    first, *others = [batch_job_id(batch, row) for row in (1, 2, 3)]
    deployed.call("POST", f"/batches/{batch}/approve").raise_for_status()

    def bodies() -> list[str]:
        return [order["body"]["prompt"] for order in deployed.sandbox("jobs")["jobs"]]

    def refused() -> list[Any]:
        """The submits of the others that the provider has refused."""
        calls = deployed.sandbox("calls")["calls"]
        return [call["status"] for call in calls if (call["body"] or {}).get("prompt") == waits]

    try:
        until(lambda: bought in bodies() and refused(), "one bought row, and one that waits", seen=deployed.states)
        state = State.HELD if paused else State.RECEIVED
        if paused:
            deployed.call("POST", "/pause").raise_for_status()
        until(lambda: all(deployed.states().get(one) is state for one in others), str(state), seen=deployed.states)
        answer = deployed.call("POST", f"/batches/{batch}/cancel").raise_for_status().json()
        assert answer["state"] == "CANCELLING"
        if paused:  # otherwise one may be at the provider at this moment, is refused, and cancelled by collect
            assert answer["states"]["CANCELLED"] == 2
            assert [deployed.call("GET", f"/videos/{one}").json()["state"] for one in others] == ["CANCELLED"] * 2
    finally:
        deployed.call("POST", "/resume").raise_for_status()
    tried = refused()
    end = ended(deployed, batch, f"{execution_of(deployed, batch)}-approved", f"staged/winter-{paused}.csv")
    assert (end.summary["status"], end.summary["states"]) == ("BATCH_CANCELLED", {"COMPLETED": 1, "CANCELLED": 2})
    assert [row["state"] for row in end.results] == ["COMPLETED", "CANCELLED", "CANCELLED"]
    assert shown(deployed, batch)["state"] == "CANCELLED"
    assert deployed.completed(first)["video"]
    for one in others:
        assert deployed.told(one, "CANCELLED")["error"]["code"] == "CANCELLED"
    assert (bodies().count(bought), bodies().count(waits)) == (1, 0)
    assert refused() == tried or not paused  # they are not even tried again


@pytest.mark.parametrize(
    ("name", "manifest", "why"),
    [
        ("half.csv", HEADER + "images/none.jpg,x,,,,1\n,A lake,,480p,,2\n", "1 of 2 rows are invalid"),
        ("shop.csv", "Image Src,prompt\nhttps://example.com/a.jpg,x\n", "'Image Src' holds image addresses"),
    ],
)
def test_a_manifest_with_too_many_bad_rows_buys_nothing(deployed: Deployed, name: str, manifest: str, why: str) -> None:
    before = deployed.states().keys()
    batch = over(deployed, f"batches/{name}", manifest)
    assert (batch.summary["status"], batch.results) == ("BATCH_REFUSED", [])
    assert why in batch.summary["error"]["message"]
    assert len(batch.report) == 1
    assert deployed.states().keys() == before
