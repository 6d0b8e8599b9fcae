"""The models: parameters, defaults, limits, transports, published mean durations. Pure.

Source of every parameter, default, range and exclusion: the provider's model pages, and where these are silent, what
resellers of the same models document (docs/provider.md says which). Mean durations: the provider's model list. Prices
are in jobs.prices. Parameters that a page calls required are optional here: if one is missing, the page's own default
is sent.
"""

import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from seedance import bounds
from seedance.errors import InvalidRequest
from seedance.jobs import allowed, prices
from seedance.jobs.job import ParameterValues

PROMPT_LIMIT = 5000
"""Our limit for a prompt, in characters. No page states a limit; the longest example prompt has 1,900."""

URL_LIMIT = 2048

HALVES = "has half of a character in it (an unpaired surrogate); send plain UTF-8"
"""What is wrong with a text that can't be stored."""

LONGEST_NAME = 100
"""A longer name is nobody's misspelling of ours, and comparing it would take long."""

COMMON_NAMES = {
    "image": "first_image",
    "image_url": "first_image",
    "first_frame": "first_image",
    "first_frame_url": "first_image",
    "first_image": "first_image",
    "last_image": "last_image",
    "last_frame": "last_image",
    "last_frame_url": "last_image",
    "last_image_url": "last_image",
    "audio": "generate_audio",
    "ratio": "aspect_ratio",
}
"""Names that are accepted for every model, whatever the model's page calls the parameter."""

REFERENCES = ("reference_images", "reference_videos", "reference_audios")
"""The parameters with reference files, of the models that take any."""

_PLACEHOLDER_IMAGE = "https://image.invalid/to-be-signed-at-submit"


_INTEGRAL = re.compile(r"([+-]?\d+)(?:\.0+|,0{1,2})")
"""A whole number as a data frame or a spreadsheet writes it. ``5,000`` may be five thousand."""


def whole_number(value: object) -> object:
    """Converts text and ``5.0`` to a whole number; other values are returned unchanged. True is not 1.

    Metadata, manifests and command lines are text, and Literal does not convert.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        integral = _INTEGRAL.fullmatch(text)
        try:
            return int(integral[1] if integral else text)
        except ValueError:
            return value
    return value


def _list_from_text(value: object) -> object:
    """Converts text to a list: in metadata, a list is JSON or comma-separated addresses."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("["):
        try:
            return bounds.read_json(text)
        except ValueError:
            return value
    return [part.strip() for part in text.split(",") if part.strip()]


_UNSEEN = r"\s\u0000-\u001f\u007f-\u009f"  # addresses contain no white space or control characters
_ADDRESS = rf"^https?://[^/{_UNSEEN}][^{_UNSEEN}]*$"
Url = Annotated[str, Field(pattern=_ADDRESS, max_length=URL_LIMIT, json_schema_extra={"format": "uri"})]
Prompt = Annotated[str, Field(min_length=1, max_length=PROMPT_LIMIT, description="What happens in the video.")]
FiveRatios = Literal["16:9", "4:3", "1:1", "3:4", "9:16"]
SevenRatios = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "adaptive"]
SmallSeed = Annotated[
    int | None,
    Field(ge=1, le=999999, description="Makes the result reproducible. Default: derived from the job id."),
    BeforeValidator(whole_number),
]
WideSeed = Annotated[
    int | None,
    Field(
        ge=-1,
        le=2147483647,
        description="Makes the result reproducible; -1 is random. Default: derived from the job id.",
    ),
    BeforeValidator(whole_number),
]
_MODERATION = "Skips the content pre-filter; the baseline policies still apply."
Moderation = Annotated[bool, Field(description=_MODERATION)]
ModerationIfGiven = Annotated[bool | None, Field(description=f"{_MODERATION} Sent only if given.")]
"""For a model of whose pages only a newer one lists the parameter."""
FaceFreeUrl = Annotated[Url | None, Field(description="An image that shows a real person's face is blocked.")]
FixedCamera = Annotated[bool, Field(description="Keeps the camera fixed.")]
UpToThree = Annotated[list[Url], BeforeValidator(_list_from_text), Field(max_length=3)]
UpToNine = Annotated[list[Url], BeforeValidator(_list_from_text), Field(max_length=9)]


