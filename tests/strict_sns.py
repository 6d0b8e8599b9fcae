"""Makes moto's SNS as strict as the real one. moto accepts any subject, any size and many invalid attributes.

Rules: the SNS API reference (Publish, MessageAttributeValue) and the developer guide (message attributes).
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from moto.sns.exceptions import SNSInvalidParameter
from moto.sns.responses import SNSResponse

MESSAGE_BYTES = 262_144
SUBJECT = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,98}")
NAME = re.compile(r"(?!aws\.|amazon\.)(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)", re.IGNORECASE)
# The limit of an SQS message: with raw delivery, the attributes become attributes of an SQS message.
ALLOWED = re.compile(r"[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")


def refusal(message: str, subject: str | None, structure: str | None, attributes: dict[str, Any]) -> str | None:
    """Why the real SNS refuses a Publish, or None if it accepts it."""
    if not message:
        return "Empty message"
    if subject is not None and not SUBJECT.fullmatch(subject):
        return "Subject"
    size = len(message.encode())
    for name, value in attributes.items():
        text, kind = value.get("StringValue", ""), value.get("DataType", "")
        if not NAME.fullmatch(name) or not kind:
            return f"The message attribute '{name}' has an invalid name or type"
        if not text:
            return f"The message attribute '{name}' must contain non-empty message attribute value"
        if not ALLOWED.fullmatch(text):
            return f"The message attribute '{name}' has characters that are not allowed"
        size += len(name.encode()) + len(kind.encode()) + len(text.encode())
    if size > MESSAGE_BYTES:
        return "Message too long"
    if structure == "json":
        try:
            texts = json.loads(message)
            for text in texts.values():
                text.encode()
        except (ValueError, AttributeError):
            return "Message Structure - JSON message body failed to parse"
        if "default" not in texts:
            return "Message Structure - No default entry in JSON message body"
    return None


@contextmanager
def strict() -> Iterator[None]:
    """Make moto's SNS refuse what the real one refuses."""
    publish = SNSResponse.publish

    def checked(self: SNSResponse) -> Any:
        asked = [self._get_param(name) for name in ("Message", "Subject", "MessageStructure")]
        if why := refusal(*asked, self._get_param("MessageAttributes", {})):
            raise SNSInvalidParameter(why)
        return publish(self)

    with patch.object(SNSResponse, "publish", checked):
        yield
