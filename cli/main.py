"""The `seedance` command. Each command reads its options, calls one function and prints the result."""

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from botocore.exceptions import BotoCoreError, ClientError
from seedance.errors import SeedanceError
from seedance.jobs import catalogue
from seedance.jobs.job import State
from typer.core import TyperCommand

from cli import actions, operate, show, unowned, watch
from cli.batch import batch, look
from cli.demo import DEMO_SCALE, DEMO_VIDEO, SAMPLE, DemoFailed, run_demo
from cli.doctor.command import doctor
from cli.options import JobId, OutputsFile, StackName, err, out
from cli.requests import Wish, image_type, read_labels, read_settings
from cli.target import CommandError, Target, find, home, on_this_machine
from local import keeping
from local import stack as local_stack
from local.keeping import Kept
from local.launch import declared_parameters
from local.options import StackError, read_parameters


class SpokenCommand(TyperCommand):
    """A command that reports a failure as one sentence and an exit code, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err.print("stopped")
            raise typer.Exit(130) from None
        except (CommandError, StackError, DemoFailed, SeedanceError) as error:
            sentence = str(error)
        except ClientError as error:
            sentence = f"AWS rejected {error.operation_name}: {error.response['Error'].get('Message', error)}"
        except (BotoCoreError, httpx.HTTPError) as error:
            sentence = f"can't reach the stack: {error}"
        except OSError as error:
            sentence = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        err.print(f"[red]error:[/red] {_escaped(sentence)}", soft_wrap=True)
        raise typer.Exit(1)


app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
command = partial(app.command, cls=SpokenCommand)

ModelName = Annotated[str | None, typer.Option("--model", help="A model's name; see `seedance models`.")]
Transport = Annotated[str | None, typer.Option(help="v2 (submit and poll) or v1 (one blocking call).")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A model parameter; repeatable.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Show progress; exit 0 only if the video is made.")]


@app.callback()
def seedance() -> None:
    """Turn product images and prompts into videos, on this machine or on AWS."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)


def _end(number: int, _frame: object) -> None:
    # Raises an exception, so that everything that was started is stopped.
    sys.exit(128 + number)


@command()
def up(
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default 4566; 0 picks a free port.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="sandbox (default), segmind, or a base URL; the last two use SEGMIND_API_KEY.")
    ] = None,
    time_scale: Annotated[float | None, typer.Option(help="0.1 makes waits and deadlines ten times shorter.")] = None,
    parameter: Annotated[list[str] | None, typer.Option(help="A template parameter as NAME=VALUE; repeatable.")] = None,
) -> None:
    """Start a local AWS, deploy template.yaml to it, and leave it running."""
    parameters = read_parameters(parameter, declared_parameters()) if parameter else {}
    options = local_stack.Options(
        port=port, provider=provider, time_scale=time_scale, home=home(), parameters=parameters
    )
    kept = Kept.read(home())
    with err.status("") as status:
        stack, started = local_stack.up(options, status.update)
    out.print(f"[green]{'up' if started else 'already up'}[/green] at {stack.endpoint_url}\n")
    _print(show.stack(stack))
    _print('\nTo use it from this shell (AWS CLI, $API_URL, $API_KEY):\n  eval "$(seedance env)"')
    if kept and started:
        unowned.report(Target(stack.outputs, stack), None if kept.clean else kept.since)
    _print(f"\nTry next:\n  seedance drop {_short(SAMPLE)} --wait")


