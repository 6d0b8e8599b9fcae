"""What a person asks for on the command line becomes an upload's metadata or a call's body. Pure."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from seedance.errors import InvalidRequest
from seedance.jobs import catalogue
from seedance.media import formats

METADATA_LIMIT = 2048
"""Bytes of an object's user metadata, names and values together (Amazon S3 User Guide)."""

_WORD_BYTES = 45


@dataclass(frozen=True)
class Wish:
    """What is asked for; None and absent leave the choice to the stack."""

    prompt: str | None = None
    model: str | None = None
    transport: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)

    def metadata(self) -> dict[str, str]:
        """The wish as an upload's user metadata. Raises InvalidRequest where S3 can't hold it."""
        named = {"model": self.model, "transport": self.transport, "prompt": self.prompt, **self.parameters}
        metadata = {name: header_text(value) for name, value in named.items() if value is not None}
        size = sum(len(name) + len(value) for name, value in metadata.items())
        if size > METADATA_LIMIT:
            raise InvalidRequest(
                "prompt",
                f"with the parameters it takes {size} bytes of metadata, and S3 holds {METADATA_LIMIT}; "
                "use `seedance submit --image FILE --prompt …` for long prompts",
            )
        return metadata

    def body(self) -> dict[str, Any]:
        """The wish as the body of ``POST /videos``."""
        named = {"model": self.model, "transport": self.transport, "prompt": self.prompt}
        given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        return given | ({"parameters": dict(self.parameters)} if self.parameters else {})

    def check(self, *, has_image: bool) -> None:
        """Raise InvalidRequest for what the stack would refuse, as far as that can be told from here."""
        for name, value in {"prompt": self.prompt or "", **self.parameters}.items():
            try:
                value.encode()
            except UnicodeEncodeError:  # how Python shows bytes of another encoding on the command line
                raise InvalidRequest(name, "is not UTF-8 text") from None
        if self.model is None:
            # Which model it will be is the stack's choice; here is told what is wrong for all of them.
            for name, value in self.parameters.items():
                _check_name(name)
                _check_value(name, value)
            return
        model = catalogue.find(self.model)
        prompt = self.prompt if self.prompt is not None else "the stack's default"
        catalogue.validate(model, {**self.parameters, "prompt": prompt}, has_image=has_image)


def read_settings(pairs: Sequence[str]) -> dict[str, str]:
    """``--set key=value`` options as a mapping. Raises InvalidRequest."""
    settings: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise InvalidRequest("--set", f"must be key=value, such as duration=10, not {pair!r}")
        if name in ("prompt", "model", "transport"):
            raise InvalidRequest("--set", f"{name} has an option of its own: --{name}")
        if name in settings:
            raise InvalidRequest("--set", f"{name} is given twice")
        settings[name] = value.strip()
    return settings


def _check_name(name: str) -> None:
    known = catalogue.known_names()
    if name not in known:
        close = get_close_matches(name, sorted(known), n=1)
        hint = f"did you mean {close[0]}?" if close else "`seedance models` shows them"
        raise InvalidRequest("--set", f"{name} is not a parameter of any model; {hint}")


def _check_value(name: str, value: str) -> None:
    refusals: list[InvalidRequest] = []
    for model in catalogue.MODELS.values():
        try:
            catalogue.validate(model, {name: value, "prompt": "any"}, has_image=False)
        except InvalidRequest as refusal:
            message = f"{refusal.message} ({model.slug}; the others refuse it too)"
            refusals.append(InvalidRequest(refusal.field, message))
        else:
            return
    # What a model that has the parameter says of its value is more to the point than that another one lacks it.
    raise max(refusals, key=lambda refusal: "must be" in refusal.message)


def header_text(value: str) -> str:
    """A text as S3 metadata: unchanged if a header can carry it, in RFC 2047 words if not."""
    if value.isascii() and value.isprintable() and value == value.strip() and "=?" not in value:
        return value
    # Not email.header.Header, which loses line breaks. A word holds whole characters and at most 75 bytes.
    words, word = [], b""
    for letter in value:
        if len(word) + len(letter.encode()) > _WORD_BYTES:
            words.append(word)
            word = b""
        word += letter.encode()
    return " ".join(f"=?utf-8?b?{b64encode(part).decode()}?=" for part in [*words, word])


def image_type(path: Path) -> str:
    """The media type of an image file. Raises InvalidRequest when it is none that the stack takes."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(formats.HEAD_BYTES)
    except OSError as error:
        raise InvalidRequest("image", f"{path} can't be read: {(error.strerror or str(error)).lower()}") from error
    kind = formats.image_type(head)
    if kind is None:
        raise InvalidRequest("image", f"{path} is not an image; {formats.IMAGE_FORMATS} are taken")
    if size > formats.MAX_IMAGE_BYTES:
        raise InvalidRequest(
            "image", f"{path} has {size / 2**20:.0f} MB; at most {formats.MAX_IMAGE_BYTES // 2**20} are taken"
        )
    return kind
