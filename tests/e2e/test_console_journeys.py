"""Journeys through the console, as a person makes them: in a browser, on a deployed stack, S3 being another site."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from console_steps import MADE, card, comes, fault, make, opened, pictures, plays, shut, signed_in, slowly, watched
from deployed import Deployed, until
from playwright.sync_api import Browser, Page, expect
from seedance.jobs.job import State

from tests.console_page import Visitor, visit
from tests.copied_jobs import copies, record
from tests.foreign_s3 import ForeignS3

pytestmark = pytest.mark.e2e

SMALL = {"resolution": "480p"}
UNDER_WAY = {State.RECEIVED, State.SUBMITTING, State.QUEUED, State.PROCESSING, State.COPYING}
MARKUP = '<img src=x onerror="window.ran=1"><script>window.ran=1</script>'


@pytest.fixture
def page(deployed: Deployed, visitor: Visitor) -> Page:
    """The console, open and signed in."""
    return signed_in(visitor, deployed.stack)


@pytest.fixture(scope="module")
def ready(deployed: Deployed) -> dict[str, Any]:
    """A job whose video is ready, as the API returns it."""
    return deployed.ended(deployed.order(prompt="A shoe turns", name="Ready shoe", parameters=SMALL))


def test_a_wrong_key_is_refused_in_words_and_the_right_one_opens_the_wall(deployed: Deployed, visitor: Visitor) -> None:
    page = visitor.open(deployed.stack, signed_in=False)
    key = page.get_by_label("API key")
    expect(key).to_be_focused()
    for wrong in ("wrong", "schlüssel"):
        key.fill(wrong)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text(re.compile("This key is not valid"))
    key.fill(deployed.stack.api_key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="New video")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="New video")).to_be_visible()  # the key is kept for the tab
    assert deployed.stack.api_key not in page.url
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    page.reload()
    expect(page.get_by_label("API key")).to_be_visible()
    assert visitor.complaints == []


def test_three_pictures_become_videos_that_play_and_can_be_compared(
    deployed: Deployed, page: Page, visitor: Visitor, s3: ForeignS3, tmp_path: Path
) -> None:
    page.locator("#choose-pictures").set_input_files(pictures(tmp_path, "red", "blue", "green"))
    expect(page.get_by_text("Uploaded")).to_have_count(3)
    assert [status for method, _, status in s3.asked if method == "POST"] == [204] * 3
    expect(page.locator(".price")).to_have_text(re.compile(r"About \$0\.\d\d for 3 videos"))
    expect(page.locator(".checkout")).to_contain_text("nine of ten within")
    button = page.locator(".composer button[type=submit]")
    page.get_by_label("Prompt", exact=True).fill("The bottle turns")
    page.get_by_text("480p", exact=True).click()
    button.dblclick()  # the second click orders nothing
    names = ["red", "blue", "green"]
    for name in names:
        expect(card(page, name).locator(".pill")).to_have_text("Ready", timeout=MADE)  # without a reload
    found = deployed.call("GET", "/videos", params={"source": "api", "limit": 4}).json()["videos"]
    assert sorted(job["name"] for job in found if job["name"] in names) == sorted(names)
    expect(card(page, "red").locator("canvas")).to_be_visible()
    expect(card(page, "red").locator(".cost")).to_have_text(re.compile(r"\$0\.\d"))

    dialog = opened(page, "red")
    assert plays(dialog.locator("video")) > 0
    expect(dialog).to_contain_text("The bottle turns")
    expect(dialog.get_by_role("listitem").filter(has_text="Being sent")).to_be_visible()
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "red.mp4"
    shut(page)

    for name in names:
        card(page, name).get_by_label(f"Choose {name} to compare").check()
    page.get_by_role("button", name="Compare 3").click()
    dialog = page.get_by_role("dialog")
    videos = dialog.locator("video")
    expect(videos).to_have_count(3)
    expect(dialog.get_by_text("Seedance 1.0 Pro Fast")).to_have_count(3)
    comes(videos, "one.readyState > 2")
    slowly(videos)
    dialog.get_by_role("button", name="Play").click()
    comes(videos, "one.currentTime > 0.8")
    dialog.get_by_role("button", name="Pause").click()
    expect(dialog.get_by_role("button", name="Play")).to_be_visible()
    comes(videos, "one.paused && !one.seeking")
    times = videos.evaluate_all("all => all.map((one) => one.currentTime)")
    assert max(times) - min(times) < 0.2
    dialog.get_by_role("slider").fill("600")
    comes(videos, "Math.abs(one.currentTime - 3) < 0.2")
    assert visitor.complaints == []


def test_an_expired_link_is_renewed_and_the_video_goes_on(page: Page, ready: dict[str, Any]) -> None:
    video = opened(page, ready["name"]).locator("video")
    at = plays(video)
    # As when the link has expired meanwhile: S3 refuses its signature.
    video.evaluate("video => { video.src = video.src.replace(/Signature=[^&#]*/, 'Signature=expired'); }")
    expect(page.get_by_text("The link had expired.")).to_be_visible()
    comes(video, f"one.currentTime > {at}")


def test_a_link_is_shared_and_revoked(
    deployed: Deployed, page: Page, visitor: Visitor, browser: Browser, ready: dict[str, Any]
) -> None:
    dialog = opened(page, ready["name"])
    link = dialog.get_by_label("Link to this video").input_value()
    with browser.new_context() as stranger:  # without the key, or anything else of the team
        other = stranger.new_page()
        other.goto(link, wait_until="commit")
        other.wait_for_selector("video", state="attached")
        dialog.get_by_role("button", name="Revoke the link").click()
        page.get_by_role("button", name="Revoke it").click()
        expect(dialog.get_by_role("button", name="Make a link")).to_be_visible()
        answer = other.goto(link)
        assert answer is not None
        assert answer.status == 410
        dialog.get_by_role("button", name="Make a link").click()
        expect(dialog.get_by_label("Link to this video")).not_to_have_value(link)
        other.goto(dialog.get_by_label("Link to this video").input_value(), wait_until="commit")
        other.wait_for_selector("video", state="attached")
    assert visitor.complaints == []


def test_a_failed_video_says_why_and_what_to_do_and_is_bought_again_after_a_question(
    deployed: Deployed, page: Page, visitor: Visitor
) -> None:
    fault(deployed.stack, deployed, "an unlucky", f"No luck {MARKUP}")
    make(page, "an unlucky shoe", name="Unlucky shoe")
    failed = card(page, "Unlucky shoe")
    expect(failed.locator(".pill")).to_have_text("Failed", timeout=MADE)
    expect(failed).to_contain_text(f"The provider could not make the video: No luck {MARKUP}")
    expect(failed).to_contain_text("change them. Otherwise, try again")
    dialog = opened(page, "Unlucky shoe")
    expect(dialog).to_contain_text("Nothing")  # the cost
    dialog.get_by_role("button", name="Try again").click()
    expect(dialog).to_contain_text(re.compile(r"must be bought again. That costs about \$0\.1\d"))
    until(lambda: deployed.call("GET", "/budget").json()["in_flight"] == 0, "the end of every job")
    dialog.get_by_role("button", name=re.compile(r"Buy again, at most \$0\.1\d")).click()
    expect(dialog.locator(".pill")).to_have_text("Ready", timeout=MADE)
    assert plays(dialog.locator("video")) > 0
    assert page.evaluate("window.ran") is None
    assert visitor.complaints == []


def test_a_pause_holds_a_video_that_is_then_cancelled(deployed: Deployed, page: Page, visitor: Visitor) -> None:
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_label("Reason, for your team").fill(f"prices {MARKUP}")
    page.keyboard.press("Enter")
    try:
        banner = page.locator(".banner.warn")
        expect(banner).to_contain_text(f"prices {MARKUP}")
        make(page, "a held shoe", name="Held shoe")
        held = card(page, "Held shoe")
        expect(held.locator(".pill")).to_have_text("On hold", timeout=MADE)
        expect(held).to_contain_text("Submits are paused")
        expect(page.locator(".queue")).to_contain_text("1 on hold")
        dialog = opened(page, "Held shoe")
        dialog.get_by_role("button", name="Cancel this video").click()
        page.get_by_role("button", name="Cancel the video").click()
        expect(dialog.locator(".pill")).to_have_text("Cancelled")
        shut(page)
        banner.get_by_role("button", name="Resume").click()
        expect(banner).to_be_hidden()
    finally:
        deployed.call("POST", "/resume")
    assert page.evaluate("window.ran") is None
    assert visitor.complaints == []


def test_text_of_people_is_never_read_as_markup(deployed: Deployed, page: Page, visitor: Visitor) -> None:
    make(page, MARKUP, name=MARKUP)
    name = MARKUP.replace("/", " ")  # the name of a file has no slash
    expect(card(page, name).locator(".pill")).to_have_text("Ready", timeout=MADE)
    dialog = opened(page, name)
    expect(dialog.locator(".prompt")).to_have_text(MARKUP)
    assert dialog.locator("img, script").count() == 0
    dialog.get_by_role("button", name="Make another like this").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value(MARKUP)
    assert page.evaluate("window.ran") is None
    assert visitor.complaints == []


def test_another_video_like_this_has_its_settings(
    deployed: Deployed, page: Page, ready: dict[str, Any], tmp_path: Path
) -> None:
    dialog = opened(page, ready["name"])
    dialog.get_by_role("button", name="Make another like this").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("A shoe turns")
    expect(page.get_by_label("480p")).to_be_checked()
    expect(page.get_by_label("Seed", exact=True)).to_have_value("")


def test_a_value_that_is_not_allowed_is_told_at_its_field_before_anything_is_bought(page: Page) -> None:
    page.get_by_text("More options").click()
    page.get_by_label("Seed", exact=True).fill("0")
    expect(page.locator(".wrong .field-error")).to_contain_text("must be")
    page.get_by_label("Seed", exact=True).fill("7")
    expect(page.locator(".wrong")).to_have_count(0)


def test_a_file_that_is_no_picture_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    for name in ("phone.heic", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    page.locator("#choose-pictures").set_input_files([str(tmp_path / "phone.heic"), str(tmp_path / "notes.txt")])
    chooser = page.locator("#choose-pictures")
    expect(chooser).to_have_attribute("accept", "image/jpeg,image/png")  # iOS then makes JPEG of HEIC
    said = page.locator(".file-problems").first
    expect(said).to_contain_text("phone.heic is HEIC. Export it as JPEG")
    expect(said).to_contain_text("notes.txt can't be used")


def test_two_hundred_jobs_by_pages_and_filters(
    deployed: Deployed, page: Page, ready: dict[str, Any], visitor: Visitor
) -> None:
    copies(deployed.stack, record(deployed.stack, ready["job_id"]), range(1, 201))
    page.reload()
    expect(card(page, "Copy 1")).to_be_visible()
    last = page.get_by_role("heading", name="Copy 200", exact=True)
    page.mouse.move(800, 500)

    def scrolled() -> bool:
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(200)
        return last.count() > 0

    until(scrolled, "the last job")
    expect(last).to_be_visible()
    page.evaluate("scrollTo(0, 0)")
    page.get_by_role("searchbox").fill("Copy 19")
    expect(page.locator("li.card")).to_have_count(11)
    page.get_by_text("No video", exact=True).click()
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    page.get_by_role("button", name="Clear the filters").click()
    expect(card(page, "Copy 1")).to_be_visible()
    assert visitor.complaints == []


@pytest.mark.slow
def test_what_an_open_page_asks_the_api_for(deployed: Deployed, page: Page) -> None:
    until(lambda: not UNDER_WAY & set(deployed.states().values()), "the end of every job")
    page.reload()
    expect(page.locator(".price")).to_contain_text("About")
    page.wait_for_load_state("networkidle")
    calls = watched(page)

    def ticks() -> list[str]:
        return [call for call in calls if "created_since=" in call]

    page.wait_for_timeout(8000)
    assert len(ticks()) <= 1  # every half minute, because nothing is under way
    make(page, "a shoe that is followed", name="Followed shoe")
    expect(card(page, "Followed shoe").locator(".pill")).not_to_have_text("Being ordered")
    calls.clear()
    since = time.monotonic()
    expect(card(page, "Followed shoe").locator(".pill")).to_have_text("Ready", timeout=MADE)
    page.wait_for_timeout(2000)
    seconds = time.monotonic() - since
    looks = [call for call in calls if call.startswith("GET videos?")]
    assert all("updated_since=" in call for call in looks)
    assert 1 <= len(ticks()) <= seconds / 3 + 2
    assert len(looks) - len(ticks()) <= seconds / 60 + 1  # once a minute, it looks at all jobs


def test_on_a_phone_and_by_keyboard_alone(deployed: Deployed, browser: Browser, s3: ForeignS3) -> None:
    with visit(browser, s3, width=360, height=740) as visitor:
        page = visitor.open(deployed.stack)
        expect(page.get_by_role("button", name="New video")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the videos")).to_be_focused()
        page.get_by_role("button", name="New video").focus()
        page.keyboard.press("Enter")
        page.get_by_label("Prompt", exact=True).focus()
        page.keyboard.type("a shoe on a phone")
        page.keyboard.press("Tab")
        expect(page.get_by_label("Model", exact=True).first).to_be_focused()
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.locator(".composer button[type=submit]").evaluate("one => one === document.activeElement"):
                break
        page.keyboard.press("Enter")
        expect(page.locator("#wall-title")).to_be_focused()  # the form is closed, and its button with it
        first = card(page, "a shoe on a phone").get_by_role("link")
        expect(first).to_be_visible()
        first.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name="a shoe on a phone")).to_be_focused()
        for _ in range(15):  # the focus stays in the dialog
            page.keyboard.press("Tab")
            assert page.evaluate(
                "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
            )
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        shut(page)
        expect(first).to_be_focused()
        assert visitor.complaints == []
