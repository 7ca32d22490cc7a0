"""A Temporal worker that works for a while, and whose end has a bound: its own shutdown may wait for ever.

It waits for every activity, and a handler may ignore its cancellation; and for the answers to its last polls, which a
server that is gone never gives where it has promised to give them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

import structlog
from temporalio.worker import Worker

from anabranch.errors import NotStopped

BEYOND_GRACE = 4.0
"""Seconds that a worker may take to end, after its grace."""
_CLOSING = 3.0

T = TypeVar("T")
log = structlog.get_logger("anabranch.worker")


@asynccontextmanager
async def working(
    worker: Worker, unfinished: Callable[[], Iterable[str]] = tuple
) -> AsyncGenerator[asyncio.Task[None]]:
    """Let `worker` work while the block runs; gives its task, which ends by itself only if the worker fails.

    Raises what made the worker fail. Raises NotStopped, naming what is `unfinished`, where it has not ended
    BEYOND_GRACE seconds after its grace: it is left behind, and so the process should end soon.
    """
    running = asyncio.create_task(worker.run(), name="worker")
    try:
        yield running
    finally:
        await _end(worker, running, unfinished)


async def _end(worker: Worker, running: asyncio.Task[None], unfinished: Callable[[], Iterable[str]]) -> None:
    stopping = asyncio.create_task(worker.shutdown())
    if not worker.is_running and not worker.is_shutdown:
        running.cancel()  # it still asks the server about its namespace, and would look up only then
    grace = worker.config().get("graceful_shutdown_timeout", timedelta()).total_seconds()
    await asyncio.wait({running}, timeout=grace + BEYOND_GRACE)
    stopping.cancel()
    if not running.done():
        raise NotStopped(_told(grace, list(unfinished())), suggestion="let handlers end when they are cancelled")
    if not running.cancelled():
        running.result()


def _told(grace: float, unfinished: list[str]) -> str:
    rest = f": {', '.join(unfinished)}" if unfinished else ", though nothing runs any more"
    return f"the worker has not ended {BEYOND_GRACE:g} s after its grace of {grace:g} s{rest}"


async def unless(stopping: asyncio.Future[Any], work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns, or None where `stopping` is done before: it is cancelled then."""
    doing = asyncio.create_task(work)
    await asyncio.wait({stopping, doing}, return_when=asyncio.FIRST_COMPLETED)
    if doing.done():
        return doing.result()
    doing.cancel()
    return None


async def closed(closing: Coroutine[Any, Any, None], seconds: float = _CLOSING) -> None:
    """Wait until connections are closed, but not for ever: what they lead to may be gone."""
    task = asyncio.create_task(closing)
    await asyncio.wait({task}, timeout=seconds)
    if task.done():
        task.result()
    else:
        task.cancel()
        log.warning("connections are left open", seconds=seconds)
