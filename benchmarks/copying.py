"""Copying a video from HTTP into S3: wall clock, processor and memory, beside the ways that people usually take.

Each copy is a process of its own; the source and the S3 are two more on this machine, which do next to nothing
(benchmarks/copy_ends.py), all over TLS.

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
    "ours": "**ours**: stream, checked, hashed, in parts",
}
_NOTE = """\
Medians of {rounds} rounds. Wall: of the naive copy's, in the same round. Processor: seconds a GB, at 1 GB, by all that
the copier runs. Memory: how much more the process holds at its peak for 1 GB than for 10 MB (of two processes, the
larger). Ours also walks the MP4's boxes and takes a SHA-256, which no other does."""


@dataclass(frozen=True)
class Copy:
    """One copy: seconds by the clock and of the processor; peak memory, in bytes."""

    seconds: float
    cpu: float
    memory: float


def main() -> None:
    """Measure all ways at all sizes; print and publish the table."""
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
    # Ours with what is in the layer and nothing else: botocore signs by other means where it finds awscrt.
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
    walls = tuple(f"wall, {size} MB" for size in SIZES)
    header = ("copy", *walls, "500 MB took", "processor", "memory growth")
    return report.Table("copying", "Copying a video into S3", header, rows, [_NOTE.format(rounds=rounds)])


@contextlib.contextmanager
def _end(which: str, certificate: Path, key: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.copy_ends", which, str(certificate), str(key)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdout is None:
            raise RuntimeError("the server has no output to name its port on")
        yield f"https://127.0.0.1:{int(server.stdout.readline())}"
        server.communicate()  # the end of its input ends it


if __name__ == "__main__":
    main()
