"""Each view of the console, light and dark, wide and on a phone: axe finds nothing wrong, nothing is cut off."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from console_steps import MADE, card, make, opened, pictures, shut, table
from deployed import Deployed, until
from playwright.sync_api import Page, expect

from tests.console_page import Visitor, violations
from tests.copied_jobs import copies, record

pytestmark = pytest.mark.e2e

SMALL = {"resolution": "480p"}
ORDERS = re.compile(r"/v1/videos$")
LISTS = re.compile(r"/v1/videos\?")


@pytest.fixture(scope="module")
def jobs(deployed: Deployed) -> list[dict[str, Any]]:
    """Two videos, and a job that failed."""
    wish = {"on": "job", "kind": "fail", "prompt_contains": "to be looked at and fail"}
    deployed.api.post(f"{deployed.stack.sandbox_url}/_sandbox/faults", json=wish).raise_for_status()
    prompts = {"Seen 1": "to be looked at", "Seen 2": "to be looked at", "Failed 1": "to be looked at and fail"}
    ids = [deployed.order(prompt=prompt, name=name, parameters=SMALL) for name, prompt in prompts.items()]
    return [deployed.ended(job_id) for job_id in ids]


@pytest.fixture
def page(deployed: Deployed, visitor: Visitor) -> Iterator[Page]:
    """The console, before anybody has signed in."""
    yield visitor.open(deployed.stack, signed_in=False)
    assert visitor.complaints == []


SPILLS = """() => [...document.querySelectorAll("body *")].filter((one) => one.clientWidth
    && one.checkVisibility() && !one.closest(".unseen") && one.scrollWidth > one.clientWidth + 1
    && getComputedStyle(one).overflowX === "visible")
    .map((one) => `${one.tagName} ${one.className}: ${one.innerText}`)"""
"""What is wider than its box, so that it may lie over something else."""


class Eye:
    """Looks at views, on a wide screen and on a phone, light and dark, in one page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: dict[str, list[str]] = {}

    def __call__(self, view: str) -> None:
        """Look at the page as it is now."""
        for width in (768, 360, 1280):  # and so the page is left as it was
            self.page.set_viewport_size({"width": width, "height": 800})
            self._note(f"{view}, {width}", self.page.evaluate(SPILLS))
            if width == 768:
                continue
            # Colours are all that the dark has of its own.
            for colours, rules in (("dark", ["color-contrast"]), ("light", [])):
                self.page.emulate_media(color_scheme=colours)  # type: ignore[arg-type]
                self._note(f"{view}, {colours}, {width}", violations(self.page, *rules))
            wide = self.page.evaluate("document.documentElement.scrollWidth")
            self._note(f"{view}, {width}", [f"is {wide} wide"] if wide > width else [])

    def _note(self, where: str, found: list[str]) -> None:
        if found:
            self.wrong[where] = found


@pytest.mark.slow
def test_nothing_is_sliced_at_common_sizes(
    deployed: Deployed, jobs: list[dict[str, Any]], visitor: Visitor, tmp_path: Path
) -> None:
    """With a picture, the form's parameters are above its price, and names and sums have room."""
    name = "Summer-campaign_2026_version_03_red_shoe_left"
    page = visitor.open(deployed.stack)
    copies(deployed.stack, record(deployed.stack, jobs[0]["job_id"]), range(250, 251), name=lambda _: name)
    budget = deployed.call("GET", "/budget").json()
    spent = {"limit_usd": 10000.0, "spent_usd": 9999.99, "left_usd": 0.0, "waiting": 1234, "held": 250}
    page.route(re.compile(r"/v1/budget$"), lambda route: route.fulfill(json={**budget, **spent}))
    page.reload()
    expect(page.get_by_text("The day's budget is used up")).to_be_visible()
    page.locator("#choose-pictures").set_input_files(pictures(tmp_path, "red"))
    expect(page.get_by_text("Uploaded")).to_be_visible()
    last = page.get_by_role("group", name="Shape").bounding_box()
    price = page.locator(".checkout").bounding_box()
    assert last is not None
    assert price is not None
    assert last["y"] + last["height"] <= price["y"]
    page.get_by_text("More options").click()
    expect(page.get_by_label("Name", exact=True)).to_be_in_viewport(ratio=1)
    page.get_by_role("searchbox").fill("Summer-")
    for width in (360, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 800})
        expect(card(page, name)).to_be_visible()
        assert card(page, name).locator("h3").evaluate("one => one.scrollHeight - one.clientHeight") <= 1
        assert page.evaluate(SPILLS) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
    assert visitor.complaints == []


