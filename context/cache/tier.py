"""The cache's side of a `DistributedCache`: what fails here costs a miss and a few milliseconds, never an answer.

Reads and writes have a circuit each: a read-only cache may still be read. After some failures in a row a circuit opens,
for this process alone: what fails may be its way there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import structlog

from anabranch.circuit import Circuit, CircuitPolicy
from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.protocol import ContextStore
from anabranch.context.stores.record import Record
from anabranch.errors import InputError

log = structlog.get_logger("anabranch.cache")
_Answer = TypeVar("_Answer")


class CacheTier:
    """A store that is used as a cache: every call is bounded by `timeout` (seconds), none raises."""

    def __init__(self, store: ContextStore, *, timeout: float, threshold: int, reset_after: float) -> None:
        self.store = store
        self.errors = 0
        policy = CircuitPolicy(failures=threshold, in_a_row=True, reset=reset_after)
        self.read_circuit = Circuit(policy, time.monotonic)
        self.write_circuit = Circuit(policy, time.monotonic)
        self._timeout = timeout

    async def read(self, session_ids: Sequence[str]) -> list[Record | None] | None:
        """The copies that are whole (their bytes have their digest); None where the cache gave no answer."""
        return await self._guarded(self.read_circuit, lambda: self._whole(session_ids))

    async def write(self, contexts: Iterable[DistributedContext], ttl: float | None) -> bool:
        """Keep copies; whether the cache has taken them."""
        kept = list(contexts)

        async def write() -> bool:
            await self.store.save_many(kept, ttl)
            return True

        return await self._guarded(self.write_circuit, write) or False

    async def drop(self, session_ids: Iterable[str]) -> None:
        """Forget copies."""
        dropped = list(session_ids)
        await self._guarded(self.write_circuit, lambda: asyncio.gather(*map(self.store.delete, dropped)))

    async def aclose(self) -> None:
        """Close the cache's connections."""
        try:
            async with asyncio.timeout(self._timeout):
                await self.store.aclose()
        except Exception as failed:
            self._report(failed)

    async def _whole(self, session_ids: Sequence[str]) -> list[Record | None]:
        records = await self.store.read(session_ids)
        if len(records) != len(session_ids) or not all(record is None or record.is_whole() for record in records):
            raise _Damaged
        return records

    async def _guarded(self, circuit: Circuit, ask: Callable[[], Awaitable[_Answer]]) -> _Answer | None:
        call = object()
        if circuit.enter(call):
            return None
        try:
            async with asyncio.timeout(self._timeout):
                answer = await ask()
        except asyncio.CancelledError:
            circuit.left(call)
            raise
        except InputError as unfit:  # too large for this cache, say: that is not the cache's failure
            circuit.succeeded(call)
            self._report(unfit)
            return None
        except Exception as failed:  # whatever a broken cache makes its client raise
            circuit.failed(call)
            self._report(failed)
            return None
        circuit.succeeded(call)
        return answer

    def _report(self, failed: Exception) -> None:
        self.errors += 1
        log.warning("the cache failed", reason=type(failed).__name__)


class _Damaged(Exception):
    """What the cache answered is not what was ever kept there."""
