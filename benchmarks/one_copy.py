"""Makes one copy from HTTP to S3 in this process, with one of the methods.

    python -m benchmarks.one_copy WAY SOURCE_URL SINK_URL

Prints ``{"seconds", "cpu", "bytes"}``: wall-clock and CPU time, including child processes, and the peak memory of this
process or its largest child.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from benchmarks.one_start import peak_bytes

BUCKET, KEY = "bucket", "video.mp4"
_TIMEOUT = 60


def ours(source: str, s3: Any) -> None:
    """The pipeline's own copy, as in finalize: checked as an MP4, with a digest."""
    from seedance.media.buckets import Media  # noqa: PLC0415
    from seedance.provider.download import Downloads  # noqa: PLC0415 - each method loads only what it needs

    with Downloads(frozenset({httpx.URL(source).netloc.decode()})).open(source) as opened:
        Media(BUCKET, s3).store_video(opened.chunks, KEY, name="video", metadata={})


def naive(source: str, s3: Any) -> None:
    """Read the whole video into memory."""
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=httpx.get(source, timeout=_TIMEOUT).content)


def upload_fileobj(source: str, s3: Any) -> None:
    """Pass the stream to boto3's transfer manager."""
    with httpx.stream("GET", source, timeout=_TIMEOUT) as response:
        s3.upload_fileobj(_Reader(response.iter_bytes(256 * 1024)), BUCKET, KEY)


def temporary_file(source: str, s3: Any) -> None:
    """Write the video to disk and upload the file."""
    with tempfile.NamedTemporaryFile() as file, httpx.stream("GET", source, timeout=_TIMEOUT) as response:
        for chunk in response.iter_bytes(256 * 1024):
            file.write(chunk)
        file.flush()
        s3.upload_file(file.name, BUCKET, KEY)


def command_line(source: str, s3: Any) -> None:
    """Pipe curl into the AWS CLI."""
    command = [str(Path(sys.executable).parent / "aws"), "s3", "cp", "-", f"s3://{BUCKET}/{KEY}"]
    with subprocess.Popen(["curl", "-s", source], stdout=subprocess.PIPE) as curl:
        subprocess.run([*command, "--endpoint-url", s3.meta.endpoint_url], stdin=curl.stdout, check=True)


class _Reader:
    """Makes a stream of chunks readable like a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        parts, missing = [self._rest], size - len(self._rest)
        while missing > 0 and (chunk := next(self._chunks, b"")):
            parts.append(chunk)
            missing -= len(chunk)
        joined = b"".join(parts)
        self._rest = joined[size:]
        return joined[:size]


WAYS: dict[str, Callable[[str, Any], None]] = {
    "ours": ours,
    "naive": naive,
    "upload_fileobj": upload_fileobj,
    "temporary_file": temporary_file,
    "command_line": command_line,
}


def main() -> None:
    way, source, sink = sys.argv[1:]
    if way == "ours":
        from seedance.aws import clients  # noqa: PLC0415

        s3: Any = clients.s3()
    else:
        import boto3  # noqa: PLC0415

        s3 = boto3.client("s3", endpoint_url=sink)
    began, began_cpu = time.perf_counter(), _cpu()
    WAYS[way](source, s3)
    seconds, cpu = time.perf_counter() - began, _cpu() - began_cpu
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "cpu": cpu, "bytes": max(peak_bytes(), child)}))


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
