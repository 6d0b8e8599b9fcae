"""A stand-in that repeats what it was sent: no record, message or log contains the key or our links' signatures."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from pipeline import Change, Pipeline, app
from seedance import masking
from seedance.jobs.job import Hold, State
from seedance.observability import logger

from local.sandbox.inprocess import KEY

pytestmark = pytest.mark.hostile(kind="answer", risk="leaked")

SECRETS = (KEY, "Signature=", "Credential=")


@pytest.fixture
def log(pipeline: Pipeline) -> Iterator[io.StringIO]:
    """The functions' log output, as they write it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logger().registered_formatter)
    level = logger().log_level
    logger().setLevel("DEBUG")
    logger().addHandler(handler)
    yield text
    logger().handlers.remove(handler)
    logger().setLevel(level)


def left_behind(pipeline: Pipeline) -> str:
    """Every record, and every message without the signed link to the video that belongs in it."""
    records = pipeline.client("dynamodb").scan(TableName="jobs")["Items"]
    return json.dumps([records, [{**told, "video": None} for told in pipeline.notifications()]])


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("stage", "kind", "options"),
    [
        *(("submit", "echo", {"status": status}) for status in (400, 401, 402, 406, 422, 429, 500, 504)),
        *(("result", "echo", {"status": status}) for status in (200, 401, 422, 429, 500)),
        *(("v1", "echo", {"status": status}) for status in (400, 500, 504)),
        ("upload", "echo", {"status": 400}),
        ("job", "fail-with-echo", {}),
    ],
)
def test_secrets_that_the_provider_repeats_are_masked_everywhere(
    *, pipeline: Pipeline, set_up: Change, log: io.StringIO, stage: str, kind: str, options: dict[str, int]
) -> None:
    pipeline.sandbox.fault(stage, kind, times=1 if stage == "result" else 0, **options)
    if stage == "upload":
        set_up(image_delivery="upload")
    metadata = {"model": "seedance-pro", "transport": "v1"} if stage == "v1" else {}
    job_id = pipeline.upload(resolution="480p", **metadata)
    job = pipeline.run(job_id)
    history = app("repair").handler({"ask": "history", "model": job.model, "page": 1, "since": 0.0, "until": 2e9}, None)
    said = [left_behind(pipeline), json.dumps(history.get("rows", history)), log.getvalue()]
    assert masking.MASK in "".join(said)
    assert not [secret for secret in SECRETS if any(secret in text for text in said)]


def test_an_ambiguous_result_is_copied_after_a_person_adopts_the_request(pipeline: Pipeline) -> None:
    pipeline.sandbox.fault("result", "output-two-videos", times=0)
    job_id = pipeline.upload(resolution="480p")
    held = pipeline.run(job_id)
    assert (held.state, (held.error or {})["code"]) == (State.HELD, Hold.RESULT)
    assert f"/media/{held.request_id}.mp4" in (held.answer or "")
    assert [(told["status"], told["error"]) for told in pipeline.notifications()] == [("HELD", held.error)]
    pipeline.reconcile()
    assert pipeline.job(job_id).state is State.HELD
    # As `seedance resolve --adopt` does, with the history's only link.
    asked = {"ask": "adopt", "job_id": job_id, "request_id": held.request_id}
    assert app("repair").handler(asked, None) == {"state": "COPYING"}
    pipeline.drive(job_id)
    job = pipeline.job(job_id)
    assert (job.state, job.error) == (State.COMPLETED, None)
    assert (job.settled_usd, job.reserved_usd) == (job.cost_usd, None)
    assert pipeline.sandbox.summary()["accepted"] == 1
    assert [told["status"] for told in pipeline.notifications()] == ["HELD", "COMPLETED"]
