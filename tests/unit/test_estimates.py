"""POST /estimates: price and likely time, without buying, reserving or storing anything."""

import json
import math
from typing import Any

import pytest
from seedance.errors import InvalidRequest
from seedance.jobs.defaults import Defaults
from seedance.pacing.poll_schedule import PUBLISHED_SIGMA
from seedance.rest.estimates import Estimates

MINI = {"model": "seedance-2.0-mini", "parameters": {"duration": 8}}


@pytest.fixture
def estimates(world: Any) -> Estimates:
    defaults = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")
    return Estimates(world.store.bills, world.durations, defaults, ("images/",))


def test_without_bills_and_durations_what_is_published_counts(world: Any, estimates: Estimates) -> None:
    found = estimates.estimate(json.dumps(MINI))
    assert (found["model"], found["transport"], found["parameters"]["duration"]) == ("seedance-2.0-mini", "v2", 8)
    assert found["estimate_usd"] == 0.64  # $0.40 for 5 s
    median = 159 / math.sqrt(1 + 0.45**2)
    assert found["seconds"]["p50"] == pytest.approx(median, abs=0.1)
    assert found["seconds"]["p90"] == pytest.approx(median * math.exp(1.2815515 * PUBLISHED_SIGMA), abs=0.1)
    assert found["based_on"] == {"bills": 0, "durations": 0}


def test_bills_and_durations_are_learned_from(world: Any, estimates: Estimates) -> None:
    parameters = estimates.estimate(json.dumps(MINI))["parameters"]
    world.clock.now += 61  # what was read is cached for a minute
    for usd in (0.5, 0.7, 0.6):
        world.store.bills.learn("seedance-2.0-mini", parameters, usd)
    for _ in range(20):
        world.durations.learn("seedance-2.0-mini", 80.0)
    found = estimates.estimate(json.dumps(MINI))
    assert found["estimate_usd"] == 0.6
    assert found["seconds"]["p50"] == pytest.approx(80, rel=0.15)
    assert found["seconds"]["p50"] < found["seconds"]["p90"] < 130
    assert found["based_on"] == {"bills": 3, "durations": 20}


def test_the_estimate_is_what_a_submit_would_reserve(world: Any, estimates: Estimates) -> None:
    for body in ({"prompt": "x"}, MINI, {"model": "seedance-1.5-pro", "parameters": {"duration": -1}}):
        found = estimates.estimate(json.dumps(body))
        assert found["estimate_usd"] == world.store.bills.estimate(found["model"], found["parameters"])


@pytest.mark.parametrize("body", ["{}", '{"prompt": "x"}', '{"parameters": {"prompt": "x"}}', '{"prompt": null}'])
def test_no_prompt_is_needed(estimates: Estimates, body: str) -> None:
    found = estimates.estimate(body)
    assert found["model"] == "seedance-1.0-pro-fast"
    assert found["estimate_usd"] == 0.25


def test_an_image_in_the_bucket_is_not_looked_at(world: Any, estimates: Estimates) -> None:
    world.calls.clear()
    assert estimates.estimate('{"image_key": "images/none.png"}')["estimate_usd"] == 0.25
    assert {name for name, _ in world.calls} == {"GetItem"}
    with pytest.raises(InvalidRequest, match="image_key: must begin with images/"):
        estimates.estimate('{"image_key": "uploads/a.png"}')


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (None, "body"),
        ("[]", "body"),
        ('{"model": "seedance-9"}', "model"),
        ('{"prompt": ""}', "prompt"),
        ('{"parameters": {"duration": 7}}', "duration"),
        ('{"image_key": "images/a.png", "image": "https://a.example/b.png"}', "image"),
        ('{"count": 5}', "count"),
    ],
)
def test_an_invalid_request_is_refused_as_by_post_videos(estimates: Estimates, body: str | None, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        estimates.estimate(body)
    assert caught.value.field == field


def test_times_are_those_of_a_faster_stand_in(world: Any) -> None:
    defaults = Defaults("seedance-pro", "x", "v2")
    usual, fast = (Estimates(world.store.bills, world.durations, defaults, (), scale) for scale in (1.0, 0.1))
    assert fast.estimate("{}")["seconds"]["p50"] == pytest.approx(usual.estimate("{}")["seconds"]["p50"] / 10, abs=0.1)
