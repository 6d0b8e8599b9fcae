"""Agrees on a price before anything is bought."""

import sys

import typer

from cli.options import out
from cli.target import CommandError

ASK_ABOVE_USD = 10.0
"""Up to this estimate, a command buys without asking."""


def agree(what: str, usd: float, *, yes: bool, max_usd: float | None) -> None:
    """Return if the estimated cost of ``what`` ("12 videos") is agreed to; ask if necessary.

    Raises CommandError if it is not, and typer.Abort if a person says no.
    """
    if max_usd is not None and usd > max_usd:
        raise CommandError(
            f"{what} would cost about ${usd:,.2f}, more than --max-usd {max_usd:,.2f}; nothing is bought"
        )
    if yes or max_usd is not None or usd <= ASK_ABOVE_USD:
        return
    if out.quiet or not sys.stdin.isatty():
        raise CommandError(
            f"{what} would cost about ${usd:,.2f}; nothing is bought. Above ${ASK_ABOVE_USD:.0f}, and without a "
            "terminal to ask in, use --yes, or --max-usd with the most that it may cost"
        )
    typer.confirm(f"Buy {what} for about ${usd:,.2f}?", abort=True, err=True)
