"""`seedance inbox`: what the local stack has sent to people and programs, as it was sent."""

import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.panel import Panel
from rich.text import Text

from cli import progress, show
from cli.options import OutputsFile, out
from cli.output import emit_line, say
from cli.target import on_this_machine
from local import aws
from local.inbox import Entry
from local.options import INBOX_ADDRESS

MAIL_WIDTH = 100


class Kind(StrEnum):
    """The kinds of what is sent."""

    MAIL = "mail"
    """What NotificationEmail and other mail subscribers get."""
    NOTIFICATION = "notification"
    """What queues, functions and HTTPS endpoints get from the topic."""
    EVENT = "event"
    """What is put on the event bus."""


def inbox(
    *,
    kind: Annotated[
        list[Kind] | None, typer.Option(help="Only this kind; repeatable. Default: mail and event.")
    ] = None,
    about: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only messages that contain this, such as a job's id.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Show at most this many, the newest ones.")] = 10,
    outputs: OutputsFile = None,
) -> None:
    """Show the mails and events of the local stack as they were sent, oldest first. Nothing leaves this machine.

    Prints a line of JSON for each with --json.
    """
    kinds = kind or [Kind.MAIL, Kind.EVENT]
    stack = on_this_machine(outputs)
    with progress.working("reading the inbox"):
        entries = [entry for entry in aws.inbox(stack.access) if entry["kind"] in kinds]
    if about:
        entries = [entry for entry in entries if about in json.dumps(entry, ensure_ascii=False)]
    for entry in entries[-limit:]:
        emit_line(entry)
        if entry["kind"] == Kind.MAIL:
            out.print(mail(entry, out.width))
        else:
            say(f"{_time(entry)}  {entry['kind']} to {entry['to']}: {entry['subject']}".removesuffix(": "))
            say(json.dumps(entry["body"], indent=2, ensure_ascii=False))
    if not entries:
        say(f"nothing yet; mails of finished videos go to {INBOX_ADDRESS} and are shown here")


def mail(entry: Entry, width: int) -> Panel:
    """A mail as people see it: its subject on top, then the text. Nothing of it is cut."""
    head = f"To:       {entry['to']}\nDate:     {_time(entry)}\nSubject:  {entry['subject']}\n\n"
    text = Text(head + str(entry["body"]).strip(), overflow="fold")
    return Panel(text, title_align="left", width=min(width, MAIL_WIDTH))


def _time(entry: Entry) -> str:
    return show.moment(datetime.fromisoformat(entry["at"]).timestamp())
