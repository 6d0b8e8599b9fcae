"""Makes text from users or the provider fit into the restricted fields of AWS services, one function per field. Pure.

Text that does not fit is changed and nothing is raised: a name, a prompt or a provider's message must never prevent a
video from being stored or a notification from being sent. The full text stays on the job's record, which allows any.
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from seedance.bounds import CONTROL, HALF, one_line, well_formed

if TYPE_CHECKING:
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef

SUBJECT_CHARACTERS = 99
"""The limit for an email subject: "less than 100 characters" (SNS API reference, Publish)."""

MESSAGE_BYTES = 256 * 1024
"""The limit for a message and its attributes together (SNS API reference, Publish)."""

ATTRIBUTE_CHARACTERS = 256
"""Our limit for the value of an attribute. SNS has none, but all attributes count towards the size of the message."""

METADATA_BYTES = 2048
"""The limit for an object's user metadata, names and values together (S3 user guide, object metadata)."""

FILE_NAME_BYTES = 255
"""The limit for a file name on ext4, APFS and NTFS. The header that contains it may have about 8 KB."""

OBJECT_KEY_BYTES = 1024
"""The limit for an object key (S3 user guide, object keys)."""

TABLE_KEY_BYTES = 2048
"""The limit for a partition key of a table or an index; at least one byte (DynamoDB developer guide, constraints)."""

_ATTRIBUTES_BYTES = 8 * 1024
"""The space reserved for a message's attributes."""
_TEXTS_CHARACTERS = (8000, 2000, 500)
"""The lengths to which the texts of a message are cut, tried in this order until the message is short enough."""
_WHOLE = frozenset({"url", "download_url", "link"})
"""Fields that are useless if cut."""

_NOT_PLAIN = re.compile(r"[^\x20-\x7e]+")

Facts = TypeVar("Facts")


def cut(text: str, size: int) -> str:
    """The text cut to at most ``size`` bytes in UTF-8, without splitting a character."""
    return well_formed(text).encode()[:size].decode(errors="ignore")


def subject(begin: str, name: str = "", end: str = "") -> str:
    """An email subject: printable ASCII, not empty, not beginning with a space. If it is too long, ``name`` is cut.

    Accents are dropped (``café`` becomes ``cafe``), and other characters become question marks: SNS's older rule is
    ASCII, and a subject that it refuses would lose the notification.
    """
    begin, name, end = (_plain(text) for text in (begin, name, end))
    room = SUBJECT_CHARACTERS - len(begin) - len(end)
    if len(name) > room:
        name = name[: room - 3] + "..." if room > 3 else ""
    whole = f"{begin}{name}{end}".lstrip() or "?"
    return whole if len(whole) <= SUBJECT_CHARACTERS else whole[: SUBJECT_CHARACTERS - 3] + "..."


def _plain(text: str) -> str:
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return _NOT_PLAIN.sub("?", bare)


def attributes(values: Mapping[str, str | None]) -> "dict[str, MessageAttributeValueTypeDef]":
    """A message's attributes. Empty ones are left out, because SNS refuses a message with an empty attribute."""
    plain = {name: one_line(value or "").strip()[:ATTRIBUTE_CHARACTERS] for name, value in values.items()}
    return {name: {"DataType": "String", "StringValue": value} for name, value in plain.items() if value}


def message(facts: Facts, mail: Callable[[Facts], str]) -> str:
    """The ``Message`` for a publish with ``MessageStructure=json``: JSON for machines, text for emails.

    ``mail`` makes the text from the facts. If the message would be too long, its long texts are cut in both parts.
    """
    body = ""
    for characters in (None, *_TEXTS_CHARACTERS):
        told: Facts = _fitting(facts, characters)
        body = json.dumps({"default": json.dumps(told), "email": mail(told)})
        if len(body) + _ATTRIBUTES_BYTES <= MESSAGE_BYTES:
            break
    return body


def json_text(value: object, size: int) -> str:
    """The value as JSON of at most ``size`` characters, for which long texts in it are cut if necessary.

    It may come from a record that somebody has edited, so values that JSON does not have become text, or null. Their
    number is bounded by the record's size.
    """
    text = ""
    for characters in (None, *_TEXTS_CHARACTERS):
        text = json.dumps(_fitting(value, characters))
        if len(text) <= size:
            break
    return text


def metadata(values: Mapping[str, str | None]) -> dict[str, str]:
    """An object's user metadata: printable ASCII, as HTTP headers require, without empty values."""
    plain = {name: _NOT_PLAIN.sub("?", value or "").strip() for name, value in values.items()}
    plain = {name: value for name, value in plain.items() if value}
    room = METADATA_BYTES - sum(map(len, plain))
    if sum(map(len, plain.values())) <= room:
        return plain
    return {name: value[: room // len(plain)].strip() for name, value in plain.items()}


def disposition(kind: str, stem: str, ending: str = "") -> str:
    """A Content-Disposition with a file name (RFC 6266): once in plain ASCII, once complete in UTF-8."""
    name = cut(CONTROL.sub("_", stem), FILE_NAME_BYTES - len(ending)) + ending
    plain = "".join(c if " " <= c <= "~" and c not in '"\\;%' else "_" for c in name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def object_key(stem: str, ending: str) -> str:
    """An object key from ``stem``, cut if necessary, and the whole of ``ending``."""
    return cut(stem, OBJECT_KEY_BYTES - len(ending.encode())) + ending


def is_table_key(text: object) -> bool:
    """Whether the text is valid as a key of a table or an index."""
    if not isinstance(text, str) or HALF.search(text):
        return False
    return 0 < len(text.encode()) <= TABLE_KEY_BYTES


def _fitting(value: Any, characters: int | None) -> Any:
    """The value with all texts well formed and cut to at most ``characters``."""
    match value:
        case str():
            text = well_formed(value)
            return text if characters is None or len(text) <= characters else text[: characters - 1] + "…"
        case dict():
            return {
                well_formed(name): _fitting(inner, None if name in _WHOLE else characters)
                for name, inner in value.items()
            }
        case list() | tuple():
            return [_fitting(inner, characters) for inner in value]
        case float() if not math.isfinite(value):
            return None
        case None | bool() | int() | float():
            return value
    return _fitting(str(value), characters)  # bytes or a set, in a record that somebody has edited
