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
from seedance.jobs import catalogue
from seedance.jobs.handoff import Batches, BatchRun
from seedance.jobs.job import Job, State
from seedance.media.formats import image_type
from typer.testing import CliRunner, Result

from cli.demo import Played
from cli.doctor import checks_money, command, evidence, facts, spending
from cli.doctor.deployment import Deployment
from cli.doctor.evidence import Evidence
from cli.doctor.results import Result as Found
from cli.doctor.results import Status, failed, ok, skipped
from cli.doctor.spending import IMAGE, LONG, REFUSED, TEXT, Bought, Plan, Video
from cli.main import app
from cli.target import Target

Run = Callable[..., Result]
RESULT = "https://images.segmind.com/v.mp4"
LINK = "link to images.segmind.com"


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
        (lambda stack: stack.examined.update(balance={"code": "PROVIDER_KEY_REJECTED", "message": "bad"}), "key: bad"),
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


def run_of(status: str) -> BatchRun:
    return BatchRun(0, "arn", status, {}, None)


def ended(bought: Bought, **jobs: Job) -> Bought:
    """The purchase, with these jobs by name, and an ended batch."""
    bought.jobs = dict(jobs)
    bought.run = run_of("SUCCEEDED")
    return bought


def done(name: str, **changes: Any) -> Job:
    facts = {"cost_usd": 0.0461, "settled_usd": 0.0461, "request_id": f"req-{name}", "notified_at": 1.0}
    video = {"bucket": doctored.VIDEOS, "key": f"videos/{name}.mp4", "bytes": 3, "sha256": "0"}
    return job(State.COMPLETED, f"up-{name}", result_url=RESULT, **{"video": video, **facts, **changes})


def refused(**changes: Any) -> Job:
    return job(State.REJECTED, "up-r", code="INVALID_REQUEST", **{"notified_at": 1.0, **changes})


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


def test_it_does_not_wait_for_ever(of: Deployment, bought: Bought, monkeypatch: pytest.MonkeyPatch) -> None:
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


# what came of it ------------------------------------------------------------------------------------------------------


def lines(of: Deployment, bought: Bought, files: dict[str, Any]) -> dict[str, Found]:
    return {name: result for name, _, result in spending.judged(of, bought, {IMAGE: Path("image.mp4"), **files})}


@pytest.fixture
def good(bought: Bought) -> Bought:
    return ended(bought, **{IMAGE: done("i"), TEXT: done("t"), LONG: done("l"), REFUSED: refused()})


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


# the provider's contract ----------------------------------------------------------------------------------------------


def seen_as(**changes: Any) -> Any:
    shape = {"status": "COMPLETED", "output": LINK, "video": {"url": LINK}, "last_frame_url": LINK, **changes}
    row = {"request_id": "text", "request_body": "JSON text", "credits_deduction": 0.0461}
    return {"record": {"status": 200, "shape": shape}, "row": {"status": 200, "shape": row}}


def listed(usd: float | None = 0.0461, job_id: str | None = None, request_id: str = "req-t") -> Any:
    return {"request_id": request_id, "cost_usd": usd, "job_id": job_id, "status": "COMPLETED"}


@pytest.fixture
def found(good: Bought) -> Evidence:
    """Evidence of a provider that is as documented."""
    good.balance_before, good.balance_after = 12.0, 12.0 - 3 * 0.0461
    good.jobs[LONG] = done(
        "l", parameters={**done("l").parameters, "duration": 12}, cost_usd=0.1382, settled_usd=0.1382
    )
    good.balance_after = 12.0 - 2 * 0.0461 - 0.1382
    good.jobs[TEXT] = done("t")
    names = (IMAGE, TEXT, LONG)
    return Evidence(
        good,
        files={name: Path(f"{name}.mp4") for name in names},
        played={name: Played(640, 640, 96, 12.0 if name == LONG else 4.0, "h264") for name in names},
        seen={name: seen_as() for name in names},
        rows={IMAGE: [listed(job_id="up-i", request_id="req-i")]},
        listed=[listed(), listed()],
        keyless=dict.fromkeys(names, 206),
        old={"record": {"status": 404, "shape": None}, "row": {"status": 200, "shape": {}}},
    )


def answers(found: Evidence) -> dict[str, Found]:
    return {name: result for name, _, result in facts.answered(found)}


UNANSWERED = {
    *("failure", "late checks", "no credits", "rate limit", "v1 cut", "data links", "faces", "references"),
}
"""What a provider that makes everything can't answer."""


def test_a_provider_as_documented_confirms_every_fact_that_can_be_asked_for(found: Evidence) -> None:
    said = answers(found)
    assert {name for name, one in said.items() if one.status is Status.SKIPPED} == UNANSWERED
    assert {name: one for name, one in said.items() if one.status is Status.FAILED} == {}
    assert all(said[name].said.startswith("not answered: ") for name in UNANSWERED)


def failing(code: str, request_id: str | None) -> Job:
    return job(State.FAILED, "up-l", code=code, request_id=request_id)


def shapes(**changes: Any) -> Callable[[Evidence], None]:
    return lambda found: found.seen.update(dict.fromkeys((IMAGE, TEXT, LONG), seen_as(**changes)))


