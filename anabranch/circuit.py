"""A circuit breaker's states and counting (Nygard, *Release It!*, 2007). Pure: its owner brings the clock.

Closed: calls pass, and failures are counted. Open: no call passes until `reset` has gone by. Half-open: at most
`probes` calls at a time pass; the first success closes the circuit, a failure opens it again. How calls end that began
before the circuit opened does not matter then. A call that has not ended in its time has failed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "half_open"]
_AGAIN = 1.0
"""Seconds after which a caller may ask again whether a probe's place is free."""


@dataclass(frozen=True, slots=True)
class CircuitPolicy:
    """When a circuit opens, and when it lets a probe through. Times are in seconds."""

    failures: int
    """So many open it: within `window`, or in a row where `in_a_row` holds."""
    reset: float
    """How long it stays open."""
    window: float = math.inf
    in_a_row: bool = False
    """Whether a success makes the failures before it forgotten."""
    probes: int = 1


class Circuit:
    """The state of one circuit. A call enters, and then says how it ended: `succeeded`, `failed` or `left`."""

    __slots__ = ("_calls", "_clock", "_failures", "_opened", "_overdue", "_probes", "policy")

    def __init__(self, policy: CircuitPolicy, clock: Callable[[], float]) -> None:
        self.policy = policy
        self._clock = clock
        self._opened: float | None = None
        self._failures: list[float] = []
        self._probes: dict[Hashable, float] = {}
        self._calls: dict[Hashable, float] = {}
        """When each call that has a bound must have ended."""
        self._overdue: set[Hashable] = set()
        """Calls that have failed so, and may still say how they end."""

    @property
    def state(self) -> State:
        """`half_open`: a probe may pass or is on its way."""
        if self._opened is None:
            return "closed"
        return "half_open" if self._clock() >= self._opened + self.policy.reset else "open"

    def enter(self, call: Hashable, lease: float = math.inf) -> float:
        """0 where the call passes, else the seconds after which it is worth another try.

        Its caller may die: after `lease` seconds the call has failed, and a probe only gives up its place.
        """
        self._fail_overdue()
        if self._opened is None:
            if lease != math.inf:
                self._calls[call] = self._clock() + lease
            return 0.0
        now, reset = self._clock(), self.policy.reset
        if now < self._opened + reset:
            return self._opened + reset - now
        self._probes = {each: until for each, until in self._probes.items() if until > now}
        if call not in self._probes and len(self._probes) >= self.policy.probes:
            return min(reset, _AGAIN)
        self._probes[call] = now + lease
        return 0.0

    def succeeded(self, call: Hashable) -> None:
        """The call was answered."""
        self._ended(call)
        if self._opened is None:
            if self.policy.in_a_row:
                self._failures.clear()
        elif call in self._probes:
            self._opened = None
            self._probes.clear()

    def failed(self, call: Hashable) -> None:
        """The call was not answered as it should be."""
        if self._ended(call):
            return
        now = self._clock()
        if self._opened is None:
            self._count(now)
        elif self._probes.pop(call, None) is not None:
            self._opened = now

    def left(self, call: Hashable) -> None:
        """The caller gave up: nothing was learned."""
        self._ended(call)
        self._probes.pop(call, None)

    def _ended(self, call: Hashable) -> bool:
        """Forget a call; whether it had failed already, because it was late."""
        self._calls.pop(call, None)
        if call not in self._overdue:
            return False
        self._overdue.discard(call)
        return True

    def _fail_overdue(self) -> None:
        now = self._clock()
        for call, until in [each for each in self._calls.items() if each[1] <= now]:
            del self._calls[call]
            self._overdue.add(call)
            if self._opened is None:
                self._count(until)

    def _count(self, at: float) -> None:
        now = self._clock()
        earliest = now - self.policy.window
        self._failures = [each for each in (*self._failures, at) if each > earliest]
        if len(self._failures) >= self.policy.failures:
            self._opened = now
            self._failures.clear()
