"""The gate in front of the emulator: only requests signed with the stack's credentials get through."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from gated import API, MAIL, OURS, PORT, STRANGER, URL, Ask, Emulator, asking

from local import aws
from local.forms import SIGNED
from local.gate import FUNCTIONS_KEY_ID, Gate
from local.sigv4 import Credentials


@pytest.fixture
def emulator() -> Emulator:
    return Emulator()


@pytest.fixture
def ask(emulator: Emulator) -> Ask:
    return asking(emulator)


Client = Callable[..., Any]


@pytest.fixture
def client(ask: Ask) -> Client:
    """A real AWS client whose requests go to the gate; ``change`` alters them on the way, as an attacker would."""

    def made(service: str, credentials: Credentials = OURS, change: Callable[[Any], None] = lambda _: None) -> Any:
        found = aws.client.__wrapped__(aws.Access(URL, credentials), service)

        def forward(request: Any, **_: Any) -> AWSResponse:
            change(request)
            body = request.body.read() if hasattr(request.body, "read") else request.body
            headers = {
                name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
            }
            headers.pop("Expect", None)
            answer = ask(request.method, request.url, content=body, headers=headers)
            found_answer = AWSResponse(request.url, answer.status_code, answer.headers, None)
            found_answer._content = answer.content
            return found_answer

        found.meta.events.register("before-send.*", forward)
        return found

    return made


# the stack's own ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["plain.jpg", "red shoe+1.JPG", "übergröße/靴 (1).jpeg", "[50%] & more='cheap'.png", "a//b"]
)
def test_an_object_is_written_and_read_with_the_stacks_credentials(
    emulator: Emulator, client: Client, key: str
) -> None:
    emulator.answer = b""  # S3's clients treat any other response to a PUT as an error
    s3 = client("s3")
    s3.put_object(Bucket="uploads", Key=key, Body=b"picture", Metadata={"prompt": "a  shoe"})
    s3.list_objects_v2(Bucket="uploads", Prefix=key)
    assert [(method, body) for method, _, body in emulator.reached] == [("PUT", b"picture"), ("GET", b"")]


def test_calls_with_the_functions_key_id_get_through(emulator: Emulator, client: Client) -> None:
    client("dynamodb", replace(OURS, access_key_id=FUNCTIONS_KEY_ID)).list_tables()
    assert len(emulator.reached) == 1


def test_every_kind_of_service_is_reached(emulator: Emulator, client: Client) -> None:
    arn = "arn:aws:lambda:us-east-1:000000000000:function:seedance-f:live"
    client("lambda").invoke(FunctionName=arn, Payload=b"{}")
    client("sqs").send_message(QueueUrl=f"{URL}/000000000000/q", MessageBody="靴")
    client("stepfunctions").start_execution(stateMachineArn="arn:x", input="{}")
    client("secretsmanager").get_secret_value(SecretId="s")
    client("apigateway").get_api_keys(limit=3)
    client("logs").describe_log_groups()
    emulator.answer = b"<R><PublishResult><MessageId>1</MessageId></PublishResult></R>"
    client("sns").publish(TopicArn="arn:x", Message="ready & done")
    assert len(emulator.reached) == 7


def test_a_large_body_arrives_complete(emulator: Emulator, client: Client) -> None:
    picture, emulator.answer = bytes(range(256)) * 4096, b""
    client("s3").put_object(Bucket="uploads", Key="k", Body=picture)
    assert emulator.reached[0][2] == picture


def test_waits_are_scaled_with_a_signed_call(emulator: Emulator, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def post(url: str, *, content: str, headers: dict[str, str], trust_env: bool, timeout: float) -> httpx.Response:
        return ask("POST", url, content=content, headers=headers)

    monkeypatch.setattr(aws.httpx, "post", post)
    aws.scale_waits(aws.Access(URL, OURS), 0.1)
    assert emulator.reached == [("POST", "/_ministack/config", b'{"stepfunctions._SFN_WAIT_SCALE": 0.1}')]


# strangers ------------------------------------------------------------------------------------------------------


UNSIGNED = [
    ("POST", "/2015-03-31/functions"),
    ("POST", "/2015-03-31/functions/f/invocations"),
    ("GET", "/"),
    ("GET", "/bucket/key"),
    ("PUT", "/bucket/key"),
    ("POST", "/"),
    ("POST", "/?Action=ListUsers&Version=2010-05-08"),
    ("GET", "/_ministack/ses/messages"),
    ("GET", "/_ministack/sqs/messages"),
    ("POST", "/_ministack/config"),
    ("POST", "/_ministack/reset"),
    ("POST", "/_ministack/health"),
    ("PUT", "/_ministack/cfn-response/token"),
    ("GET", "/health"),
    ("GET", "/_ministack/health/../reset"),
    ("POST", "/_aws/execute-api/x"),
    ("POST", "/_aws/lambda-url/x/"),
    ("POST", "/restapis"),
    ("POST", "/restapis/x/resources"),
    ("POST", "/restapis/x/v1/_user_request_x/videos"),
    ("POST", "/bucket/restapis/x/v1/_user_request_/videos"),
    ("GET", "/latest/meta-data/iam/security-credentials/"),
    ("GET", "/bucket/key?AWSAccessKeyId=test&Signature=x&Expires=9999999999"),
]


@pytest.mark.hostile(kind="stranger")
@pytest.mark.parametrize(("method", "path"), UNSIGNED)
def test_an_unsigned_request_is_refused(emulator: Emulator, ask: Ask, method: str, path: str) -> None:
    answer = ask(method, path, content=b"{}", headers={"X-Amz-Target": "secretsmanager.GetSecretValue"})
    assert (answer.status_code, emulator.reached) == (403, [])
    assert 'the request is not signed; run `eval "$(seedance env)"`' in answer.json()["message"]


@pytest.mark.hostile(kind="stranger")
def test_a_form_that_posts_a_file_is_refused(emulator: Emulator, ask: Ask) -> None:
    form = {"key": "uploads/a.jpg", "x-amz-credential": "test/20261126/us-east-1/s3/aws4_request"}
    answer = ask("POST", "/bucket", data=form, files={"file": b"picture"})
    assert (answer.status_code, emulator.reached) == (403, [])


@pytest.mark.parametrize("path", [API, "/restapis/d4000456/v1/_user_request_/videos", "/_ministack/health"])
def test_the_api_has_its_own_key_and_health_needs_none(emulator: Emulator, ask: Ask, path: str) -> None:
    assert ask("GET", path, headers={"x-api-key": "k"}).status_code == 200
    assert len(emulator.reached) == 1


@pytest.mark.hostile(kind="stranger")
@pytest.mark.parametrize("path", [API, "/_ministack/health", "/2015-03-31/functions"])
@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Host": "evil.example"}, "is not this server"),
        ({"Host": "evil.example:4566"}, "is not this server"),
        ({"Origin": "http://evil.example"}, "pages of another origin (http://evil.example)"),
        ({"Origin": "null"}, "pages of another origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "pages of another site"),
        ({"Sec-Fetch-Site": "same-site"}, "pages of another site"),
    ],
)
def test_a_web_page_is_refused_with_a_clear_message(
    emulator: Emulator, ask: Ask, path: str, headers: dict[str, str], says: str
) -> None:
    answer = ask("POST", path, json={}, headers={"x-api-key": "k", **headers})
    assert (answer.status_code, emulator.reached) == (403, [])
    assert says in answer.json()["message"]
    assert answer.headers["connection"] == "close", "its body was not read"


@pytest.mark.hostile(kind="stranger")
def test_a_web_page_that_knows_the_credentials_is_refused_too(emulator: Emulator, client: Client) -> None:
    def from_a_page(request: Any) -> None:
        request.headers.update(STRANGER)

    with pytest.raises(ClientError, match="pages of another origin"):
        client("lambda", change=from_a_page).list_functions()
    assert emulator.reached == []


@pytest.mark.hostile(kind="stranger")
@pytest.mark.parametrize("path", [API, "/bucket/key", "/"])
def test_a_preflight_is_refused(emulator: Emulator, ask: Ask, path: str) -> None:
    for headers in ({}, STRANGER, {"Origin": URL, "Access-Control-Request-Method": "POST"}):
        answer = ask("OPTIONS", path, headers=headers)
        assert (answer.status_code, emulator.reached) == (403, [])
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.hostile(kind="stranger")
def test_no_response_allows_a_web_page_to_read_it(emulator: Emulator, ask: Ask) -> None:
    answer = ask("GET", API)
    assert answer.headers["etag"] == '"1"'
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.hostile(kind="stranger")
@pytest.mark.parametrize(
    ("credentials", "says"),
    [
        (Credentials("test", "test"), "access key id test is not this stack's"),
        (Credentials("test", OURS.secret_access_key), "access key id test is not this stack's"),
        (Credentials("123456789012", OURS.secret_access_key), "access key id 123456789012 is not this stack's"),
        (Credentials(OURS.access_key_id, "test"), "the signature does not match"),
        (Credentials(FUNCTIONS_KEY_ID, "test"), "the signature does not match"),
    ],
)
def test_other_credentials_are_refused_with_the_services_own_error(
    emulator: Emulator, client: Client, credentials: Credentials, says: str
) -> None:
    function = {"FunctionName": "f", "Role": "arn:aws:iam::000000000000:role/r", "Code": {"ZipFile": b"zip"}}
    calls: dict[str, Callable[[Any], Any]] = {
        "lambda": lambda c: c.create_function(**function),
        "s3": lambda c: c.put_object(Bucket="b", Key="k", Body=b"x"),
        "cloudformation": lambda c: c.list_stacks(),
        "sns": lambda c: c.list_topics(),
        "sqs": lambda c: c.list_queues(),
    }
    for service, call in calls.items():
        with pytest.raises(ClientError) as refused:
            call(client(service, credentials))
        assert says in refused.value.response["Error"]["Message"], service
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert emulator.reached == []


@pytest.mark.hostile(kind="stranger")
@pytest.mark.parametrize(
    ("service", "call"),
    [
        ("s3", lambda c: c.put_object(Bucket="b", Key="k", Body=b"body of ours")),
        ("secretsmanager", lambda c: c.create_secret(Name="s", SecretString="body of ours")),
    ],
)
def test_a_changed_body_is_refused(emulator: Emulator, client: Client, service: str, call: Any) -> None:
    def other(request: Any) -> None:
        request.body = b"body of evil"
        request.headers["Content-Length"] = str(len(request.body))

    with pytest.raises(ClientError, match=r"is not the one that was signed|does not match"):
        call(client(service, change=other))
    assert emulator.reached == []


# links ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def link() -> str:
    s3 = aws.client.__wrapped__(aws.Access(URL, OURS), "s3")
    return str(s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "v/a b.mp4"}, ExpiresIn=60))


@pytest.mark.hostile(kind="address")
def test_a_link_works_for_a_while(emulator: Emulator, ask: Ask, link: str) -> None:
    assert ask("GET", link).status_code == 200
    assert ask("GET", link, headers=MAIL).status_code == 200, "opened by a click in an email on a web page"
    late = ask("GET", link, now=lambda: datetime.now(UTC).timestamp() + 61)
    assert (late.status_code, len(emulator.reached)) == (403, 2)
    assert "the link has expired" in late.text


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize(
    "change",
    [
        lambda link: link.replace("/b/v/", "/b/w/"),
        lambda link: link.replace("X-Amz-Expires=60", "X-Amz-Expires=61"),
        lambda link: link[:-1] + ("0" if link[-1] != "0" else "1"),
        lambda link: link + "&versionId=1",
        lambda link: link.replace("SEEDANCE0001", "test"),
        lambda link: link.partition("&X-Amz-Signature")[0],
        lambda link: link.partition("?")[0],
    ],
)
def test_a_changed_link_is_refused(emulator: Emulator, ask: Ask, link: str, change: Callable[[str], str]) -> None:
    assert (ask("GET", change(link)).status_code, emulator.reached) == (403, [])


@pytest.mark.hostile(kind="address")
def test_a_link_works_only_for_its_method_and_not_from_web_pages(emulator: Emulator, ask: Ask, link: str) -> None:
    assert ask("PUT", link, content=b"x").status_code == 403
    assert ask("DELETE", link).status_code == 403
    assert ask("GET", link, headers=STRANGER).status_code == 403
    assert ask("GET", link, headers={**MAIL, "Sec-Fetch-Dest": "iframe"}).status_code == 403
    assert ask("GET", link, headers={"Host": f"evil.example:{PORT}"}).status_code == 403
    assert emulator.reached == []


def test_a_file_is_uploaded_with_a_link(emulator: Emulator, ask: Ask) -> None:
    s3 = aws.client.__wrapped__(aws.Access(URL, OURS), "s3")
    link = s3.generate_presigned_url("put_object", Params={"Bucket": "b", "Key": "k"}, ExpiresIn=60)
    assert ask("PUT", link, content=b"picture").status_code == 200
    assert emulator.reached == [("PUT", urlsplit(link).path, b"picture")]


# the rest -------------------------------------------------------------------------------------------------------


@pytest.mark.hostile(kind="stranger")
def post(ask: Ask, change: Callable[[dict[str, Any]], Any] = lambda _: None, **options: Any) -> int:
    """Send a form that the stack has signed, after a change."""
    made = aws.client.__wrapped__(aws.Access(URL, OURS), "s3").generate_presigned_post("uploads", "images/a.png")
    change(made["fields"])
    return ask("POST", made["url"], data=made["fields"], files={"file": ("a", b"picture")}, **options).status_code


def test_a_signed_form_gets_through_with_its_file(emulator: Emulator, ask: Ask) -> None:
    assert post(ask) == 200
    ((method, path, body),) = emulator.reached
    assert (method, path.strip("/"), b"picture" in body) == ("POST", "uploads", True)


@pytest.mark.hostile(kind="stranger")
@pytest.mark.parametrize(
    "change",
    [
        *(lambda fields, name=name: fields.pop(name) for name in SIGNED),
        # The date is in the policy, with which S3 compares it.
        *(lambda fields, name=name: fields.update({name: "x"}) for name in SIGNED if name != "x-amz-date"),
        lambda fields: fields.update({"policy": fields["policy"][:-4] + "AAAA"}),
        lambda fields: fields.update({"x-amz-signature": "0" * 64}),
        lambda fields: fields.update({"x-amz-credential": fields["x-amz-credential"].replace("SEEDANCE", "STRANGER")}),
        lambda fields: fields.update({"x-amz-credential": fields["x-amz-credential"].replace("/s3/", "/sqs/")}),
        lambda fields: fields.update({"Policy": fields["policy"]}),  # twice
    ],
)
def test_a_form_without_the_stacks_signature_is_refused(emulator: Emulator, ask: Ask, change: Any) -> None:
    assert post(ask, change) == 403
    assert emulator.reached == []


@pytest.mark.hostile(kind="stranger")
@pytest.mark.parametrize("headers", [STRANGER, {"X-Amz-Target": "DynamoDB_20120810.ListTables"}])
def test_a_signed_form_from_a_page_or_for_another_service_is_refused(ask: Ask, headers: dict[str, str]) -> None:
    assert post(ask, headers=headers) == 403


def test_no_web_socket_is_opened(emulator: Emulator) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": API, "raw_path": API.encode(), "query_string": b"", "headers": []}
    asyncio.run(Gate(emulator, PORT, OURS)(scope, receive, send))
    assert ([message["type"] for message in sent], emulator.reached) == (["websocket.close"], [])


def test_a_call_costs_the_gate_less_than_a_millisecond(client: Client, ask: Ask) -> None:
    scopes: list[dict[str, Any]] = []

    def keep(request: Any) -> None:
        url = urlsplit(request.url)
        headers = [(n.lower().encode(), v if isinstance(v, bytes) else v.encode()) for n, v in request.headers.items()]
        scope = {"type": "http", "method": request.method, "path": url.path, "raw_path": url.path.encode()}
        scopes.append({**scope, "query_string": b"", "headers": headers})

    client("dynamodb", change=keep).list_tables()
    answered: list[int] = []

    async def empty(scope: Any, receive: Any, send: Any) -> None:
        answered.append(len((await receive())["body"]))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(_: Any) -> None:
        raise AssertionError("refused")

    async def calls() -> float:
        gate, begun = Gate(empty, PORT, OURS), time.process_time()
        for _ in range(200):
            await gate(scopes[0], receive, send)
        return (time.process_time() - begun) / 200

    assert asyncio.run(calls()) < 0.001
    assert len(answered) == 200


def test_an_unsigned_body_is_streamed(emulator: Emulator, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_: Any) -> None:
        raise AssertionError("the gate read the body")

    s3 = aws.client.__wrapped__(aws.Access(URL, OURS), "s3")
    link = s3.generate_presigned_url("put_object", Params={"Bucket": "b", "Key": "k"}, ExpiresIn=60)
    monkeypatch.setattr("local.gate._read", read)
    ask("PUT", link, content=b"a film of four gigabytes")
    assert emulator.reached[0][2] == b"a film of four gigabytes"
