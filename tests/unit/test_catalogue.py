"""The catalogue, compared with a second table written from the provider's five model pages, not from the code."""

from typing import Any

import pytest
from seedance.errors import InvalidRequest
from seedance.jobs import catalogue

A, B = "https://example.com/a.png", "https://example.com/b.png"
RATIOS = ["16:9", "4:3", "1:1", "3:4", "9:16"]
LENGTHS = [4, 5, 6, 8, 10, 12, 15]
BOOLEAN = [True, False]
NOT_BOOLEAN = ["perhaps", 2, [], {}]
RESOLUTIONS = (["480p", "720p", "1080p"], ["360p", "4k", 720, "720", True])
SMALL_SEEDS = ([1, 12345, 999999, "7"], [0, -1, 1000000, "x", 1.5, True, [1]])
WIDE_SEEDS = ([-1, 0, 1, 42, 2147483647], [-2, 2147483648, "x", 0.5, True])
ADDRESSES = ([A, "http://example.com/a"], ["a.png", "ftp://example.com/a", "data:image/png;base64,AA", 5, [A]])


def lists(longest: int) -> tuple[list[Any], list[Any]]:
    as_text = [A, f"{A}, {B}", f'["{A}"]']
    return [[A], [A] * longest, *as_text], [[A] * (longest + 1), ["a.png"], 5, "a.png", '["x"', {}]


OF_BOTH_2_0 = {
    "aspect_ratio": ("16:9", [*RATIOS, "21:9", "adaptive"], ["2:1", "16/9", 16]),
    "first_frame_url": (None, *ADDRESSES),
    "reference_images": (None, *lists(9)),
    "reference_videos": (None, *lists(3)),
    "reference_audios": (None, *lists(3)),
    "return_last_frame": (False, BOOLEAN, NOT_BOOLEAN),
    "seed": (None, *WIDE_SEEDS),
}
# model -> parameter -> (default that is sent, allowed values, refused values)
PAGES: dict[str, dict[str, tuple[Any, list[Any], list[Any]]]] = {
    "seedance-pro": {
        "aspect_ratio": ("16:9", RATIOS, ["21:9", "adaptive", "16x9", 1]),
        "duration": (5, [5, 10, "10"], [4, 6, 15, 0, -1, "five", 5.5, True]),
        "resolution": ("720p", *RESOLUTIONS),
        "camera_fixed": (False, BOOLEAN, NOT_BOOLEAN),
        "image_url": (None, *ADDRESSES),
        "seed": (None, *SMALL_SEEDS),
    },
    "seedance-1.0-pro-fast": {
        "aspect_ratio": ("16:9", RATIOS, ["21:9", "adaptive"]),
        "duration": (5, [5, 10], [4, 7, 12, -1]),
        "resolution": ("720p", *RESOLUTIONS),
        "camera_fixed": (False, BOOLEAN, NOT_BOOLEAN),
        "image_url": (None, *ADDRESSES),
        "seed": (None, *SMALL_SEEDS),
        "skip_moderation": (False, BOOLEAN, NOT_BOOLEAN),
    },
    "seedance-1.5-pro": {
        "aspect_ratio": ("16:9", [*RATIOS, "adaptive"], ["21:9"]),
        "duration": (5, [4, 5, 6, 7, 8, 9, 10, "4"], [3, 11, -1, "x", 4.5, True]),
        "resolution": ("720p", *RESOLUTIONS),
        "camera_fixed": (False, BOOLEAN, NOT_BOOLEAN),
        "generate_audio": (True, BOOLEAN, NOT_BOOLEAN),
        "first_frame_url": (None, *ADDRESSES),
        "seed": (None, *SMALL_SEEDS),
        "skip_moderation": (False, BOOLEAN, NOT_BOOLEAN),
    },
    "seedance-2.0-fast": {
        **OF_BOTH_2_0,
        "duration": (5, [*LENGTHS, -1, "-1"], [3, 7, 9, 11, 14, 16, 0, "x"]),
        "resolution": ("720p", ["480p", "720p"], ["1080p", 720]),
        "generate_audio": (False, BOOLEAN, NOT_BOOLEAN),
    },
    "seedance-2.0-mini": {
        **OF_BOTH_2_0,
        "duration": (5, LENGTHS, [3, 7, 9, 11, 14, 16, 0, -1]),
        "resolution": ("720p", *RESOLUTIONS),
        "generate_audio": (True, BOOLEAN, NOT_BOOLEAN),
        "skip_moderation": (False, BOOLEAN, NOT_BOOLEAN),
    },
}
LAST_IMAGE = {slug: "last_frame_url" for slug in PAGES if slug != "seedance-1.0-pro-fast"}
FIRST_IMAGE = {slug: "image_url" if "image_url" in page else "first_frame_url" for slug, page in PAGES.items()}
AVERAGES = {
    "seedance-pro": (0.35, 62),
    "seedance-1.0-pro-fast": (0.25, 49),
    "seedance-1.5-pro": (0.41, 99),
    "seedance-2.0-fast": (0.77, 117),
    "seedance-2.0-mini": (0.40, 159),
}
ALLOWED = [(s, p, v) for s, page in PAGES.items() for p, (_, allowed, _r) in page.items() for v in allowed]
REFUSED = [(s, p, v) for s, page in PAGES.items() for p, (_, _a, refused) in page.items() for v in refused]


def validate(slug: str, *, has_image: bool = False, **given: Any) -> dict[str, Any]:
    return catalogue.validate(catalogue.find(slug), {"prompt": "a shoe", **given}, has_image=has_image)


