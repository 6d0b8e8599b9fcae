"""Everything that can go wrong, as one tree.

SeedanceError
├── ConfigurationError            the stack is set up wrongly; a person must act
├── InvalidRequest                the asker must change something; never sent, never billed
├── NotPossible                   what a person asked for can't be done to this job; nothing was changed
├── Conflict                      the job moved on meanwhile; somebody else is at it
│   └── RequestTaken              the provider's request belongs to another job
├── BadRecord                     a job's record has a value that can not be; a person must mend it
├── InProgress                    another invocation is submitting this job right now
├── OverBudget                    the day's budget has no room for this job
│   └── DearerThanBudget          no day's has: this job alone costs more
├── AllUnderWay                   as many videos are under way as the stack allows
├── ProviderError                 the provider's API answered, or failed to
│   ├── Refused                   nothing was queued, and asking again is pointless
│   │   ├── KeyRejected           401
│   │   └── OutOfCredits          402 or 406 by its words: no credits, or a team spend limit
│   ├── Unavailable               nothing was queued; asking again later may work
│   │   └── RateLimited           429, with the time when the limit resets
│   │       └── AtCapacity        429 by its words: too many videos at once
│   ├── SubmitUncertain           a submit was sent and its outcome is unknown: it may be billed
│   └── UnexpectedAnswer          an answer that no document describes
└── MediaError                    a result could not be taken over
    ├── ForbiddenSource           its address is not on the allow-list
    ├── NotAVideo                 its bytes are not a complete MP4
    └── SourceUnavailable         it could not be fetched now; trying again may work

"The job failed" is not in here: that is an expected outcome, a status that a task returns.
"""

import math

from seedance import masking

LONGEST_WAIT_SECONDS = 900.0
"""The longest that one answer of the provider makes us wait; after that, asking again costs one request.

It is what our own waits grow to (schedule.submit_again_after), and the longest delay that SQS has.
"""


class SeedanceError(Exception):
    """Base of all errors of the pipeline. ``code`` is stable and meant for machines."""

    code = "ERROR"


class ConfigurationError(SeedanceError):
    """The stack is set up wrongly. The message names the setting."""

    code = "CONFIGURATION"


class InvalidRequest(SeedanceError):
    """The asker's fault: ``field`` names what is wrong and the message what is allowed."""

    code = "INVALID_REQUEST"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class NotPossible(SeedanceError):
    """What a person asked for can't be done. The message says why, and what can be done instead."""

    code = "NOT_POSSIBLE"


class Conflict(SeedanceError):
    """A conditional write found the job in another state than the caller expected."""

    code = "CONFLICT"


class RequestTaken(Conflict):
    """A request of the provider belongs to another job. One request is one video of one job."""

    code = "REQUEST_TAKEN"


class BadRecord(SeedanceError):
    """A job's record can't be read, because ``field`` has a value that no job can have, or is not there."""

    code = "RECORD_UNREADABLE"

    def __init__(self, job_id: str, field: str, value: object = None) -> None:
        said = "is missing" if value is None else f"can't be {str(value)[:60]!r}"
        super().__init__(f"the record of job {job_id[:60]} can't be read: its {field} {said}")
        self.job_id = job_id
        self.field = field


class InProgress(SeedanceError):
    """Another invocation is submitting this job; the message must come again after it is done or dead."""

    code = "IN_PROGRESS"


class OverBudget(SeedanceError):
    """The day's budget (``DailyBudgetUsd``) has no room for this job's reservation."""

    code = "OVER_BUDGET"


class DearerThanBudget(OverBudget):
    """The job's estimate alone is more than ``DailyBudgetUsd``: no day will have room for it."""

    code = "DEARER_THAN_BUDGET"


class AllUnderWay(SeedanceError):
    """As many videos are under way as ``MaxInFlight`` allows; one that ends makes room."""

    code = "ALL_UNDER_WAY"


class ProviderError(SeedanceError):
    """The provider's API said no, or nothing that helps.

    ``status_code`` is the HTTP status (None when there was no answer), ``excerpt`` the start of the body. Both texts
    are free of what signs our links; provider.client takes the key out.
    """

    code = "PROVIDER"

    def __init__(self, message: str, *, status_code: int | None = None, excerpt: str = "") -> None:
        super().__init__(masking.signatures(message))
        self.status_code = status_code
        self.excerpt = masking.signatures(excerpt)


class Refused(ProviderError):
    """Nothing was queued, and the same request will be refused again."""

    code = "PROVIDER_REFUSED"


class KeyRejected(Refused):
    """401: the key is missing or not accepted."""

    code = "PROVIDER_KEY_REJECTED"


class OutOfCredits(Refused):
    """402 or 406 by its words: not enough credits, or a team's spend limit is reached. No job can be submitted."""

    code = "PROVIDER_OUT_OF_CREDITS"


class Unavailable(ProviderError):
    """Nothing was queued: the gateway answered with an error, or could not be reached at all."""

    code = "PROVIDER_UNAVAILABLE"


class RateLimited(Unavailable):
    """429. ``retry_after`` is in seconds from now, None when the answer does not say.

    It is from 0 to LONGEST_WAIT_SECONDS, whatever was said: a reset in a year must not park a job for a year.
    """

    code = "PROVIDER_RATE_LIMITED"

    def __init__(self, message: str, *, retry_after: float | None, excerpt: str = "") -> None:
        super().__init__(message, status_code=429, excerpt=excerpt)
        if retry_after is not None:
            retry_after = None if math.isnan(retry_after) else min(LONGEST_WAIT_SECONDS, max(0.0, retry_after))
        self.retry_after = retry_after


class AtCapacity(RateLimited):
    """429: as many videos are being made as the account may have at once. Requests are not limited, so polls go on."""

    code = "PROVIDER_AT_CAPACITY"


class SubmitUncertain(ProviderError):
    """The request went out and no clear answer came back: a video may be in the making, and billed."""

    code = "SUBMIT_UNCERTAIN"


class UnexpectedAnswer(ProviderError):
    """An answer outside of what the provider documents."""

    code = "PROVIDER_UNEXPECTED_ANSWER"


class MediaError(SeedanceError):
    """A result could not be taken over. ``url`` is without its query, which may carry a signature."""

    code = "MEDIA"

    def __init__(self, message: str, *, url: str = "") -> None:
        super().__init__(masking.signatures(message))
        self.url = url.partition("?")[0]


class ForbiddenSource(MediaError):
    """The address is not https on an allowed host (``SegmindMediaHosts``)."""

    code = "RESULT_FROM_FORBIDDEN_HOST"


class NotAVideo(MediaError):
    """The bytes that came, all of them, are not a complete MP4."""

    code = "RESULT_NOT_A_VIDEO"


class SourceUnavailable(MediaError):
    """The host did not deliver the whole file; it may on another try."""

    code = "RESULT_UNAVAILABLE"
