"""Processes jobs: wait, download the image, encode, wait, charge. One task per job."""

import asyncio
import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import av

from local.sandbox import video
from local.sandbox.models import DATA_IMAGE, MODELS, Order
from local.sandbox.state import RECORD_SECONDS, Job, State

T = TypeVar("T")

IMAGE_BYTES = 30 * 2**20  # made up; the pages state no limit for images
RECORDING_BYTES = 50 * 2**20  # the 2.0 pages' limit for a reference video
FETCH_SECONDS = 20.0  # wall-clock
# How many jobs may have an image in memory at once. The others wait, as PROCESSING.
AT_ONCE = 32
ENCODERS = 2

# The moderation refuses a prompt with this text, so that a refusal can be tested.
BLOCKED = "[blocked]"
FLAGGED = "[flagged]"  # passes with skip_moderation
FACE = "[face]"  # stands for a real person's face in the first image
FACE_WORDS = "The request was blocked: the input image may contain a real human face"
SAMPLE = "the sample image of the model's page"
MODERATION_WORDS = "The request was blocked by content moderation: the input may contain sensitive content"


class JobFailure(Exception):
    """The job FAILED. The message is the provider's text."""


class Studio:
    """Runs the jobs of one `State`. Stores the encodings in `folder`, so that each is made only once."""

    def __init__(self, state: State, folder: Path) -> None:
        self.state = state
        self.folder = folder
        self._tasks: set[asyncio.Task[Any]] = set()
        self._encodings: dict[str, asyncio.Task[None]] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._threads = ThreadPoolExecutor(ENCODERS, "encode")
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(FETCH_SECONDS), connector=aiohttp.TCPConnector(limit=AT_ONCE)
        )

    def begin(self, job: Job) -> None:
        """Start the job and return at once."""
        self._spawn(self._run(job))

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def abandon(self) -> None:
        """Stop all running jobs, without changing them.

        Encodings continue, because a thread can't be stopped and a second one must not write the same file.
        """
        await _cancelled(self._tasks)

    async def close(self) -> None:
        await self.abandon()
        await _cancelled(self._encodings.values())
        await self._http.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _run(self, job: Job) -> None:
        try:
            await self._make(job)
        except JobFailure as failure:
            self.state.fail(job, str(failure))
        except Exception:  # a bug in the sandbox: callers must not wait for this job, and the loop logs the traceback
            self.state.fail(job, "Internal server error")
            raise

    async def _make(self, job: Job) -> None:
        clock = self.state.clock
        # A job without images has nothing to download. Its encoding starts at once and is ready in time.
        early = None if job.order.images or job.refusal else self._spawn(self._encode(job.order, None))
        await clock.wait_until(job.accepted_at + job.queue_seconds)
        if job.fault == "stuck-queued":
            return
        if job.refusal is not None:
            raise JobFailure(job.refusal)
        self.state.start(job)
        if job.fault == "stuck-processing":
            return
        if FACE in job.order.prompt and job.order.images and MODELS[job.order.slug].no_faces:
            raise JobFailure(FACE_WORDS)
        if BLOCKED in job.order.prompt or (FLAGGED in job.order.prompt and not job.order.skip_moderation):
            raise JobFailure(MODERATION_WORDS)
        if early is not None:
            await self._check_recordings(job)
            job.render = await early
        else:
            async with self._places:
                job.render = await self._encode(job.order, await self._pictures(job))
                await self._check_recordings(job)
        total = RECORD_SECONDS * 1.02 if job.fault == "late" else job.total_seconds
        await clock.wait_until(job.accepted_at + total)
        if job.fault == "fail":
            raise JobFailure(job.fault_options["error"])
        if job.fault == "fail-with-echo":
            raise JobFailure(f"Model inference failed for {json.dumps(job.body)}")
        if job.fault == "fail-half-emoji":
            raise JobFailure("Model inference failed \ud83d")
        self.state.complete(job)

    async def _pictures(self, job: Job) -> bytes:
        """Download all images of the order, as the provider does. Returns the first one, which the video shows."""
        fault = self.state.faults.take("image-fetch", job.order.slug, job.order.prompt)
        if fault is not None and fault.kind == "slow":
            await asyncio.sleep(fault.options["seconds"])
        elif fault is not None:
            words = "could not be downloaded" if fault.kind == "unreachable" else "is not an image"
            raise JobFailure(f"Input image {words}: {_shown(job.order.images[0])}")
        first = b""
        for url in job.order.images:
            data = await self._fetch(url, "image", IMAGE_BYTES)
            await self._measure(url, data)
            first = first or data
        return first

    async def _check_recordings(self, job: Job) -> None:
        for url in job.order.recordings:
            await self._fetch(url, "reference file", RECORDING_BYTES)

    async def _fetch(self, url: str, what: str, limit: int) -> bytes:
        if (inline := DATA_IMAGE.fullmatch(url)) is not None:
            return _decoded(inline[1], what)
        try:
            async with self._http.get(url) as response:
                if response.status != 200:
                    raise JobFailure(f"Input {what} could not be downloaded (HTTP {response.status}): {_shown(url)}")
                data = bytearray()
                async for chunk in response.content.iter_chunked(2**16):
                    data += chunk
                    if len(data) > limit:
                        raise JobFailure(f"Input {what} is larger than {limit // 2**20} MB: {_shown(url)}")
                return bytes(data)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise JobFailure(f"Input {what} could not be downloaded ({type(error).__name__}): {_shown(url)}") from error

    async def _measure(self, url: str, data: bytes) -> None:
        """Check that it is an image of an accepted shape, and store its width and height."""
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._sizes:
            try:
                frame = await self._in_thread(video.decode_picture, data)
                video.check_picture(frame)
            except video.NotAPicture as error:
                raise JobFailure(f"Input image {error}: {_shown(url)}") from error
            self._sizes[digest] = (frame.width, frame.height)

    async def _encode(self, order: Order, picture: bytes | None) -> str:
        """The name of the order's encoding. Jobs with the same order share it, even while it is being made."""
        text = SAMPLE if order.sample and self.state.config.sample_image else order.prompt
        digest = hashlib.sha256(picture if picture is not None else text.encode()).hexdigest()
        size = video.dimensions(order.aspect_ratio, order.resolution, self._sizes.get(digest))
        fps = self.state.config.fps
        extras = ("-audio" if order.audio else "") + ("-last" if order.return_last_frame else "")
        kind = "text" if picture is None else "picture"
        name = f"{kind}-{digest[:24]}-{size[0]}x{size[1]}-{order.seconds}s-{fps}fps{extras}"
        if not (self.folder / f"{name}.mp4").exists():
            encoding = self._encodings.get(name)
            if encoding is None:
                work = self._in_thread(self._render, order, picture or text, size, fps, name)
                encoding = self._encodings[name] = asyncio.create_task(work)
                encoding.add_done_callback(lambda _: self._encodings.pop(name))
            # Shielded, because stopping one job must not cancel the encoding for the jobs that share it.
            await asyncio.shield(encoding)
        return name

    def _render(self, order: Order, shown: bytes | str, size: tuple[int, int], fps: int, name: str) -> None:
        frame = video.decode_picture(shown) if isinstance(shown, bytes) else video.backdrop(shown, *size)
        target = self.folder / f"{name}.mp4"
        half_done = target.with_suffix(".part")
        try:
            video.render(
                frame,
                half_done,
                size=size,
                seconds=order.seconds,
                fps=fps,
                audio=order.audio,
                last_frame=self.folder / f"{name}.png" if order.return_last_frame else None,
            )
        except av.FFmpegError as error:  # for example, an image that can be decoded but not scaled
            raise JobFailure("The video could not be made from this input") from error
        half_done.replace(target)

    async def _in_thread(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise JobFailure(f"Input {what} is not valid base64") from error


async def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    cancelled = list(tasks)
    for task in cancelled:
        task.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)


def _shown(url: str) -> str:
    """A URL for an error text: without its query, which may contain a signature, and without data."""
    return "the data URL" if url.startswith("data:") else url.split("?", 1)[0]