@command()
def down(
    purge: Annotated[bool, typer.Option("--purge", help="Also delete the kept data, including paid videos.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Stop what `up` started. With a real provider, jobs and videos are kept, and the next `up` continues with them."""
    kept = keeping.is_kept(home())
    if purge and kept and not yes:
        videos = sum(1 for _ in keeping.videos(home()))
        typer.confirm(f"Delete the kept stack with {show.number(videos, 'paid video')}?", abort=True)
    stopped = local_stack.down(home())
    out.print(f"stopped {' and '.join(stopped)}" if stopped else "nothing was running")
    if purge:
        keeping.purge(home())
        out.print("deleted the kept data" if kept else "there was no kept data")
    elif kept:
        _print(f"jobs and videos are kept in {home() / keeping.FOLDER}; `seedance up` continues with them")
    if "AWS_ENDPOINT_URL" in os.environ:
        _print(
            "in this shell, the AWS CLI still uses the local stack; to change that: "
            "unset AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY"
        )


@command()
def env(outputs: OutputsFile = None) -> None:
    """Print shell commands that point the AWS CLI at the local stack. Usage: eval "$(seedance env)"."""
    for line in show.exports(on_this_machine(outputs), os.environ):
        print(line)  # for a shell, so without styles and line wrapping


@command()
def demo(
    time_scale: Annotated[float, typer.Option(help="0.1 runs ten times faster than the provider.")] = DEMO_SCALE,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the video.")] = DEMO_VIDEO,
) -> None:
    """Run the pipeline end to end: from an image in a bucket to a video on disk and its notification."""
    run_demo(time_scale, output, out)


@command()
def drop(
    image: Annotated[Path, typer.Argument(help="A JPEG, PNG or WebP file.")],
    *,
    prompt: Annotated[str | None, typer.Option(help="What happens in the video.")] = None,
    model: ModelName = None,
    settings: Settings = None,
    transport: Transport = None,
    wait: Wait = False,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Upload an image to the bucket. The pipeline makes a video from it."""
    wish = Wish(prompt, model, transport, read_settings(settings or []))
    wish.check(has_image=True)
    kind = image_type(image)
    target = find(stack, outputs)
    _report(target, actions.drop(target, image, kind, wish), wait)


@command()
def submit(
    *,
    prompt: Annotated[str, typer.Option(help="What happens in the video.")],
    image: Annotated[str | None, typer.Option(help="The first image: a URL or a file.")] = None,
    model: ModelName = None,
    settings: Settings = None,
    transport: Transport = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Repeating a request with the same key returns the same job and is billed once.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The video's name, in mails and for downloads.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Your own, returned with the job; repeatable.")
    ] = None,
    wait: Wait = False,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Request a video through the API."""
    wish = Wish(prompt, model, transport, read_settings(settings or []), name, read_labels(metadata or []))
    target = find(stack, outputs)
    _report(target, actions.submit(target, wish, image, idempotency_key), wait)


@command()
def status(
    job_id: JobId,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole record as JSON.")] = False,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Show the status of a job or a batch."""
    target = find(stack, outputs)
    if job_id.startswith("batch-"):
        _print_batch(target, job_id, as_json)
        return
    job = target.job(job_id)
    if as_json:
        _print_json({**job.to_record(), "timings": job.timings()})
    else:
        _print(show.job(job, target.time_scale))


@command("list")
def list_jobs(
    state: Annotated[State | None, typer.Option(case_sensitive=False, help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """List the newest jobs."""
    target = find(stack, outputs)
    found = [job for one in ([state] if state else State) for job in target.jobs.newest(one, limit)]
    found.sort(key=lambda job: job.created_at, reverse=True)
    nothing = f"no jobs in state {state.value}" if state else "no jobs yet"
    out.print(show.jobs(found[:limit], time.time()) if found else nothing)


@command()
def get(
    job_id: JobId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file or folder; default: the job's name with .mp4.")
    ] = None,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Download a job's video."""
    target = find(stack, outputs)
    job = target.job(job_id)
    file = Path(Path(f"{job.name}.mp4").name)  # in this folder, even if somebody has edited the record
    if output:
        file = output / file if output.is_dir() else output
    size = actions.fetch(target, job, file)
    _print(f"{file} ({size / 1e6:.1f} MB)")


@command()
def models(model: Annotated[str | None, typer.Argument(help="Only this model.")] = None) -> None:
    """Print the models and their parameters, as JSON Schema."""
    slug = catalogue.find(model).slug if model else None
    _print_json([each for each in catalogue.describe() if slug in (None, each["model"])])


for one in (
    batch,
    operate.explain,
    operate.retry,
    operate.cancel,
    operate.resolve,
    operate.redrive,
    operate.pause,
    operate.resume,
    operate.release,
    operate.reindex,
    operate.ledger,
    operate.adopt,
    doctor,
):
    command()(one)


@command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def sandbox(context: typer.Context) -> None:
    """Run only the provider's stand-in, for tests without an API key. --help shows its options."""
    os.execv(sys.executable, [sys.executable, "-m", "local.sandbox", *context.args])  # noqa: S606


def _report(target: Any, job_id: str, wait: bool) -> None:
    if reason := target.switch.paused():
        err.print(f"submits are paused ({reason}); it is HELD until `seedance resume`", markup=False, soft_wrap=True)
    if not wait:
        _print(f"job {job_id}\n`seedance status {job_id}` shows its status")
        return
    _print(f"job {job_id}")
    try:
        job = watch.follow(target, job_id, out)
    except KeyboardInterrupt:
        err.print(f"\nstopped watching; the job continues: `seedance status {job_id}`", soft_wrap=True)
        raise typer.Exit(130) from None
    if job is None:
        raise CommandError(
            f"job {job_id} did not appear within {watch.PATIENCE_SECONDS:.0f} s; check the queues and the submit "
            "function's log"
        )
    if job.state is not State.COMPLETED or not job.video:
        raise CommandError(watch.reason(job))
    _print(f"s3://{job.video['bucket']}/{job.video['key']}")
    _print(f"cost {show.money(job.cost_usd)}; `seedance get {job_id}` downloads it")


def _print_batch(target: Any, batch_id: str, as_json: bool) -> None:
    now = look(target, batch_id)
    if now is None:
        raise CommandError(f"batch {batch_id} does not exist")
    if as_json:
        _print_json({"batch_id": batch_id, "status": now.status, **(now.ended or {})})
    else:
        about = now.ended or {}
        files = {"Results": about.get("results_key"), "Invalid rows": about.get("report_key")}
        bucket = target.output("UploadBucketName")
        where = {name: f"s3://{bucket}/{key}" if key else None for name, key in files.items()}
        _print(show.lines({"Batch": batch_id, "State": now.words, **where}))


def _print(text: str) -> None:
    out.print(text, soft_wrap=True, markup=False)


def _print_json(value: object) -> None:
    _print(json.dumps(value, indent=2, ensure_ascii=False))


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
