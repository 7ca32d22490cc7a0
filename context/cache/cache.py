"""The `DistributedCache`: contexts in a store, made faster by a cache that is never the truth.

Whatever state the cache is in (empty, down, frozen, read-only, stale, answering garbage or forgeries), every answer
except `cache_aside`'s is the one that the store alone would give: see `context/cache/reads.py` for how. A cache that
fails is left alone after five failures in a row, and costs at most `cache_timeout` at each call until then.

Strategies: put, get

- `write_through`: the store, then the cache. The copy, else the store (and a new copy is made).
- `write_behind`: the queue of this process and the cache now, the store by a background writer. What this process has
  put, else the copy, else the store; other processes see a put when the store has it.
- `read_through`: the store, and the copy is dropped. The copy, else the store, which one caller asks for all.
- `cache_aside`: only what the caller names: `put_cache`, `put_store`, `invalidate`. The copy, believed as it is.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from weakref import WeakValueDictionary

from anabranch.context.cache.reads import VerifiedReads
from anabranch.context.cache.single_flight import SingleFlight
from anabranch.context.cache.strategy import CacheStats, CacheStrategy
from anabranch.context.cache.tier import CacheTier
from anabranch.context.cache.update import update
from anabranch.context.cache.write_behind import PATIENCE, Report, WriteBehind
from anabranch.context.distributed import DistributedContext
from anabranch.context.merge.resolution import ConflictResolution
from anabranch.context.shared import Change
from anabranch.context.stores.protocol import ContextStore, check_session_id, check_ttl
from anabranch.context.stores.record import Record
from anabranch.errors import ConfigurationError, InputError, VersionMismatch
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES

Loader = Callable[[str], Awaitable[DistributedContext | None] | DistributedContext | None]


class DistributedCache:
    """Contexts in a store behind a cache, for one event loop. Without `cache` every read goes to the store.

    `default_ttl` (seconds) is the lifetime of what is put without one, and of copies that reads make; None: no end.
    `resolution` is for `update`. With `max_staleness` (seconds) a read may give what the store had that long ago, and
    asks only the cache for what this process has confirmed since. `on_write_error` is called with what write-behind
    had to give up; `max_pending` and `linger` are those of `WriteBehind`. Closing it closes both tiers.
    """

    def __init__(
        self,
        store: ContextStore,
        cache: ContextStore | None = None,
        *,
        strategy: CacheStrategy | str = CacheStrategy.WRITE_THROUGH,
        default_ttl: float | None = None,
        resolution: ConflictResolution | str = ConflictResolution.LAST_WRITE_WINS,
        max_staleness: float = 0.0,
        cache_timeout: float = 0.025,
        breaker_threshold: int = 5,
        breaker_reset: float = 1.0,
        on_write_error: Report | None = None,
        max_pending: int = 10_000,
        linger: float = 0.01,
        max_bytes: int = MAX_CONTEXT_SIZE_BYTES,
    ) -> None:
        self.store = store
        self.strategy = CacheStrategy.parse(strategy)
        self.default_ttl = check_ttl(default_ttl)
        self._resolution = ConflictResolution.parse(resolution)
        self._max_bytes = max_bytes
        if cache is None and self.strategy is CacheStrategy.CACHE_ASIDE:
            raise ConfigurationError("the strategy cache_aside needs a cache", suggestion="set CACHE_URL")
        self._tier = (
            None
            if cache is None
            else CacheTier(cache, timeout=cache_timeout, threshold=breaker_threshold, reset_after=breaker_reset)
        )
        self._reads = VerifiedReads(
            store,
            self._tier,
            strategy=self.strategy,
            max_staleness=max_staleness,
            ttl=self.default_ttl,
            max_bytes=max_bytes,
        )
        self._behind = WriteBehind(
            store, max_pending=max_pending, linger=linger, max_bytes=max_bytes, report=self._given_up
        )
        self._on_write_error = on_write_error
        self._loads: SingleFlight[Record | None] = SingleFlight()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def put(self, context: DistributedContext, ttl: float | None = None) -> None:
        """Keep a context, whatever is there. Raises Unavailable, WireFormatError, SizeLimitExceeded and InputError.

        Under `write_behind` Unavailable means that the queue stayed full; what the store says comes to
        `on_write_error`. A failing cache is not an error.
        """
        await self.put_many([context], ttl)

    async def put_many(self, contexts: Sequence[DistributedContext], ttl: float | None = None) -> None:
        """Keep several contexts in one round trip to each tier. Raises as `put`."""
        lifetime = self._lifetime(ttl)
        match self.strategy:
            case CacheStrategy.CACHE_ASIDE:
                raise InputError("under cache_aside nothing is put by itself", suggestion="use put_store or put_cache")
            case CacheStrategy.WRITE_BEHIND:
                await self._queue(contexts, lifetime)
            case _:
                await self._store(contexts, lifetime)
                await self._follow(contexts, lifetime)

    async def get(self, session_id: str) -> DistributedContext | None:
        """The context, or None. Raises Unavailable, and WireFormatError where what is stored is damaged."""
        if self.strategy is CacheStrategy.CACHE_ASIDE:
            return (await self._copies([session_id]))[0]
        queued = self._behind.find(session_id)
        if queued is not None:
            self._reads.count(hits=1, tier="queue")
            return queued.decode(session_id, max_bytes=self._max_bytes)
        return await self._reads.get(check_session_id(session_id))

    async def get_many(self, session_ids: Sequence[str]) -> list[DistributedContext | None]:
        """Several contexts, in the order asked for. Raises as `get`."""
        if self.strategy is CacheStrategy.CACHE_ASIDE:
            return await self._copies(session_ids)
        if self.strategy is not CacheStrategy.WRITE_BEHIND:
            return await self._reads.get_many([check_session_id(name) for name in session_ids])
        queued = {name: record for name in session_ids if (record := self._behind.find(name)) is not None}
        asked = [check_session_id(name) for name in session_ids if name not in queued]
        found = dict(zip(asked, await self._reads.get_many(asked), strict=True))
        self._reads.count(hits=len(queued), tier="queue")
        return [
            queued[name].decode(name, max_bytes=self._max_bytes) if name in queued else found[name]
            for name in session_ids
        ]

    async def update(self, session_id: str, change: Change, ttl: float | None = None) -> DistributedContext:
        """Let `change` work on the stored context, as if nobody else wrote meanwhile; the stored result.

        By compare-and-set on the store's version: `context/cache/update.py` says what happens when another writer was
        faster. Callers of this process take turns, so only processes compete. `change` may be a coroutine function, and
        must not call `update` for this session. Raises what `change` raises, ConflictError, VersionMismatch,
        Unavailable (the change may have been stored then), WireFormatError and SizeLimitExceeded.
        """
        lifetime = self._lifetime(ttl)
        turn = self._turns.setdefault(check_session_id(session_id), asyncio.Lock())
        async with turn:
            await self._behind.settle([session_id], PATIENCE)
            try:
                context = await update(self.store, session_id, change, resolution=self._resolution, ttl=lifetime)
            except BaseException:
                self._reads.doubt(session_id)
                raise
            self._reads.wrote(context)
        await self._follow([context], lifetime)
        return context

    async def delete(self, session_id: str) -> bool:
        """Whether there was something to delete in the store; the copy is dropped. Raises Unavailable."""
        await self._behind.settle([check_session_id(session_id)], PATIENCE)
        try:
            return await self.store.delete(session_id)
        finally:
            await self.invalidate(session_id)

    async def invalidate(self, *session_ids: str) -> None:
        """Drop the copies, and believe nothing that is known of these sessions."""
        for session_id in session_ids:
            self._reads.doubt(check_session_id(session_id))
        if self._tier is not None:
            await self._tier.drop(session_ids)

    async def put_cache(self, *contexts: DistributedContext, ttl: float | None = None) -> bool:
        """Keep copies in the cache alone; whether it has taken them. Raises ConfigurationError without a cache."""
        if self._tier is None:
            raise ConfigurationError("there is no cache", suggestion="set CACHE_URL")
        for context in contexts:
            Record.of(context, max_bytes=self._max_bytes)
            check_session_id(context.session_id)
        return await self._tier.write(contexts, self._lifetime(ttl))

    async def put_store(
        self, context: DistributedContext, ttl: float | None = None, expected_version: int | None = None
    ) -> None:
        """Keep a context in the store alone; with `expected_version` by compare-and-set. Raises as `put`."""
        await self._behind.settle([check_session_id(context.session_id)], PATIENCE)
        await self._store([context], self._lifetime(ttl), expected_version)

    async def get_or_load(self, session_id: str, loader: Loader, ttl: float | None = None) -> DistributedContext | None:
        """The context; if it does not exist, what `loader(session_id)` makes, which is kept.

        Under `cache_aside` it is kept in the cache, else as by `put`, but not over what another writer has stored
        meanwhile: that is the answer then. One loader runs for each session however many callers wait; who is cancelled
        leaves the others waiting. Raises what `loader` raises.
        """
        found = await self.get(session_id)
        if found is not None:
            return found
        record = await self._loads.run(session_id, lambda: self._load(session_id, loader, ttl))
        return record and record.decode(session_id, max_bytes=self._max_bytes)

    async def warm(self, session_ids: Sequence[str]) -> int:
        """Copy these sessions from the store to the cache; how many it has taken. Raises as `get`."""
        found = [context for context in await self.store.load_many(session_ids) if context is not None]
        taken = bool(found) and await self.put_cache(*found)
        return len(found) if taken else 0

    async def flush(self, within: float | None = None) -> None:
        """Wait until the store has every put. Raises Unavailable after `within` seconds."""
        await self._behind.settle(within=within)

    async def aclose(self, within: float | None = 30.0) -> None:
        """Write what is pending and close both tiers.

        What is not written after `within` seconds is reported to `on_write_error`; raises Unavailable then.
        """
        try:
            await self._behind.aclose(within)
        finally:
            await self.store.aclose()
            if self._tier is not None:
                await self._tier.aclose()

    def stats(self) -> CacheStats:
        """What this cache has done, and what it holds now."""
        tier = self._tier
        return CacheStats(
            strategy=self.strategy,
            hits=self._reads.hits,
            misses=self._reads.misses,
            stale=self._reads.stale,
            errors=tier.errors if tier else 0,
            pending=self._behind.pending,
            writing=self._behind.writing,
            written=self._behind.written,
            failed=self._behind.failed,
            loading=self._reads.loading + len(self._loads),
            read_breaker=tier.read_circuit.state if tier else "closed",
            write_breaker=tier.write_circuit.state if tier else "closed",
        )

    def _lifetime(self, ttl: float | None) -> float | None:
        return self.default_ttl if ttl is None else check_ttl(ttl)

    async def _store(
        self, contexts: Sequence[DistributedContext], ttl: float | None, expected_version: int | None = None
    ) -> None:
        try:
            if len(contexts) == 1:
                await self.store.save(contexts[0], ttl, expected_version)
            else:
                await self.store.save_many(contexts, ttl)
        except BaseException:  # the store may have them all the same
            for context in contexts:
                self._reads.doubt(context.session_id)
            raise
        for context in contexts:
            self._reads.wrote(context)

    async def _follow(self, contexts: Sequence[DistributedContext], ttl: float | None) -> None:
        """What the cache does when the store has been written."""
        if self._tier is None:
            return
        if self.strategy in {CacheStrategy.WRITE_THROUGH, CacheStrategy.WRITE_BEHIND}:
            await self._tier.write(contexts, ttl)
        else:
            await self._tier.drop(context.session_id for context in contexts)

    async def _queue(self, contexts: Sequence[DistributedContext], ttl: float | None) -> None:
        records = {
            check_session_id(context.session_id): Record.of(context, max_bytes=self._max_bytes) for context in contexts
        }
        await self._behind.put(records, ttl)
        for context in contexts:
            self._reads.wrote(context)
        await self._follow(contexts, ttl)

    def _given_up(self, context: DistributedContext, refused: Exception) -> None:
        self._reads.doubt(context.session_id)
        if self._on_write_error is not None:
            self._on_write_error(context, refused)

    async def _copies(self, session_ids: Sequence[str]) -> list[DistributedContext | None]:
        """What the cache alone says."""
        names = [check_session_id(session_id) for session_id in session_ids]
        copies = (await self._tier.read(names) if self._tier else None) or [None] * len(names)
        found = [self._copy(name, record) for name, record in zip(names, copies, strict=True)]
        hits = sum(context is not None for context in found)
        self._reads.count(hits=hits, misses=len(found) - hits)
        return found

    def _copy(self, session_id: str, record: Record | None) -> DistributedContext | None:
        try:
            return record and record.decode(session_id, max_bytes=self._max_bytes)
        except InputError:
            if self._tier is not None:
                self._tier.errors += 1
            return None

    async def _load(self, session_id: str, loader: Loader, ttl: float | None) -> Record | None:
        # Another caller's load may have ended since this one looked.
        if (there := await self._there(session_id)) is not None:
            return there
        loaded = loader(session_id)
        context = await loaded if inspect.isawaitable(loaded) else loaded
        if context is None:
            return None
        if context.session_id != session_id:
            raise InputError(f"the loader of {session_id!r} gave the context of {context.session_id!r}")
        record = Record.of(context, max_bytes=self._max_bytes)
        if self.strategy is CacheStrategy.CACHE_ASIDE:
            await self.put_cache(context, ttl=ttl)
            return record
        try:
            await self.put_store(context, ttl, expected_version=0)
        except VersionMismatch:
            return await self._there(session_id) or record
        await self._follow([context], self._lifetime(ttl))
        return record

    async def _there(self, session_id: str) -> Record | None:
        """What `get` would find, but neither a hit nor a miss."""
        if self.strategy is CacheStrategy.CACHE_ASIDE:
            copies = await self._tier.read([session_id]) if self._tier else None
            context = self._copy(session_id, copies[0] if copies else None)
        elif (queued := self._behind.find(session_id)) is not None:
            return queued
        else:
            context = await self.store.load(session_id)
        return None if context is None else Record.of(context, max_bytes=self._max_bytes)
