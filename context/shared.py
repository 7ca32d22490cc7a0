"""One context shared by the tasks of one process. Across processes, `DistributedCache.update` does the same."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping

from anabranch.context.distributed import ContextSnapshot, DistributedContext, copied
from anabranch.context.values import Json
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES

Change = Callable[[DistributedContext], Awaitable[object] | object]


class SharedContext:
    """A DistributedContext behind an asyncio lock: tasks read and write it one at a time.

    Reads return copies, so no task sees or makes a change outside of the lock. It is for one event loop.
    """

    def __init__(self, session_id: str, data: Mapping[str, Json] | None = None, *, at: int | None = None) -> None:
        self._context = DistributedContext(session_id, dict(data or {}), at=at).copy()
        self._lock = asyncio.Lock()

    @property
    def session_id(self) -> str:
        """The session of the context."""
        return self._context.session_id

    async def get(self, key: str, default: Json = None) -> Json:
        """A copy of the value at a key, or the default."""
        async with self._lock:
            return copied(self._context.get(key, default))

    async def set(self, key: str, value: Json, *, at: int | None = None) -> None:
        """Write a value."""
        async with self._lock:
            self._context.set(key, copied(value), at=at)

    async def remove(self, key: str, *, at: int | None = None) -> bool:
        """Remove a key; returns whether it was there."""
        async with self._lock:
            return self._context.remove(key, at=at)

    async def update(self, change: Change) -> DistributedContext:
        """Let `change` modify a copy under the lock, and keep it unless it raises. Returns the new context.

        `change` may be a coroutine function; other tasks wait for it. It must not call this SharedContext itself.
        """
        async with self._lock:
            working = self._context.copy()
            outcome = change(working)
            if inspect.isawaitable(outcome):
                await outcome
            self._context = working
            return working.copy()

    async def version(self) -> int:
        """The current version."""
        async with self._lock:
            return self._context.metadata.version

    async def snapshot(self) -> ContextSnapshot:
        """An immutable copy of the current version."""
        async with self._lock:
            return self._context.snapshot()

    async def serialize(self, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> bytes:
        """The current version as MessagePack. Raises WireFormatError and SizeLimitExceeded."""
        async with self._lock:
            return self._context.serialize(max_bytes=max_bytes)
