"""`seedance batch`: the checks on this machine, the upload, and following a batch."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from seedance.jobs.job import batch_id
from seedance.jobs.prices import PRICES_OF
from typer.testing import CliRunner, Result

from cli import batch, estimate, following, main, manifests, options
from cli.following import Standing
from cli.main import app
from cli.requests import Wish
from cli.target import DEFAULT_MODEL, CommandError, Target

UPLOADS = "example-uploads"
MACHINE = "arn:aws:states:eu-central-1:123456789012:stateMachine:batch"
HEADER = "image,prompt,model,duration,sku\n"
BATCH = f"batch-{'0' * 32}"
Run = Callable[..., Result]


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Path]:
    def write(rows: str, name: str = "spring.csv", header: str = HEADER) -> Path:
        path = tmp_path / name
        path.write_text(header + rows)
        return path

    return write


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("SEEDANCE_HOME", str(tmp_path))
    for console in (options.out, options.err):
        monkeypatch.setattr(console, "_width", 500)
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    return lambda *arguments: CliRunner().invoke(app, ["batch", *map(str, arguments)])


@pytest.fixture
def target(world: Any, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A stack on AWS, which is moto."""
    made = Target({"UploadBucketName": UPLOADS, "BatchStateMachineArn": MACHINE, "JobTableName": "jobs-of-tests"})
    monkeypatch.setattr(Target, "client", lambda _, service, _patience=None: world.aws[service])
    made.__dict__["jobs"] = world.store
    made.__dict__["register"] = world.register
    made.__dict__["_settings"] = {}
    monkeypatch.setattr(batch, "find", lambda *_: made)
    return made


