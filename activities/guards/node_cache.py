"""Reuse what a node changed for the same `cache.key`: one worker computes it, the others wait for its result.

The entry's key covers the node's whole definition, so that an edited node never gets the old one's result. A cache that
does not answer only costs the reuse: the node runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Protocol

import msgpack
from redis.asyncio import Redis
from redis.exceptions import RedisError

from anabranch.context.changes import ChangeSet
from anabranch.context.wire import decode
from anabranch.errors import AnabranchError

_POLL_SECONDS = 0.05
_LEASE_SECONDS = 30.0
"""How long others wait for one that computes and has died. It renews its lease while it lives."""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"


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

    async def renew(self, key: str, holder: str) -> None:
        """Hold the lease for another `_LEASE_SECONDS`, where it is still the holder's."""
        ...

    async def release(self, key: str, holder: str) -> None:
        """Let another one compute it."""
        ...


class InMemoryResults:
    """Results of this process."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        max_entries: int = 10_000,
        max_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._size = 0
        self._entries: dict[str, tuple[float, bytes]] = {}
        self._leases: dict[str, tuple[float, str]] = {}

    async def get(self, key: str) -> bytes | None:
        """The bytes of an entry that has not expired."""
        until, value = self._entries.get(key, (0.0, b""))
        return value if until > self._clock() else None

    async def put(self, key: str, value: bytes, ttl: timedelta) -> None:
        """Keep an entry; the oldest ones go when there are too many, or they are too large together."""
        self._drop(key)
        self._entries[key] = (self._clock() + ttl.total_seconds(), value)
        self._size += len(value)
        while len(self._entries) > self._max_entries or self._size > self._max_bytes:
            self._drop(next(iter(self._entries)))

    async def lease(self, key: str, holder: str) -> bool:
        """The first one gets it."""
        until, _ = self._leases.get(key, (0.0, ""))
        if until > self._clock():
            return False
        self._leases[key] = (self._clock() + _LEASE_SECONDS, holder)
        return True

    async def renew(self, key: str, holder: str) -> None:
        """Only its holder renews it."""
        if self._leases.get(key, (0.0, ""))[1] == holder:
            self._leases[key] = (self._clock() + _LEASE_SECONDS, holder)

    async def release(self, key: str, holder: str) -> None:
        """Only its holder releases it."""
        if self._leases.get(key, (0.0, ""))[1] == holder:
            del self._leases[key]

    def _drop(self, key: str) -> None:
        self._size -= len(self._entries.pop(key, (0.0, b""))[1])


class RedisResults:
    """Results shared by all workers that use one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._release = redis.register_script(_RELEASE)
        self._renew = redis.register_script(_RENEW)

    async def get(self, key: str) -> bytes | None:
        """One GET."""
        value = await self._redis.get(_name(key, "result"))
        return value if isinstance(value, bytes) else None

    async def put(self, key: str, value: bytes, ttl: timedelta) -> None:
        """One SET with its time to live."""
        await self._redis.set(_name(key, "result"), value, px=max(1, int(ttl.total_seconds() * 1000)))

    async def lease(self, key: str, holder: str) -> bool:
        """SET if there is none."""
        return bool(await self._redis.set(_name(key, "lease"), holder, nx=True, px=_lease_milliseconds()))

    async def renew(self, key: str, holder: str) -> None:
        """Move its end if it is still the holder's."""
        await self._renew(keys=[_name(key, "lease")], args=[holder, _lease_milliseconds()])

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
        async with self._holding(key, holder):
            changes = await compute()
            await self._keep(key, changes, ttl)
        return changes, False

    async def _found_or_leased(self, key: str, holder: str) -> ChangeSet | None:
        """The entry; None when it is for this caller to compute it."""
        while True:
            if (changes := await self._found(key)) is not None:
                return changes
            if await self._cache.lease(key, holder):
                # Another one may have kept its result and let go since the look above.
                if (changes := await self._found(key)) is not None:
                    await self._let_go(key, holder)
                return changes
            await asyncio.sleep(_POLL_SECONDS)

    @asynccontextmanager
    async def _holding(self, key: str, holder: str) -> AsyncIterator[None]:
        """Keep the lease while the block runs, however long that takes, and let go of it then."""
        renewing = asyncio.create_task(self._renew_again_and_again(key, holder))
        try:
            yield
        finally:
            renewing.cancel()
            await self._let_go(key, holder)

    async def _renew_again_and_again(self, key: str, holder: str) -> None:
        while True:
            await asyncio.sleep(_LEASE_SECONDS / 3)
            with suppress(RedisError):
                await self._cache.renew(key, holder)

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


def _lease_milliseconds() -> int:
    return int(_LEASE_SECONDS * 1000)


def _name(key: str, part: str) -> str:
    return f"anabranch:node:{{{key}}}:{part}"
