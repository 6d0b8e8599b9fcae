"""The provider's GET of a result: statuses, response formats, rate limit times, and the source of the key."""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from seedance.errors import (
    ConfigurationError,
    KeyRejected,
    OutOfCredits,
    ProviderError,
    RateLimited,
    Refused,
    Unavailable,
    UnexpectedAnswer,
)
from seedance.provider import client as provider_module
from seedance.provider.client import Provider
from seedance.provider.links import Result, Sent
from seedance.provider.payloads import ProviderStatus, Standing

pytestmark = pytest.mark.hostile(kind="answer")

KEY = "SG_0123456789abcdef"
LINK = "https://images.segmind.com/video.mp4"
FRAME = "https://images.segmind.com/frame.png"
HTML = "<html><body><h1>Bad Gateway</h1></body></html>"


@pytest.fixture
def ask(wire: Any) -> Callable[..., Standing | None]:
    """One GET with the given response."""
    line = httpx.MockTransport(wire)
    hosts = {"images.segmind.com"}
    at = Provider("https://api.segmind.com", "", "", key=lambda: KEY, transport=line, media_hosts=hosts)

    def get(answer: httpx.Response | Exception) -> Standing | None:
        wire.will(answer)
        return at.standing("req-1")

    return get


def failure(act: Callable[[], object]) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        act()
    return raised.value


def completed(**changes: Any) -> httpx.Response:
    return httpx.Response(200, json={"status": "COMPLETED", "request_id": "req-1", "output": LINK, **changes})


def test_a_poll_is_one_get_with_the_key(ask: Any, wire: Any) -> None:
    assert ask(httpx.Response(200, json={"status": "QUEUED"})) == Standing(ProviderStatus.QUEUED)
    (request,) = wire.requests
    assert wire.asked == ["GET https://api.segmind.com/v2/requests/req-1"]
    assert request.headers["x-api-key"] == KEY
    assert "authorization" not in request.headers


@pytest.mark.parametrize("http", [200, 422])
@pytest.mark.parametrize("word", ["QUEUED", "PROCESSING", "COMPLETED", "FAILED", "queued", "Processing"])
def test_the_four_statuses_are_read_with_either_http_status(ask: Any, http: int, word: str) -> None:
    assert ask(httpx.Response(http, json={"status": word})).status == word.upper()


@pytest.mark.parametrize("word", ["RUNNING", "IN_QUEUE", "", None, 5, ["QUEUED"], {"a": 1}, "COMPLETED "])
def test_an_unknown_status_is_unexpected_and_quoted(ask: Any, word: Any) -> None:
    error = failure(lambda: ask(httpx.Response(200, json={"status": word})))
    assert type(error) is UnexpectedAnswer
    assert repr(word) in str(error)


@pytest.mark.parametrize("http", [200, 422])
@pytest.mark.parametrize(
    "foreign",
    [
        {"request_id": "req-2"},
        {"request_id": 7},
        {"request_id": ["req-1"]},
        {"request_id": "req-1/../req-2"},
        {"status_url": "https://api.segmind.com/v2/requests/req-2/status"},
        {"response_url": "https://api.segmind.com/v2/requests/req-2"},
        {"poll_url": "https://api.segmind.com/v2/requests/req-2?x=req-1"},
        {"request_id": None, "response_url": "https://api.segmind.com/v2/requests/req-2"},
    ],
)
@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "QUEUED"])
def test_a_response_for_another_request_is_an_error(ask: Any, http: int, foreign: dict[str, Any], status: str) -> None:
    said = {"status": status, "request_id": "req-1", "output": LINK, **foreign}
    error = failure(lambda: ask(httpx.Response(http, json=said)))
    assert type(error) is UnexpectedAnswer
    assert "req-1" in str(error)


