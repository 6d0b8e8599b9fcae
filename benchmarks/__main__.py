"""Runs all benchmarks, one after the other: `make bench`, or `python -m benchmarks [NAME ...]`."""

import importlib
import sys

from benchmarks import report

BENCHMARKS = (
    *("polling", "rate_limit", "contention", "burst", "batch", "feeding", "cold_start", "copying", "cost"),
    *("price_error", "walkers", "api_warm", "console_page"),
)
"""The modules, in the order in which they run. Each has a ``main`` without required arguments, which publishes its
table or returns the text to publish."""


def main() -> None:
    """Run the named benchmarks, or all of them."""
    for name in sys.argv[1:] or BENCHMARKS:
        if name not in BENCHMARKS:
            raise SystemExit(f"there is no benchmark {name}; choose from {', '.join(BENCHMARKS)}")
        print(f"── {name} ──", flush=True)
        if text := importlib.import_module(f"benchmarks.{name}").main():
            report.write_section(name, name.replace("_", " ").capitalize(), text)


if __name__ == "__main__":
    main()