class Executions:
    """Step Functions' answers about one execution, in order."""

    class exceptions:  # noqa: N801 - botocore's name
        class ExecutionDoesNotExist(ClientError):
            """The exception that botocore raises."""

            def __init__(self) -> None:
                super().__init__({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def describe_execution(self, executionArn: str) -> Any:  # noqa: N803
        self.asked.append(executionArn)
        if executionArn.endswith("-2"):  # it was never started again
            raise self.exceptions.ExecutionDoesNotExist
        self.now = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if self.now is None:
            raise self.exceptions.ExecutionDoesNotExist
        ended = any(name in self.now for name in ("states", "chunks", "FAILED"))
        status = "FAILED" if "FAILED" in self.now else "SUCCEEDED" if ended else "RUNNING"
        given = json.dumps({"bucket": UPLOADS, "key": "batches/a.csv", "version_id": "v1"})
        return {"executionArn": executionArn, "status": status, "input": given, "output": json.dumps(self.now)}

    def get_execution_history(self, **_: Any) -> Any:
        if "state" not in self.now:
            return {"events": [{"type": "ExecutionStarted"}]}
        entered = {"name": self.now["state"], "input": json.dumps(self.now)}
        return {"events": [{"type": "TaskScheduled"}, {"stateEnteredEventDetails": entered}]}

    def list_map_runs(self, executionArn: str) -> Any:  # noqa: N803
        assert executionArn == self.asked[0]
        return {"mapRuns": [{"mapRunArn": "run"}] if self.now["fed"] is not None else []}

    def describe_map_run(self, mapRunArn: str) -> Any:  # noqa: N803
        assert mapRunArn == "run"
        return {"itemCounts": {"succeeded": self.now["fed"], "total": 24}}


@pytest.fixture
def follow(world: Any, target: Target, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Executions]:
    """Give the batch's execution the listed states, one per look."""

    def stand(*answers: Any) -> Executions:
        executions = Executions(*answers)
        clients = {**world.aws, "stepfunctions": executions}
        monkeypatch.setattr(Target, "client", lambda _, service, _patience=None: clients[service])
        monkeypatch.setattr(following.time, "sleep", lambda _: None)
        return executions

    return stand


def test_a_dry_run_needs_no_stack_and_shows_the_total_cost(run: Run, manifest: Any) -> None:
    said = run(manifest("a.jpg,x,,10,1\n" * 3 + ",A lake,seedance-pro,5,2\n"), "--dry-run")
    assert said.exit_code == 0, said.output
    lines = [line.split() for line in said.output.splitlines()]
    assert ["seedance-1.0-pro-fast", "3", "$1.50"] in lines
    assert ["seedance-pro", "1", "$0.35"] in lines
    assert ["Total", "4", "$1.85"] in lines
    assert f"Estimated from the prices published on {PRICES_OF}: no stack was asked" in said.output


def test_a_dry_run_says_which_values_were_reinterpreted(run: Run, manifest: Any) -> None:
    said = run(manifest("a.jpg,x,,5.0,1\n,y,,,2\n"), "--dry-run")
    assert said.exit_code == 0, said.output
    assert "1 of 2 rows has no image (row 2); columns passed through: sku." in said.output
    assert "duration: 5.0 is read as 5." in said.output


def test_a_column_of_images_is_asked_about_and_can_be_named(
    run: Run, manifest: Any, world: Any, target: Target
) -> None:
    file = manifest("https://example.com/a.jpg,x\n", header="Bild größe,prompt\n")
    said = run(file)
    assert said.exit_code == 1
    assert "Column 'Bild größe' holds image addresses. Rename it to image_url." in said.output
    assert world.called("PutObject") == []
    said = run(file, "--image-column", "Bild größe")
    assert said.exit_code == 0, said.output
    assert world.sheets.hints("batches/spring.csv", None).image_column == "Bild größe"
    assert world.aws["s3"].get_object(Bucket=UPLOADS, Key="batches/spring.csv")["Body"].read() == file.read_bytes()


def test_a_report_opens_in_excel_with_its_accents(run: Run, manifest: Any, tmp_path: Path) -> None:
    run(manifest(",x,größe,,\n"), "--dry-run", "--report", tmp_path / "bad.csv")
    assert (tmp_path / "bad.csv").read_bytes().startswith(b"\xef\xbb\xbfrow,line,")


@pytest.mark.parametrize(
    ("rows", "total", "says"),
    [
        (",x,,10,1\n" * 3, "$1.80", "Estimated for 3 videos from the stack's last bills."),
        (",x,,10,1\n" * 3 + ",x,,5,2\n", "$2.05", "for 3 videos from the stack's last bills, for the others"),
        (",x,,5,2\n", "$0.25", "the stack has no bills for these settings yet"),
    ],
)
def test_a_stack_on_hand_is_asked_for_its_bills(
    *, run: Run, manifest: Any, world: Any, target: Target, rows: str, total: str, says: str
) -> None:
    parameters = {"duration": 10, "resolution": "720p", "aspect_ratio": "16:9"}
    world.store.bills.learn("seedance-1.0-pro-fast", parameters, 0.6)
    for given in (["--dry-run"], ["--dry-run", "--stack", "mine"], []):
        said = run(manifest(rows), *given)
        assert said.exit_code == 0, said.output
        assert total in said.output
        assert says in said.output


def test_a_dry_run_against_a_named_stack_needs_that_stack(run: Run, manifest: Any, tmp_path: Path) -> None:
    said = run(manifest(",x,,,\n"), "--dry-run", "--outputs", tmp_path / "none.json")
    assert (said.exit_code, "no local stack is running" in said.output) == (1, True)


@pytest.mark.parametrize(("model", "cost"), [("seedance-2.0-fast", "$0.76"), ("seedance-pro", "$0.35")])
def test_rows_without_a_model_use_the_stacks_default_model(run: Run, manifest: Any, model: str, cost: str) -> None:
    assert cost in run(manifest(",x,,,\n"), "--dry-run", "--default-model", model).output


def test_bad_rows_are_shown_and_all_are_in_the_report(run: Run, manifest: Any, tmp_path: Path) -> None:
    rows = ",x,,,\n" * 200 + ",x,,7,=S\n" * 30
    said = run(manifest(rows), "--dry-run", "--report", tmp_path / "bad.csv")
    assert said.exit_code == 0, said.output
    assert "First 20 of 30 invalid rows (--report: all)" in said.output
    assert said.output.count("must be 5 or 10, not 7") == 20
    with (tmp_path / "bad.csv").open(newline="", encoding="utf-8-sig") as file:
        report = list(csv.DictReader(file))
    assert [row["row"] for row in report] == [str(number) for number in range(201, 231)]
    assert report[0] == {"row": "201", "line": "202", "field": "duration", "error": "must be 5 or 10, not 7"}


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        (",x,,,\n" * 3 + ",x,,7,\n", [], "1 of 4 rows are invalid (25.0%); at most 20% are tolerated"),
        (",x,,,\n" * 19 + ",x,,7,\n", ["--tolerate", "0"], "at most 0% are tolerated"),
        (",x,,7,\n", [], "No row is valid"),
        ("", [], "manifest: has no rows"),
        (",x,,,\n", ["--default-model", "sora"], "'sora' does not exist"),
    ],
)
def test_a_manifest_that_the_stack_would_refuse_is_not_sent(
    *, run: Run, manifest: Any, world: Any, target: Target, rows: str, options: list[str], says: str
) -> None:
    said = run(manifest(rows), *options)
    assert said.exit_code == 1
    assert says in said.output
    assert world.called("PutObject") == []