@pytest.mark.parametrize(
    "ours",
    [
        {},
        {"request_id": None},
        {"request_id": ""},
        {"request_id": " REQ-1"},
        {"status_url": "https://api.segmind.com/v2/requests/req-1/status", "response_url": None, "poll_url": 7},
        {"response_url": "/v2/requests/req%2D1", "status_url": "https://api.segmind.com/elsewhere"},
    ],
)
def test_a_response_with_our_request_id_or_none_is_accepted(ask: Any, ours: dict[str, Any]) -> None:
    assert ask(httpx.Response(200, json={"status": "COMPLETED", "output": LINK, **ours})).output == LINK


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content='{"status": "COMPLETED", "deep": ' + "[" * 200_000),
        httpx.Response(200, content=b'{"status": "COMPLETED"}' + b" " * 1_000_000),
        httpx.Response(200, content=gzip.compress(bytes(50_000_000)), headers={"content-encoding": "gzip"}),
        httpx.Response(200, content=iter([b"x" * 100_000] * 20)),
    ],
    ids=["deep", "long", "bomb", "chunks"],
)
def test_a_response_that_exceeds_a_limit_is_an_error_and_says_why(ask: Any, answer: httpx.Response) -> None:
    error = failure(lambda: ask(answer))
    assert type(error) is UnexpectedAnswer
    assert "without a status: it is" in str(error)


@pytest.mark.parametrize("number", ["9" * 5000, "NaN", "1e999"])
def test_an_invalid_number_does_not_hide_a_video(ask: Any, number: str) -> None:
    text = f'{{"status": "COMPLETED", "output": "{LINK}", "metrics": {{"cost": 0.25, "total_time": {number}}}}}'
    standing = ask(httpx.Response(200, text=text))
    assert (standing.output, standing.cost_usd, standing.metrics) == (LINK, 0.25, {})


def test_a_reason_with_half_an_emoji_can_be_stored(ask: Any) -> None:
    standing = ask(httpx.Response(422, text=r'{"status": "FAILED", "error": "blocked \ud83d"}'))
    assert standing.error == "blocked ?"


def test_an_id_is_one_segment_of_the_url(wire: Any) -> None:
    at = Provider("https://api.segmind.com", "", "", key=lambda: KEY, transport=httpx.MockTransport(wire))
    wire.will(httpx.Response(404))
    assert at.standing("../a?b#c d") is None
    assert wire.asked == ["GET https://api.segmind.com/v2/requests/..%2Fa%3Fb%23c%20d"]


def test_an_unknown_or_expired_request_is_none(ask: Any) -> None:
    assert ask(httpx.Response(404, json={"error": "Request req-1 not found"})) is None
    assert ask(httpx.Response(404, text=HTML)) is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "bad"}, Refused),
        (401, {"error": "Invalid API key"}, KeyRejected),
        (403, {"error": "no"}, Refused),
        (405, HTML, Refused),
        (406, {"error": "Not enough credits"}, OutOfCredits),
        (406, {"error": "Wrong Content-Type"}, Refused),
        (410, {"error": "retired"}, Refused),
        (422, {"error": "without a status"}, Refused),
        (422, HTML, Refused),
        (429, {"error": "slow down"}, RateLimited),
        (500, {"error": "x"}, Unavailable),
        (502, HTML, Unavailable),
        (503, "", Unavailable),
        (504, HTML, Unavailable),
        *((status, HTML, Unavailable) for status in (520, 521, 522, 523, 524, 525, 526, 527, 530)),
        (599, HTML, UnexpectedAnswer),
        (301, "", UnexpectedAnswer),
        (200, HTML, UnexpectedAnswer),
        (200, "", UnexpectedAnswer),
        (200, [], UnexpectedAnswer),
        (200, {"output": LINK}, UnexpectedAnswer),
        (204, "", UnexpectedAnswer),
    ],
)
def test_each_status_of_the_contract_at_a_poll(ask: Any, status: int, body: Any, kind: type[ProviderError]) -> None:
    answer = httpx.Response(status, text=body) if isinstance(body, str) else httpx.Response(status, json=body)
    error = failure(lambda: ask(answer))
    assert type(error) is kind
    assert error.status_code == status
    assert error.excerpt == answer.text[:500]


