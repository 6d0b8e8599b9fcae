"""All errors of the pipeline, as one tree.

SeedanceError
├── ConfigurationError            the stack is configured wrongly; a person must act
├── InvalidRequest                the request must be changed; it is never sent and never billed
│   └── UnusableImage             an object is not an image that can be used
├── NotFound                      what a call asks for does not exist
├── NotPossible                   a person's request can't be applied to this job; nothing was changed
│   ├── NeedsPayment              it would buy a video, and the person has not said that it may
│   │   └── DearerThanAllowed     the person has said so, but for less
│   └── AlreadyBought             the video is bought, or may be, so the job can't be cancelled
├── Conflict                      the job changed in the meantime; another invocation works on it
│   └── RequestTaken              the provider's request belongs to another job
├── BadRecord                     a job's record has an invalid value; a person must correct it
├── InProgress                    another invocation is submitting this job right now
├── OverBudget                    the job does not fit in the day's budget
│   └── DearerThanBudget          the job alone exceeds a whole day's budget
├── AllUnderWay                   the maximum number of videos is in progress
├── NotAnnounced                  a change of a job's state could not be announced now; a retry may succeed
├── ProviderError                 the provider's API returned an error or did not respond
│   ├── Refused                   nothing was queued, and a retry is pointless
│   │   ├── KeyRejected           401
│   │   └── OutOfCredits          402, 406 or 429, by its text: no credits, or a team spend limit
│   ├── Unavailable               nothing was queued; a retry may succeed later
│   │   └── RateLimited           429, with the time when the limit resets
│   │       └── AtCapacity        429, by its text: too many videos at once
│   ├── SubmitUncertain           a submit was sent and its outcome is unknown: it may be billed
│   └── UnexpectedAnswer          a response that is not documented
└── MediaError                    a result could not be copied
    ├── ForbiddenSource           its address is not on the allow list
    ├── NotAVideo                 its bytes are not a complete MP4
    └── SourceUnavailable         it could not be downloaded now; a retry may succeed

"The job failed" is not an error here: it is an expected outcome, a status that a task returns.
"""

import math
from collections.abc import Mapping, Sequence

from seedance import bounds, masking

LONGEST_TEXT = 2000
"""Characters of an error's text that may quote a response or an address. Logs cut longer lines off at any place."""

LONGEST_WAIT_SECONDS = 900.0
"""The longest wait that one response of the provider can cause. After that, trying again costs only one request.

It is also the maximum of our own waits (poll_schedule.submit_again_after) and the longest delay that SQS supports.
"""


class SeedanceError(Exception):
    """Base class of all errors of the pipeline. ``code`` is stable and meant for machines.

    The message is well formed and has a limited length, whatever it quotes (see seedance.bounds).
    """

    code = "ERROR"

    def __init__(self, message: str = "") -> None:
        super().__init__(bounds.message(message))


class ConfigurationError(SeedanceError):
    """The stack is configured wrongly. The message names the setting."""

    code = "CONFIGURATION"


Allowed = Sequence[object] | str
"""What is allowed, for machines: the allowed values if they can be listed, otherwise words."""


class InvalidRequest(SeedanceError):
    """The request is invalid: ``field`` names what is wrong, the message says what is allowed.

    ``allowed`` says the same for machines, None if it can't be said apart from the message.
    """

    code = "INVALID_REQUEST"

    def __init__(self, field: str, message: str, *, allowed: Allowed | None = None) -> None:
        self.field = bounds.shown(field)
        self.message = bounds.message(message)
        self.allowed = allowed
        super().__init__(f"{self.field}: {self.message}")


class UnusableImage(InvalidRequest):
    """An object in a bucket is not an image that can be used. ``metadata``: the object's user metadata."""

    def __init__(self, refusal: InvalidRequest, metadata: Mapping[str, str]) -> None:
        self.metadata = dict(metadata)
        super().__init__(refusal.field, refusal.message, allowed=refusal.allowed)


class NotFound(SeedanceError):
    """What a call asks for does not exist."""

    code = "NOT_FOUND"


class NotPossible(SeedanceError):
    """What a person asked for can't be done. The message says why, and what can be done instead."""

    code = "NOT_POSSIBLE"


class NeedsPayment(NotPossible):
    """A retry would buy the video again. ``usd`` is its estimate."""

    code = "NEEDS_PAYMENT"

    def __init__(self, message: str, usd: float) -> None:
        super().__init__(message)
        self.usd = usd


class DearerThanAllowed(NeedsPayment):
    """A retry may buy the video again, but its estimate ``usd`` exceeds ``most``, which its caller allows."""

    code = "DEARER_THAN_ALLOWED"

    def __init__(self, usd: float, most: float) -> None:
        digits = 2 if round(usd, 2) > round(most, 2) else 4  # an excess below a cent must be visible
        limit = f"at most ${most:.{digits}f} is allowed"
        super().__init__(f"the video would cost about ${usd:.{digits}f}, and {limit}", usd)


