"""`seedance doctor --spend`: what is bought, when nothing is, and what the results say about the provider."""

import hashlib
import io
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import doctored
import httpx
import pytest
from doctored import Stack, job
from doctored_changes import rejected
from doctored_purchase import answers, done, ended, listed, run_of, seen_as
from doctored_purchase import good as good_purchase
from seedance.jobs import catalogue
from seedance.jobs.handoff import Batches
from seedance.jobs.job import Job, State
from seedance.media.formats import image_type
from typer.testing import CliRunner, Result

from cli.doctor import checks_money, command, evidence, facts, spending
from cli.doctor.deployment import Deployment
from cli.doctor.results import Result as Found
from cli.doctor.results import Status, failed, ok, skipped
from cli.doctor.spending import IMAGE, LONG, REFUSED, TEXT, Bought, Plan, Video
from cli.main import app
from cli.target import Target

Run = Callable[..., Result]


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Stack, Target]:
    stack, target = doctored.install(monkeypatch, tmp_path)
    stack.answers["s3.PutObject"] = lambda given: {"VersionId": f"version-of-{given['Key']}"}
    monkeypatch.setattr(command, "find", lambda *_: target)
    return stack, target


@pytest.fixture
def stack(both: tuple[Stack, Target]) -> Stack:
    return both[0]


@pytest.fixture
def of(both: tuple[Stack, Target]) -> Deployment:
    return Deployment(both[1], doctored.STACK)


@pytest.fixture
def run(both: Any) -> Run:
    return lambda *options, answer="": CliRunner().invoke(app, ["doctor", "--stack", "shop", *options], input=answer)


def bought_anything(stack: Stack) -> bool:
    return any(name == "s3.PutObject" for name, _ in stack.calls)


# what is bought -------------------------------------------------------------------------------------------------------


def test_the_first_video_is_the_cheapest_that_any_model_makes_from_an_image(of: Deployment) -> None:
    model, parameters, usd = checks_money.cheapest(of)
    assert (model, parameters["duration"], parameters["resolution"]) == ("seedance-1.5-pro", 4, "480p")
    assert 0.04 < usd < 0.05
    for slug, one in catalogue.MODELS.items():
        wish = {"prompt": "p", "resolution": "480p", "duration": 5}
        assert of.target.jobs.bills.estimate(slug, catalogue.validate(one, wish, has_image=True)) > usd


def test_the_estimate_follows_the_bills(stack: Stack, of: Deployment) -> None:
    before = spending.plan(of).usd
    stack.items["bills#seedance-1.5-pro"] = {"job_id": "bills#seedance-1.5-pro", "480p 12s 1:1 silent": [0.5]}
    assert spending.plan(Deployment(of.target, of.name)).usd == pytest.approx(before + 0.5 - 0.1382, abs=0.01)


def test_the_plan_says_what_each_video_costs(of: Deployment) -> None:
    plan = spending.plan(of)
    assert [video.name for video in plan.videos] == [IMAGE, TEXT, LONG]
    assert plan.usd < 0.40
    assert re.findall(r"about \$(\d\.\d\d)", plan.words) == [f"{video.usd:.2f}" for video in plan.videos]


def test_what_is_bought_goes_through_the_pipeline(stack: Stack, of: Deployment) -> None:
    bought = spending.begin(of, spending.plan(of), lambda _: None)
    image, broken, manifest = [given for name, given in stack.calls if name == "s3.PutObject"]
    assert (image["Key"], broken["Key"]) == ("uploads/doctor/sample.jpg", "uploads/doctor/not-an-image.jpg")
    assert image_type(image["Body"]) == "image/jpeg"
    assert image_type(broken["Body"]) is None
    assert image["Metadata"]["model"] == "seedance-1.5-pro"
    assert (image["Metadata"]["duration"], image["Metadata"]["generate_audio"]) == ("4", "false")
    assert manifest["Key"] == "batches/doctor.jsonl"
    rows = [json.loads(line) for line in manifest["Body"].splitlines()]
    assert [row["model"] for row in rows] == ["seedance-2.0-mini", "seedance-1.5-pro"]
    assert [row.get("return_last_frame") for row in rows] == [True, None]
    assert {re.sub(r"-.*", "", job_id) for job_id in bought.job_ids.values()} == {"up", "ba"}
    assert bought.batch.startswith("batch-")
    assert bought.balance_before == 12.5


