"""Each view of the console, in light and dark: axe finds nothing wrong, and nothing is wider than a phone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from console_steps import MADE, card, opened, shut, table
from deployed import Deployed
from playwright.sync_api import Browser, Page, expect

from tests.console_page import Colours, Visitor, violations, visit
from tests.foreign_s3 import ForeignS3

pytestmark = pytest.mark.e2e

SMALL = {"resolution": "480p"}


@pytest.fixture(scope="module")
def jobs(deployed: Deployed) -> list[dict[str, Any]]:
    """Two videos, and a job that failed."""
    wish = {"on": "job", "kind": "fail", "prompt_contains": "to be looked at and fail"}
    deployed.api.post(f"{deployed.stack.sandbox_url}/_sandbox/faults", json=wish).raise_for_status()
    prompts = {"Seen 1": "to be looked at", "Seen 2": "to be looked at", "Failed 1": "to be looked at and fail"}
    ids = [deployed.order(prompt=prompt, name=name, parameters=SMALL) for name, prompt in prompts.items()]
    return [deployed.ended(job_id) for job_id in ids]


@pytest.fixture(params=["light", "dark"])
def visitor(request: pytest.FixtureRequest, browser: Browser, s3: ForeignS3) -> Iterator[Visitor]:
    """A visitor who prefers these colours, with a small screen in the dark."""
    colours: Colours = request.param
    with visit(browser, s3, colours=colours, width=1280 if colours == "light" else 360) as found:
        yield found


def test_axe_finds_nothing_in_any_view(
    deployed: Deployed, jobs: list[dict[str, Any]], visitor: Visitor, tmp_path: Path
) -> None:
    wrong: dict[str, list[str]] = {}
    page = visitor.open(deployed.stack, signed_in=False)

    def look(view: str) -> None:
        if found := violations(page):
            wrong[view] = found
        width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        if width[0] > width[1]:
            wrong[f"{view} is too wide"] = [str(width)]

    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    look("sign in")
    page.get_by_label("API key").fill(deployed.stack.api_key)
    page.keyboard.press("Enter")
    expect(card(page, "Seen 1").locator("canvas").first).to_be_visible()
    look("wall")
    _views_of_the_wall(page, look)
    _batches(page, look, tmp_path)
    assert wrong == {}
    assert visitor.complaints == []


def _views_of_the_wall(page: Page, look: Callable[[str], None]) -> None:
    opener = page.get_by_role("button", name="New video")
    if opener.is_visible():
        opener.click()
    page.get_by_label("Model", exact=True).first.select_option("seedance-2.0-mini")
    page.locator("details.options summary").click()
    look("form")
    page.get_by_label("Model", exact=True).first.select_option("seedance-pro")
    page.get_by_text("v1", exact=True).click()
    for name, value in (("sku", "a long value " * 30), ("", "a value without a name")):
        page.get_by_role("button", name="Add a value").click()
        page.locator(".own-values li").last.get_by_placeholder("Name").fill(name)
        page.locator(".own-values li").last.get_by_placeholder("Value").fill(value)
    expect(page.locator(".wrong .field-error")).to_contain_text("must be text of at most 256 characters")
    look("transport and own values")
    opened(page, "Seen 1")
    expect(page.locator("dialog .timeline li").first).to_be_visible()
    look("video")
    page.get_by_role("button", name="Revoke the link").click()
    look("question")
    page.get_by_role("button", name="Dismiss").click()
    shut(page)
    opened(page, "Failed 1")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("button", name="Don't buy")).to_be_visible()
    look("failed")
    shut(page)
    for name in ("Seen 1", "Seen 2"):
        card(page, name).get_by_label(f"Choose {name} to compare").check()
    look("choice")
    page.get_by_role("button", name="Compare 2").click()
    expect(page.locator("dialog video")).to_have_count(2)
    look("compare")
    shut(page)
    page.get_by_role("searchbox").fill("there is no such name")
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    look("nothing matches")


def _batches(page: Page, look: Callable[[str], None], folder: Path) -> None:
    page.get_by_role("link", name="Batches").click()
    expect(page.get_by_role("heading", name="Batches", exact=True)).to_be_visible()
    rows = [{"prompt": f"a shoe {number}"} for number in range(9)]
    page.locator("#choose-table").set_input_files(table(folder, [*rows, {"prompt": "a shoe", "model": "none"}]))
    expect(page.get_by_role("button", name="Discard the batch")).to_be_visible(timeout=MADE)
    look("dry run")
    page.get_by_role("link", name="All batches").click()
    expect(page.locator(".batch-row").first).to_be_visible()
    look("batches")
