"""How much leaves the workflow at once: too many pending activities, or too many bytes in one task, would end it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import workflow

MAX_PENDING = 500
"""Activities that are scheduled and not done. The server refuses 2,000."""
MAX_BYTES = 2 * 1024 * 1024
"""Payloads of one workflow task, before compression. The server ends a workflow that sends 4 MiB."""


class Outflow:
    """Lets activities of one run pass; those that do not fit wait for others to be done, or for the next task."""

    def __init__(self) -> None:
        self._pending = asyncio.Semaphore(MAX_PENDING)
        self._task_time = 0.0
        self._bytes = 0
        self._next_task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def passage(self, size: int) -> AsyncIterator[None]:
        """Wait until an activity with `size` bytes of payload may be scheduled; it is done when the block is left."""
        async with self._pending:
            while not self._fits(size):
                if self._next_task is None or self._next_task.done():
                    self._next_task = asyncio.create_task(workflow.sleep(timedelta(milliseconds=1)))
                await asyncio.shield(self._next_task)
            self._bytes += size
            yield

    def _fits(self, size: int) -> bool:
        if workflow.time() != self._task_time:  # a task has one time
            self._task_time, self._bytes = workflow.time(), 0
        return self._bytes == 0 or self._bytes + size <= MAX_BYTES
