"""Orders that people send from the command line: none twice, and none without a word about what became of it."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from command_line import Typed
from seedance.clock import Clock

from cli import actions, following, images, main, manifests, sending, watch
from cli.manifests import Source
from cli.requests import Wish
from cli.target import CommandError, Target

BUCKET = "uploads-of-sending"
AT = "https://example.com"


def refused(code: str, status: int) -> ClientError:
    about: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(about, "PutObject")


class Wire:
    """Answers of the API, in order. An exception is raised instead."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response | BaseException] = []
        self.requests: list[httpx.Request] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch, moto_stack: Target) -> Wire:
    made = Wire()
    moto_stack.outputs["ApiUrl"] = f"{AT}/v1"
    moto_stack.__dict__["api_key"] = "key"
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda _, request: made.handle(request))
    return made


def accepted() -> httpx.Response:
    return httpx.Response(202, json={"job_id": f"api-{'1' * 32}", "state": "RECEIVED"})


LOST = [
    httpx.ReadTimeout("no answer"),
    httpx.ReadError("reset"),
    httpx.RemoteProtocolError("closed"),
    httpx.Response(504, json={"message": "Endpoint request timed out"}),
    httpx.Response(500, json={"detail": "later"}),
    httpx.Response(200, text="<html>a captive portal</html>"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("lost", LOST, ids=lambda lost: type(lost).__name__)
def test_a_submit_without_an_answer_can_be_repeated_without_a_second_video(
    typed: Typed, wire: Wire, lost: httpx.Response | BaseException
) -> None:
    wire.answers = [lost, accepted()]
    first = typed("submit", "--prompt", "it's")
    assert first.exit_code == (130 if isinstance(lost, KeyboardInterrupt) else 1)
    assert "may have been requested" in first.stderr
    key = first.stderr.split("--idempotency-key ")[1].split()[0]

    second = typed("submit", "--prompt", "it's", "--idempotency-key", key)
    assert second.exit_code == 0, second.stderr
    calls = [(request.headers["idempotency-key"], request.content) for request in wire.requests]
    assert calls[0] == calls[1]
    assert calls[0][0] == key


@pytest.mark.parametrize(
    "certain",
    [httpx.ConnectError("refused"), httpx.ConnectTimeout("dark"), httpx.Response(422, json={"detail": "no"})],
    ids=lambda certain: type(certain).__name__,
)
def test_a_submit_that_certainly_bought_nothing_says_no_more_than_that(
    typed: Typed, wire: Wire, certain: httpx.Response | BaseException
) -> None:
    wire.answers = [certain]
    result = typed("submit", "--prompt", "x")
    assert result.exit_code == 1
    assert "may have" not in result.stderr


def test_each_submit_without_a_key_is_a_new_video(typed: Typed, wire: Wire) -> None:
    wire.answers = [accepted(), accepted()]
    for _ in range(2):
        assert typed("submit", "--prompt", "x").exit_code == 0
    assert wire.requests[0].headers["idempotency-key"] != wire.requests[1].headers["idempotency-key"]


def test_an_empty_idempotency_key_is_no_missing_one(typed: Typed, wire: Wire) -> None:
    """An unset variable of a shell: taken for a missing key, each run of the script would buy a video."""
    result = typed("submit", "--prompt", "x", "--idempotency-key", "")
    assert (result.exit_code, wire.requests) == (2, [])
    assert "Invalid value for '--idempotency-key': it is empty" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        *(["submit", "--prompt", "x", option, ""] for option in ("--model", "--image", "--name", "--stack", "--set")),
        *(["list", option, ""] for option in ("--batch", "--model", "--name", "--source", "--since", "--stack")),
        ["list", "--name", "shoe", "--stack", ""],
    ],
)
def test_no_option_takes_an_unset_variable(typed: Typed, wire: Wire, arguments: list[str]) -> None:
    result = typed(*arguments)
    assert (result.exit_code, wire.requests) == (2, [])
    said = " ".join(result.stderr.replace("│", " ").split())
    assert re.search(f"Invalid value for '{arguments[-2]}'.*: it is empty", said)


