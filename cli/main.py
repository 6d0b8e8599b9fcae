"""The `seedance` command. Each command reads its options, calls one function and prints the result."""

import inspect
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from botocore.exceptions import BotoCoreError, ClientError
from seedance import bounds
from seedance.errors import SeedanceError
from typer.core import TyperCommand

from cli import costs, fetching, following, ids, inbox, listing, making, models, operate, progress, show, unowned
from cli.batch import batch
from cli.demo import DEMO_SCALE, DEMO_VIDEO, SAMPLE, DemoFailed, run_demo
from cli.doctor.command import doctor
from cli.options import JobOrBatchId, OutputsFile, StackName, err, out
from cli.output import Exit, emit, for_progress, log_to_standard_error, say, wants_json, with_json
from cli.target import CommandError, Target, UsageError, find, home, on_this_machine
from local import keeping
from local import stack as local_stack
from local.keeping import Kept
from local.launch import declared_parameters
from local.options import OptionError, StackError, read_parameters


class SpokenCommand(TyperCommand):
    """A command that reports a failure as one sentence and an exit code, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        log_to_standard_error()
        code = Exit.FAILED
        _refuse_empty_options(ctx)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err.print("stopped")
            raise typer.Exit(Exit.STOPPED) from None
        except BrokenPipeError:  # the reader of a pipe has ended, such as `head`; typer ends quietly
            raise
        except (CommandError, StackError, DemoFailed, SeedanceError) as error:
            sentence = str(error)
            code = Exit.USAGE if isinstance(error, UsageError | OptionError) else Exit.FAILED
        except ClientError as error:
            sentence = f"AWS rejected {error.operation_name}: {error.response['Error'].get('Message', error)}"
        except (BotoCoreError, httpx.HTTPError) as error:
            sentence = f"can't reach the stack: {error}"
        except OSError as error:
            sentence = f"{bounds.shown(str(error.filename))}: {error.strerror}" if error.filename else str(error)
        err.print(f"[red]error:[/red] {_escaped(sentence)}", soft_wrap=True)
        raise typer.Exit(code)


def _refuse_empty_options(ctx: Any) -> None:
    """Raise BadParameter for an option with an empty value: an unset variable of a shell.

    Taken for a missing option, `--idempotency-key "$ORDER"` would buy a video in each run, and `--stack "$STACK"` would
    use the local stack.
    """
    for option in ctx.command.params:
        if option.param_type_name == "option" and "" in _several(ctx.params.get(option.name)):
            raise typer.BadParameter("it is empty", ctx, option)


def _several(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command(name: str | None = None, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command of `seedance`, with the option --json."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name, cls=SpokenCommand, help=_unfolded(function), **settings)(with_json(function))
        return function

    return register


def _unfolded(function: Callable[..., None]) -> str:
    """A docstring with one line per paragraph. Help folds them to the screen, and would keep line breaks in them."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"seedance {version('seedance-pipeline')}")
        raise typer.Exit


@app.callback()
def seedance(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Turn product images and prompts into videos, on this machine or on AWS.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped with Ctrl-C.
    """
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
    with progress.working("") as tell:
        stack, started = local_stack.up(options, tell)
    shown = {name: value for name, value in stack.facts().items() if name not in ("pids", "secret_access_key")}
    emit({"started": started, "outputs_file": str(home() / "outputs.json"), **shown})
    out.print(f"[green]{'up' if started else 'already up'}[/green] at {stack.endpoint_url}\n")
    say(show.stack(stack))
    say('\nTo use it from this shell (AWS CLI, $API_URL, $API_KEY):\n  eval "$(seedance env)"')
    if kept and started:
        unowned.report(Target(stack.outputs, stack), None if kept.clean else kept.since)
    say(f"\nTry next:\n  seedance drop {_short(SAMPLE)} --wait")
    if stack.console_url:
        say(f"\nThe console, signed in:\n  {stack.console_url}")


@command()
def down(
    purge: Annotated[bool, typer.Option("--purge", help="Also delete the kept data, including paid videos.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Stop what `up` started. With a real provider, jobs and videos are kept, and the next `up` continues with them."""
    kept = keeping.is_kept(home())
    if purge and kept and not yes:
        videos = sum(1 for _ in keeping.videos(home()))
        typer.confirm(f"Delete the kept stack with {show.number(videos, 'paid video')}?", abort=True, err=True)
    with progress.working("stopping the stack"):
        stopped = local_stack.down(home())
    say(f"stopped {' and '.join(stopped)}" if stopped else "nothing was running")
    emit({"stopped": stopped, "kept": str(home() / keeping.FOLDER) if kept and not purge else None, "purged": purge})
    if purge:
        keeping.purge(home())
        out.print("deleted the kept data" if kept else "there was no kept data")
    elif kept:
        say(f"jobs and videos are kept in {home() / keeping.FOLDER}; `seedance up` continues with them")
    if "AWS_ENDPOINT_URL" in os.environ:
        say(
            "in this shell, the AWS CLI still uses the local stack; to change that: "
            "unset AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY"
        )


@command()
def env(outputs: OutputsFile = None) -> None:
    """Print shell commands that point the AWS CLI at the local stack. Usage: eval "$(seedance env)"."""
    stack = on_this_machine(outputs)
    exported, foreign = show.exports(stack, os.environ)
    emit({"export": exported, "unset": foreign})
    if not wants_json():
        for line in show.shell(exported, foreign):
            print(line)  # for a shell, so without styles and line wrapping


@command()
def demo(
    time_scale: Annotated[float, typer.Option(help="0.1 runs ten times faster than the provider.")] = DEMO_SCALE,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the video.")] = DEMO_VIDEO,
    stay: Annotated[
        bool, typer.Option("--stay", help="Leave the stack running, and print the console's link.")
    ] = False,
) -> None:
    """Run the pipeline end to end: from an image in a bucket to a video on disk and its notification."""
    shown = run_demo(time_scale, output, for_progress(), home() if stay else None)
    emit({**asdict(shown), "file": str(shown.file)})


@command()
def status(
    job_id: JobOrBatchId,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Show the status of a job or a batch. With --json, the job's whole record."""
    target = find(stack, outputs)
    if ids.is_batch(job_id):
        _print_batch(target, ids.batch_id(target, job_id))
        return
    job = ids.job(target, job_id)
    link = target.link(job)
    emit(show.facts(job, target.time_scale, link))
    say(show.job(job, target.time_scale, link))


command("list")(listing.list_jobs)


for one in (
    models.models,
    making.drop,
    making.submit,
    fetching.get,
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
    costs.costs,
    inbox.inbox,
    doctor,
):
    command()(one)


@command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def sandbox(context: typer.Context) -> None:
    """Run only the provider's stand-in, for tests without an API key. --help shows its options."""
    as_json = ["--json"] if wants_json() else []
    os.execv(sys.executable, [sys.executable, "-m", "local.sandbox", *context.args, *as_json])  # noqa: S606


def _print_batch(target: Target, batch_id: str) -> None:
    with progress.working("reading the batch"):
        now = following.look(target, batch_id)
        if now is None:
            raise CommandError(f"batch {batch_id} does not exist")
        told = following.facts(target, batch_id, now)
    emit(told)
    about = now.ended or {}
    files = {"Results": about.get("results_key"), "Invalid rows": about.get("report_key")}
    bucket = target.output("UploadBucketName")
    where = {name: f"s3://{bucket}/{key}" if key else None for name, key in files.items()}
    say(show.lines({"Batch": batch_id, "State": now.words, **where}))
    if now.refused:
        following.print_report(target, batch_id, now)


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