class Parameters(BaseModel):
    """The parameters that all models have. Subclasses name the parameters of the first and the last image."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, validate_default=True, defer_build=True)

    first_image: ClassVar[str]
    last_image: ClassVar[str | None] = "last_frame_url"
    no_image: ClassVar[str | None] = None
    """What is sent as the first image of a video without one. None: nothing, because the model has no sample image."""

    prompt: Prompt

    @model_validator(mode="after")
    def _images_go_together(self) -> Self:
        frames = [name for name in (self.first_image, self.last_image) if name and getattr(self, name)]
        references = [name for name in REFERENCES if getattr(self, name, None)]
        if frames and references:
            raise ValueError(f"{references[0]}: can't be combined with {frames[0]}; use only one of them")
        if frames == [self.last_image]:
            raise ValueError(f"{self.last_image}: requires {self.first_image}")
        if references == ["reference_audios"]:
            raise ValueError("reference_audios: requires reference_images or reference_videos")
        return self


class SeedancePro(Parameters):
    """Seedance 1.0 Pro."""

    first_image: ClassVar[str] = "image_url"

    aspect_ratio: FiveRatios = "16:9"
    duration: Annotated[Literal[5, 10], BeforeValidator(whole_number)] = 5
    resolution: Literal["480p", "720p", "1080p"] = "720p"
    image_url: Url | None = None
    last_frame_url: Url | None = None
    camera_fixed: FixedCamera = False
    seed: SmallSeed = None
    skip_moderation: ModerationIfGiven = None


class Seedance10ProFast(Parameters):
    """Seedance 1.0 Pro Fast."""

    first_image: ClassVar[str] = "image_url"
    last_image: ClassVar[str | None] = None

    aspect_ratio: FiveRatios = "16:9"
    duration: Annotated[Literal[5, 10], BeforeValidator(whole_number)] = 5
    resolution: Literal["480p", "720p", "1080p"] = "720p"
    image_url: Url | None = None
    camera_fixed: FixedCamera = False
    seed: SmallSeed = None
    skip_moderation: Moderation = False


class Seedance15Pro(Parameters):
    """Seedance 1.5 Pro."""

    first_image: ClassVar[str] = "first_frame_url"

    aspect_ratio: Literal["adaptive", "16:9", "4:3", "1:1", "3:4", "9:16"] = "16:9"
    duration: Annotated[
        Literal[4, 5, 6, 7, 8, 9, 10, 11, 12, -1],
        BeforeValidator(whole_number),
        Field(description="Seconds; -1 is auto. The provider's page names only 4 and 10."),
    ] = 5
    resolution: Literal["480p", "720p", "1080p"] = "720p"
    first_frame_url: Url | None = None
    last_frame_url: Url | None = None
    camera_fixed: FixedCamera = False
    generate_audio: bool = True
    seed: SmallSeed = None
    skip_moderation: Moderation = False


class Seedance20Fast(Parameters):
    """Seedance 2.0 Fast."""

    first_image: ClassVar[str] = "first_frame_url"

    aspect_ratio: SevenRatios = "16:9"
    duration: Annotated[
        Literal[4, 5, 6, 8, 10, 12, 15, -1],
        BeforeValidator(whole_number),
        Field(description="Seconds; -1 is auto."),
    ] = 5
    resolution: Literal["480p", "720p"] = "720p"
    first_frame_url: FaceFreeUrl = None
    last_frame_url: Url | None = None
    reference_images: UpToNine = []
    reference_videos: Annotated[UpToThree, Field(description="2 to 15 s and at most 50 MB each.")] = []
    reference_audios: Annotated[UpToThree, Field(description="MP3, at most 15 MB each.")] = []
    generate_audio: bool = False
    return_last_frame: bool = False
    seed: WideSeed = None


class Seedance20Mini(Parameters):
    """Seedance 2.0 Mini."""

    first_image: ClassVar[str] = "first_frame_url"
    no_image: ClassVar[str | None] = ""
    """Its page has a sample image as the default, so leaving the parameter out might animate that image."""

    aspect_ratio: SevenRatios = "16:9"
    duration: Annotated[Literal[4, 5, 6, 8, 10, 12, 15], BeforeValidator(whole_number)] = 5
    resolution: Literal["480p", "720p", "1080p"] = "720p"
    first_frame_url: FaceFreeUrl = None
    last_frame_url: Url | None = None
    reference_images: UpToNine = []
    reference_videos: UpToThree = []
    reference_audios: UpToThree = []
    generate_audio: bool = True
    return_last_frame: bool = False
    seed: WideSeed = None
    skip_moderation: Moderation = False


@dataclass(frozen=True)
class Model:
    """One model: its slug, its parameters, and the mean duration that the provider publishes for its videos."""

    slug: str
    title: str
    parameters: type[Parameters]
    average_seconds: float
    transports: tuple[str, ...] = ("v2",)

    @property
    def average_usd(self) -> float:
        """The average price that the provider publishes for a video."""
        return prices.PUBLISHED[self.slug].average

    @property
    def names(self) -> list[str]:
        """The parameters' names, as the provider spells them."""
        return list(self.parameters.model_fields)


