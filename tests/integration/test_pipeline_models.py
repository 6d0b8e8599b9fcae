"""All models, by upload and by API, with all their parameters; and both transports."""

from typing import Any

import pytest
from pipeline import UPLOADS, Pipeline, http, png
from seedance.jobs import catalogue
from seedance.jobs.job import State

from local.sandbox.models import MODELS, Parameter


def unusual(name: str, about: Parameter) -> object:
    """A valid value that is not the default; of the resolutions the smallest, which is drawn soonest."""
    if about.range:
        return about.range[0]
    if about.choices:
        return about.choices[0 if name == "resolution" else -1]
    return not about.default


def settings(slug: str) -> dict[str, Any]:
    """An unusual value for each parameter that is neither the prompt nor a file."""
    parameters = MODELS[slug].parameters
    return {
        name: unusual(name, about)
        for name, about in parameters.items()
        if name != "prompt" and about.type not in ("url", "urls")
    }


SETTINGS = {slug: settings(slug) for slug in MODELS}
LAST_FRAME = {slug for slug, model in MODELS.items() if "last_frame_url" in model.parameters}
REFERENCES = ("reference_images", "reference_videos", "reference_audios")
WITH_REFERENCES = [slug for slug, model in MODELS.items() if set(REFERENCES) <= set(model.parameters)]
V1 = [slug for slug, model in catalogue.MODELS.items() if "v1" in model.transports]

every_model = pytest.mark.parametrize("slug", SETTINGS)


def asset(pipeline: Pipeline, body: bytes) -> str:
    """The URL of a file, used as if it were on the internet."""
    return pipeline.client("s3").generate_presigned_url(
        "get_object",
        Params={"Bucket": UPLOADS, "Key": "elsewhere.png", "VersionId": pipeline.put("elsewhere.png", body)},
    )


def sent(pipeline: Pipeline) -> dict[str, Any]:
    """The request body of the provider's only job."""
    (job,) = pipeline.sandbox.state.jobs.values()
    return job.body


def completed(pipeline: Pipeline, job_id: str) -> dict[str, Any]:
    """Run the job until its video is made, and return what the provider was sent."""
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)
    return sent(pipeline)


def test_the_tables_of_this_file_cover_every_model() -> None:
    assert SETTINGS["seedance-2.0-fast"] == {
        "aspect_ratio": "adaptive",
        "duration": -1,
        "resolution": "480p",
        "generate_audio": True,
        "return_last_frame": True,
        "seed": -1,
    }
    assert {"seedance-2.0-fast", "seedance-2.0-mini"} <= set(WITH_REFERENCES) <= LAST_FRAME
    assert {"seedance-pro", "seedance-2.0-fast"} <= set(V1)
    assert list(SETTINGS) == list(catalogue.MODELS)


@every_model
def test_an_upload_with_all_parameters_in_its_metadata(pipeline: Pipeline, slug: str) -> None:
    last = {"last_frame_url": asset(pipeline, png((0, 0, 200)))} if slug in LAST_FRAME else {}
    settings = {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in SETTINGS[slug].items()
    }
    job_id = pipeline.upload("uploads/red shoe.png", prompt="a shoe", model=slug, **settings, **last)
    body = completed(pipeline, job_id)
    link = body.pop(MODELS[slug].first_image)
    assert body == {"prompt": "a shoe", **SETTINGS[slug], **last}
    assert http().get(link).content == png()
    assert "X-Amz-Expires=7200" in link


@every_model
def test_a_call_with_all_parameters_and_an_image_in_the_bucket(pipeline: Pipeline, slug: str) -> None:
    pipeline.put("shop/hat.png", png((0, 200, 0)))
    job_id = pipeline.order(model=slug, prompt="a hat", parameters=SETTINGS[slug], image_key="shop/hat.png")
    body = completed(pipeline, job_id)
    assert http().get(body.pop(MODELS[slug].first_image)).content == png((0, 200, 0))
    assert body == {"prompt": "a hat", **SETTINGS[slug]}


@every_model
@pytest.mark.sampled(2)
def test_a_call_with_an_image_url(pipeline: Pipeline, slug: str) -> None:
    image = asset(pipeline, png())
    body = completed(pipeline, pipeline.order(model=slug, image=image, parameters={"resolution": "480p"}))
    assert body[MODELS[slug].first_image] == image


