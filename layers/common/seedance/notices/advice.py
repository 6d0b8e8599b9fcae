"""What a mail says about a job without a video besides its reason: what to change, and whether it was charged. Pure."""

from typing import NamedTuple, assert_never

from seedance.jobs.job import ErrorFacts, State
from seedance.jobs.reasons import Code


class Advice(NamedTuple):
    """What a code means for a person: in a few words for a subject, and what to do about it."""

    words: str
    what_to_do: str


class Charge(NamedTuple):
    """Whether a job was charged: in a few words for a subject, and as a sentence."""

    words: str
    sentence: str


_AGAIN = "Then upload the file or send the request again."
_RETRY = "`seedance retry {job}`"

ADVICE: dict[str, Advice] = {
    Code.INVALID_REQUEST: Advice("invalid request", f"Fix what the reason names. {_AGAIN}"),
    Code.DEARER_THAN_BUDGET: Advice(
        "over a whole day's budget",
        f"Choose a shorter video, a lower resolution or a cheaper model, or raise DailyBudgetUsd. {_AGAIN}",
    ),
    Code.OVER_BUDGET: Advice(
        "over the day's budget",
        "Nothing: it continues by itself. To continue today, raise DailyBudgetUsd, then run `seedance release`.",
    ),
    Code.SUBMITS_PAUSED: Advice(
        "submits are paused", "Nothing: `seedance resume` releases it. If the account has no credits, top up first."
    ),
    Code.SUBMIT_LOST: Advice(
        "needs a decision",
        "Look at `seedance explain {job}`. Then run `seedance resolve {job}` with --adopt, --resubmit or --give-up.",
    ),
    Code.RESULT_UNCLEAR: Advice(
        "needs a decision",
        f"If the host is the provider's, add it to SegmindMediaHosts, then run {_RETRY}. It costs nothing. If you have "
        "the video's address: `seedance resolve {job} --link ADDRESS`.",
    ),
    Code.SUBMIT_UNCERTAIN: Advice("outcome unknown", "Nothing: the provider's history is being searched."),
    Code.WAITS: Advice("waiting", "Nothing: it continues by itself."),
    Code.PROVIDER_JOB_FAILED: Advice(
        "the provider failed",
        "If the reason is about the image or the prompt, change them: the same request would fail again. If not, "
        f"{_RETRY} --pay requests the same video again.",
    ),
    Code.PROVIDER_KEY_REJECTED: Advice(
        "API key rejected", f"Put a valid key into the stack's secret. Then run {_RETRY} --pay, or request it again."
    ),
    Code.PROVIDER_REFUSED: Advice("refused by the provider", f"Fix what the reason names. {_AGAIN}"),
    Code.PROVIDER_UNAVAILABLE: Advice(
        "provider unavailable",
        f"Your request is fine. When the provider is available again, run {_RETRY} --pay, or request it again.",
    ),
    Code.PROVIDER_RATE_LIMITED: Advice("rate limit", "Nothing: it continues by itself."),
    Code.PROVIDER_AT_CAPACITY: Advice("too many at once", "Nothing: it continues by itself."),
    Code.DEADLINE: Advice(
        "out of time", f"Run {_RETRY}. If the provider has made the video after all, it is copied at no cost."
    ),
    Code.RECORD_GONE: Advice(
        "lost by the provider", f"Run {_RETRY}. If the history has the video by then, it is copied at no cost."
    ),
    Code.RECORD_UNREADABLE: Advice("unreadable record", "Correct the field of the job's record that the reason names."),
    Code.RESULT_NOT_A_VIDEO: Advice(
        "not a video",
        f"Run {_RETRY} within seven days. It copies the result once more and costs nothing. If that fails too, "
        f"{_RETRY} --pay buys the video again.",
    ),
    Code.RESULT_GONE: Advice("result deleted", f"To buy the video again, run {_RETRY} --pay, or request it again."),
    Code.CANCELLED: Advice("cancelled", "Nothing. If you still want the video, request it again."),
    Code.DEARER_THAN_ALLOWED: Advice("over the given limit", f"Run {_RETRY} --pay, or retry with a higher `max_usd`."),
    Code.GIVEN_UP: Advice("given up", "Nothing. If you still want the video, request it again."),
    Code.CONFIGURATION: Advice("configuration", f"Correct the stack's setting that the reason names. {_AGAIN}"),
    Code.INTERNAL: Advice("internal error", "Request it again. If that fails too, see the stack's alarms."),
}
"""By code. A test checks that every code is here."""

_NOT_SENT = Charge("not charged", "nothing; the request was not sent to the provider")
_UNFINISHED = Charge("not charged", "nothing; the provider charges only for finished videos")
_READY = Charge("price not reported", "not reported by the provider; a finished video is charged")
_MADE = Charge("charged", "not reported by the provider; a finished video is charged")
_PERHAPS = Charge("perhaps charged", "unknown; the provider may have charged a video that we did not receive")

_MADE_BEFORE = frozenset({Code.RESULT_UNCLEAR, Code.RESULT_NOT_A_VIDEO})
_NEVER_SENT = frozenset(
    {
        *(Code.INVALID_REQUEST, Code.DEARER_THAN_BUDGET, Code.OVER_BUDGET, Code.SUBMITS_PAUSED, Code.INTERNAL),
        Code.CANCELLED,
    }
)
_NOT_MADE = frozenset(
    {
        *(Code.PROVIDER_JOB_FAILED, Code.PROVIDER_KEY_REJECTED, Code.PROVIDER_REFUSED, Code.PROVIDER_UNAVAILABLE),
        *(Code.PROVIDER_RATE_LIMITED, Code.PROVIDER_AT_CAPACITY),
    }
)
"""After any other code, also one of another release, a video may have been charged: only what is certain is said."""


def of(error: ErrorFacts | None) -> Advice | None:
    """The advice for a job's error. None for a code of another release."""
    return ADVICE.get(error["code"]) if error else None


def charge(state: State, error: ErrorFacts | None, cost_usd: float | None) -> Charge:
    """Whether a job that has ended or is held was charged."""
    if cost_usd is not None:
        said = f"${cost_usd:.2f}"
        return Charge(said if state is State.COMPLETED else f"{said} charged" if cost_usd else "not charged", said)
    match state:
        case State.COMPLETED:
            return _READY
        case State.EXPIRED:
            return _PERHAPS
        case State.REJECTED | State.CANCELLED:
            return _NOT_SENT
        case State.FAILED | State.HELD:
            return _by_code(error["code"] if error else None)
        case State.RECEIVED | State.SUBMITTING | State.QUEUED | State.PROCESSING | State.COPYING | State.UNCERTAIN:
            raise KeyError(state)  # there is no notification for these
        case _:
            assert_never(state)


def _by_code(code: str | None) -> Charge:
    if code in _MADE_BEFORE:
        return _MADE
    if code in _NEVER_SENT:
        return _NOT_SENT
    return _UNFINISHED if code in _NOT_MADE else _PERHAPS
