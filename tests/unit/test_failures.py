"""The reason of a FAILED request: refused parameters, faces, and everything else."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.jobs import catalogue
from seedance.jobs.job import Job, State
from seedance.jobs.reasons import Code, Reason
from seedance.provider import failures

from local.sandbox.models import MODELS, InvalidParameters, read_order
from local.sandbox.studio import FACE_WORDS, MODERATION_WORDS

pytestmark = pytest.mark.hostile(kind="answer")

Make = Callable[..., Job]
PARAMETERS = {"prompt": "a shoe", "duration": 5, "resolution": "720p", "aspect_ratio": "16:9", "seed": 7}
IMAGE = "https://example.com/a.png"


@pytest.fixture
def reason(make_job: Make) -> Callable[..., Reason]:
    def read(said: str | None, model: str = "seedance-2.0-mini", **parameters: Any) -> Reason:
        job = make_job(State.PROCESSING, model=model, parameters=PARAMETERS | parameters)
        return failures.reason(job, said)

    return read


@pytest.mark.parametrize(
    ("said", "parameter"),
    [
        ("Invalid value for duration: 7. Allowed: 4, 5, 6", "duration"),
        ("duration must be 5 or 10", "duration"),
        ("body.duration: Input should be 5 or 10", "duration"),
        ("Resolution 1080p is not supported", "resolution"),
        ("'aspect_ratio' is not allowed", "aspect_ratio"),
        ("Unknown parameter 'seed' for seedance-2.0-mini", "seed"),
        ("seed: value out of range", "seed"),
        ("last_frame_url requires first_frame_url", "last_frame_url"),
        ("reference_images cannot be combined with first_frame_url", "reference_images"),
        ("image_url must be an http(s) URL", "image_url"),
        ("prompt must not be empty", "prompt"),
        ("The prompt exceeds 5000 characters", "prompt"),
        ("Field required: prompt", "prompt"),
    ],
)
def test_words_about_a_parameter_are_a_refusal_that_names_it(reason: Any, said: str, parameter: str) -> None:
    given = reason(said, reference_images=[IMAGE])
    assert (given.code, given.message) == (
        Code.PROVIDER_REFUSED,
        f"The provider refused the parameter {parameter}: {said}",
    )


@pytest.mark.parametrize(
    "said",
    [
        "Model inference failed",
        MODERATION_WORDS,
        "The prompt is not allowed by our content policy",
        "Your prompt may be violating the policies",
        "The audio is required to be safe",
        'Model inference failed for {"duration": 5, "prompt": "the duration must be allowed"}',
        "Input image could not be downloaded (HTTP 403): https://example.com/a.png",
        "Internal server error",
        None,
        "",
    ],
)
def test_other_words_are_a_failure(reason: Any, said: str | None) -> None:
    given = reason(said)
    assert given.code == Code.PROVIDER_JOB_FAILED
    assert (said or "gave no reason") in given.message


@pytest.mark.parametrize(
    "said", [FACE_WORDS, "Real human faces are blocked", "The face of a real person was found in first_frame_url"]
)
@pytest.mark.parametrize("model", [slug for slug in MODELS if MODELS[slug].no_faces])
def test_a_blocked_face_says_what_to_do(reason: Any, said: str, model: str) -> None:
    given = reason(said, model)
    assert given.code == Code.PROVIDER_JOB_FAILED
    assert said in given.message
    assert f"{model} does not accept first images with real people's faces. Use another image" in given.message


@pytest.mark.parametrize("model", [slug for slug in MODELS if not MODELS[slug].no_faces])
def test_other_models_are_not_said_to_accept_no_faces(reason: Any, model: str) -> None:
    assert "does not accept" not in reason(FACE_WORDS, model).message


def refused(slug: str) -> list[tuple[str, str]]:
    """Each of the stand-in's sentences about a parameter that the pipeline may send to a model, with its name."""
    found = []
    smallest = {"prompt": "x", "aspect_ratio": "16:9", "duration": 5, "resolution": "720p"}
    for name in catalogue.find(slug).names:
        body = {key: value for key, value in smallest.items() if key in MODELS[slug].parameters}
        for wrong in (-7, "no", ["a"] * 10):
            try:
                read_order(MODELS[slug], body | {name: wrong})
            except InvalidParameters as error:
                found.append((name, str(error)))
    return found


@pytest.mark.parametrize("slug", MODELS)
def test_what_the_stand_in_says_of_a_parameter_is_understood(reason: Any, slug: str) -> None:
    sentences = refused(slug)
    assert {name for name, _ in sentences} == set(catalogue.find(slug).names)
    for name, said in sentences:
        given = reason(said, slug, **{name: "x"})
        assert (given.code, given.message) == (
            Code.PROVIDER_REFUSED,
            f"The provider refused the parameter {name}: {said}",
        )


@given(said=st.text(max_size=500))
def test_any_words_give_a_reason_with_them(said: str) -> None:
    job = Job(
        job_id="up-1", state=State.QUEUED, source="upload", model="seedance-pro", transport="v2", name="n", folder="f"
    )
    job.parameters = {"prompt": "x", "weird[": "("}
    assert said in failures.reason(job, said).message
