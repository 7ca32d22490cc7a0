"""Heartbeats of a running activity: Temporal notices a dead worker by them, and answers them with cancellations.

The server keeps what the last one of an attempt held for the attempt after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from temporalio import activity

from anabranch.context.values import Json

_SECONDS = 5.0
_heart: ContextVar[_Heart | None] = ContextVar("anabranch_heart", default=None)


@asynccontextmanager
async def heartbeats() -> AsyncGenerator[None]:
    """Send heartbeats while the block runs, three in each heartbeat timeout."""
    timeout = activity.info().heartbeat_timeout
    heart = _Heart(min(timeout.total_seconds() / 3, _SECONDS) if timeout else _SECONDS)
    _heart.set(heart)
    try:
        yield
    finally:
        heart.stop()


def keep(place: Json) -> None:
    """Have the next attempt know how far this one has come. A local activity has none that would."""
    if (heart := _heart.get()) is not None:
        heart.keep(place)


def kept() -> Json:
    """How far the attempt before has come; None where there was none, or it said nothing."""
    details = activity.info().heartbeat_details if activity.in_activity() else ()
    return details[0] if details else None


class _Heart:
    """Sends heartbeats by a timer of the loop: most activities end before the first one, and a task costs more."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = asyncio.get_running_loop().call_later(seconds, self._beat)
        self._details = activity.info().heartbeat_details

    def keep(self, place: Json) -> None:
        """Say it now, and with each heartbeat from now on: one without it would make the server forget it."""
        self._details = (place,)
        activity.heartbeat(*self._details)

    def stop(self) -> None:
        """Stop the heartbeats."""
        self._next.cancel()

    def _beat(self) -> None:
        activity.heartbeat(*self._details)
        self._next = asyncio.get_running_loop().call_later(self._seconds, self._beat)
