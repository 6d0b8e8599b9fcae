"""Measures how heavy the console's page is, and how soon it paints, beside a page of one file and one line.

Both pages come from a Lambda function behind the local stack's gateway, into a real browser with an empty cache. The
ratio shows what the console's own files add. Needs the browser of the tests (`make browser`).
``python -m benchmarks.console_page 5`` opens each page five times.
"""

import gzip
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

from playwright.sync_api import Browser, sync_playwright

from benchmarks.api_warm import bare_proxy
from benchmarks.report import Table, in_turns, median_ratio, publish
from local import stack as local_stack
from local.stack import Options, Stack
from tests.browser import ARGUMENTS, environment, executable

WEB = Path(__file__).parents[1] / "web"
ROUNDS = 20
BARE = """
def handler(event, context):
    return {"statusCode": 200, "headers": {"Content-Type": "text/html"}, "body": "<!doctype html><p>Videos</p>"}
"""
_PAINT = """() => new Promise((done) => new PerformanceObserver((list) => {
    const paint = list.getEntriesByName("first-contentful-paint")[0];
    if (paint) done(paint.startTime);
}).observe({type: "paint", buffered: true}))"""
NOTE = """Medians of {rounds} visits with an empty cache, to functions that are warm. First paint is the browser's
first-contentful-paint, counted from the beginning of the navigation. The console is {files} files of {size:.0f} KB,
{zipped:.1f} KB with gzip (each file alone, as API Gateway compresses them); 80 KB is the limit, which a test holds."""


def weight() -> tuple[int, float, float]:
    """The number of the console's files, their size, and their size with gzip, in KB (1000 bytes)."""
    contents = [path.read_bytes() for path in WEB.iterdir() if path.is_file()]
    return len(contents), sum(map(len, contents)) / 1000, sum(len(gzip.compress(one)) for one in contents) / 1000


def first_paint(browser: Browser, address: str) -> Callable[[], float]:
    """A measurement of a visit, in milliseconds until something is seen."""

    def measure() -> float:
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(address, wait_until="commit")
            return float(page.evaluate(_PAINT))

    return measure


def _measure(stack: Stack, rounds: int) -> dict[str, list[float]]:
    found = executable()
    if found is None:
        raise SystemExit("no browser: run `make browser`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS, env={**environment(found)})
        visits = {
            "page of one line": first_paint(browser, bare_proxy(stack, BARE)),
            "console, signed out": first_paint(browser, stack.outputs["ConsoleUrl"]),
            "console, signed in": first_paint(browser, f"{stack.outputs['ConsoleUrl']}#key={stack.api_key}"),
        }
        for visit in visits.values():  # the functions' cold start
            visit()
        samples = in_turns(rounds, visits)
        browser.close()
    return samples


def main(rounds: int = ROUNDS) -> None:
    """Open all pages in turns; print and publish the table."""
    with tempfile.TemporaryDirectory(prefix="console-page-") as home:
        try:
            stack, _ = local_stack.up(Options(port=0, provider="sandbox", home=Path(home)), print)
            samples = _measure(stack, rounds)
        finally:
            local_stack.down(Path(home))
    publish(_table(samples, rounds))


def _table(samples: dict[str, list[float]], rounds: int) -> Table:
    bare = samples["page of one line"]
    rows = [
        [name, f"{median(times):.0f}", f"{quantiles(times, n=20)[-1]:.0f}", f"{median_ratio(times, bare):.2f}"]
        for name, times in samples.items()
    ]
    files, size, zipped = weight()
    return Table(
        "console_page",
        "The console's page",
        ["page", "first paint, median (ms)", "p95 (ms)", "vs. one line"],
        rows,
        [NOTE.format(rounds=rounds, files=files, size=size, zipped=zipped)],
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
