"""The background writer of the write-behind strategy: a bounded queue that coalesces, retries and is drained.

What a put left here is lost if the process is killed: exactly what `pending` names, and what `writing` names may have
arrived. An orderly stop writes everything or reports what it could not write.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Final, NamedTuple
from weakref import WeakSet

import structlog

from anabranch.backoff import Backoff
from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.protocol import ContextStore
from anabranch.context.stores.record import Record
from anabranch.errors import Unavailable
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES
from anabranch.observe import metrics

log = structlog.get_logger("anabranch.cache")
_BACKOFF: Final = Backoff(first=0.05, longest=2.0)
PATIENCE: Final = 30.0
"""Seconds that a caller waits for the queue, where it names no other time."""

Report = Callable[[DistributedContext, Exception], None]
"""Called with each context that could not be written, and the reason."""


class _Entry(NamedTuple):
    record: Record
    ttl: float | None


class WriteBehind:
    """Brings the newest put of each session to a store.

    A put waits while `max_pending` other sessions do (at most `patience` seconds, then Unavailable). The writer waits
    `linger` seconds for more puts and writes up to `batch` sessions at once. While the store is unavailable it tries
    again, with exponential back-off; what the store refuses for good is reported and given up.
    """

    def __init__(
        self,
        store: ContextStore,
        *,
        max_pending: int = 10_000,
        linger: float = 0.01,
        batch: int = 500,
        patience: float = PATIENCE,
        max_bytes: int = MAX_CONTEXT_SIZE_BYTES,
        report: Report | None = None,
    ) -> None:
        self.written = 0
        self.failed = 0
        self._store = store
        self._max_pending = max_pending
        self._linger = linger
        self._batch = batch
        self._patience = patience
        self._max_bytes = max_bytes
        self._report = report
        self._pending: dict[str, _Entry] = {}
        self._writing: dict[str, _Entry] = {}
        self._changed = asyncio.Condition()
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._closed = False
        self._writer: asyncio.Task[None] | None = None
        _QUEUES.add(self)

    @property
    def waiting(self) -> int:
        """How many sessions' newest puts the store does not have."""
        return len(self._pending) + len(self._writing)

    @property
    def pending(self) -> tuple[str, ...]:
        """The sessions whose newest put the store does not have and is not being sent."""
        return tuple(self._pending)

    @property
    def writing(self) -> tuple[str, ...]:
        """The sessions that are being sent to the store."""
        return tuple(self._writing)

    def find(self, session_id: str) -> Record | None:
        """What was put and has not arrived."""
        entry = self._pending.get(session_id) or self._writing.get(session_id)
        return entry and entry.record

    async def put(self, records: Mapping[str, Record], ttl: float | None) -> None:
        """Queue records in place of older ones. Raises Unavailable if there is no room, or after `aclose`."""
        if self._writer is None and not self._closed:
            self._writer = asyncio.create_task(self._write_on())
        for session_id, record in records.items():
            if session_id not in self._pending and len(self._pending) >= self._max_pending:
                await self._wait(lambda: len(self._pending) < self._max_pending, self._patience)
            if self._closed:
                raise Unavailable("this cache is closed", place=session_id)
            self._pending[session_id] = _Entry(record, ttl)  # in the place of the older put, if there is one
            _tell()
            self._work.set()

    async def settle(self, session_ids: Collection[str] | None = None, within: float | None = None) -> None:
        """Wait until these sessions (None: all) are written or given up. Raises Unavailable after `within` seconds."""
        self._hurry.set()
        try:
            await self._wait(lambda: not self._waiting(session_ids), within)
        finally:
            self._hurry.clear()

    async def aclose(self, within: float | None) -> None:
        """Write everything. What is not written after `within` seconds is reported; raises Unavailable then."""
        self._closed = True
        try:
            await self.settle(within=within)
        finally:
            if self._writer is not None:
                self._writer.cancel()
                with suppress(asyncio.CancelledError):
                    await self._writer
            self._abandon({**self._writing, **self._pending})
            async with self._changed:
                self._changed.notify_all()  # puts that wait for room now raise

    def _waiting(self, session_ids: Collection[str] | None) -> bool:
        if session_ids is None:
            return bool(self._pending or self._writing)
        return any(self.find(session_id) is not None for session_id in session_ids)

    async def _wait(self, reached: Callable[[], bool], seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(reached)
        except TimeoutError:
            raise Unavailable(
                f"after {seconds} seconds {self.waiting} contexts still wait for the store",
                suggestion="is the store up? They are kept and tried again until the cache is closed",
            ) from None

    async def _write_on(self) -> None:
        pauses = iter(_BACKOFF)
        while True:
            await self._work.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._linger):
                    await self._hurry.wait()
            names = list(self._pending)[: self._batch]
            self._writing = {name: self._pending.pop(name) for name in names}
            left = await self._write(self._writing)
            async with self._changed:
                self._pending = {**left, **self._pending}  # puts that came meanwhile are newer
                self._writing = {}
                _tell()
                if not self._pending:
                    self._work.clear()
                self._changed.notify_all()
            if left:
                await asyncio.sleep(next(pauses))
            else:
                pauses = iter(_BACKOFF)

    async def _write(self, entries: Mapping[str, _Entry]) -> Mapping[str, _Entry]:
        """What the store has not taken, and may take later."""
        by_ttl: dict[float | None, list[DistributedContext]] = defaultdict(list)
        for session_id, entry in entries.items():
            by_ttl[entry.ttl].append(self._context(session_id, entry))
        try:
            for ttl, contexts in by_ttl.items():
                await self._store.save_many(contexts, ttl)
        except Unavailable as unavailable:
            log.warning("write-behind waits", reason=str(unavailable), contexts=len(entries) + len(self._pending))
            return entries
        except Exception as refused:  # reported: a store that misbehaves must not end the writer
            return await self._write_singly(entries, refused)
        self.written += len(entries)
        return {}

    async def _write_singly(self, entries: Mapping[str, _Entry], refused: Exception) -> Mapping[str, _Entry]:
        """One that is refused must not take the others with it."""
        if len(entries) == 1:
            ((session_id, entry),) = entries.items()
            self._give_up(self._context(session_id, entry), refused)
            return {}
        left: dict[str, _Entry] = {}
        for session_id, entry in entries.items():
            left.update(await self._write({session_id: entry}))
        return left

    def _context(self, session_id: str, entry: _Entry) -> DistributedContext:
        return entry.record.decode(session_id, max_bytes=self._max_bytes)

    def _abandon(self, entries: Mapping[str, _Entry]) -> None:
        self._pending, self._writing = {}, {}
        _tell()
        for session_id, entry in entries.items():
            refused = Unavailable("the cache was closed before the store had taken it")
            self._give_up(self._context(session_id, entry), refused)

    def _give_up(self, context: DistributedContext, refused: Exception) -> None:
        self.failed += 1
        version = context.metadata.version
        log.error("write-behind gave up", session_id=context.session_id, version=version, reason=str(refused))
        if self._report is not None:
            try:
                self._report(context, refused)
            except Exception:
                log.exception("the report callback of write-behind failed")


_QUEUES: Final[WeakSet[WriteBehind]] = WeakSet()
"""Those of this process."""


def _tell() -> None:
    if metrics.is_on():
        metrics.note(metrics.WRITE_BEHIND, sum(queue.waiting for queue in _QUEUES))
