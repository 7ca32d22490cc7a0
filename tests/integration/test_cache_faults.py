"""Caches that fail under load, writers that compete, processes that die. Full size: `make faults`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from anabranch.context.cache.cache import DistributedCache
from anabranch.context.stores.open import open_store
from anabranch.context.stores.redis import RedisStore
from tests.cache_faults import dying, load, writers
from tests.cache_faults.faulty_cache import FAULTS, FaultyCache

CALLS = 200


async def test_fifty_writers_in_four_processes_lose_no_update(valkey_url: str, task_queue: str) -> None:
    written = await writers.write_in_processes(valkey_url, task_queue, writers=50, updates=500)
    assert written.versions == list(range(2, 502))
    assert (written.count, written.version) == (500, 501)


def with_cache(folder: Path, url: str, strategy: str) -> DistributedCache:
    cache = RedisStore.from_url(url, retries=0)
    return DistributedCache(open_store(f"sqlite:///{folder / 'store.db'}"), cache, strategy=strategy, breaker_reset=0.3)


@pytest.mark.parametrize("strategy", ["write_through", "read_through", "write_behind"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_the_cache_does_the_answers_are_those_without_it(
    fault: str, strategy: str, tmp_path: Path
) -> None:
    bare = DistributedCache(open_store("memory://"))
    expected = await load.run([bare], CALLS, seed=4)
    async with FaultyCache.open() as cache:
        # Two clients are two processes; other processes see a put of write-behind when the store has it.
        clients = [with_cache(tmp_path, cache.url, strategy) for _ in range(1 if strategy == "write_behind" else 2)]
        actual = await load.run(clients, CALLS, seed=4, fault=lambda: cache.fail(fault))
        stats = [client.stats() for client in clients]
        for client in clients:
            await client.aclose()
    assert actual.answers == expected.answers
    assert sum(each.hits for each in stats) > 0


@pytest.mark.parametrize("fault", ["killed", "frozen", "garbage"])
async def test_the_breaker_opens_within_five_failed_calls(fault: str, tmp_path: Path) -> None:
    async with FaultyCache.open() as cache:
        cached = with_cache(tmp_path, cache.url, "write_through")
        await load.run([cached], 30, seed=1)
        await cache.fail(fault)
        calls = 0
        while cached.stats().read_breaker == "closed":
            await cached.get("session-1")
            calls += 1
        assert calls <= 5
        await cached.aclose()


async def until_closed(cached: DistributedCache) -> None:
    for seed in range(300):
        await load.run([cached], 30, seed=seed)
        if (cached.stats().read_breaker, cached.stats().write_breaker) == ("closed", "closed"):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(cached.stats())


async def test_a_cache_that_was_frozen_is_used_again(tmp_path: Path) -> None:
    async with FaultyCache.open() as cache:
        cached = with_cache(tmp_path, cache.url, "write_through")
        await load.run([cached], 30, seed=1)
        await cache.fail("frozen")
        for _ in range(6):
            await cached.get("session-1")
        assert cached.stats().read_breaker != "closed"
        await until_closed(cached)
        hits = cached.stats().hits
        await load.run([cached], 60, seed=3)
        assert cached.stats().hits > hits
        await cached.aclose()


async def test_a_killed_process_has_lost_exactly_what_its_stats_called_pending(
    valkey_url: str, task_queue: str
) -> None:
    pending = 0
    for attempt in range(10):  # a kill may come when everything is written
        death = await dying.die(valkey_url, f"{task_queue}/{attempt}/", 60 + attempt, "kill")
        assert death.exit_code == -9
        assert death.pending <= death.missing <= death.pending | death.writing
        pending += len(death.pending)
        if pending:
            break
    assert pending


async def test_an_orderly_stop_has_lost_nothing(valkey_url: str, task_queue: str) -> None:
    death = await dying.die(valkey_url, f"{task_queue}/", 400, "stop")
    assert (death.exit_code, death.missing, death.pending) == (0, set(), set())
