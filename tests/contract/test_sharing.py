"""Publications of a run's context: what is in the store afterwards, in whatever order attempts arrive."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from anabranch.activities.share import ContextSharing
from anabranch.context.cache.strategy import CacheStrategy
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.stores.memory import InMemoryStore
from anabranch.context.stores.protocol import ContextStore
from anabranch.context.stores.redis import RedisStore
from anabranch.errors import ConfigurationError
from anabranch.settings import Settings
from anabranch.transport.payload_store import offloading

STARTED = 1_700_000_000_000


def version(number: int, started: int = STARTED) -> DistributedContext:
    return DistributedContext("run", {"step": number}, ContextMetadata(started, started + number, number))


def settings(**given: Any) -> Settings:
    return Settings(graphs=Path("examples"), **given)


class Slow(InMemoryStore):
    """Its first save blocks until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def save(
        self, context: DistributedContext, ttl: float | None = None, expected_version: int | None = None
    ) -> None:
        if not self.reached.is_set():
            self.reached.set()
            await self.go.wait()
        await super().save(context, ttl, expected_version)


class On(ContextSharing):
    """Shares in a given store, with a cache of its own where it has one."""

    def __init__(self, store: ContextStore, **given: object) -> None:
        super().__init__(settings(store_url="store", **given))
        self.kept = store

    def _store(self, variable: str, url: str | None) -> ContextStore | None:
        return {None: None, "store": self.kept, "cache": InMemoryStore()}[url]


@pytest.mark.parametrize("strategy", ["write_through", "write_behind", "read_through"])
async def test_an_attempt_that_was_given_up_does_not_replace_a_later_version(strategy: str) -> None:
    """It hangs in the store; its successor and the next version are there before it goes on."""
    store, options = Slow(), {"strategy": strategy}
    sharing = On(store)
    late = asyncio.create_task(sharing.share(version(1), options))
    await store.reached.wait()
    successor = On(store)
    await successor.share(version(1), options)
    await successor.share(version(2), options)
    store.go.set()
    await late
    kept = await store.load("run")
    assert kept is not None
    assert (kept.data, kept.metadata.version) == ({"step": 2}, 2)


@pytest.mark.parametrize("strategy", list(CacheStrategy))
async def test_each_strategy_keeps_version_after_version_and_a_later_run_replaces_them(strategy: CacheStrategy) -> None:
    store = InMemoryStore()
    sharing = On(store, cache_url="cache")
    for context in (version(1), version(2), version(9), version(9), version(1, started=STARTED + 60_000)):
        await sharing.share(context, {"strategy": str(strategy)})
        kept = await store.load("run")
        assert kept is not None
        assert (kept.data, kept.metadata) == (context.data, context.metadata)


@pytest.mark.parametrize("strategy", ["write_through", "write_behind", "read_through"])
async def test_a_store_that_refuses_is_told(strategy: str, valkey_url: str) -> None:
    """Whoever has no password: nothing is there on return, so it must not return."""
    sharing = ContextSharing(settings(store_url=valkey_url.replace("redis://", "redis://nobody:secret@")))
    with pytest.raises(ConfigurationError, match="credentials"):
        await sharing.share(version(1), {"strategy": strategy})
    await sharing.aclose()


async def test_what_is_stored_and_damaged_is_replaced(valkey_url: str) -> None:
    redis, store = Redis.from_url(valkey_url), RedisStore.from_url(valkey_url)
    await redis.set("anabranch:context:{run}", b"\x00" * 40)
    sharing = ContextSharing(settings(store_url=valkey_url))
    await sharing.share(version(3), {})
    kept = await store.load("run")
    assert kept is not None
    assert kept.metadata.version == 3
    await redis.delete("anabranch:context:{run}")
    for each in (redis, store, sharing):
        await each.aclose()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"store_url": "redis://s3cret:port"}, "STORE_URL is not the URL of a Redis"),
        ({"store_url": "postgresql://s3cret:port/x"}, "STORE_URL is not the URL of a database"),
        ({"store_url": "memcached://s3cret:port"}, "STORE_URL is not the URL of a Memcached"),
        ({"store_url": "s3cret"}, "STORE_URL is not the URL of a store"),
        ({"redis_url": "foo"}, "REDIS_URL is not the URL of a store"),
        ({"store_url": "memory://", "cache_url": "redis://s3cret:port"}, "CACHE_URL is not the URL of a Redis"),
    ],
)
async def test_a_wrong_url_is_refused_by_the_name_of_its_variable(given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        await ContextSharing(settings(**given)).share(version(1), {})
    assert "s3cret" not in str(caught.value)


def test_a_wrong_payload_store_is_refused_by_the_name_of_its_variable() -> None:
    for wrong in ("foo", "redis://s3cret:port", "postgresql://s3cret:port/x", "redis+s3cret://host"):
        with pytest.raises(ConfigurationError, match="PAYLOAD_STORE_URL is not the URL of a") as caught:
            offloading(wrong, threshold=1)
        assert "s3cret" not in str(caught.value)
