"""Contexts in this process's memory: for tests, for one process, and as the cache nearest to the code."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from anabranch.context.stores.encoded import EncodedStore
from anabranch.context.stores.protocol import check_session_id
from anabranch.context.stores.record import Record
from anabranch.errors import InputError
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES

_SMALLEST_SWEEP = 1000


class _Entry(NamedTuple):
    record: Record
    expires_at: float | None  # on the monotonic clock


class InMemoryStore(EncodedStore):
    """Keeps contexts for as long as the process lives.

    With `max_entries` it is a cache: the context that was used longest ago gives way.
    """

    in_process = True

    def __init__(self, *, max_entries: int | None = None, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> None:
        super().__init__(max_bytes=max_bytes)
        if max_entries is not None and max_entries < 1:
            raise InputError(f"max_entries is {max_entries}", suggestion="keep at least 1 context")
        self._max_entries = max_entries
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._writes_since_sweep = 0

    def __len__(self) -> int:
        return len(self._entries)

    async def _records(self, session_ids: Sequence[str]) -> list[Record | None]:
        """What is kept."""
        return [self._find(check_session_id(session_id)) for session_id in session_ids]

    async def _digests_of(self, session_ids: Sequence[str]) -> list[bytes | None]:
        """The digests of what is kept."""
        records = await self._records(session_ids)
        return [record and record.digest for record in records]

    async def delete(self, session_id: str) -> bool:
        """Whether there was something to delete."""
        was_there = self._find(check_session_id(session_id)) is not None
        self._entries.pop(session_id, None)
        return was_there

    async def list_sessions(self, prefix: str = "") -> AsyncIterator[str]:
        """The current session ids that begin with a prefix."""
        for session_id in list(self._entries):
            if session_id.startswith(prefix) and self._find(session_id) is not None:
                yield session_id

    async def aclose(self) -> None:
        """Nothing is open; the contexts stay."""

    async def _write(self, records: Mapping[str, Record], ttl: float | None) -> None:
        for session_id, record in records.items():
            self._keep(session_id, record, ttl)

    async def _swap(self, session_id: str, record: Record, ttl: float | None, expected: int) -> tuple[bool, int | None]:
        there = self._find(session_id)
        found = there and there.version
        if (found or 0) != expected:
            return False, found
        self._keep(session_id, record, ttl)
        return True, found

    def _find(self, session_id: str) -> Record | None:
        entry = self._entries.get(session_id)
        if entry is None:
            return None
        if entry.expires_at is not None and entry.expires_at <= time.monotonic():
            del self._entries[session_id]
            return None
        self._entries.move_to_end(session_id)
        return entry.record

    def _keep(self, session_id: str, record: Record, ttl: float | None) -> None:
        self._entries[session_id] = _Entry(record, None if ttl is None else time.monotonic() + ttl)
        self._entries.move_to_end(session_id)
        self._writes_since_sweep += 1
        if self._writes_since_sweep >= max(_SMALLEST_SWEEP, len(self._entries)):
            self._sweep()
        if self._max_entries is not None and len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def _sweep(self) -> None:
        """Forget what has expired: once in as many writes as there are entries, so a write pays for one entry."""
        self._writes_since_sweep = 0
        now = time.monotonic()
        expired = [
            key for key, entry in self._entries.items() if entry.expires_at is not None and entry.expires_at <= now
        ]
        for session_id in expired:
            del self._entries[session_id]
