"""Leaving the page: the browser asks while something would be lost, and the form comes back after a reload."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from console_steps import MADE, card, held, make, pictures
from deployed import Deployed
from playwright.sync_api import Dialog, Page, expect

from tests.console_page import Visitor

pytestmark = pytest.mark.e2e

FORMS = re.compile(r"/v1/uploads$")
ORDERS = re.compile(r"/v1/videos$")
PLANS = re.compile(r"/v1/batches$")


@pytest.fixture
def page(deployed: Deployed, visitor: Visitor) -> Iterator[Page]:
    """The console, open and signed in, in which a person has pressed something: before that, browsers ask nothing."""
    page = visitor.open(deployed.stack)
    page.get_by_label("Prompt", exact=True).click()
    yield page
    assert visitor.complaints == []


def stays(page: Page) -> None:
    """Reload the page: the browser asks, and the person stays."""

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    asked: list[str] = []
    page.once("dialog", stay)
    with page.expect_event("dialog"):
        page.evaluate("setTimeout(() => location.reload())")
    assert asked == ["beforeunload"]


def leaves(page: Page) -> None:
    """Reload the page: the browser asks nothing."""

    def note(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    asked: list[str] = []
    page.on("dialog", note)
    page.reload()
    page.remove_listener("dialog", note)
    expect(page.get_by_role("heading", name="New video")).to_be_visible()
    assert asked == []


def test_a_reload_is_asked_about_while_a_picture_is_uploaded_and_not_after_that(page: Page, tmp_path: Path) -> None:
    leaves(page)
    page.get_by_label("Prompt", exact=True).click()
    forms = held(page, FORMS)
    page.locator("#choose-pictures").set_input_files(pictures(tmp_path, "red", "blue"))
    expect(page.get_by_text("Uploading, 0 %")).to_have_count(2)
    stays(page)
    page.get_by_role("button", name="Remove blue.jpg").click()  # nobody waits for that one any more
    forms[0].continue_()
    expect(page.get_by_text("Uploaded")).to_be_visible()
    leaves(page)
    expect(page.locator(".tile-name")).to_have_text(["red"])
    expect(page.get_by_text("Uploaded")).to_be_visible()


def test_a_reload_is_asked_about_while_an_order_waits(deployed: Deployed, page: Page, tmp_path: Path) -> None:
    forms, orders = held(page, FORMS), held(page, ORDERS)
    page.locator("#choose-pictures").set_input_files(pictures(tmp_path, "waiting"))
    make(page, "a shoe that waits for its picture")
    pill = card(page, "waiting").locator(".pill")
    expect(pill).to_have_text("Waits for its upload")
    stays(page)
    forms.pop().continue_()
    expect(pill).to_have_text("Being ordered")
    stays(page)
    orders.pop().continue_()
    expect(pill).to_have_text("Ready", timeout=MADE)
    leaves(page)
    found = deployed.call("GET", "/videos", params={"name_prefix": "waiting"}).json()["videos"]
    assert len(found) == 1


@pytest.mark.slow
def test_an_order_whose_picture_is_lost_is_asked_about_until_it_is_discarded(page: Page, tmp_path: Path) -> None:
    page.route(FORMS, lambda route: route.abort())
    page.locator("#choose-pictures").set_input_files(pictures(tmp_path, "lost"))
    expect(page.get_by_role("button", name="Upload lost.jpg again")).to_be_visible()
    leaves(page)  # nothing is under way, and the page says what is missing
    expect(page.locator(".composer .note")).to_have_text(re.compile("1 picture was not uploaded"))

    page.unroute(FORMS)
    forms = held(page, FORMS)
    page.locator("#choose-pictures").set_input_files(pictures(tmp_path, "lost"))
    make(page, "a shoe whose picture is lost later")
    expect(card(page, "lost").locator(".pill")).to_have_text("Waits for its upload")
    forms.pop().abort()
    expect(card(page, "lost").locator(".pill")).to_have_text("Not ordered")
    stays(page)
    card(page, "lost").get_by_role("button", name="Discard").click()
    leaves(page)


@pytest.mark.slow
def test_a_reload_is_asked_about_while_a_table_is_uploaded(page: Page, tmp_path: Path) -> None:
    plans = held(page, PLANS)
    page.get_by_role("link", name="Batches").click()
    (tmp_path / "left.csv").write_text("prompt\na shoe of a batch that is left\n")
    page.locator("#choose-table").set_input_files(str(tmp_path / "left.csv"))
    expect(page.get_by_text("Checking every row.")).to_be_visible()
    stays(page)
    plans.pop().continue_()
    page.get_by_role("button", name="Discard the batch").click(timeout=MADE)
    page.get_by_role("button", name="Stop it").click()
    expect(page.locator(".batch-head .pill")).to_have_text(re.compile("Stop"))
    page.get_by_role("link", name="Videos", exact=True).click()
    leaves(page)


@pytest.mark.slow
def test_signing_out_is_asked_about_once_and_in_the_pages_words(page: Page, tmp_path: Path) -> None:
    held(page, FORMS)
    page.locator("#choose-pictures").set_input_files(pictures(tmp_path, "red"))
    page.get_by_label("Prompt", exact=True).fill("a shoe that nobody orders")
    expect(page.get_by_text("Uploading, 0 %")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    question = page.get_by_role("dialog", name="Sign out during an upload?")
    question.get_by_role("button", name="Stay").click()
    expect(page.locator(".tile-name")).to_have_text(["red.jpg"])
    page.get_by_role("button", name="Sign out").click()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    question.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert asked == []
    assert "nobody orders" not in page.evaluate("JSON.stringify(sessionStorage)")


def test_what_is_in_the_form_outlives_a_reload_until_it_is_ordered(deployed: Deployed, page: Page) -> None:
    page.get_by_label("Model", exact=True).first.select_option("seedance-pro")
    page.get_by_label("Prompt", exact=True).fill("a shoe before a reload")
    page.get_by_text("480p", exact=True).click()
    page.get_by_text("More options").click()
    page.get_by_label("Name", exact=True).fill("Reloaded")
    page.get_by_label("Seed", exact=True).fill("77")
    page.get_by_text("v1", exact=True).click()
    page.get_by_role("button", name="Add a value").click()
    page.locator(".own-values li").last.get_by_placeholder("Name").fill("sku")
    page.locator(".own-values li").last.get_by_placeholder("Value").fill("S-1")
    leaves(page)
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a shoe before a reload")
    expect(page.get_by_label("Model", exact=True).first).to_have_value("seedance-pro")
    expect(page.get_by_label("480p")).to_be_checked()
    expect(page.get_by_label("Seed", exact=True)).to_have_value("77")  # in sight
    expect(page.get_by_role("group", name="Transport").get_by_label("v1")).to_be_checked()
    expect(page.locator(".own-values input")).to_have_count(2)
    page.locator(".composer button[type=submit]").click()
    expect(card(page, "Reloaded").locator(".pill")).to_have_text("Ready", timeout=MADE)
    (job,) = deployed.call("GET", "/videos", params={"name_prefix": "Reloaded"}).json()["videos"]
    job = deployed.call("GET", f"/videos/{job['job_id']}").json()
    assert (job["model"], job["transport"], job["metadata"]) == ("seedance-pro", "v1", {"sku": "S-1"})
    assert (job["parameters"]["seed"], job["parameters"]["resolution"]) == (77, "480p")
    leaves(page)
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("")
