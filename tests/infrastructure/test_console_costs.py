"""What an open console costs, in docs/operations.md: computed from the times in the console's modules."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DAY = 86_400_000
CALL, LONG_CALL = 4.5e-6, 10e-6
"""USD of a call, and of one that reads a thousand jobs. As the text below the table says."""


def constant(module: str, name: str) -> int:
    """A number of milliseconds in a module of the console."""
    found = re.search(rf"^const {name} = (\d+);$", (ROOT / "web" / module).read_text(encoding="utf-8"), re.MULTILINE)
    assert found, name
    return int(found[1])


def row(what: str, tick: int, budgets: tuple[int, int]) -> str:
    """A line of the table. ``budgets``: the longest and the shortest time between two calls for the budget."""
    whole = DAY // constant("live.js", "ALL_EVERY")
    calls, sums = [], []
    for each in budgets:
        short = DAY // tick + DAY // each
        calls.append(f"{round(short + whole, -2):,}")
        sums.append(f"${short * CALL + whole * LONG_CALL:.2f}")
    return f"| {what} | {' to '.join(dict.fromkeys(calls))} | {' to '.join(dict.fromkeys(sums))} |"


def test_the_costs_of_an_open_console_follow_from_its_times() -> None:
    quick, hidden, idle = (constant("live.js", name) for name in ("QUICK", "QUICK_HIDDEN", "IDLE"))
    most, least = constant("bar.js", "AT_LEAST_EVERY"), constant("bar.js", "LEAST_BETWEEN")
    table = [
        row("visible, nothing in progress", idle, (most, most)),
        row("visible, always something in progress", quick, (most, least)),
        # The budget is asked for at ticks only.
        row("hidden, always something in progress", hidden, (-(-most // hidden) * hidden, max(least, hidden))),
    ]
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert "\n".join(table) in text
    times = f"every {idle // 1000} s while nothing", f"every {quick // 1000} s while", f"every {hidden // 1000} s"
    assert [words for words in times if words not in text.replace("\n", " ")] == []
