"""`seedance doctor --spend`: buys three short videos through the stack, as a user would, and checks the results.

Everything goes through the pipeline, so that each purchase is a job like any other: recorded before it is sent, within
the budget, and followed to its end even if this command is stopped.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seedance.jobs import catalogue
from seedance.jobs.handoff import Batches, BatchRun
from seedance.jobs.job import Job, ParameterValues, State, batch_id, batch_job_id, upload_job_id
from seedance.jobs.requests import BATCH_PREFIX, UPLOAD_PREFIX

from cli import show
from cli.demo import SAMPLE
from cli.doctor.checks_money import cheapest
from cli.doctor.deployment import Deployment
from cli.doctor.results import Result, Status, failed, found, ok
from cli.requests import Wish

REMEDY = "`seedance explain JOB` shows what happened; docs/operations.md says what to do."

IMAGE, TEXT, LONG, REFUSED = "image", "text", "long", "not an image"
"""The jobs: a video from an image, one from text with its last frame, a longer one, and a file that is no image."""

_PROMPT = "Slow push-in on the bottle while soft light moves across the glass."
_TEXT_PROMPT = "A plain red paper boat on calm blue water, seen from above. Nothing else is in the picture."
_FOLDER = "doctor"
_PATIENCE_SECONDS = 1800.0
"""In the provider's time: a video takes at most a few minutes, a batch checks its jobs every few minutes."""

_MORE_SECONDS = 120.0
_WAITING = (State.HELD, State.UNCERTAIN)
"""For a person, or for reconcile, which may take longer than anybody watches."""

_NEEDED = ("deployed", "provider key", "credits", "paused", "uploads", "submit queue")


@dataclass(frozen=True)
class Video:
    """A video to buy. ``parameters`` as they are asked for."""

    name: str
    model: str
    parameters: ParameterValues
    usd: float


@dataclass(frozen=True)
class Plan:
    """What would be bought."""

    videos: tuple[Video, ...]

    @property
    def usd(self) -> float:
        """The estimate for all of it."""
        return sum(video.usd for video in self.videos)

    @property
    def words(self) -> str:
        """It as text, one line a video."""
        lines = [
            f"  {video.name:<6} {video.model}, {video.parameters['duration']} s, {video.parameters['resolution']}: "
            f"about {show.money(video.usd)}"
            for video in self.videos
        ]
        return "\n".join(["The doctor would buy:", *lines, "and upload a file that is not an image, which is free."])


@dataclass
class Bought:
    """The results. ``jobs`` and ``requests`` by the name of the video."""

    plan: Plan
    job_ids: dict[str, str]
    batch: str
    balance_before: float | None = None
    balance_after: float | None = None
    run: BatchRun | None = None
    """The batch's execution."""
    jobs: dict[str, Job] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether every job has ended and was notified, or waits for a person, and the batch has ended."""
        stopped = [
            job for job in self.jobs.values() if (job.state.terminal and job.notified_at) or job.state in _WAITING
        ]
        return len(stopped) == len(self.job_ids) and self.batch_status not in ("not started", "RUNNING")

    @property
    def batch_status(self) -> str:
        """The status of the batch's execution."""
        return self.run.status if self.run else "not started"

    def as_json(self) -> dict[str, Any]:
        """It for the report."""
        return {
            "batch": self.batch,
            "batch_status": self.batch_status,
            "balance_before": self.balance_before,
            "balance_after": self.balance_after,
            "estimates_usd": {video.name: video.usd for video in self.plan.videos},
            "jobs": {
                name: {
                    "job_id": job.job_id,
                    "state": str(job.state),
                    "code": job.code,
                    "cost_usd": job.cost_usd,
                    "timings": job.timings(),
                }
                for name, job in self.jobs.items()
            },
        }


def plan(of: Deployment) -> Plan:
    """The three videos, and their estimates by the stack's bills.

    They are the cheapest that answer the most questions about the provider: one from an image, one from text alone
    that returns its last frame, and one of 12 s, which not all of its pages allow.
    """
    model, parameters, _ = cheapest(of)
    wishes: tuple[tuple[str, str, Mapping[str, object], bool], ...] = (
        (IMAGE, model, {**parameters, "prompt": _PROMPT}, True),
        (TEXT, "seedance-2.0-mini", {**_small(4), "return_last_frame": True}, False),
        (LONG, "seedance-1.5-pro", _small(12), False),
    )
    videos = []
    for name, slug, wish, has_image in wishes:
        checked = catalogue.validate(catalogue.find(slug), wish, has_image=has_image)
        videos.append(Video(name, slug, dict(wish), of.target.jobs.bills.estimate(slug, checked)))
    return Plan(tuple(videos))


