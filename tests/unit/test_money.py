"""Reservations: a plausible estimate for every model and length, booked on a UTC day."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.jobs.budget import PRICES_OF, day_of, estimate_usd
from seedance.jobs.catalogue import MODELS


@pytest.mark.parametrize(
    ("parameters", "usd"),
    [
        ({}, 0.4),
        ({"duration": 5, "resolution": "720p"}, 0.4),
        ({"duration": 10}, 0.8),
        ({"duration": -1}, 0.4),  # the model chooses
        ({"duration": 0}, 0.08),
        ({"resolution": "480p"}, 0.2),
        ({"resolution": "1080p"}, 0.9),
        ({"duration": 10, "resolution": "1080p"}, 1.8),
        ({"resolution": "8k"}, 0.4),
        ({"prompt": "x", "seed": 1}, 0.4),
    ],
)
def test_an_estimate_increases_with_length_and_pixels(parameters: dict[str, Any], usd: float) -> None:
    assert estimate_usd(0.4, parameters) == pytest.approx(usd)


@pytest.mark.parametrize("slug", MODELS)
@given(st.integers(-1, 12), st.sampled_from(["480p", "720p", "1080p", None]))
def test_every_model_has_an_estimate_above_zero(slug: str, duration: int, resolution: str | None) -> None:
    parameters = {"duration": duration, **({"resolution": resolution} if resolution else {})}
    average = MODELS[slug].average_usd
    assert 0 < estimate_usd(average, parameters) <= average * 12 / 5 * 2.25 + 0.0001


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 11, 20, 0, 0, tzinfo=UTC), "2026-11-20"),
        (datetime(2026, 11, 20, 23, 59, 59, 999_000, tzinfo=UTC), "2026-11-20"),
        (datetime(2026, 11, 21, 0, 0, tzinfo=UTC), "2026-11-21"),
        (datetime(2024, 2, 29, 12, tzinfo=UTC), "2024-02-29"),
    ],
)
def test_the_booking_day_is_in_utc(monkeypatch: pytest.MonkeyPatch, moment: datetime, day: str) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    assert day_of(moment.timestamp()) == day


def test_the_prices_have_a_date() -> None:
    assert datetime.fromisoformat(PRICES_OF)