@pytest.mark.parametrize("name", ["spring.txt", "spring.xlsx", "spring.results.csv", "a.rejected.csv"])
def test_a_file_without_a_manifests_suffix_is_not_read(run: Run, manifest: Any, name: str) -> None:
    said = run(manifest(",x,,,\n", name), "--dry-run")
    assert said.exit_code == 1
    assert "must end in .csv or .jsonl" in said.output


def test_an_unreadable_file_is_in_the_report_too(run: Run, manifest: Any, tmp_path: Path) -> None:
    said = run(manifest(',x,,7,\n"open,x,,,\n'), "--dry-run", "--report", tmp_path / "bad.csv")
    assert said.exit_code == 1
    assert "line 3: opens a quote that is not closed" in said.output
    assert (tmp_path / "bad.csv").read_text().splitlines()[1:] == [
        '1,2,duration,"must be 5 or 10, not 7"',
        ",,line 3,opens a quote that is not closed",
    ]


def test_a_missing_file_is_reported_in_one_sentence(run: Run, tmp_path: Path) -> None:
    said = run(tmp_path / "none.csv", "--dry-run")
    assert (said.exit_code, "none.csv" in said.output) == (1, True)


def test_a_manifest_is_sent_unchanged_and_the_results_are_named(
    run: Run, manifest: Any, world: Any, target: Target
) -> None:
    file = manifest(",x,,,\n")
    said = run(file)
    assert said.exit_code == 0, said.output
    stored = world.aws["s3"].get_object(Bucket=UPLOADS, Key="batches/spring.csv")
    assert stored["Body"].read() == file.read_bytes()
    name = batch_id(UPLOADS, "batches/spring.csv", stored["VersionId"])
    assert f"batch {name}" in said.output
    assert f"s3://{UPLOADS}/batches/spring-{name[6:14]}.results.csv" in said.output


def test_an_unversioned_bucket_gives_no_batch_id(world: Any, target: Target, manifest: Any) -> None:
    target.outputs["UploadBucketName"] = "example-videos"
    with pytest.raises(CommandError, match="is not versioned"):
        manifests.send(target, manifests.open_source(str(manifest(",x,,,\n")), Wish()))


UNAPPROVED = {
    **{"batch_id": "batch-1", "status": "UNAPPROVED", "rows": 3, "rejected": 1, "estimate_usd": 0.5},
    **{"plan_key": "plans/batch-1.jsonl", "chunks": [[0, 9, 1, 3]], "report_key": "batches/a.csv", "notes": []},
}
ENDED = {"status": "BATCH_DONE", "rows": 2, "states": {"COMPLETED": 2}, "cost_usd": 0.5}


