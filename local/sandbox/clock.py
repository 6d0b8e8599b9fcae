"""The provider's clock. All of the provider's time spans use it, so that one number scales them all."""

import asyncio
import contextlib
import time


class Clock:
    """Counts *provider seconds*. One provider second is `scale` wall-clock seconds.

    A job's duration, a record's hour, a file's week and the rate limit's window are all in provider seconds. Changing
    the scale changes the speed from now on, but not the time already counted. `offset` (provider seconds) jumps ahead,
    for example by 3700 to let all records expire at once.
    """

    def __init__(self, scale: float = 1.0, offset: float = 0.0, start: float = 0.0) -> None:
        self.scale = scale
        self.offset = offset
        self._start = start
        self._since = time.monotonic()
        self._changed = asyncio.Event()

    def now(self) -> float:
        """Provider seconds since the sandbox was first started."""
        return self._start + (time.monotonic() - self._since) / self.scale + self.offset

    def wall(self, moment: float) -> float:
        """The wall-clock time (Unix seconds) at which this clock shows `moment`."""
        return time.time() + (moment - self.now()) * self.scale

    def change(self, scale: float, offset: float) -> None:
        """Run at another speed, or jump. Tasks that wait on this clock check it again."""
        self._start, self._since = self.now() - self.offset, time.monotonic()
        self.scale, self.offset = scale, offset
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_until(self, moment: float) -> None:
        """Sleep until the clock shows `moment`, even if it is changed in the meantime."""
        while (left := (moment - self.now()) * self.scale) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
