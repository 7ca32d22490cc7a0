"""`get_or_load` where callers and writers come between its steps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

import pytest

from anabranch.context.cache.cache import DistributedCache
from anabranch.context.cache.strategy import CacheStrategy
from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.memory import InMemoryStore
from anabranch.context.stores.record import Record

_Answer = TypeVar("_Answer")
STORED = [each for each in CacheStrategy if each is not CacheStrategy.CACHE_ASIDE]


class Held(InMemoryStore):
    """Its first answer is read, and given only when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def digests(self, session_ids: Sequence[str]) -> list[bytes | None]:
        return await self._hold(await super().digests(session_ids))

    async def read(self, session_ids: Sequence[str]) -> list[Record | None]:
        return await self._hold(await super().read(session_ids))

    async def _hold(self, answer: _Answer) -> _Answer:
        if not self.reached.is_set():
            self.reached.set()
            await self.go.wait()
        return answer


def cache_of(strategy: CacheStrategy, held: Held) -> DistributedCache:
    if strategy is CacheStrategy.CACHE_ASIDE:
        return DistributedCache(InMemoryStore(), held, strategy=strategy, cache_timeout=10)
    return DistributedCache(held, InMemoryStore(), strategy=strategy)


@pytest.mark.parametrize("strategy", list(CacheStrategy))
async def test_a_caller_that_looked_before_another_one_s_load_ended_does_not_load_again(
    strategy: CacheStrategy,
) -> None:
    held, loads = Held(), 0
    cache = cache_of(strategy, held)

    async def load(session_id: str) -> DistributedContext:
        nonlocal loads
        loads += 1
        return DistributedContext(session_id, {"load": loads})

    early = asyncio.create_task(cache.get_or_load("s", load))
    await held.reached.wait()
    first = await cache.get_or_load("s", load)
    held.go.set()
    second = await early
    assert first is not None
    assert second is not None
    assert (first.data, second.data, loads) == ({"load": 1}, {"load": 1}, 1)
    await cache.aclose()


@pytest.mark.parametrize("strategy", STORED)
async def test_a_load_does_not_undo_what_was_written_while_it_ran(strategy: CacheStrategy) -> None:
    cache = DistributedCache(InMemoryStore(), InMemoryStore(), strategy=strategy)
    loading, go = asyncio.Event(), asyncio.Event()

    async def load(session_id: str) -> DistributedContext:
        loading.set()
        await go.wait()
        return DistributedContext(session_id, {"from": "elsewhere"})

    caller = asyncio.create_task(cache.get_or_load("s", load))
    await loading.wait()
    await cache.put(DistributedContext("s", {"from": "a writer"}))
    go.set()
    answer = await caller
    await cache.flush()
    kept = await cache.store.load("s")
    assert answer is not None
    assert kept is not None
    assert answer.data == kept.data == {"from": "a writer"}
    await cache.aclose()
