"""A circuit breaker round the cache: after a few failures in a row it is left alone for a while.

Nygard, Release It!: closed, open, half-open. It serves one process, since what fails may be this process's way there.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from anabranch.context.cache.strategy import BreakerState


class CacheBreaker:
    """Opens after `threshold` failures in a row; lets one trial call through every `reset_after` seconds."""

    def __init__(
        self, *, threshold: int = 5, reset_after: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._threshold = threshold
        self._reset_after = reset_after
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._on_trial = False

    @property
    def state(self) -> BreakerState:
        """`closed`: calls go through; `open`: none does; `half_open`: one trial call may go or is on its way."""
        if self._opened_at is None:
            return "closed"
        return "half_open" if self._clock() - self._opened_at >= self._reset_after else "open"

    def allows(self) -> bool:
        """Whether a call may go through. Who is allowed says how it went: `succeeded`, `failed` or `abandoned`."""
        if self._opened_at is None:
            return True
        if self._on_trial or self.state == "open":
            return False
        self._on_trial = True
        return True

    def succeeded(self) -> None:
        """The call was answered."""
        self._failures = 0
        self._opened_at = None
        self._on_trial = False

    def failed(self) -> None:
        """The call was not answered as it should be."""
        self._failures += 1
        self._on_trial = False
        if self._failures >= self._threshold:
            self._opened_at = self._clock()

    def abandoned(self) -> None:
        """The caller gave up: nothing was learned."""
        self._on_trial = False
