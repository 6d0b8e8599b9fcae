"""The cause of a refusal: money, capacity, a rate limit, or the request itself. And how long to wait."""

import json
from typing import Any

import pytest
from seedance.errors import (
    LONGEST_WAIT_SECONDS,
    AtCapacity,
    OutOfCredits,
    ProviderError,
    RateLimited,
    Refused,
)
from seedance.provider import refusals
from seedance.provider.payloads import Answer

pytestmark = pytest.mark.hostile(kind="answer")

NOW = 1_763_600_000.0  # 2025-11-20T00:53:20Z


def page(title: str, body: str = "") -> str:
    return f"<!DOCTYPE html>\n<html><head><title>\n {title} </title></head><body><p>{body}</p></body></html>"


def answer(status: int, body: Any, **headers: str) -> Answer:
    text = body if isinstance(body, str) else json.dumps(body)
    return Answer(status, "", {name.replace("_", "-"): value for name, value in headers.items()}, text.encode())


def error(status: int, body: Any, **headers: str) -> ProviderError:
    found = refusals.error(answer(status, body, **headers), NOW)
    assert found is not None
    return found


MONEY: list[tuple[int, Any]] = [
    # from documents and user reports
    (406, {"error": "Insufficient credits to process this request"}),
    (406, {"error": "Not enough credits"}),
    (406, {"error": "Team spend limit reached for this billing period"}),
    (406, {"error": "You don't have enough credits. Please top up."}),
    (406, {"error": "Insufficient balance"}),
    (402, {"error": "Insufficient credits"}),
    (402, {"error": "Payment Required"}),
    # plain text, a JSON string, a list, nested, JSON in a string, HTML
    (406, "Insufficient credits"),
    (406, "  Insufficient\ncredits\n"),
    (406, '"Insufficient credits"'),
    (406, ["Insufficient credits"]),
    (406, [{"msg": "Insufficient credits"}]),
    (406, {"error": {"code": 7, "details": [{"reason": "Your account has insufficient credits"}]}}),
    (406, {"status": "error", "data": {"error": {"message": "Insufficient funds"}}}),
    (406, {"detail": json.dumps({"error": "Insufficient credits"})}),
    (406, json.dumps(json.dumps({"error": "Insufficient credits"}))),
    (406, page("Insufficient credits")),
    (406, page("406 &mdash; Out of credits")),
    (406, '{"error": "Insufficient credits to proc'),
    # codes
    (406, {"code": "INSUFFICIENT_CREDITS"}),
    (406, {"error": {"type": "insufficientCredits"}}),
    (406, {"error": "not-enough-credits"}),
    (406, {"insufficient_credits": True}),
    (406, {"error": "insufficient_quota", "message": "You exceeded your current quota"}),
    # other wordings
    (406, "You have no credits left"),
    (406, "You've run out of credits"),
    (406, "Credits exhausted. Recharge your wallet to go on."),
    (406, "Your credit balance is too low"),
    (406, "Account balance is negative"),
    (406, "Credit limit exceeded"),
    (406, "Monthly budget exceeded"),
    (406, "You have exceeded your monthly spending"),
    (406, "Spending cap of the workspace was hit"),
    (406, "0 credits remaining"),
    (406, "Please add funds to your account"),
    (406, "Please purchase more credits"),
    (406, "Your subscription has expired"),
    (406, "INSUFFICIENT CREDITS"),
    (406, "Insufficient credits to make a video of this length"),
    # 402 is enough by itself
    (402, ""),
    (402, {}),
    (402, "null"),
    (402, page("402")),
    (402, {"error": "Upgrade your plan"}),
    (402, {"error": "Something went wrong"}),
    (402, {"error": "Insufficient credits for this resolution"}),
    # a 429 that means money
    (429, {"error": "Insufficient credits"}),
    (429, {"error": "Spend limit reached"}),
    (429, {"error": "Quota exceeded: top up"}),
    (429, "You exceeded your current quota, please check your plan and billing details."),
]

