"""What goes wrong while the console is open: refused orders, lost answers, another key, many changes at once."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from console_steps import MADE, SOON, card, held, make, pictures, shut, watched
from deployed import Deployed
from playwright.sync_api import Page, Request, Route, expect

from tests.copied_jobs import copies, record

pytestmark = pytest.mark.e2e

ORDERS = re.compile(r"/v1/videos$")
LISTS = re.compile(r"/v1/videos\?.*updated_since=")
REFUSAL = {"title": "Bad Request", "status": 400, "detail": "This can't be ordered", "code": "INVALID_REQUEST"}


@pytest.fixture(scope="module")
def item(deployed: Deployed) -> dict[str, Any]:
    """The record of a job whose video is ready."""
    job_id = deployed.order(prompt="A shoe in trouble", name="Trouble", parameters={"resolution": "480p"})
    deployed.ended(job_id)
    return record(deployed.stack, job_id)


class Orders:
    """The orders of a page, which are refused or get no answer, and buy nothing."""

    def __init__(self, page: Page) -> None:
        self.sent: list[Request] = []
        self.answered = True
        page.route(ORDERS, self._answer)

    def _answer(self, route: Route) -> None:
        if route.request.method != "POST":
            route.fallback()
            return
        self.sent.append(route.request)
        if self.answered:
            route.fulfill(status=400, content_type="application/problem+json", body=json.dumps(REFUSAL))
        else:
            route.abort()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [dict(request.post_data_json or {}) for request in self.sent]

    @property
    def keys(self) -> list[str]:
        return [request.headers["idempotency-key"] for request in self.sent]


def wait(page: Page, condition: Callable[[], bool]) -> None:
    """Wait for what the page asks for. Its calls are answered while Playwright waits, and only then."""
    end = time.monotonic() + SOON / 1000
    while not condition():
        assert time.monotonic() < end
        page.wait_for_timeout(50)


def press_make(page: Page) -> None:
    """Press the form's button, later than a double click would."""
    page.wait_for_timeout(800)
    page.locator(".composer button[type=submit]").click()


def look(page: Page) -> None:
    """The page looks for changes now, instead of in half a minute."""
    page.evaluate("dispatchEvent(new Event('online'))")


def sign_in(page: Page, deployed: Deployed) -> None:
    page.get_by_label("API key").fill(deployed.stack.api_key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="New video")).to_be_visible()


# messages and dialogs ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_message_outlives_the_dialog_it_is_in_and_the_form_is_empty_after_a_click(
    deployed: Deployed, page: Page, item: dict[str, Any]
) -> None:
    orders = Orders(page)
    copies(deployed.stack, item, range(1, 3), name="Twin {}".format)
    page.reload()
    for name in ("Twin 1", "Twin 2"):
        card(page, name).get_by_label(f"Choose {name} to compare").check()
    page.get_by_role("button", name="Compare 2").click()
    page.evaluate("import('./web/dom.js').then(({ toast }) => toast('Said in the comparison'))")
    expect(page.get_by_role("dialog").get_by_text("Said in the comparison")).to_be_visible()
    shut(page)
    expect(page.get_by_text("Said in the comparison")).to_be_visible()
    make(page, "a shoe that is ordered once", name="Once")
    expect(page.get_by_text("1 video is on the way.").last).to_be_visible()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("")
    press_make(page)
    expect(page.get_by_text("Say what should happen in the video.")).to_be_visible()
    assert len(orders.sent) == 1


def test_a_fifth_video_is_not_chosen_and_the_page_says_so(deployed: Deployed, page: Page, item: dict[str, Any]) -> None:
    copies(deployed.stack, item, range(301, 306), name="Fifth {}".format)
    page.get_by_role("searchbox").fill("Fifth 30")
    boxes = [card(page, f"Fifth {number}").get_by_role("checkbox") for number in range(301, 306)]
    for box in boxes[:4]:
        box.check()
    boxes[4].click()
    expect(page.get_by_text("Up to 4 videos can be compared.")).to_be_visible()
    expect(boxes[4]).not_to_be_checked()
    expect(page.get_by_role("button", name="Compare 4")).to_be_enabled()
    page.locator("#wall-title").focus()
    for _ in range(12):  # by keyboard, without passing the cards
        page.keyboard.press("Tab")
        if page.get_by_role("button", name="Compare 4").evaluate("one => one === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").locator("video")).to_have_count(4)
    shut(page)