@every_model
@pytest.mark.sampled(2)
def test_text_alone_uses_the_defaults_of_the_models_page(pipeline: Pipeline, slug: str) -> None:
    job_id = pipeline.order(model=slug, prompt="a lake")
    body = completed(pipeline, job_id)
    pages = MODELS[slug].parameters
    usual = {"aspect_ratio": "16:9", "duration": 5, "resolution": "720p"}
    assert body.pop("seed") in range(1, 1_000_000)
    assert body.pop("prompt") == "a lake"
    sent_defaults = {
        name: usual.get(name, page.default)
        for name, page in pages.items()
        if page.type not in ("url", "urls") and name not in ("prompt", "seed")
    }
    assert body.pop(MODELS[slug].first_image, None) == ("" if MODELS[slug].sample_image else None)
    assert body == {name: value for name, value in sent_defaults.items() if value is not None}
    assert pipeline.sandbox.summary()["sampled"] == 0


@pytest.mark.parametrize("slug", WITH_REFERENCES)
def test_references_are_passed_on(pipeline: Pipeline, slug: str) -> None:
    links = [asset(pipeline, png((0, 0, number))) for number in range(3)]
    references = {name: [link] for name, link in zip(REFERENCES, links, strict=True)}
    body = completed(pipeline, pipeline.order(model=slug, parameters={"resolution": "480p", **references}))
    assert {name: body[name] for name in REFERENCES} == references


@pytest.mark.parametrize("validation", ["submit", "queued"])
def test_a_value_that_only_the_provider_refuses_ends_the_same_whenever_it_checks(
    pipeline: Pipeline, validation: str
) -> None:
    # Its page names 4 and 10 seconds; resellers offer up to 12.
    pipeline.sandbox.configure(validation=validation, reading="pages")
    job_id = pipeline.order(model="seedance-1.5-pro", parameters={"duration": 12, "resolution": "480p"})
    job = pipeline.run(job_id)
    pipeline.check(job_id, State.FAILED, says="Invalid value for duration: 12", accepted=int(validation == "queued"))
    assert job.error is not None
    assert job.error["code"] == "PROVIDER_REFUSED"
    assert pipeline.sandbox.summary()["billed"] == 0


def test_a_blocked_face_is_explained(pipeline: Pipeline) -> None:
    job_id = pipeline.upload(model="seedance-2.0-fast", prompt="a [face]", resolution="480p")
    pipeline.run(job_id)
    pipeline.check(job_id, State.FAILED, says="does not accept first images with real people's faces", accepted=1)


@pytest.mark.parametrize("slug", WITH_REFERENCES)
def test_the_last_frame_is_kept_beside_the_video(pipeline: Pipeline, slug: str) -> None:
    job_id = pipeline.upload("uploads/shoe.png", model=slug, resolution="480p", return_last_frame="true")
    completed(pipeline, job_id)
    key = f"videos/shoe/{job_id}-last-frame.png"
    assert pipeline.read(key).startswith(b"\x89PNG")
    assert pipeline.told[0]["video"]["last_frame_key"] == key


@pytest.mark.parametrize("answer", ["video", "json"])
@pytest.mark.parametrize("slug", V1)
def test_the_blocking_transport_accepts_bytes_or_a_link(pipeline: Pipeline, slug: str, answer: str) -> None:
    pipeline.sandbox.configure(time_scale=0.001, v1_answer=answer)
    job_id = pipeline.upload(model=slug, transport="v1", resolution="480p", prompt="a shoe")
    body = completed(pipeline, job_id)
    assert body["prompt"] == "a shoe"
    assert [call["path"] for call in pipeline.sandbox.calls(slug)] == [f"/v1/{slug}"]
    assert pipeline.job(job_id).metrics["total"] == catalogue.MODELS[slug].average_seconds


@pytest.mark.parametrize("slug", V1)
def test_the_blocking_transport_by_call(pipeline: Pipeline, slug: str) -> None:
    pipeline.sandbox.configure(time_scale=0.001)
    body = completed(pipeline, pipeline.order(model=slug, transport="v1", parameters=SETTINGS[slug]))
    assert body == {"prompt": "The product turns.", **SETTINGS[slug]}
    assert [call["path"] for call in pipeline.sandbox.calls(slug)] == [f"/v1/{slug}"]


def test_the_stacks_transport_is_used_only_where_the_model_supports_it(pipeline: Pipeline, set_up: Any) -> None:
    set_up(default_transport="v1")
    pipeline.sandbox.configure(time_scale=0.001)
    for slug in SETTINGS:
        pipeline.run(pipeline.order(model=slug, parameters={"resolution": "480p"}))
    paths = [call["path"] for call in pipeline.sandbox.calls() if call["method"] == "POST"]
    assert paths == [f"/{'v1' if slug in V1 else 'v2'}/{slug}" for slug in SETTINGS]
    assert [message["status"] for message in pipeline.notifications()] == ["COMPLETED"] * len(SETTINGS)
