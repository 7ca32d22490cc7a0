"""How connections to a SQLite file are prepared, by the one who opened the engine."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from anabranch.backoff import Backoff

ChangesSqlite = Callable[[str, str | None], bool]
_CONTROL: Final = frozenset(
    {sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT, sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH}
)
_READING: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
    | {sqlite3.SQLITE_PRAGMA}
)
_GUARD: Final = "anabranch_guard"
_PRIMARY_CODE: Final = 0xFF
"""The part of SQLite's error codes that says the kind of error."""
_TRIES: Final = 12
_PAUSES: Final = Backoff(first=0.02, longest=1)


def share_file(engine: AsyncEngine) -> None:
    """Let readers and a writer of one file work at once. It changes the file's journal mode, so only for files of ours.

    Another kind of database is left alone.
    """
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout = 10000")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()
        connection.run_async(_write_ahead)


async def _write_ahead(driver: Any) -> None:
    """Change the file's journal. SQLite refuses at once, whatever its time-out, all but one of those who do so."""
    pauses = iter(_PAUSES)
    for tries in range(1, _TRIES + 1):
        try:
            async with driver.execute("PRAGMA journal_mode = WAL"):
                return
        except sqlite3.OperationalError as error:
            if tries == _TRIES or error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY:
                raise
        await asyncio.sleep(next(pauses))


def begin_explicitly(engine: AsyncEngine) -> None:
    """Begin every transaction: Python's driver begins one only for some statements, not for DDL or `with … update`.

    Another kind of database is left alone.
    """
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine.sync_engine, "connect")
    def leave_to_us(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")


class _Guard:
    """Has SQLite itself refuse what controls a transaction or a session, while a statement is not ours."""

    def __init__(self, changes: ChangesSqlite) -> None:
        self._changes = changes
        self.is_closed = False
        self.only_reads = False

    def __call__(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        """Called by SQLite for each thing that a statement would do, in the connection's thread."""
        if not self.is_closed:
            return sqlite3.SQLITE_OK
        if self.only_reads and action not in _READING:
            return sqlite3.SQLITE_DENY
        if action in _CONTROL or (action == sqlite3.SQLITE_PRAGMA and self._changes((first or "").lower(), second)):
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK


def guard_sessions(engine: AsyncEngine, changes: ChangesSqlite) -> None:
    """Have a SQLite engine's sessions refuse control while `statement_of_others` holds.

    `changes` says whether a pragma with this argument does more than answer. Another kind of database is left alone.
    """
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine.sync_engine, "connect")
    def install(connection: Any, record: Any) -> None:
        guard = record.info[_GUARD] = _Guard(changes)
        connection.run_async(lambda driver: driver.set_authorizer(guard))


@contextmanager
def statement_of_others(connection: AsyncConnection, *, read_only: bool = False) -> Generator[None]:
    """While the block runs, a guarded session refuses what controls it, and with `read_only` what writes."""
    guard = None if connection.sync_connection is None else connection.sync_connection.info.get(_GUARD)
    if guard is None:
        yield
        return
    guard.is_closed, guard.only_reads = True, read_only
    try:
        yield
    finally:
        guard.is_closed = guard.only_reads = False
