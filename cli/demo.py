"""The demo: runs the pipeline end to end, on a temporary stack of its own."""

import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import av
from av.error import FFmpegError
from rich.console import Console
from seedance.jobs.job import State

from cli import actions, images, watch
from cli.inbox import mail
from cli.requests import Wish
from cli.target import Target
from local import aws, processes
from local import stack as local_stack
from local.inbox import Entry
from local.launch import HOME, ROOT
from local.options import StackError
from local.stack import Stack

SAMPLE = ROOT / "local" / "sample" / "product.jpg"
DEMO_VIDEO = HOME / "demo" / "product.mp4"
DEMO_SCALE = 0.1
PROMPT = "Slow push-in on the bottle while soft light moves across the glass."

_JOB_SECONDS = 120.0
_MAIL_SECONDS = 30.0
_LOOK_SECONDS = 0.2


class DemoFailed(Exception):
    """A step of the demo that failed."""


@dataclass(frozen=True)
class Played:
    """What was found by decoding a whole video."""

    width: int
    height: int
    frames: int
    seconds: float
    codec: str


@dataclass(frozen=True)
class Shown:
    """What the demo has shown: its job, its video and its mail."""

    job_id: str
    file: Path
    video: Played
    mail: Entry
    console_url: str = ""
    """The console, signed in. Empty if the stack does not stay up."""


def run_demo(time_scale: float, output: Path, console: Console, stay: Path | None = None) -> Shown:
    """Upload the sample, follow the job, download and play the video, and show the notification.

    Raises DemoFailed if any of this fails. Everything that was started is stopped, unless the demo succeeds and
    ``stay`` is given: the folder of a stack that `seedance down` stops.
    """
    begun = time.monotonic()
    output.parent.mkdir(parents=True, exist_ok=True)
    HOME.mkdir(exist_ok=True)
    if stay is not None:
        return _demo_that_stays(stay, time_scale, output, console)
    # A state directory of its own, so that the demo can run beside a running stack or another demo.
    home = Path(tempfile.mkdtemp(prefix="demo-", dir=HOME))
    try:
        stack, _ = _start(home, time_scale, console)
        console.print(f"ready after {time.monotonic() - begun:.1f} s\n")
        shown = _make_video(Target(stack.outputs, stack), stack, output, console)
    except (DemoFailed, StackError):
        kept = _keep_logs(home)
        console.print(f"logs: {kept}", soft_wrap=True)
        raise
    finally:
        with processes.uninterrupted():
            local_stack.down(home)
            shutil.rmtree(home, ignore_errors=True)
    console.print(f"\n[green]done[/green] in {time.monotonic() - begun:.1f} s; everything is stopped again")
    console.print(f"Play it: {_shown(output)}", soft_wrap=True)
    console.print("`seedance demo --stay` leaves the stack running, with the console in a browser", soft_wrap=True)
    return shown


def _demo_that_stays(home: Path, time_scale: float, output: Path, console: Console) -> Shown:
    """The demo on a stack that runs already, or that it starts and leaves running."""
    stack, started = _start(home, time_scale, console)
    try:
        shown = _make_video(Target(stack.outputs, stack), stack, output, console)
    except BaseException:
        if started:
            local_stack.down(home)
        raise
    console.print("\n[green]done[/green]; the stack is still running: `seedance down` stops it")
    console.print("The console, signed in:")
    console.print(f"  {stack.console_url}", soft_wrap=True, markup=False, highlight=False)
    return replace(shown, console_url=stack.console_url)


def _start(home: Path, time_scale: float, console: Console) -> tuple[Stack, bool]:
    with console.status("") as status:

        def say(step: str) -> None:
            status.update(step)
            if not console.is_terminal:  # a log shows no spinner
                console.print(f"  {step}", highlight=False)

        options = local_stack.Options(port=0, provider="sandbox", time_scale=time_scale, home=home)
        return local_stack.up(options, say)


def _make_video(target: Target, stack: Stack, output: Path, console: Console) -> Shown:
    job_id = actions.drop(target, images.look(SAMPLE), Wish(prompt=PROMPT))
    console.print(f"uploaded {_shown(SAMPLE)} to s3://{target.output('UploadBucketName')}/uploads/", soft_wrap=True)
    console.print(f"job {job_id}", soft_wrap=True)
    job = watch.follow(target, job_id, console, deadline=time.time() + _JOB_SECONDS)
    if job is None:
        raise DemoFailed(f"job {job_id} did not end within {_JOB_SECONDS:.0f} s")
    if job.state is not State.COMPLETED:
        raise DemoFailed(watch.reason(job))
    actions.fetch(target, job, output, force=True)
    video = play(output)
    sent = _mail(stack, job_id)
    console.print()
    console.print(mail(sent, console.width))
    console.print(
        f"\n{_shown(output)}: {video.codec}, {video.width}x{video.height}, {video.seconds:.1f} s, "
        f"all {video.frames} frames decoded",
        soft_wrap=True,
    )
    return Shown(job_id, output, video, sent)


def play(path: Path) -> Played:
    """Decode a whole video. Raises DemoFailed if that is not possible."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = [(frame.width, frame.height) for frame in container.decode(stream)]
            seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
            codec = stream.codec_context.name
    except (FFmpegError, IndexError, OSError) as error:
        raise DemoFailed(f"{path} can't be played: {error}") from error
    if not frames:
        raise DemoFailed(f"{path} can't be played: it has no frames")
    width, height = frames[0]
    return Played(width, height, len(frames), seconds, codec)


def _mail(stack: Stack, job_id: str) -> Entry:
    """The mail about the job, as the stack has sent it. Raises DemoFailed."""
    deadline = time.monotonic() + _MAIL_SECONDS
    while time.monotonic() < deadline:
        for entry in aws.inbox(stack.access):
            if entry["kind"] == "mail" and job_id in entry["body"]:
                return entry
        time.sleep(_LOOK_SECONDS)
    raise DemoFailed(f"no mail about job {job_id} was sent within {_MAIL_SECONDS:.0f} s")


def _keep_logs(home: Path) -> Path:
    kept = HOME / "demo"
    kept.mkdir(exist_ok=True)
    for log in home.glob("*.log"):
        log.replace(kept / log.name)
    return kept


def _shown(path: Path) -> str:
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(path)
