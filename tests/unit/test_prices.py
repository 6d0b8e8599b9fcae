"""Prices: the published ones by model and setting, the estimate that bills correct, and the drift of the bills."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.jobs import catalogue, prices
from seedance.jobs.prices import Setting, drift_percent, estimate_usd, published_usd, setting

RATIOS = ["16:9", "9:16", "4:3", "3:4", "1:1", "21:9", "adaptive"]
SETTINGS = st.builds(
    Setting,
    st.sampled_from(["480p", "720p", "1080p"]),
    st.integers(1, 15) | st.just(prices.AUTO),
    st.sampled_from(RATIOS),
    st.sampled_from([None, True, False]),
    st.booleans(),
)


def estimate(slug: str, bills: prices.Bills | None = None, **parameters: Any) -> float:
    possible = catalogue.settings(catalogue.find(slug), parameters)
    return estimate_usd(slug, setting(parameters), possible, bills or {})


def test_every_model_has_a_price_and_the_prices_have_a_date() -> None:
    assert prices.PUBLISHED.keys() == catalogue.MODELS.keys()
    assert datetime.fromisoformat(prices.PRICES_OF)


# Calculated by hand from the contract: width x height x seconds x 24 / 1024 tokens, or seconds, at the published price.
PUBLISHED = [
    ("seedance-1.5-pro", {"generate_audio": False}, 0.1296),  # 108,000 tokens at $1.20 a million
    ("seedance-1.5-pro", {"generate_audio": True}, 0.2592),
    ("seedance-1.5-pro", {}, 0.2592),  # unknown: the higher price
    ("seedance-1.5-pro", {"generate_audio": True, "duration": 10}, 0.5184),
    ("seedance-1.5-pro", {"generate_audio": True, "resolution": "480p"}, 0.1205),  # 864 x 496
    ("seedance-1.5-pro", {"generate_audio": True, "resolution": "1080p"}, 0.5832),
    ("seedance-1.5-pro", {"generate_audio": True, "aspect_ratio": "1:1"}, 0.2592),  # 960 x 960, as many pixels
    ("seedance-1.5-pro", {"generate_audio": True, "aspect_ratio": "3:4"}, 0.2608),
    ("seedance-2.0-fast", {}, 0.76),
    ("seedance-2.0-fast", {"resolution": "480p", "duration": 8, "aspect_ratio": "21:9"}, 0.56),
    ("seedance-2.0-fast", {"generate_audio": True}, 0.76),  # audio has no price of its own
    # Only the average is published: it counts as the price of 5 s at 720p.
    ("seedance-pro", {}, 0.35),
    ("seedance-1.0-pro-fast", {"duration": 5, "resolution": "720p", "aspect_ratio": "16:9"}, 0.25),
    ("seedance-1.0-pro-fast", {"duration": 10}, 0.5),
    ("seedance-1.0-pro-fast", {"resolution": "480p"}, 0.1163),  # 864 x 496 of 1280 x 720
    ("seedance-2.0-mini", {"duration": 8, "generate_audio": True}, 0.64),
    ("seedance-2.0-mini", {"resolution": "1080p"}, 0.9),
]


@pytest.mark.parametrize(("slug", "parameters", "usd"), PUBLISHED)
def test_without_bills_an_estimate_is_the_published_price(slug: str, parameters: dict[str, Any], usd: float) -> None:
    assert estimate(slug, **parameters) == pytest.approx(usd, abs=0.00006)


@pytest.mark.parametrize("slug", catalogue.MODELS)
@given(of=SETTINGS)
def test_every_model_has_a_price_for_every_setting(slug: str, of: Setting) -> None:
    if of.seconds == prices.AUTO:
        return
    usd = published_usd(slug, of)
    assert 0 < usd < 15
    assert published_usd(slug, Setting(of.resolution, of.seconds * 2, of.ratio, of.audio)) == pytest.approx(2 * usd)


@pytest.mark.parametrize("slug", catalogue.MODELS)
@given(of=SETTINGS)
def test_an_adaptive_shape_costs_as_much_as_the_most_expensive(slug: str, of: Setting) -> None:
    if of.seconds != prices.AUTO:
        adaptive = Setting(of.resolution, of.seconds, "adaptive", of.audio)
        assert published_usd(slug, adaptive) >= published_usd(slug, of)


def test_a_length_left_to_the_model_counts_as_the_longest_that_is_allowed() -> None:
    assert estimate("seedance-2.0-fast", duration=-1) == pytest.approx(15 * 0.152)
    assert estimate("seedance-2.0-fast", duration=-1, resolution="480p") == pytest.approx(15 * 0.07)


@given(of=SETTINGS)
def test_a_setting_is_found_by_its_name(of: Setting) -> None:
    assert prices.named(of.name) == of


@pytest.mark.parametrize(
    "name",
    ["job_id", "", "720p", "8k 5s 16:9", "99p 5s 16:9", "720p 0s 1:1", "720p 5s 7:5", "720p 5s 1:1 x", "720p 05s 1:1"],
)
def test_another_name_is_no_setting(name: str) -> None:
    assert prices.named(name) is None


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({}, "720p 5s 16:9"),
        ({"resolution": "480p", "duration": 10, "aspect_ratio": "9:16"}, "480p 10s 9:16"),
        ({"duration": -1, "aspect_ratio": "adaptive", "generate_audio": True}, "720p auto adaptive audio"),
        ({"generate_audio": False}, "720p 5s 16:9 silent"),
        ({"reference_videos": ["https://a.example/b.mp4"], "generate_audio": True}, "720p 5s 16:9 audio videos"),
        ({"reference_videos": []}, "720p 5s 16:9"),
        # somebody edited the record
        ({"resolution": "8k", "duration": "long", "aspect_ratio": ["16:9"], "generate_audio": "no"}, "720p 5s 16:9"),
        ({"resolution": None, "duration": 0, "aspect_ratio": {}}, "720p 5s 16:9"),
        ({"resolution": ["720p"], "duration": float("nan")}, "720p 5s 16:9"),
        ({"duration": True}, "720p 5s 16:9"),
    ],
)
def test_a_setting_is_what_the_price_depends_on(parameters: dict[str, Any], name: str) -> None:
    assert setting(parameters).name == name


# with bills -----------------------------------------------------------------------------------------------------

HERE = "720p 5s 16:9"


@pytest.mark.parametrize(
    ("bills", "usd"),
    [
        ([0.3], 0.3),
        ([0.2, 0.3], 0.25),
        ([0.3, 0.3, 9.0], 0.3),  # one odd bill
        ([0.9] * 10 + [0.3] * 10, 0.3),  # only the last ten
        ([0.3] * 5 + [0.33] * 6, 0.33),
        ([1e-6], 0.25 / 8),  # an edited item
        ([900.0], 2.0),
    ],
)
def test_an_estimate_is_the_median_of_the_settings_last_bills(bills: list[float], usd: float) -> None:
    assert estimate("seedance-1.0-pro-fast", {HERE: bills}, duration=5) == pytest.approx(usd, abs=0.00006)


def test_bills_of_another_setting_do_not_count() -> None:
    others = {"1080p 5s 16:9": [9.0], "720p 10s 16:9": [9.0], "720p 5s 1:1": [9.0], "720p 5s 16:9 audio": [9.0]}
    assert estimate("seedance-1.0-pro-fast", others, duration=5) == 0.25


def test_an_open_length_follows_the_bills_of_the_lengths_that_are_allowed() -> None:
    assert estimate("seedance-2.0-fast", {"720p 15s 16:9": [2.5]}, duration=-1) == 2.5
    assert estimate("seedance-2.0-fast", {"720p 12s 16:9": [2.4]}, duration=-1) == 2.4  # more than 15 s as published
    assert estimate("seedance-2.0-fast", {"720p 15s 16:9": [0.9]}, duration=-1) == pytest.approx(12 * 0.152)


def test_an_open_setting_costs_at_least_its_own_highest_bill() -> None:
    assert estimate("seedance-2.0-fast", {"720p auto 16:9": [0.7, 2.6, 0.7]}, duration=-1) == 2.6
    assert estimate("seedance-2.0-fast", {"720p auto 16:9": [0.7, 0.8]}, duration=-1) == pytest.approx(15 * 0.152)
    assert estimate("seedance-2.0-fast", {"720p auto 16:9": [900.0]}, duration=-1) == pytest.approx(8 * 15 * 0.152)
    assert estimate("seedance-1.5-pro", {"720p 5s adaptive": [0.27, 0.2]}, aspect_ratio="adaptive") == 0.27
    videos = {"reference_videos": ["https://a.example/b.mp4"]}
    assert estimate("seedance-2.0-fast", {"720p 5s 16:9 videos": [0.8, 2.0, 0.9]}, **videos) == 2.0


# drift ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bills", "percent"),
    [
        ([], None),
        ([0.3, 0.3], None),  # one or two odd bills raise no alarm
        ([0.25] * 3, 0),
        ([0.275] * 3, 10),
        ([0.2] * 20, -20),
        ([0.25] * 5 + [0.275] * 5, 5),
        ([0.25] * 4 + [0.275] * 6, 10),
        ([9.0] * 5 + [0.25] * 10, 0),
        ([0.25, 0.25, 9.0], 0),
    ],
)
def test_drift_is_the_median_of_the_last_ten_bills_above_the_published_price(
    bills: list[float], percent: float | None
) -> None:
    drift = drift_percent("seedance-1.0-pro-fast", Setting("720p", 5, "16:9"), bills)
    assert drift == (None if percent is None else pytest.approx(percent))


@pytest.mark.parametrize(
    ("slug", "of"),
    [
        ("seedance-2.0-fast", Setting("720p", prices.AUTO, "16:9")),
        ("seedance-2.0-fast", Setting("720p", 5, "16:9", videos=True)),
        ("a-retired-model", Setting("720p", 5, "16:9")),
    ],
)
def test_without_a_published_price_there_is_no_drift(slug: str, of: Setting) -> None:
    assert drift_percent(slug, of, [9.0] * 10) is None


@pytest.mark.parametrize("value", [0, -0.1, 1000.1, True, "0.3", None, [0.3], float("nan"), float("inf")])
def test_an_impossible_bill_is_not_used(value: object) -> None:
    assert prices.usable([0.3, value, 1]) == [0.3, 1.0]


@pytest.mark.parametrize("stored", [None, 0.3, "0.3", {"0": 0.3}, True])
def test_bills_that_are_no_list_are_not_used(stored: object) -> None:
    assert prices.usable(stored) == []
