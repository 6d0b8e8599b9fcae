"""What several commands share: their common options, and where they print."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

# A file or a pipe is as wide as need be.
out = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 200)

StackName = Annotated[
    str | None,
    typer.Option("--stack", envvar="SEEDANCE_STACK", help="A deployed stack on AWS, instead of the local one."),
]
OutputsFile = Annotated[Path | None, typer.Option("--outputs", help="A local stack's outputs.json.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
err = Console(stderr=True, highlight=False, emoji=False)
