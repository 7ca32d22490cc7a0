"""The cache's side of a `DistributedCache`: what fails here costs a miss and a few milliseconds, never an answer.

Reads and writes have a breaker each: a read-only cache may still be read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from anabranch.context.cache.breaker import CacheBreaker
from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.protocol import ContextStore
from anabranch.context.stores.record import Record
from anabranch.errors import InputError

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class CacheTier:
    """A store that is used as a cache: every call is bounded by `timeout` (seconds), none raises."""

    def __init__(self, store: ContextStore, *, timeout: float, threshold: int, reset_after: float) -> None:
        self.store = store
        self.errors = 0
        self.read_breaker = CacheBreaker(threshold=threshold, reset_after=reset_after)
        self.write_breaker = CacheBreaker(threshold=threshold, reset_after=reset_after)
        self._timeout = timeout

    async def read(self, session_ids: Sequence[str]) -> list[Record | None] | None:
        """The copies that are whole (their bytes have their digest); None where the cache gave no answer."""
        return await self._guarded(self.read_breaker, lambda: self._whole(session_ids))

    async def write(self, contexts: Iterable[DistributedContext], ttl: float | None) -> bool:
        """Keep copies; whether the cache has taken them."""
        kept = list(contexts)

        async def write() -> bool:
            await self.store.save_many(kept, ttl)
            return True

        return await self._guarded(self.write_breaker, write) or False

    async def drop(self, session_ids: Iterable[str]) -> None:
        """Forget copies."""
        dropped = list(session_ids)
        await self._guarded(self.write_breaker, lambda: asyncio.gather(*map(self.store.delete, dropped)))

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

    async def _guarded(self, breaker: CacheBreaker, call: Callable[[], Awaitable[_Answer]]) -> _Answer | None:
        if not breaker.allows():
            return None
        try:
            async with asyncio.timeout(self._timeout):
                answer = await call()
        except asyncio.CancelledError:
            breaker.abandoned()
            raise
        except InputError as unfit:  # too large for this cache, say: that is not the cache's failure
            breaker.succeeded()
            self._report(unfit)
            return None
        except Exception as failed:  # whatever a broken cache makes its client raise
            breaker.failed()
            self._report(failed)
            return None
        breaker.succeeded()
        return answer

    def _report(self, failed: Exception) -> None:
        self.errors += 1
        _log.warning("the cache failed: %s", type(failed).__name__)


class _Damaged(Exception):
    """What the cache answered is not what was ever kept there."""
