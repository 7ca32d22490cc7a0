"""Stores that misbehave in one way each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence

from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.memory import InMemoryStore
from anabranch.context.stores.record import Record
from anabranch.errors import InputError, Unavailable


class WatchedStore(InMemoryStore):
    """Counts its calls, and takes `delay` seconds for each; fails while `failure` is set."""

    def __init__(self, *, delay: float = 0.0) -> None:
        super().__init__()
        self.delay = delay
        self.failure: Exception | None = None
        self.calls: list[str] = []
        self.answering: asyncio.Event | None = None
        """Where it is there, a read answers only when it is set, with what it found before."""

    async def called(self, call: str, times: int = 1) -> None:
        """Wait until it has been called so often."""
        for _ in range(1000):
            if self.calls.count(call) >= times:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(self.calls)

    async def _visited(self, call: str) -> None:
        self.calls.append(call)
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.failure is not None:
            raise self.failure

    async def read(self, session_ids: Sequence[str]) -> list[Record | None]:
        await self._visited("read")
        found = await super().read(session_ids)
        if self.answering is not None:
            await self.answering.wait()
        return found

    async def digests(self, session_ids: Sequence[str]) -> list[bytes | None]:
        await self._visited("digests")
        return [record and record.digest for record in await super().read(session_ids)]

    async def delete(self, session_id: str) -> bool:
        await self._visited("delete")
        return await super().delete(session_id)

    async def _write(self, records: Mapping[str, Record], ttl: float | None) -> None:
        await self._visited("write")
        await super()._write(records, ttl)

    async def _swap(self, session_id: str, record: Record, ttl: float | None, expected: int) -> tuple[bool, int | None]:
        await self._visited("swap")
        return await super()._swap(session_id, record, ttl, expected)

    async def keep_now(self, context: DistributedContext) -> None:
        """Another process writes."""
        await super()._write({context.session_id: Record.of(context)}, None)


class LyingCache(InMemoryStore):
    """Forgets, keeps what it should replace or delete, mixes sessions up, damages bytes, fails: as its dice say."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._everything: list[Record] = []

    async def read(self, session_ids: Sequence[str]) -> list[Record | None]:
        self._fail_sometimes()
        return [self._answer(record) for record in await super().read(session_ids)]

    async def delete(self, session_id: str) -> bool:
        self._fail_sometimes()
        return self._random.random() < 0.5 and await super().delete(session_id)

    async def _write(self, records: Mapping[str, Record], ttl: float | None) -> None:
        self._fail_sometimes()
        self._everything += records.values()
        if self._random.random() < 0.5:
            await super()._write(records, ttl)

    def _answer(self, record: Record | None) -> Record | None:
        match self._random.randrange(8):
            case 0:
                return None
            case 1 if self._everything:
                return self._random.choice(self._everything)
            case 2 if record is not None:
                return record._replace(packed=record.packed[:-1])
            case 3 if record is not None:
                return record._replace(digest=bytes(16))
            case _:
                return record

    def _fail_sometimes(self) -> None:
        if self._random.random() < 0.1:
            raise ConnectionResetError


class PickyStore(InMemoryStore):
    """Never takes the sessions in `refused`."""

    def __init__(self, *refused: str) -> None:
        super().__init__()
        self._refused = refused

    async def save_many(self, contexts: Iterable[DistributedContext], ttl: float | None = None) -> None:
        kept = list(contexts)
        for context in kept:
            if context.session_id in self._refused:
                raise InputError(f"{context.session_id!r} is refused")
        await super().save_many(kept, ttl)


def unavailable() -> Unavailable:
    return Unavailable("the server is down")