# refused orders ------------------------------------------------------------------------------------------------------


def test_a_refused_order_is_changed_with_all_that_it_had(page: Page, tmp_path: Path) -> None:
    orders = Orders(page)
    page.locator("details.options summary").click()
    page.get_by_label("Picture's address").fill("https://shop.example/shoe.jpg")
    page.get_by_label("Seed", exact=True).fill("77")
    page.get_by_role("button", name="Add a value").click()
    value = page.locator(".own-values li").last
    value.get_by_placeholder("Name").fill("sku")
    value.get_by_placeholder("Value").fill("S-1")
    make(page, "a shoe by its address", name="By address")
    refused = card(page, "By address")
    expect(refused).to_contain_text("This can't be ordered")
    refused.get_by_role("button", name="Change it").click()
    expect(page.get_by_label("Picture's address")).to_have_value("https://shop.example/shoe.jpg")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("77")
    expect(page.get_by_label("Name", exact=True)).to_have_value("By address")
    expect(page.locator(".composer .note")).to_contain_text("Nothing was bought.")
    press_make(page)
    wait(page, lambda: len(orders.sent) == 2)
    first, second = orders.bodies
    assert first == second
    assert (first["image"], first["metadata"]) == ("https://shop.example/shoe.jpg", {"sku": "S-1"})
    assert orders.keys[0] != orders.keys[1]

    refused.get_by_role("button", name="Discard").click()
    page.locator("#choose-pictures").set_input_files(pictures(tmp_path, "blue"))
    expect(page.get_by_text("Uploaded")).to_be_visible()
    page.wait_for_timeout(800)
    make(page, "a shoe by its picture")
    card(page, "blue").get_by_role("button", name="Change it").click()
    expect(page.locator(".tile-name")).to_have_text("blue.jpg")
    press_make(page)
    wait(page, lambda: len(orders.sent) == 4)
    assert orders.bodies[2]["image_key"] == orders.bodies[3]["image_key"]


def test_a_picture_that_could_not_be_uploaded_is_not_left_out_of_a_changed_order(page: Page, tmp_path: Path) -> None:
    orders = Orders(page)
    forms = held(page, re.compile(r"/v1/uploads$"))
    page.locator("#choose-pictures").set_input_files(pictures(tmp_path, "lost"))
    make(page, "a shoe whose picture is lost")
    expect(card(page, "lost").locator(".pill")).to_have_text("Waits for its upload")
    forms.pop().abort()
    card(page, "lost").get_by_role("button", name="Change it").click()
    expect(page.get_by_role("button", name="Upload lost.jpg again")).to_be_visible()
    press_make(page)
    expect(page.get_by_text("A picture could not be uploaded.")).to_be_visible()
    assert orders.sent == []


def test_a_picture_that_is_none_is_named_as_its_owner_knows_it(page: Page, tmp_path: Path) -> None:
    """The stack's sentence begins with a key that its owner has never seen, and a card has room for two lines."""
    (tmp_path / "fake.jpg").write_text("This is not an image.")
    page.locator("#choose-pictures").set_input_files(str(tmp_path / "fake.jpg"))
    make(page, "a picture that is none")
    refused = card(page, "fake")
    expect(refused.locator(".pill")).to_have_text("Not ordered")
    says = "fake is not an image by its content; it must be JPEG, PNG or WebP, whatever its name"
    expect(refused.locator(".reason")).to_have_text(says)


