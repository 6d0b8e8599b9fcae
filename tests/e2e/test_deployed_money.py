"""No video is lost or paid for twice on the deployed stack, whatever happens to its job, and the day balances."""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deployed import SAMPLE, Deployed, until
from seedance.jobs.job import State
from typer.testing import CliRunner

from cli import asking, balance
from cli.main import app
from cli.target import Target

pytestmark = pytest.mark.e2e

SMALL = {"resolution": "480p"}
BEGUN = datetime.now(UTC).date()


class Operator:
    """The stack's operator: the `seedance` command, and runs of reconcile."""

    def __init__(self, deployed: Deployed, outputs: Path) -> None:
        self.deployed = deployed
        self.target = Target(deployed.stack.outputs, deployed.stack)
        self._outputs = outputs
        outputs.write_text(json.dumps(asdict(deployed.stack)))

    def says(self, *command: str, code: int = 0) -> str:
        """Run a command, which must exit with that code, and return its output."""
        result = CliRunner().invoke(app, [*command, "--outputs", str(self._outputs)], catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    def reconcile(self) -> None:
        """Run a round of reconcile now, instead of in five minutes."""
        asking.reconcile(self.target)

    def reaches(self, job_id: str, *states: State) -> dict[str, Any]:
        """The job as the API returns it, once it is in one of these states."""

        def there() -> dict[str, Any] | None:
            answer = self.deployed.call("GET", f"/videos/{job_id}")
            return answer.json() if answer.status_code == 200 and answer.json()["state"] in states else None

        return until(there, f"{job_id} in {', '.join(states)}", 30, lambda: self.says("explain", job_id))

    def fault(self, on: str, kind: str, prompt: str, **options: Any) -> None:
        """Order a fault at the provider for the jobs with that prompt."""
        wish = {"on": on, "kind": kind, "prompt_contains": prompt, **options}
        self.deployed.api.post(f"{self.deployed.stack.sandbox_url}/_sandbox/faults", json=wish).raise_for_status()

    def credits(self, usd: float) -> None:
        """Set the account's balance at the provider."""
        url = f"{self.deployed.stack.sandbox_url}/_sandbox/config"
        self.deployed.api.post(url, json={"credits": usd}).raise_for_status()

    @contextlib.contextmanager
    def budget(self, usd: str, booked: float) -> Iterator[None]:
        """The stack with that DailyBudgetUsd for uploads and calls, of which ``booked`` is already used."""
        client = self.deployed.client("lambda")
        functions = [found for page in client.get_paginator("list_functions").paginate() for found in page["Functions"]]
        (submit,) = [found for found in functions if "SubmitFunction" in found["FunctionName"]]
        before = submit["Environment"]["Variables"]
        change = {"FunctionName": submit["FunctionName"]}
        client.update_function_configuration(**change, Environment={"Variables": {**before, "DAILY_BUDGET_USD": usd}})
        self._book(booked)
        try:
            yield
        finally:
            self._book(-booked)
            client.update_function_configuration(**change, Environment={"Variables": before})

    def _book(self, usd: float) -> None:
        """Book a reservation without a job, for tomorrow too, in case the test passes midnight."""
        for day in (BEGUN, BEGUN + timedelta(days=1)):
            self.deployed.client("dynamodb").update_item(
                TableName=self.deployed.output("JobTableName"),
                Key={"job_id": {"S": f"day#{day.isoformat()}"}},
                UpdateExpression="ADD reserved :usd, committed :usd",
                ExpressionAttributeValues={":usd": {"N": str(usd)}},
            )

    def submits(self, prompt: str) -> list[int | str]:
        """The provider's responses to the submits with that prompt."""
        calls = self.deployed.sandbox("calls")["calls"]
        return [c["status"] for c in calls if c["method"] == "POST" and (c["body"] or {}).get("prompt") == prompt]


@pytest.fixture
def operator(deployed: Deployed, tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(deployed, tmp_path / "outputs.json")
    yield operator
    operator.target.switch.resume()
    operator.credits(1000)


def test_a_pause_stops_only_submits(deployed: Deployed, operator: Operator) -> None:
    under_way = deployed.upload("uploads/under way.png", prompt="under way", **SMALL)
    operator.reaches(under_way, State.QUEUED, State.PROCESSING)
    assert "submits are paused" in operator.says("pause", "--reason", "the fair is over")
    assert "the reason is still: the fair is over" in operator.says("pause")
    held = {
        deployed.upload("uploads/held.png", prompt="held upload", **SMALL): "held upload",
        deployed.order(prompt="held call", parameters=SMALL): "held call",
        deployed.order(model="seedance-pro", prompt="held v1", parameters=SMALL, transport="v1"): "held v1",
    }
    for job_id in held:
        assert operator.reaches(job_id, State.HELD)["error"]["code"] == "SUBMITS_PAUSED"
        assert "the fair is over" in deployed.told(job_id, "HELD")["error"]["message"]
    deployed.completed(under_way)
    assert [operator.submits(prompt) for prompt in held.values()] == [[], [], []]
    assert "3 held jobs released" in operator.says("resume")
    for job_id, prompt in held.items():
        deployed.completed(job_id)
        assert operator.submits(prompt) == [200]


def test_without_credits_one_submit_is_refused_and_the_others_wait(deployed: Deployed, operator: Operator) -> None:
    operator.credits(0)
    first = deployed.upload("uploads/poor 1.png", prompt="poor 1", **SMALL)
    operator.reaches(first, State.HELD)
    second = deployed.upload("uploads/poor 2.png", prompt="poor 2", **SMALL)
    operator.reaches(second, State.HELD)
    assert "out of credits" in deployed.told(first, "HELD")["error"]["message"]
    assert (operator.submits("poor 1"), operator.submits("poor 2")) == ([402], [])
    operator.credits(1000)
    operator.says("resume")
    deployed.completed(first)
    deployed.completed(second)
    assert (operator.submits("poor 1"), operator.submits("poor 2")) == ([402, 200], [200])


def test_above_the_budget_a_job_is_held_and_released_when_there_is_room(deployed: Deployed, operator: Operator) -> None:
    with operator.budget("500", booked=500):
        job_id = deployed.upload("uploads/no room.png", prompt="no room", **SMALL)
        assert operator.reaches(job_id, State.HELD)["error"]["code"] == "OVER_BUDGET"
        assert "budget" in deployed.told(job_id, "HELD")["error"]["message"]
        assert operator.submits("no room") == []
        operator.reconcile()  # not before tomorrow
        assert deployed.states()[job_id] is State.HELD
    assert "1 held job released" in operator.says("release")
    deployed.completed(job_id)
    assert operator.submits("no room") == [200]


def test_a_video_above_a_whole_days_budget_is_refused(deployed: Deployed, operator: Operator) -> None:
    with operator.budget("0.10", booked=0):
        job_id = deployed.upload("uploads/too dear.png", prompt="too dear", **SMALL)
        job = operator.reaches(job_id, State.REJECTED)
    assert job["error"]["code"] == "DEARER_THAN_BUDGET"
    assert "the budget of a whole day is $0.10" in deployed.told(job_id, "REJECTED")["error"]["message"]
    assert operator.submits("too dear") == []


def test_a_person_adopts_a_request_that_the_provider_accepted(deployed: Deployed, operator: Operator) -> None:
    operator.fault("submit", "504-after-accept", "adopt me")
    job_id = deployed.order(prompt="adopt me", parameters={**SMALL, "seed": 11})
    operator.reaches(job_id, State.UNCERTAIN)
    (taken,) = [job for job in deployed.sandbox("jobs")["jobs"] if job["body"]["prompt"] == "adopt me"]
    said = operator.says("resolve", job_id, "--adopt", taken["request_id"])
    assert f"adopted request {taken['request_id']}" in said
    assert deployed.completed(job_id)["request_id"] == taken["request_id"]
    assert len(operator.submits("adopt me")) == 1
    assert "there is nothing to decide" in operator.says("resolve", job_id, "--adopt", taken["request_id"], code=1)


def test_an_uncertain_submit_is_found_in_the_history_and_adopted(deployed: Deployed, operator: Operator) -> None:
    operator.fault("submit", "504-after-accept", "uncertain upload")
    operator.fault("submit", "reset-after-accept", "uncertain call")
    jobs = [
        deployed.upload("uploads/uncertain.png", prompt="uncertain upload", **SMALL),
        deployed.order(prompt="uncertain call", parameters=SMALL),
    ]
    for job_id in jobs:
        operator.reaches(job_id, State.UNCERTAIN)
    assert "UNCERTAIN" in operator.says("ledger", code=1)
    operator.reconcile()
    for job_id in jobs:
        deployed.completed(job_id)
    assert [len(operator.submits(prompt)) for prompt in ("uncertain upload", "uncertain call")] == [1, 1]


def test_a_submit_that_never_arrived_is_left_to_a_person(deployed: Deployed, operator: Operator) -> None:
    operator.fault("submit", "reset-before-accept", "lost", times=2)
    again, given_up = (deployed.upload(f"uploads/lost {n}.png", prompt=f"lost {n}", **SMALL) for n in (1, 2))
    for job_id in (again, given_up):
        operator.reaches(job_id, State.UNCERTAIN)
        deployed.back_in_time(job_id, State.UNCERTAIN, 900)
    operator.reconcile()
    for job_id in (again, given_up):
        assert operator.reaches(job_id, State.HELD)["error"]["code"] == "SUBMIT_LOST"
        assert f"`seedance resolve {job_id}`" in deployed.told(job_id, "HELD")["error"]["message"]
    assert "has no request nonsense" in operator.says("resolve", again, "--adopt", "nonsense", code=1)
    assert "use `seedance resolve`" in operator.says("retry", again, code=1)
    assert "will be billed" in operator.says("resolve", again, "--resubmit")
    assert "FAILED" in operator.says("resolve", given_up, "--give-up")
    deployed.completed(again)
    assert deployed.told(given_up, "FAILED")["error"]["code"] == "GIVEN_UP"
    assert len(operator.submits("lost 2")) == 1


def test_a_job_whose_execution_died_gets_a_new_one(deployed: Deployed, operator: Operator) -> None:
    job_id = deployed.upload("uploads/orphan.png", model="seedance-pro", prompt="orphan", **SMALL)
    operator.reaches(job_id, State.QUEUED)
    execution = f"{deployed.output('StateMachineArn').replace(':stateMachine:', ':execution:')}:{job_id}"
    deployed.client("stepfunctions").stop_execution(executionArn=execution)
    job = operator.reaches(job_id, State.QUEUED, State.PROCESSING)
    deployed.back_in_time(job_id, State(job["state"]), 600)
    operator.reconcile()
    deployed.completed(job_id)
    story = operator.says("explain", job_id)
    assert "workflow 1  aborted" in story
    assert "workflow 2  succeeded" in story
    assert len(operator.submits("orphan")) == 1


def test_a_dead_letter_is_put_back_and_buys_nothing_twice(deployed: Deployed, operator: Operator) -> None:
    done = deployed.upload("uploads/done.png", prompt="done", **SMALL)
    deployed.completed(done)
    # Not under uploads/: no event except the one that became a dead letter.
    key = "died/dead.png"
    dead = deployed.job_of(key, deployed.put(key, SAMPLE.read_bytes(), {"prompt": "dead", **SMALL}))
    version = deployed.client("s3").head_object(Bucket=deployed.output("UploadBucketName"), Key=key)["VersionId"]
    for letter in (deployed.event(key, version), {"job_id": done}):
        deployed.client("sqs").send_message(
            QueueUrl=deployed.output("DeadLetterQueueUrl"), MessageBody=json.dumps(letter)
        )
    assert "2 messages put back" in operator.says("redrive")
    assert "0 messages put back" in operator.says("redrive")
    deployed.completed(dead)
    assert deployed.completed(done)
    assert (operator.submits("dead"), operator.submits("done")) == ([200], [200])


def test_a_failed_copy_is_retried_at_no_cost(deployed: Deployed, operator: Operator) -> None:
    operator.fault("media", "html", "no copy", times=2)
    job_id = deployed.upload("uploads/no copy.png", prompt="no copy", **SMALL)
    job = operator.reaches(job_id, State.FAILED)
    assert job["error"]["code"] == "RESULT_NOT_A_VIDEO"
    deployed.told(job_id, "FAILED")
    (mail,) = operator.says("inbox", "--about", job_id, "--kind", "mail", "--json").splitlines()
    assert re.fullmatch(r"No video: no copy \(not a video, \$0\.\d\d charged\)", json.loads(mail)["subject"])
    assert f"`seedance retry {job_id}` within seven days" in json.loads(mail)["body"]
    assert "this costs nothing" in operator.says("retry", job_id)
    deployed.completed(job_id)
    assert operator.submits("no copy") == [200]
    assert "only a FAILED or EXPIRED job" in operator.says("retry", job_id, code=1)


def test_a_new_submit_of_a_failed_job_needs_the_pay_option(deployed: Deployed, operator: Operator) -> None:
    operator.fault("job", "fail", "bad luck")
    job_id = deployed.upload("uploads/bad luck.png", prompt="bad luck", **SMALL)
    operator.reaches(job_id, State.FAILED)
    assert re.search(r"use --pay to buy the video again, for about \$0\.\d\d", operator.says("retry", job_id, code=1))
    assert operator.submits("bad luck") == [200]


def test_the_day_balances(deployed: Deployed, operator: Operator) -> None:
    until(lambda: deployed.unfinished() == [], "the end of all jobs", seen=deployed.unfinished)
    for day in _days():
        said = operator.says("ledger", "--date", day.isoformat())
        assert [line.split() for line in said.splitlines()[-3:]] == [
            ["duplicates", "0"],
            ["orphans", "0"],
            ["unreconciled", "0"],
        ]
    booked = [balance.ledger(operator.target, day) for day in _days()]
    assert sum(day.day.settled for day in booked) == pytest.approx(deployed.sandbox("summary")["billed_usd"])
    assert sum(day.charged_usd for day in booked) == pytest.approx(deployed.sandbox("summary")["billed_usd"])


def _days() -> set[date]:
    """The days of this run, which may include midnight."""
    return {BEGUN, datetime.now(UTC).date()}
