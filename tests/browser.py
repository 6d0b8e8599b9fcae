"""A real browser for tests: Chromium, driven by Playwright. `make browser` unpacks it.

A test asks for the fixture `context`, whose pages share cookies, or for `browser` to make several of them.
"""

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

UNPACKED = Path(__file__).parents[1] / ".seedance/browser"
INSTALLED = (
    *("google-chrome", "chromium", "chromium-browser"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
ARGUMENTS = [
    *("--headless=shell", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"),
    # Every *.example is this machine, as after DNS rebinding, and nothing else can be reached.
    "--host-resolver-rules=MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE *localhost",
]


def executable() -> Path | None:
    """The browser: the unpacked one, or one that is installed on this machine."""
    unpacked = UNPACKED / "chromium"
    if unpacked.exists():
        return unpacked
    return next((Path(found) for name in INSTALLED if (found := shutil.which(name))), None)


def environment(found: Path) -> dict[str, str]:
    """The variables that the unpacked browser needs: it brings the libraries and the font that small systems lack."""
    if found.parent != UNPACKED:
        return {}
    return {"LD_LIBRARY_PATH": str(UNPACKED / "al2023/lib"), "FONTCONFIG_PATH": str(UNPACKED / "fonts")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, started once for a module. It reaches only this machine."""
    found = executable()
    if found is None:
        packed = platform.system() == "Linux" and platform.machine() == "x86_64"
        pytest.skip(f"no browser: {'run `make browser`' if packed else 'install Google Chrome or Chromium'}")
    proxies = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
    ambient = {name: value for name, value in os.environ.items() if name.lower() not in proxies}
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=found, args=ARGUMENTS, env={**ambient, **environment(found)}
        )
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A place for pages, without cookies or anything else of another test."""
    with browser.new_context() as found:
        yield found
