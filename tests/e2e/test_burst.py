"""A burst of fifty images at once, under the rate limit. It uses the benchmark that drops a thousand."""

import sys
from pathlib import Path

import pytest

from benchmarks.burst import TIME_SCALE, burst

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]


def test_fifty_images_at_once_become_one_video_each_within_the_rate_limit() -> None:
    if not (Path(sys.executable).parent / "ministack").exists():
        pytest.skip("no emulator is installed; `pip install -e .` brings it")
    seen = burst(50, TIME_SCALE, 500)
    assert (seen["completed"], seen["duplicates"]) == (50, 0)
    assert seen["429s"] <= 1  # a function that waits for a core is late for its slot; a 429 costs nothing