def _small(seconds: int) -> dict[str, object]:
    """A small, silent video from text."""
    return {
        "prompt": _TEXT_PROMPT,
        "duration": seconds,
        "resolution": "480p",
        "aspect_ratio": "1:1",
        "generate_audio": False,
    }


def obstacles(of: Deployment, results: Mapping[str, Result], wish: Plan) -> list[str]:
    """Why the purchase would fail: checks that failed, too few credits, too little left of the budget."""
    wrong = [
        f"{name}: {results[name].said}"
        for name in _NEEDED
        if name in results and results[name].status not in (Status.OK, Status.SKIPPED)
    ]
    if wrong:
        return wrong
    credits_left = of.examine("balance").get("balance_usd")
    if credits_left is not None and credits_left < wish.usd:
        wrong.append(f"credits: ${credits_left:.2f} are left, and it costs about ${wish.usd:.2f}")
    limit = float(of.parameters.get("DailyBudgetUsd") or 0)
    room = limit - of.target.jobs.day(time.strftime("%Y-%m-%d", time.gmtime())).committed
    if limit and room < wish.usd:
        left = f"${max(0.0, room):.2f} are left of today's ${limit:.2f}"
        wrong.append(f"budget: {left}, and it costs about ${wish.usd:.2f}")
    return wrong


def begin(of: Deployment, wish: Plan, say: Callable[[str], None]) -> Bought:
    """Buy it: upload an image, a manifest, and a file that is not an image."""
    say("uploading")
    by_name = {video.name: video for video in wish.videos}
    before = _balance(of)
    image = by_name[IMAGE]
    parameters = {name: _text(value) for name, value in image.parameters.items() if name != "prompt"}
    asked = Wish(str(image.parameters["prompt"]), image.model, None, parameters)
    name, bucket = f"{_FOLDER}/sample.jpg", of.target.output("UploadBucketName")
    version = _put(of, UPLOAD_PREFIX + name, SAMPLE.read_bytes(), "image/jpeg", asked.metadata())
    ids = {IMAGE: upload_job_id(bucket, UPLOAD_PREFIX + name, version)}
    name = f"{_FOLDER}/not-an-image.jpg"
    version = _put(of, UPLOAD_PREFIX + name, b"This is not an image.", "image/jpeg", {})
    ids[REFUSED] = upload_job_id(bucket, UPLOAD_PREFIX + name, version)
    rows = [{"model": by_name[one].model, **by_name[one].parameters} for one in (TEXT, LONG)]
    name = f"{_FOLDER}.jsonl"
    version = _put(of, BATCH_PREFIX + name, "\n".join(map(json.dumps, rows)).encode(), "application/x-ndjson", {})
    batch = batch_id(bucket, BATCH_PREFIX + name, version)
    ids |= {one: batch_job_id(batch, number) for number, one in enumerate((TEXT, LONG), start=1)}
    return Bought(wish, ids, batch, balance_before=before)


def _put(of: Deployment, key: str, body: bytes, kind: str, metadata: dict[str, str]) -> str:
    """Put an object into the upload bucket, and return its version."""
    said = of.client("s3").put_object(
        Bucket=of.target.output("UploadBucketName"), Key=key, Body=body, ContentType=kind, Metadata=metadata
    )
    return str(said["VersionId"])


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _balance(of: Deployment) -> float | None:
    # Not ``of.examine``, which remembers the first answer.
    usd: float | None = of.ask(ask="examine", what="balance")["examined"].get("balance_usd")
    return usd


def follow(of: Deployment, bought: Bought, say: Callable[[str], None]) -> None:
    """Wait until all has ended, or half an hour has passed. Stopping this stops no job."""
    began = time.time()
    batches = Batches(of.target.output("BatchStateMachineArn"), of.client("stepfunctions"))
    until = began + _PATIENCE_SECONDS * of.target.time_scale + _MORE_SECONDS
    while True:
        found_now = {name: of.target.jobs.get(job_id) for name, job_id in bought.job_ids.items()}
        bought.jobs = {name: job for name, job in found_now.items() if job}
        bought.run = batches.latest(bought.batch)
        if bought.over or time.time() > until:
            bought.balance_after = _balance(of)
            return
        known = {name: bought.jobs[name].state.lower() if name in bought.jobs else "waiting" for name in bought.job_ids}
        states = ", ".join(f"{name}: {state}" for name, state in known.items())
        say(f"{show.duration(time.time() - began)}; {states}; batch: {bought.batch_status.lower()}")
        time.sleep(of.target.poll_seconds)


