"""Values that no honest client sends, by kind. Each is a text of JSON, since most of them are no values of Python."""

import json
from typing import Any

DEEP = 100_000
"""Deeper than any parser goes."""


def nested(levels: int, inner: str = "1") -> str:
    return "[" * levels + inner + "]" * levels


NUMBERS = {
    "1e400": "1e400",
    "-1e400": "-1e400",
    "1e308": "1e308",
    "a tiny number": "1e-400",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "5000 digits": "9" * 5000,
    "-5000 digits": "-" + "9" * 5000,
    "4000 digits": "9" * 4000,
    "5000 decimals": "0." + "9" * 5000,
    "2^63": str(2**63),
    "-0.0": "-0.0",
    "half": "0.5",
    "true": "true",
}
TEXTS = {
    "empty": "",
    "a blank": " ",
    "NUL": "\x00",
    "NUL within": "a\x00b",
    "an escape sequence": "\x1b[2J\x1b]0;owned\x07",
    "line breaks": "a\r\nSet-Cookie: a=b\r\n\r\n<script>",
    "half of a character": "\ud800",
    "the other half": "\udfff",
    "halves in the wrong order": "\ude00\ud83d",
    "a half within": "a\ud800b",
    "no characters": "\ufffe\uffff",
    "right to left": "\u202egpj.exe",
    "a byte order mark": "\ufeffa",
    "a formula": '=HYPERLINK("https://evil.example","x")',
    "a path": "../../../../etc/passwd",
    "an encoded path": "%2e%2e%2f%00%ff%zz",
    "a query": "a?versionId=x&X-Amz-Signature=y#z",
    "markup": "<script>alert(1)</script>",
    "a template": "{{7*7}}${7*7}%s%n{0.__class__}",
    "a statement": "' OR 1=1; --",
    "an own key": "switch#submits",
    "digits": "9" * 5000,
    "other digits": "\u0665",
    "long": "x" * 200_000,
    "long and wide": "👟" * 20_000,
    "long and invisible": "\x01" * 30_000,
    "long halves": "\ud800" * 30_000,
    "deep JSON": "[" * DEEP,
    "whole deep JSON": nested(10_000),
    "JSON of 1e400": "[1e400]",
    "JSON of halves": '["https://example.com/\\ud800"]',
}
SHAPES = {
    "null": "null",
    "list": "[]",
    "object": "{}",
    "list of null": "[null]",
    "list of lists": "[[],[[]]]",
    "object in object": '{"a": {"b": {}}}',
    "empty name": '{"": 1}',
    "a name twice": '{"a": 1, "a": 2}',
    "wide list": "[" + ",".join("1" * 50_000) + "]",
    "wide object": "{" + ",".join(f'"{number}":1' for number in range(15_000)) + "}",
    "21 levels": nested(21),
    "deep list": nested(500),
    "deeper list": nested(5000),
    "deep object": '{"a":' * 500 + "1" + "}" * 500,
    "deepest list": nested(DEEP),
    "no end": "[" * 1000,
}
VALUES: dict[str, str] = {
    **NUMBERS,
    **{f"text: {kind}": json.dumps(text) for kind, text in TEXTS.items()},
    **{f"shape: {kind}": text for kind, text in SHAPES.items()},
}
"""All kinds, as JSON."""

WRONG_TYPES: dict[str, Any] = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "negative": -1,
    "huge": 10**30,
    "float": 1.5,
    "infinite": float("inf"),
    "nan": float("nan"),
    "empty text": "",
    "text": "x",
    "no": "no",
    "half of a character": "\ud800",
    "NUL": "\x00",
    "long text": "x" * 100_000,
    "list": [],
    "list of text": ["x"],
    "object": {},
    "object of none": {"x": None},
    "object with an empty name": {"": ""},
    "list in object": {"x": [["y"]]},
}
"""Values in an event, which Lambda has parsed. Some of them (halves, NaN) may not get through a gateway."""
