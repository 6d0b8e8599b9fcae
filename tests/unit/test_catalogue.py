"""The catalogue, compared with a second table that was written from the provider's model pages: the stand-in's.

The two share no code. Examples from the pages, in test_sandbox_models.py, test the stand-in's table.
"""

from typing import Any

import pytest
from seedance.errors import InvalidRequest
from seedance.jobs import allowed, catalogue

from local.sandbox.models import MODELS, Parameter

A, B = "https://example.com/a.png", "https://example.com/b.png"
BOOLEANS = ([True, False], ["perhaps", 2, [], {}])
ADDRESSES = ([A, "http://example.com/a"], ["a.png", "ftp://example.com/a", "data:image/png;base64,AA", 5, [A]])
NO_NUMBERS = ["x", "five", 1.5, True, [1]]
USUAL = {"aspect_ratio": "16:9", "duration": 5, "resolution": "720p"}
"""The defaults that are sent for parameters that a page requires."""
V1 = {"seedance-pro", "seedance-2.0-fast"}
"""The models whose pages also show the blocking call."""

# model -> parameter -> what its page says
PAGES = {
    slug: {name: about for name, about in model.parameters.items() if name not in ("prompt", "last_frame_url")}
    for slug, model in MODELS.items()
}
LAST_IMAGE = {slug: "last_frame_url" for slug, model in MODELS.items() if "last_frame_url" in model.parameters}
FIRST_IMAGE = {slug: model.first_image for slug, model in MODELS.items()}


def lists(longest: int) -> tuple[list[Any], list[Any]]:
    as_text = [A, f"{A}, {B}", f'["{A}"]']
    return [[A], [A] * longest, *as_text], [[A] * (longest + 1), ["a.png"], 5, "a.png", '["x"', {}]


def choices(name: str, about: Parameter) -> tuple[list[Any], list[Any]]:
    """Listed values, and values that are not listed: near them, or on another page."""
    taken = list(about.choices)
    others = {choice for page in PAGES.values() if name in page for choice in page[name].choices}
    if about.type == "integer":
        near = {number + step for number in about.choices if isinstance(number, int) for step in (-1, 1)}
        return [*taken, str(taken[0])], [*sorted((others | near) - set(taken), key=str), *NO_NUMBERS]
    wrong = {"2:1", "16/9", "16x9", "360p", "4k", "720"}
    return taken, [*sorted(map(str, (others | wrong) - set(taken))), 1, 16, 720, True]


