"""What a person does in the console, step by step, for the tests of its journeys."""

import csv
import re
from pathlib import Path
from typing import Any

from deployed import SAMPLE, Deployed, until
from playwright.sync_api import Locator, Page, Route, expect

from local.stack import Stack
from tests.console_page import Visitor

SOON = 30_000
"""Milliseconds for what the page shows by itself: a job takes some seconds, and a tick three. A loaded machine takes
ten times as long for a call."""

MADE = 120_000
"""Milliseconds until a video is made, on a machine that does other things too."""

expect.set_options(timeout=SOON)


def signed_in(visitor: Visitor, stack: Stack) -> Page:
    """The console, open and signed in."""
    page = visitor.open(stack)
    expect(page.get_by_role("heading", name="New video")).to_be_visible()
    return page


def card(page: Page, name: str) -> Locator:
    """The cards with that name."""
    return page.locator("li.card").filter(has=page.get_by_role("heading", name=name, exact=True))


def pictures(folder: Path, *names: str) -> list[str]:
    """The sample picture, as files with these names."""
    paths = [folder / f"{name}.jpg" for name in names]
    for path in paths:
        path.write_bytes(SAMPLE.read_bytes())
    return [str(path) for path in paths]


def make(page: Page, prompt: str, name: str = "", resolution: str = "480p") -> None:
    """Fill the form and press its button."""
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.locator(".composer").get_by_text(resolution, exact=True).click()  # a closing dialog has such a text too
    if name:
        options = page.locator("details.options")
        if options.get_attribute("open") is None:
            options.locator("summary").click()
        page.get_by_label("Name", exact=True).fill(name)
    page.locator(".composer button[type=submit]").click()


def opened(page: Page, name: str) -> Locator:
    """The dialog of a job, opened by its card."""
    card(page, name).first.get_by_role("link").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name=name, exact=True)).to_be_visible()
    return dialog


def shut(page: Page) -> None:
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)


def plays(video: Locator) -> float:
    """Let a video play, without sound, until it has advanced; how far it is."""
    video.evaluate("video => { video.muted = true; return video.play(); }")
    return float(
        video.evaluate(
            """video => new Promise((done) => {
                const begun = video.currentTime;
                const look = () => { if (video.currentTime > begun + 0.3) done(video.currentTime); };
                video.addEventListener("timeupdate", look);
            })"""
        )
    )


def comes(found: Locator, condition: str) -> None:
    """Wait until the condition is true for each element, which is called ``one`` in it."""
    until(lambda: found.evaluate_all(f"all => all.every((one) => {condition})"), condition, SOON / 1000)


def slowly(found: Locator) -> None:
    """Let these videos play at a quarter of their speed: what follows happens before they end."""
    found.evaluate_all("all => all.forEach((one) => { one.playbackRate = 0.25; })")


def fault(stack: Stack, deployed: Deployed, prompt: str, error: str) -> None:
    """The provider fails the videos with that prompt, once, for this reason."""
    wish = {"on": "job", "kind": "fail", "prompt_contains": prompt, "error": error}
    deployed.api.post(f"{stack.sandbox_url}/_sandbox/faults", json=wish).raise_for_status()


def held(page: Page, address: re.Pattern[str]) -> list[Route]:
    """The POST calls of an address from now on. Each waits until the test lets it go on."""
    waiting: list[Route] = []

    def keep(route: Route) -> None:
        if route.request.method == "POST":
            waiting.append(route)
        else:
            route.fallback()

    page.route(address, keep)
    return waiting


def watched(page: Page) -> list[str]:
    """The calls of the API that the page makes from now on, as METHOD path?query."""
    seen: list[str] = []

    def keep(request: Any) -> None:
        if found := re.search(r"/v1/(?!web/)(.*)", request.url):
            seen.append(f"{request.method} {found[1]}")

    page.on("request", keep)
    return seen


def table(folder: Path, rows: list[dict[str, Any]]) -> str:
    """A manifest with these rows, as a CSV file."""
    path = folder / "spring.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)
