"""Options that several commands share, and the consoles that they print to."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from seedance.jobs import catalogue

# Output to a file or a pipe is not limited in width. Both consoles obey NO_COLOR.
out = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False, emoji=False)


def _models(incomplete: str) -> list[str]:
    """The models whose names begin so, for the shell's completion."""
    return [slug for slug in catalogue.MODELS if slug.startswith(incomplete)]


StackName = Annotated[
    str | None,
    typer.Option("--stack", envvar="SEEDANCE_STACK", help="Use this stack on AWS instead of the local one."),
]
OutputsFile = Annotated[Path | None, typer.Option("--outputs", help="The outputs.json of a local stack.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, or an unambiguous prefix of it.")]
JobOrBatchId = Annotated[
    str, typer.Argument(metavar="JOB|BATCH", help="The id of a job or batch, or an unambiguous prefix of it.")
]
ModelName = Annotated[
    str | None, typer.Option("--model", autocompletion=_models, help="A model's name; see `seedance models`.")
]
Transport = Annotated[str | None, typer.Option(help="v2 (submit and poll) or v1 (one blocking call).")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A model parameter; repeatable.")
]
Metadata = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Your own, returned with the job; repeatable."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Show progress; exit 0 only if every video is made.")]
Yes = Annotated[bool, typer.Option("--yes", help="Buy without asking, whatever it costs.")]
MaxUsd = Annotated[
    float | None,
    typer.Option("--max-usd", min=0, metavar="USD", help="Buy without asking up to this sum; refuse above it."),
]