MODELS: dict[str, Model] = {
    model.slug: model
    for model in (
        Model("seedance-pro", "Seedance 1.0 Pro", SeedancePro, 62, ("v2", "v1")),
        Model("seedance-1.0-pro-fast", "Seedance 1.0 Pro Fast", Seedance10ProFast, 49),
        Model("seedance-1.5-pro", "Seedance 1.5 Pro", Seedance15Pro, 99),
        Model("seedance-2.0-fast", "Seedance 2.0 Fast", Seedance20Fast, 117, ("v2", "v1")),
        Model("seedance-2.0-mini", "Seedance 2.0 Mini", Seedance20Mini, 159),
    )
}


def find(slug: str) -> Model:
    """The model with this name. Raises InvalidRequest that names the closest match and all models."""
    if model := MODELS.get(slug):
        return model
    unknown = f"{bounds.shown(slug)!r} does not exist{nearest(slug, MODELS)}"
    raise InvalidRequest("model", f"{unknown}; available: {', '.join(MODELS)}", allowed=list(MODELS))


def validate(model: Model, given: Mapping[str, object], *, has_image: bool) -> ParameterValues:
    """The parameters to send for ``given``, with defaults, under the provider's names.

    ``has_image``: the job has a first image in our bucket, whose link ``payload`` adds at submit. Raises
    InvalidRequest that names the field and what is allowed.
    """
    values: dict[str, object] = {}
    spelt: dict[str, str] = {}
    for name, value in given.items():
        known = _spell(model, name)
        if value is None or (value == "" and known != "prompt"):
            continue  # on the pages, an empty string is the default and means "no image"
        if known in values:
            raise InvalidRequest(known, f"is given twice, once as {bounds.shown(name)}")
        values[known] = value
        spelt[known] = name
    image_field = model.parameters.first_image
    if has_image:
        if image_field in values:
            raise InvalidRequest(
                spelt[image_field], "the image in the bucket is already the first image; use only one of them"
            )
        values[image_field] = _PLACEHOLDER_IMAGE
    try:
        checked = model.parameters.model_validate(values)
    except ValidationError as error:
        refusal = _invalid(model, error)
        # Report the name that was sent, not the provider's name for it.
        field = spelt.get(refusal.field, refusal.field)
        raise InvalidRequest(field, refusal.message, allowed=refusal.allowed) from None
    sent = checked.model_dump(exclude_none=True)
    if has_image:
        del sent[image_field]
    return {name: value for name, value in sent.items() if value != []}


def payload(model: Model, parameters: ParameterValues, *, job_id: str, image_link: str | None) -> ParameterValues:
    """The body of the submit: validated parameters, the image's link, and a seed (jobs of release 0.1.0 have none)."""
    body, first_image = seeded(parameters, job_id), model.parameters.first_image
    if image_link:
        body[first_image] = image_link
    elif model.parameters.no_image is not None:
        body.setdefault(first_image, model.parameters.no_image)
    return body