def refusal(slug: str, *, has_image: bool = False, **given: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        validate(slug, has_image=has_image, **given)
    return caught.value


def test_the_five_models_with_their_published_averages() -> None:
    assert {m.slug: (m.average_usd, m.average_seconds) for m in catalogue.MODELS.values()} == AVERAGES


@pytest.mark.parametrize("slug", PAGES)
def test_a_model_has_the_parameters_of_its_page_and_no_others(slug: str) -> None:
    names = {"prompt", *PAGES[slug]} | ({LAST_IMAGE[slug]} if slug in LAST_IMAGE else set())
    assert set(catalogue.find(slug).names) == names


@pytest.mark.parametrize("slug", PAGES)
def test_a_missing_parameter_is_sent_with_the_pages_default(slug: str) -> None:
    defaults = {name: default for name, (default, _, _) in PAGES[slug].items() if default is not None}
    assert validate(slug) == {"prompt": "a shoe", **defaults}


@pytest.mark.parametrize(("slug", "name", "value"), ALLOWED)
def test_an_allowed_value_is_sent(slug: str, name: str, value: Any) -> None:
    sent = validate(slug, **{name: value})[name]
    if isinstance(sent, list):
        assert sent == (value if isinstance(value, list) else [A, B][: len(sent)])
    else:
        assert str(sent) == str(value)
        assert type(sent) in (bool, int, str)


@pytest.mark.parametrize(("slug", "name", "value"), REFUSED)
def test_a_disallowed_value_is_refused_with_its_name_and_the_allowed_values(slug: str, name: str, value: Any) -> None:
    error = refusal(slug, **{name: value})
    assert error.field == name
    assert f"must be {catalogue.allowed(catalogue.find(slug), name)}, not " in error.message


@pytest.mark.parametrize(
    ("slug", "name", "words"),
    [
        ("seedance-pro", "duration", "5 or 10"),
        ("seedance-1.5-pro", "duration", "a whole number from 4 to 10"),
        ("seedance-2.0-fast", "resolution", "480p or 720p"),
        ("seedance-2.0-mini", "duration", "4, 5, 6, 8, 10, 12 or 15"),
        ("seedance-2.0-mini", "seed", "a whole number from -1 to 2147483647"),
        ("seedance-pro", "camera_fixed", "true or false"),
        ("seedance-pro", "prompt", "text of 1 to 5000 characters"),
        ("seedance-2.0-fast", "reference_videos", "a list of at most 3, each an http or https address"),
    ],
)
def test_allowed_values_are_described_in_plain_words(slug: str, name: str, words: str) -> None:
    assert catalogue.allowed(catalogue.find(slug), name).startswith(words)


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


@pytest.mark.parametrize("slug", ["seedance-pro", "seedance-2.0-fast", "seedance-2.0-mini"])
def test_a_last_image_requires_a_first_image(slug: str) -> None:
    error = refusal(slug, last_frame_url=A)
    assert (error.field, f"requires {FIRST_IMAGE[slug]}" in error.message) == ("last_frame_url", True)
    assert validate(slug, has_image=True, last_frame_url=A)["last_frame_url"] == A


@pytest.mark.parametrize("slug", ["seedance-2.0-fast", "seedance-2.0-mini"])
def test_reference_images_exclude_a_first_image(slug: str) -> None:
    for first in ({"image": A}, {"has_image": True}):
        error = refusal(slug, reference_images=[A], **first)
        assert (error.field, "can't be combined with first_frame_url" in error.message) == ("reference_images", True)
    assert validate(slug, reference_images=[], image=A)["first_frame_url"] == A
    assert validate(slug, reference_videos=[A], reference_audios=[B], image=A)["reference_videos"] == [A]


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
        assert (entry["average_usd"], entry["average_seconds"]) == AVERAGES[slug]
        assert entry["first_image"] == FIRST_IMAGE[slug]
        assert entry["last_image"] == LAST_IMAGE.get(slug)
        schema = entry["parameters"]
        assert schema["required"] == ["prompt"]
        assert schema["additionalProperties"] is False
        for name, (default, _, _) in PAGES[slug].items():
            assert schema["properties"][name].get("default") in (default, [])
        assert entry["transports"] == (["v2", "v1"] if slug in ("seedance-pro", "seedance-2.0-fast") else ["v2"])


@pytest.mark.parametrize("slug", PAGES)
def test_the_payload_is_what_was_validated_with_the_link_and_a_seed(slug: str) -> None:
    parameters = validate(slug, has_image=True)
    body = catalogue.payload(catalogue.find(slug), parameters, job_id="up-1", image_link=A)
    assert body == {**parameters, FIRST_IMAGE[slug]: A, "seed": body["seed"]}
    assert FIRST_IMAGE[slug] not in parameters  # no signed link is stored in the record's own parameters


def test_without_an_image_no_image_is_sent() -> None:
    body = catalogue.payload(catalogue.find("seedance-pro"), validate("seedance-pro"), job_id="j", image_link=None)
    assert "image_url" not in body


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
    assert catalogue.payload(catalogue.find(slug), recorded, job_id="up-1", image_link=None) == recorded


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


@pytest.mark.parametrize(
    "address", ["https://e.com/a%20b.png", "http://e.com", "https://e.com/ä?x=1#y", " https://e.com "]
)
def test_other_urls_are_accepted(address: str) -> None:
    assert validate("seedance-2.0-mini", first_frame_url=address)["first_frame_url"] == address.strip()


@pytest.mark.parametrize(("slug", "seed"), [("seedance-pro", 42), ("seedance-2.0-mini", -1), ("seedance-2.0-fast", 0)])
def test_a_fixed_seed_is_kept(slug: str, seed: int) -> None:
    parameters = validate(slug, seed=seed)
    assert catalogue.payload(catalogue.find(slug), parameters, job_id="j", image_link=None)["seed"] == seed
