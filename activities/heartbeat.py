"""Heartbeats of a running activity: Temporal notices a dead worker by them, and answers them with cancellations.

The server keeps what the last one of an attempt held for the attempt after it.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Self

from temporalio import activity

from anabranch.context.values import Json

_SECONDS = 5.0
_heart: ContextVar[_Heart | None] = ContextVar("anabranch_heart", default=None)


def heartbeats(info: activity.Info) -> AbstractContextManager[object]:
    """Send heartbeats while the block runs, three in each heartbeat timeout."""
    return _Heart(info)


def keep(place: Json) -> None:
    """Have the next attempt know how far this one has come. A local activity has none that would."""
    if (heart := _heart.get()) is not None:
        heart.keep(place)


def kept() -> Json:
    """How far the attempt before has come; None where there was none, or it said nothing."""
    details = activity.info().heartbeat_details if activity.in_activity() else ()
    return details[0] if details else None


class _Heart(AbstractContextManager[object]):
    """Sends heartbeats by a timer of the loop: most activities end before the first one, and a task costs more."""

    def __init__(self, info: activity.Info) -> None:
        timeout = info.heartbeat_timeout
        self._seconds = min(timeout.total_seconds() / 3, _SECONDS) if timeout else _SECONDS
        self._details = info.heartbeat_details

    def __enter__(self) -> Self:
        self._next = asyncio.get_running_loop().call_later(self._seconds, self._beat)
        _heart.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._next.cancel()

    def keep(self, place: Json) -> None:
        """Say it now, and with each heartbeat from now on: one without it would make the server forget it."""
        self._details = (place,)
        activity.heartbeat(*self._details)

    def _beat(self) -> None:
        activity.heartbeat(*self._details)
        self._next = asyncio.get_running_loop().call_later(self._seconds, self._beat)
