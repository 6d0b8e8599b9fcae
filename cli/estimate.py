"""Checks a manifest on this machine as the stack does, and shows what it will cost and which rows are invalid."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table
from seedance.batches import manifest
from seedance.batches.manifest import BadRow, Tally
from seedance.errors import InvalidRequest
from seedance.jobs.defaults import Defaults
from seedance.jobs.prices import PRICES_OF

from cli import progress, show
from cli.following import SHOWN, rows_table
from cli.manifests import Source
from cli.options import out
from cli.output import say
from cli.target import Target

TOLERATED_PERCENT = 20.0
"""The default of the stack parameter. A test compares the two."""


@dataclass
class Checked:
    """What the check of a manifest found. ``asked``: whether a stack was asked for its bills."""

    source: Source
    tally: Tally
    asked: bool
    bad: list[BadRow] = field(default_factory=list)
    """The first SHOWN invalid rows."""

    @property
    def upload_bytes(self) -> int:
        """The size of the images that are beside the manifest."""
        return sum(local.size for local in self.source.pictures.values())

    def notes(self) -> list[str]:
        """What a person should know before the videos are bought."""
        count = len(self.source.pictures)
        beside = f"{show.number(count, 'image')} beside the manifest: uploaded before the batch starts"
        told = [f"{beside} ({progress.megabytes(self.upload_bytes)})."] if count else []
        if count and self.source.elsewhere:
            rows = show.number(self.source.elsewhere, "row")
            told.append(f"{rows} with an image that is not beside the manifest: the stack looks for it in the bucket.")
        return [*told, *self.tally.notes()]

    def facts(self) -> dict[str, Any]:
        """The same for machines."""
        tally = self.tally
        return {
            "rows": tally.rows,
            "valid": tally.good,
            "invalid": tally.bad,
            "estimate_usd": round(tally.estimate_usd, 4),
            "models": {
                model: {"videos": videos, "estimate_usd": round(usd, 4)}
                for model, (videos, usd) in sorted(tally.models.items())
            },
            "estimated_from_bills": tally.billed if self.asked else None,
            "images_to_upload": len(self.source.pictures),
            "bytes_to_upload": self.upload_bytes,
            "notes": self.notes(),
            "invalid_rows": [
                {"row": row.number, "line": row.line, "field": row.field, "error": row.message} for row in self.bad
            ],
        }

    def print(self) -> None:
        """Print the estimate, the notes and the invalid rows."""
        out.print(_estimate(self.tally))
        say(_basis(self.tally, asked=self.asked))
        for note in self.notes():
            say(note)
        if self.bad:
            count = self.tally.bad
            say("")
            say(
                f"Invalid rows: {count}" if count <= SHOWN else f"First {SHOWN} of {count} invalid rows (--report: all)"
            )
            out.print(rows_table([(str(row.number), str(row.line), row.field, row.message) for row in self.bad]))


def check(
    source: Source, defaults: Defaults, *, image_column: str | None, report: Path | None, target: Target | None
) -> Checked:
    """Check every row of a manifest, and its images that are beside it. Raises InvalidRequest if it can't be read.

    All invalid rows are written to ``report``.
    """
    checked = Checked(source, Tally(target.jobs.bills.of) if target else Tally(), asked=target is not None)
    with _Report(report) as written, progress.working("checking the rows"):
        for row in source.rows(defaults, image_column, any_shape=target is not None and target.any_shape):
            checked.tally.add(row)
            if isinstance(row, BadRow):
                written.add(row)
                if len(checked.bad) < SHOWN:
                    checked.bad.append(row)
    return checked


class _Report:
    """The file with all invalid rows, if there is to be one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: Any = None

    def __enter__(self) -> "_Report":
        if self._path:
            self._file = self._path.open("wb")
            self._file.write(manifest.csv_head(manifest.REPORT_COLUMNS))
        return self

    def __exit__(self, _: object, fault: BaseException | None, __: object) -> None:
        if self._file:
            if isinstance(fault, InvalidRequest):  # about the file as a whole
                self._file.write(manifest.csv_line(("", "", fault.field, fault.message)))
            self._file.close()

    def add(self, row: BadRow) -> None:
        if self._file:
            self._file.write(manifest.report_line(row))


def _estimate(tally: Tally) -> Table:
    table = show.grid("Model", "Videos", "Estimate", right=("Videos", "Estimate"), whole=("Model", "Estimate"))
    for model, (videos, cost) in sorted(tally.models.items()):
        table.add_row(model, f"{videos:,}", f"${cost:,.2f}")
    table.add_row("Total", f"{tally.good:,}", f"${tally.estimate_usd:,.2f}")
    return table


def _basis(tally: Tally, *, asked: bool) -> str:
    """What the estimate is based on, in words."""
    published = f"the prices published on {PRICES_OF}"
    if not asked:
        return f"Estimated from {published}: no stack was asked for its latest bills."
    if not tally.billed:
        return f"Estimated from {published}: the stack has no bills for these settings yet."
    others = f", for the others from {published}" if tally.billed < tally.good else ""
    return f"Estimated for {show.number(tally.billed, 'video')} from the stack's last bills{others}."
