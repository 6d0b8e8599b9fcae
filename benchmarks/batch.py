"""Measures how fast a batch of 1,000 to 100,000 rows is checked and planned, and how much memory that takes.

`python -m benchmarks.batch` prints one table. Each figure comes from a separate process. Memory is the peak that the
kernel reports, minus the memory in use after the imports. The alternative is the obvious implementation: it reads the
whole file, keeps the rows and makes the same checks. Only local work is measured: all images are assumed to exist, and
S3 is a folder.
"""

import csv
import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from seedance.batches import manifest
from seedance.batches.files import Sheets
from seedance.batches.manifest import BadRow, Tally
from seedance.batches.store import BatchStore, Found
from seedance.errors import InvalidRequest
from seedance.jobs import prices, requests
from seedance.jobs.bills import Bills
from seedance.jobs.defaults import Defaults
from seedance.jobs.tasks import BatchInput, PlannedBatch
from seedance.media.buckets import Image, Media
from seedance.media.images import Picture
from seedance.notices.notifier import Notifier
from seedance.plan import Plan

SIZES = (1_000, 10_000, 100_000)
RUNS = 5
DEFAULTS = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")
PROMPT = "Studio product shot, number {0}. The camera makes a slow, smooth push-in while soft light moves across."
OPTIONS = ("model", "duration", "resolution", "aspect_ratio")
OWN = ("sku", "shop", "title", "price")
_BAD_EVERY = 50
_WORDS = f"""\
Medians of {RUNS} runs. *check* is what `seedance batch --dry-run` does. *plan* is the plan function, which also writes
the plan and the report of bad rows. *naive* reads the whole file, keeps the rows, and makes the same checks. All images
are assumed to exist, and S3 is a folder."""
_CHUNK = 64 * 1024


def write_manifest(path: Path, rows: int) -> None:
    """Write a manifest like a shop's export: ten columns, every fiftieth row bad."""
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["image", "prompt", *OPTIONS, *OWN])
        for row in range(rows):
            duration = 7 if row % _BAD_EVERY == 0 else 5
            model = ("seedance-1.0-pro-fast", "seedance-pro", "")[row % 3]
            own = [f"SKU-{row:07}", "de", f'Shoe, "red", size {row % 48}', f"{row % 200}.90"]
            lines.writerow([f"images/shoes/{row:07}.jpg", PROMPT.format(row), model, duration, "720p", "1:1", *own])


def check(path: Path) -> Tally:
    """What `seedance batch --dry-run` does."""
    tally = Tally()
    with path.open("rb") as file:
        for row in manifest.read(iter(lambda: file.read(_CHUNK), b""), path.name, DEFAULTS):
            tally.add(row)
    return tally


def naive(path: Path) -> Tally:
    """The alternative: everything in memory, checked row by row with the same rules."""
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    checked: list[manifest.Row | BadRow] = []
    for number, cells in enumerate(rows, start=1):
        columns = {name: cells.pop(name) for name in OWN}
        body: dict[str, Any] = {"prompt": cells.pop("prompt"), "image_key": cells.pop("image")}
        body["model"] = cells.pop("model") or None
        body["parameters"] = {name: value for name, value in cells.items() if value}
        try:
            request = requests.api_request(json.dumps(body), DEFAULTS)
            checked.append(manifest.Row(number, number + 1, request, columns))
        except InvalidRequest as refusal:
            checked.append(BadRow(number, number + 1, refusal.field, refusal.message, columns))
    tally = Tally()
    for row in checked:
        tally.add(row)
    return tally


