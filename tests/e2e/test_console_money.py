"""The console when money or the stack runs out: on a stack of its own, with a small budget, that can be stopped."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from console_steps import MADE, card, make, opened, shut
from playwright.sync_api import Browser, Page, Route, expect

from local import aws
from local import stack as local_stack
from local.stack import Options, Stack
from tests.console_page import QUICK_SCALE, Visitor, visit
from tests.foreign_s3 import foreign_s3

pytestmark = pytest.mark.e2e

TWO_CHEAP_ONES = "0.30"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stack."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def stack(home: Path) -> Iterator[Stack]:
    """A stack that can be stopped and started again, with a budget for two of the cheapest videos a day."""
    budget = {"DailyBudgetUsd": TWO_CHEAP_ONES}
    options = Options(
        port=0, provider="sandbox", time_scale=QUICK_SCALE, home=home, keep=True, parameters=budget, hurried=False
    )
    try:
        made, _ = local_stack.up(options, lambda _: None)
        httpx.post(f"{made.sandbox_url}/_sandbox/config", json={"fps": 2}, trust_env=False).raise_for_status()
        yield made
    finally:
        local_stack.down(home)


@pytest.fixture
def visitor(browser: Browser, stack: Stack) -> Iterator[Visitor]:
    """A person who visits the console of that stack."""
    with foreign_s3(stack.endpoint_url, aws.client(stack.access, "s3")) as s3, visit(browser, s3) as found:
        yield found


@pytest.fixture
def page(stack: Stack, visitor: Visitor) -> Page:
    """The console, open and signed in."""
    page = visitor.open(stack)
    expect(page.get_by_role("heading", name="New video")).to_be_visible()
    return page


def test_an_order_whose_answer_is_lost_is_one_video(page: Page, visitor: Visitor) -> None:
    expect(page.locator(".spent")).to_have_text("$0.00 of $0.30 today")
    expect(page.get_by_role("heading", name="Your first video starts with a picture")).to_be_visible()
    keys: list[str] = []

    def lose_the_answer(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        route.fetch()
        route.abort()

    page.route(re.compile(r"/v1/videos$"), lose_the_answer)
    with page.expect_request(lambda request: request.method == "POST" and request.url.endswith("/videos")):
        make(page, "a shoe in a storm", name="Storm")
    expect(card(page, "Storm")).to_contain_text("No answer yet. Asking again, without ordering twice.")
    page.unroute_all(behavior="ignoreErrors")
    page.reload()  # the key of the order outlives the page
    expect(page.locator("li.card")).to_have_count(1)
    expect(card(page, "Storm").locator(".pill")).to_have_text("Ready", timeout=MADE)
    assert len(set(keys)) == 1
    assert visitor.complaints == []


def test_a_stack_that_stops_and_returns_is_told_and_an_order_waits_for_it(
    page: Page, home: Path, visitor: Visitor
) -> None:
    with ThreadPoolExecutor(1) as beside:
        restarted = beside.submit(local_stack.restart, home)
        banner = page.locator(".banner.bad")
        while not restarted.done() and banner.is_hidden():
            page.evaluate("dispatchEvent(new Event('online'))")  # look now, instead of in half a minute
            page.wait_for_timeout(100)
        expect(banner).to_contain_text("No connection to the stack.")
        assert not restarted.done()
        make(page, "a shoe in the dark", name="Dark")
        expect(card(page, "Dark")).to_contain_text("No answer yet.")
        restarted.result()
    expect(banner).to_be_hidden(timeout=MADE)
    expect(page.locator("li.card")).to_have_count(2)
    expect(card(page, "Dark").locator(".pill")).to_have_text("Ready", timeout=MADE)
    assert visitor.complaints == []


def test_a_spent_budget_is_told_and_holds_the_next_video(page: Page, visitor: Visitor) -> None:
    """After the two videos above."""
    expect(page.locator(".spent")).to_have_text("$0.24 of $0.30 today")
    expect(page.locator(".left")).to_have_text("$0.06 left")
    make(page, "a shoe too many", name="Too many")
    held = card(page, "Too many")
    expect(held.locator(".pill")).to_have_text("On hold", timeout=MADE)
    expect(held).to_contain_text("goes on by itself when the next day's budget starts")
    expect(page.locator(".queue")).to_contain_text("1 on hold")
    dialog = opened(page, "Too many")
    expect(dialog.get_by_role("button", name="Cancel this video")).to_be_visible()
    shut(page)
    assert visitor.complaints == []