class AlreadyBought(NotPossible):
    """The video is bought, or may be: it can't be cancelled, and comes as usual."""

    code = "ALREADY_BOUGHT"


class Conflict(SeedanceError):
    """A conditional write found the job in another state than the caller expected."""

    code = "CONFLICT"


class RequestTaken(Conflict):
    """A provider request belongs to another job. One request makes one video for one job."""

    code = "REQUEST_TAKEN"


class BadRecord(SeedanceError):
    """A job's record can't be read, because ``field`` is missing or has an invalid value."""

    code = "RECORD_UNREADABLE"

    def __init__(self, job_id: str, field: str, value: object = None) -> None:
        said = "is missing" if value is None else f"has the invalid value {bounds.shown(str(value))!r}"
        super().__init__(f"the record of job {bounds.shown(job_id)} can't be read: its {field} {said}")
        self.job_id = job_id
        self.field = field


class InProgress(SeedanceError):
    """Another invocation is submitting this job. The message must be delivered again once that has ended."""

    code = "IN_PROGRESS"


class OverBudget(SeedanceError):
    """The job's reservation does not fit in the day's budget (``DailyBudgetUsd``)."""

    code = "OVER_BUDGET"


class DearerThanBudget(OverBudget):
    """The job's estimate alone exceeds ``DailyBudgetUsd``, so it does not fit in any day."""

    code = "DEARER_THAN_BUDGET"


class AllUnderWay(SeedanceError):
    """The maximum number of videos (``MaxInFlight``) is in progress. When one ends, another may start."""

    code = "ALL_UNDER_WAY"


class NotAnnounced(SeedanceError):
    """EventBridge, or the queue of webhooks, refused a change of a job's state."""

    code = "NOT_ANNOUNCED"


class ProviderError(SeedanceError):
    """The provider's API returned an error or no usable response.

    ``status_code`` is the HTTP status (None if there was no response), ``excerpt`` the start of the body. The
    signatures of our links are masked in both texts; provider.client masks the key.
    """

    code = "PROVIDER"

    def __init__(self, message: str, *, status_code: int | None = None, excerpt: str = "") -> None:
        super().__init__(masking.signatures(message[:LONGEST_TEXT]))
        self.status_code = status_code
        self.excerpt = masking.signatures(excerpt[:LONGEST_TEXT])


class Refused(ProviderError):
    """Nothing was queued, and the same request will be refused again."""

    code = "PROVIDER_REFUSED"


class KeyRejected(Refused):
    """401: the key is missing or not accepted."""

    code = "PROVIDER_KEY_REJECTED"


class OutOfCredits(Refused):
    """402, 406 or 429, by its text: too few credits, or a team's spend limit is reached. No job can be submitted."""

    code = "PROVIDER_OUT_OF_CREDITS"


class Unavailable(ProviderError):
    """Nothing was queued: the gateway returned an error or could not be reached."""

    code = "PROVIDER_UNAVAILABLE"


class RateLimited(Unavailable):
    """429. ``retry_after`` is in seconds from now, None if the response does not give it.

    It is limited to 0 to LONGEST_WAIT_SECONDS: a reset in a year must not delay a job for a year.
    """

    code = "PROVIDER_RATE_LIMITED"

    def __init__(self, message: str, *, retry_after: float | None, excerpt: str = "") -> None:
        super().__init__(message, status_code=429, excerpt=excerpt)
        if retry_after is not None:
            retry_after = None if math.isnan(retry_after) else min(LONGEST_WAIT_SECONDS, max(0.0, retry_after))
        self.retry_after = retry_after


class AtCapacity(RateLimited):
    """429: the account's maximum of videos at once is reached. Requests are not limited, so polls continue."""

    code = "PROVIDER_AT_CAPACITY"


class SubmitUncertain(ProviderError):
    """The request was sent but there was no clear response: the video may be in progress, and billed."""

    code = "SUBMIT_UNCERTAIN"


class UnexpectedAnswer(ProviderError):
    """A response that the provider does not document."""

    code = "PROVIDER_UNEXPECTED_ANSWER"


class MediaError(SeedanceError):
    """A result could not be copied. ``url`` is without its query, which may contain a signature."""

    code = "MEDIA"

    def __init__(self, message: str, *, url: str = "") -> None:
        super().__init__(masking.signatures(message[:LONGEST_TEXT]))
        self.url = url.partition("?")[0][:LONGEST_TEXT]


class ForbiddenSource(MediaError):
    """The address is not https on an allowed host (``SegmindMediaHosts``)."""

    code = "RESULT_FROM_FORBIDDEN_HOST"


class NotAVideo(MediaError):
    """All bytes were received, but they are not a complete MP4."""

    code = "RESULT_NOT_A_VIDEO"


class SourceUnavailable(MediaError):
    """The complete file could not be downloaded. A retry may succeed."""

    code = "RESULT_UNAVAILABLE"
