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
    beating = asyncio.create_task(_beat(min(timeout.total_seconds() / 3, _SECONDS) if timeout else _SECONDS))
    try:
        yield
    finally:
        beating.cancel()


async def _beat(seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        activity.heartbeat()