def test_axe_finds_nothing_in_any_view(
    deployed: Deployed, jobs: list[dict[str, Any]], page: Page, tmp_path: Path
) -> None:
    look = Eye(page)
    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    look("sign in")
    page.route(LISTS, lambda route: route.fulfill(json={"videos": [], "next_cursor": None}))
    page.get_by_label("API key").fill(deployed.stack.api_key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Your first video starts with a picture")).to_be_visible()
    look("empty wall")
    page.unroute(LISTS)
    page.reload()
    expect(card(page, "Seen 1").locator("canvas").first).to_be_visible()
    look("wall")
    _views_of_trouble(page, look)
    _views_of_the_wall(page, look)
    _batches(page, look, tmp_path)
    assert look.wrong == {}


def _views_of_trouble(page: Page, look: Eye) -> None:
    refusal = {"title": "Bad Request", "status": 400, "detail": "This can't be ordered", "code": "INVALID_REQUEST"}
    page.route(ORDERS, lambda route: route.fulfill(status=400, json=refusal))
    make(page, "a shoe to be refused")
    refused = card(page, "a shoe to be refused")
    expect(refused).to_contain_text("This can't be ordered")
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_label("Reason, for your team").fill("prices are being checked " * 9)
    page.keyboard.press("Enter")
    expect(page.locator(".banner.warn")).to_be_visible()
    page.route(LISTS, lambda route: route.abort())

    def lost() -> bool:
        page.evaluate("dispatchEvent(new Event('online'))")  # ignored while the page asks already
        page.wait_for_timeout(500)
        return page.locator(".banner.bad").is_visible()

    until(lost, "a lost connection")
    look("refused order, paused, no connection")
    page.unroute(ORDERS)
    page.unroute(LISTS)
    page.get_by_role("button", name="Try now").click()
    page.get_by_role("button", name="Resume").click()
    refused.get_by_role("button", name="Discard").click()
    expect(page.locator(".banner.warn")).to_be_hidden()


def _views_of_the_wall(page: Page, look: Eye) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    page.get_by_role("button", name="New video").click()
    page.set_viewport_size({"width": 1280, "height": 800})
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


def _batches(page: Page, look: Eye, folder: Path) -> None:
    page.get_by_role("link", name="Batches").click()
    expect(page.get_by_role("heading", name="Batches", exact=True)).to_be_visible()
    rows = [{"prompt": f"a shoe {number}", "resolution": "480p"} for number in range(4)]
    page.locator("#choose-table").set_input_files(table(folder, [*rows, {"prompt": "a shoe", "model": "none"}]))
    expect(page.get_by_role("button", name="Discard the batch")).to_be_visible(timeout=MADE)
    look("dry run")
    page.get_by_role("button", name=re.compile("Make 4 videos for about")).click()
    page.get_by_role("button", name="Approve and buy").click()
    state = page.locator(".batch-head .pill")
    expect(state).to_have_text("In progress", timeout=MADE)
    look("running batch")
    expect(state).to_have_text("Done", timeout=MADE)
    look("finished batch")
    page.get_by_role("link", name="All batches").click()
    expect(page.locator(".batch-row").first).to_be_visible()
    look("batches")
