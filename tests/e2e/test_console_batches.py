"""A batch in the console: dropped, checked, approved, followed and cancelled, by a person in a browser."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from console_steps import MADE, card, pictures, shut, table
from deployed import Deployed
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

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


def bought(deployed: Deployed) -> list[str]:
    """The prompts of all videos that the provider was asked for."""
    return [job["body"]["prompt"] for job in deployed.sandbox("jobs")["jobs"]]


def test_a_batch_with_bad_rows_is_approved_after_its_dry_run(
    deployed: Deployed, page: Page, visitor: Visitor, tmp_path: Path
) -> None:
    good = [{"prompt": f"shoe {number} {MARKUP}", "resolution": "480p", "sku": MARKUP} for number in range(5)]
    bad = [{"prompt": "a shoe", "model": MARKUP}]
    page.locator("#choose-table").set_input_files(table(tmp_path, [*good, *bad]))
    approve = page.get_by_role("button", name=re.compile("Make 5 videos for about"))
    expect(approve).to_be_visible(timeout=MADE)
    expect(page.get_by_role("heading", name="spring.csv")).to_be_visible()
    expect(page.get_by_role("heading", name="1 row can't be used")).to_be_visible()
    expect(page.get_by_role("cell", name=re.compile(re.escape(MARKUP)))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile(r"Total 5 \$0\.\d"))).to_be_visible()
    assert not [prompt for prompt in bought(deployed) if MARKUP in prompt]  # nothing is bought yet
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
    expect(card(page, "spring-2")).to_be_visible()  # named after the file, not after its key
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
    batch = page.url.rpartition("/")[2]
    page.get_by_role("link", name="All batches").click()
    expect(page.locator(".batch-row").first).to_contain_text("spring.csv")
    assert deployed.call("GET", "/videos", params={"batch": batch}).json()["videos"] == []
    assert "a shoe that is never made" not in bought(deployed)
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
    expect(state).to_have_text("In progress", timeout=MADE)
    expect(counts).to_contain_text("1 Ready", timeout=MADE)
    expect(counts).to_contain_text("2 Waiting for its turn")
    page.get_by_role("button", name="Stop the batch").click()
    expect(page.get_by_role("dialog")).to_contain_text("Videos that were already ordered continue.")
    page.get_by_role("button", name="Stop it").click()
    expect(page.get_by_text("The batch was stopped.")).to_be_visible()
    expect(state).to_have_text("Stopped", timeout=MADE)
    expect(counts).to_contain_text("1 Ready")
    expect(counts).to_contain_text("2 Cancelled")
    expect(page.get_by_role("button", name="Stop the batch")).to_have_count(0)
    assert waits not in bought(deployed)
    assert visitor.complaints == []


HEADER = "image,prompt,resolution,sku"
ROWS = ("red.jpg,a red shoe,480p,red.jpg", '"blue, light.jpg",a blue shoe,480p,S-2', "red.jpg,again,480p,S-3")


def dropped(page: Page, *paths: Path) -> None:
    """Drop files or folders onto the page, as from a file manager.

    The browser drops nothing before it has the page's answer to the drag, and does not tell when that is. So the drag
    is repeated until the page was told of a drop.
    """
    data: dict[str, Any] = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    devtools = page.context.new_cdp_session(page)
    page.evaluate("addEventListener('drop', () => { window.wasDropped = true; }, { once: true })")
    for _ in range(10):
        for kind in ("dragEnter", "dragOver", "dragOver", "drop"):
            devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 640, "y": 400, "data": data})
        with suppress(PlaywrightTimeoutError):
            page.wait_for_function("window.wasDropped", timeout=10_000)
            break
    expect(page.locator(".drop-overlay")).to_be_hidden()


def staged(deployed: Deployed, page: Page) -> str:
    """The manifest of the batch that the page shows, as it is in the bucket."""
    found = deployed.call("GET", f"/batches/{page.url.rpartition('/')[2]}").json()["manifest"]
    body = deployed.client("s3").get_object(Bucket=found["bucket"], Key=found["key"])["Body"].read()
    return str(body.decode())


def test_a_folder_with_a_table_and_its_pictures_becomes_a_batch(
    deployed: Deployed, page: Page, visitor: Visitor, tmp_path: Path
) -> None:
    folder = tmp_path / "spring"
    (folder / "inner").mkdir(parents=True)
    pictures(folder, "red", "blue, light", "left over")
    pictures(folder / "inner", "green")
    rows = [*ROWS, "inner/green.jpg,a green shoe,480p,S-4", "images/none.jpg,a shoe,480p,S-5"]
    (folder / "spring.csv").write_text("\n".join([HEADER, *rows]), encoding="utf-8")
    (folder / "spring-1.results.csv").write_text("row,job\n")
    (folder / ".hidden").write_text("x")
    page.get_by_role("link", name="Videos", exact=True).click()
    dropped(page, folder)
    expect(page.get_by_role("button", name=re.compile("Make 4 videos for about"))).to_be_visible(timeout=MADE)
    expect(page.get_by_role("cell").filter(has_text="images/none.jpg")).to_be_visible()
    expect(page.get_by_text("1 file is not named in any row and left out.")).to_be_visible()
    lines = staged(deployed, page).split("\n")
    keys = [line.partition(",")[0] for line in lines[1:5]]
    assert keys[0] == keys[2]
    assert len(set(keys)) == 3
    shape = re.compile(r"images/posted/\d{4}-\d\d-\d\d/(red|blue-light|green)-[0-9a-f]{24}\.jpg")
    assert [shape.fullmatch(key)[1] for key in keys] == ["red", "blue-light", "red", "green"]  # type: ignore[index]
    # All else is as it was: also the cell of another column that holds a picture's name.
    names = ["red.jpg", '"blue, light.jpg"', "red.jpg", "inner/green.jpg"]
    back = [line.replace(key, name, 1) for line, key, name in zip(lines[1:5], keys, names, strict=True)]
    assert [lines[0], *back, *lines[5:]] == [HEADER, *rows]
    page.get_by_role("button", name=re.compile("Make 4 videos")).click()
    page.get_by_role("button", name="Approve and buy").click()
    expect(page.locator(".counts")).to_contain_text("4 Ready", timeout=2 * MADE)
    assert visitor.complaints == []


def test_a_table_is_chosen_together_with_its_pictures(
    deployed: Deployed, page: Page, visitor: Visitor, tmp_path: Path
) -> None:
    sheet = tmp_path / "spring.csv"
    sheet.write_bytes("\r\n".join([HEADER, *ROWS]).encode("utf-16"))
    page.locator("#choose-table").set_input_files([str(sheet), *pictures(tmp_path, "red", "blue, light")])
    expect(page.get_by_role("button", name=re.compile("Make 3 videos for about"))).to_be_visible(timeout=MADE)
    expect(page.get_by_text("Every row can be used.")).to_be_visible()
    page.get_by_role("button", name="Discard the batch").click()
    page.get_by_role("button", name="Stop it").click()
    expect(page.locator(".batch-head .pill")).to_have_text(re.compile("Stop"))
    assert visitor.complaints == []


def test_a_table_with_pictures_that_cannot_be_used_is_told_and_nothing_is_uploaded(
    deployed: Deployed, page: Page, visitor: Visitor, tmp_path: Path
) -> None:
    bucket = deployed.output("UploadBucketName")

    def keys() -> set[str]:
        listed = deployed.client("s3").list_objects_v2(Bucket=bucket)
        return {each["Key"] for each in listed.get("Contents", [])}

    before = keys()
    sheet, other = tmp_path / "spring.csv", tmp_path / "summer.csv"
    for one in (sheet, other):
        one.write_text("\n".join([HEADER, *ROWS]))
    (tmp_path / "red.jpg").write_bytes(b"")
    (tmp_path / "spring.jsonl").write_text('{"prompt": "a"}')
    lines, chooser = page.locator(".table-drop .file-problems"), page.locator("#choose-table")
    for files, says in (
        ((sheet, other), "These are several tables. Drop only one, with its pictures."),
        ((sheet, tmp_path / "red.jpg"), "red.jpg is empty."),
        ((tmp_path / "spring.jsonl", tmp_path / "red.jpg"), "Pictures can only be added to a .csv file"),
    ):
        chooser.set_input_files([str(file) for file in files])
        expect(lines).to_contain_text(says)
    assert keys() == before
    assert visitor.complaints == []
