"""How much leaves the workflow at once: too many pending activities, or bytes in one task, would end the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from anabranch.limits import RunLimits
from anabranch.workflows.temporal.outbox import Outbox, Ticket

_MARKER = 1024
"""What a result takes beside its payload, and a little more."""
_UNKNOWN = 32 * 1024
"""What the first results of a run are taken for."""
_SMALL = 8 * 1024
"""What results are taken for at least, however small those before were."""


class FlowControl:
    """Admits what one run sends; what does not fit waits until others are done, or are in the history."""

    def __init__(self, outbox: Outbox, limits: RunLimits) -> None:
        self._outbox = outbox
        self._limits = limits
        self._pending = asyncio.Semaphore(limits.pending_activities)
        self._local_running = 0
        self._expected = _UNKNOWN
        self._turn = asyncio.Lock()
        self._local_done = asyncio.Event()

    @asynccontextmanager
    async def admit(self, ticket: Ticket, size: int) -> AsyncGenerator[None]:
        """Wait until an activity with an input of `size` bytes may be scheduled; it is done when the block is left."""
        async with self._pending:
            await self._send(ticket, size)
            yield

    async def admit_child(self, ticket: Ticket, size: int) -> None:
        """Wait until a child workflow with an input of `size` bytes may be started."""
        await self._send(ticket, size)

    @asynccontextmanager
    async def admit_local(self, is_urgent: Callable[[], bool] = lambda: False) -> AsyncGenerator[Callable[[int], None]]:
        """Wait until a local activity may run; the block tells how large its result was.

        How large results will be is judged by those before. One that `is_urgent` by now does not wait for room: see
        `look_again`.
        """
        async with self._turn:
            while not self._local_fits() and not is_urgent():
                if self._local_running:
                    self._local_done.clear()
                    await self._local_done.wait()
                else:
                    await self._outbox.flush()
        self._local_running += 1
        try:
            yield self._note
        finally:
            self._local_running -= 1
            self._local_done.set()

    def look_again(self) -> None:
        """Admit what waits and has become urgent."""
        self._local_done.set()

    async def _send(self, ticket: Ticket, size: int) -> None:
        while self._outbox.inputs and self._outbox.inputs + size > self._limits.task_bytes:
            await self._outbox.flush()
        self._outbox.send(ticket, size)

    def _note(self, size: int) -> None:
        self._outbox.note_result(size + _MARKER)
        self._expected = max(size, _SMALL, self._expected * 7 // 8)

    def _local_fits(self) -> bool:
        taken = self._outbox.results + self._local_running * self._expected
        return taken == 0 or taken + self._expected <= self._limits.task_local_bytes
