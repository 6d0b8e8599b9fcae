"""S3's answers to pages of other origins, by a bucket's CORS rules. Pure.

As in the S3 user guide, "How does Amazon S3 evaluate the CORS configuration on a bucket?": the first rule counts whose
AllowedOrigins has the origin, whose AllowedMethods has the method, and whose AllowedHeaders has each header that a
preflight asks for. The emulator answers a preflight without looking at them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Rule = Mapping[str, Any]
"""A rule as GetBucketCors returns it."""

VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


@dataclass(frozen=True)
class Asked:
    """What a browser asks for. ``headers``: those of Access-Control-Request-Headers, for a preflight only."""

    origin: str
    method: str
    headers: tuple[str, ...] = ()


def preflight(headers: Mapping[str, str]) -> Asked | None:
    """What a preflight asks for. None if it is none. ``headers``: with names in lower case."""
    origin, method = headers.get("origin"), headers.get("access-control-request-method")
    if not origin or not method:
        return None
    wanted = headers.get("access-control-request-headers", "")
    return Asked(origin, method, tuple(name.strip() for name in wanted.split(",") if name.strip()))


def allowed(rules: Sequence[Rule], asked: Asked) -> dict[str, str] | None:
    """The headers with which S3 allows it. None if no rule does: a preflight is then refused with 403."""
    for rule in rules:
        origin = next((each for each in rule["AllowedOrigins"] if _matches(each, asked.origin)), None)
        if origin is None or asked.method not in rule["AllowedMethods"]:
            continue
        names = [name.lower() for name in rule.get("AllowedHeaders", [])]
        if not all(any(_matches(name, wanted.lower()) for name in names) for wanted in asked.headers):
            continue
        found = {
            "Access-Control-Allow-Origin": "*" if origin == "*" else asked.origin,
            "Access-Control-Allow-Methods": ", ".join(rule["AllowedMethods"]),
            "Vary": VARY,
        }
        if origin != "*":
            found["Access-Control-Allow-Credentials"] = "true"
        if asked.headers:
            found["Access-Control-Allow-Headers"] = ", ".join(asked.headers)
        if rule.get("ExposeHeaders"):
            found["Access-Control-Expose-Headers"] = ", ".join(rule["ExposeHeaders"])
        if rule.get("MaxAgeSeconds"):
            found["Access-Control-Max-Age"] = str(rule["MaxAgeSeconds"])
        return found
    return None


def _matches(pattern: str, text: str) -> bool:
    """Whether a text matches a pattern, in which * stands for any characters."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None
