"""Measures copying a video from HTTP to S3 (time, CPU and memory), compared with common alternatives.

Each copy is a separate process. Source and destination are two more processes on this machine, which do almost nothing
(benchmarks/copy_ends.py). All connections use TLS.

    python -m benchmarks.copying [ROUNDS]
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import report
from benchmarks.artefacts import ROOT, build_layer, make_certificate

ROUNDS = 7
MEGABYTE = 1_000_000
SIZES = (10, 100, 500, 1000)
_TITLES = {
    "naive": "`get().content` + `put_object`",
    "temporary_file": "stream → temporary file → `upload_file`",
    "upload_fileobj": "stream → `upload_fileobj`",
    "command_line": "`curl` piped to `aws s3 cp -`",
    "ours": "**ours**: stream, checked, hashed, multipart",
}
_NOTE = """\
Medians of {rounds} rounds. Time: wall-clock time relative to the naive copy (the first row) in the same round. CPU:
seconds per GB, at 1 GB, of all processes of the copier. Memory growth: the difference in peak memory between 1 GB and
10 MB (with two processes, of the larger one). Only ours also checks the MP4's boxes and calculates a SHA-256."""


@dataclass(frozen=True)
class Copy:
    """One copy: seconds of wall-clock and CPU time; peak memory, in bytes."""

    seconds: float
    cpu: float
    memory: float


def main() -> None:
    """Measure every method at every size; print and publish the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else ROUNDS
    ways = [way for way in _TITLES if way != "command_line" or shutil.which("curl")]
    with tempfile.TemporaryDirectory(prefix="copying-") as scratch:
        certificate, key = make_certificate(Path(scratch))
        layer = build_layer(Path(scratch) / "layer")
        with _end("source", certificate, key) as source, _end("sink", certificate, key) as sink:
            measures = {
                (way, size): partial(_copy, way, f"{source}/{size * MEGABYTE}", sink, certificate, layer)
                for size in SIZES
                for way in ways
            }
            copies = report.in_turns(rounds, measures)
    report.publish(_table(ways, copies, rounds))


def _copy(way: str, source: str, sink: str, certificate: Path, layer: Path) -> Copy:
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "eu-central-1"}
    env |= {"AWS_ENDPOINT_URL": sink, "PYTHONPATH": f"{layer}:{ROOT}" if way == "ours" else str(ROOT)}
    trusting = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", *(() if way == "ours" else ("AWS_CA_BUNDLE",)))
    env |= dict.fromkeys(trusting, str(certificate))
    # Ours runs with the layer's packages only, because botocore signs differently if awscrt is installed.
    alone = ["-S"] if way == "ours" else []
    command = [sys.executable, *alone, "-m", "benchmarks.one_copy", way, source, sink]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{way} failed:\n{done.stderr}")
    said = json.loads(done.stdout.splitlines()[-1])
    return Copy(said["seconds"], said["cpu"], said["bytes"])


def _table(ways: list[str], copies: dict[tuple[str, int], list[Copy]], rounds: int) -> report.Table:
    def wall(way: str, size: int) -> list[float]:
        return [copy.seconds for copy in copies[way, size]]

    def growth(way: str) -> float:
        pairs = zip(copies[way, SIZES[-1]], copies[way, SIZES[0]], strict=True)
        return statistics.median(large.memory - small.memory for large, small in pairs)

    rows = [
        (
            _TITLES[way],
            *(f"{report.median_ratio(wall(way, size), wall('naive', size)):.2f}" for size in SIZES),
            f"{statistics.median(wall(way, 500)):.2f} s",
            f"{statistics.median(copy.cpu for copy in copies[way, SIZES[-1]]) * 1000 / SIZES[-1]:.2f} s/GB",
            f"{growth(way) / MEGABYTE:.0f} MB",
        )
        for way in ways
    ]
    walls = tuple(f"time, {size} MB" for size in SIZES)
    header = ("copy", *walls, "500 MB", "CPU", "memory growth")
    return report.Table("copying", "Copying a video into S3", header, rows, [_NOTE.format(rounds=rounds)])


@contextlib.contextmanager
def _end(which: str, certificate: Path, key: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.copy_ends", which, str(certificate), str(key)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdout is None:
            raise RuntimeError("the server has no output for its port")
        yield f"https://127.0.0.1:{int(server.stdout.readline())}"
        server.communicate()  # closes its input, which ends it


if __name__ == "__main__":
    main()
