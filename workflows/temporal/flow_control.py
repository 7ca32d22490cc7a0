"""How much leaves the workflow at once: too many pending activities, or too many bytes in one task, would end it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import workflow

MAX_PENDING = 500
"""Activities that are scheduled and not done. The server refuses 2,000."""
MAX_BYTES = 2 * 1024 * 1024
"""Payloads of activities and children in one workflow task, uncompressed. The server ends a run that sends 4 MiB."""
MAX_LOCAL_BYTES = 1024 * 1024
"""Results of local activities in one workflow task, before compression: they leave together, when it ends."""
_MARKER = 1024
"""What a result takes beside its payload, and a little more."""
_UNKNOWN = 32 * 1024
"""What the first results of a run are taken for."""
_SMALL = 8 * 1024
"""What results are taken for at least, however small those before were."""


class Outflow:
    """Lets activities of one run pass; those that do not fit wait for others to be done, or for the next task."""

    def __init__(self) -> None:
        self._pending = asyncio.Semaphore(MAX_PENDING)
        self._next_task: asyncio.Task[None] | None = None
        self._task_length = 0
        self._sent = 0
        self._local_bytes = 0
        self._local_running = 0
        self._expected = _UNKNOWN
        self._turn = asyncio.Lock()
        self._answered = asyncio.Event()

    @asynccontextmanager
    async def passage(self, size: int) -> AsyncGenerator[None]:
        """Wait until an activity with `size` bytes of payload may be scheduled; it is done when the block is left."""
        async with self._pending:
            while self._is_crowded(size):
                await self._until_next_task()
            self._sent += size
            yield

    async def child_passage(self, size: int) -> None:
        """Wait until a child workflow with `size` bytes of payload may be started."""
        while self._is_crowded(size):
            await self._until_next_task()
        self._sent += size

    @asynccontextmanager
    async def local_passage(self) -> AsyncGenerator[Callable[[int], None]]:
        """Wait until a local activity may run; the block tells how large its result was.

        How large results will be is judged by those before.
        """
        async with self._turn:
            while not self._local_fits():
                if self._local_running:
                    self._answered.clear()
                    await self._answered.wait()
                else:
                    await self._until_next_task()
        self._local_running += 1
        try:
            yield self._note
        finally:
            self._local_running -= 1
            self._answered.set()

    def _note(self, size: int) -> None:
        self._see_task()
        self._local_bytes += size + _MARKER
        self._expected = max(size, _SMALL, self._expected * 7 // 8)

    async def _until_next_task(self) -> None:
        if self._next_task is None or self._next_task.done():
            self._next_task = asyncio.create_task(workflow.sleep(timedelta(milliseconds=1)))
        await asyncio.shield(self._next_task)

    def _see_task(self) -> None:
        if (length := workflow.info().get_current_history_length()) != self._task_length:
            self._task_length, self._sent, self._local_bytes = length, 0, 0

    def _local_fits(self) -> bool:
        self._see_task()
        coming = self._local_running * self._expected
        return self._local_bytes + coming == 0 or self._local_bytes + coming + self._expected <= MAX_LOCAL_BYTES

    def _is_crowded(self, size: int) -> bool:
        self._see_task()
        return self._sent != 0 and self._sent + size > MAX_BYTES
