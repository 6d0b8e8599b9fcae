"""A batch in the console: dropped, checked, approved, followed and cancelled, by a person in a browser."""

import re
from pathlib import Path

import pytest
from console_steps import MADE, card, shut, table
from deployed import Deployed
from playwright.sync_api import Page, expect

from tests.console_page import Visitor

pytestmark = pytest.mark.e2e

MARKUP = "<img src=x onerror=window.ran=1>"


@pytest.fixture
def page(deployed: Deployed, visitor: Visitor) -> Page:
    """The console's batches."""
    page = visitor.open(deployed.stack)
    page.get_by_role("link", name="Batches").click()
    expect(page.get_by_role("heading", name="Batches", exact=True)).to_be_visible()
    return page


def test_a_batch_with_bad_rows_is_approved_after_its_dry_run(
    deployed: Deployed, page: Page, visitor: Visitor, tmp_path: Path
) -> None:
    good = [{"prompt": f"shoe {number} {MARKUP}", "resolution": "480p", "sku": MARKUP} for number in range(5)]
    bad = [{"prompt": "a shoe", "model": MARKUP}]
    before = deployed.call("GET", "/budget").json()["spent_usd"]
    page.locator("#choose-table").set_input_files(table(tmp_path, [*good, *bad]))
    approve = page.get_by_role("button", name=re.compile("Make 5 videos for about"))
    expect(approve).to_be_visible(timeout=MADE)
    expect(page.get_by_role("heading", name="spring.csv")).to_be_visible()
    expect(page.get_by_role("heading", name="1 row can't be used")).to_be_visible()
    expect(page.get_by_role("cell", name=re.compile(re.escape(MARKUP)))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile(r"Total 5 \$0\.\d"))).to_be_visible()
    assert deployed.call("GET", "/budget").json()["spent_usd"] == before  # nothing is bought yet
    approve.click()
    page.get_by_role("button", name="Approve and buy").click()
    expect(page.locator(".batch-head .pill")).to_have_text("Done", timeout=2 * MADE)
    expect(page.locator(".counts")).to_contain_text("5 Ready")
    expect(page.locator(".counts")).to_contain_text("1 Not accepted")
    with page.expect_download() as download:
        page.get_by_role("button", name="Results as CSV").click()
    assert MARKUP in download.value.path().read_text(encoding="utf-8-sig")
    page.get_by_role("link", name="Show its videos").click()
    expect(page.locator("li.card")).to_have_count(5)
    page.locator("li.card").first.get_by_role("link").click()
    expect(page.get_by_role("dialog").locator(".prompt")).to_contain_text(MARKUP)
    shut(page)
    page.get_by_role("link", name="Show all videos").click()
    assert page.evaluate("window.ran") is None
    assert visitor.complaints == []


def test_a_planned_batch_is_discarded_and_buys_nothing(
    deployed: Deployed, page: Page, visitor: Visitor, tmp_path: Path
) -> None:
    page.locator("#choose-table").set_input_files(table(tmp_path, [{"prompt": "a shoe that is never made"}]))
    page.get_by_role("button", name="Discard the batch").click(timeout=MADE)
    page.get_by_role("button", name="Stop it").click()
    expect(page.locator(".batch-head .pill")).to_have_text(re.compile("Stop"))
    page.get_by_role("link", name="All batches").click()
    expect(page.locator(".batch-row").first).to_contain_text("spring.csv")
    page.get_by_role("link", name="Videos", exact=True).click()
    assert card(page, "a shoe that is never made").count() == 0
    assert visitor.complaints == []


def test_a_batch_is_stopped_while_it_runs_and_what_waits_is_never_bought(
    deployed: Deployed, page: Page, visitor: Visitor, tmp_path: Path
) -> None:
    """The provider takes one row and refuses the others for now."""
    waits = "a shoe of a stopped batch that waits"
    wish = {"on": "submit", "kind": "http-429", "prompt_contains": waits, "times": 0}
    deployed.api.post(f"{deployed.stack.sandbox_url}/_sandbox/faults", json=wish).raise_for_status()
    rows = [{"prompt": prompt, "resolution": "480p"} for prompt in ("a shoe of a stopped batch", waits, waits)]
    page.locator("#choose-table").set_input_files(table(tmp_path, rows))
    page.get_by_role("button", name=re.compile("Make 3 videos for about")).click(timeout=MADE)
    page.get_by_role("button", name="Approve and buy").click()
    state, counts = page.locator(".batch-head .pill"), page.locator(".counts")
    expect(state).to_have_text("Under way", timeout=MADE)
    expect(counts).to_contain_text("1 Ready", timeout=MADE)
    expect(counts).to_contain_text("2 Waiting for its turn")
    page.get_by_role("button", name="Stop the batch").click()
    expect(page.get_by_role("dialog")).to_contain_text("Those that were ordered go on.")
    page.get_by_role("button", name="Stop it").click()
    expect(page.get_by_text("The batch was stopped.")).to_be_visible()
    expect(state).to_have_text("Stopped", timeout=MADE)
    expect(counts).to_contain_text("1 Ready")
    expect(counts).to_contain_text("2 Cancelled")
    expect(page.get_by_role("button", name="Stop the batch")).to_have_count(0)
    bought = [job["body"]["prompt"] for job in deployed.sandbox("jobs")["jobs"]]
    assert waits not in bought
    assert visitor.complaints == []
