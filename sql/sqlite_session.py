"""How connections to a SQLite file are prepared, by the one who opened the engine."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine


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
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()


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