# results --------------------------------------------------------------------------------------------------------------

Judged = tuple[str, str, Result]
"""A line's name, what it is about, and its result."""


def judged(of: Deployment, bought: Bought, watched: Mapping[str, Path | str]) -> Iterator[Judged]:
    """The lines about the purchase. ``watched``: each video's file, or why it can't be had."""
    yield "video", "A video from an image, from the bucket to a file on this machine.", _video(bought, watched)
    yield "batch", "A batch of two rows, from its manifest to its summary.", _batch(bought)
    yield "rejected", "A file that is not an image is rejected, with a reason and without a charge.", _rejected(bought)
    yield "told", "Each of the four jobs was notified.", _told(of, bought)
    yield "booked", "Each job's price is known, and settled in the day's budget.", _booked(bought)
    if not of.emulated:
        yield "traces", "X-Ray has a trace of the submit function.", _traces(of)


def _video(bought: Bought, watched: Mapping[str, Path | str]) -> Result:
    job, file = bought.jobs.get(IMAGE), watched[IMAGE]
    if job is None:
        return failed(f"job {bought.job_ids[IMAGE]} did not appear", remedy="See the line uploads.")
    if isinstance(file, str):
        return failed(f"job {job.job_id} is {job.state}: {file}")
    seconds = job.timings().get("total_seconds", 0.0)
    return ok(f"made in {show.duration(seconds)} for {show.money(job.cost_usd)}: {file}")


def _batch(bought: Bought) -> Result:
    rows = {name: bought.jobs[name].state for name in (TEXT, LONG) if name in bought.jobs}
    said = ", ".join(f"{name} {state}" for name, state in rows.items()) or "no row became a job"
    if bought.batch_status != "SUCCEEDED":
        return failed(f"batch {bought.batch} is {bought.batch_status.lower()}; {said}")
    # A row that the provider refused is about its contract: see the facts.
    made = [state for state in rows.values() if state is State.COMPLETED]
    return ok(f"{said}") if made and len(rows) == 2 else failed(f"batch {bought.batch}: {said}")


def _rejected(bought: Bought) -> Result:
    job = bought.jobs.get(REFUSED)
    if job is None:
        return failed(f"job {bought.job_ids[REFUSED]} did not appear")
    if job.state is not State.REJECTED or job.cost_usd or job.request_id:
        return failed(f"job {job.job_id} is {job.state}, cost {show.money(job.cost_usd)}")
    return ok(str(job.error and job.error["message"]))


def _told(of: Deployment, bought: Bought) -> Result:
    silent = [f"{name}: job {job.job_id}" for name, job in bought.jobs.items() if not job.notified_at]
    mail = of.parameters.get("NotificationEmail")
    look_for = f"; {mail} should have three mails: a video, a rejected upload, a batch" if mail else ""
    return found(silent, f"{show.number(len(bought.jobs), 'notification')} sent{look_for}")


def _booked(bought: Bought) -> Result:
    wrong = []
    made = [job for job in bought.jobs.values() if job.state is State.COMPLETED]
    for job in made:
        if job.cost_usd is None:
            wrong.append(f"the provider gave no price for job {job.job_id}")
        elif job.settled_usd != job.cost_usd:
            wrong.append(f"job {job.job_id} cost {show.money(job.cost_usd)} and settled {show.money(job.settled_usd)}")
    total = sum(job.cost_usd or 0.0 for job in made)
    return found(wrong, f"{show.money(total)} for {show.number(len(made), 'video')}")


def _traces(of: Deployment) -> Result:
    function, now = of.physical("SubmitFunction"), time.time()
    said = of.client("xray").get_trace_summaries(
        StartTime=now - 3600, EndTime=now, FilterExpression=f'service("{function}")'
    )
    traces: Sequence[object] = said["TraceSummaries"]
    if not traces:
        return failed(
            "X-Ray has no trace of the last hour yet", remedy="Look again in a few minutes, in X-Ray's console."
        )
    return ok(show.number(len(traces), "trace"))