REQUEST: list[tuple[int, Any]] = [
    (406, {"error": "Unsupported Content-Type: application/json is required"}),
    (406, {"error": "prompt exceeds the maximum length limit"}),
    (406, {"error": "maximum length limit"}),
    (406, {"error": "This media type is not allowed"}),
    (406, {"error": "not allowed"}),
    (406, {"error": "The white balance of the image is off"}),
    (406, {"error": "Insufficient white balance"}),
    (406, {"error": "insufficient colour balance and contrast"}),
    (406, {"error": "Insufficient resolution"}),
    (406, {"error": "Insufficient permissions"}),
    (406, {"error": "Your account is suspended"}),
    (406, {"error": "Not an accredited model"}),
    (406, {"error": "The video must not show closing credits"}),
    (406, {"error": "The composition is out of balance"}),
    (406, {"error": "File size limit"}),
    (406, {"error": "Token budget exceeded"}),
    (406, {"error": "Not Acceptable"}),
    (406, ""),
    (406, {"error": "Wrong Content-Type", "remaining_credits": 0}),
    (406, {"error": "Wrong Content-Type", "input": {"prompt": "a man who has insufficient credits"}}),
    (406, [{"loc": ["header"], "msg": "Wrong Content-Type", "input": "insufficient funds"}]),
    (406, page("406 Not Acceptable", "Top up your day: insufficient credits")),
    (402, {"error": "The prompt is too long"}),
    (402, {"error": "Invalid value for field 'duration'"}),
    (400, {"error": "Insufficient credits"}),
    (403, {"error": "prompt: 'he has insufficient credits' is against our policy"}),
    (422, {"error": "Insufficient credits"}),
    (409, "Insufficient credits"),
]

CAPACITY: list[Any] = [
    {"error": "Too many concurrent requests"},
    {"error": "Concurrency limit reached"},
    "Maximum number of parallel jobs reached",
    {"error": "You already have 5 jobs running"},
    {"error": "Too many videos in progress"},
    {"error": "only 2 generations at a time"},
    {"error": {"code": "CONCURRENT_LIMIT"}},
    {"error": "The queue is full"},
]

RATE: list[Any] = [
    "",
    {"error": "Rate limit exceeded"},
    {"error": "Too many requests"},
    {"error": "Too Many Requests: 60 per minute"},
    {"error": "Rate limit reached. Add a payment method for a higher limit."},
    {"error": "Too many requests. Buy more credits to be throttled less."},
    {"error": "Request was throttled. Your limit is 6 per minute while you have less than $5.0 in credit."},
    {"error": "maximum length limit"},
    page("429 Too Many Requests"),
]


def test_the_tables_have_at_least_forty_cases() -> None:
    assert len(MONEY) + len(REQUEST) + len(CAPACITY) + len(RATE) >= 40


@pytest.mark.parametrize(("status", "body"), MONEY)
def test_wordings_that_mean_money_are_found_in_any_format(status: int, body: Any) -> None:
    assert type(error(status, body)) is OutOfCredits


@pytest.mark.parametrize(("status", "body"), REQUEST)
def test_other_wordings_fail_only_one_job(status: int, body: Any) -> None:
    assert type(error(status, body)) is Refused


@pytest.mark.parametrize("body", CAPACITY)
def test_too_many_concurrent_videos_is_no_rate_limit(body: Any) -> None:
    found = error(429, body, x_rate_limit_reset_at_utc="2025-11-20T00:54:00Z")
    assert type(found) is AtCapacity
    assert found.retry_after is None
    assert "MaxInFlight" in str(found)


@pytest.mark.parametrize("body", RATE)
def test_any_other_429_is_a_rate_limit(body: Any) -> None:
    assert type(error(429, body)) is RateLimited


