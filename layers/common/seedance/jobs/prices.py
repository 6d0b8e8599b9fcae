"""What a video will probably cost, and which day pays for it. Pure."""

from datetime import UTC, datetime
from typing import Any

PRICES_OF = "2026-11-20"
"""When the published averages in the catalogue were read; a model that got dearer settles above its estimate."""

_RESOLUTION_FACTOR = {"480p": 0.5, "720p": 1.0, "1080p": 2.25}
"""Relative number of pixels, to 720p: what the provider's averages are taken to be for."""

_AVERAGE_SECONDS_OF_VIDEO = 5


def estimate_usd(average_usd: float, parameters: dict[str, Any]) -> float:
    """A reservation for one video, in USD: the published average, scaled by length and pixels.

    The provider publishes one average a model and says that costs vary with duration and resolution. The
    estimate only has to be of the right size: it is replaced by the provider's own ``cost`` at the end. A
    duration of -1 (automatic) is taken for 5 s, the models' default.
    """
    duration = parameters.get("duration", _AVERAGE_SECONDS_OF_VIDEO)
    length = max(1, duration) if duration != -1 else _AVERAGE_SECONDS_OF_VIDEO
    pixels = _RESOLUTION_FACTOR.get(str(parameters.get("resolution", "720p")), 1.0)
    return round(average_usd * length / _AVERAGE_SECONDS_OF_VIDEO * pixels, 4)


def day_of(moment: float) -> str:
    """The UTC day of a Unix time, as the ledger names it: ``2026-11-20``."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
