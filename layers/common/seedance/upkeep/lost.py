"""Searches the provider's history for lost submits, and adopts the requests that it finds."""

from dataclasses import dataclass, field
from typing import Unpack

from seedance.clock import Clock
from seedance.jobs.budget import reservation
from seedance.jobs.handoff import Workflow
from seedance.jobs.job import Hold, Job, State
from seedance.jobs.store import JobChanges, JobStore
from seedance.notices.notifier import Notifier
from seedance.pacing.poll_schedule import LATEST_RESULT_SECONDS, history_window
from seedance.provider import failures
from seedance.provider.client import Provider
from seedance.provider.history import SharedHistory
from seedance.provider.matching import Fit, fit, is_another_model
from seedance.provider.payloads import HistoryRow, ProviderStatus, merged, usable_id

SHOWN = 5
"""The maximum number of requests in a message, and so the maximum to search for."""


@dataclass(frozen=True)
class Found:
    """What the history shows of a job's request. Only if ``nothing`` is true, the request certainly never arrived."""

    request: HistoryRow | None = None
    """The job's request; None if there is none, or if several requests may be the job's."""
    possible: list[str] = field(default_factory=list)
    """The ids of requests that may be the job's, if it is not certain which one is, or whether any is."""
    certain: bool = False
    """Whether waiting will not make ``possible`` any clearer."""

    @property
    def nothing(self) -> bool:
        """Whether the history was read to its end and has no request that may be the job's."""
        return self.request is None and not self.possible


@dataclass(frozen=True)
class LostSubmits:
    """Searches for submits whose outcome is unknown. ``provider``: where the history is read."""

    store: JobStore
    provider: Provider | SharedHistory
    clock: Clock

    def find(self, job: Job) -> Found:
        """What the history shows of the job's request: by its id if it is known, else in the whole time window.

        Raises ProviderError if it can't be read to its last page, because then nothing is certain.
        """
        fits: dict[Fit, list[HistoryRow]] = {one: [] for one in Fit}
        for request in self._candidates(job):
            found = fit(job, request)
            usable = found is Fit.NO or usable_id(request.request_id)
            fits[found if usable else Fit.PERHAPS].append(request)
        if ours := self._free(job, fits[Fit.OURS]):
            return _one_of(ours)
        alike = self._free(job, fits[Fit.ALIKE])
        if len(alike) > 1:
            return _one_of(alike)
        perhaps = self._free(job, fits[Fit.PERHAPS])
        if alike and not perhaps and not self._has_rival(job, alike[0]):
            return _one_of(alike)
        return Found(possible=[request.request_id or "(one without an id)" for request in alike + perhaps])

    def requests(self, job: Job, since: float | None = None) -> list[HistoryRow]:
        """The requests of all days on which the job's may have been made, from ``since`` on if given.

        Raises ProviderError.
        """
        return merged(self.provider.history(job.model, *self._window(job, since)))

    def request(self, job: Job, request_id: str, since: float | None = None) -> HistoryRow | None:
        """What the history shows of a request that may be the job's. None if it has no such request of its model.

        If its id alone does not find it, all days are searched on which the job's requests may have been made, from
        ``since`` on if given. Raises ProviderError.
        """
        rows = self.provider.request_rows(request_id, job.model, *self._window(job, since))
        return next((row for row in merged(rows) if not is_another_model(row.model, job.model)), None)

    def _window(self, job: Job, since: float | None = None) -> tuple[float, float]:
        return history_window(job.submitted_at or job.created_at, self.clock(), since)

    def _candidates(self, job: Job) -> list[HistoryRow]:
        if not job.request_id:
            return self.requests(job)
        row = self.request(job, job.request_id)
        return [row] if row else []

    def _free(self, job: Job, requests: list[HistoryRow]) -> list[HistoryRow]:
        """The requests that no other job owns, up to the maximum of a message."""
        free: list[HistoryRow] = []
        for request in requests:
            if len(free) == SHOWN:
                break
            owner = self.store.owner_of(request.request_id) if usable_id(request.request_id) else None
            if owner in (None, job.job_id):
                free.append(request)
        return free

    def _has_rival(self, job: Job, request: HistoryRow) -> bool:
        """Whether the request may belong to another job whose submit is in progress or lost."""
        for state in (State.SUBMITTING, State.UNCERTAIN, State.HELD):
            for listed in self.store.each(state):
                if listed.job_id == job.job_id or listed.model != job.model:
                    continue
                other = self.store.get(listed.job_id)
                held_for_others = other and other.state is State.HELD and other.code != Hold.LOST
                if other and not held_for_others and not other.request_id and fit(other, request) is not Fit.NO:
                    return True
        return False


def _one_of(requests: list[HistoryRow]) -> Found:
    if len(requests) == 1:
        return Found(requests[0])
    return Found(possible=[request.request_id for request in requests], certain=True)


def adopt(
    store: JobStore,
    workflow: Workflow,
    notifier: Notifier,
    job: Job,
    row: HistoryRow,
    *,
    now: float,
    **more: Unpack[JobChanges],
) -> bool:
    """Make a request of the history the job's own and continue from its status. Returns False if it is too early.

    ``more``: other fields of the job, for the same write.
    """
    if row.status == ProviderStatus.FAILED:
        error = failures.reason(job, row.error).error
        notifier.notify(store.close(job, State.FAILED, request_id=row.request_id, error=error, notified_at=None))
        return True
    facts: JobChanges = {
        "request_id": row.request_id,
        "earlier_request_ids": job.left_behind(row.request_id),
        "error": None,
        "notified_at": None,
        "executions": job.executions + 1,
        **_kept_since(job, row, now),
        **more,
    }
    # A HELD job has released its reservation. A bought video is booked again, even if that exceeds the budget.
    booking, reserved = reservation(job, now, store.bills.estimate)
    facts |= reserved
    if row.url:
        facts |= {"result_url": row.url, "cost_usd": row.cost_usd}
        job = store.move(job, State.COPYING, booking=booking, **facts)
    elif job.transport == "v1" or job.code == Hold.RESULT:
        return False  # no record left to poll; the history may still get a link
    else:
        job = store.move(job, State.QUEUED, booking=booking, **facts)
    workflow.start(job)
    return True


def _kept_since(job: Job, row: HistoryRow, now: float) -> JobChanges:
    """``result_at`` for a result of the history, which may have been there for days when it is found."""
    if not row.url:
        return {}
    if job.result_url is not None and row.request_id == job.request_id:
        return {"result_at": job.result_since}
    began = job.submitted_at or job.entered.get(State.SUBMITTING) or row.created_at or now
    return {"result_at": min(now, began + LATEST_RESULT_SECONDS)}
