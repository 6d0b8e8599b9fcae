"""A video has the shape of its picture as it is shown, unless another one is asked for, and the job says why."""

import json
import re
from typing import Any

import pytest
from seedance.jobs import catalogue, creation, shapes
from seedance.jobs.job import ImageFacts, Job, State
from seedance.jobs.requests import Defaults, Request, api_request, upload_request

from cli import show

pytestmark = pytest.mark.hostile(kind="image")

DEFAULTS = Defaults(model="seedance-1.0-pro-fast", prompt="The camera moves slowly.", transport="v2")
ADAPTIVE = ["seedance-1.5-pro", "seedance-2.0-fast", "seedance-2.0-mini"]
FIVE = ["seedance-pro", "seedance-1.0-pro-fast"]
NEAREST = {
    (1920, 1080): "16:9",
    (1000, 400): "16:9",  # the widest picture that is taken
    (1280, 720): "16:9",
    (1100, 700): "16:9",  # 1.57
    (1535, 1000): "4:3",  # below the (geometric) middle of 16:9 and 4:3, 1.5396
    (1545, 1000): "16:9",
    (3000, 2000): "4:3",  # a camera's 3:2
    (4032, 3024): "4:3",
    (1150, 1000): "1:1",
    (1160, 1000): "4:3",
    (2048, 2048): "1:1",
    (1000, 1160): "3:4",
    (2000, 3000): "3:4",
    (1000, 1545): "9:16",
    (1080, 1920): "9:16",
    (400, 1000): "9:16",
}


def picture(width: int, height: int, *, turned: bool = False) -> ImageFacts:
    facts: ImageFacts = {"bucket": "b", "key": "uploads/a.jpg", "version_id": "v", "width": width, "height": height}
    if turned:
        facts |= {"width": height, "height": width, "shown": f"{width}x{height}"}
    return facts


def upload(model: str, **metadata: str) -> Request:
    return upload_request({"model": model, **metadata}, DEFAULTS)


def call(model: str, **body: Any) -> Request:
    return api_request(json.dumps({"model": model, "prompt": "It turns.", **body}), DEFAULTS)


def test_these_are_all_models() -> None:
    assert sorted([*ADAPTIVE, *FIVE]) == sorted(catalogue.MODELS)


@pytest.mark.parametrize("model", FIVE)
@pytest.mark.parametrize("sides", NEAREST)
@pytest.mark.parametrize("turned", [False, True])
def test_the_nearest_ratio_is_chosen(model: str, sides: tuple[int, int], *, turned: bool) -> None:
    request, notes = shapes.shaped(upload(model), picture(*sides, turned=turned))
    assert request.parameters["aspect_ratio"] == NEAREST[sides]
    size = f"{sides[0]} x {sides[1]}"
    assert notes == [f"aspect_ratio is {NEAREST[sides]}, the nearest to the image of {size} pixels."]


@pytest.mark.parametrize("model", ADAPTIVE)
@pytest.mark.parametrize("sides", [(1920, 1080), (1000, 1000), (400, 1000)])
def test_the_model_adapts_to_the_image_if_it_can(model: str, sides: tuple[int, int]) -> None:
    there, elsewhere = picture(*sides), call(model, image="https://example.com/a")
    for request, image in ((upload(model), there), (call(model, image_key="a.jpg"), there), (elsewhere, None)):
        assert request.parameters["aspect_ratio"] == "adaptive"
        shaped, notes = shapes.shaped(request, image)
        assert shaped.parameters == request.parameters
        assert notes == ["aspect_ratio is adaptive, so the video has the shape of the image."]


@pytest.mark.parametrize("model", catalogue.MODELS)
@pytest.mark.parametrize("name", ["aspect_ratio", "aspect-ratio", "ratio", "video-ratio"])
def test_a_ratio_that_was_asked_for_is_kept(model: str, name: str) -> None:
    for ratio in ("16:9", "9:16"):
        request, notes = shapes.shaped(upload(model, **{name: ratio}), picture(1000, 1000))
        assert (request.parameters["aspect_ratio"], notes) == (ratio, [])
    given = {name.replace("-", "_").removeprefix("video_"): "16:9"}
    request, notes = shapes.shaped(call(model, image_key="images/a.jpg", parameters=given), picture(400, 1000))
    assert (request.parameters["aspect_ratio"], notes) == ("16:9", [])


