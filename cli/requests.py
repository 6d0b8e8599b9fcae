"""Turns command line options into an upload's metadata or the body of an API call. Pure."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from seedance import bounds
from seedance.errors import InvalidRequest
from seedance.jobs import catalogue, labels, requests
from seedance.jobs.defaults import Defaults

METADATA_LIMIT = 2048
"""The limit of an object's user metadata in bytes, names and values together (Amazon S3 User Guide)."""

_WORD_BYTES = 45


@dataclass(frozen=True)
class Wish:
    """The requested video. Options that are None or absent are left to the stack's defaults."""

    prompt: str | None = None
    model: str | None = None
    transport: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    """For an API call only: an upload's job is named after its key."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The caller's own metadata, which comes back with the job."""

    def metadata(self) -> dict[str, str]:
        """The request as an upload's user metadata. Raises InvalidRequest if it is too long for S3."""
        named = {"model": self.model, "transport": self.transport, "prompt": self.prompt, **self.parameters}
        if self.labels:
            # As one value, because names of metadata are ASCII, and S3 makes them lower case.
            named[requests.OWN_METADATA] = json.dumps(dict(self.labels), ensure_ascii=False, separators=(",", ":"))
        metadata = {name: header_text(value) for name, value in named.items() if value is not None}
        size = sum(len(name) + len(value) for name, value in metadata.items())
        if size > METADATA_LIMIT:
            raise InvalidRequest(
                "prompt",
                f"is too long: with all options it needs {size} bytes of metadata, and S3 allows {METADATA_LIMIT}; "
                "use `seedance submit --image FILE --prompt …` for long prompts",
            )
        return metadata

    def body(self) -> dict[str, Any]:
        """The request as the body of ``POST /videos``."""
        named = {"model": self.model, "transport": self.transport, "prompt": self.prompt, "name": self.name}
        given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        pairs = {"parameters": dict(self.parameters), "metadata": dict(self.labels)}
        return given | {name: value for name, value in pairs.items() if value}

    def upload(self, defaults: Defaults) -> requests.Request:
        """The request that a stack with these defaults makes of an upload. Raises InvalidRequest if it refuses it."""
        return requests.upload_request(self.metadata(), defaults)

    def call(self, defaults: Defaults, image: Mapping[str, str]) -> requests.Request:
        """The same for an API call with this image, if any: ``image`` or ``image_key`` with its value."""
        return requests.api_request(json.dumps({**self.body(), **image}), defaults)

    def check(self, *, has_image: bool) -> None:
        """Raise InvalidRequest if every stack would refuse this, whatever its defaults are."""
        labels.name(self.name)
        labels.metadata(dict(self.labels))
        texts = {"prompt": self.prompt, "model": self.model, "transport": self.transport, **self.parameters}
        for name, value in ((name, value or "") for name, value in texts.items()):
            try:
                value.encode()
            except UnicodeEncodeError:  # Python represents undecodable bytes of the command line as surrogates
                raise InvalidRequest(name, "is not UTF-8 text") from None
        if self.model is None:
            # The stack chooses the model, so this reports only what is invalid for every model.
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
            raise InvalidRequest("--set", f"must be KEY=VALUE, for example duration=10, not {bounds.shown(pair)!r}")
        if name in ("prompt", "model", "transport"):
            raise InvalidRequest("--set", f"use the option --{name} for {name}")
        if name in settings:
            raise InvalidRequest("--set", f"{name} is given twice")
        settings[name] = value.strip()
    return settings


def read_labels(pairs: Sequence[str]) -> dict[str, str]:
    """``--metadata name=value`` options as a mapping. Raises InvalidRequest."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidRequest("--metadata", f"must be KEY=VALUE, for example sku=S-1, not {pair!r}")
        if name in found:
            raise InvalidRequest("--metadata", f"{name} is given twice")
        found[name] = value
    return found


def _check_name(name: str) -> None:
    known = catalogue.known_names()
    if name not in known:
        close = get_close_matches(name, sorted(known), n=1)
        hint = f"did you mean {close[0]}?" if close else "`seedance models` lists them"
        raise InvalidRequest("--set", f"{bounds.shown(name)} is not a parameter of any model; {hint}")


def _check_value(name: str, value: str) -> None:
    refusals: list[InvalidRequest] = []
    for model in catalogue.MODELS.values():
        try:
            catalogue.validate(model, {name: value, "prompt": "any"}, has_image=False)
        except InvalidRequest as refusal:
            message = f"{refusal.message} ({model.slug}; it is not valid for the other models either)"
            refusals.append(InvalidRequest(refusal.field, message))
        else:
            return
    # "must be ..." from a model that has the parameter is more helpful than "not a parameter" from another model.
    raise max(refusals, key=lambda refusal: "must be" in refusal.message)


def header_text(value: str) -> str:
    """A text as S3 metadata: unchanged if it is valid in a header, otherwise encoded as RFC 2047 words."""
    if value.isascii() and value.isprintable() and value == value.strip() and "=?" not in value:
        return value
    # email.header.Header would lose line breaks. Each word has whole characters and at most 75 bytes.
    words, word = [], b""
    for letter in value:
        if len(word) + len(letter.encode()) > _WORD_BYTES:
            words.append(word)
            word = b""
        word += letter.encode()
    return " ".join(f"=?utf-8?b?{b64encode(part).decode()}?=" for part in [*words, word])


def utf8_name(name: str) -> str:
    """A file's name. Raises InvalidRequest if S3 can't have a key with it."""
    try:
        name.encode()
    except UnicodeEncodeError:  # Python represents undecodable bytes of a name as surrogates
        raise InvalidRequest("file", f"the name {bounds.shown(name)} is not UTF-8; rename the file") from None
    return name