def test_an_empty_variable_names_no_stack(typed: Typed, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDANCE_STACK", "")
    assert typed("list").exit_code == 0


def test_a_parameter_without_a_value_is_not_bought_with_its_default(typed: Typed, wire: Wire) -> None:
    result = typed("submit", "--prompt", "x", "--set", "duration=")
    assert (result.exit_code, result.stderr, wire.requests) == (2, "error: --set: duration has no value\n", [])


class S3:
    """A client for S3 that raises these errors, then takes everything."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.bodies: list[bytes] = []

    def put_object(self, *, Body: io.BufferedIOBase, **_: object) -> dict[str, str]:  # noqa: N803 - boto3's name
        self.bodies.append(Body.read())
        if self.errors:
            raise self.errors.pop(0)
        return {"VersionId": "v1"}


@pytest.fixture
def stack_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Target, S3]]:
    monkeypatch.setattr(Clock, "sleep", lambda *_: None)

    def made(*errors: BaseException) -> tuple[Target, S3]:
        s3 = S3(*errors)
        monkeypatch.setattr(Target, "client", lambda *_: s3)
        return Target({"UploadBucketName": BUCKET}), s3

    return made


@pytest.fixture
def image(tmp_path: Path, png: bytes) -> Path:
    (tmp_path / "shoe.png").write_bytes(png)
    return tmp_path / "shoe.png"


UNKNOWN = [
    ReadTimeoutError(endpoint_url=AT),
    ConnectionClosedError(endpoint_url=AT),
    refused("InternalError", 500),
    KeyboardInterrupt(),
    SystemExit(143),
]
CERTAIN = [EndpointConnectionError(endpoint_url=AT), ConnectTimeoutError(endpoint_url=AT), refused("SlowDown", 503)]


def orders(image: Path) -> list[tuple[str, Callable[[Target], Any]]]:
    """Every upload that makes videos."""
    return [
        ("an image", lambda target: actions.drop(target, images.look(image), Wish())),
        ("a manifest", lambda target: manifests.send(target, Source("a.csv", image.parent, image))),
        ("a folder", lambda target: manifests.send(target, Source("a.jsonl", image.parent, content=b"{}"))),
    ]


@pytest.mark.parametrize("error", UNKNOWN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("which", range(3))
def test_an_upload_that_may_have_arrived_is_not_repeated_and_is_told(
    stack_with: Any, image: Path, capsys: pytest.CaptureFixture[str], which: int, error: BaseException
) -> None:
    target, s3 = stack_with(error)
    with pytest.raises(type(error)):
        orders(image)[which][1](target)
    assert len(s3.bodies) == 1
    assert "may have been uploaded" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("error", CERTAIN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("which", range(3))
def test_an_upload_that_did_not_arrive_is_repeated_whole(
    stack_with: Any, image: Path, which: int, error: BaseException
) -> None:
    target, s3 = stack_with(error, error)
    assert orders(image)[which][1](target)
    assert len(s3.bodies) == 3
    assert len(set(s3.bodies)) == 1


def test_a_refused_upload_is_neither_repeated_nor_doubtful(
    stack_with: Any, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, s3 = stack_with(refused("AccessDenied", 403))
    with pytest.raises(ClientError):
        actions.drop(target, images.look(image), Wish())
    assert len(s3.bodies) == 1
    assert not capsys.readouterr().err


def test_the_client_for_orders_repeats_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With botocore itself: a request whose answer is lost is sent once, for a stack on AWS and a local one."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    sent = []

    def lose(request: Any, **_: object) -> AWSResponse:
        sent.append(request)
        raise ReadTimeoutError(endpoint_url=AT)

    target = Target({})
    s3 = sending.client(target)
    assert s3 is sending.client(target)  # threads share it
    s3.meta.events.register("before-send.s3.PutObject", lose)
    with pytest.raises(ReadTimeoutError):
        s3.put_object(Bucket=BUCKET, Key="uploads/a.png", Body=b"x")
    assert len(sent) == 1


@pytest.mark.parametrize("options", [[], ["--json"], ["--wait"], ["--wait", "--json"]])
@pytest.mark.parametrize("ordered", ["one image", "two images", "a call", "a batch"])
def test_an_order_is_named_even_if_all_that_follows_fails(
    *,
    typed: Typed,
    wire: Wire,
    moto_stack: Target,
    monkeypatch: pytest.MonkeyPatch,
    image: Path,
    ordered: str,
    options: list[str],
) -> None:
    """Otherwise, whoever reads only the error repeats the order and pays again."""
    wire.answers = [accepted()]
    other = image.with_name("other.png")
    other.write_bytes(image.read_bytes() + b"\0")
    arguments = {
        "one image": ["drop", image],
        "two images": ["drop", image, other],
        "a call": ["submit", "--prompt", "x"],
        "a batch": ["batch", image.parent, "--prompt", "x"],
    }[ordered]

    def fails(*_: object) -> str:
        raise EndpointConnectionError(endpoint_url=AT)

    for follower in ("follow", "follow_all"):
        monkeypatch.setattr(watch, follower, fails)
    monkeypatch.setattr(following, "follow", fails)
    if ordered in ("one image", "a call"):
        monkeypatch.setattr(moto_stack.switch, "paused", fails)
    result = typed(*arguments, *options)
    if result.exit_code:
        assert re.search("(up|api|batch)-[0-9a-f]{32}", result.stderr), result.output
    else:
        assert re.search("(up|api|batch)-[0-9a-f]{32}", result.stdout), result.output
    assert (result.exit_code == 0) == (ordered in ("two images", "a batch") and "--wait" not in options)


def test_a_batch_can_be_stopped(typed: Typed, wire: Wire) -> None:
    batch = f"batch-{'a' * 32}"
    wire.answers = [httpx.Response(200, json={"batch_id": batch, "state": "CANCELLING", "states": {"CANCELLED": 3}})]
    result = typed("cancel", batch)
    assert (result.exit_code, result.stdout) == (0, f"batch {batch} is CANCELLING: 3 CANCELLED\n")
    assert str(wire.requests[0].url) == f"{AT}/v1/batches/{batch}/cancel"
    assert wire.requests[0].method == "POST"


def test_a_batch_that_can_not_be_stopped_says_why(typed: Typed, wire: Wire) -> None:
    wire.answers = [httpx.Response(409, json={"detail": "the batch has ended", "code": "NOT_POSSIBLE"})]
    result = typed("cancel", f"batch-{'a' * 32}")
    assert (result.exit_code, result.stderr) == (1, "error: the API returned 409: the batch has ended\n")


def test_an_unanswered_order_is_a_failed_command() -> None:
    assert issubclass(sending.Unanswered, CommandError)
    assert main.Exit.FAILED == 1
