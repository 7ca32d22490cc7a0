"""Reuse what a node changed for the same `cache.key`: one worker computes it, the others wait for its result.

The entry's key covers the node's whole definition, so an edited node never gets an old result. If the
cache does not answer, the node just runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final, Protocol

import msgpack
from redis.asyncio.lock import Lock

from anabranch.backoff import Backoff
from anabranch.cipher import Cipher, open_plain
from anabranch.context.changes import ChangeSet
from anabranch.context.wire import decode
from anabranch.errors import AnabranchError, EncryptionKeyMissing, InputError
from anabranch.observe import metrics
from anabranch.redis_client import RedisClient

LEASE_SECONDS: Final = 30.0
"""How long others wait at most for one that computes and has died. It renews its lease while it lives."""
_LEASE_SHARE: Final = 0.25
"""Of the time that others wait: who has died is replaced well before."""
_RESULT: Final = "result of a node"
_LABELS: Final = ("node", "ttl")
"""The tier and the strategy that the metrics name."""
_WAIT: Final = Backoff(first=0.02, longest=0.1)


class Lease(Protocol):
    """The right to compute an entry, until it is released or not renewed in time."""

    async def renew(self) -> None:
        """Hold it for its whole time again."""
        ...

    async def release(self) -> None:
        """Let another caller compute the entry."""
        ...


class ResultCache(Protocol):
    """Where results are kept. Every method raises AnabranchError where the place does not answer."""

    async def get(self, key: str) -> bytes | None:
        """The bytes of an entry, or None."""
        ...

    async def put(self, key: str, value: bytes, ttl: timedelta) -> None:
        """Keep an entry for `ttl`."""
        ...

    async def lease(self, key: str, seconds: float) -> Lease | None:
        """The right to compute the entry, for so long; None where another caller has it."""
        ...


class InMemoryResults:
    """Results of this process."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        max_entries: int = 10_000,
        max_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._size = 0
        self._entries: dict[str, tuple[float, bytes]] = {}
        self._leases: dict[str, _LocalLease] = {}

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

    async def lease(self, key: str, seconds: float) -> Lease | None:
        """The first one gets it."""
        held = self._leases.get(key)
        if held is not None and held.until > self._clock():
            return None
        self._leases[key] = _LocalLease(self._leases, key, self._clock, seconds)
        return self._leases[key]

    def _drop(self, key: str) -> None:
        self._size -= len(self._entries.pop(key, (0.0, b""))[1])


class _LocalLease:
    """A lease of this process."""

    def __init__(self, leases: dict[str, _LocalLease], key: str, clock: Callable[[], float], seconds: float) -> None:
        self._leases = leases
        self._key = key
        self._clock = clock
        self._seconds = seconds
        self.until = clock() + seconds

    async def renew(self) -> None:
        """It counts only while nobody else has taken it."""
        self.until = self._clock() + self._seconds

    async def release(self) -> None:
        """Where it is still this one's."""
        if self._leases.get(self._key) is self:
            del self._leases[self._key]


class RedisResults:
    """Results shared by all workers that use one Redis, encrypted if there is a `cipher`."""

    def __init__(self, redis: RedisClient, cipher: Cipher | None = None) -> None:
        self._redis = redis
        self._cipher = cipher

    async def get(self, key: str) -> bytes | None:
        """One GET. What cannot be decrypted counts as nothing: the node runs."""
        async with self._redis as redis:
            value = await redis.get(_name(key, "result"))
        if not isinstance(value, bytes):
            return None
        try:
            return open_plain(value, _RESULT) if self._cipher is None else self._cipher.open(value, _RESULT)
        except (InputError, EncryptionKeyMissing):
            return None

    async def put(self, key: str, value: bytes, ttl: timedelta) -> None:
        """One SET with its time to live."""
        if self._cipher is not None:
            value = self._cipher.seal(value, _RESULT)
        async with self._redis as redis:
            await redis.set(_name(key, "result"), value, px=max(1, int(ttl.total_seconds() * 1000)))

    async def lease(self, key: str, seconds: float) -> Lease | None:
        """The client library's own lock: SET if absent, with a token that only its holder knows."""
        async with self._redis as redis:
            lock = Lock(redis, _name(key, "lease"), timeout=seconds, blocking=False, thread_local=False)
            return _RedisLease(self._redis, lock) if await lock.acquire() else None