def test_a_refused_order_waits_for_a_person_also_after_a_reload(page: Page) -> None:
    orders = Orders(page)
    make(page, "a shoe that is refused", name="Refused shoe")
    refused = card(page, "Refused shoe")
    expect(refused.locator(".pill")).to_have_text("Not ordered")
    page.reload()
    expect(refused.locator(".pill")).to_have_text("Not ordered")
    expect(refused).to_contain_text("This can't be ordered")
    page.wait_for_load_state("networkidle")
    assert len(orders.sent) == 1
    refused.get_by_role("button", name="Try again").click()
    wait(page, lambda: len(orders.sent) == 2)
    assert orders.keys[0] == orders.keys[1]
    refused.get_by_role("button", name="Discard").click()
    page.reload()
    expect(page.get_by_role("heading", name="New video")).to_be_visible()
    expect(refused).to_have_count(0)


# signing out ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_signing_out_tells_how_many_orders_have_no_answer_and_forgets_them(deployed: Deployed, page: Page) -> None:
    orders = Orders(page)
    orders.answered = False
    make(page, "a shoe without an answer", name="No answer")
    expect(card(page, "No answer")).to_contain_text("No answer yet.")
    page.get_by_role("button", name="Sign out").click()
    question = page.get_by_role("dialog", name="Sign out with 1 unanswered order?")
    question.get_by_role("button", name="Stay").click()
    expect(card(page, "No answer")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    question.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    sent = len(orders.sent)
    sign_in(page, deployed)
    page.wait_for_load_state("networkidle")
    expect(card(page, "No answer")).to_have_count(0)
    assert len(orders.sent) == sent


def test_an_order_without_an_answer_is_not_sent_with_the_next_key(deployed: Deployed, page: Page) -> None:
    """For another key, the same Idempotency-Key would be another order."""
    orders = Orders(page)
    orders.answered = False
    make(page, "a shoe between two keys", name="Two keys")
    expect(card(page, "Two keys")).to_contain_text("No answer yet.")
    page.route(re.compile(r"/v1/(budget|videos\?)"), lambda route: route.fulfill(status=403, json={}))
    look(page)
    expect(page.get_by_text("The key is no longer valid.")).to_be_visible()
    page.unroute(re.compile(r"/v1/(budget|videos\?)"))
    sent = len(orders.sent)
    sign_in(page, deployed)
    expect(card(page, "Two keys").locator(".pill")).to_have_text("Not ordered")
    expect(card(page, "Two keys")).to_contain_text("this may have been ordered")
    page.wait_for_load_state("networkidle")
    assert len(orders.sent) == sent
    card(page, "Two keys").get_by_role("button", name="Discard").click()


# ticks ---------------------------------------------------------------------------------------------------------------


def spans(calls: list[str]) -> list[float]:
    """How many days back the page's ticks look for jobs; a call without an end is infinite."""
    found = []
    for call in calls:
        if call.startswith("GET videos?") and "updated_since=" in call:
            since = parse_qs(urlsplit(call).query).get("created_since")
            moment = time.mktime(time.strptime(since[0][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone if since else 0
            found.append((time.time() - moment) / 86400 if since else float("inf"))
    return found


@pytest.mark.slow
def test_a_job_that_was_held_long_ago_makes_no_tick_dear_and_its_end_is_seen(
    deployed: Deployed, page: Page, item: dict[str, Any]
) -> None:
    days = 100
    old = range(days * 1440, days * 1440 + 1)
    copies(deployed.stack, item, old, name="Long held {}".format, state={"S": "HELD"})
    name = f"Long held {old[0]}"
    page.get_by_role("searchbox").fill("Long held")
    expect(card(page, name).locator(".pill")).to_have_text("On hold")
    calls = watched(page)
    for _ in range(3):
        with page.expect_response(LISTS):
            look(page)
    ticks = [days for days in spans(calls) if days != float("inf")]  # once a minute, the page looks at all jobs
    assert len(ticks) >= 2
    assert max(ticks) < 1
    now = {"N": f"{time.time():.3f}"}
    copies(deployed.stack, item, old, name="Long held {}".format, updated_at=now)
    page.evaluate("Date.now = ((now) => () => now.call(Date) + 61000)(Date.now)")  # a minute later

    def is_ready() -> bool:
        look(page)
        page.wait_for_timeout(300)
        return card(page, name).locator(".pill").inner_text() == "Ready"

    wait(page, is_ready)


def test_more_changes_than_a_tick_reads_are_all_seen_also_over_a_lost_connection(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    asked: list[dict[str, str]] = []
    last = 12
    lost = 7

    def answer(route: Route) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(route.request.url).query).items()}
        if "created_since" not in query:  # the look at all jobs, once a minute
            route.fulfill(json={"videos": [], "next_cursor": None})
            return
        number = int(query.get("cursor", 0))
        asked.append(query)
        if number == lost and sum(one.get("cursor") == str(lost) for one in asked) == 1:
            route.abort()
            return
        begun = "2026-01-01T00:00:00.000Z"
        job: dict[str, Any] = {
            "state": "COMPLETED",
            "model": "seedance-1.0-pro",
            "source": "api",
            "batch": None,
            "metadata": {},
        }
        times = {"created_at": begun, "updated_at": begun, "cost_usd": 0.1, "error": None}
        videos = [{"job_id": f"api-{number}-{row}", "name": "Many", **job, **times} for row in range(100)]
        more = number < last and len(asked) < 40
        route.fulfill(json={"videos": videos if more else [], "next_cursor": str(number + 1) if more else None})

    page.route(LISTS, answer)

    def numbers() -> list[int]:
        return [int(one.get("cursor", 0)) for one in asked]

    def read_whole() -> bool:
        look(page)
        page.wait_for_timeout(300)
        return last in numbers()

    wait(page, read_whole)
    assert numbers()[: last + 2] == [*range(lost + 1), *range(lost, last + 1)]
    first = asked[0]["updated_since"]
    assert {one["updated_since"] for one in asked[: last + 2]} == {first}
    wait(page, lambda: read_whole() and len(asked) > last + 2)
    assert asked[last + 2]["updated_since"] > first
    assert "cursor" not in asked[last + 2]


@pytest.mark.slow
def test_a_lost_connection_is_told_on_the_batches_page_too(page: Page) -> None:
    page.get_by_role("link", name="Batches").click()
    expect(page.get_by_role("heading", name="Batches", exact=True)).to_be_visible()
    page.wait_for_load_state("networkidle")
    lost = re.compile(r"/v1/(batches|videos)\?")
    page.route(lost, lambda route: route.abort())
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # the page is looked at again
    banner = page.locator(".banner.bad")
    expect(banner).to_be_visible()
    page.unroute(lost)
    with page.expect_response(re.compile(r"/v1/batches\?")):  # at once, not in a minute
        banner.get_by_role("button", name="Try now").click()
    expect(banner).to_be_hidden()


# links ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_results_of_a_batch_are_saved_from_a_page_that_was_open_for_long(
    deployed: Deployed, page: Page, tmp_path: Path
) -> None:
    """The link that the page got at first is expired by now: S3 refuses its signature."""
    expired = 0

    def spoil(route: Route) -> None:
        nonlocal expired
        answer = route.fetch()
        if '"url"' in answer.text() and not expired:
            expired += 1
            route.fulfill(response=answer, body=re.sub(r"Signature=[^&\"]*", "Signature=expired", answer.text()))
        else:
            route.fulfill(response=answer)

    page.route(re.compile(r"/v1/batches/"), spoil)
    (tmp_path / "old.csv").write_text("prompt,model\na shoe,none\n" + "a shoe,seedance-1.0-pro-fast\n" * 9)
    page.get_by_role("link", name="Batches").click()
    page.locator("#choose-table").set_input_files(str(tmp_path / "old.csv"))
    expect(page.get_by_role("button", name="Discard the batch")).to_be_visible(timeout=MADE)
    assert expired == 1
    page.unroute_all(behavior="wait")
    with page.expect_download() as download:
        page.get_by_text("All of them as CSV").click()
    assert "none" in download.value.path().read_text(encoding="utf-8-sig")
    page.get_by_role("button", name="Discard the batch").click()
    page.get_by_role("button", name="Stop it").click()