@pytest.mark.parametrize(
    "broken",
    [
        *(httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError),
        *(httpx.WriteError, httpx.PoolTimeout, httpx.DecodingError, httpx.UnsupportedProtocol),
    ],
)
def test_a_broken_connection_is_never_uncertain_at_a_poll(ask: Any, broken: type[Exception]) -> None:
    error = failure(lambda: ask(broken("broke")))
    assert type(error) is Unavailable
    assert KEY not in f"{error!r} {vars(error)}"


@pytest.mark.parametrize(
    ("answer", "address"),
    [({"output": [LINK]}, LINK), ({"data": {"video_url": f" {LINK}"}}, LINK), ({"input": {"video": LINK}}, None)],
)
def test_the_link_is_searched_in_the_whole_response(ask: Any, answer: Any, address: str | None) -> None:
    assert ask(httpx.Response(200, json={"status": "COMPLETED", **answer})).output == address


def test_an_address_that_was_sent_is_not_mistaken_for_the_result(wire: Any) -> None:
    at = Provider("https://a", "", "", key=lambda: KEY, media_hosts={"images.segmind.com"})
    wire.will(completed(output=[LINK, FRAME]))
    assert at.standing("req-1", Sent.of({"reference_videos": [LINK]})).result.videos == 0


@pytest.mark.parametrize("status", list(ProviderStatus))
def test_a_completed_response_without_a_clear_link_is_kept(ask: Any, status: ProviderStatus) -> None:
    said = {"status": status, "request_id": "req-1", "text": [KEY, "https://b.example/x?X-Amz-Signature=5d6e7f"]}
    kept = f'{{"status":"{status}","request_id":"req-1","text":["***","https://b.example/x?***"]}}'
    assert ask(httpx.Response(200, json=said)).result.answer == (kept if status == "COMPLETED" else None)
    assert ask(httpx.Response(200, json={**said, "output": LINK})).result.answer is None


def test_a_completed_response_in_full(ask: Any) -> None:
    metrics = {"inference_time": 55.5, "queue_time": 1, "total_time": "57.25", "retry_count": 0, "cost": 0.25}
    assert ask(completed(last_frame_url=FRAME, metrics=metrics)) == Standing(
        ProviderStatus.COMPLETED,
        result=Result(LINK, FRAME, videos=1),
        cost_usd=0.25,
        metrics={"inference": 55.5, "queue": 1.0, "total": 57.25},
    )


@pytest.mark.parametrize("shape", [{"last_frame": FRAME}, {"last_frame": {"url": FRAME}}, {"last_frame_url": [FRAME]}])
def test_the_last_frame_may_have_several_field_names(ask: Any, shape: dict[str, Any]) -> None:
    assert ask(completed(**shape)).last_frame == FRAME


@pytest.mark.parametrize(
    "metrics", [None, [], "fast", 5, {"cost": None}, {"cost": "free"}, {"cost": True}, {"cost": {}}]
)
def test_invalid_metrics_are_ignored(ask: Any, metrics: Any) -> None:
    standing = ask(completed(metrics=metrics))
    assert (standing.output, standing.cost_usd, standing.metrics) == (LINK, None, {})


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1" + "0" * 400, '"1e999"'])
def test_numbers_that_cannot_be_stored_are_ignored(ask: Any, number: str) -> None:
    text = f'{{"status": "COMPLETED", "output": "{LINK}", "metrics": {{"cost": {number}, "total_time": {number}}}}}'
    standing = ask(httpx.Response(200, text=text))
    assert (standing.output, standing.cost_usd, standing.metrics) == (LINK, None, {})


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("content blocked", "content blocked"),
        ({"message": "blocked"}, "blocked"),
        ({"error": "blocked"}, "blocked"),
        ({"code": 7}, '{"code": 7}'),
        (["a"], "a"),
        ([{"loc": ["body", "seed"], "msg": "too big"}], "body.seed: too big"),
        ("<html><title>Out of steam</title></html>", "Out of steam"),
        ("x" * 900, "x" * 500),
        ("", None),
        (None, None),
    ],
)
def test_a_failed_job_says_why(ask: Any, said: Any, words: str | None) -> None:
    standing = ask(httpx.Response(422, json={"status": "FAILED", "error": said, "metrics": {}}))
    assert (standing.status, standing.error) == (ProviderStatus.FAILED, words)