class _Folder:
    """A folder that stands in for S3, with the operations that a plan uses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = 0

    def get_object(self, *, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's names
        file = self._folder / Path(Key).name
        return {"Body": _Body(file), "ContentLength": file.stat().st_size}

    def put_object(self, *, Key: str, Body: bytes, **_: Any) -> None:  # noqa: N803
        (self._folder / Path(Key).name).write_bytes(Body)

    def create_multipart_upload(self, **_: Any) -> dict[str, str]:
        return {"UploadId": "1"}

    def upload_part(self, *, Key: str, Body: bytes, **_: Any) -> dict[str, str]:  # noqa: N803
        self._parts += 1
        (self._folder / f"{Path(Key).name}.{self._parts}").write_bytes(Body)
        return {"ETag": "1"}

    def complete_multipart_upload(self, **_: Any) -> None:
        """Do nothing: the parts are already stored."""


class _Body:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "_Body":
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: no file is open."""

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(size):
                yield chunk


class _AllThere(Media):
    def look_at(self, bucket: str, key: str, version_id: str | None) -> Image:
        return Image(bucket, key, version_id or "v1", Picture("image/jpeg", 1024, 1024), size=100_000, metadata={})


class _Silent(Notifier):
    def __init__(self) -> None:
        """Send nothing."""


class _NoBills(Bills):
    def __init__(self) -> None:
        """Read nothing."""

    def of(self, model: str) -> prices.Bills:  # noqa: ARG002 - no model has bills
        return {}


class _NoRecords(BatchStore):
    def __init__(self) -> None:
        """Write nothing."""

    def open(self, batch: BatchInput) -> None:
        """Do nothing."""

    def planned(self, batch: BatchInput, found: Found, plan: PlannedBatch) -> None:
        """Do nothing."""


def plan(path: Path) -> Tally:
    """Do what the plan function does: check the rows, and write the plan and the report of bad rows."""
    folder: Any = _Folder(path.parent)
    media = _AllThere("videos", folder)
    use_case = Plan(
        Sheets("uploads", folder), media, _Silent(), _NoBills(), _NoRecords(), DEFAULTS, tolerated_percent=20.0
    )
    state = use_case(
        {"batch_id": "batch-0123abcd", "bucket": "uploads", "key": f"batches/{path.name}", "version_id": None}
    )
    if "rows" not in state:
        raise ValueError("the manifest was refused")
    return Tally(rows=state["rows"], bad=state["rejected"], estimate_usd=state["estimate_usd"])


METHODS: dict[str, Callable[[Path], Tally]] = {"check": check, "naive": naive, "plan": plan}


def _one(method: str, path: Path) -> None:
    """Measure one method in this process. Prints seconds, memory growth in MB and the result, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "warm.csv"
        write_manifest(small, 60)
        METHODS[method](small)  # builds everything that is built only once
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        tally = METHODS[method](path)
        seconds = time.perf_counter() - began
    unit = 1024 if sys.platform == "linux" else 1024 * 1024
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit
    print(json.dumps([seconds, grown, tally.rows, tally.bad, round(tally.estimate_usd, 2)]))


def main() -> str:
    """Print the table, in Markdown, and return it."""
    lines = [
        "| rows | | seconds | rows per second | memory growth (MB) | time vs. naive | memory vs. naive |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            path = Path(folder) / f"rows-{size}.csv"
            write_manifest(path, size)
            runs: dict[str, list[list[float]]] = {name: [] for name in METHODS}
            for _ in range(RUNS):  # in turns, so that other load on the machine affects all methods
                for name, found in runs.items():
                    found.append(_run(name, path))
            answers = {tuple(run[2:]) for found in runs.values() for run in found}
            if len(answers) != 1:
                raise AssertionError(f"the methods don't agree: {answers}")
            for name, found in runs.items():
                seconds = statistics.median(run[0] for run in found)
                grown = statistics.median(run[1] for run in found)
                pairs = list(zip(found, runs["naive"], strict=True))
                time_ratio = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
                memory_ratio = statistics.median(ours[1] / max(theirs[1], 0.1) for ours, theirs in pairs)
                lines.append(
                    f"| {size:,} | {name} | {seconds:.2f} | {size / seconds:,.0f} | {grown:.1f} "
                    f"| {time_ratio:.2f} | {memory_ratio:.2f} |"
                )
    text = "\n".join(lines) + f"\n\n{_WORDS}"
    print(text)
    return text


def _run(method: str, path: Path) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.batch", method, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _one(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