# when nothing is bought -----------------------------------------------------------------------------------------------


def test_it_asks_first_and_shows_the_price(stack: Stack, run: Run) -> None:
    result = run("--spend", answer="n\n")
    assert result.exit_code == 1
    assert "Buy 3 videos for about $0.33?" in result.stderr
    assert "seedance-2.0-mini, 4 s, 480p: about $0.14" in result.stderr
    assert not bought_anything(stack)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (lambda stack: stack.items.update({"switch#submits": {"job_id": "switch#submits", "reason": "r"}}), "paused"),
        (rejected("balance", "PROVIDER_KEY_REJECTED"), "provider key: The provider rejected the API key"),
        (lambda stack: stack.examined.update(balance={"balance_usd": 0.2}), "credits: $0.20 are left"),
        (lambda stack: stack.parameters.update(DailyBudgetUsd="0.30"), "budget: $0.30 are left of today's $0.30"),
        (
            lambda stack: stack.answers.update({"lambda.ListEventSourceMappings": {"EventSourceMappings": []}}),
            "submit queue: nothing takes messages",
        ),
    ],
)
def test_nothing_is_bought_if_it_would_fail(stack: Stack, run: Run, fault: Callable[[Stack], None], says: str) -> None:
    fault(stack)
    result = run("--spend", "--yes")
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "nothing was bought: " in said and says in said
    assert not bought_anything(stack)


def test_a_fault_that_does_not_matter_for_a_purchase_does_not_prevent_it(stack: Stack, of: Deployment) -> None:
    results = {"paused": ok("x"), "alarm mail": failed("nobody"), "credits": skipped("unknown")}
    assert spending.obstacles(of, results, spending.plan(of)) == []


# until it has ended ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bought(of: Deployment) -> Bought:
    return spending.begin(of, spending.plan(of), lambda _: None)


def test_it_waits_until_all_has_ended(
    stack: Stack, of: Deployment, bought: Bought, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = iter([None, run_of("RUNNING"), *[run_of("SUCCEEDED")] * 9])
    monkeypatch.setattr(Batches, "latest", lambda *_: next(runs))
    states = iter([State.RECEIVED, State.QUEUED, State.COMPLETED])

    def sleep(_: float) -> None:
        state = next(states)
        for job_id in bought.job_ids.values():
            stack.put(job(state, job_id, notified_at=1.0 if state is State.COMPLETED else None))

    monkeypatch.setattr(time, "sleep", sleep)
    said: list[str] = []
    stack.examined["balance"] = {"balance_usd": 12.2}
    spending.follow(of, bought, said.append)
    assert bought.over
    assert (bought.balance_before, bought.balance_after) == (12.5, 12.2)
    assert "image: waiting" in said[0]
    assert "text: queued" in said[2] and "batch: succeeded" in said[2]


@pytest.mark.parametrize("state", [State.HELD, State.UNCERTAIN, State.FAILED, State.EXPIRED])
def test_a_job_that_waits_for_a_person_is_not_waited_for(bought: Bought, state: State) -> None:
    ended(bought, **{name: job(state, job_id, notified_at=1.0) for name, job_id in bought.job_ids.items()})
    assert bought.over


def test_a_job_that_has_ended_is_waited_for_until_it_was_notified(bought: Bought) -> None:
    ended(bought, **{name: job(State.COMPLETED, job_id) for name, job_id in bought.job_ids.items()})
    assert not bought.over


def test_it_does_not_wait_forever(of: Deployment, bought: Bought, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batches, "latest", lambda *_: None)
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.append(0) or now.__setitem__(0, now[0] + 60))
    spending.follow(of, bought, lambda _: None)
    assert not bought.over


