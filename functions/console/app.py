"""Lambda handler of the console: its page and the page's files, which need no key.

It writes no metrics and no log, so it does without Powertools, which would double the time of its imports.
"""

from pathlib import Path
from typing import Any

from seedance.aws.gateway import Response
from seedance.console import console

WEB = Path(__file__).with_name("web")
"""The folder web/ of the repository, which the build copies beside this file."""


def handler(event: dict[str, Any], context: Any) -> Response:
    """See seedance.console."""
    return console(WEB).respond(event)
