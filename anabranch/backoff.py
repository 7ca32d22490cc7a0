"""How long to wait before trying again: exponential back-off with full jitter."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Random pauses below a ceiling that begins at `first` seconds and doubles up to `longest`.

    Whole random pauses ("full jitter") spread competing callers best: Brooker, *Exponential Backoff and Jitter*, 2015.
    """

    first: float
    longest: float
    random: Callable[[], float] = random.random
    """A number from 0 to 1."""

    def __iter__(self) -> Iterator[float]:
        """The pauses in seconds, without end."""
        ceiling = self.first
        while True:
            ceiling = min(ceiling, self.longest)
            yield ceiling * self.random()
            ceiling *= 2
