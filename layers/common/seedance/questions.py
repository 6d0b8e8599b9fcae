"""What commands ask the repair function, and what it answers. Pure."""

from typing import Required, TypedDict


class ShownRequest(TypedDict):
    """A row of the provider's history for people: without the request body, but with the job that it names."""

    job_id: str | None
    request_id: str
    status: str
    url: str | None
    error: str | None
    cost_usd: float | None
    created_at: float | None
    model: str | None


class Question(TypedDict, total=False):
    """A command's request. Repair.answer says what each ``ask`` needs."""

    ask: Required[str]
    job_id: str
    model: str
    request_id: str
    since: float
    until: float
    page: int
    pay: bool
    adopt: str | None
    link: str | None
    resubmit: bool
    give_up: bool
    reason: str | None
    batch_id: str
    room_usd: float | None


class Answer(TypedDict, total=False):
    """What Repair.answer returns for a question. ``next`` is the next page to request, None after the last."""

    error: str
    rows: list[ShownRequest]
    next: int | None
    incomplete: str | None
    state: str
    said: str
    requests: list[ShownRequest]
    job_id: str
    under_way: int
    fresh: bool
    number: int
    more: bool
    since: float
    room_usd: float | None
    left: int
    left_usd: float
    budget_usd: float | None
    reason: str | None
    needs_usd: float
