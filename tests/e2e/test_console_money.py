"""The console when money or the stack runs out: on a stack of its own, with a small budget."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from console_steps import MADE, card, make, opened, shut, signed_in
from playwright.sync_api import Browser, Page, Route, expect

from local import aws
from local.stack import Stack
from tests.console_page import Visitor, quick_stack, visit
from tests.foreign_s3 import foreign_s3

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own, with a budget for two of the cheapest videos a day."""
    with quick_stack(tmp_path_factory.mktemp("small"), DailyBudgetUsd="0.30") as made:
        yield made


@contextmanager
def stopped(stack: Stack) -> Iterator[None]:
    """The local AWS does not answer for a while."""
    os.kill(stack.pids["emulator"], signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(stack.pids["emulator"], signal.SIGCONT)


@pytest.fixture
def visitor(browser: Browser, stack: Stack) -> Iterator[Visitor]:
    """A person who visits the console of that stack."""
    with foreign_s3(stack.endpoint_url, aws.client(stack.access, "s3")) as s3, visit(browser, s3) as found:
        yield found


@pytest.fixture
def page(stack: Stack, visitor: Visitor) -> Page:
    """The console, open and signed in."""
    return signed_in(visitor, stack)


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
    expect(card(page, "Storm")).to_contain_text("No answer yet. Trying again; nothing is ordered twice.")
    page.unroute_all(behavior="ignoreErrors")
    page.reload()  # the key of the order outlives the page
    expect(page.locator(".cost").first).to_be_attached()  # the list is there
    expect(page.get_by_text("Being ordered")).to_have_count(0)
    expect(page.locator("li.card")).to_have_count(1)
    expect(card(page, "Storm").locator(".pill")).to_have_text("Ready", timeout=MADE)
    assert len(set(keys)) == 1
    assert visitor.complaints == []


def test_a_stack_that_stops_and_returns_is_told_and_an_order_waits_for_it(
    page: Page, stack: Stack, visitor: Visitor
) -> None:
    banner = page.locator(".banner.bad")
    with stopped(stack):
        page.evaluate("dispatchEvent(new Event('online'))")  # look now, instead of in half a minute
        make(page, "a shoe in the dark", name="Dark")
        expect(banner).to_contain_text("No connection to the stack.")
        expect(card(page, "Dark").locator(".pill")).to_have_text("Being ordered")
    banner.get_by_role("button", name="Try now").click()
    expect(banner).to_be_hidden(timeout=MADE)
    expect(page.locator("li.card")).to_have_count(2)
    expect(card(page, "Dark").locator(".pill")).to_have_text("Ready", timeout=MADE)
    assert visitor.complaints == []


def test_a_spent_budget_is_told_and_holds_the_next_video(page: Page, visitor: Visitor) -> None:
    """After the two videos above."""
    expect(page.locator(".spent")).to_have_text(re.compile(r"\$0\.2\d of \$0\.30 today"))
    expect(page.locator(".left")).to_have_text(re.compile(r"\$0\.0\d+ left"))
    make(page, "a shoe too many", name="Too many")
    held = card(page, "Too many")
    expect(held.locator(".pill")).to_have_text("On hold", timeout=MADE)
    expect(held).to_contain_text("continues by itself when the next day's budget starts")
    expect(page.locator(".queue")).to_contain_text("1 on hold")
    dialog = opened(page, "Too many")
    expect(dialog.get_by_role("button", name="Cancel this video")).to_be_visible()
    shut(page)
    assert visitor.complaints == []
