"""Every fault that the stand-in can produce, at every stage where a job can meet it.

Each entry gives the job's final state, how many jobs the provider has accepted by then, and words of the
message that says why. ``Pipeline.check`` adds what always holds: nothing ordered twice, one notification
of the end, no parts left behind, the video complete or missing.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
from moto.s3 import models as moto_s3
from pipeline import VIDEOS, Change, Pipeline
from seedance.aws import upload
from seedance.jobs.job import State
from seedance.provider import client, download
from seedance.provider import http as lines

from local.sandbox.kinds import KINDS

pytestmark = pytest.mark.hostile(kind="answer")

OK, FAILED, EXPIRED, UNCERTAIN = State.COMPLETED, State.FAILED, State.EXPIRED, State.UNCERTAIN
HELD, COPYING = State.HELD, State.COPYING


@dataclass(frozen=True)
class Ends:
    """How a job ends that meets a fault; ``times`` 0 means always.

    ``minutes`` delays the start of its workflow, so that the provider's hour ends sooner.
    """

    state: State
    says: str = ""
    accepted: int = 1
    times: int = 1
    minutes: float = 0
    options: dict[str, Any] = field(default_factory=dict)


SLOW = Ends(OK, options={"seconds": 0.05})
HANGS = {"seconds": 3.0}

# A submit that got an error response: nothing was queued. Only errors on the provider's side are retried.
REFUSED: dict[str, Ends] = {
    "http-400": Ends(FAILED, "Invalid parameters", 0),
    "http-401-missing": Ends(FAILED, "rejected the API key", 0),
    "http-401": Ends(FAILED, "rejected the API key", 0),
    "http-402-credits": Ends(HELD, "out of credits", 0),
    "http-403": Ends(FAILED, "may not use this model", 0),
    "http-404": Ends(FAILED, "Model not found", 0),
    "http-405": Ends(FAILED, "405", 0),
    "http-406-content-type": Ends(FAILED, "application/json is required", 0),
    "http-406-credits": Ends(HELD, "out of credits", 0),
    "http-406-spend-limit": Ends(HELD, "spend limit", 0),
    "http-406-loose": Ends(FAILED, "maximum length limit", 0),
    "http-410": Ends(FAILED, "retired", 0),
    "http-422": Ends(FAILED, "Invalid request body", 0),
    "http-429": Ends(OK),
    "http-429-credits": Ends(HELD, "out of credits", 0),
    "http-429-concurrency": Ends(OK),
    "far-reset": Ends(OK),
    "echo": Ends(OK),
    "half-emoji": Ends(OK),
    "http-500": Ends(OK),
    "http-502": Ends(OK),
    "http-502-html": Ends(OK),
    **{f"http-{status}": Ends(OK) for status in (521, 523, 525, 526)},  # Cloudflare did not reach the provider
    "slow": SLOW,
}

# It is unknown whether these were queued: never sent again, whatever really happened.
AMBIGUOUS: dict[str, Ends] = {
    "http-504": Ends(UNCERTAIN, "504", 0),
    "http-504-html": Ends(UNCERTAIN, "504", 0),
    **{f"http-{status}": Ends(UNCERTAIN, str(status), 0) for status in (520, 522, 524, 527, 530)},
    "cloudflare-after-accept": Ends(UNCERTAIN, "530", options={"status": 530}),
    "reset-before-accept": Ends(UNCERTAIN, "the connection dropped before a response", 0),
    "timeout-before-accept": Ends(UNCERTAIN, "the connection dropped before a response", 0, options=HANGS),
    "reset-after-accept": Ends(UNCERTAIN, "the connection dropped before a response"),
    "timeout-after-accept": Ends(UNCERTAIN, "the connection dropped before a response", options=HANGS),
    "504-after-accept": Ends(UNCERTAIN, "504"),
    "504-html-after-accept": Ends(UNCERTAIN, "504"),
}

# Responses that no client may read completely or trust.
BEYOND_ALL_LIMITS = ("gzip-bomb", "huge", "deep")

SUBMIT = {
    **REFUSED,
    **AMBIGUOUS,
    **dict.fromkeys(BEYOND_ALL_LIMITS, Ends(UNCERTAIN, "no usable request id: it is")),
    **dict.fromkeys(("drip", "drip-head"), Ends(UNCERTAIN, "the response timed out", options=HANGS)),
    **dict.fromkeys(("interim", "packed"), Ends(OK)),
    "malformed-json": Ends(UNCERTAIN, "no usable request id"),
    "empty-body": Ends(UNCERTAIN, "no usable request id"),
    "not-an-object": Ends(UNCERTAIN, "no usable request id"),
    "no-request-id": Ends(UNCERTAIN, "no usable request id"),
}

V1 = {
    **REFUSED,
    **AMBIGUOUS,
    **dict.fromkeys(BEYOND_ALL_LIMITS, Ends(UNCERTAIN, "nor a link to one")),
    **dict.fromkeys(("drip", "drip-head"), Ends(UNCERTAIN, "the response timed out", options=HANGS)),
    **dict.fromkeys(("interim", "packed"), Ends(OK)),
    "cut-off": Ends(UNCERTAIN, "504", options={"seconds": 0.0}),
    "malformed-json": Ends(UNCERTAIN, "nor a link to one"),
    "empty-body": Ends(UNCERTAIN, "nor a link to one"),
    "not-an-object": Ends(OK),  # the response in a list: its link is found
}

# A poll costs nothing and the video is paid for: any single fault is survived.
RESULT = {
    **{f"http-{name}": Ends(OK) for name in ("400", "401-missing", "401", "403", "404", "405", "406-content-type")},
    **{f"http-{name}": Ends(OK) for name in ("406-credits", "406-spend-limit", "410", "422", "429", "500", "502")},
    **{f"http-{name}": Ends(OK) for name in ("502-html", "504", "504-html", *range(520, 528), 530)},
    **{f"http-{name}": Ends(OK) for name in ("402-credits", "406-loose", "429-credits", "429-concurrency")},
    **dict.fromkeys((*BEYOND_ALL_LIMITS, "far-reset", "echo", "half-emoji", "foreign-id"), Ends(OK)),
    **dict.fromkeys(("drip", "drip-head"), Ends(OK, options=HANGS)),
    **dict.fromkeys(("interim", "packed"), Ends(OK)),
    "output-in-text": Ends(OK),
    "output-written-oddly": Ends(OK, times=0),
    "output-two-videos": Ends(OK),
    "slow": SLOW,
    "reset": Ends(OK),
    "timeout": Ends(OK, options=HANGS),
    "malformed-json": Ends(OK),
    "empty-body": Ends(OK),
    "not-an-object": Ends(OK),
    "output-list": Ends(OK, times=0),
    "output-dict": Ends(OK, times=0),
    "output-empty-list": Ends(OK),
    "output-number": Ends(OK),
    "output-null": Ends(OK),
    "output-missing": Ends(OK),
    "output-relative": Ends(OK),
    "output-file-scheme": Ends(OK),
    "output-forbidden-host": Ends(OK),
    "output-http-scheme": Ends(OK),
}

# Uploading the image to the provider's own store. It costs nothing, so errors are retried.
UPLOAD = {
    **REFUSED,
    **dict.fromkeys(BEYOND_ALL_LIMITS, Ends(OK)),
    **dict.fromkeys(("drip", "drip-head"), Ends(OK, options=HANGS)),
    **dict.fromkeys(("interim", "packed"), Ends(OK)),
    "http-504": Ends(OK),
    "http-504-html": Ends(OK),
    **{f"http-{status}": Ends(OK) for status in (520, 522, 524, 527, 530)},
    "reset": Ends(OK),
    "timeout": Ends(OK, options=HANGS),
    "malformed-json": Ends(OK),
    "empty-body": Ends(OK),
    "not-an-object": Ends(OK),
}

MEDIA = {
    "slow": SLOW,
    "truncated": Ends(OK),
    "short": Ends(OK),
    "html": Ends(OK),
    "empty": Ends(OK),
    "wrong-content-type": Ends(OK),
    "compressed": Ends(OK),
    "trickle": Ends(OK, options=HANGS),
    "redirect": Ends(OK, times=3),
    "redirect-forbidden": Ends(HELD, "The result is on 169.254.169.254; only 127.0.0.1"),
    "media-403": Ends(OK),
    "media-404": Ends(OK),
    "media-500": Ends(OK),
    "reset-midway": Ends(OK),
    "chunked": Ends(OK),
    "no-range": Ends(OK),
}

IMAGE_FETCH = {
    "slow": SLOW,
    "unreachable": Ends(FAILED, "could not be downloaded"),
    "not-an-image": Ends(FAILED, "is not an image"),
}

JOB = {
    "fail": Ends(FAILED, "out of steam", options={"error": "out of steam"}),
    "fail-with-echo": Ends(FAILED, "could not make the video"),
    "fail-half-emoji": Ends(FAILED, "could not make the video"),
    "stuck-queued": Ends(EXPIRED, "hour", minutes=55),
    "stuck-processing": Ends(EXPIRED, "hour", minutes=55),
    "late": Ends(OK, minutes=55),
    "vanish": Ends(OK, options={"seconds": 10.0}),
    "flapping": Ends(OK),
    "unknown-status": Ends(OK),
    "lower-case-status": Ends(OK),
}

STAGES = {
    "submit": SUBMIT,
    "v1": V1,
    "result": RESULT,
    "upload": UPLOAD,
    "media": MEDIA,
    "image-fetch": IMAGE_FETCH,
    "job": JOB,
}

# Faults that persist: the notification says so, and where the video still is.
FOR_EVER = {
    ("submit", "http-500"): Ends(FAILED, "it answered 500", 0, times=0),
    ("submit", "http-502-html"): Ends(FAILED, "it answered 502", 0, times=0),
    ("v1", "http-500"): Ends(FAILED, "it answered 500", 0, times=0),
    ("upload", "reset"): Ends(FAILED, "The image could not be uploaded", 0, times=0),
    # Until the hour is over; then the history has the video.
    ("result", "http-404"): Ends(OK, times=0),
    ("result", "http-401"): Ends(OK, times=0, minutes=55),
    ("result", "reset"): Ends(OK, times=0, minutes=55),
    ("result", "malformed-json"): Ends(OK, times=0, minutes=55),
    ("result", "deep"): Ends(OK, times=0, minutes=55),
    ("result", "gzip-bomb"): Ends(OK, times=0, minutes=55),
    ("result", "foreign-id"): Ends(OK, times=0, minutes=55),
    ("result", "http-429-concurrency"): Ends(OK, times=0, minutes=55),
    ("result", "output-null"): Ends(OK, times=0),
    ("result", "output-file-scheme"): Ends(OK, times=0),
    # Paid for, and only a person can find it.
    ("result", "output-two-videos"): Ends(HELD, "2 different videos", times=0),
    ("result", "output-forbidden-host"): Ends(HELD, "The result is on attacker.invalid; only", times=0),
    ("result", "output-http-scheme"): Ends(HELD, "The result is on images.segmind.com; only", times=0),
    ("media", "short"): Ends(FAILED, "cut off", times=0),
    ("media", "html"): Ends(FAILED, "for seven days it is at http://127.0.0.1", times=0),
    ("media", "empty"): Ends(FAILED, "it is empty", times=0),
    # It may still succeed: reconcile retries for as long as the provider keeps the file.
    ("media", "truncated"): Ends(COPYING, times=0),
    ("media", "media-404"): Ends(COPYING, times=0),
    ("media", "redirect"): Ends(COPYING, times=0),
}


def test_every_fault_of_the_stand_in_is_tested_at_every_stage_of_a_job() -> None:
    met = {(stage, kind) for stage, table in STAGES.items() for kind in table}
    met.add(("result", "poison-metrics"))  # it makes the price wrong; tests/crash covers it
    assert met == {(stage, kind.name) for kind in KINDS.values() for stage in kind.stages if stage in STAGES}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the provider's hour."""
    for name in ("SUBMIT_SECONDS", "STATUS_SECONDS", "GENERATE_SECONDS", "UPLOAD_SECONDS"):
        monkeypatch.setattr(client, name, 1.0)
    monkeypatch.setattr(download, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(lines, "STRIDE_SECONDS", 1.0)
    monkeypatch.setattr(download, "RESUME_SECONDS", 0.01)


def meet(pipeline: Pipeline, set_up: Change, stage: str, kind: str, ends: Ends) -> None:
    """Run one job from an upload that meets the fault, to its end."""
    pipeline.sandbox.fault(stage, kind, times=ends.times, **ends.options)
    metadata = {}
    if stage == "v1":
        # The call blocks until the video is ready, so the stand-in itself has to be fast.
        pipeline.sandbox.configure(time_scale=0.001)
        metadata = {"model": "seedance-pro", "transport": "v1"}
    if stage == "upload":
        set_up(image_delivery="upload")
    job_id = pipeline.upload(**metadata)
    pipeline.run(job_id, minutes_before=ends.minutes)
    pipeline.check(job_id, ends.state, says=ends.says, accepted=ends.accepted)


@pytest.mark.sampled(12)
@pytest.mark.parametrize(
    ("stage", "kind"), [pytest.param(stage, kind, id=f"{stage}-{kind}") for stage in STAGES for kind in STAGES[stage]]
)
def test_a_single_fault_ends_as_listed(pipeline: Pipeline, set_up: Change, stage: str, kind: str) -> None:
    meet(pipeline, set_up, stage, kind, STAGES[stage][kind])


@pytest.mark.sampled(12)
@pytest.mark.parametrize(("stage", "kind"), [pytest.param(*fault, id="-".join(fault)) for fault in FOR_EVER])
def test_a_persistent_fault_ends_as_listed(pipeline: Pipeline, set_up: Change, stage: str, kind: str) -> None:
    meet(pipeline, set_up, stage, kind, FOR_EVER[stage, kind])


@pytest.mark.parametrize("kind", ["chunked", "truncated", "short", "reset-midway", "html"])
def test_a_video_of_many_parts_is_stored_despite_the_fault(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # The stand-in's videos are 15 KB here; S3's parts have at least 5 MiB.
    monkeypatch.setattr(upload, "PART_BYTES", 2048)
    monkeypatch.setattr(moto_s3, "S3_UPLOAD_PART_MIN_SIZE", 1)
    pipeline.sandbox.fault("media", kind)
    job_id = pipeline.upload()
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)
    etag = pipeline.client("s3").head_object(Bucket=VIDEOS, Key=pipeline.stored()[0])["ETag"]
    assert int(etag.strip('"').partition("-")[2]) > 4


@pytest.mark.parametrize(
    ("faults", "statuses"),
    [
        (["reset-midway"], ["reset", 206]),
        (["truncated", "reset-midway"], ["cut", "reset", 206]),
        (["reset-midway", "media-500"], ["reset", 500, 206]),
        (["reset-midway", "no-range"], ["reset", 200]),
    ],
    ids=lambda names: "-".join(map(str, names)),
)
def test_a_copy_resumes_where_its_connection_broke(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, faults: list[str], statuses: list[int | str]
) -> None:
    monkeypatch.setattr(upload, "PART_BYTES", 2048)
    monkeypatch.setattr(download, "CHUNK_BYTES", 1024)
    monkeypatch.setattr(moto_s3, "S3_UPLOAD_PART_MIN_SIZE", 1)
    for kind in faults:
        pipeline.sandbox.fault("media", kind)
    job_id = pipeline.upload()
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)  # with the checksum of the source file
    fetched = [call["status"] for call in pipeline.sandbox.calls() if call["path"].startswith("/media/")]
    assert fetched[: len(statuses)] == statuses
    assert pipeline.client("s3").list_multipart_uploads(Bucket=VIDEOS).get("Uploads", []) == []