def test_stopping_it_says_that_the_jobs_continue(stack: Stack, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(spending, "follow", interrupted)
    result = run("--spend", "--yes", "--json")
    assert result.exit_code == 130
    assert "the jobs continue: `seedance list`" in result.stderr
    said = json.loads(result.stdout)
    assert said["bought"]["batch"].startswith("batch-")
    assert (said["complete"], said["fine"]) == (False, False)


# results --------------------------------------------------------------------------------------------------------------


def lines(of: Deployment, bought: Bought, files: dict[str, Any]) -> dict[str, Found]:
    return {name: result for name, _, result in spending.judged(of, bought, {IMAGE: Path("image.mp4"), **files})}


@pytest.fixture
def good(of: Deployment) -> Bought:
    return good_purchase(of)


def test_a_good_purchase_passes(stack: Stack, of: Deployment, good: Bought) -> None:
    stack.answers["xray.GetTraceSummaries"] = {"TraceSummaries": [{"Id": "1-2"}]}
    found = lines(of, good, {})
    assert {result.status for result in found.values()} == {Status.OK}
    assert found["video"].said.endswith("for $0.05: image.mp4")
    assert found["booked"].said == "$0.14 for 3 videos"
    assert "people@example.com should have three mails" in found["told"].said


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("video", {IMAGE: job(State.FAILED, "up-i", code="X")}, "up-i is FAILED"),
        ("video", {IMAGE: None}, "did not appear"),
        ("batch", {TEXT: job(State.HELD, "up-t"), LONG: job(State.FAILED, "up-l")}, "text HELD, long FAILED"),
        ("batch", {LONG: None}, "text COMPLETED"),
        ("rejected", {REFUSED: done("r")}, "up-r is COMPLETED, cost $0.05"),
        ("rejected", {REFUSED: None}, "did not appear"),
        ("told", {TEXT: done("t", notified_at=None)}, "text: job up-t"),
        ("booked", {TEXT: done("t", settled_usd=0.1)}, "up-t cost $0.05 and settled $0.10"),
        ("booked", {TEXT: done("t", cost_usd=None)}, "no price for job up-t"),
    ],
)
def test_a_bad_purchase_fails_its_line(
    *, stack: Stack, of: Deployment, good: Bought, name: str, change: dict[str, Job | None], says: str
) -> None:
    stack.answers["xray.GetTraceSummaries"] = {"TraceSummaries": []}
    jobs = {**good.jobs, **change}
    good.jobs = {one: found for one, found in jobs.items() if found}
    files = {IMAGE: "it has no video"} if name == "video" else {}
    found = lines(of, good, files)
    assert (found[name].status, found["traces"].status) == (Status.FAILED, Status.FAILED)
    assert says in " ".join((found[name].said, *found[name].details))


def test_a_batch_that_did_not_end_fails(stack: Stack, of: Deployment, good: Bought) -> None:
    stack.answers["xray.GetTraceSummaries"] = {"TraceSummaries": []}
    good.run = run_of("FAILED")
    assert "is failed; text COMPLETED" in lines(of, good, {})["batch"].said


