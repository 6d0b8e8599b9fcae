"""The models: their parameters, prices and durations. Where the provider's model pages are clear, they decide.

Nothing here is shared with the pipeline, so that two independent readings of the pages check each other.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

Type = Literal["string", "integer", "boolean", "boolean or its word", "url", "urls"]
Reading = Literal["learned", "pages"]
"""Where the pages are silent: ``learned`` follows newer pages and resellers of the models, ``pages`` does not."""

AUTO_SECONDS = 5  # our choice for `duration: -1`; the page only says "auto"
SMALL_SEEDS = (1, 999_999)
LARGE_SEEDS = (-1, 2_147_483_647)
FIVE_SHAPES = ("16:9", "4:3", "1:1", "3:4", "9:16")
SEVEN_SHAPES = ("16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "adaptive")
THREE_SIZES = ("480p", "720p", "1080p")
DATA_IMAGE = re.compile(r"data:image/[\w.+-]+;base64,([A-Za-z0-9+/]+=*)")
"""Accepted as a frame, but not as a reference (an independent client's probes of August 2026)."""


class InvalidParameters(Exception):
    """The model does not accept the body. `status` is the HTTP status of the response."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter, as described on the model's page."""

    type: Type
    required: bool = False
    default: object = None
    choices: tuple[object, ...] = ()
    range: tuple[int, int] | None = None
    most: int = 0  # length limit of a list


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model. `average_seconds` and `average_usd` are the provider's published averages per video."""

    slug: str
    average_seconds: float
    average_usd: float
    usd_per_million: tuple[float, float]
    """The price of a million tokens, without and with audio."""
    first_image: str
    parameters: Mapping[str, Parameter]
    on_pages: Mapping[str, Parameter | None] = field(default_factory=dict)
    """The parameters that differ in the reading ``pages``; None if there is no such parameter."""
    last_needs_first: bool = True
    """Whether the page says that a last frame requires a first one."""
    no_faces: bool = False
    """Whether a first image with a real person's face is blocked."""
    sample_image: bool = False
    """Whether the page has a sample image as the default of the first image."""

    def parameters_in(self, reading: Reading) -> dict[str, Parameter]:
        """The parameters in one reading of the pages."""
        changed = {**self.parameters, **(self.on_pages if reading == "pages" else {})}
        return {name: about for name, about in changed.items() if about is not None}


@dataclass(frozen=True, kw_only=True)
class Order:
    """A valid body with defaults: the video to make."""

    slug: str
    prompt: str
    aspect_ratio: str
    seconds: int
    resolution: str
    images: tuple[str, ...]
    """The images' URLs. The video shows the first one."""
    recordings: tuple[str, ...]
    """Reference videos and audios: downloaded, but not checked."""
    audio: bool
    return_last_frame: bool
    seed: int | None
    skip_moderation: bool
    sample: bool = False
    """Whether the body leaves the first image out, and the page has a sample image as its default."""


PROMPT = Parameter(type="string", required=True)
SWITCH = Parameter(type="boolean", default=False)
SWITCHED_ON = Parameter(type="boolean", default=True)
# On the pages it is a boolean, but their own examples send the string "false".
MODERATION = Parameter(type="boolean or its word", default=False)
IMAGE = Parameter(type="url")

_FIRST_GENERATION: dict[str, Parameter] = {
    "prompt": PROMPT,
    "aspect_ratio": Parameter(type="string", required=True, choices=FIVE_SHAPES),
    "duration": Parameter(type="integer", required=True, choices=(5, 10)),
    "resolution": Parameter(type="string", required=True, choices=THREE_SIZES),
    "image_url": IMAGE,
    "camera_fixed": SWITCH,
    "seed": Parameter(type="integer", range=SMALL_SEEDS),
}

_SECOND_GENERATION: dict[str, Parameter] = {
    "prompt": PROMPT,
    "aspect_ratio": Parameter(type="string", default="16:9", choices=SEVEN_SHAPES),
    "duration": Parameter(type="integer", default=5, choices=(4, 5, 6, 8, 10, 12, 15)),
    "resolution": Parameter(type="string", default="720p", choices=THREE_SIZES),
    "first_frame_url": IMAGE,
    "last_frame_url": IMAGE,
    "reference_images": Parameter(type="urls", most=9),
    "reference_videos": Parameter(type="urls", most=3),
    "reference_audios": Parameter(type="urls", most=3),
    "generate_audio": SWITCHED_ON,
    "return_last_frame": SWITCH,
    "seed": Parameter(type="integer", range=LARGE_SEEDS),
}

_AVERAGE_TOKENS = 0.108
"""Millions of tokens in 5 s at 720p. Made up: where the provider publishes only an average, that is the price of this
video, with or without audio."""


def _from_average(usd: float) -> tuple[float, float]:
    return usd / _AVERAGE_TOKENS, usd / _AVERAGE_TOKENS


MODELS: dict[str, Model] = {
    model.slug: model
    for model in (
        Model(
            slug="seedance-pro",
            average_seconds=62,
            average_usd=0.35,
            usd_per_million=_from_average(0.35),
            first_image="image_url",
            parameters=_FIRST_GENERATION
            # No default: it is on a newer page only.
            | {"last_frame_url": IMAGE, "skip_moderation": Parameter(type="boolean or its word")},
            on_pages={"skip_moderation": None},
        ),
        Model(
            slug="seedance-1.0-pro-fast",
            average_seconds=49,
            average_usd=0.25,
            usd_per_million=_from_average(0.25),
            first_image="image_url",
            parameters=_FIRST_GENERATION | {"skip_moderation": MODERATION},
        ),
        Model(
            slug="seedance-1.5-pro",
            average_seconds=99,
            average_usd=0.41,
            usd_per_million=(1.20, 2.40),
            first_image="first_frame_url",
            on_pages={"duration": Parameter(type="integer", required=True, range=(4, 10))},  # the two that it names
            last_needs_first=False,  # the only page that does not say it
            parameters={
                "prompt": PROMPT,
                "aspect_ratio": Parameter(type="string", required=True, choices=("adaptive", *FIVE_SHAPES)),
                "duration": Parameter(type="integer", required=True, choices=(*range(4, 13), -1)),
                "resolution": Parameter(type="string", required=True, choices=THREE_SIZES),
                "first_frame_url": IMAGE,
                "last_frame_url": IMAGE,
                "camera_fixed": SWITCH,
                "generate_audio": SWITCHED_ON,
                "seed": Parameter(type="integer", range=SMALL_SEEDS),
                "skip_moderation": MODERATION,
            },
        ),
        Model(
            slug="seedance-2.0-fast",
            average_seconds=117,
            average_usd=0.77,
            usd_per_million=(7.00, 7.00),  # ByteDance's list price of Seedance 2.0
            first_image="first_frame_url",
            no_faces=True,
            parameters=_SECOND_GENERATION
            | {
                "duration": Parameter(type="integer", default=5, choices=(4, 5, 6, 8, 10, 12, 15, -1)),
                "resolution": Parameter(type="string", default="720p", choices=("480p", "720p")),
                "generate_audio": SWITCH,
            },
        ),
        Model(
            slug="seedance-2.0-mini",
            average_seconds=159,
            average_usd=0.40,
            usd_per_million=_from_average(0.40),
            first_image="first_frame_url",
            no_faces=True,
            sample_image=True,
            parameters=_SECOND_GENERATION | {"skip_moderation": MODERATION},
        ),
    )
}

_PIXELS = {"480p": 480 * 854, "720p": 720 * 1280, "1080p": 1080 * 1920}
"""Width x height at 16:9. ByteDance's other shapes have about as many pixels, so the shape does not change the cost."""


def cost_usd(order: Order, factor: float = 1.0) -> float:
    """The video's cost in USD: its tokens (width x height x seconds x 24 / 1024) at the model's price.

    `factor` raises or lowers all prices.
    """
    tokens = _PIXELS[order.resolution] * order.seconds * 24 / 1024
    return round(MODELS[order.slug].usd_per_million[order.audio] * tokens / 1e6 * factor, 4)


def read_order(model: Model, body: object, reading: Reading = "learned") -> Order:
    """The order in a request body. Raises `InvalidParameters` that names the field.

    In the contract, both 400 and 422 mean an invalid body, so both are used: 422 if a field is missing or has the
    wrong type, 400 if a value, a combination or a name is not allowed.
    """
    if not isinstance(body, dict):
        raise InvalidParameters(400, "Request body must be a JSON object")
    parameters = model.parameters_in(reading)
    for name in body:
        if name not in parameters:
            raise InvalidParameters(400, f"Unknown parameter '{name}' for {model.slug}")
    values: dict[str, Any] = {name: _value(name, parameter, body.get(name)) for name, parameter in parameters.items()}
    _check_files(model, values, reading)
    first, last, references = values[model.first_image], values.get("last_frame_url"), values.get("reference_images")
    recordings = tuple(values.get("reference_videos") or ()) + tuple(values.get("reference_audios") or ())
    return Order(
        slug=model.slug,
        prompt=values["prompt"],
        aspect_ratio=values["aspect_ratio"],
        seconds=AUTO_SECONDS if values["duration"] == -1 else values["duration"],
        resolution=values["resolution"],
        images=tuple(url for url in (first, last, *(references or ())) if url),
        recordings=recordings,
        audio=bool(values.get("generate_audio")),
        return_last_frame=bool(values.get("return_last_frame")),
        seed=None if values.get("seed") in (None, -1) else values["seed"],
        skip_moderation=values.get("skip_moderation") in (True, "true"),
        sample=model.sample_image and body.get(model.first_image) is None and not references and not recordings,
    )


def unread_order(model: Model, body: Mapping[str, Any]) -> Order:
    """The order in a body that the model refuses later: it is queued, but no video is made."""
    return Order(
        slug=model.slug,
        prompt=str(body.get("prompt") or ""),
        aspect_ratio="16:9",
        seconds=AUTO_SECONDS,
        resolution="720p",
        images=(),
        recordings=(),
        audio=False,
        return_last_frame=False,
        seed=None,
        skip_moderation=False,
    )


def order_again(model: Model, body: Mapping[str, Any]) -> Order:
    """The order in a body that was accepted before, in whichever reading."""
    readings: tuple[Reading, ...] = ("learned", "pages")
    for reading in readings:
        try:
            return read_order(model, body, reading)
        except InvalidParameters:
            continue
    return unread_order(model, body)


def _check_files(model: Model, values: Mapping[str, Any], reading: Reading) -> None:
    """Check which files are given together. The pages say less than is known from elsewhere."""
    first, last = values[model.first_image], values.get("last_frame_url")
    given = [name for name in ("reference_images", "reference_videos", "reference_audios") if values.get(name)]
    learned = reading == "learned"
    for name in given:
        if (first or (last and learned)) and (learned or name == "reference_images"):
            frame = model.first_image if first else "last_frame_url"
            raise InvalidParameters(400, f"{name} cannot be combined with {frame}")
    if last and not first and (learned or model.last_needs_first):
        raise InvalidParameters(400, f"last_frame_url requires {model.first_image}")
    if learned and given == ["reference_audios"]:
        raise InvalidParameters(400, "reference_audios requires reference_images or reference_videos")


def _value(name: str, parameter: Parameter, value: object) -> object:
    """One checked value, or the parameter's default if it is missing."""
    # On the pages, the default of an image is "", so a client sends that for "no image".
    if value is None or (parameter.type == "url" and value == ""):
        if parameter.required:
            raise InvalidParameters(422, f"Field required: {name}")
        return parameter.default
    _check_type(name, parameter, value)
    if parameter.required and value == "":
        raise InvalidParameters(422, f"{name} must not be empty")
    if parameter.choices and value not in parameter.choices:
        allowed = ", ".join(str(choice) for choice in parameter.choices)
        raise InvalidParameters(400, f"Invalid value for {name}: {value!r}. Allowed: {allowed}")
    if parameter.range and isinstance(value, int):
        low, high = parameter.range
        if not low <= value <= high:
            raise InvalidParameters(400, f"Invalid value for {name}: {value}. Range: {low} - {high}")
    if isinstance(value, list) and len(value) > parameter.most:
        raise InvalidParameters(400, f"{name} takes at most {parameter.most} URLs, got {len(value)}")
    return value


def _check_type(name: str, parameter: Parameter, value: object) -> None:
    match parameter.type:
        case "string":
            fits = isinstance(value, str)
        case "integer":
            fits = isinstance(value, int) and not isinstance(value, bool)
        case "boolean":
            fits = isinstance(value, bool)
        case "boolean or its word":
            fits = isinstance(value, bool) or value in ("true", "false")
        case "url":
            fits = _is_url(value) or (isinstance(value, str) and DATA_IMAGE.fullmatch(value) is not None)
        case "urls":
            fits = isinstance(value, list) and all(_is_url(item) for item in value)
    if not fits:
        wanted = {"url": "an http(s) URL or an image's data URL", "urls": "a list of http(s) URLs"}
        raise InvalidParameters(422, f"{name} must be {wanted.get(parameter.type, 'a ' + parameter.type)}")


def _is_url(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
