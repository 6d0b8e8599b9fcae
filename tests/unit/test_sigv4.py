"""Signatures made by botocore are accepted, and every kind of invalid signature is refused."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from local import sigv4
from local.sigv4 import Credentials, Refused, Request

OURS = Credentials("SEEDANCE0001", "secret")
URL = "http://127.0.0.1:4566"


def signed(
    method: str = "GET",
    path: str = "/",
    service: str = "s3",
    *,
    link: int | None = None,
    secret: str = OURS.secret_access_key,
    **more: Any,
) -> Request:
    """A request signed by botocore, as sent; ``link`` makes it a presigned URL valid for that many seconds."""
    signers: dict[bool, Any] = {True: S3SigV4Auth, False: SigV4Auth}
    request = AWSRequest(method, URL + path, **more)
    credentials = BotoCredentials(OURS.access_key_id, secret)
    if link is None:
        signers[service == "s3"](credentials, service, "us-east-1").add_auth(request)
    else:
        S3SigV4QueryAuth(credentials, service, "us-east-1", expires=link).add_auth(request)
    prepared = request.prepare()
    url = urlsplit(prepared.url)
    headers = [("host", url.netloc), *((name.lower(), str(value)) for name, value in prepared.headers.items())]
    return Request(method, url.path, url.query, headers)


def check(request: Request, payload: str | None = None, now: float | None = None) -> None:
    signature = sigv4.read(request)
    assert signature
    assert signature.key_id == OURS.access_key_id
    payload = payload or signature.payload(request)
    assert payload
    signature.check(request, payload, OURS.secret_access_key, datetime.now(UTC).timestamp() if now is None else now)


def changed(request: Request, name: str, value: str) -> Request:
    return replace(request, headers=[(n, value if n == name else v) for n, v in request.headers])


@pytest.mark.parametrize("path", ["/", "/b/red%20shoe%2B1.JPG", "/b/a//b/../c", "/b/%C3%BC/%E9%9D%B4%20%281%29.jpeg"])
@pytest.mark.parametrize("query", ["", "?uploads", "?prefix=a%20b&list-type=2&prefix=%2B", "?x=~%2F"])
def test_botocores_signatures_for_s3_are_accepted(path: str, query: str) -> None:
    check(signed("PUT", path + query, data=b"body", headers={"x-amz-meta-prompt": "two   words"}))
    check(signed("GET", path + query, link=60))


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("dynamodb", "/"),
        ("lambda", "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af/invocations"),
        ("apigateway", "/restapis/x/resources/?embed=methods&limit=5"),
        ("lambda", "/a//b/./c/../d/"),
    ],
)
def test_botocores_signatures_for_other_services_are_accepted(service: str, path: str) -> None:
    request = signed("POST", path, service, data=b"{}", headers={"X-Amz-Target": "Y.Z"})
    signature = sigv4.read(request)
    assert signature
    assert signature.payload(request) is None, "the body itself is signed, and its digest is not sent"
    check(request, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")


@given(path=st.text("aZ0 /%+.~-_ü靴=&?#", max_size=12), value=st.text("aZ0 /%+.~-_ü靴=&?#", max_size=12))
def test_any_key_and_any_parameter_is_signed_as_botocore_signs_it(path: str, value: str) -> None:
    check(signed("GET", f"/b/{quote(path, safe='/~')}?x={quote(value, safe='~')}"))


@pytest.mark.hostile(kind="address")
def test_a_changed_request_is_refused() -> None:
    request = signed("PUT", "/bucket/key?tagging", data=b"body", headers={"x-amz-meta-prompt": "a shoe"})
    variants = {
        "method": replace(request, method="DELETE"),
        "path": replace(request, path="/bucket/other"),
        "query": replace(request, query="acl"),
        "another parameter": replace(request, query="tagging=&versionId=1"),
        "header": changed(request, "x-amz-meta-prompt", "a hat"),
        "a header once more": replace(request, headers=[*request.headers, ("x-amz-meta-prompt", "a hat")]),
        "host": changed(request, "host", "127.0.0.1:4567"),
        "body": changed(request, "x-amz-content-sha256", "0" * 64),
        "date": changed(request, "x-amz-date", "20200101T000000Z"),
    }
    check(request)
    for what, variant in variants.items():
        with pytest.raises(Refused, match="does not match"):
            check(variant)
        assert what


def test_another_secret_is_refused() -> None:
    for link in (None, 60):
        with pytest.raises(Refused, match="does not match") as refused:
            check(signed(secret="test", link=link))
        assert refused.value.code == "SignatureDoesNotMatch"


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize(
    ("part", "other"),
    [("X-Amz-Expires=60", "X-Amz-Expires=6000"), ("X-Amz-Signature=", "X-Amz-Signature=0"), ("us-east-1", "eu-west-1")],
)
def test_a_changed_link_is_refused(part: str, other: str) -> None:
    link = signed("GET", "/bucket/key", link=60)
    assert part in link.query
    with pytest.raises(Refused, match="does not match"):
        check(replace(link, query=link.query.replace(part, other)))
    with pytest.raises(Refused, match="does not match"):
        check(replace(link, path="/bucket/other"))


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize(
    ("link", "later", "says"),
    [
        (60, 61, "the link has expired"),
        (60, -3600, "signed in the future"),
        (None, 16 * 60, "signed too long ago"),
        (None, -16 * 60, "signed in the future"),
    ],
)
def test_a_signature_is_valid_only_for_its_time(link: int | None, later: float, says: str) -> None:
    request, now = signed(link=link), datetime.now(UTC).timestamp()
    check(request, now=now + 30)
    with pytest.raises(Refused, match=says):
        check(request, now=now + later)


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize("seconds", [0, -5, 7 * 24 * 3600 + 1])
def test_no_link_works_for_longer_than_a_week(seconds: int) -> None:
    with pytest.raises(Refused, match="a link must be valid for 1 to 604800 seconds"):
        check(signed(link=seconds))


def test_the_host_is_always_signed() -> None:
    request = signed()
    with pytest.raises(Refused, match="does not include the header Host"):
        check(changed(request, "authorization", request.header("authorization").replace("host;", "")))


LINK = "X-Amz-Signature=0&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=SEEDANCE0001/20261126/us-east-1"
SCOPE = "SEEDANCE0001/20261126/us-east-1/s3/aws4_request"


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize(
    "authorization",
    [
        *("Basic dGVzdDp0ZXN0", "AWS test:abc", "Bearer x", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential="),
        f"AWS4-ECDSA-P256-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=0",
        f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host",
        f"AWS4-HMAC-SHA256 Credential={SCOPE}, Signature=0",
        "AWS4-HMAC-SHA256 Credential=SEEDANCE0001/20261126/us-east-1/s3, SignedHeaders=host, Signature=0",
        f"AWS4-HMAC-SHA256 Credential={SCOPE}/x, SignedHeaders=host, Signature=0",
        f"AWS4-HMAC-SHA256 Credential={SCOPE}\xff\xfe, SignedHeaders=\xff, Signature=\xff",
    ],
)
def test_another_kind_of_authorization_is_refused(authorization: str) -> None:
    request = Request(
        "GET", "/", "", [("host", "127.0.0.1:4566"), ("authorization", authorization), ("x-amz-date", "")]
    )
    with pytest.raises(Refused):
        check(request)


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Signature=0",
        "X-Amz-Signature=%FF&X-Amz-Date=%FF&X-Amz-SignedHeaders=%FF&X-Amz-Credential=%FF",
        f"{LINK}/s3/aws4_request&X-Amz-Date=%FF&X-Amz-SignedHeaders=host%C3%A9&X-Amz-Expires=x",
        f"{LINK}/sqs/aws4_request&X-Amz-Date=2&X-Amz-SignedHeaders=host&X-Amz-Expires=60",
    ],
)
def test_an_invalid_link_is_refused(query: str) -> None:
    with pytest.raises(Refused):
        check(Request("GET", "/", query, [("host", "127.0.0.1:4566")]))


@pytest.mark.parametrize(
    "query", ["", "X-Amz-Credential=x", "AWSAccessKeyId=test&Signature=x&Expires=9999999999", "&&="]
)
def test_an_unsigned_request_has_no_signature(query: str) -> None:
    assert sigv4.read(Request("GET", "/", query, [("host", "127.0.0.1:4566")])) is None
