"""How many rows a MySQL server may send of a `select`: elsewhere a cursor on the server leaves the others there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection


@asynccontextmanager
async def select_limit(connection: AsyncConnection, rows: int) -> AsyncGenerator[None]:
    """Limit what a MySQL session's `select` without a `limit` of its own gives; any other database is left alone."""
    if connection.dialect.name != "mysql":
        yield
        return
    await connection.exec_driver_sql(f"set session sql_select_limit = {rows:d}")
    try:
        yield
    finally:
        with suppress(SQLAlchemyError):  # a connection that is lost takes its limit with it
            await connection.exec_driver_sql("set session sql_select_limit = default")
