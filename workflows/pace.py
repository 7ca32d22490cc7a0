"""How far a machine goes at one time: what needs no answer, such as items that are skipped, may be without end.

A workflow task must be done in seconds, or it fails, and its next attempt as well.
"""

from __future__ import annotations

from collections.abc import Callable

MAX_STEPS = 3000
"""Joins and nodes of bodies: a thousand items of one node that is skipped, or 60 ms."""


class Pace:
    """Counts the steps at one time, over all events. `bounded` is asked once there were `MAX_STEPS`."""

    def __init__(self) -> None:
        self.bounded: Callable[[], bool] = lambda: False
        """Whether the rest must wait for a later time."""
        self._at = 0
        self._steps = 0

    def count(self, at: int, steps: int) -> None:
        """Note what was done at a time."""
        if at != self._at:
            self._at, self._steps = at, 0
        self._steps += steps

    def is_over(self, at: int) -> bool:
        """Whether enough was done at this time."""
        return at == self._at and self._steps >= MAX_STEPS and self.bounded()
