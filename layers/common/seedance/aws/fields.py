"""Text that other people wrote, in fields that a service restricts: one function for each restriction. Pure.

What does not fit is made to fit, and nothing is raised: a name, a prompt or a provider's sentence must never keep a
video from its bucket or a message from people. The full text stays on the job's record, where any text may stand.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

SUBJECT_CHARACTERS = 99
"""Of a mail's subject: "less than 100 characters" (SNS API reference, Publish)."""

MESSAGE_BYTES = 256 * 1024
"""Of a message and its attributes together (SNS API reference, Publish)."""

ATTRIBUTE_CHARACTERS = 256
"""Of one attribute's value. SNS has no limit of its own for it, but all of them count for the message."""

METADATA_BYTES = 2048
"""Of an object's user metadata, names and values together (S3 user guide, object metadata)."""

FILE_NAME_BYTES = 255
"""Of a file's name: what ext4, APFS and NTFS can all hold. The header that it stands in has room for about 8 KB."""

OBJECT_KEY_BYTES = 1024
"""Of an object's key (S3 user guide, object keys)."""

TABLE_KEY_BYTES = 2048
"""Of a partition key, in a table or an index; at least one (DynamoDB developer guide, constraints)."""

_ATTRIBUTES_BYTES = 8 * 1024
"""What is left for a message's attributes."""
_TEXTS_CHARACTERS = (8000, 2000, 500)
"""To how much the texts of a message are cut, one after the other, until it is short enough."""
_WHOLE = frozenset({"url"})
"""What is of no use when it is cut."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]+")
_HALF = re.compile("[\ud800-\udfff]")  # half of a character: JSON can name it, UTF-8 can't
_NOT_PLAIN = re.compile(r"[^\x20-\x7e]+")


def well_formed(text: str) -> str:
    """The text as UTF-8 can carry it."""
    return _HALF.sub("\ufffd", text)


def one_line(text: str) -> str:
    """The text without line breaks and control characters, which would look like lines of ours."""
    return _CONTROL.sub(" ", well_formed(text))


def cut(text: str, size: int) -> str:
    """As much of the text as has at most ``size`` bytes in UTF-8, in whole characters."""
    return well_formed(text).encode()[:size].decode(errors="ignore")


def subject(text: str) -> str:
    """A mail's subject: printable ASCII that does not begin with a space, at least a character of it."""
    plain = _NOT_PLAIN.sub("?", text).lstrip() or "?"
    return plain if len(plain) <= SUBJECT_CHARACTERS else plain[: SUBJECT_CHARACTERS - 3] + "..."


def attributes(values: Mapping[str, str | None]) -> dict[str, Any]:
    """A message's attributes. One without a value is left out: SNS refuses the message for an empty one."""
    plain = {name: one_line(value or "").strip()[:ATTRIBUTE_CHARACTERS] for name, value in values.items()}
    return {name: {"DataType": "String", "StringValue": value} for name, value in plain.items() if value}


def message(facts: dict[str, Any], mail: Callable[[dict[str, Any]], str]) -> str:
    """The ``Message`` of a publish with ``MessageStructure=json``: JSON for machines, text for mails.

    ``mail`` makes the text from the facts. The long texts of a message that would be too long are cut in both.
    """
    body = ""
    for characters in (None, *_TEXTS_CHARACTERS):
        told = _fitting(facts, characters)
        body = json.dumps({"default": json.dumps(told), "email": mail(told)})
        if len(body) + _ATTRIBUTES_BYTES <= MESSAGE_BYTES:
            break
    return body


def metadata(values: Mapping[str, str | None]) -> dict[str, str]:
    """An object's user metadata: printable ASCII, as headers carry it, without what is empty."""
    plain = {name: _NOT_PLAIN.sub("?", value or "").strip() for name, value in values.items()}
    plain = {name: value for name, value in plain.items() if value}
    room = METADATA_BYTES - sum(map(len, plain))
    if sum(map(len, plain.values())) <= room:
        return plain
    return {name: value[: room // len(plain)].strip() for name, value in plain.items()}


def disposition(kind: str, stem: str, ending: str = "") -> str:
    """A Content-Disposition with a file's name (RFC 6266): plain, and in full where it is not plain."""
    name = cut(_CONTROL.sub("_", stem), FILE_NAME_BYTES - len(ending)) + ending
    plain = "".join(c if " " <= c <= "~" and c not in '"\\;%' else "_" for c in name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def object_key(stem: str, ending: str) -> str:
    """A key in a bucket that begins as ``stem`` does and has all of ``ending``."""
    return cut(stem, OBJECT_KEY_BYTES - len(ending.encode())) + ending


def is_table_key(text: object) -> bool:
    """Whether an item of a table or an index can have this key."""
    if not isinstance(text, str) or _HALF.search(text):
        return False
    return 0 < len(text.encode()) <= TABLE_KEY_BYTES


def _fitting(value: Any, characters: int | None) -> Any:
    """The same with texts that are well formed and have at most so many characters."""
    match value:
        case str():
            text = well_formed(value)
            return text if characters is None or len(text) <= characters else text[: characters - 1] + "…"
        case dict():
            return {name: _fitting(inner, None if name in _WHOLE else characters) for name, inner in value.items()}
        case list() | tuple():
            return [_fitting(inner, characters) for inner in value]
    return value
