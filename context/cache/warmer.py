"""Copies contexts to a cache before anybody asks for them."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable

from anabranch.context.cache.cache import DistributedCache


class CacheWarmer:
    """Warms a DistributedCache, `batch` sessions at a time: one round trip to each tier for each batch."""

    def __init__(self, cache: DistributedCache, *, batch: int = 100) -> None:
        self._cache = cache
        self._batch = batch

    async def warm(self, session_ids: Iterable[str]) -> int:
        """Copy these sessions; how many the cache has taken. Raises Unavailable where the store does not answer."""
        return await self._warm(_each(session_ids))

    async def warm_from_store(self, prefix: str = "", limit: int | None = None) -> int:
        """Copy the sessions that the store lists, at most `limit`; how many the cache has taken. Raises as `warm`."""
        return await self._warm(self._cache.store.list_sessions(prefix), limit)

    async def _warm(self, session_ids: AsyncIterable[str], limit: int | None = None) -> int:
        taken = 0
        batch: list[str] = []
        left = limit
        async for session_id in session_ids:
            if left is not None:
                if left == 0:
                    break
                left -= 1
            batch.append(session_id)
            if len(batch) == self._batch:
                taken += await self._cache.warm(batch)
                batch = []
        return taken + (await self._cache.warm(batch) if batch else 0)


async def _each(session_ids: Iterable[str]) -> AsyncIterator[str]:
    for session_id in session_ids:
        yield session_id