def seeded(parameters: ParameterValues, job_id: str) -> ParameterValues:
    """The parameters with a seed. By default it is derived from the job's id, in a range that is valid for all models.

    So the same job always requests the same video, it can be recognised in the provider's history, and its video can
    be made again.
    """
    return {"seed": 1 + int(hashlib.sha256(job_id.encode()).hexdigest(), 16) % 999999, **parameters}


def settings(model: Model, parameters: Mapping[str, Any]) -> list[prices.Setting]:
    """The settings that a video of this request may turn out to have, for its price.

    More than one if the request leaves the length to the model. The shapes of ``adaptive`` have nearly the same size.
    """
    asked = prices.setting(parameters)
    lengths = _choices(model.slug, "duration") if asked.seconds == prices.AUTO else [asked.seconds]
    shapes = _choices(model.slug, "aspect_ratio") if asked.ratio == prices.ADAPTIVE else [asked.ratio]
    return [replace(asked, seconds=seconds, ratio=shape) for seconds in lengths for shape in shapes]


@cache
def _choices(slug: str, name: str) -> list[Any]:
    """The values of a parameter that are not left open."""
    schema = MODELS[slug].parameters.model_json_schema()["properties"][name]
    values = schema.get("enum") or list(range(schema["minimum"], schema["maximum"] + 1))
    return [value for value in values if value not in (prices.AUTO, prices.ADAPTIVE)]


def describe() -> list[dict[str, object]]:
    """All models, for other programs: parameters as JSON Schema, transports, published averages."""
    return [
        {
            "model": model.slug,
            "title": model.title,
            "transports": list(model.transports),
            "average_seconds": model.average_seconds,
            "average_usd": model.average_usd,
            "first_image": model.parameters.first_image,
            "last_image": model.parameters.last_image,
            "parameters": model.parameters.model_json_schema(),
        }
        for model in MODELS.values()
    ]


def known_names() -> frozenset[str]:
    """All names that are a parameter of at least one model."""
    return frozenset(COMMON_NAMES).union(*(model.names for model in MODELS.values()))


def _spell(model: Model, name: str) -> str:
    """The provider's name for a parameter, from any of its names."""
    if name in model.names:
        return name
    common = COMMON_NAMES.get(name)
    if common == "first_image":
        return model.parameters.first_image
    if common == "last_image" and model.parameters.last_image:
        return model.parameters.last_image
    if common in model.names:
        return str(common)
    if name in known_names():
        why = f"{model.slug} has no such parameter; available: {', '.join(model.names)}"
        raise InvalidRequest(name, why, allowed=model.names)
    raise InvalidRequest(
        name,
        f"is not a parameter of {model.slug}{nearest(name, [*model.names, *COMMON_NAMES])}; "
        f"available: {', '.join(model.names)}",
        allowed=model.names,
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """The question whether another name was meant, for the end of a message. Empty if no known name resembles it."""
    close = difflib.get_close_matches(name, list(known), n=1) if len(name) <= LONGEST_NAME else []
    return f" (did you mean {close[0]}?)" if close else ""


def _invalid(model: Model, error: ValidationError) -> InvalidRequest:
    """Pydantic's first error, as an InvalidRequest."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        field, _, text = first["msg"].removeprefix("Value error, ").partition(": ")
        return InvalidRequest(field, text)  # our own rule about two fields, whose message names one
    field = str(first["loc"][0])
    words, values = allowed.words(model.parameters, field), allowed.values(model.parameters, field)
    if first["type"] == "missing":
        return InvalidRequest(field, f"is missing; it must be {words}", allowed=values)
    if first["type"] == "string_unicode":
        return InvalidRequest(field, HALVES, allowed=values)
    return InvalidRequest(field, f"must be {words}, not {_short(first['input'])}", allowed=values)


def _short(value: object) -> str:
    if isinstance(value, str) and len(value) > 60:
        return f"text of {len(value)} characters"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
