"""The switch that pauses submits: an item that exists while they are paused."""

from dataclasses import dataclass
from functools import cache

from seedance.aws import checks
from seedance.aws.job_table import JobTable, dropped, job_table
from seedance.aws.table import SWITCH


@dataclass(frozen=True)
class Pause:
    """A pause: why, and since when (Unix seconds; None if the stored time is invalid)."""

    reason: str
    paused_at: float | None


class Switch:
    """Pauses and resumes submits, for the whole stack."""

    def __init__(self, table: JobTable) -> None:
        self._table = table

    def pause(self, reason: str) -> bool:
        """Stop new submits. Returns False if they were stopped already, so that the alarm is raised only once."""
        return self._table.put_new({"job_id": SWITCH, "reason": reason, "paused_at": self._table.now()})

    def pause_for(self, reason: str | None, usual: str) -> bool:
        """Like ``pause``, as somebody asked for it: a given reason replaces the one of a pause that is there already.

        ``usual``: the reason of a new pause if none was given.
        """
        fresh = self.pause(reason or usual)
        if not fresh and reason and not self.explain(reason):
            return self.pause(reason)  # resumed in between
        return fresh

    def explain(self, reason: str) -> bool:
        """Replace the reason for which submits are stopped. Returns False if they are not stopped (any more)."""
        return self._table.change(SWITCH, {"reason": reason})

    def resume(self) -> None:
        """Allow submits again."""
        self._table.client.delete_item(TableName=self._table.name, Key={"job_id": {"S": SWITCH}})

    def paused(self) -> str | None:
        """Why submits are stopped, or None."""
        pause = self.pause_now()
        return None if pause is None else pause.reason

    def pause_now(self) -> Pause | None:
        """The pause, or None if submits are not stopped."""
        record = self._table.get(SWITCH)
        if record is None:
            return None
        reason = checks.text(record.get("reason"))  # a switch set by hand counts, even with an invalid reason
        if reason is None:
            dropped(SWITCH, "reason")
        return Pause(reason or "no reason was given", checks.number(record.get("paused_at"), 0, checks.LATEST))


@cache
def switch() -> Switch:
    """The stack's switch."""
    return Switch(job_table())