# the evidence ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(stack: Stack, good: Bought, mp4: bytes, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack that serves the videos and knows the requests."""
    digest = hashlib.sha256(mp4).hexdigest()
    for one in good.jobs.values():
        if one.video:
            one.video["sha256"] = digest
        stack.put(one)

    class Body(io.BytesIO):
        def iter_chunks(self, _: int) -> list[bytes]:
            return [self.read()]

    stack.answers["s3.GetObject"] = lambda _: {"Body": Body(mp4)}
    stack.pages["images.segmind.com"] = lambda request: httpx.Response(
        206 if "x-api-key" not in request.headers else 500
    )
    stack.history = {"rows": [listed(), listed(request_id="req-other")], "next": None}
    stack.examined["request"] = seen_as()
    invoked = stack.answers["lambda.Invoke"]

    def invoke(given: dict[str, Any]) -> Any:
        question = json.loads(given["Payload"])
        if question["ask"] != "requests of":
            return invoked(given)
        rows = {"rows": [listed(job_id=question["job_id"], request_id="req-i")], "incomplete": None}
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(rows).encode())}

    stack.answers["lambda.Invoke"] = invoke
    return stack


def test_the_evidence_is_gathered_from_the_stack_and_the_provider(
    served: Stack, of: Deployment, good: Bought, tmp_path: Path
) -> None:
    served.put(done("old", updated_at=time.time() - 4000, request_id="req-old"))
    found = evidence.gather(of, good)
    assert found.files[IMAGE] == tmp_path / "doctor" / "image.mp4"
    assert isinstance(found.files[REFUSED], str)
    assert set(found.played) == {IMAGE, TEXT, LONG}
    assert found.keyless == dict.fromkeys((IMAGE, TEXT, LONG), 206)
    assert [one["request_id"] for one in found.listed] == ["req-t"]
    assert found.old is not None
    asked = [one.get("request_id") for one in served.asked if one.get("what") == "request"]
    assert asked == ["req-i", "req-t", "req-l", "req-old"]
    assert found.troubles == []


def test_what_can_not_be_read_is_noted_and_the_rest_continues(served: Stack, of: Deployment, good: Bought) -> None:
    served.examined["request"] = {"error": "the function crashed"}
    served.history = {"error": "The history could not be reached."}
    found = evidence.gather(of, good)
    assert [trouble.partition(":")[0] for trouble in found.troubles] == [
        *(f"the request of {name}" for name in (IMAGE, TEXT, LONG)),
        "the history",
    ]
    assert answers(found)["output"].status is Status.FAILED
    assert set(found.played) == {IMAGE, TEXT, LONG}


def test_a_provider_that_does_not_answer_is_noted(served: Stack, of: Deployment, good: Bought) -> None:
    served.examined["request"] = {"trouble": {"code": "PROVIDER_UNAVAILABLE", "message": "The provider is away."}}
    assert evidence.gather(of, good).troubles == [
        f"the request of {name}: The provider is away." for name in (IMAGE, TEXT, LONG)
    ]


def test_a_result_whose_host_does_not_answer_is_no_evidence(served: Stack, of: Deployment, good: Bought) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    served.pages["images.segmind.com"] = refuse
    assert evidence.gather(of, good).keyless[IMAGE] == "no answer: refused"


def test_the_whole_command_shows_purchase_and_contract(
    served: Stack, run: Run, good: Bought, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.answers["xray.GetTraceSummaries"] = {"TraceSummaries": [{"Id": "1-2"}]}
    monkeypatch.setattr(spending, "begin", lambda *_: good)
    monkeypatch.setattr(spending, "follow", lambda *_: None)
    said = json.loads(run("--spend", "--yes", "--json").stdout)
    groups = {one["group"] for one in said["checks"]}
    assert groups == {"stack", "money", "jobs", "data", "outside", "bought", "contract"}
    assert said["bought"]["jobs"]["image"]["cost_usd"] == 0.0461
    assert [one["name"] for one in said["checks"] if one["group"] == "contract"] == [one.name for one in facts.FACTS]
    shown = run("--spend", "--yes").stdout
    assert "bought\n  ok      video" in shown and "contract\n  ok      output" in shown


def test_a_plan_is_a_sum() -> None:
    video = Video("a", "m", {"duration": 4, "resolution": "480p"}, 0.1)
    assert Plan((video, replace(video, usd=0.2))).usd == pytest.approx(0.3)
