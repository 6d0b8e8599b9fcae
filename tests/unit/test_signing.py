"""Webhooks are signed so that the scheme's own library accepts them."""

import base64
import re
import time
from typing import Any

import pytest
from announcements import KEY
from seedance.errors import ConfigurationError
from seedance.events import signing
from standardwebhooks import Webhook, WebhookVerificationError

OTHER = "whsec_" + base64.b64encode(b"x" * 32).decode()
PAYLOAD = '{"type":"video.state_changed","data":{"name":"Schuh 靴 🎬"}}'


def headers(keys: str = KEY, **changes: Any) -> dict[str, str]:
    given = {"webhook_id": "evt_1", "moment": time.time(), "payload": PAYLOAD, **changes}
    return signing.headers(**given, keys=signing.keys_in(keys))


def test_the_schemes_library_accepts_it() -> None:
    assert Webhook(KEY).verify(PAYLOAD, headers()) == {"type": "video.state_changed", "data": {"name": "Schuh 靴 🎬"}}


@pytest.mark.parametrize(
    ("changed", "body"),
    [
        ({"webhook_id": "evt_2"}, PAYLOAD),
        ({"payload": PAYLOAD + " "}, PAYLOAD),
        ({"moment": time.time() - 3600}, PAYLOAD),  # too old: each attempt needs its own signature
        ({"keys": OTHER}, PAYLOAD),
    ],
)
def test_the_library_refuses_anything_else(changed: dict[str, Any], body: str) -> None:
    signed = {**headers(**changed), "webhook-id": "evt_1"}
    with pytest.raises(WebhookVerificationError):
        Webhook(KEY).verify(body, signed)


def test_with_two_keys_receivers_with_either_accept_it() -> None:
    signed = headers(f"{OTHER}\n {KEY}")
    assert len(signed["webhook-signature"].split(" ")) == 2
    for key in (KEY, OTHER):
        assert Webhook(key).verify(PAYLOAD, signed)


def test_the_example_of_the_specification() -> None:
    """Computed with the scheme's library, and so by the specification: the seconds are whole."""
    signed = headers(moment=1_674_087_231.9)
    assert signed["webhook-timestamp"] == "1674087231"
    assert re.fullmatch(r"v1,[A-Za-z0-9+/]{43}=", signed["webhook-signature"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "whsec_",
        "whsec_C2FV",  # too short
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_C2FV&&&=",
        f"{KEY} whsk_{KEY}",
        f"{KEY},{OTHER}",
    ],
)
def test_an_unusable_secret_is_named_but_not_quoted(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        signing.keys_in(text)
    assert not any(word in str(caught.value) for word in text.split() if word != "whsec_")


@pytest.mark.parametrize("size", [24, 64])
def test_the_shortest_and_the_longest_key(size: int) -> None:
    assert signing.keys_in("whsec_" + base64.b64encode(b"k" * size).decode()) == (b"k" * size,)
