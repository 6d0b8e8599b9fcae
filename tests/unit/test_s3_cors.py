"""S3's evaluation of CORS rules, with the examples of its user guide."""

from typing import Any

import pytest

from tests.s3_cors import VARY, Asked, allowed, preflight

GUIDE: list[dict[str, Any]] = [
    {
        "AllowedHeaders": ["*"],
        "AllowedMethods": ["PUT", "POST", "DELETE"],
        "AllowedOrigins": ["http://www.example1.com"],
    },
    {"AllowedMethods": ["PUT", "POST"], "AllowedOrigins": ["http://www.example2.com"]},
    {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 3600},
]


def test_the_first_rule_that_has_everything_counts() -> None:
    asked = Asked("http://www.example1.com", "PUT", ("Content-Type", "x-amz-date"))
    assert allowed(GUIDE, asked) == {
        "Access-Control-Allow-Origin": "http://www.example1.com",
        "Access-Control-Allow-Methods": "PUT, POST, DELETE",
        "Access-Control-Allow-Headers": "Content-Type, x-amz-date",
        "Access-Control-Allow-Credentials": "true",
        "Vary": VARY,
    }
    assert allowed(GUIDE, Asked("http://www.example1.com", "GET")) == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET",
        "Access-Control-Expose-Headers": "ETag",
        "Access-Control-Max-Age": "3600",
        "Vary": VARY,
    }


@pytest.mark.parametrize(
    ("rules", "asked"),
    [
        ([], Asked("http://www.example1.com", "PUT")),
        (GUIDE, Asked("http://www.example3.com", "PUT")),
        (GUIDE, Asked("http://www.example1.com.evil.com", "PUT")),
        (GUIDE, Asked("https://www.example1.com", "PUT")),
        (GUIDE, Asked("http://www.example2.com", "DELETE")),
        (GUIDE, Asked("http://www.example2.com", "PUT", ("content-type",))),
        (GUIDE, Asked("http://www.example1.com", "HEAD")),
    ],
)
def test_what_no_rule_has_is_refused(rules: list[dict[str, Any]], asked: Asked) -> None:
    assert allowed(rules, asked) is None


@pytest.mark.parametrize(
    ("origins", "origin", "whether"),
    [
        (["http://*.example.com"], "http://a.example.com", True),
        (["http://*.example.com"], "http://a.b.example.com", True),
        (["http://*.example.com"], "http://example.com", False),
        (["https://*"], "http://example.com", False),
        (["http://a.example.com"], "http://aXexample.com", False),
    ],
)
def test_an_origin_may_have_a_wildcard(origins: list[str], origin: str, whether: bool) -> None:
    found = allowed([{"AllowedOrigins": origins, "AllowedMethods": ["GET"]}], Asked(origin, "GET"))
    assert (found or {}).get("Access-Control-Allow-Origin") == (origin if whether else None)


def test_headers_are_compared_without_case_and_may_have_a_wildcard() -> None:
    rules = [{"AllowedOrigins": ["*"], "AllowedMethods": ["PUT"], "AllowedHeaders": ["x-amz-*", "Content-Type"]}]
    assert allowed(rules, Asked("http://a.example", "PUT", ("X-Amz-Date", "content-type")))
    assert allowed(rules, Asked("http://a.example", "PUT", ("x-amz-date", "authorization"))) is None


def test_a_preflight_names_its_origin_and_method() -> None:
    given = {"origin": "http://a.example", "access-control-request-method": "POST"}
    assert preflight(given) == Asked("http://a.example", "POST")
    assert preflight({**given, "access-control-request-headers": "a, B"}) == Asked(
        "http://a.example", "POST", ("a", "B")
    )
    assert preflight({"origin": "http://a.example"}) is preflight({"access-control-request-method": "POST"}) is None
