"""Tables of ours, created by whoever needs them first, while others do the same."""

from __future__ import annotations

import asyncio

from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from anabranch.backoff import Backoff

_TRIES = 8
"""Who loses a race finds the tables when it tries again; a lost connection may come on top."""
_PAUSES = Backoff(first=0.05, longest=1)
"""SQLite refuses who loses at once, and who wins may take a while to write its file."""


async def create_tables(connection: AsyncConnection, tables: MetaData) -> None:
    """Create the tables that are not there, in a transaction of its own. Raises SQLAlchemyError and OSError."""
    pauses = iter(_PAUSES)
    for tries in range(1, _TRIES + 1):
        try:
            async with connection.begin():
                await connection.run_sync(tables.create_all)
        except DBAPIError:  # another process created them at the same time, or the connection was lost; or neither
            if tries == _TRIES:
                raise
            await asyncio.sleep(next(pauses))
        else:
            return


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
