"""What a `DistributedCache` promises, strategy by strategy."""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import AsyncIterator

import pytest

from anabranch.context.cache.cache import DistributedCache
from anabranch.context.cache.digests import DigestCache
from anabranch.context.cache.single_flight import SingleFlight
from anabranch.context.cache.strategy import CacheStrategy
from anabranch.context.cache.update import update
from anabranch.context.cache.warmer import CacheWarmer
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.stores.memory import InMemoryStore
from anabranch.context.stores.protocol import ContextStore
from anabranch.context.stores.redis import RedisStore
from anabranch.context.stores.sql import SqlStore
from anabranch.context.values import Json
from anabranch.errors import (
    ConfigurationError,
    ConflictError,
    InputError,
    Unavailable,
    VersionMismatch,
    WireFormatError,
)
from tests.contract.store_doubles import LyingCache, PickyStore, WatchedStore, unavailable
from tests.json_values import items, number, unchecked

BY_ITSELF = ["write_through", "write_behind", "read_through"]


def context(session_id: str = "a", version: int = 1, **data: Json) -> DistributedContext:
    return DistributedContext(session_id, dict(data), ContextMetadata(1, 2, version))


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def cache() -> WatchedStore:
    return WatchedStore()


@pytest.mark.parametrize("strategy", BY_ITSELF)
async def test_what_is_put_is_got_with_and_without_a_cache(strategy: str) -> None:
    for cached in (DistributedCache(InMemoryStore(), strategy=strategy), both(strategy)):
        await cached.put(context("a", 3, x=1))
        await cached.put_many([context("b", 1), context("c", 2, y=[1])])
        assert await cached.get("a") == context("a", 3, x=1)
        assert await cached.get_many(["c", "absent", "b", "c"]) == [
            context("c", 2, y=[1]),
            None,
            context("b", 1),
            context("c", 2, y=[1]),
        ]
        assert await cached.get("absent") is None
        await cached.flush()
        assert await cached.get("a") == context("a", 3, x=1)
        assert await cached.store.load("c") == context("c", 2, y=[1])
        assert await cached.delete("a")
        assert not await cached.delete("a")
        assert await cached.get("a") is None
        await cached.aclose()


def both(strategy: str) -> DistributedCache:
    return DistributedCache(InMemoryStore(), InMemoryStore(), strategy=strategy)


async def test_write_through_writes_the_store_then_the_cache(store: WatchedStore, cache: WatchedStore) -> None:
    cached = DistributedCache(store, cache, strategy="WriteThrough")
    await cached.put(context("a", 1))
    assert await cache.load("a") == await store.load("a") == context("a", 1)
    store.failure = unavailable()
    with pytest.raises(Unavailable):
        await cached.put(context("a", 2))
    assert await cache.load("a") == context("a", 1)


async def test_write_behind_writes_the_cache_now_and_the_store_later(store: WatchedStore, cache: WatchedStore) -> None:
    cached = DistributedCache(store, cache, strategy="WriteBehind")
    await cached.put(context("a", 1))
    assert await cache.load("a") == context("a", 1)
    assert cached.stats().pending == ("a",)
    assert "write" not in store.calls
    assert await cached.get("a") == context("a", 1)
    await cached.flush()
    assert await store.load("a") == context("a", 1)
    assert (cached.stats().pending, cached.stats().writing, cached.stats().written) == ((), (), 1)
    await cached.aclose()


async def test_read_through_drops_the_copy_at_a_put_and_makes_it_at_a_get(
    store: WatchedStore, cache: WatchedStore
) -> None:
    cached = DistributedCache(store, cache, strategy="ReadThrough")
    await cached.put(context("a", 1))
    assert await cache.load("a") is None
    assert await cached.get("a") == context("a", 1)
    assert await cache.load("a") == context("a", 1)
    await cached.put(context("a", 2))
    assert await cache.load("a") is None
    assert await store.load("a") == context("a", 2)


