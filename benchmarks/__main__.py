"""All benchmarks, one after the other: `make bench`, or `python -m benchmarks [NAME ...]`."""

import importlib
import sys

BENCHMARKS = ("cold_start", "copying")
"""The modules, in the order in which they run; each has a ``main`` that takes nothing."""


def main() -> None:
    """Run those that are named, or all."""
    for name in sys.argv[1:] or BENCHMARKS:
        if name not in BENCHMARKS:
            raise SystemExit(f"there is no benchmark {name}; there are {', '.join(BENCHMARKS)}")
        print(f"── {name} ──", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
