"""What the columns of a manifest mean: an option, something of the user's, or an option under a wrong name. Pure.

Nothing that changes what is bought is ignored: a misspelt option, or a column of images under a name of its own, is
refused with the right name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from functools import cache, lru_cache
from typing import NamedTuple

from seedance.batches import values
from seedance.batches.values import group
from seedance.batches.wording import UNWRITABLE, listed, shown
from seedance.errors import InvalidRequest
from seedance.jobs import catalogue
from seedance.jobs.requests import OWN_METADATA

MAX_COLUMNS = 100
LONGEST_NAME = 100

RESULT_COLUMNS = ("row", "job", "state", "video_key", "cost_usd", "error", "video_link")
"""The columns that the results always have. The manifest's passthrough columns follow them."""

_UNSEEN = "\ufeff\u200b\u200c\u200d\u2060"
_NEAR = 0.8
_NEAR_WORD = 0.7

_ENDING = r"\.(?:jpe?g|jfif|png|webp|gif|bmp|tiff?|heic|heif|avif|jxl)"
_ADDRESS = re.compile(r"[\s\[\"']*https?://\S", re.IGNORECASE)
_IMAGE_ADDRESS = re.compile(rf"[\s\[\"']*https?://[^\s\"']+?{_ENDING}(?=$|[?#&;,|\s\"'\]])", re.IGNORECASE)
_IMAGE_FILE = re.compile(rf"(?:(?:s3|gs|file)://)?(?:(?!://)[^\"<>|?*\n])+{_ENDING}", re.IGNORECASE)
_WORTH_A_LOOK = re.compile(rf"://|{_ENDING}|^\s*(?:\d\d?:\d|\d+p|seedance)", re.IGNORECASE)
"""What every value has that is recognised by its content. It is faster than one look for each kind."""
_LOOKED_AT = 1024
"""Characters of a cell that are looked at. S3's keys are not longer."""

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SAME_WORDS = {
    **dict.fromkeys(("img", "photo", "photograph", "picture", "pic", "foto", "bild"), "image"),
    **dict.fromkeys(("link", "src", "source", "uri", "address", "href", "file", "filename", "path"), "url"),
    **dict.fromkeys(("second", "sec"), "duration"),
    **{"start": "first", "end": "last", "sound": "audio"},
}
_IMAGE_ROLES = frozenset({"product", "main", "primary", "input", "original", "featured", "cover", "hero", "front"})
"""Words that people add to an image's name, but not to another option's: the model of a product is not our model."""
_SAID_BESIDE = (
    _IMAGE_ROLES
    | {"video", "clip", "movie", "output", "target", "desired", "wanted", "seedance", "ai", "text"}
    | {"number", "value", "option", "setting", "enable", "enabled", "with", "on", "the", "in", "of", "a", "s"}
)
"""Words that people add to an option's name."""


class Column(NamedTuple):
    """A column: its name, empty if it has none, and the option that it stands for, or None."""

    name: str
    option: str | None


def header(cells: Sequence[str], where: str, image_column: str | None) -> list[Column]:
    """The columns of a CSV file. ``where`` is the header's line. Raises InvalidRequest."""
    names = [cell.strip().strip(_UNSEEN).strip() for cell in cells]
    if not any(names):
        raise InvalidRequest(where, "is empty; it must name the columns, such as image,prompt,sku")
    named = [name for name in names if name]
    if len(named) > MAX_COLUMNS:
        raise InvalidRequest(where, f"has {len(named)} columns; at most {MAX_COLUMNS} are allowed")
    columns = [Column(name, option(name, image_column) if name else None) for name in names]
    if any(column.option == "parameters" for column in columns):
        raise InvalidRequest("parameters", "is not allowed as a column; use one column per parameter")
    seen: dict[str, str] = {}
    for name, known in columns:
        meant = known or name
        if meant in seen:
            raise InvalidRequest(where, f"has the column {shown(meant)} twice, as {seen[meant]!r} and {name!r}")
        if name:
            seen[meant] = name
    if not {"prompt", *image_names()} & set(seen):
        says = "must be a header that names the columns, with at least prompt or image; it is"
        raise InvalidRequest(where, f"{says} {shown(','.join(cells))}")
    if image_column is not None:
        _check_image_column(image_column, columns)
    return columns


def _check_image_column(image_column: str, columns: Sequence[Column]) -> None:
    images = [name for name, known in columns if known in image_names()]
    if not any(is_named(name, image_column) for name in images):
        names = [shown(name) for name, _ in columns if name]
        raise InvalidRequest(
            "image_column", f"there is no column {shown(image_column)!r}; the columns are {listed(names, len(names))}"
        )
    if len(images) > 1:
        raise InvalidRequest("image_column", f"only one column can be the image, not {listed(images, len(images))}")


def is_named(name: str, column: str) -> bool:
    """Whether this is the column's name, apart from letter case and blanks around it."""
    return name.strip().casefold() == column.strip().casefold()


def own_name(name: str) -> str | None:
    """The name of the user's own pair in a column such as ``metadata.sku``. None if it is another column."""
    before, dot, own = name.partition(".")
    return own.strip() if dot and before.strip().lower() == OWN_METADATA else None