@pytest.mark.parametrize("model", catalogue.MODELS)
@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_ratio_is_none(model: str, empty: str | None) -> None:
    request = call(model, image_key="images/a.jpg", parameters={"aspect_ratio": empty})
    shaped, _ = shapes.shaped(request, picture(1000, 1000))
    assert shaped.parameters["aspect_ratio"] == ("adaptive" if model in ADAPTIVE else "1:1")


@pytest.mark.parametrize("model", catalogue.MODELS)
def test_text_alone_has_the_ratio_of_the_models_page(model: str) -> None:
    request, notes = shapes.shaped(call(model), None)
    assert (request.parameters["aspect_ratio"], notes) == ("16:9", [])


@pytest.mark.parametrize("model", ["seedance-2.0-fast", "seedance-2.0-mini"])
def test_reference_images_do_not_change_the_ratio(model: str) -> None:
    references = {"reference_images": ["https://example.com/a.png"]}
    request, notes = shapes.shaped(call(model, parameters=references), None)
    assert (request.parameters["aspect_ratio"], notes) == ("16:9", [])


@pytest.mark.parametrize("model", FIVE)
@pytest.mark.parametrize("name", ["image", "image_url", "first_frame_url"])
def test_the_size_of_an_image_at_an_address_is_not_known(model: str, name: str) -> None:
    parameters = {} if name == "image" else {"parameters": {name: "https://example.com/a.png"}}
    body = {"image": "https://example.com/a.png"} if name == "image" else parameters
    request, notes = shapes.shaped(call(model, **body), None)
    assert request.parameters["aspect_ratio"] == "16:9"
    assert notes == ["aspect_ratio is 16:9, the default: the size of an image at an address is not known."]


@pytest.mark.parametrize("sides", [(6001, 4000), (8064, 6048), (4000, 6001)])
def test_a_very_large_image_is_noted_as_it_is_shown(sides: tuple[int, int]) -> None:
    for turned in (False, True):
        _, notes = shapes.shaped(upload("seedance-pro", ratio="1:1"), picture(*sides, turned=turned))
        size = f"{sides[0]} x {sides[1]}"
        assert notes == [f"The image is {size} pixels; above 6000 a side it may be scaled down."]


def test_6000_pixels_are_not_noted() -> None:
    assert shapes.shaped(upload("seedance-pro", ratio="1:1"), picture(6000, 6000))[1] == []


def test_the_record_of_the_request_itself_is_not_changed() -> None:
    request = upload("seedance-pro")
    shapes.shaped(request, picture(1000, 1000))
    assert request.parameters["aspect_ratio"] == "16:9"


def test_notes_are_part_of_the_record(make_job: Any) -> None:
    job = make_job(State.COMPLETED, notes=["aspect_ratio is 1:1, because."])
    assert Job.from_record(job.to_record()) == job
    dropped: list[str] = []
    edited = Job.from_record({**job.to_record(), "notes": "text"}, dropped.append)
    assert (edited.notes, dropped) == ([], ["notes"])


def test_the_command_line_shows_the_notes(make_job: Any) -> None:
    said = show.job(make_job(State.COMPLETED, notes=["aspect_ratio is 1:1, because.", "It is large."]), 1.0)
    assert re.search(r"^Notes +aspect_ratio is 1:1, because\. It is large\.$", said, re.MULTILINE)
    assert "Notes" not in show.job(make_job(State.COMPLETED), 1.0)


def test_a_row_of_an_earlier_releases_plan_has_no_notes() -> None:
    row: Any = {
        "row": 1,
        "columns": {},
        "model": "seedance-pro",
        "transport": "v2",
        "parameters": {"prompt": "x", "aspect_ratio": "16:9"},
        "image": None,
    }
    assert creation.from_row("batch-1", "batches/a.csv", row).notes == []
    assert creation.from_row("batch-1", "batches/a.csv", {**row, "notes": ["x"]}).notes == ["x"]