def test_a_batch_is_followed_to_its_end(
    target: Target, follow: Any, capsys: pytest.CaptureFixture[str], run: Run
) -> None:
    executions = follow(
        None,
        {},
        {"state": "Plan"},
        {"state": "TakeIn", "over": 0, "rows": 2_345, "fed": None},
        {"state": "TakeIn", "over": 0, "rows": 2_345, "fed": 12},
        {"state": "TakeIn", "over": 0, "rows": 2_345, "fed": 24},
        {"state": "Wait", "over": 1, "rows": 2},
        {"state": "Collect", "over": 1, "rows": 2},
        {"state": "Done"},
        ENDED,
    )
    assert following.follow(target, "batch-1").ended == ENDED
    assert executions.asked[0] == f"{MACHINE.replace('stateMachine', 'execution')}:batch-1"
    said = [line.split("  ")[-1] for line in capsys.readouterr().out.splitlines()]
    before = ["waiting in the queue", "checking the rows"]
    fed = [f"about {rows} of 2,345 rows are in the queue" for rows in ("0", "1,200", "2,345")]
    assert said == [*before, *fed, "1 of 2 rows are finished", "finishing"]


def test_a_batch_that_does_not_start_is_not_waited_for(
    target: Target, follow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(None)
    clock = iter(range(0, 1000, 25))
    monkeypatch.setattr(following, "time", SimpleNamespace(time=lambda: next(clock), sleep=lambda _: None))
    with pytest.raises(CommandError, match="batch batch-1 did not begin within 60 s"):
        following.follow(target, "batch-1")


def test_a_batch_that_crashed_says_where_to_look(target: Target, follow: Any) -> None:
    follow({"FAILED": True})
    with pytest.raises(CommandError, match="its execution in Step Functions shows why"):
        following.follow(target, "batch-1")


@pytest.mark.parametrize(
    ("ended", "says"),
    [
        ({"status": "REFUSED"}, "the stack refused the manifest; nothing was bought"),
        (UNAPPROVED, r"planned: 2 videos, about \$0\.50; nothing was bought\. .*POST /batches/batch-1/approve"),
        ({**ENDED, "states": {"COMPLETED": 1, "FAILED": 1}}, "1 of 2 rows have no video"),
        ({**ENDED, "status": "BATCH_OPEN", "states": {"COMPLETED": 1, "HELD": 1}}, "1 of 2 rows have no video"),
    ],
)
def test_any_missing_video_means_failure(target: Target, ended: dict[str, Any], says: str) -> None:
    now = Standing("SUCCEEDED", following.in_words(ended), ended, given={"bucket": UPLOADS, "key": "batches/a.csv"})
    with pytest.raises(CommandError, match=says):
        following.tell(target, "batch-1", now)


def test_a_batch_that_waits_for_its_approval_says_so(
    target: Target, follow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_name = f"batch-{'0' * 32}"
    follow(*[{**UNAPPROVED, "batch_id": batch_name}] * 2)
    monkeypatch.setattr(main, "find", lambda *_: target)
    status = CliRunner().invoke(app, ["status", batch_name])
    assert (status.exit_code, "nothing was bought" in " ".join(status.output.split())) == (0, True)
    told = json.loads(CliRunner().invoke(app, ["status", batch_name, "--json"]).stdout)
    assert (told["status"], told["rows"], told["rejected"], told["estimate_usd"]) == ("UNAPPROVED", 3, 1, 0.5)
    assert "plan_key" not in told


def test_every_video_is_a_success(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    following.tell(target, "batch-1", Standing("SUCCEEDED", following.in_words(ENDED), ENDED))
    assert "BATCH_DONE: 2 COMPLETED; cost $0.50" in capsys.readouterr().out


REPORT = "\ufeffrow,line,field,error\n" + "".join(
    f'{n},{n + 1},duration,"must be 5 or 10, not 7"\n' for n in range(1, 31)
)


def test_a_refused_batch_prints_its_invalid_rows(
    *, run: Run, manifest: Any, world: Any, target: Target, follow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow({"status": "REFUSED", "states": {}})
    batch_name = f"batch-{'0' * 32}"
    monkeypatch.setattr(manifests, "batch_id", lambda *_: batch_name)
    key = "batches/a-00000000.rejected.csv"
    world.aws["s3"].put_object(Bucket=UPLOADS, Key=key, Body=REPORT.encode())
    said = run(manifest(",x,,,\n"), "--wait")
    assert said.exit_code == 1
    assert said.output.count("must be 5 or 10, not 7") == 20
    assert f"all invalid rows: s3://{UPLOADS}/{key}" in said.output
    assert "the stack refused the manifest" in said.output
    monkeypatch.setattr(main, "find", lambda *_: target)
    status = CliRunner().invoke(app, ["status", batch_name])
    assert status.output.count("must be 5 or 10, not 7") == 20
    told = json.loads(CliRunner().invoke(app, ["status", batch_name, "--json"]).output)
    assert told["invalid_rows"][0] == {"row": "1", "line": "2", "field": "duration", "error": "must be 5 or 10, not 7"}


def test_a_refused_batch_without_a_report_still_says_why(target: Target, follow: Any) -> None:
    follow({"status": "REFUSED", "states": {}})
    with pytest.raises(CommandError, match="refused the manifest"):
        following.tell(target, "batch-1", following.follow(target, "batch-1"))


def test_the_assumed_settings_are_the_templates_defaults(template: dict[str, Any]) -> None:
    parameters = template["Parameters"]
    assert parameters["BatchToleratedFailurePercent"]["Default"] == estimate.TOLERATED_PERCENT
    assert parameters["DefaultModel"]["Default"] == DEFAULT_MODEL


@pytest.mark.parametrize(
    ("settings", "rows", "says"),
    [
        ({"BatchToleratedFailurePercent": "0"}, ",x,,,\n" * 19 + ",x,,7,\n", "at most 0% are tolerated"),
        ({"DefaultModel": "seedance-2.0-fast"}, ",x,,7,\n" + ",x,,4,\n" * 9, "batch batch-"),
        ({"DefaultModel": "seedance-pro"}, ",x,,4,\n", "must be 5 or 10, not 4"),
    ],
)
def test_the_stacks_own_settings_are_used(
    *, run: Run, manifest: Any, target: Target, settings: dict[str, str], rows: str, says: str
) -> None:
    target.__dict__["_settings"] = settings
    assert says in run(manifest(rows)).output


@pytest.mark.parametrize(
    ("execution", "says"),
    [
        ({"state": "Wait", "over": 1, "rows": 2}, "1 of 2 rows are finished"),
        ({**ENDED, "results_key": "batches/a.results.csv"}, f"s3://{UPLOADS}/batches/a.results.csv"),
        ({"status": "REFUSED", "states": {}, "report_key": "batches/a.rejected.csv"}, "the stack refused the manifest"),
        ({"FAILED": True}, f"its execution in Step Functions shows why; `seedance redrive {BATCH}` starts it again"),
    ],
)
def test_the_status_of_a_batch_is_the_status_of_its_execution(
    *, run: Run, target: Target, follow: Any, monkeypatch: pytest.MonkeyPatch, execution: dict[str, Any], says: str
) -> None:
    follow(execution)
    monkeypatch.setattr(main, "find", lambda *_: target)
    said = CliRunner().invoke(app, ["status", BATCH])
    assert (said.exit_code, says in said.output) == (0, True)
    as_json = json.loads(CliRunner().invoke(app, ["status", BATCH, "--json"]).output)
    assert as_json["batch_id"] == BATCH


def test_an_unknown_batch_has_no_status(run: Run, target: Target, follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(None)
    monkeypatch.setattr(main, "find", lambda *_: target)
    said = CliRunner().invoke(app, ["status", BATCH])
    assert (said.exit_code, f"batch {BATCH} does not exist" in said.output) == (1, True)
