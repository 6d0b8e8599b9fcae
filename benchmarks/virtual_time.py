"""Virtual time for real code: threads that run one at a time, in the order of a simulated clock.

A thread is an invocation of a function. The clock stands still while it works; when it sleeps, the thread that is due
next continues. An hour of traffic takes only as long as its code, and runs are repeatable.
"""

import heapq
import itertools
import threading
from collections.abc import Callable

from seedance.clock import Clock


class VirtualTime(Clock):
    """The clock (call it for the time) and its threads. ``moved`` is called after each step of the clock."""

    def __init__(self, start: float, moved: Callable[[float], None]) -> None:
        self.now = start
        self._moved = moved
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._turn_over = threading.Semaphore(0)
        self._raised: list[BaseException] = []

    def __call__(self) -> float:
        return self.now

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Run ``act`` in a new thread, starting at ``moment``."""

        def turn() -> None:
            try:
                act()
            except BaseException as error:  # noqa: BLE001 - run() raises it
                self._raised.append(error)
            finally:
                self._turn_over.release()

        self._enqueue(moment, threading.Thread(target=turn, daemon=True).start)

    def sleep(self, seconds: float) -> None:
        """Let other threads run until this many seconds have passed."""
        go = threading.Semaphore(0)
        self._enqueue(self.now + seconds, go.release)
        self._turn_over.release()
        go.acquire()

    def run(self) -> None:
        """Run until no thread has anything left to do. Raises what a thread raised."""
        while self._queue:
            moment, _, go = heapq.heappop(self._queue)
            if moment > self.now:
                self.now = moment
                self._moved(moment)
            go()
            self._turn_over.acquire()
            if self._raised:
                raise self._raised[0]

    def _enqueue(self, moment: float, go: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (moment, next(self._order), go))
