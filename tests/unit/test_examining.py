"""What a function shows the doctor: its release, the balance, a link, and the structure of the provider's responses."""

import json
import platform
from typing import Any

import httpx
import pytest
import seedance
from past import LINK
from seedance.errors import NotPossible
from seedance.provider import payloads
from seedance.repair import Repair
from seedance.upkeep.examining import NOBODYS_VIDEO, Examined, examine, shape

KEY = "SG_0123456789abcdef"


def look(world: Any, what: str, request_id: str = "") -> Examined:
    return examine(world.provider, lambda: world.media, what, request_id)


def test_the_release_is_that_of_the_layer(world: Any) -> None:
    said = look(world, "release")
    assert (said["release"], said["python"]) == (seedance.__version__, platform.python_version())
    assert said["machine"] == platform.machine()
    assert isinstance(said["bytecode"], bool)


@pytest.mark.parametrize(
    ("said", "usd"),
    [
        ({"credits": 12.5}, 12.5),
        ({"credits": 0.0, "free-credits": 0.0184921035}, 0.018492),
        ({"credits": "3"}, 3.0),
        ({"credits": None}, None),
        ({"credits": True}, None),
        ({"balance": 3}, None),
        ([12.5], None),
        (None, None),
    ],
)
def test_the_balance_is_read_with_the_free_credits(said: Any, usd: float | None) -> None:
    assert payloads.balance(said) == usd


def test_the_balance_is_asked_for_with_the_key(world: Any) -> None:
    world.wire.will(httpx.Response(200, json={"credits": 4.2}))
    assert look(world, "balance") == {"balance_usd": 4.2}
    (call,) = world.wire.requests
    assert (call.method, call.url.path, call.headers["x-api-key"]) == ("GET", "/v1/get-user-credits", KEY)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(401, json={"error": f"Invalid API key {KEY}"}), "PROVIDER_KEY_REJECTED"),
        (httpx.Response(500, json={"error": "Internal server error"}), "PROVIDER_UNAVAILABLE"),
        (httpx.Response(429), "PROVIDER_RATE_LIMITED"),
        (httpx.ConnectError("refused"), "PROVIDER_UNAVAILABLE"),
    ],
)
def test_an_error_is_returned_as_a_code_and_a_sentence(world: Any, answer: Any, code: str) -> None:
    world.wire.will(answer)
    said = look(world, "balance")
    assert said["trouble"]["code"] == code
    assert KEY not in json.dumps(said)


def test_a_link_is_signed_for_a_video_that_nobody_has(world: Any) -> None:
    link = httpx.URL(look(world, "link")["link"])
    assert link.path.endswith(NOBODYS_VIDEO)
    assert "X-Amz-Signature" in dict(link.params)


def test_a_request_is_shown_by_its_structure_alone(world: Any) -> None:
    record = {
        "request_id": "req-1",
        "status": "COMPLETED",
        "output": f"{LINK}?X-Amz-Signature=abc",
        "video": {"url": LINK},
        "metrics": {"cost": 0.12, "inference_time": 3.5},
    }
    row = {"request_id": "req-1", "model_status": "COMPLETED", "request_body": {"prompt": "secret plans"}}
    world.wire.will(httpx.Response(200, json=record))
    world.wire.will_know("req-1", {"data": [row]})
    said = look(world, "request", "req-1")
    host = f"link to {httpx.URL(LINK).host}"
    assert said["record"] == {
        "status": 200,
        "shape": {
            "request_id": "text",
            "status": "COMPLETED",
            "output": host,
            "video": {"url": host},
            "metrics": {"cost": 0.12, "inference_time": "number"},
        },
    }
    assert said["row"]["shape"] == {
        "request_id": "text",
        "model_status": "COMPLETED",
        "request_body": {"prompt": "text"},
    }
    assert [request.url.path for request in world.wire.requests] == ["/v2/requests/req-1"]
    assert world.wire.asked_by_id == ["req-1"]


def test_a_request_that_is_gone_is_shown_by_its_status(world: Any) -> None:
    gone = {"error": "Request req-1 not found"}
    world.wire.will(httpx.Response(404, json=gone))
    world.wire.will_know("req-1", httpx.Response(404, html="<p>"))
    said = look(world, "request", "req-1")
    assert said["record"] == {"status": 404, "shape": {"error": "text"}}
    assert said["row"] == {"status": 404, "shape": None}


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ({"prompt": "a"}, {"prompt": "text"}),
        ('{"prompt": "a"}', "JSON text"),
        ("{'prompt': 'a'}", "text in braces"),
        ("", "empty text"),
        ("http://[::1", "text"),
        (None, None),
        (True, True),
        ([LINK, 1, 2, 3, 4], ["link to images.segmind.com", "number", "number"]),
        ({str(number): 1 for number in range(99)}, {str(number): "number" for number in range(50)}),
    ],
)
def test_shapes(said: Any, seen: Any) -> None:
    assert shape(said) == seen


@pytest.mark.parametrize(("what", "request_id"), [("everything", ""), ("request", ""), ("request", "../../v1/x?")])
def test_nothing_else_can_be_examined(world: Any, what: str, request_id: str) -> None:
    with pytest.raises(NotPossible, match="can't examine"):
        look(world, what, request_id)


def test_a_command_asks_the_repair_function(world: Any, repair: Repair) -> None:
    world.wire.will(httpx.Response(200, json={"credits": 1}))
    assert repair.answer({"ask": "examine", "what": "balance"}) == {"examined": {"balance_usd": 1.0}}
    assert "can't examine" in repair.answer({"ask": "examine", "what": "all"})["error"]


def test_a_stack_of_an_earlier_release_refuses_in_words(world: Any, repair: Repair) -> None:
    """So the doctor says "does not support" for such a stack."""
    assert "does not support" in repair.answer({"ask": "examined"})["error"]
