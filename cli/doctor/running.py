"""Runs checks side by side, each with a time limit, so that a service that hangs delays only its own line."""

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from queue import Empty, Queue

import httpx
from botocore.exceptions import BotoCoreError, ClientError
from seedance.errors import SeedanceError

from cli import show
from cli.doctor.deployment import NEEDS, Deployment, EarlierRelease
from cli.doctor.results import NOT_ON_AN_EMULATOR, Check, Result, failed, refusal, skipped
from cli.target import CommandError

AT_ONCE = 8
"""How many checks run at the same time."""

EMULATED_TIMES = 3.0
"""How many times longer a check may take on an emulator, which is one process and starts each function anew."""

_NOT_ANSWERED = "Run the doctor again. If the error persists, check the AWS Health Dashboard."
_BROKEN = "This is a mistake in the doctor: send the report to the project."

Say = Callable[[Check, int], None]
"""Called with a check that has ended, and the number of those that have not."""


def run(of: Deployment, checks: Sequence[Check], say: Say = lambda *_: None) -> Iterator[tuple[Check, Result]]:
    """Each check with its result, in the order of ``checks``, as soon as it and all before it have ended.

    A check that does not end within its time has FAILED. Its thread is abandoned; it does not keep the process alive.
    """
    running = _Running(of, list(checks))
    results: dict[str, Result] = {}
    for check in checks:
        while check.name not in results:
            ended, result = running.next()
            results[ended.name] = result
            say(ended, len(checks) - len(results))
        yield check, results[check.name]


@dataclass
class _Running:
    """The checks that wait, those that run with the times at which they must have ended, and the results."""

    of: Deployment
    waiting: list[Check]
    until: dict[str, tuple[Check, float]] = field(default_factory=dict)
    done: "Queue[tuple[Check, Result]]" = field(default_factory=Queue)

    def next(self) -> tuple[Check, Result]:
        """The next result."""
        while True:
            self._start()
            late, until = min(self.until.values(), key=lambda one: one[1])
            try:
                check, result = self.done.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                said = f"no answer within {show.duration(self._seconds(late))}"
                check, result = late, failed(said, remedy=_NOT_ANSWERED)
            if self.until.pop(check.name, None):  # else it has ended after its time, and is reported already
                return check, result

    def _start(self) -> None:
        while self.waiting and len(self.until) < AT_ONCE:
            check = self.waiting.pop(0)
            self.until[check.name] = (check, time.monotonic() + self._seconds(check))
            work = threading.Thread(target=self._work, args=(check,), name=f"doctor {check.name}", daemon=True)
            work.start()

    def _seconds(self, check: Check) -> float:
        return check.seconds * (EMULATED_TIMES if self.of.emulated else 1)

    def _work(self, check: Check) -> None:
        began = time.monotonic()
        result = look(self.of, check)
        self.done.put((check, replace(result, seconds=round(time.monotonic() - began, 3))))


def look(of: Deployment, check: Check) -> Result:
    """The result of one check, whatever happens in it."""
    if of.emulated and not check.emulated:
        return skipped(NOT_ON_AN_EMULATOR)
    try:
        return check.look(of)
    except ClientError as error:
        return refusal(error, (*check.needs, *NEEDS))
    except EarlierRelease:
        return skipped("not known: the stack runs an earlier release")
    except (CommandError, SeedanceError) as error:
        return failed(str(error))
    except (BotoCoreError, httpx.HTTPError, OSError) as error:
        return failed(f"no answer: {error}", remedy=_NOT_ANSWERED)
    except Exception as error:  # noqa: BLE001 - it fails its own line, which says where; the others are still useful
        where = traceback.extract_tb(error.__traceback__)[-1]
        return failed(f"the check crashed: {error!r}", f"{where.name}, line {where.lineno}", remedy=_BROKEN)