async def test_cache_aside_does_only_what_it_is_told(store: WatchedStore, cache: WatchedStore) -> None:
    cached = DistributedCache(store, cache, strategy="CacheAside")
    with pytest.raises(InputError, match="put_store or put_cache"):
        await cached.put(context("a", 1))
    await cached.put_store(context("a", 1))
    assert await cached.get("a") is None
    assert await cached.put_cache(context("a", 1))
    assert await cached.get_many(["a", "b"]) == [context("a", 1), None]
    await cached.put_store(context("a", 2), expected_version=1)
    assert await cached.get("a") == context("a", 1)
    await cached.invalidate("a")
    assert await cached.get("a") is None
    assert await store.load("a") == context("a", 2)
    assert (cached.stats().hits, cached.stats().misses) == (2, 3)
    with pytest.raises(VersionMismatch):
        await cached.put_store(context("a", 3), expected_version=1)


async def test_cache_aside_without_a_cache_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="needs a cache"):
        DistributedCache(InMemoryStore(), strategy="cache_aside")
    with pytest.raises(ConfigurationError, match="no cache"):
        await DistributedCache(InMemoryStore()).put_cache(context())
    with pytest.raises(InputError, match="write_through, write_behind, read_through, cache_aside"):
        DistributedCache(InMemoryStore(), strategy="write_around")


async def test_a_strategy_has_two_spellings() -> None:
    assert CacheStrategy.parse("WriteBehind") is CacheStrategy.WriteBehind is CacheStrategy.parse("write_behind")


@pytest.mark.parametrize("strategy", BY_ITSELF)
async def test_a_hit_reads_no_context_from_the_store(strategy: str, store: WatchedStore, cache: WatchedStore) -> None:
    cached = DistributedCache(store, cache, strategy=strategy)
    await cached.put(context("a", x=1))
    await cached.flush()
    await cached.get("a")
    store.calls.clear()
    assert await cached.get("a") == context("a", x=1)
    assert await cached.get_many(["a"]) == [context("a", x=1)]
    assert store.calls == ["digests", "digests"]
    await cached.aclose()


@pytest.mark.parametrize("strategy", BY_ITSELF)
async def test_a_copy_that_the_store_no_longer_has_is_not_believed(
    strategy: str, store: WatchedStore, cache: WatchedStore
) -> None:
    """Another process wrote, and its invalidation failed; deleted; deleted and created again with the same version."""
    cached = DistributedCache(store, cache, strategy=strategy)
    await cached.put(context("a", 1, x=1))
    await cached.flush()
    await cached.get("a")
    for changed in (context("a", 2, x=2), None, context("a", 1, x=3)):
        await (store.delete("a") if changed is None else store.save(changed))
        assert await cached.get("a") == changed
        await cache.save(context("a", 1, x=1))
        assert await cached.get_many(["a"]) == [changed]
        await cache.save(context("a", 9, x="forged"))
        assert await cached.get("a") == changed
    assert cached.stats().stale >= 6
    await cached.aclose()


def _set_y(value: int, changing: DistributedContext) -> None:
    changing.set("y", value)


@pytest.mark.parametrize("strategy", BY_ITSELF)
@pytest.mark.parametrize("seed", range(5))
async def test_answers_with_a_lying_cache_are_those_without_one(strategy: str, seed: int) -> None:
    dice = random.Random(seed)
    # The breaker never opens: how long it stays open is a matter of the clock, and so would be how much is read.
    liar = DistributedCache(
        InMemoryStore(), LyingCache(seed), strategy=strategy, linger=0.0, breaker_threshold=1_000_000
    )
    honest = DistributedCache(InMemoryStore())
    names = ["a", "b", "c", "d"]
    for step in range(400):
        name = dice.choice(names)
        match dice.randrange(6):
            case 0:
                version = dice.randrange(1, 4)
                for cached in (liar, honest):
                    await cached.put(context(name, version, x=step))
            case 1:
                assert await liar.delete(name) == await honest.delete(name)
            case 2:
                many = [context(other, 1, x=-step) for other in dice.sample(names, 2)]
                for cached in (liar, honest):
                    await cached.put_many(many)
            case 3:
                changed = [await each.update(name, functools.partial(_set_y, step)) for each in (liar, honest)]
                assert changed[0].data == changed[1].data
            case 4:
                found, expected = await liar.get_many(names), await honest.get_many(names)
                assert [each and each.data for each in found] == [each and each.data for each in expected]
            case _:
                got, wanted = await liar.get(name), await honest.get(name)
                assert (got and (got.data, got.metadata.version)) == (wanted and (wanted.data, wanted.metadata.version))
    stats = liar.stats()
    assert stats.hits > 5
    assert stats.errors > 20
    assert stats.stale > 5
    await liar.aclose()


