"""Faults on demand: the open orders, and the calls that they match.

A fault is ordered through `POST /_sandbox/faults`. It strikes the next call (or job) that it matches. This module only
keeps track of the orders; `damage`, `media` and `studio` carry them out.
"""

import itertools
from dataclasses import asdict, dataclass
from typing import Any

from local.sandbox.kinds import KINDS, Moment


class InvalidFault(Exception):
    """The ordered fault does not exist, or is not valid there."""


@dataclass
class Fault:
    """One order: the kind, where it strikes, what it matches, and how often (`remaining`; None means always)."""

    id: int
    on: str
    kind: str
    model: str | None
    prompt_contains: str | None
    remaining: int | None
    after: int
    options: dict[str, Any]
    struck: int = 0

    @property
    def moment(self) -> Moment:
        return KINDS[self.kind].moment

    def matches(self, stage: str, model: str | None, prompt: str | None) -> bool:
        return (
            self.on == stage
            and self.remaining != 0
            and (self.model is None or self.model == model)
            and (self.prompt_contains is None or self.prompt_contains in (prompt or ""))
        )


class Faults:
    """The open orders, oldest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._ids = itertools.count(1)

    def order(self, wish: object) -> Fault:
        """Order one fault from its JSON. Raises `InvalidFault` with a message that names what is valid."""
        if not isinstance(wish, dict):
            raise InvalidFault("a fault must be a JSON object with at least `on` and `kind`")
        rest = dict(wish)
        stage, name = rest.pop("on", None), rest.pop("kind", None)
        if name == "http":  # {"kind": "http", "status": 500} is the same as {"kind": "http-500"}
            name = f"http-{rest.pop('status', '')}"
        kind = KINDS.get(str(name))
        if kind is None:
            raise InvalidFault(f"unknown kind {name!r}; one of: {', '.join(KINDS)}")
        if stage not in kind.stages:
            raise InvalidFault(f"{name} is valid on {', '.join(kind.stages)}, not on {stage!r}")
        times, after = rest.pop("times", 1), rest.pop("after", 0)
        if not all(isinstance(count, int) and count >= 0 for count in (times, after)):
            raise InvalidFault("`times` and `after` must be whole numbers from 0")
        model, words = rest.pop("model", None), rest.pop("prompt_contains", None)
        if unknown := rest.keys() - kind.options.keys():
            raise InvalidFault(f"{name} has no option {sorted(unknown)}; available: {sorted(kind.options)}")
        fault = Fault(
            id=next(self._ids),
            on=stage,
            kind=str(name),
            model=model,
            prompt_contains=words,
            remaining=times or None,
            after=after,
            options=kind.options | rest,
        )
        self._faults.append(fault)
        return fault

    def take(
        self,
        stage: str,
        model: str | None = None,
        prompt: str | None = None,
        *,
        without: Moment | None = None,
    ) -> Fault | None:
        """The first open fault that matches, counted as used; never one of the moment `without`."""
        for fault in self._faults:
            if not fault.matches(stage, model, prompt) or fault.moment is without:
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            fault.struck += 1
            if fault.remaining is not None:
                fault.remaining -= 1
            return fault
        return None

    def put_back(self, fault: Fault) -> None:
        """Undo `take`: the fault did not strike, because the call was refused before its moment."""
        fault.struck -= 1
        if fault.remaining is not None:
            fault.remaining += 1

    def clear(self) -> None:
        self._faults.clear()

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._faults]
