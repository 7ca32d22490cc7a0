"""Heartbeats of a running activity: by them Temporal notices a dead worker, and a cancellation reaches the activity."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import activity

_SECONDS = 5.0


@asynccontextmanager
async def heartbeats() -> AsyncIterator[None]:
    """Beat while the block runs, three times in each heartbeat timeout."""
    timeout = activity.info().heartbeat_timeout
    heart = _Heart(min(timeout.total_seconds() / 3, _SECONDS) if timeout else _SECONDS)
    try:
        yield
    finally:
        heart.stop()


class _Heart:
    """Beats by a timer of the loop: most activities are over before the first beat, and a task for each would cost."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = asyncio.get_running_loop().call_later(seconds, self._beat)

    def stop(self) -> None:
        """Beat no more."""
        self._next.cancel()

    def _beat(self) -> None:
        activity.heartbeat()
        self._next = asyncio.get_running_loop().call_later(self._seconds, self._beat)
