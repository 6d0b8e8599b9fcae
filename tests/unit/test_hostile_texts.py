"""Texts from the provider that could cost hours: reading a text takes time in proportion to its length.

With a square of the length, each of these would take minutes and exceed the test's timeout; they take milliseconds.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from seedance import masking
from seedance.errors import LONGEST_TEXT, ForbiddenSource, ProviderError
from seedance.jobs.job import Job, State
from seedance.provider import bodies, failures, links, payloads, refusals
from seedance.provider.bodies import Unreadable
from seedance.provider.links import LONGEST, MOST
from seedance.provider.payloads import Answer

pytestmark = [pytest.mark.hostile(kind="answer"), pytest.mark.timeout(60)]

CHARACTERS = 60_000
HOSTS = frozenset({"images.segmind.com"})
PIECES = [
    "\\",
    '\\"',
    '"',
    "[",
    "{",
    "<title",
    "<title>",
    "%25",
    "?sig=%25",
    '"sig": "',
    "https://",
    ":%2F%2F",
    "real person face ",
    "duration must ",
    "insufficient ",
    " ",
    "('a',",
    "1+",
    "\u200b",
]


def refused(text: str) -> object:
    body = json.dumps({"error": text, "detail": [text]}).encode()
    answers = [Answer(status, "", {"retry-after": text}, raw) for status in (406, 429) for raw in (body, text.encode())]
    return [refusals.error(answer, 0.0) for answer in answers]


def row(text: str) -> object:
    names = ("request_id", "request_body", "generation_url", "error", "created_at", "model_name")
    return payloads.history_row(dict.fromkeys(names, text), HOSTS)


def failed(text: str) -> object:
    about = {"name": "v", "folder": "", "model": "seedance-2.0-fast", "transport": "v2", "source": "upload"}
    job = Job(job_id="up-1", state=State.PROCESSING, **about, parameters={"prompt": "p", "duration": 5})
    return failures.reason(job, payloads.standing({"status": "FAILED", "error": text}).error)


READERS: dict[str, Callable[[str], object]] = {
    "a link": lambda text: links.read({"output": f"https://images.segmind.com/{text}", "video": text}, HOSTS),
    "a kept response": lambda text: masking.kept({"a": text}, b"", lambda _: True),
    "a masked response": lambda text: masking.keys(text.encode(), ["SG_0123456789abcdef"]),
    "an error": refused,
    "a failure": failed,
    "a row": row,
    "ids": lambda text: payloads.others({"request_id": text, "status_url": f"/requests/{text}", "poll_url": text}, "x"),
}


@pytest.mark.parametrize("piece", PIECES, ids=repr)
@pytest.mark.parametrize("reader", READERS)
def test_a_long_text_is_read_in_time(reader: str, piece: str) -> None:
    READERS[reader]((piece * CHARACTERS)[:CHARACTERS])


@pytest.mark.parametrize("piece", PIECES, ids=repr)
def test_a_long_body_is_parsed_in_time(piece: str) -> None:
    try:
        bodies.parsed((piece * CHARACTERS)[:CHARACTERS].encode())
    except Unreadable:
        pass
    else:
        pytest.fail("none of these is JSON")


def test_an_address_longer_than_any_server_takes_is_not_a_link() -> None:
    longest = "https://images.segmind.com/".ljust(LONGEST, "x")
    assert links.read({"output": longest}, HOSTS).video == longest
    assert links.read({"output": longest + "x"}, HOSTS).video is None


def test_a_response_of_links_is_not_read_to_its_end() -> None:
    result = links.read({"output": [f"https://images.segmind.com/{number}" for number in range(27_000)]}, HOSTS)
    assert result.video is None
    assert result.videos == MOST


def test_a_provider_error_of_any_text_is_short() -> None:
    error: Any = refusals.error(Answer(400, "", {}, json.dumps({"error": "x" * CHARACTERS}).encode()), 0.0)
    assert isinstance(error, ProviderError)
    assert len(str(error)) + len(error.excerpt) < 2000
    quoting = ProviderError("The response is about " + "x" * CHARACTERS, excerpt="y" * CHARACTERS)
    assert len(str(quoting)) == len(quoting.excerpt) == LONGEST_TEXT
    refusal = ForbiddenSource("the result is on " + "x" * CHARACTERS, url="https://" + "x" * CHARACTERS)
    assert len(str(refusal)) == len(refusal.url) == LONGEST_TEXT
