"""POST /estimates: what a video would cost and how long it would take, before anything is bought."""

import math
from dataclasses import dataclass
from functools import cache
from typing import TypedDict

from seedance.config import api_settings
from seedance.jobs import prices, requests
from seedance.jobs.bills import Bills
from seedance.jobs.defaults import Defaults
from seedance.jobs.job import ParameterValues
from seedance.jobs.prefixes import usable
from seedance.jobs.store import jobs
from seedance.pacing import poll_schedule
from seedance.pacing.durations import Durations, durations

Z_90 = 1.2815515655446004
"""The 90 % quantile of the standard normal distribution."""


class LikelySeconds(TypedDict):
    """How long it takes, in seconds, from the submit until the video is made. The copy takes a few seconds more."""

    p50: float
    """Half of such videos are made within this time."""
    p90: float
    """Nine of ten are made within this time."""


class EstimateBasis(TypedDict):
    """What an estimate is based on."""

    bills: int
    """How many bills for the same model and setting count; at most the last ten. 0: the price is the published one."""
    durations: int
    """How many videos of the model count; at most the last twenty. 0: the time is the published one."""


class Estimate(TypedDict):
    """The estimate for a request. Nothing is bought, reserved or stored."""

    model: str
    transport: str
    parameters: ParameterValues
    """Validated, with defaults, under the provider's names."""
    estimate_usd: float
    """What would be reserved in the day's budget. If the model chooses length or shape: for the most expensive."""
    seconds: LikelySeconds
    based_on: EstimateBasis


@dataclass(frozen=True)
class Estimates:
    """The use case and its dependencies."""

    bills: Bills
    durations: Durations
    defaults: Defaults
    image_prefixes: tuple[str, ...]
    time_scale: float = 1.0
    """Our seconds per second of the provider."""

    def estimate(self, body: str | None) -> Estimate:
        """The estimate for the body of ``POST /videos``, in which the prompt is optional. Raises InvalidRequest.

        An image in the bucket is not looked at: an estimate does not depend on it.
        """
        request = requests.api_request(body, self.defaults, prompt_needed=False)
        if request.image_key:
            requests.check_image_key(request.image_key, self.image_prefixes)
        model = request.model
        seen = self.durations.of(model.slug)
        spread = poll_schedule.estimate(model.average_seconds, seen)
        known = self.bills.of(model.slug).get(prices.setting(request.parameters).name, ())
        return {
            "model": model.slug,
            "transport": request.transport,
            "parameters": request.parameters,
            "estimate_usd": self.bills.estimate(model.slug, request.parameters),
            "seconds": {
                "p50": self._seconds(spread.log_median),
                "p90": self._seconds(spread.log_median + Z_90 * spread.sigma),
            },
            "based_on": {"bills": len(known), "durations": len(seen)},
        }

    def _seconds(self, logarithm: float) -> float:
        # The provider ends a request after an hour.
        return round(min(math.exp(logarithm), poll_schedule.DEADLINE_SECONDS) * self.time_scale, 1)


@cache
def estimates() -> Estimates:
    """The use case, configured for this stack."""
    stack = api_settings()
    defaults = Defaults(stack.default_model, stack.default_prompt, stack.default_transport)
    return Estimates(jobs().bills, durations(), defaults, usable(stack.image_key_prefixes), stack.time_scale)