def values(name: str, about: Parameter) -> tuple[list[Any], list[Any]]:
    """Values that the page allows, and values that it does not."""
    if about.range:
        low, high = about.range
        return [low, high, (low + high) // 2, str(low)], [low - 1, high + 1, *NO_NUMBERS]
    if about.choices:
        return choices(name, about)
    match about.type:
        case "url":
            return ADDRESSES
        case "urls":
            return lists(about.most)
        case "boolean" | "boolean or its word":
            return BOOLEANS
    raise AssertionError(f"{name}: this test has no values for {about}")


ALLOWED = [(s, name, v) for s, page in PAGES.items() for name, about in page.items() for v in values(name, about)[0]]
REFUSED = [(s, name, v) for s, page in PAGES.items() for name, about in page.items() for v in values(name, about)[1]]


def validate(slug: str, *, has_image: bool = False, **given: Any) -> dict[str, Any]:
    return catalogue.validate(catalogue.find(slug), {"prompt": "a shoe", **given}, has_image=has_image)


def refusal(slug: str, *, has_image: bool = False, **given: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        validate(slug, has_image=has_image, **given)
    return caught.value


def defaults(slug: str) -> dict[str, Any]:
    """The parameters that are sent if none are given."""
    said = {name: USUAL[name] if about.required else about.default for name, about in PAGES[slug].items()}
    return {name: value for name, value in said.items() if value is not None}


def test_both_tables_have_the_same_models_with_the_same_published_averages() -> None:
    published = {slug: (page.average_usd, page.average_seconds) for slug, page in MODELS.items()}
    assert {m.slug: (m.average_usd, m.average_seconds) for m in catalogue.MODELS.values()} == published
    assert published["seedance-1.0-pro-fast"] == (0.25, 49)


@pytest.mark.parametrize("slug", PAGES)
def test_a_model_has_the_parameters_of_its_page_and_no_others(slug: str) -> None:
    assert set(catalogue.find(slug).names) == set(MODELS[slug].parameters)


@pytest.mark.parametrize("slug", PAGES)
def test_a_missing_parameter_is_sent_with_the_pages_default(slug: str) -> None:
    assert validate(slug) == {"prompt": "a shoe", **defaults(slug)}


@pytest.mark.parametrize(("slug", "name", "value"), ALLOWED)
def test_an_allowed_value_is_sent(slug: str, name: str, value: Any) -> None:
    beside = {"reference_images": [A]} if name == "reference_audios" else {}
    sent = validate(slug, **{name: value}, **beside)[name]
    if isinstance(sent, list):
        assert sent == (value if isinstance(value, list) else [A, B][: len(sent)])
    else:
        assert str(sent) == str(value)
        assert type(sent) in (bool, int, str)


@pytest.mark.parametrize("slug", PAGES)
@pytest.mark.parametrize("five", [5.0, "5.0", "5,0", " 5.00 ", "5.000000", "+5"])
def test_a_whole_number_may_be_written_with_zeros_behind_it(slug: str, five: Any) -> None:
    sent = validate(slug, duration=five)["duration"]
    assert (sent, type(sent)) == (5, int)


@pytest.mark.parametrize("slug", PAGES)
@pytest.mark.parametrize(
    "value", [5.5, "5.5", "5,000", "5.01", "5.0.0", "five", float("nan"), float("inf"), "5e0", True]
)
def test_other_numbers_are_not_whole(slug: str, value: Any) -> None:
    assert refusal(slug, duration=value).field == "duration"
    assert catalogue.whole_number(value) != 5


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(("slug", "name", "value"), REFUSED)
def test_a_disallowed_value_is_refused_with_its_name_and_the_allowed_values(slug: str, name: str, value: Any) -> None:
    error = refusal(slug, **{name: value})
    assert error.field == name
    assert f"must be {allowed.words(catalogue.find(slug).parameters, name)}, not " in error.message


@pytest.mark.parametrize(
    ("slug", "name", "words"),
    [
        ("seedance-pro", "duration", "5 or 10"),
        ("seedance-1.5-pro", "duration", "4, 5, 6, 7, 8, 9, 10, 11, 12 or -1"),
        ("seedance-2.0-fast", "resolution", "480p or 720p"),
        ("seedance-2.0-mini", "duration", "4, 5, 6, 8, 10, 12 or 15"),
        ("seedance-2.0-mini", "seed", "a whole number from -1 to 2147483647"),
        ("seedance-pro", "camera_fixed", "true or false"),
        ("seedance-pro", "prompt", "text of 1 to 5000 characters"),
        ("seedance-2.0-fast", "reference_videos", "a list of at most 3, each an http or https address"),
    ],
)
def test_allowed_values_are_described_in_plain_words(slug: str, name: str, words: str) -> None:
    assert allowed.words(catalogue.find(slug).parameters, name).startswith(words)


@pytest.mark.parametrize("slug", PAGES)
@pytest.mark.parametrize("other", sorted({name for page in PAGES.values() for name in page}))
def test_another_models_parameter_is_refused_unless_it_is_an_alias_for_an_image(slug: str, other: str) -> None:
    if other in PAGES[slug]:
        assert other in catalogue.find(slug).names
    elif other in FIRST_IMAGE.values():
        assert validate(slug, **{other: A})[FIRST_IMAGE[slug]] == A
    else:
        error = refusal(slug, **{other: True})
        assert (error.field, f"{slug} has no such parameter" in error.message) == (other, True)


@pytest.mark.parametrize("slug", PAGES)
@pytest.mark.parametrize("name", ["image", "image_url", "first_frame", "first_frame_url", "first_image"])
def test_the_first_image_has_aliases(slug: str, name: str) -> None:
    assert validate(slug, **{name: A})[FIRST_IMAGE[slug]] == A


@pytest.mark.parametrize("slug", PAGES)
@pytest.mark.parametrize("name", ["last_image", "last_frame", "last_frame_url", "last_image_url"])
def test_the_last_image_has_aliases_where_the_model_takes_one(slug: str, name: str) -> None:
    if slug in LAST_IMAGE:
        assert validate(slug, image=A, **{name: B})["last_frame_url"] == B
    else:
        assert refusal(slug, image=A, **{name: B}).field == name


def test_audio_and_ratio_are_aliases_too() -> None:
    assert (
        validate("seedance-1.5-pro", audio=False, ratio="1:1").items()
        >= {
            "generate_audio": False,
            "aspect_ratio": "1:1",
        }.items()
    )
    assert refusal("seedance-pro", audio=True).field == "audio"


@pytest.mark.parametrize("slug", LAST_IMAGE)
def test_a_last_image_requires_a_first_image(slug: str) -> None:
    error = refusal(slug, last_frame_url=A)
    assert (error.field, f"requires {FIRST_IMAGE[slug]}" in error.message) == ("last_frame_url", True)
    assert validate(slug, has_image=True, last_frame_url=A)["last_frame_url"] == A


WITH_REFERENCES = [slug for slug, page in PAGES.items() if "reference_images" in page]


@pytest.mark.parametrize("slug", WITH_REFERENCES)
@pytest.mark.parametrize("references", ["reference_images", "reference_videos", "reference_audios"])
def test_references_exclude_a_first_and_a_last_image(slug: str, references: str) -> None:
    for frames in ({"image": A}, {"has_image": True}, {"image": A, "last_frame_url": B}):
        error = refusal(slug, **{references: [A]}, **frames)
        assert (error.field, "can't be combined with first_frame_url" in error.message) == (references, True)
    error = refusal(slug, last_frame_url=B, **{references: [A]})
    assert (error.field, "can't be combined with last_frame_url" in error.message) == (references, True)
    assert validate(slug, image=A, **{references: []})["first_frame_url"] == A


@pytest.mark.parametrize("slug", WITH_REFERENCES)
def test_reference_audios_require_an_image_or_a_video(slug: str) -> None:
    error = refusal(slug, reference_audios=[A])
    assert (error.field, error.message) == ("reference_audios", "requires reference_images or reference_videos")
    for others in ("reference_images", "reference_videos"):
        assert validate(slug, reference_audios=[A], **{others: [B]})["reference_audios"] == [A]


@pytest.mark.parametrize("slug", PAGES)
def test_an_image_in_the_bucket_is_used_as_the_first_image(slug: str) -> None:
    assert validate(slug, has_image=True) == validate(slug)
    assert refusal(slug, has_image=True, image=A).field == "image"  # under the name the caller used
    assert refusal(slug, has_image=True, **{FIRST_IMAGE[slug]: A}).field == FIRST_IMAGE[slug]


@pytest.mark.parametrize("empty", [None, ""])
@pytest.mark.parametrize("slug", PAGES)
def test_an_empty_value_counts_as_missing(slug: str, empty: str | None) -> None:
    assert validate(slug, **dict.fromkeys(PAGES[slug], empty)) == validate(slug)


@pytest.mark.parametrize(("count", "taken"), [(0, False), (1, True), (5000, True), (5001, False)])
@pytest.mark.parametrize("slug", PAGES)
def test_a_prompt_has_one_to_five_thousand_characters(slug: str, count: int, taken: bool) -> None:
    if taken:
        assert validate(slug, prompt="x" * count)["prompt"] == "x" * count
    else:
        assert refusal(slug, prompt="x" * count).field == "prompt"


@pytest.mark.parametrize(
    ("slug", "hint"),
    [
        ("seedance-1.0-pro-fats", "did you mean seedance-1.0-pro-fast?"),
        ("seedance", "did you mean seedance-pro?"),
        ("Seedance-Pro", "did you mean seedance-pro?"),
        ("sora", "'sora' does not exist; available: seedance-pro, "),
    ],
)
def test_an_unknown_model_is_refused_with_the_nearest_name_and_all_names(slug: str, hint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        catalogue.find(slug)
    assert caught.value.field == "model"
    assert hint in caught.value.message
    assert all(name in caught.value.message for name in PAGES)


def test_an_unknown_parameter_is_refused_with_the_nearest_name_and_all_names() -> None:
    error = refusal("seedance-pro", cammera_fixed=True)
    assert "did you mean camera_fixed?" in error.message
    assert all(name in error.message for name in PAGES["seedance-pro"])


def test_a_long_value_is_not_repeated_in_a_refusal() -> None:
    assert len(str(refusal("seedance-pro", resolution="x" * 100_000))) < 200
    assert len(str(refusal("seedance-pro", seed=["y" * 100_000]))) < 200


def test_the_list_of_models_for_programs() -> None:
    listed = {entry["model"]: entry for entry in catalogue.describe()}
    assert set(listed) == set(PAGES)
    for slug, entry in listed.items():
        assert (entry["average_usd"], entry["average_seconds"]) == (
            MODELS[slug].average_usd,
            MODELS[slug].average_seconds,
        )
        assert entry["first_image"] == FIRST_IMAGE[slug]
        assert entry["last_image"] == LAST_IMAGE.get(slug)
        schema = entry["parameters"]
        assert schema["required"] == ["prompt"]
        assert schema["additionalProperties"] is False
        for name in PAGES[slug]:
            assert schema["properties"][name].get("default") in (defaults(slug).get(name), [])
        assert entry["transports"] == (["v2", "v1"] if slug in V1 else ["v2"])


@pytest.mark.parametrize("slug", PAGES)
def test_the_payload_is_what_was_validated_with_the_link_and_a_seed(slug: str) -> None:
    parameters = validate(slug, has_image=True)
    body = catalogue.payload(catalogue.find(slug), parameters, job_id="up-1", image_link=A)
    assert body == {**parameters, FIRST_IMAGE[slug]: A, "seed": body["seed"]}
    assert FIRST_IMAGE[slug] not in parameters  # no signed link is stored in the record's own parameters


@pytest.mark.parametrize("slug", PAGES)
def test_without_an_image_none_is_sent_and_a_pages_sample_image_is_kept_out(slug: str) -> None:
    model = catalogue.find(slug)
    body = catalogue.payload(model, validate(slug), job_id="j", image_link=None)
    assert body.get(FIRST_IMAGE[slug]) == ("" if MODELS[slug].sample_image else None)
    # An image that the caller gave by its address is kept.
    own = catalogue.payload(model, validate(slug, image=A), job_id="j", image_link=None)
    assert own[FIRST_IMAGE[slug]] == A


def test_a_moderation_switch_that_only_a_newer_page_has_is_sent_only_if_given() -> None:
    assert "skip_moderation" not in validate("seedance-pro")
    assert validate("seedance-pro", skip_moderation="true")["skip_moderation"] is True
    assert validate("seedance-1.0-pro-fast")["skip_moderation"] is False


@pytest.mark.parametrize("slug", PAGES)
def test_a_seed_is_derived_from_the_job_and_fits_every_models_range(slug: str) -> None:
    model, parameters = catalogue.find(slug), validate(slug)
    seeds = [catalogue.payload(model, parameters, job_id=f"up-{n}", image_link=None)["seed"] for n in range(500)]
    assert all(1 <= seed <= 999999 for seed in seeds)
    assert len(set(seeds)) > 490
    assert seeds[7] == catalogue.payload(model, parameters, job_id="up-7", image_link=None)["seed"]


@pytest.mark.parametrize("slug", PAGES)
def test_a_recorded_seed_is_the_one_that_is_sent(slug: str) -> None:
    recorded = catalogue.seeded(validate(slug), "up-1")
    assert catalogue.seeded(recorded, "up-2") == recorded
    assert validate(slug, **recorded) == recorded  # so a person can request the same video again
    assert catalogue.payload(catalogue.find(slug), recorded, job_id="up-1", image_link=A).items() >= recorded.items()


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize(
    "address",
    [
        *("https://e.com/a b.png", "https://e.com/a\tb", "https://e.com/a\nb", "https://e .com/a", "https:///a"),
        *("https://e.com/\x00", "https://e.com/a\x7f", "https://e.com/a\u00a0b", "https://e.com/a\u0085b"),
    ],
)
@pytest.mark.parametrize("name", ["first_frame_url", "reference_images"])
def test_a_url_with_invalid_characters_is_refused(name: str, address: str) -> None:
    given = [address] if name == "reference_images" else address
    with pytest.raises(InvalidRequest, match="without spaces") as refusal:
        validate("seedance-2.0-mini", **{name: given})
    assert refusal.value.field == name


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize(
    "address", ["https://e.com/a%20b.png", "http://e.com", "https://e.com/ä?x=1#y", " https://e.com "]
)
def test_other_urls_are_accepted(address: str) -> None:
    assert validate("seedance-2.0-mini", first_frame_url=address)["first_frame_url"] == address.strip()


@pytest.mark.parametrize(("slug", "seed"), [("seedance-pro", 42), ("seedance-2.0-mini", -1), ("seedance-2.0-fast", 0)])
def test_a_fixed_seed_is_kept(slug: str, seed: int) -> None:
    parameters = validate(slug, seed=seed)
    assert catalogue.payload(catalogue.find(slug), parameters, job_id="j", image_link=None)["seed"] == seed
