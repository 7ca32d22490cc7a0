"""Heartbeats of a running activity: Temporal notices a dead worker by them, and answers them with cancellations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from temporalio import activity

_SECONDS = 5.0


@asynccontextmanager
async def heartbeats() -> AsyncGenerator[None]:
    """Send heartbeats while the block runs, three in each heartbeat timeout."""
    timeout = activity.info().heartbeat_timeout
    heart = _Heart(min(timeout.total_seconds() / 3, _SECONDS) if timeout else _SECONDS)
    try:
        yield
    finally:
        heart.stop()


class _Heart:
    """Sends heartbeats by a timer of the loop: most activities end before the first one, and a task costs more."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = asyncio.get_running_loop().call_later(seconds, self._beat)

    def stop(self) -> None:
        """Stop the heartbeats."""
        self._next.cancel()

    def _beat(self) -> None:
        activity.heartbeat()
        self._next = asyncio.get_running_loop().call_later(self._seconds, self._beat)
