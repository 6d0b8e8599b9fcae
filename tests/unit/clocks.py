"""A clock that only advances when code sleeps."""

from dataclasses import dataclass, field

from seedance import clock

NOW = 1_763_600_000.0


@dataclass
class Clock(clock.Clock):
    now: float = NOW
    naps: list[float] = field(default_factory=list)
    """The seconds of every sleep."""

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds
