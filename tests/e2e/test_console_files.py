"""Files that a person drops on the console or pastes into it: pictures and tables, anywhere on the page."""

import base64
from typing import Any

import pytest
from console_steps import MADE, opened, shut
from deployed import SAMPLE, Deployed
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.e2e

PICTURE = base64.b64encode(SAMPLE.read_bytes()).decode()
TABLE = base64.b64encode(b"prompt,resolution\na dropped shoe,480p\n").decode()

# An event as the browser makes one of a person's files. Returns whether the page keeps the browser from doing what it
# does by itself: leave the page for a file that is dropped.
SEND = """([kind, name, type, content, text]) => {
    const data = new DataTransfer();
    if (text) data.setData("text/plain", text);
    if (name) {
        const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
        data.items.add(new File([bytes], name, { type }));
    }
    const common = { bubbles: true, cancelable: true };
    const event = kind === "paste"
        ? new ClipboardEvent(kind, { ...common, clipboardData: data })
        : new DragEvent(kind, { ...common, dataTransfer: data });
    return !(document.activeElement || document.body).dispatchEvent(event);
}"""


def send(page: Page, kind: str, name: str = "", *, text: str = "") -> Any:
    """Send such an event with a file of that name."""
    picture = name.endswith(".jpg")
    return page.evaluate(SEND, [kind, name, "image/jpeg" if picture else "", PICTURE if picture else TABLE, text])


def test_pictures_are_dropped_anywhere(page: Page) -> None:
    overlay = page.locator(".drop-overlay")
    page.evaluate(f"window.drag = setInterval({SEND}, 300, ['dragover', 'red.jpg', 'image/jpeg', '', ''])")
    expect(overlay).to_be_visible()
    expect(overlay).to_contain_text("Pictures become videos. A CSV becomes a batch")
    page.evaluate("clearInterval(window.drag)")  # the drag has left: the page hears no more of it
    expect(overlay).to_be_hidden()
    assert send(page, "dragover", "red.jpg")
    assert send(page, "dragenter", "red.jpg")
    assert send(page, "drop", "red.jpg")
    expect(overlay).to_be_hidden()
    expect(page.locator(".tile-name")).to_have_text(["red.jpg"])
    expect(page.get_by_text("Uploaded")).to_have_count(1)


def test_text_that_is_dragged_or_pasted_stays_the_browsers(page: Page) -> None:
    page.get_by_label("Prompt", exact=True).focus()
    assert [send(page, kind, text="a shoe") for kind in ("dragenter", "dragover", "drop", "paste")] == [False] * 4
    expect(page.locator(".drop-overlay")).to_be_hidden()


def test_a_picture_is_pasted_also_while_the_prompt_is_written(page: Page) -> None:
    page.get_by_label("Prompt", exact=True).fill("a pasted shoe")
    assert send(page, "paste", "image.jpg")
    expect(page.locator(".tile-name")).to_have_text(["image.jpg"])
    expect(page.get_by_text("Uploaded")).to_be_visible()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a pasted shoe")


def test_a_table_that_is_dropped_on_the_wall_becomes_a_batch(page: Page) -> None:
    assert send(page, "drop", "dropped.csv")
    expect(page.get_by_role("heading", name="dropped.csv")).to_be_visible(timeout=MADE)
    page.get_by_role("button", name="Discard the batch").click(timeout=MADE)
    page.get_by_role("button", name="Stop it").click()
    expect(page.locator(".batch-head .pill")).to_have_text("Stopped")
    page.get_by_role("link", name="All batches").click()
    assert send(page, "drop", "red.jpg")
    expect(page.get_by_role("alert").get_by_text("red.jpg can't be used: a batch must be a .csv")).to_be_visible()


def test_nothing_is_dropped_behind_a_dialog(deployed: Deployed, page: Page) -> None:
    deployed.order(prompt="a shoe to look at", name="Behind", parameters={"resolution": "480p"})
    page.reload()
    opened(page, "Behind")
    send(page, "dragenter", "red.jpg")
    expect(page.locator(".drop-overlay")).to_be_hidden()
    assert send(page, "drop", "red.jpg")  # the browser does not leave the page either
    assert not send(page, "paste", "red.jpg")
    shut(page)
    expect(page.locator(".tile-name")).to_have_count(0)
