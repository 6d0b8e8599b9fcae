"""The stand-in's reading of the model pages: what each model accepts, and how it refuses the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sandbox.models import MODELS, InvalidParameters, Order, Reading, cost_usd, order_again, read_order

IMAGE = "https://example.com/a.png"
DATA = "data:image/png;base64,aGVsbG8="
FIRST_GENERATION = {"prompt": "a horse", "aspect_ratio": "16:9", "duration": 5, "resolution": "720p"}


def smallest(slug: str) -> dict[str, object]:
    """A body with only the parameters that the model requires."""
    return {name: FIRST_GENERATION[name] for name, about in MODELS[slug].parameters.items() if about.required}


def order(slug: str, **changes: object) -> Order:
    return read_order(MODELS[slug], smallest(slug) | changes)


def refusal(slug: str, **changes: object) -> tuple[int, str]:
    with pytest.raises(InvalidParameters) as caught:
        order(slug, **changes)
    return caught.value.status, str(caught.value)


@pytest.mark.parametrize("slug", MODELS)
def test_the_smallest_body_is_accepted(slug: str) -> None:
    taken = order(slug)
    assert (taken.seconds, taken.resolution, taken.aspect_ratio) == (5, "720p", "16:9")
    assert taken.images == ()


@pytest.mark.parametrize(
    ("slug", "required", "audio"),
    [
        ("seedance-pro", {*FIRST_GENERATION}, False),
        ("seedance-1.0-pro-fast", {*FIRST_GENERATION}, False),
        ("seedance-1.5-pro", {*FIRST_GENERATION}, True),
        ("seedance-2.0-fast", {"prompt"}, False),
        ("seedance-2.0-mini", {"prompt"}, True),
    ],
)
def test_required_parameters_and_sound_are_as_on_the_pages(slug: str, required: set[str], *, audio: bool) -> None:
    assert set(smallest(slug)) == required
    assert order(slug).audio is audio


@pytest.mark.parametrize("slug", MODELS)
def test_a_missing_required_parameter_is_named(slug: str) -> None:
    for name in smallest(slug):
        body = {key: value for key, value in smallest(slug).items() if key != name}
        with pytest.raises(InvalidParameters, match=f"Field required: {name}") as caught:
            read_order(MODELS[slug], body)
        assert caught.value.status == 422


@pytest.mark.parametrize(
    ("slug", "changes"),
    [
        ("seedance-pro", {"duration": 10, "resolution": "1080p", "aspect_ratio": "9:16", "seed": 999_999}),
        ("seedance-pro", {"image_url": IMAGE, "last_frame_url": IMAGE, "camera_fixed": True}),
        ("seedance-1.0-pro-fast", {"image_url": IMAGE, "skip_moderation": "false"}),
        ("seedance-1.0-pro-fast", {"skip_moderation": True}),
        ("seedance-1.5-pro", {"duration": 7, "aspect_ratio": "adaptive", "generate_audio": False}),
        ("seedance-1.5-pro", {"duration": 12}),
        ("seedance-1.5-pro", {"duration": -1}),
        ("seedance-pro", {"skip_moderation": True}),
        ("seedance-2.0-fast", {"duration": -1, "seed": -1, "aspect_ratio": "21:9"}),
        ("seedance-2.0-fast", {"reference_images": [IMAGE] * 9, "reference_videos": [IMAGE] * 3}),
        ("seedance-2.0-fast", {"reference_images": [], "first_frame_url": IMAGE}),
        ("seedance-2.0-mini", {"duration": 15, "resolution": "1080p", "return_last_frame": True}),
        ("seedance-2.0-mini", {"first_frame_url": IMAGE, "last_frame_url": IMAGE, "seed": 2_147_483_647}),
        ("seedance-2.0-mini", {"reference_audios": [IMAGE] * 3, "reference_videos": [IMAGE]}),
        ("seedance-2.0-mini", {"skip_moderation": "true"}),
        ("seedance-2.0-mini", {"first_frame_url": DATA}),
    ],
)
def test_values_listed_on_the_pages_are_accepted(slug: str, changes: dict[str, object]) -> None:
    taken = order(slug, **changes)
    assert taken.slug == slug
    assert taken.seconds in (changes.get("duration"), 5)


@pytest.mark.parametrize(
    ("slug", "changes", "status", "words"),
    [
        ("seedance-pro", {"duration": 4}, 400, "duration"),
        ("seedance-pro", {"aspect_ratio": "21:9"}, 400, "aspect_ratio"),
        ("seedance-pro", {"aspect_ratio": "adaptive"}, 400, "aspect_ratio"),
        ("seedance-pro", {"resolution": "4k"}, 400, "resolution"),
        ("seedance-pro", {"seed": 0}, 400, "seed"),
        ("seedance-pro", {"seed": 1_000_000}, 400, "seed"),
        ("seedance-pro", {"skip_moderation": "no"}, 422, "skip_moderation"),
        ("seedance-pro", {"first_frame_url": IMAGE}, 400, "first_frame_url"),
        ("seedance-pro", {"last_frame_url": IMAGE}, 400, "requires image_url"),
        ("seedance-1.0-pro-fast", {"last_frame_url": IMAGE}, 400, "last_frame_url"),
        ("seedance-1.0-pro-fast", {"skip_moderation": "no"}, 422, "skip_moderation"),
        ("seedance-1.5-pro", {"duration": 3}, 400, "duration"),
        ("seedance-1.5-pro", {"duration": 13}, 400, "duration"),
        ("seedance-1.5-pro", {"last_frame_url": IMAGE}, 400, "requires first_frame_url"),
        ("seedance-1.5-pro", {"aspect_ratio": "21:9"}, 400, "aspect_ratio"),
        ("seedance-2.0-fast", {"resolution": "1080p"}, 400, "resolution"),
        ("seedance-2.0-fast", {"duration": 7}, 400, "duration"),
        ("seedance-2.0-fast", {"skip_moderation": False}, 400, "skip_moderation"),
        ("seedance-2.0-fast", {"camera_fixed": False}, 400, "camera_fixed"),
        ("seedance-2.0-fast", {"seed": -2}, 400, "seed"),
        ("seedance-2.0-mini", {"duration": -1}, 400, "duration"),
        ("seedance-2.0-mini", {"reference_images": [IMAGE] * 10}, 400, "reference_images"),
        ("seedance-2.0-mini", {"reference_videos": [IMAGE] * 4}, 400, "reference_videos"),
        ("seedance-2.0-mini", {"reference_images": [IMAGE], "first_frame_url": IMAGE}, 400, "reference_images"),
        ("seedance-2.0-mini", {"last_frame_url": IMAGE}, 400, "requires first_frame_url"),
        ("seedance-2.0-mini", {"reference_videos": [IMAGE], "first_frame_url": IMAGE}, 400, "reference_videos cannot"),
        ("seedance-2.0-fast", {"reference_audios": [IMAGE], "first_frame_url": IMAGE}, 400, "reference_audios cannot"),
        ("seedance-2.0-fast", {"reference_videos": [IMAGE], "last_frame_url": IMAGE}, 400, "with last_frame_url"),
        ("seedance-2.0-fast", {"reference_audios": [IMAGE]}, 400, "reference_audios requires"),
        ("seedance-2.0-mini", {"reference_images": [DATA]}, 422, "reference_images"),
        ("seedance-2.0-mini", {"first_frame_url": "data:text/plain;base64,aGk="}, 422, "first_frame_url"),
        ("seedance-2.0-mini", {"prompt": ""}, 422, "prompt"),
        ("seedance-2.0-mini", {"duration": "5"}, 422, "duration"),
        ("seedance-2.0-mini", {"duration": True}, 422, "duration"),
        ("seedance-2.0-mini", {"generate_audio": "true"}, 422, "generate_audio"),
        ("seedance-2.0-mini", {"first_frame_url": "s3://bucket/a.png"}, 422, "first_frame_url"),
        ("seedance-2.0-mini", {"first_frame_url": "http://[bad"}, 422, "first_frame_url"),
        ("seedance-2.0-mini", {"reference_images": [""]}, 422, "reference_images"),
        ("seedance-2.0-mini", {"colour": "red"}, 400, "colour"),
    ],
)
def test_other_values_are_refused_by_name(slug: str, changes: dict[str, object], status: int, words: str) -> None:
    given_status, sentence = refusal(slug, **changes)
    assert given_status == status
    assert words in sentence


@pytest.mark.parametrize(
    ("slug", "changes", "learned", "pages"),
    [
        ("seedance-pro", {"skip_moderation": True}, True, False),
        ("seedance-1.5-pro", {"duration": 11}, True, False),
        ("seedance-1.5-pro", {"duration": -1}, True, False),
        ("seedance-1.5-pro", {"duration": 7}, True, True),
        ("seedance-1.5-pro", {"last_frame_url": IMAGE}, False, True),
        ("seedance-2.0-mini", {"reference_videos": [IMAGE], "first_frame_url": IMAGE}, False, True),
        ("seedance-2.0-mini", {"reference_audios": [IMAGE]}, False, True),
        ("seedance-2.0-mini", {"reference_images": [IMAGE], "first_frame_url": IMAGE}, False, False),
        ("seedance-2.0-mini", {"reference_images": [IMAGE], "last_frame_url": IMAGE}, False, False),
    ],
)
def test_where_the_pages_are_silent_there_are_two_readings(
    *, slug: str, changes: dict[str, object], learned: bool, pages: bool
) -> None:
    def accepted(reading: Reading) -> bool:
        try:
            read_order(MODELS[slug], smallest(slug) | changes, reading)
        except InvalidParameters:
            return False
        return True

    assert (accepted("learned"), accepted("pages")) == (learned, pages)
    again = order_again(MODELS[slug], smallest(slug) | changes)  # after a restart
    assert (again.slug, again.prompt) == (slug, str(smallest(slug)["prompt"]))


@pytest.mark.parametrize("slug", MODELS)
def test_only_2_0_minis_page_has_a_sample_image_and_an_empty_address_keeps_it_out(slug: str) -> None:
    assert order(slug).sample is (slug == "seedance-2.0-mini")
    assert order(slug, **{MODELS[slug].first_image: ""}).sample is False
    assert order(slug, **{MODELS[slug].first_image: IMAGE}).sample is False
    if "reference_images" in MODELS[slug].parameters:
        assert order(slug, reference_images=[IMAGE]).sample is False


def test_an_empty_image_is_no_image() -> None:
    assert order("seedance-2.0-mini", first_frame_url="", last_frame_url="", reference_images=[IMAGE]).images == (
        IMAGE,
    )


@given(body=st.recursive(st.none() | st.booleans() | st.text(), st.lists, max_leaves=3))
def test_a_body_that_is_not_an_object_is_refused(body: object) -> None:
    with pytest.raises(InvalidParameters, match="must be a JSON object"):
        read_order(MODELS["seedance-pro"], body)


@given(
    name=st.sampled_from(sorted(MODELS["seedance-2.0-mini"].parameters)),
    value=st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=5)),
)
def test_any_value_is_accepted_or_refused_by_name(name: str, value: object) -> None:
    try:
        assert order("seedance-2.0-mini", **{name: value}).slug == "seedance-2.0-mini"
    except InvalidParameters as error:
        assert error.status in (400, 422)
        assert name in str(error)


@pytest.mark.parametrize(
    ("slug", "changes", "usd"),
    [
        # 1280 x 720 x 5 s x 24 / 1024 = 108,000 tokens
        ("seedance-1.5-pro", {"generate_audio": True}, 0.2592),
        ("seedance-1.5-pro", {"generate_audio": False}, 0.1296),
        ("seedance-1.5-pro", {"resolution": "1080p"}, 0.5832),
        ("seedance-2.0-fast", {}, 0.756),
        ("seedance-2.0-fast", {"generate_audio": True, "duration": 10}, 1.512),
        ("seedance-2.0-mini", {}, 0.4),
        ("seedance-1.0-pro-fast", {}, 0.25),
    ],
)
def test_a_video_costs_its_tokens(slug: str, changes: dict[str, object], usd: float) -> None:
    assert cost_usd(order(slug, **changes)) == usd
    assert cost_usd(order(slug, **changes), 1.1) == pytest.approx(1.1 * usd, abs=1e-4)


def test_costs_scale_with_seconds_and_pixels() -> None:
    def price(**changes: object) -> float:
        return cost_usd(order("seedance-pro", **changes))

    assert price() == 0.35
    assert price(duration=10) == 0.70
    assert price(resolution="480p") < price() < price(resolution="1080p")
