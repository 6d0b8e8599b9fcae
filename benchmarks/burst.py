"""Measures a burst: many images uploaded at once to a local stack, with a stand-in that enforces the rate limit.

Nothing is mocked: the template runs on the emulator, with S3 events, the queue, Step Functions, the stand-in's server
and its MP4s. ``python -m benchmarks.burst --images 100`` uploads fewer images.
"""

import argparse
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from seedance.jobs.job import TERMINAL, State

from benchmarks.report import Table, publish
from local import aws
from local import stack as local_stack
from local.stack import Options, Stack

IMAGES = 1000
TIME_SCALE = 0.2
"""Five times the provider's speed. At ten times, starting functions fully occupies two cores."""
LIMIT = 50
"""The template's default for RequestsPerMinute."""
IMAGE = Path(__file__).parents[1] / "local/sample/product.jpg"
MEGABYTE = 1_000_000


def drop(stack: Stack, images: int) -> None:
    """Upload the images as fast as possible."""
    s3, body = aws.client(stack.access, "s3"), IMAGE.read_bytes()

    def put(number: int) -> None:
        s3.put_object(
            Bucket=stack.outputs["UploadBucketName"],
            Key=f"uploads/{number:05d}.jpg",
            Body=body,
            Metadata={"prompt": f"burst {number:05d}", "resolution": "480p"},
        )

    with ThreadPoolExecutor(8) as lanes:
        list(lanes.map(put, range(images)))


def records(stack: Stack) -> list[dict[str, Any]]:
    """Each job's state and times."""
    pages = (
        aws.client(stack.access, "dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=stack.outputs["JobTableName"],
            ProjectionExpression="#state, created_at, entered",
            FilterExpression="attribute_exists(#state)",
            ExpressionAttributeNames={"#state": "state"},
        )
    )
    return [item for page in pages for item in page["Items"]]


class Watch:
    """Records the peak memory of the emulator and its workers together, from /proc, in bytes."""

    def __init__(self, pid: int) -> None:
        self.most = 0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(1):
            self.most = max(self.most, sum(map(_resident, _family(self._pid))))


def _family(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, open_ = [], [pid]
    while open_:
        found.append(open_.pop())
        open_ += parents.get(found[-1], [])
    return found


def _resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def burst(images: int, scale: float, seconds: float) -> dict[str, Any]:
    """Upload the images and wait for their jobs. Returns the measurements."""
    with tempfile.TemporaryDirectory(prefix="burst-") as home:
        options = Options(port=0, provider="sandbox", time_scale=scale, home=Path(home), hurried=False)
        try:
            stack, _ = local_stack.up(options, print)
            settings = {"fps": 1, "credits": 1e6, "rate_limit": LIMIT, "jitter": 0.43}
            httpx.post(f"{stack.sandbox_url}/_sandbox/config", json=settings).raise_for_status()
            # If the busy emulator rejects an invocation, its message is delivered again after this time. AWS retries by
            # itself.
            aws.client(stack.access, "sqs").set_queue_attributes(
                QueueUrl=stack.outputs["SubmitQueueUrl"], Attributes={"VisibilityTimeout": "75"}
            )
            with Watch(stack.pids["emulator"]) as memory:
                begun = time.time()
                drop(stack, images)
                dropped = time.time() - begun
                found = _until_over(stack, images, begun + seconds)
            summary = httpx.get(f"{stack.sandbox_url}/_sandbox/summary", timeout=60).json()
        finally:
            local_stack.down(Path(home))
    ended = sorted(float(item["entered"]["M"]["COMPLETED"]["N"]) for item in found)
    minutes = (ended[-1] - begun) / scale / 60
    middle = ended[len(ended) // 4 : 3 * len(ended) // 4]
    steady = (len(middle) - 1) / ((middle[-1] - middle[0]) / scale / 60)
    codes = summary["by_status_code"]
    return {
        "images": images,
        "completed": len(ended),
        "429s": codes.get("429", 0),
        "duplicates": len(summary["duplicates"]),
        "requests per video": round(sum(codes.values()) / images, 2),
        "upload time (s)": round(dropped, 1),
        "provider minutes": round(minutes, 1),
        "videos per minute": round(images / minutes, 1),
        "share of R/2": round(images / minutes / (LIMIT / 2), 2),
        "videos per minute, middle half": round(steady, 1),
        "share of R/2, middle half": round(steady / (LIMIT / 2), 2),
        "emulator memory (MB)": round(memory.most / MEGABYTE),
        "real minutes": round((ended[-1] - begun) / 60, 1),
    }


def _until_over(stack: Stack, images: int, deadline: float) -> list[dict[str, Any]]:
    while True:
        found = records(stack)
        if len(found) == images and all(State(item["state"]["S"]) in TERMINAL for item in found):
            break
        if time.time() > deadline:
            states = [item["state"]["S"] for item in found]
            raise TimeoutError({state: states.count(state) for state in set(states)})
        time.sleep(2)
    lost = [item["state"]["S"] for item in found if item["state"]["S"] != State.COMPLETED]
    if lost:
        raise AssertionError(f"not completed: {lost}")
    return found


def _note(scale: float) -> str:
    return (
        f"The rate limit R is {LIMIT} requests per minute. Each video needs two requests, so R/2 is {LIMIT / 2:.0f} "
        f"videos per minute. Provider minutes run {1 / scale:.0f} times faster here. The total time includes the time "
        "until the first video and the slowest videos at the end, when most of the limit is unused; the middle half "
        "does not."
    )


def main(images: int = IMAGES, scale: float = TIME_SCALE, seconds: float = 3600.0) -> None:
    """Run the burst, print the table and write it to docs/benchmarks.md."""
    seen = burst(images, scale, seconds)
    publish(
        Table(
            "burst",
            "Images uploaded at once",
            ["", "measured"],
            [[name, str(value)] for name, value in seen.items()],
            [_note(scale)],
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--scale", type=float, default=TIME_SCALE)
    parser.add_argument("--seconds", type=float, default=3600.0)
    main(**vars(parser.parse_args()))
