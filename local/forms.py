"""Reads a form for S3 (multipart/form-data), as far as its signature needs it. Pure.

As on AWS, such a form is signed by its own fields: the policy, its signature, and whose key made it.
"""

import re
from collections.abc import Iterator

from local.sigv4 import Refused

SIGNED = ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
"""The fields that a signed form must have."""

_BOUNDARY = re.compile(r"multipart/form-data;.*?\bboundary=(?:\"([^\"]{1,70})\"|([^\s;\"]{1,70}))", re.IGNORECASE)
_NAME = re.compile(rb"content-disposition:[ \t]*form-data;[^\r\n]*?\bname=\"([^\"\r\n]*)\"", re.IGNORECASE)


def signed_fields(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of SIGNED in a form. Raises Refused if one is missing or given twice, or the form can't be read."""
    boundary = _BOUNDARY.match(content_type)
    if boundary is None:
        raise _unreadable("it has no boundary")
    fields: dict[str, str] = {}
    for name, value in _parts(body, (boundary[1] or boundary[2]).encode("latin-1")):
        if name not in SIGNED:
            continue
        if name in fields:
            raise _unreadable(f"{name} is given twice")
        fields[name] = value.decode("latin-1")
    if missing := [name for name in SIGNED if name not in fields]:
        raise Refused("AccessDenied", f"the form is not signed: it has no {missing[0]}")
    return fields


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:]:
        head, separator, value = part.partition(b"\r\n\r\n")
        if separator and (name := _NAME.search(head)):
            yield name[1].decode("latin-1").lower(), value


def _unreadable(why: str) -> Refused:
    return Refused("MalformedPOSTRequest", f"the form can't be read: {why}")
