"""Reads that a cache makes faster and cannot make wrong.

The store is asked for the digest of what it has while the cache is asked for its copy. The copy is the answer only if
its bytes have that digest, so that it does not matter how it became stale, damaged or forged, or whether a write failed
to invalidate it. `max_staleness` trades that question for an age: a digest that this process has seen in the store
less than that many seconds ago is believed without asking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal, NamedTuple

from anabranch.context.cache.digests import DigestCache
from anabranch.context.cache.single_flight import SingleFlight
from anabranch.context.cache.strategy import CacheStrategy
from anabranch.context.cache.tier import CacheTier
from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.protocol import ContextStore
from anabranch.context.stores.record import Record, decode_records
from anabranch.observe import metrics

Tier = Literal["cache", "queue"]


class _Look(NamedTuple):
    """What a look at both tiers found: the copies that are right, and the digests of what has to be loaded."""

    copies: dict[str, Record]
    absent_copies: dict[str, bytes]
    cache_answered: bool


class VerifiedReads:
    """Reads a store through a cache. `ttl` (seconds) is how long a copy that a read made is kept."""

    def __init__(
        self,
        store: ContextStore,
        tier: CacheTier | None,
        *,
        strategy: CacheStrategy,
        max_staleness: float,
        ttl: float | None,
        max_bytes: int,
    ) -> None:
        self._strategy = str(strategy)
        self.hits = 0
        self.misses = 0
        self.stale = 0
        self._store = store
        self._tier = tier
        self._one_by_one = store.in_process or (tier is not None and tier.store.in_process)
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._confirmed = DigestCache(max_staleness)
        self._flights: SingleFlight[Record | None] = SingleFlight()

    @property
    def loading(self) -> int:
        """How many loads are under way."""
        return len(self._flights)

    async def get(self, session_id: str) -> DistributedContext | None:
        """The context as the store has it, or None."""
        tier = self._usable()
        if tier is None:
            return await self._store.load(session_id)
        look = await self._look(tier, [session_id])
        record = look.copies.get(session_id)
        wanted = look.absent_copies.get(session_id)
        if wanted is not None:
            record = await self._flights.run(session_id, lambda: self._load(session_id, fill=look.cache_answered))
            if record is None or record.digest != wanted:  # that load may have begun before the store had this
                record = await self._load(session_id, fill=look.cache_answered)
        return record and record.decode(session_id, max_bytes=self._max_bytes)

    async def get_many(self, session_ids: Sequence[str]) -> list[DistributedContext | None]:
        """Several contexts in one round trip to each tier, and one more to the store for what has no right copy."""
        tier = self._usable()
        if tier is None:
            return await self._store.load_many(session_ids)
        look = await self._look(tier, session_ids)
        found = look.copies | await self._load_many(list(look.absent_copies), fill=look.cache_answered)
        return decode_records(session_ids, list(map(found.get, session_ids)), max_bytes=self._max_bytes)

    def count(self, *, hits: int = 0, misses: int = 0, tier: Tier = "cache") -> None:
        """Count reads that were answered by the cache, or from the queue of this process; and those that were not."""
        self.hits += hits
        self.misses += misses
        metrics.count(metrics.CACHE_HITS, tier, self._strategy, by=hits)
        metrics.count(metrics.CACHE_MISSES, tier, self._strategy, by=misses)

    def wrote(self, context: DistributedContext) -> None:
        """This process has written: loads under way are out of date, and what was written is known."""
        self._flights.forget(context.session_id)
        if self._confirmed.used:
            digest = Record.of(context, max_bytes=self._max_bytes).digest
            self._confirmed.observe(context.session_id, digest, self._confirmed.now())

    def doubt(self, session_id: str) -> None:
        """Ask the store at the next read, whatever is known."""
        self._flights.forget(session_id)
        self._confirmed.observe(session_id, None, self._confirmed.now())

    def _usable(self) -> CacheTier | None:
        """The cache, unless it is left alone now: then the store need not be asked twice."""
        return self._tier if self._tier is not None and self._tier.read_circuit.state != "open" else None

    async def _look(self, tier: CacheTier, session_ids: Sequence[str]) -> _Look:
        known = self._confirmed.digests(session_ids)
        asked = [session_id for session_id in session_ids if session_id not in known] if known else session_ids
        copies, answers = await self._ask(tier, session_ids, asked)
        digests = known | answers if known else answers
        right: dict[str, Record] = {}
        absent: dict[str, bytes] = {}
        for session_id, copy in zip(session_ids, copies or [None] * len(session_ids), strict=True):
            digest = digests.get(session_id)
            if copy is not None and copy.digest == digest:
                right[session_id] = copy
                continue
            self.stale += copy is not None
            if digest is not None:
                absent[session_id] = digest
        self.count(hits=len(right), misses=len(session_ids) - len(right))
        return _Look(right, absent, copies is not None)

    async def _ask(
        self, tier: CacheTier, session_ids: Sequence[str], asked: Sequence[str]
    ) -> tuple[list[Record | None] | None, dict[str, bytes | None]]:
        if not asked:
            return await tier.read(session_ids), {}
        since = self._confirmed.now()
        if self._one_by_one:
            copies, answers = await tier.read(session_ids), await self._store.digests(asked)
        else:
            copies, answers = await self._ask_both(tier, session_ids, asked)
        digests = dict(zip(asked, answers, strict=True))
        if self._confirmed.used:
            for session_id, digest in digests.items():
                self._confirmed.observe(session_id, digest, since)
        return copies, digests

    async def _ask_both(
        self, tier: CacheTier, session_ids: Sequence[str], asked: Sequence[str]
    ) -> tuple[list[Record | None] | None, list[bytes | None]]:
        asking = asyncio.ensure_future(self._store.digests(asked))
        try:
            return await tier.read(session_ids), await asking
        finally:
            if not asking.cancel() and not asking.cancelled():
                asking.exception()  # looked at, should this have been cancelled

    async def _load(self, session_id: str, *, fill: bool) -> Record | None:
        return (await self._load_many([session_id], fill=fill)).get(session_id)

    async def _load_many(self, session_ids: Sequence[str], *, fill: bool) -> dict[str, Record]:
        if not session_ids:
            return {}
        since = self._confirmed.now()
        records = await self._store.read(session_ids)
        found = {name: record for name, record in zip(session_ids, records, strict=True) if record is not None}
        for session_id, record in found.items():
            self._confirmed.observe(session_id, record.digest, since)
        contexts = [record.context(name, max_bytes=self._max_bytes) for name, record in found.items()]
        if fill and found and self._tier is not None:
            await self._tier.write(contexts, self._ttl)
        return found