@pytest.mark.parametrize(
    "form",
    [
        lambda moment: moment.isoformat(),
        lambda moment: moment.isoformat().replace("+00:00", "Z"),
        lambda moment: moment.replace(tzinfo=None).isoformat(),
        lambda moment: moment.replace(tzinfo=None).isoformat(" "),
        lambda moment: f"  {moment.isoformat()} ",
        lambda moment: moment.astimezone(tz=datetime.now().astimezone().tzinfo).isoformat(),
    ],
)
def test_a_rate_limit_says_when_it_ends(ask: Any, form: Callable[[datetime], str]) -> None:
    reset = datetime.now(UTC) + timedelta(seconds=40)
    error = failure(lambda: ask(httpx.Response(429, headers={"x-rate-limit-reset-at-utc": form(reset)})))
    assert isinstance(error, RateLimited)
    assert error.retry_after == pytest.approx(40, abs=2)


@pytest.mark.parametrize(
    ("header", "after"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("1763600000", None),
        ("40", None),
        ("2020-01-01T00:00:00+00:00", 0.0),
        ("2020-13-45T00:00:00Z", None),
    ],
)
def test_a_rate_limit_without_a_valid_time(ask: Any, header: str | None, after: float | None) -> None:
    headers = {} if header is None else {"x-rate-limit-reset-at-utc": header}
    error = failure(lambda: ask(httpx.Response(429, headers=headers)))
    assert isinstance(error, RateLimited)
    assert error.retry_after == after


def test_no_connection_is_kept_alive_across_a_freeze(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(httpx, "Client", lambda **options: made.append(options))
    assert Provider("https://a", "https://b", "https://c", key=lambda: KEY)._http is None
    assert made[0]["limits"].max_keepalive_connections == 0
    assert made[0]["follow_redirects"] is False


def test_the_stacks_provider_reads_the_key_once_until_it_is_rejected(wired: Any) -> None:
    at = provider_module.provider()
    wired.wire.will(httpx.Response(200, json={"request_id": "a"}), httpx.Response(200, json={"request_id": "b"}))
    assert [at.submit("seedance-pro", {}), at.submit("seedance-pro", {})] == ["a", "b"]
    assert len(wired.called("GetSecretValue")) == 1
    assert wired.wire.requests[0].headers["x-api-key"] == KEY

    wired.aws["secretsmanager"].update_secret(SecretId="key-of-tests", SecretString=" SG_rotated\n")
    wired.wire.will(httpx.Response(401), httpx.Response(200, json={"request_id": "c"}))
    assert at.submit("seedance-pro", {}) == "c"  # a 401 queues nothing: sent again with the current key
    assert len(wired.called("GetSecretValue")) == 2

    wired.wire.will(httpx.Response(401))
    assert type(failure(lambda: at.submit("seedance-pro", {}))) is KeyRejected  # and only once
    assert len(wired.called("GetSecretValue")) == 3
    assert wired.wire.requests[-1].headers["x-api-key"] == "SG_rotated"


@pytest.mark.parametrize("content", ["", "  ", "SG_a SG_b", "SG_\n0123", "SG_é", '{"key": "a b"}'])
def test_an_invalid_secret_is_a_configuration_error_and_is_not_shown(wired: Any, content: str) -> None:
    wired.aws["secretsmanager"].update_secret(SecretId="key-of-tests", SecretString=content or " ")
    with pytest.raises(ConfigurationError, match="key-of-tests") as raised:
        provider_module.provider().authenticate()
    assert not content.strip() or content.strip() not in str(raised.value)


def test_a_missing_secret_is_not_mistaken_for_a_missing_key(wired: Any) -> None:
    wired.aws["secretsmanager"].delete_secret(SecretId="key-of-tests", ForceDeleteWithoutRecovery=True)
    with pytest.raises((ClientError, ConfigurationError)):
        provider_module.provider().authenticate()
