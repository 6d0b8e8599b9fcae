"""A purchase of `seedance doctor --spend`, as it came out."""

from typing import Any

import doctored
from doctored import job
from seedance.jobs.handoff import BatchRun
from seedance.jobs.job import Job, State

from cli.doctor import facts, spending
from cli.doctor.deployment import Deployment
from cli.doctor.evidence import Evidence
from cli.doctor.results import Result as Found
from cli.doctor.spending import IMAGE, LONG, REFUSED, TEXT, Bought

RESULT = "https://images.segmind.com/v.mp4"
LINK = "link to images.segmind.com"


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


def seen_as(**changes: Any) -> Any:
    shape = {"status": "COMPLETED", "output": LINK, "video": {"url": LINK}, "last_frame_url": LINK, **changes}
    row = {"request_id": "text", "request_body": "JSON text", "credits_deduction": 0.0461}
    return {"record": {"status": 200, "shape": shape}, "row": {"status": 200, "shape": row}}


def listed(usd: float | None = 0.0461, job_id: str | None = None, request_id: str = "req-t") -> Any:
    return {"request_id": request_id, "cost_usd": usd, "job_id": job_id, "status": "COMPLETED"}


def good(of: Deployment) -> Bought:
    """A purchase that went well."""
    bought = spending.begin(of, spending.plan(of), lambda _: None)
    return ended(bought, **{IMAGE: done("i"), TEXT: done("t"), LONG: done("l"), REFUSED: refused()})


def answers(found: Evidence) -> dict[str, Found]:
    return {name: result for name, _, result in facts.answered(found)}
