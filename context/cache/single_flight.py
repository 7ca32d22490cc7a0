"""One load for each key, however many callers wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class _Flight(Generic[_Answer]):
    task: asyncio.Task[_Answer]
    waiters: int = 0


class SingleFlight(Generic[_Answer]):
    """Callers of one key share one task. Who is cancelled leaves the others waiting; the last to leave cancels it.

    After Go's `singleflight`.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[_Answer]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def run(self, key: Hashable, load: Callable[[], Coroutine[Any, Any, _Answer]]) -> _Answer:
        """The answer of the load under way, or its error; `load` is started if nothing is under way."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(load()))
            flight.task.add_done_callback(lambda _: self._land(key, flight))
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                self._land(key, flight)
                flight.task.cancel()

    def forget(self, key: Hashable) -> None:
        """Let the next caller start a new load: what the one under way will answer is out of date."""
        self._flights.pop(key, None)

    def _land(self, key: Hashable, flight: _Flight[_Answer]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if flight.task.done() and not flight.task.cancelled():
            flight.task.exception()  # looked at, should every waiter have left
