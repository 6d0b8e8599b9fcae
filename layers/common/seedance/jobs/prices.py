"""What a video costs: the published prices, the estimate that recent bills correct, and how far bills differ. Pure.

The provider publishes an average per video for every model, and a price for tokens or seconds only for some. Where it
publishes only the average, the price is derived: the average counts as the price of 5 s at 720p and 16:9, and other
settings cost in proportion to their tokens. Averages hide the factors for resolution and audio, so a derived price may
be wrong by a factor of two or more. The bills correct that.

Sources, read on PRICES_OF: the averages are the provider's model list; prices for tokens and seconds, and the formula,
are those that resellers cite from the provider's pages; the sizes are ByteDance's ("ModelArk", creating a video task).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seedance.aws import checks

PRICES_OF = "2026-11-20"
"""When the published prices were read. The drift of the bills is measured from them."""

AUTO = -1
"""The ``duration`` that leaves the length to the model."""

ADAPTIVE = "adaptive"
"""The ``aspect_ratio`` that takes the image's."""

BILLS_KEPT = 10
"""How many of a setting's last bills are used."""

DRIFT_BILLS = 3
"""From so many bills of a setting on, its drift is known. One odd bill must not raise an alarm."""

DRIFT_PERCENT = 5.0
"""Above this drift, the ledger says so. The alarm on PriceDriftPercent has the same threshold."""

MOST_USD = 1000.0
"""More than any video costs, as in provider.payloads (price)."""

_FURTHEST = 8.0
"""A factor. A setting whose bills are further from its published price counts as if at that distance, so that an edited
item can't make a reservation worthless."""

_USUAL_RESOLUTION, _USUAL_SECONDS, _USUAL_RATIO = "720p", 5, "16:9"

Bills = Mapping[str, Sequence[float]]
"""A model's last bills in USD, oldest first, by the name of their setting."""

_SIZES = {
    "480p": {"16:9": (864, 496), "4:3": (752, 560), "1:1": (640, 640), "21:9": (992, 432)},
    "720p": {"16:9": (1280, 720), "4:3": (1112, 834), "1:1": (960, 960), "21:9": (1470, 630)},
    "1080p": {"16:9": (1920, 1080), "4:3": (1664, 1248), "1:1": (1440, 1440), "21:9": (2206, 946)},
}
"""Width and height by resolution and ratio, of the models since 1.5. Those of the 1.0 models differ by up to 5%, less
than what is known about their price."""

_NAME = (
    r"(?P<resolution>\d+p) (?:auto|(?P<seconds>\d{1,4})s) (?P<ratio>\d+:\d+|adaptive)"
    r"(?: (?P<audio>audio|silent))?(?P<videos> videos)?"
)

_TURNED = {"9:16": "16:9", "3:4": "4:3"}
"""Ratios of the same size as another one, upright."""


@dataclass(frozen=True)
class Price:
    """What the provider publishes about a model's price, in USD."""

    average: float
    """For one video, whatever its settings."""
    tokens: tuple[float, float] | None = None
    """For a million tokens, without and with audio."""
    seconds: Mapping[str, float] | None = None
    """For a second, by resolution."""

    @property
    def basis(self) -> str:
        """The published price in words."""
        if self.tokens:
            return f"${self.tokens[0]:.2f} per million tokens, ${self.tokens[1]:.2f} with audio"
        if self.seconds:
            return ", ".join(f"${usd:g} a second at {resolution}" for resolution, usd in self.seconds.items())
        return f"only the average: ${self.average:.2f} counts as the price of 5 s at 720p and 16:9"


PUBLISHED: dict[str, Price] = {
    "seedance-pro": Price(0.35),
    "seedance-1.0-pro-fast": Price(0.25),
    "seedance-1.5-pro": Price(0.41, tokens=(1.20, 2.40)),
    "seedance-2.0-fast": Price(0.77, seconds={"480p": 0.07, "720p": 0.152, "1080p": 0.34}),
    "seedance-2.0-mini": Price(0.40),
}
"""The published prices, by model."""


@dataclass(frozen=True)
class Setting:
    """What a video's price depends on, apart from its model."""

    resolution: str
    seconds: int
    """AUTO if the model chooses the length."""
    ratio: str
    audio: bool | None = None
    """None for a model without that parameter."""
    videos: bool = False
    """Whether there are reference videos. ByteDance bills their length too, at another price per token."""

    @property
    def name(self) -> str:
        """The setting in words, such as ``720p 5s 16:9 audio``. Bills are stored under it."""
        length = "auto" if self.seconds == AUTO else f"{self.seconds}s"
        audio = {None: "", True: " audio", False: " silent"}[self.audio]
        return f"{self.resolution} {length} {self.ratio}{audio}{' videos' if self.videos else ''}"

    @property
    def open(self) -> bool:
        """Whether two videos of this setting may have different prices."""
        return self.seconds == AUTO or self.ratio == ADAPTIVE or self.videos


