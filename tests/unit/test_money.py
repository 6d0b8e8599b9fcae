"""A booking belongs to a UTC day."""

from datetime import UTC, datetime

import pytest
from seedance.jobs.budget import day_of


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
