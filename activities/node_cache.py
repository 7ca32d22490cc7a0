"""Reuse what a node changed for the same `cache.key`: one worker computes it, the others wait for its result.

The entry's key covers the node's whole definition, so that an edited node never gets the old one's result. A cache that
does not answer only costs the reuse: the node runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol

import msgpack
from redis.asyncio import Redis
from redis.exceptions import RedisError

from context.changes import ChangeSet
from context.wire import decode
from errors import AnabranchError

_POLL_SECONDS = 0.05
_LEASE_SECONDS = 30
"""How long others wait for the one that computes; then they compute too."""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class ResultCache(Protocol):
    """Where results are kept."""

    async def get(self, key: str) -> bytes | None:
        """The bytes of an entry, or None."""
        ...

    async def put(self, key: str, value: bytes, ttl: timedelta) -> None:
        """Keep an entry for `ttl`."""
        ...

    async def lease(self, key: str, holder: str) -> bool:
        """Whether `holder` is the one to compute the entry, for `_LEASE_SECONDS` or until it releases."""
        ...

    async def release(self, key: str, holder: str) -> None:
        """Let another one compute it."""
        ...


class InMemoryResults:
    """Results of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_entries: int = 10_000) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._entries: dict[str, tuple[float, bytes]] = {}
        self._leases: dict[str, tuple[float, str]] = {}

    async def get(self, key: str) -> bytes | None:
        """The bytes of an entry that has not expired."""
        until, value = self._entries.get(key, (0.0, b""))
        return value if until > self._clock() else None

    async def put(self, key: str, value: bytes, ttl: timedelta) -> None:
        """Keep an entry; the oldest one goes when there are too many."""
        self._entries.pop(key, None)
        self._entries[key] = (self._clock() + ttl.total_seconds(), value)
        if len(self._entries) > self._max_entries:
            del self._entries[next(iter(self._entries))]

    async def lease(self, key: str, holder: str) -> bool:
        """The first one gets it."""
        until, _ = self._leases.get(key, (0.0, ""))
        if until > self._clock():
            return False
        self._leases[key] = (self._clock() + _LEASE_SECONDS, holder)
        return True

    async def release(self, key: str, holder: str) -> None:
        """Only its holder releases it."""
        if self._leases.get(key, (0.0, ""))[1] == holder:
            del self._leases[key]


class RedisResults:
    """Results shared by all workers that use one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._release = redis.register_script(_RELEASE)

    async def get(self, key: str) -> bytes | None:
        """One GET."""
        value = await self._redis.get(_name(key, "result"))
        return value if isinstance(value, bytes) else None

    async def put(self, key: str, value: bytes, ttl: timedelta) -> None:
        """One SET with its time to live."""
        await self._redis.set(_name(key, "result"), value, px=max(1, int(ttl.total_seconds() * 1000)))

    async def lease(self, key: str, holder: str) -> bool:
        """SET if there is none."""
        return bool(await self._redis.set(_name(key, "lease"), holder, nx=True, ex=_LEASE_SECONDS))

    async def release(self, key: str, holder: str) -> None:
        """Delete the lease if it is still the holder's."""
        await self._release(keys=[_name(key, "lease")], args=[holder])


class NodeResults:
    """Runs a node at most once for each key while its result is fresh."""

    def __init__(self, cache: ResultCache) -> None:
        self._cache = cache

    async def through(
        self, key: str, ttl: timedelta, compute: Callable[[], Awaitable[ChangeSet]]
    ) -> tuple[ChangeSet, bool]:
        """The changes, and whether they come from the cache. Failures of `compute` are not kept."""
        holder = uuid.uuid4().hex
        try:
            found = await self._found_or_leased(key, holder)
        except RedisError:
            return await compute(), False
        if found is not None:
            return found, True
        try:
            changes = await compute()
            await self._keep(key, changes, ttl)
        finally:
            await self._let_go(key, holder)
        return changes, False

    async def _found_or_leased(self, key: str, holder: str) -> ChangeSet | None:
        """The entry; None when it is for this caller to compute it."""
        patience = time.monotonic() + _LEASE_SECONDS
        while True:
            if (changes := await self._found(key)) is not None or time.monotonic() > patience:
                return changes
            if await self._cache.lease(key, holder):
                # Another one may have kept its result and let go since the look above.
                if (changes := await self._found(key)) is not None:
                    await self._let_go(key, holder)
                return changes
            await asyncio.sleep(_POLL_SECONDS)

    async def _found(self, key: str) -> ChangeSet | None:
        packed = await self._cache.get(key)
        return None if packed is None else _unpacked(packed)

    async def _keep(self, key: str, changes: ChangeSet, ttl: timedelta) -> None:
        try:
            await self._cache.put(key, msgpack.packb(changes.to_wire()) or b"", ttl)
        except RedisError:
            return

    async def _let_go(self, key: str, holder: str) -> None:
        try:
            await self._cache.release(key, holder)
        except RedisError:
            return


def result_key(graph: str, node: str, body: bytes, key: str) -> str:
    """The name of an entry: graph, node, and a digest of the node's definition and its rendered key."""
    digest = hashlib.sha256(body + b"\0" + key.encode()).hexdigest()
    return f"{graph}/{node}/{digest}"


def _unpacked(packed: bytes) -> ChangeSet | None:
    """The changes of an entry; None where it is not one, for a cache is never the truth."""
    try:
        return ChangeSet.from_wire(decode(packed))
    except AnabranchError:
        return None


def _name(key: str, part: str) -> str:
    return f"anabranch:node:{{{key}}}:{part}"
