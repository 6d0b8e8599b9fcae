"""Converts an error response of the provider to one of our errors, by its status and its text. Pure.

Four problems share a few statuses, and only the text distinguishes them: no credits (all submits stop until somebody
tops up), too many videos at once (wait until one ends), too many requests (wait until the limit resets), and an
invalid request (only this job fails). If the patterns for credits match too much, they stop the whole stack; if they
match too little, every job fails.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

from seedance.errors import (
    AtCapacity,
    KeyRejected,
    OutOfCredits,
    ProviderError,
    RateLimited,
    Refused,
    Unavailable,
    UnexpectedAnswer,
)
from seedance.provider import sentences
from seedance.provider.payloads import Answer, moment


class Cause(StrEnum):
    """The reason for a refusal."""

    CREDITS = "credits"
    CAPACITY = "capacity"
    RATE = "rate"
    REQUEST = "request"


_NO_MONEY_MEANT = (
    r"\b(?:white|colou?r|ton(?:e|al)|audio|stereo|sound|light|exposure|load|visual) balanc\w*"
    r"|\b(?:film|movie|closing|opening|end|title|rolling) credits?\b|\bcredit lines?\b"
    r"|\b(?:token|thinking|time|latency|memory|frame|pixel) budget\b"
)
"""Phrases that look like money but are not about it. Removed before the text is searched."""

_PURSE = r"(?:credits?|balance|funds|money|wallet)"
_EMPTY = (
    r"\b(?:insufficient|inadequate|not enough|(?:do not|don t|doesn t|does not) have (?:enough|sufficient|any)"
    r"|lack(?:s|ing)?(?: of)?|too few|too little|exhausted|depleted|zero|negative|exceed(?:s|ed|ing)?)"
    rf"(?: \w+){{0,3}}? {_PURSE}\b"
    r"|\b(?:out of|r[ua]n out of|running out of)(?: \w+){0,2}? (?:credits?|funds|money)\b"
    r"|\b(?:have|has|with|there are) no (?:\w+ ){0,2}?(?:credits?|funds|money)\b"
    r"|\bno (?:\w+ ){0,2}?(?:credits?|funds|money|balance) (?:left|remaining|available)\b|^no (?:credits?|funds)\b"
    rf"|\b{_PURSE} (?:\w+ ){{0,3}}?(?:insufficient|exhausted|depleted|exceed(?:s|ed)|used up|r[ua]n out|too low|low"
    r"|empty|expired|negative|below|zero|0|not sufficient|not enough|needed|required|reached)\b"
    r"|\b0(?: \w+)? credits\b"
    r"|\b(?:spend|spending|spent|credit|budget|billing|payment|dollar|usd)(?: \w+)? (?:limit|cap|quota|ceiling)\b"
    r"|\b(?:budget|spend|spending) (?:\w+ ){0,3}?(?:exceeded|reached|exhausted|used up)\b"
    r"|\b(?:exceed(?:s|ed|ing)?|reached|over) (?:\w+ ){0,3}?(?:budget|spend|spending)\b"
)
"""The account has no money, or is not allowed to spend it."""

_PAY = (
    r"\btop(?:ping)? ?up\b|\brecharge\b|\b(?:add|buy|purchase)(?: \w+){0,2}? (?:credits?|funds|money|balance)\b"
    r"|\bpayment (?:\w+ )?(?:required|method|failed|due|needed|overdue)\b|\bbilling\b|\bpast due\b|\bunpaid\b"
    r"|\bsubscription (?:\w+ ){0,2}?(?:expired|ended|inactive|cancell?ed)\b|\binsufficient quota\b"
)
"""A request to pay. With a rate limit it may be an offer: "add a payment method for a higher limit"."""

_CAPACITY = (
    r"\bconcurren\w*|\bparallel\b|\bsimultaneous\w*|\bin flight\b|\bqueue (?:is )?full\b"
    r"|\b(?:jobs?|videos?|generations?|tasks?|predictions?|runs?) (?:\w+ ){0,2}?"
    r"(?:in progress|running|queued|pending|processing|at once|at a time|at the same time)\b"
    r"|\b(?:active|running|pending|queued) (?:jobs?|videos?|generations?|tasks?|predictions?|runs?)\b"
)
_RATE = r"\brate limit|\btoo many requests\b|\bper (?:second|minute|hour|day)\b|\bthrottl|\bslow down\b|\bretry after\b"
_REQUEST = (
    r"\b(?:content type|media type|header|prompt|parameter|field|json|body|image|resolution|duration|aspect|length"
    r"|format|moderat\w*|polic(?:y|ies)|violat\w*|nsfw|safety)\b"
)
"""The request or its content."""


def cause(status: int, words: str) -> Cause:
    """The reason for a refusal with this status. ``words``: all text of the response (sentences.words_of).

    402 itself means "pay", so it has another reason only if its text is about the request and not about money. 406 is
    also used for a wrong Content-Type, and 429 for a rate limit. Other statuses are never about money, because 400,
    403 and 422 may quote a prompt.
    """
    plain = re.sub(_NO_MONEY_MEANT, " ", _simple(words))

    def about(pattern: str) -> bool:
        return re.search(pattern, plain, re.MULTILINE) is not None

    match status:
        case 402:
            no_money = about(_EMPTY) or about(_PAY) or not about(_REQUEST)
        case 406:
            no_money = about(_EMPTY) or about(_PAY)
        case 429:
            no_money = about(_EMPTY) or (about(_PAY) and not about(_RATE))
        case _:
            return Cause.REQUEST
    if no_money:
        return Cause.CREDITS
    if status == 429:
        return Cause.CAPACITY if about(_CAPACITY) else Cause.RATE
    return Cause.REQUEST


def error(answer: Answer, now: float) -> ProviderError | None:
    """Our error for a response. None for a 2xx. ``now`` is a Unix time, used for the time until a limit resets."""
    status = answer.status
    if 200 <= status < 300:
        return None
    said = sentences.sentence_of(answer.said, answer.text) or f"HTTP {status} {answer.reason}".strip()

    def of(kind: type[ProviderError], words: str) -> ProviderError:
        return kind(words, status_code=status, excerpt=answer.excerpt)

    why = cause(status, sentences.words_of(answer.said, answer.text))
    if why is Cause.CREDITS:
        return of(OutOfCredits, f"The provider's account is out of credits or at its spend limit ({said}). Top it up.")
    if why is Cause.CAPACITY:
        return AtCapacity(
            f"The account's limit of videos at once is reached ({said}). "
            "If this persists, lower the stack's MaxInFlight.",
            retry_after=None,
            excerpt=answer.excerpt,
        )
    match status:
        case 401:
            hint = "Put a valid key into the stack's secret."
            return of(KeyRejected, f"The provider rejected the API key ({said}). {hint}")
        case 403:
            return of(Refused, f"This account may not use this model or service ({said}).")
        case 404:
            return of(Refused, f"The provider has no such model or address ({said}).")
        case 410:
            return of(Refused, f"The provider has retired this model ({said}). Choose another.")
        case 429:
            return RateLimited(
                f"The provider's rate limit is reached ({said}).",
                retry_after=retry_after(answer.headers, now),
                excerpt=answer.excerpt,
            )
        case 500 | 502 | 503 | 504 | 520 | 521 | 522 | 523 | 524 | 525 | 526 | 527 | 530:  # from 520 on: Cloudflare's
            return of(Unavailable, f"The provider is failing: it answered {status} ({said}).")
        case _ if 400 <= status < 500:
            return of(Refused, f"The provider refused the request with {status}: {said}")
    return of(UnexpectedAnswer, f"The provider answered with the undocumented status {status} ({said}).")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until a limit resets, from the documented header or from Retry-After. None if neither is valid.

    RateLimited limits the value.
    """
    reset = moment(headers.get("x-rate-limit-reset-at-utc"))
    if reset is not None:
        return reset - now
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,12}(\.\d{1,12})?", text, re.ASCII):
        return float(text)
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - for a format that few servers use

    try:
        return parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None


def _simple(words: str) -> str:
    """In lower case, with single spaces: ``InsufficientCredits`` and ``insufficient_credits`` become two words."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words)
    return "\n".join(" ".join(re.findall(r"\w+", line.replace("_", " ").lower())) for line in apart.splitlines())