def row(**changes: Any) -> Callable[[Evidence], None]:
    def change(found: Evidence) -> None:
        for one in found.seen.values():
            one["row"] = {"status": 200, "shape": {**one["row"]["shape"], **changes}}

    return change


def no_rows(found: Evidence) -> None:
    for one in found.seen.values():
        one["row"] = {"status": 404, "shape": {"error": "text"}}


def jobs(**changes: Job) -> Callable[[Evidence], None]:
    def change(found: Evidence) -> None:
        found.bought.jobs.update(changes)
        for name in changes:
            found.played.pop(name, None)

    return change


def billed_failure(found: Evidence) -> None:
    found.bought.jobs[LONG] = failing("PROVIDER_JOB_FAILED", "req-l")


DEVIATIONS: list[tuple[str, Callable[[Evidence], None], str]] = [
    ("output", shapes(output=[LINK]), "output is a list"),
    ("output", shapes(output="text"), "output is text"),
    ("video field", shapes(video=LINK), "video is link to images.segmind.com"),
    ("last frame", shapes(last_frame_url=None, last_frame_image=LINK), "it is last_frame_image"),
    ("last frame", shapes(last_frame_url=None), "no field"),
    ("row by id", no_rows, "is not found"),
    ("rows", lambda found: found.listed.pop(), "has 1 row"),
    ("rows", lambda found: found.listed.append(listed(0.0)), "the request cost $0.05"),
    ("request body", row(request_body=None), "missing"),
    ("request body", row(request_body="text"), "text"),
    ("recognised", lambda found: found.rows.update({IMAGE: [listed(request_id="req-i")]}), "names no job"),
    ("price", jobs(**{IMAGE: done("i", cost_usd=0.0922)}), "+100% to the published $0.05"),
    ("balance", lambda found: setattr(found.bought, "balance_after", 11.0), "the balance fell by $1.00"),
    ("failure", billed_failure, "long was billed"),
    ("12 seconds", lambda found: found.played.update({LONG: Played(640, 640, 1, 10.0, "h264")}), "it has 10.0 s"),
    ("12 seconds", jobs(**{LONG: failing("PROVIDER_REFUSED", None)}), "refused: m"),
    ("size", lambda found: found.played.update({TEXT: Played(320, 320, 1, 4.0, "h264")}), "text 320 x 320"),
    ("no image", jobs(**{TEXT: failing("PROVIDER_REFUSED", "req-t")}), "refused: m"),
    ("keyless file", lambda found: found.keyless.update({TEXT: 403}), "text: 403"),
    ("one hour", lambda found: setattr(found, "old", seen_as()), "200 after more than an hour"),
]


@pytest.mark.parametrize(
    ("name", "deviation", "says"), DEVIATIONS, ids=[f"{name}-{n}" for n, (name, _, _) in enumerate(DEVIATIONS)]
)
def test_a_provider_that_deviates_fails_the_facts_line(
    found: Evidence, name: str, deviation: Callable[[Evidence], None], says: str
) -> None:
    deviation(found)
    result = answers(found)[name]
    assert result.status is Status.FAILED, result
    assert says in " ".join((result.said, *result.details))


@pytest.mark.parametrize(("request_id", "says"), [("req-l", "after it was queued"), (None, "at the submit")])
def test_a_refused_parameter_tells_when_it_was_refused(found: Evidence, request_id: str | None, says: str) -> None:
    found.bought.jobs[LONG] = failing("PROVIDER_REFUSED", request_id)
    assert answers(found)["late checks"] == ok(says)


def test_both_readings_of_a_size_are_told_apart(found: Evidence) -> None:
    assert answers(found)["size"].said.startswith("as ByteDance documents: image 640 x 640")
    found.played = {name: Played(480, 480, 1, 4.0, "h264") for name in found.played}
    assert answers(found)["size"].said.startswith("480 on each side: image 480 x 480")


def test_every_fact_that_can_be_answered_has_a_deviation() -> None:
    names = {fact.name for fact in facts.FACTS}
    assert {name for name, _, _ in DEVIATIONS} == names - UNANSWERED | {"failure"}


def test_without_a_video_no_fact_is_judged(good: Bought) -> None:
    good.jobs = {name: failing("PROVIDER_JOB_FAILED", None) for name in (IMAGE, TEXT)}
    good.balance_before = None
    said = answers(Evidence(good, files=dict.fromkeys((IMAGE, TEXT, LONG), "no video")))
    judged = {name for name, one in said.items() if one.status is not Status.SKIPPED}
    assert judged == {"no image"}  # refused, which is an answer


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


def test_what_can_not_be_read_is_noted_and_the_rest_goes_on(served: Stack, of: Deployment, good: Bought) -> None:
    served.examined["request"] = {"error": "the function crashed"}
    served.history = {"error": "The history could not be reached."}
    found = evidence.gather(of, good)
    assert [trouble.partition(":")[0] for trouble in found.troubles] == [
        *(f"the request of {name}" for name in (IMAGE, TEXT, LONG)),
        "the history",
    ]
    assert answers(found)["output"].status is Status.FAILED
    assert set(found.played) == {IMAGE, TEXT, LONG}


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
