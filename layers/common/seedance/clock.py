"""The clock: the time, waiting, and attempts with waits between them.

Use cases and adapters take it as an argument, and nothing else in the layer reads the time of day or sleeps.
"""

import random
import time
from collections.abc import Iterator


class Clock:
    """The time in Unix seconds, when called."""

    def __call__(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def attempts(self, number: int, first: float, longest: float = 60.0) -> Iterator[int]:
        """Count attempts from 1 to ``number``, with a wait before each but the first.

        A wait is random between 0 and a limit that starts at 2 * ``first`` seconds and doubles up to ``longest``, so
        that concurrent callers do not keep meeting (AWS Architecture Blog, "Exponential Backoff And Jitter").
        """
        yield 1
        for attempt in range(2, number + 1):
            self.sleep(random.uniform(0, min(longest, first * 2 ** (attempt - 1))))  # noqa: S311 - not for security
            yield attempt


CLOCK = Clock()
"""The machine's clock."""
