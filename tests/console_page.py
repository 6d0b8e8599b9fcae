"""The console in a real browser, for tests and for pictures of it: a stack, a visitor, and what axe finds.

    with quick_stack(home) as stack, foreign_s3(stack.endpoint_url, aws.client(stack.access, "s3")) as s3:
        with visit(browser, s3, colours="dark", width=360) as visitor:
            page = visitor.open(stack)                  # signed in
            page.click("text=Make a video")
            assert violations(page) == []
            assert visitor.complaints == []             # errors of scripts, what the policy for content stopped

Tests get all of that from the fixtures ``s3`` and ``visitor`` of tests/e2e/conftest.py.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import httpx
from playwright.sync_api import Browser, BrowserContext, Page

from local import stack as local_stack
from local.stack import Options, Stack
from tests.foreign_s3 import ForeignS3

AXE = Path(__file__).parents[1] / ".seedance/web/node_modules/axe-core/axe.min.js"
QUICK_SCALE = 0.05
"""Twenty times the provider's speed: the slowest model takes 8 s."""

Colours = Literal["light", "dark"]

_RUN_AXE = """async (only) => {
    const found = await axe.run(document, {resultTypes: ["violations"], ...(only ? {runOnly: only} : {})});
    return found.violations.map(({id, help, nodes}) => ({id, help, nodes: nodes.map(({html, target, failureSummary}) =>
        ({html, target: target.join(" "), summary: failureSummary}))}));
}"""


@contextmanager
def quick_stack(home: Path, **parameters: str) -> Iterator[Stack]:
    """A stack of its own whose stand-in is quick, with these template parameters. Stopped at the end."""
    options = Options(
        port=0, provider="sandbox", time_scale=QUICK_SCALE, home=home, parameters=parameters, hurried=False
    )
    try:
        stack, _ = local_stack.up(options, lambda _: None)
        # Few frames save this machine's CPU; the credits are for many videos.
        settings = {"fps": 2, "credits": 1000}
        httpx.post(f"{stack.sandbox_url}/_sandbox/config", json=settings, trust_env=False).raise_for_status()
        yield stack
    finally:
        local_stack.down(home)


def address(stack: Stack) -> str:
    """The console's address by another name of this machine than S3's, so that S3 is another site for a browser."""
    parts = urlsplit(stack.outputs["ConsoleUrl"])
    return urlunsplit(parts._replace(netloc=f"localhost:{parts.port}"))


@dataclass
class Visitor:
    """A person with a browser: clean at first, without a key."""

    context: BrowserContext
    complaints: list[str] = field(default_factory=list)
    """What went wrong in pages: errors of scripts, and what the policy for content stopped. A browser tells of failed
    requests too, which are not among these: a wrong key is one."""

    def __post_init__(self) -> None:
        self.context.on("weberror", lambda error: self.complaints.append(f"script: {error.error}"))
        self.context.on("console", lambda message: self._hear(message.type, message.text))

    def _hear(self, kind: str, text: str) -> None:
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.complaints.append(text)

    def open(self, stack: Stack, view: str = "", *, signed_in: bool = True) -> Page:
        """Open the console in a new tab. ``view``: a path after the address."""
        page = self.context.new_page()
        page.goto(f"{address(stack)}{view}{f'#key={stack.api_key}' if signed_in else ''}")
        return page


@contextmanager
def visit(
    browser: Browser, s3: ForeignS3, *, colours: Colours = "light", width: int = 1280, height: int = 800
) -> Iterator[Visitor]:
    """A visitor with a screen of this size, who prefers these colours."""
    size: Any = {"width": width, "height": height}
    proxy: Any = s3.proxy
    with browser.new_context(
        color_scheme=colours, viewport=size, proxy=proxy, reduced_motion="reduce", timezone_id="Europe/Berlin"
    ) as context:
        try:
            yield Visitor(context)
        finally:  # a call that a page makes at its end finds no test that answers it
            for page in context.pages:
                page.unroute_all(behavior="ignoreErrors")


def violations(page: Page, *only: str) -> list[str]:
    """What axe finds wrong with the page as it is now, one line each; with ``only``, by these rules.

    Axe is run beside the page's own policy.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(_RUN_AXE, list(only) or None)
    return [f"{one['id']}: {one['help']}: {json.dumps(one['nodes'])}" for one in found]