def setting(parameters: Mapping[str, Any]) -> Setting:
    """The setting of a request. A parameter that is missing or invalid counts as its model's default."""
    resolution, ratio = str(parameters.get("resolution")), str(parameters.get("aspect_ratio"))
    seconds = checks.whole(parameters.get("duration"), AUTO, 3600)
    audio = parameters.get("generate_audio")
    return Setting(
        resolution if resolution in _SIZES else _USUAL_RESOLUTION,
        seconds or _USUAL_SECONDS,
        ratio if ratio == ADAPTIVE or ratio in _TURNED or ratio in _SIZES["720p"] else _USUAL_RATIO,
        audio if isinstance(audio, bool) else None,
        bool(parameters.get("reference_videos")),
    )


def is_complete(parameters: Mapping[str, Any]) -> bool:
    """Whether these parameters tell what a bill is for. An adopted request's are not known."""
    known = setting(parameters)
    return (known.resolution, known.seconds) == (parameters.get("resolution"), parameters.get("duration"))


def named(name: str) -> Setting | None:
    """The setting with this name, or None if it is not the name of one."""
    found = re.fullmatch(_NAME, name)
    if not found:
        return None
    of = setting(
        {
            "resolution": found["resolution"],
            "duration": int(found["seconds"] or AUTO),
            "aspect_ratio": found["ratio"],
            "generate_audio": {"audio": True, "silent": False, None: None}[found["audio"]],
            "reference_videos": found["videos"],
        }
    )
    return of if of.name == name else None


def published_usd(model: str, of: Setting) -> float:
    """The published price of one video of a known length. For ``adaptive``, that of the most expensive shape.

    Raises KeyError for a model without a price.
    """
    price = PUBLISHED[model]
    if price.seconds:
        return price.seconds[of.resolution] * of.seconds
    tokens = _tokens(of)
    if price.tokens:
        # If the choice is not known, the higher price: reservations must not be too small.
        return tokens * price.tokens[of.audio is not False] / 1e6
    return price.average * tokens / _tokens(Setting(_USUAL_RESOLUTION, _USUAL_SECONDS, _USUAL_RATIO))


def _tokens(of: Setting) -> float:
    sizes = _SIZES[of.resolution]
    shapes = sizes.values() if of.ratio == ADAPTIVE else [sizes[_TURNED.get(of.ratio, of.ratio)]]
    return max(width * height for width, height in shapes) * of.seconds * 24 / 1024


def estimate_usd(model: str, asked: Setting, possible: Sequence[Setting], bills: Bills) -> float:
    """The estimated price of a video: its setting's median bill, or its published price if there are no bills.

    ``possible``: the settings that the video may turn out to have (catalogue.settings). The estimate is that of the
    most expensive of them. If the setting is open, it is also at least the highest of its own last bills.
    """
    found = [_expected_usd(model, one, bills.get(one.name, ())) for one in possible]
    if asked.open:
        own = list(bills.get(asked.name, ()))[-BILLS_KEPT:]
        found += [min(usd, _FURTHEST * max(found)) for usd in own]
    return round(max(found), 4)


def _expected_usd(model: str, of: Setting, amounts: Sequence[float]) -> float:
    published = published_usd(model, of)
    if not amounts:
        return published
    return min(max(_median(amounts[-BILLS_KEPT:]), published / _FURTHEST), published * _FURTHEST)


def drift_percent(model: str, of: Setting, amounts: Sequence[float]) -> float | None:
    """By how many percent the median of a setting's last bills is above its published price.

    The published price does not follow the bills, so a price that has risen stays visible after the estimates have
    adapted. None if there are too few bills, or no published price to compare them with.
    """
    last = amounts[-BILLS_KEPT:]
    if len(last) < DRIFT_BILLS or model not in PUBLISHED or of.seconds == AUTO or of.videos:
        return None
    return round((_median(last) / published_usd(model, of) - 1) * 100, 2)


def usable(stored: object) -> list[float]:
    """The valid ones of a setting's stored bills."""
    if not isinstance(stored, list):
        return []
    amounts = [checks.number(value, 0, MOST_USD) for value in stored]
    return [float(usd) for usd in amounts if usd]


def _median(amounts: Sequence[float]) -> float:
    # The statistics module would double what this module and its imports add to a cold start.
    ordered = sorted(amounts)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
