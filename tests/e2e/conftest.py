"""One stack for all end-to-end tests: the real template on the embedded emulator, torn down whatever happens."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import browser, context  # noqa: F401 - fixtures
from console_steps import signed_in
from deployed import Deployed
from playwright.sync_api import Browser, Page

from local import stack as local_stack
from tests.console_page import Visitor, visit
from tests.foreign_s3 import ForeignS3, foreign_s3

TIME_SCALE = 0.05
"""Twenty times the provider's speed: the slowest model takes 8 s, and a poll still costs a process."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a quiet stack comes first: the pages, which must change nothing, and the sync programs.

    The latter's tests wait for an empty queue. Other tests deliver a message twice on purpose, and the second one comes
    back after the queue's visibility timeout.
    """
    first = ["test_browser.py", "test_deployed_syncs.py"]
    items.sort(key=lambda item: first.index(item.path.name) if item.path.name in first else len(first))


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The stack."""
    if not (Path(sys.executable).parent / "ministack").exists():
        pytest.skip("no emulator is installed; `pip install -e .` brings it")
    home = tmp_path_factory.mktemp("stack")
    options = local_stack.Options(port=0, provider="sandbox", time_scale=TIME_SCALE, home=home, hurried=False)
    try:
        stack, _ = local_stack.up(options, lambda _: None)
        world = Deployed(stack)
        world.configure()
        yield world
    finally:
        local_stack.down(home)


@pytest.fixture
def s3(deployed: Deployed) -> Iterator[ForeignS3]:
    """S3 as the browser of a visitor sees it: another site, with the buckets' own CORS rules."""
    with foreign_s3(deployed.stack.endpoint_url, deployed.client("s3")) as found:
        yield found


@pytest.fixture
def visitor(browser: Browser, s3: ForeignS3) -> Iterator[Visitor]:  # noqa: F811 - the fixture
    """A person who visits the console."""
    with visit(browser, s3) as found:
        yield found


@pytest.fixture
def page(deployed: Deployed, visitor: Visitor) -> Iterator[Page]:
    """The console, open and signed in. Whatever happens in it, no script fails."""
    yield signed_in(visitor, deployed.stack)
    assert visitor.complaints == []
