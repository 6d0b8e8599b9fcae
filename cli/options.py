"""Options that several commands share, and the consoles that they print to."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

# Output to a file or a pipe is not limited in width.
out = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 200)

StackName = Annotated[
    str | None,
    typer.Option("--stack", envvar="SEEDANCE_STACK", help="Use this stack on AWS instead of the local one."),
]
OutputsFile = Annotated[Path | None, typer.Option("--outputs", help="The outputs.json of a local stack.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
err = Console(stderr=True, highlight=False, emoji=False)
