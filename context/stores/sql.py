"""Contexts in a table of SQLite, PostgreSQL or MySQL, by SQLAlchemy.

The table is created at the first use. What has expired is never returned, and is deleted once a minute by whoever
writes.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Self, TypeVar

from sqlalchemy import ColumnElement, Delete, Select, Update, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from anabranch.cipher import Cipher
from anabranch.context.stores.encoded import EncodedStore
from anabranch.context.stores.protocol import check_session_id
from anabranch.context.stores.record import Record
from anabranch.context.stores.sql_table import CONTEXTS, METADATA
from anabranch.errors import Unavailable
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES
from anabranch.sql.engines import open_engine
from anabranch.sql.errors import as_unavailable
from anabranch.sql.sqlite_session import share_file
from anabranch.sql.tables import LazyTables
from anabranch.sql.transactions import in_transaction
from anabranch.sql.upsert import insert_if_absent, upsert

_T = TypeVar("_T")
_PAGE: Final = 500
_PRUNE_EVERY: Final = 60.0
_COLUMNS: Final = ("version", "digest", "packed", "expires_at")


class SqlStore(EncodedStore):
    """Keeps contexts in the table `anabranch_contexts`. The engine belongs to the store and is closed with it."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        max_bytes: int = MAX_CONTEXT_SIZE_BYTES,
        variable: str | None = None,
        cipher: Cipher | None = None,
    ) -> None:
        super().__init__(max_bytes=max_bytes, cipher=cipher)
        self._engine = engine
        self._tables = LazyTables(engine, METADATA)
        self._upsert = upsert(CONTEXTS, engine.dialect.name, _COLUMNS)
        self._variable = variable
        self._prune_at = 0.0
        share_file(engine)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        max_connections: int = 10,
        max_bytes: int = MAX_CONTEXT_SIZE_BYTES,
        variable: str | None = None,
        cipher: Cipher | None = None,
    ) -> Self:
        """A store at `sqlite:///file`, `postgresql://…` or `mysql://…`. Connects when it is first used.

        Raises ConfigurationError for another kind of URL, which it does not repeat: errors name the `variable`.
        """
        engine = open_engine(url, variable=variable, max_connections=max_connections, read_committed=True)
        return cls(engine, max_bytes=max_bytes, variable=variable, cipher=cipher)

    async def _records(self, session_ids: Sequence[str]) -> list[Record | None]:
        """What is kept, by one SELECT for each 500 sessions."""
        found = await self._select(session_ids, *(CONTEXTS.c[name] for name in _COLUMNS[:3]))
        return [None if row is None else Record(*row) for row in found]

    async def _digests_of(self, session_ids: Sequence[str]) -> list[bytes | None]:
        """The digests of what is kept."""
        return [None if row is None else row[0] for row in await self._select(session_ids, CONTEXTS.c.digest)]

    async def delete(self, session_id: str) -> bool:
        """Whether there was something to delete."""
        statement = delete(CONTEXTS).where(CONTEXTS.c.session_id == check_session_id(session_id), _alive())
        return await self._in_transaction(lambda connection: _rows_of(connection, statement)) > 0

    async def list_sessions(self, prefix: str = "") -> AsyncIterator[str]:
        """The session ids that begin with a prefix, in the order of their bytes, in pages of 500."""
        last = None
        while True:
            after = CONTEXTS.c.session_id >= prefix if last is None else CONTEXTS.c.session_id > last
            page = select(CONTEXTS.c.session_id).where(after, _alive()).order_by(CONTEXTS.c.session_id).limit(_PAGE)
            names = await self._in_transaction(partial(_values_of, statement=page))
            for last in names:
                if not last.startswith(prefix):  # ids are sorted: those with the prefix are over
                    return
                yield last
            if len(names) < _PAGE:
                return

    async def prune(self) -> int:
        """Delete what has expired; how many contexts that were."""
        pruned = 0
        while True:
            found, deleted = await self._in_transaction(_prune_page)
            pruned += deleted
            if found < _PAGE:
                return pruned

    async def aclose(self) -> None:
        """Close the connections."""
        await self._engine.dispose()

    async def _write(self, records: Mapping[str, Record], ttl: float | None) -> None:
        # Sorted, so that two writers of the same rows never wait for each other.
        rows = [_row(session_id, records[session_id], ttl) for session_id in sorted(records)]
        await self._in_transaction(lambda connection: connection.execute(self._upsert, rows))
        await self._prune_now_and_then()

    async def _swap(self, session_id: str, record: Record, ttl: float | None, expected: int) -> tuple[bool, int | None]:
        row = _row(session_id, record, ttl)
        swapped = await (self._replace(row, expected) if expected else self._add(row))
        await self._prune_now_and_then()
        if swapped:
            return True, None
        found = (await self._select([session_id], CONTEXTS.c.version))[0]
        return False, None if found is None else found[0]

    async def _replace(self, row: dict[str, Any], expected: int) -> bool:
        there = (CONTEXTS.c.session_id == row["session_id"], CONTEXTS.c.version == expected, _alive())
        statement = update(CONTEXTS).where(*there).values(row)
        return await self._in_transaction(lambda connection: _rows_of(connection, statement)) == 1

    async def _add(self, row: dict[str, Any]) -> bool:
        expired = delete(CONTEXTS).where(CONTEXTS.c.session_id == row["session_id"], _is_expired())

        async def add(connection: AsyncConnection) -> bool:
            await connection.execute(expired)
            return await insert_if_absent(connection, CONTEXTS, row)

        return await self._in_transaction(add)

    async def _select(self, session_ids: Sequence[str], *columns: ColumnElement[Any]) -> list[tuple[Any, ...] | None]:
        wanted = [check_session_id(session_id) for session_id in session_ids]
        rows: dict[str, tuple[Any, ...]] = {}

        async def read(connection: AsyncConnection) -> None:
            for start in range(0, len(wanted), _PAGE):
                named = CONTEXTS.c.session_id.in_(wanted[start : start + _PAGE])
                statement = select(CONTEXTS.c.session_id, *columns).where(named, _alive())
                rows.update((name, tuple(values)) for name, *values in await connection.execute(statement))

        await self._in_transaction(read)
        return [rows.get(session_id) for session_id in wanted]

    async def _prune_now_and_then(self) -> None:
        now = time.monotonic()
        if now >= self._prune_at:
            self._prune_at = now + _PRUNE_EVERY
            with suppress(Unavailable):  # what the caller wrote is written; the next minute prunes
                await self.prune()

    async def _in_transaction(self, work: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
        """What `work` returns; errors of the driver as errors of ours, which name no connection and no value."""
        with as_unavailable(self._variable, "is it up, and may this user create and write anabranch_contexts?"):
            await self._tables.ready()
            return await in_transaction(self._engine, work)


async def _prune_page(connection: AsyncConnection) -> tuple[int, int]:
    """How many expired contexts were found, at most a page, and how many of them were deleted."""
    # By the primary key, as writers do: MySQL locks what it goes by, and in another order would deadlock.
    page = select(CONTEXTS.c.session_id).where(_is_expired()).order_by(CONTEXTS.c.session_id).limit(_PAGE)
    names = await _values_of(connection, page)
    if not names:
        return 0, 0
    return len(names), await _rows_of(
        connection, delete(CONTEXTS).where(CONTEXTS.c.session_id.in_(names), _is_expired())
    )


async def _rows_of(connection: AsyncConnection, statement: Update | Delete) -> int:
    return (await connection.execute(statement)).rowcount


async def _values_of(connection: AsyncConnection, statement: Select[Any]) -> list[str]:
    return list((await connection.execute(statement)).scalars())


def _row(session_id: str, record: Record, ttl: float | None) -> dict[str, Any]:
    expires_at = None if ttl is None else _now() + max(1, round(ttl * 1000))
    return {"session_id": session_id, **record._asdict(), "expires_at": expires_at}


def _alive() -> ColumnElement[bool]:
    return or_(CONTEXTS.c.expires_at.is_(None), CONTEXTS.c.expires_at > _now())


def _is_expired() -> ColumnElement[bool]:
    return CONTEXTS.c.expires_at <= _now()


def _now() -> int:
    return time.time_ns() // 1_000_000