async def test_one_load_serves_all_who_wait(store: WatchedStore, cache: WatchedStore) -> None:
    cached = DistributedCache(store, cache, strategy="ReadThrough")
    await cached.put(context("a", x=1))
    store.delay = 0.02
    store.calls.clear()
    answers = await asyncio.gather(*(cached.get("a") for _ in range(100)))
    assert answers == [context("a", x=1)] * 100
    assert len({id(answer) for answer in answers}) == 100
    assert store.calls.count("read") == 1
    assert cached.stats().loading == 0


async def test_who_leaves_does_not_take_the_others_along(store: WatchedStore, cache: WatchedStore) -> None:
    cached = DistributedCache(store, cache, strategy="ReadThrough")
    await cached.put(context("a", x=1))
    store.calls.clear()
    store.answering = asyncio.Event()
    first, second, third = (asyncio.create_task(cached.get("a")) for _ in range(3))
    await store.called("read")
    assert cached.stats().loading == 1
    first.cancel()
    await asyncio.wait({first})
    store.answering.set()
    assert await second == await third == context("a", x=1)
    assert first.cancelled()


async def test_the_last_to_leave_ends_the_load() -> None:
    flights: SingleFlight[None] = SingleFlight()
    ended: list[str] = []

    async def load() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("ended")

    waiters = [asyncio.create_task(flights.run("a", load)) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(flights) == 1
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    assert len(flights) == 0
    await asyncio.sleep(0)
    assert ended == ["ended"]


async def test_a_failed_load_fails_all_who_wait_and_nobody_after() -> None:
    flights: SingleFlight[int] = SingleFlight()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise unavailable()

    async def succeed() -> int:
        return 7

    outcomes = await asyncio.gather(*(flights.run("a", fail) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    assert await flights.run("a", succeed) == 7


async def test_a_load_that_began_before_a_write_answers_nobody_who_came_after_it(
    store: WatchedStore, cache: WatchedStore
) -> None:
    cached = DistributedCache(store, cache, strategy="ReadThrough")
    await cached.put(context("a", 1, x="old"))
    store.calls.clear()
    store.answering = asyncio.Event()
    early = asyncio.create_task(cached.get("a"))
    await store.called("read")
    await store.keep_now(context("a", 2, x="new"))  # another process
    late = asyncio.create_task(cached.get("a"))
    await store.called("digests", 2)
    store.answering.set()
    assert await late == context("a", 2, x="new")
    assert await early == context("a", 1, x="old")


@pytest.mark.parametrize("strategy", [*BY_ITSELF, "cache_aside"])
async def test_get_or_load_runs_one_loader_and_keeps_what_it_makes(strategy: str) -> None:
    cached = both(strategy)
    loads: list[str] = []

    async def loader(session_id: str) -> DistributedContext:
        loads.append(session_id)
        await asyncio.sleep(0.01)
        return context(session_id, x=len(loads))

    answers = await asyncio.gather(*(cached.get_or_load("a", loader) for _ in range(20)))
    assert answers == [context("a", x=1)] * 20
    assert await cached.get_or_load("a", loader) == await cached.get("a") == context("a", x=1)
    assert loads == ["a"]
    assert await cached.get_or_load("b", lambda _: None) is None
    with pytest.raises(InputError, match="the loader of 'b' gave the context of 'c'"):
        await cached.get_or_load("b", lambda _: context("c"))
    await cached.aclose()


async def test_with_max_staleness_a_confirmed_copy_is_believed_that_long(
    store: WatchedStore, cache: WatchedStore
) -> None:
    cached, now = DistributedCache(store, cache, max_staleness=0.2), 0.0
    cached._reads._confirmed._clock = lambda: now
    await cached.put(context("a", 1))
    store.calls.clear()
    now = 0.19
    assert await cached.get("a") == context("a", 1)
    assert store.calls == []
    await store.save(context("a", 2))  # another process
    assert await cached.get("a") == context("a", 1)
    now = 0.21
    assert await cached.get("a") == context("a", 2)
    await cached.put(context("a", 3))
    assert await cached.get("a") == context("a", 3)
    await cached.update("a", lambda changing: changing.set("x", 1))
    changed = await cached.get("a")
    assert changed is not None
    assert changed.metadata.version == 4
    await cached.delete("a")
    assert await cached.get("a") is None


async def test_with_max_staleness_a_copy_that_was_never_in_the_store_is_not_believed(
    store: WatchedStore, cache: WatchedStore
) -> None:
    cached = DistributedCache(store, cache, max_staleness=60)
    await cached.put(context("a", 2))
    await cache.save(context("a", 9, x="forged"))
    assert await cached.get("a") == context("a", 2)
    await cached.invalidate("a")
    await store.save(context("a", 3))
    assert await cached.get_many(["a"]) == [context("a", 3)]


def test_an_older_observation_never_replaces_a_younger_one() -> None:
    now = 0.0
    confirmed = DigestCache(10, clock=lambda: now)
    confirmed.observe("a", b"written", 5.0)
    confirmed.observe("a", b"read before that", 4.0)
    assert confirmed.digests(["a"]) == {"a": b"written"}
    confirmed.observe("a", None, 6.0)
    assert confirmed.digests(["a"]) == {}
    confirmed.observe("b", b"x", 7.0)
    now = 16.9
    assert confirmed.digests(["b"]) == {"b": b"x"}
    now = 17.0
    assert confirmed.digests(["b"]) == {}


def test_only_the_digests_that_were_observed_last_are_remembered() -> None:
    confirmed = DigestCache(10, max_sessions=2, clock=lambda: 1.0)
    for session_id in "abac":
        confirmed.observe(session_id, session_id.encode(), 1.0)
    assert confirmed.digests(["a", "b", "c"]) == {"a": b"a", "c": b"c"}


def an_hour_later(cached: DistributedCache) -> None:
    """For its circuits."""
    assert cached._tier is not None
    for circuit in (cached._tier.read_circuit, cached._tier.write_circuit):
        circuit._clock = lambda: time.monotonic() + 3600


@pytest.mark.parametrize("strategy", BY_ITSELF)
async def test_a_dead_cache_opens_the_breaker_within_five_calls_and_fails_nothing(
    strategy: str, store: WatchedStore, cache: WatchedStore
) -> None:
    cache.failure = OSError("gone")
    cached = DistributedCache(store, cache, strategy=strategy, breaker_reset=3600)
    for version in range(1, 7):
        await cached.put(context("a", version))
        await cached.flush()
        assert await cached.get("a") == context("a", version)
    assert (cached.stats().read_breaker, cached.stats().write_breaker) == ("open", "open")
    assert cached.stats().errors == 10
    assert len(cache.calls) == 10
    cache.failure = None
    an_hour_later(cached)
    assert cached.stats().read_breaker == "half_open"
    await cached.put(context("a", 7))
    await cached.flush()
    assert await cached.get("a") == context("a", 7)
    assert (cached.stats().read_breaker, cached.stats().write_breaker) == ("closed", "closed")
    await cached.aclose()


async def test_an_open_breaker_costs_the_store_one_read(store: WatchedStore, cache: WatchedStore) -> None:
    cache.failure = OSError("gone")
    cached = DistributedCache(store, cache, breaker_reset=60)
    await store.save(context("a"))
    for _ in range(5):
        await cached.get("a")
    store.calls.clear()
    assert await cached.get("a") == context("a")
    assert await cached.get_many(["a"]) == [context("a")]
    assert store.calls == ["read", "read"]


async def test_a_slow_cache_costs_its_timeout_once_for_each_call(store: WatchedStore, cache: WatchedStore) -> None:
    cache.delay = 3600
    cached = DistributedCache(store, cache, cache_timeout=0.02, breaker_threshold=1000)
    for version in range(1, 11):
        await cached.put(context("a", version))
        assert await cached.get("a") == context("a", version)
    assert (cached.stats().errors, len(cache.calls)) == (20, 20)


async def test_a_context_that_the_cache_cannot_take_is_served_by_the_store(store: WatchedStore) -> None:
    cached = DistributedCache(store, InMemoryStore(max_bytes=100), breaker_threshold=2)
    large = context("a", 1, x="x" * 200)
    for _ in range(5):
        await cached.put(large)
        assert await cached.get("a") == large
    assert cached.stats().write_breaker == "closed"
    assert cached.stats().hits == 0


async def test_a_damaged_store_is_an_error_and_a_damaged_cache_is_a_miss(
    store: WatchedStore, cache: WatchedStore
) -> None:
    cached = DistributedCache(store, cache)
    aside = DistributedCache(store, cache, strategy="cache_aside")
    await cached.put(context("a", 1))
    record = (await cache.read(["a"]))[0]
    assert record is not None
    await cache._write({"a": record._replace(packed=b"garbage")}, None)
    assert await aside.get("a") is None
    assert await cached.get("a") == context("a", 1)
    assert aside.stats().errors == cached.stats().errors == 1
    other = (await store.read(["a"]))[0]
    assert other is not None
    await cache._write({"b": other}, None)  # whole, and of another session
    assert await aside.get("b") is None
    assert aside.stats().errors == 2
    await store._write({"a": record._replace(packed=b"garbage")}, None)
    with pytest.raises(WireFormatError, match="damaged"):
        await cached.get("a")


async def test_updates_of_one_process_take_turns(store: WatchedStore) -> None:
    store.delay = 0.001
    cached = DistributedCache(store, InMemoryStore())

    async def add_one(changing: DistributedContext) -> None:
        count = changing.get("count", 0)
        await asyncio.sleep(0)
        changing.set("count", number(count) + 1)

    await asyncio.gather(*(cached.update("a", add_one) for _ in range(40)))
    final = await cached.get("a")
    assert final is not None
    assert (final.data, final.metadata.version) == ({"count": 40}, 41)
    assert store.calls.count("swap") == 40


@pytest.fixture(params=["redis", "sqlite", "postgres", "mysql"])
async def shared(request: pytest.FixtureRequest, task_queue: str) -> AsyncIterator[tuple[ContextStore, ContextStore]]:
    """Two clients of one store, as two processes have them."""

    def client() -> ContextStore:
        match request.param:
            case "redis":
                return RedisStore.from_url(request.getfixturevalue("valkey_url"))
            case "sqlite":
                return SqlStore.from_url(f"sqlite:///{request.getfixturevalue('tmp_path') / 'contexts.db'}")
            case _:
                return SqlStore.from_url(request.getfixturevalue(f"{request.param}_url"))

    stores = (client(), client())
    yield stores
    for each in stores:
        await each.aclose()


async def test_updates_through_several_caches_lose_nothing(
    shared: tuple[ContextStore, ContextStore], task_queue: str
) -> None:
    caches = [DistributedCache(each, InMemoryStore()) for each in shared]

    def add_one(changing: DistributedContext) -> None:
        changing.set("count", number(changing.get("count", 0)) + 1)

    results = await asyncio.gather(*(caches[index % 2].update(task_queue, add_one) for index in range(60)))
    assert sorted(result.metadata.version for result in results) == list(range(2, 62))
    for each in caches:
        final = await each.get(task_queue)
        assert final is not None
        assert final.data == {"count": 60}


class Contended(InMemoryStore):
    """Another writer is faster: `interference` is stored just before each compare-and-set, one at a time."""

    def __init__(self, *interference: DistributedContext) -> None:
        super().__init__()
        self.interference = list(interference)

    async def save(
        self, context: DistributedContext, ttl: float | None = None, expected_version: int | None = None
    ) -> None:
        if expected_version is not None and self.interference:
            await super().save(self.interference.pop(0))
        await super().save(context, ttl, expected_version)


async def contended(resolution: str, *interference: DistributedContext) -> tuple[DistributedContext, int]:
    """What comes out when an update ships an order that another writer has changed, and how often it was made."""
    store = Contended(*interference)
    await store.save(context("a", 1, status="new", count=10))
    made = 0

    def ship(changing: DistributedContext) -> None:
        nonlocal made
        made += 1
        changing.set("status", "shipped", at=9)
        changing.set("count", number(changing.data["count"]) + 1, at=9)

    result = await DistributedCache(store, resolution=resolution).update("a", ship)
    assert await store.load("a") == result
    return result, made


@pytest.mark.parametrize("resolution", ["LastWriteWins", "HigherVersionWins", "FailOnConflict", "MergeAll"])
async def test_without_a_conflict_the_change_is_made_again_on_the_fresh_context(resolution: str) -> None:
    other = context("a", 2, status="new", count=10, note="gift")
    result, made = await contended(resolution, other)
    assert (result.data, made) == ({"status": "shipped", "count": 11, "note": "gift"}, 2)
    assert result.metadata.version == 4


@pytest.mark.parametrize("resolution", ["LastWriteWins", "HigherVersionWins"])
async def test_where_the_last_write_wins_the_change_is_made_again_and_loses_no_update(resolution: str) -> None:
    result, made = await contended(resolution, context("a", 2, status="paid", count=12))
    assert (result.data, made) == ({"status": "shipped", "count": 13}, 2)


async def test_fail_on_conflict_fails_the_update_naming_the_path_and_stores_nothing() -> None:
    with pytest.raises(ConflictError, match=r"'status' was 'new'.*'paid'.*'shipped'"):
        await contended("FailOnConflict", context("a", 2, status="paid", count=10))


async def test_merge_all_keeps_both_even_if_a_third_writer_comes_in() -> None:
    second = context("a", 2, status="paid", count=10)
    third = context("a", 3, status="paid", count=10, note="gift")
    result, made = await contended("MergeAll", second, third)
    assert (result.data["status"], result.data["note"], made) == (["paid", "shipped"], "gift", 1)
    assert result.metadata.version > 3


async def test_an_update_that_never_gets_through_ends_with_version_mismatch() -> None:
    store = Contended(*(context("a", version, x=version) for version in range(2, 9)))
    await store.save(context("a", 1))
    with pytest.raises(VersionMismatch):
        await update(store, "a", lambda changing: changing.set("y", 1), attempts=3)
    assert len(store.interference) == 4


async def test_an_update_that_changes_nothing_stores_nothing(store: WatchedStore) -> None:
    cached = DistributedCache(store)
    await cached.put(context("a", 5, x=1))
    store.calls.clear()
    assert await cached.update("a", lambda _: None) == context("a", 5, x=1)
    assert (await cached.update("absent", lambda _: None)).data == {}
    assert store.calls == ["read", "read"]


async def test_an_update_that_writes_below_set_makes_a_version_too(store: WatchedStore) -> None:
    cached = DistributedCache(store)
    await cached.put(context("a", 5, x=[1]))
    result = await cached.update("a", lambda changing: items(changing.data["x"]).append(2))
    assert (result.data, result.metadata.version) == ({"x": [1, 2]}, 6)
    assert await store.load("a") == result


async def test_an_update_whose_change_raises_stores_nothing(store: WatchedStore) -> None:
    cached = DistributedCache(store)
    await cached.put(context("a", 5))

    def fail(changing: DistributedContext) -> None:
        changing.set("x", 1)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await cached.update("a", fail)
    assert await cached.get("a") == context("a", 5)


async def test_write_behind_coalesces_the_puts_of_a_session(store: WatchedStore) -> None:
    cached = DistributedCache(store, strategy="write_behind", linger=0.02)
    for version in range(1, 51):
        await cached.put(context("a", version))
        await cached.put(context("b", version))
    await cached.flush()
    assert await store.load_many(["a", "b"]) == [context("a", 50), context("b", 50)]
    assert cached.stats().written == 2
    assert store.calls.count("write") == 1
    await cached.aclose()


async def test_write_behind_makes_puts_wait_while_the_queue_is_full(store: WatchedStore) -> None:
    store.failure = unavailable()
    cached = DistributedCache(store, strategy="write_behind", max_pending=3)
    cached._behind._patience = 0.1
    await cached.put_many([context("a"), context("b"), context("c")])
    await cached.put(context("a", 2))  # has its place already
    with pytest.raises(Unavailable, match="3 contexts still wait"):
        await cached.put(context("d"))
    cached._behind._patience = 60
    waiting = asyncio.create_task(cached.put(context("d", 7)))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    store.failure = None
    await waiting
    await cached.flush()
    assert await store.load_many(["a", "b", "c", "d"]) == [
        context("a", 2),
        context("b"),
        context("c"),
        context("d", 7),
    ]
    await cached.aclose()


async def test_write_behind_tries_again_until_the_store_is_back(store: WatchedStore) -> None:
    store.failure = unavailable()
    cached = DistributedCache(store, InMemoryStore(), strategy="write_behind", linger=0)
    await cached.put(context("a", 1))
    await store.called("write", 2)
    assert await cached.get("a") == context("a", 1)
    await cached.put(context("a", 2))
    with pytest.raises(Unavailable, match="still wait for the store"):
        await cached.flush(within=0.05)
    store.failure = None
    await cached.flush()
    assert await store.load("a") == context("a", 2)
    assert (cached.stats().written, cached.stats().failed) == (1, 0)
    await cached.aclose()


async def test_write_behind_reports_what_the_store_will_never_take_and_writes_the_rest() -> None:
    store = PickyStore("b", "d")
    reported: list[tuple[str, str]] = []
    cached = DistributedCache(
        store,
        strategy="write_behind",
        on_write_error=lambda refused, error: reported.append((refused.session_id, str(error))),
    )
    await cached.put_many([context(name, 1) for name in "abcde"])
    await cached.flush()
    assert reported == [("b", "'b' is refused"), ("d", "'d' is refused")]
    assert sorted([name async for name in store.list_sessions()]) == ["a", "c", "e"]
    assert (cached.stats().written, cached.stats().failed, cached.stats().pending) == (3, 2, ())
    assert await cached.get("b") is None
    await cached.aclose()


async def test_an_orderly_stop_of_write_behind_loses_nothing(store: WatchedStore) -> None:
    cached = DistributedCache(store, strategy="write_behind", linger=3600)
    await cached.put_many([context(str(index), 1, x=index) for index in range(1200)])
    await asyncio.wait_for(cached.aclose(), 60)
    assert await store.load_many(["0", "1199"]) == [context("0", x=0), context("1199", x=1199)]
    assert len(store) == 1200
    with pytest.raises(Unavailable, match="closed"):
        await cached.put(context("late"))


async def test_a_stop_that_cannot_write_reports_each_context_and_raises(store: WatchedStore) -> None:
    store.failure = unavailable()
    reported: list[DistributedContext] = []
    cached = DistributedCache(
        store, strategy="write_behind", on_write_error=lambda refused, _: reported.append(refused)
    )
    await cached.put_many([context("a", 4), context("b", 5)])
    with pytest.raises(Unavailable, match="2 contexts still wait"):
        await cached.aclose(within=0.1)
    assert sorted(reported, key=lambda refused: refused.session_id) == [context("a", 4), context("b", 5)]
    assert (cached.stats().failed, cached.stats().pending) == (2, ())


async def test_a_context_that_is_not_data_is_refused_by_the_put_itself(store: WatchedStore) -> None:
    cached = DistributedCache(store, strategy="write_behind")
    with pytest.raises(WireFormatError):
        await cached.put(context("a", x=unchecked(object())))
    with pytest.raises(InputError, match="session id"):
        await cached.put(context(""))
    assert cached.stats().pending == ()


async def test_the_warmer_copies_from_ids_and_from_the_store(store: WatchedStore, cache: WatchedStore) -> None:
    await store.save_many([context(f"order-{index}", x=index) for index in range(25)] + [context("other")])
    cached = DistributedCache(store, cache)
    warmer = CacheWarmer(cached, batch=10)
    assert await warmer.warm(["order-1", "order-2", "absent"]) == 2
    assert await cache.load("order-1") == context("order-1", x=1)
    assert await warmer.warm_from_store("order-") == 25
    assert await warmer.warm_from_store(limit=7) == 7
    assert await cache.exists("order-24")
    store.calls.clear()
    await cached.get("order-3")
    assert store.calls == ["digests"]
    cache.failure = OSError("gone")
    assert await warmer.warm(["order-1"]) == 0


async def test_what_is_put_without_a_lifetime_has_the_default_one(store: WatchedStore, cache: WatchedStore) -> None:
    cached = DistributedCache(store, cache, default_ttl=0.05)
    await cached.put(context("short"))
    await cached.put(context("long"), ttl=60)
    await asyncio.sleep(0.06)
    assert await cached.get_many(["short", "long"]) == [None, context("long")]
    assert await cache.load("short") is None
    with pytest.raises(InputError, match="ttl must be a positive number"):
        DistributedCache(store, default_ttl=0)