class _RedisLease:
    """A lease of all workers. It renews and releases only what is still its own."""

    def __init__(self, redis: RedisClient, lock: Lock) -> None:
        self._redis = redis
        self._lock = lock

    async def renew(self) -> None:
        """Raises Unavailable where another one has taken it."""
        async with self._redis:
            await self._lock.reacquire()

    async def release(self) -> None:
        """Raises Unavailable where another one has taken it."""
        async with self._redis:
            await self._lock.release()


class NodeResults:
    """Runs a node at most once for each key while its result is fresh."""

    def __init__(self, cache: ResultCache) -> None:
        self._cache = cache

    async def through(
        self, key: str, ttl: timedelta, compute: Callable[[], Awaitable[ChangeSet]], *, patience: float = math.inf
    ) -> tuple[ChangeSet, bool]:
        """The changes, and whether they come from the cache. Failures of `compute` are not kept.

        Who has waited `patience` seconds for another caller computes beside it.
        """
        seconds = min(LEASE_SECONDS, patience * _LEASE_SHARE)
        try:
            async with asyncio.timeout(None if patience == math.inf else patience):
                found = await self._found_or_lease(key, seconds)
        except (AnabranchError, TimeoutError):
            return await compute(), False
        if isinstance(found, ChangeSet):
            metrics.count(metrics.CACHE_HITS, *_LABELS)
            return found, True
        metrics.count(metrics.CACHE_MISSES, *_LABELS)
        async with _holding(found, seconds):
            changes = await compute()
            with suppress(AnabranchError):
                await self._cache.put(key, msgpack.packb(changes.to_wire()) or b"", ttl)
        return changes, False

    async def _found_or_lease(self, key: str, seconds: float) -> ChangeSet | Lease:
        """The entry, or the right to compute it."""
        pauses = iter(_WAIT)
        while True:
            if (changes := await self._found(key)) is not None:
                return changes
            if (lease := await self._cache.lease(key, seconds)) is not None:
                # Another caller may have stored its result and released the lease since the read above.
                if (changes := await self._found(key)) is None:
                    return lease
                await _let_go(lease)
                return changes
            await asyncio.sleep(next(pauses))

    async def _found(self, key: str) -> ChangeSet | None:
        packed = await self._cache.get(key)
        return None if packed is None else _unpacked(packed)


@asynccontextmanager
async def _holding(lease: Lease, seconds: float) -> AsyncGenerator[None]:
    """Renew the lease while the block runs, however long that takes, and release it then."""
    renewing = asyncio.create_task(_renew_again_and_again(lease, seconds))
    try:
        yield
    finally:
        renewing.cancel()
        await _let_go(lease)


async def _renew_again_and_again(lease: Lease, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds / 3)
        with suppress(AnabranchError):
            await lease.renew()


async def _let_go(lease: Lease) -> None:
    with suppress(AnabranchError):  # then it expires
        await lease.release()


def result_key(graph: str, node: str, body: bytes, key: str, cipher: Cipher | None = None) -> str:
    """The name of an entry: graph, node, and a digest of the node's definition and its rendered key.

    With a `cipher` the digest needs its first key: who reads the names cannot try which values they are of.
    """
    what = body + b"\0" + key.encode()
    digest = hashlib.sha256(what).hexdigest() if cipher is None else cipher.blinded(what, "name of a result")
    return f"{graph}/{node}/{digest}"


def _unpacked(packed: bytes) -> ChangeSet | None:
    """The changes of an entry; None if they are damaged: a cache is never the truth."""
    try:
        return ChangeSet.from_wire(decode(packed))
    except AnabranchError:
        return None


def _name(key: str, part: str) -> str:
    return f"anabranch:node:{{{key}}}:{part}"
