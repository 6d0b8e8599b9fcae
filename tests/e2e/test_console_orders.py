"""What a person may say with an order besides the model's parameters, and the picture that comes back with a video."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from console_steps import MADE, card, comes, make, opened
from deployed import Deployed
from playwright.sync_api import Browser, Page, expect

from tests.console_page import Visitor, visit
from tests.foreign_s3 import ForeignS3

pytestmark = pytest.mark.e2e

SMALL = {"resolution": "480p"}
MARKUP = "<img src=x onerror=window.ran=1>"


@pytest.fixture
def page(deployed: Deployed, visitor: Visitor) -> Page:
    """The console, open and signed in, with all options in sight."""
    page = visitor.open(deployed.stack)
    page.get_by_text("More options").click()
    return page


def own(page: Page) -> list[list[str]]:
    """The pairs in the form."""
    rows: list[list[str]] = page.locator(".own-values li").evaluate_all(
        "rows => rows.map((row) => [...row.querySelectorAll('input')].map((one) => one.value))"
    )
    return rows


def found(deployed: Deployed, name: str) -> dict[str, Any]:
    """The newest job with that name."""
    listed = deployed.call("GET", "/videos", params={"source": "api", "limit": 10}).json()["videos"]
    job_id = next(job["job_id"] for job in listed if job["name"] == name)
    return dict(deployed.call("GET", f"/videos/{job_id}").json())


def test_transport_and_own_values_are_sent_shown_and_carried_over(
    deployed: Deployed, page: Page, visitor: Visitor
) -> None:
    transport = page.get_by_role("group", name="Transport")
    expect(transport).to_have_count(0)  # the first model has only one
    page.get_by_label("Model", exact=True).first.select_option("seedance-pro")
    expect(transport.get_by_label("Auto")).to_be_checked()
    transport.get_by_text("v1", exact=True).click()

    page.get_by_role("button", name="Add a value").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("sku")
    page.keyboard.press("Tab")
    page.keyboard.type(MARKUP)
    page.keyboard.press("Enter")  # adds another pair, and orders nothing
    page.keyboard.type("campaign")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Remove value 2")).to_be_focused()
    page.keyboard.press("Enter")
    assert own(page) == [["sku", MARKUP]]
    expect(page.get_by_role("button", name="Add a value")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_label("Name 2", exact=True).fill("place")

    make(page, "a shoe with a number", name="Numbered shoe")
    expect(card(page, "Numbered shoe").locator(".pill")).to_have_text("Ready", timeout=MADE)
    assert own(page) == []  # they belong to that video
    job = found(deployed, "Numbered shoe")
    assert (job["transport"], job["metadata"]) == ("v1", {"sku": MARKUP, "place": ""})
    dialog = opened(page, "Numbered shoe")
    values = dialog.locator("section").filter(has=page.get_by_role("heading", name="Your own values"))
    expect(values.locator("dt")).to_have_text(["sku", "place"])
    expect(values.locator("dd")).to_have_text([MARKUP, "(empty)"])
    expect(dialog.locator("dl > div").filter(has_text="Transport")).to_contain_text("v1")

    dialog.get_by_role("button", name="Make another like this").click()
    assert own(page) == [["sku", MARKUP], ["place", ""]]
    expect(transport.get_by_label("v1")).to_be_checked()
    make(page, "another shoe with a number", name="Second number")
    expect(card(page, "Second number").locator(".pill")).to_have_text("Ready", timeout=MADE)
    again = found(deployed, "Second number")
    assert (again["transport"], again["metadata"]) == ("v1", job["metadata"])
    assert page.evaluate("window.ran") is None
    assert visitor.complaints == []


def test_own_values_come_back_exactly_with_another_video(deployed: Deployed, page: Page) -> None:
    """A field has no line breaks, but a value that a program gave may have, and white space at its ends."""
    given = {"address": "Main Street 1\nBerlin", " padded ": " x ", "__proto__": "kept"}
    first = deployed.ended(deployed.order(prompt="a shoe", name="Told shoe", metadata=given, parameters=SMALL))
    page.reload()
    dialog = opened(page, first["name"])
    dialog.get_by_role("button", name="Make another like this").click()
    page.get_by_label("Value 3", exact=True).fill("changed ")
    make(page, "a shoe", name="Retold shoe")
    expect(card(page, "Retold shoe").locator(".pill")).not_to_have_text("Being ordered")
    assert found(deployed, "Retold shoe")["metadata"] == {**given, "__proto__": "changed"}


def test_own_values_that_are_not_allowed_are_told_at_their_field_before_anything_is_bought(
    deployed: Deployed, browser: Browser, s3: ForeignS3
) -> None:
    with visit(browser, s3, width=360, height=740) as visitor:
        page = visitor.open(deployed.stack)
        page.get_by_role("button", name="New video").click()
        page.get_by_text("More options").click()
        error = page.get_by_role("group", name="Your own values").locator(".field-error")
        for name, value in (("sku", "x" * 257), ("sku", "S-1")):
            page.get_by_role("button", name="Add a value").click()
            page.locator(".own-values li").last.get_by_placeholder("Name").fill(name)
            page.locator(".own-values li").last.get_by_placeholder("Value").fill(value)
        expect(error).to_have_text("The name sku is used twice.")
        make(page, "a shoe that is never made")
        expect(page.get_by_label("Name 2", exact=True)).to_be_focused()
        page.get_by_label("Name 2", exact=True).fill("number")
        expect(error).to_contain_text("must be text of at most 256 characters")  # the API says so
        page.get_by_label("Value 1", exact=True).fill("x" * 256)
        expect(error).to_be_hidden()
        for _ in range(18):
            page.get_by_role("button", name="Add a value").click()
        expect(page.get_by_role("button", name="Add a value")).to_be_disabled()
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert visitor.complaints == []
    names = [job["name"] for job in deployed.call("GET", "/videos", params={"limit": 20}).json()["videos"]]
    assert "a shoe that is never made" not in names


def test_the_poster_is_the_models_last_frame(deployed: Deployed, page: Page, visitor: Visitor, s3: ForeignS3) -> None:
    page.get_by_label("Model", exact=True).first.select_option("seedance-2.0-mini")
    page.get_by_label("Keep the last frame").check()
    make(page, "the end", name="Last frame")
    expect(card(page, "Last frame").locator(".pill")).to_have_text("Ready", timeout=MADE)
    poster = card(page, "Last frame").locator(".frame img")
    expect(poster).to_be_visible()
    comes(poster, "one.complete && one.naturalWidth > 0")
    video = found(deployed, "Last frame")["video"]
    shown, link = (urlsplit(each) for each in (poster.get_attribute("src") or "", video["last_frame_url"]))
    assert (shown.netloc, shown.path) == (link.netloc, link.path)
    assert shown.path.endswith(video["last_frame_key"])
    assert shown.netloc != urlsplit(page.url).netloc
    assert ("GET", 200) in [(method, status) for method, path, status in s3.asked if path.startswith(shown.path)]
    expect(card(page, "Last frame").locator("canvas, video")).to_have_count(0)  # no frame of the video instead of it
    assert visitor.complaints == []