def test_a_success_raises_no_error() -> None:
    assert refusals.error(answer(200, {"error": "Insufficient credits"}), NOW) is None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"error": "bad seed"}, "bad seed"),
        ({"error": True, "message": "bad seed"}, "bad seed"),
        ({"error": {"detail": [{"message": "bad seed"}]}}, "bad seed"),
        ({"data": {"errors": ["bad seed", "bad prompt", "bad seed"]}}, "bad seed; bad prompt"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "too big", "input": 1}]}, "body.seed: too big"),
        ({"detail": '{"error": "bad seed"}'}, "bad seed"),
        (["bad seed"], "bad seed"),
        ('"bad seed"', "bad seed"),
        ("bad\n   seed", "bad seed"),
        (page("Bad &amp; ugly"), "Bad & ugly"),
        ("<h1>Bad</h1>", "HTTP 400"),
        ("<seed> is bad", "<seed> is bad"),
        ('{"error": "bad se', "HTTP 400"),
        ("", "HTTP 400"),
        ({}, "HTTP 400"),
        ({"input": {"message": "what was asked"}}, "HTTP 400"),
        ("x" * 9000, "x" * 500),
    ],
)
def test_people_get_the_providers_own_message(body: Any, says: str) -> None:
    assert str(error(400, body)) == f"The provider refused the request with 400: {says}"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x_rate_limit_reset_at_utc": "2025-11-20T00:54:00Z"}, 40),
        ({"x_rate_limit_reset_at_utc": "2025-11-20T00:54:00Z", "retry_after": "7"}, 40),
        ({"x_rate_limit_reset_at_utc": "2027-01-01T00:00:00Z"}, LONGEST_WAIT_SECONDS),
        ({"x_rate_limit_reset_at_utc": "9999-12-31T23:59:59-23:59"}, LONGEST_WAIT_SECONDS),
        ({"x_rate_limit_reset_at_utc": "0001-01-01T00:00:00+23:59"}, 0),
        ({"x_rate_limit_reset_at_utc": "soon", "retry_after": "7"}, 7),
        ({"retry_after": "7"}, 7),
        ({"retry_after": " 7.5 "}, 7.5),
        ({"retry_after": "0"}, 0),
        ({"retry_after": "999999999999"}, LONGEST_WAIT_SECONDS),
        ({"retry_after": "Thu, 20 Nov 2025 00:54:00 GMT"}, 40),
        ({"retry_after": "Fri, 01 Jan 2027 00:00:00 GMT"}, LONGEST_WAIT_SECONDS),
        ({"retry_after": "Thu, 20 Nov 2025 00:00:00 GMT"}, 0),
        ({"retry_after": "-5"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "1e9"}, None),
        ({"retry_after": "\N{ARABIC-INDIC DIGIT SEVEN}"}, None),
        ({"retry_after": "Thu, 99 Nov 2025"}, None),
        ({"retry_after": "1" * 5000}, None),
        ({}, None),
    ],
)
def test_a_wait_is_the_requested_one_within_bounds(headers: dict[str, str], seconds: float | None) -> None:
    found = error(429, "", **headers)
    assert isinstance(found, RateLimited)
    assert found.retry_after == seconds


@pytest.mark.parametrize(
    ("said", "taken"),
    [(None, None), (-1.0, 0.0), (5.0, 5.0), (1e9, 900.0), (float("inf"), 900.0), (float("nan"), None)],
)
def test_every_rate_limit_wait_is_capped(said: float | None, taken: float | None) -> None:
    assert RateLimited("", retry_after=said).retry_after == taken


@pytest.mark.parametrize("hostile", ["insufficient " * 2000, "credits " * 3000, "a_" * 10_000, "out of " * 3000 + "x"])
@pytest.mark.parametrize("status", [402, 406, 429])
def test_hostile_text_is_scanned_in_linear_time(status: int, hostile: str) -> None:
    assert isinstance(error(status, hostile), ProviderError)
