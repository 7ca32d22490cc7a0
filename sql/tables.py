"""Tables of ours, created by whoever needs them first, while others do the same."""

from __future__ import annotations

import asyncio

from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


async def create_tables(connection: AsyncConnection, tables: MetaData) -> None:
    """Create the tables that are not there, in a transaction of its own. Raises SQLAlchemyError and OSError."""
    try:
        await _create(connection, tables)
    except DBAPIError:  # another process created them at the same time; if not, this fails again
        await _create(connection, tables)


async def _create(connection: AsyncConnection, tables: MetaData) -> None:
    async with connection.begin():
        await connection.run_sync(tables.create_all)


class LazyTables:
    """The tables of one engine, created at the first use."""

    def __init__(self, engine: AsyncEngine, tables: MetaData) -> None:
        self._engine = engine
        self._tables = tables
        self._created = False
        self._creating = asyncio.Lock()

    async def ready(self) -> None:
        """Create the tables, once. Raises SQLAlchemyError and OSError, and is tried again at the next use then."""
        if self._created:
            return
        async with self._creating:
            if not self._created:
                async with self._engine.connect() as connection:
                    await create_tables(connection, self._tables)
                self._created = True