def is_own(name: str) -> bool:
    """Whether the column is certainly the user's own, whatever it holds."""
    return name.strip().lower() == OWN_METADATA or own_name(name) is not None


@lru_cache(maxsize=1024)
def option(name: str, image_column: str | None = None) -> str | None:
    """The option that a column's name stands for, or None for a passthrough column. Raises InvalidRequest.

    As in an upload's metadata, a misspelt option is refused: passing it through would make the wrong video.
    """
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    known = _known_names()
    if image_column is not None and is_named(name, image_column):
        return plain if plain in image_names() else "image"
    if plain in known:
        return plain
    if UNWRITABLE.search(name) or len(name) > LONGEST_NAME:
        limit = f"use plain text of at most {LONGEST_NAME} characters"
        raise InvalidRequest("column", f"{shown(name)!r} is not a valid column name; {limit}")
    if is_own(name):
        return None
    if plain in RESULT_COLUMNS:
        raise InvalidRequest(name, "is the name of a column in the results; rename your column")
    if close := [near for near in get_close_matches(plain, known, cutoff=_NEAR) if _is_near(plain, near)]:
        raise InvalidRequest(name, f"is not an option (did you mean {close[0]}?)")
    return None


def _is_near(name: str, known: str) -> bool:
    """Whether no word of it is another word: ``first_name`` resembles ``first_frame`` and has nothing to do with it."""
    if name.count("_") != known.count("_"):
        return True
    words = zip(name.split("_"), known.split("_"), strict=True)
    return all(SequenceMatcher(None, word, other).ratio() > _NEAR_WORD for word, other in words)


@cache
def _known_names() -> tuple[str, ...]:
    return tuple(sorted(catalogue.known_names() | {"model", "transport", "image_key", "parameters"}))


@cache
def image_names() -> frozenset[str]:
    """The names of the first image."""
    return frozenset({"image_key", *(name for name, of in catalogue.COMMON_NAMES.items() if of == "first_image")})


def groups(options: Iterable[str]) -> frozenset[str]:
    """The options that are there, whatever they are called."""
    found = frozenset(map(group, options))
    return found | {"first_image"} if "reference_images" in found else found


def misnamed(columns: Mapping[str, str], there: frozenset[str]) -> str | None:
    """The question about a passthrough value that is an option under another name. None if there is no such value.

    ``there``: the options that the file has (see ``groups``). If the option is there, the value is the user's own.
    """
    for name, cell in columns.items():
        if (
            cell
            and not cell.isspace()
            and not is_own(name)
            and (found := _wrongly_named(name, cell))
            and found[0] not in there
        ):
            option, holds, right = found
            said = f"Column {shown(name)!r} {holds}. Rename it to {right}."
            if option == "first_image":
                said += " Or name it with `seedance batch --image-column`."
            return f"{said} If it means something else, add an empty column {right}"
    return None


def _wrongly_named(name: str, cell: str) -> tuple[str, str, str] | None:
    """The option that a passthrough value seems to be, what it holds, and the right name."""
    by_name = _meant(name)
    if by_name not in (None, "first_image"):
        return by_name, f"means {by_name}", by_name
    if by_name is None and not _WORTH_A_LOOK.search(cell, 0, _LOOKED_AT):
        return None
    text = cell[:_LOOKED_AT].strip()
    if _IMAGE_ADDRESS.match(text) or (_ADDRESS.match(text) and "image" in _words(name)):
        return "first_image", "holds image addresses", "image_url"
    if _IMAGE_FILE.fullmatch(text):
        return "first_image", "holds names of image files", "image"
    if by_name:
        return by_name, "means image", "image"
    if text.lower() in catalogue.MODELS:
        return "model", "holds models", "model"
    for parameter, what in (("aspect_ratio", "aspect ratios"), ("resolution", "resolutions")):
        if text in values.choices(parameter) and text != "adaptive":
            return parameter, f"holds {what}", parameter
    return None


@lru_cache(maxsize=1024)
def _meant(name: str) -> str | None:
    """The option that a name means in other words: ``Image Src``, ``duration_seconds``, ``aspect``."""
    words = _words(name)
    known = {_words(option): group(option) for option in _known_names() if option != "parameters"}
    known |= {frozenset({"aspect"}): "aspect_ratio", frozenset({"image", "url"}): "first_image"}
    if "length" in words and words & {"video", "clip", "movie", "duration"}:
        words = words - {"length"} | {"duration"}
    option = known.get(words - _SAID_BESIDE)
    return option if option in ("first_image", "last_image") or not words & _IMAGE_ROLES else None


@lru_cache(maxsize=1024)
def _words(name: str) -> frozenset[str]:
    """The words of a name, with one word for those that mean the same."""
    words = (word.casefold() for word in _WORD.findall(_CAMEL.sub(" ", name)))
    return frozenset(word if word in _SAID_BESIDE else _same(word) for word in words)


def _same(word: str) -> str:
    single = word.removesuffix("s")
    return _SAME_WORDS.get(word) or _SAME_WORDS.get(single) or single
