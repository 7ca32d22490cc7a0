"""Inserts of rows that may be there already, in the words of each database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, insert
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Insert


def upsert(table: Table, dialect: str, columns: Sequence[str]) -> Insert:
    """Insert rows; of a row whose primary key is there already, replace these columns."""
    if dialect == "mysql":
        into_mysql = mysql.insert(table)
        return into_mysql.on_duplicate_key_update({name: into_mysql.inserted[name] for name in columns})
    into = _insert_with_conflicts(table, dialect)
    return into.on_conflict_do_update(
        index_elements=list(table.primary_key), set_={name: into.excluded[name] for name in columns}
    )


async def insert_if_absent(connection: AsyncConnection, table: Table, values: dict[str, Any]) -> bool:
    """Whether the row was inserted; False where its primary key is there already. The transaction goes on."""
    dialect = connection.dialect.name
    if dialect != "mysql":
        ignoring = _insert_with_conflicts(table, dialect).on_conflict_do_nothing(index_elements=list(table.primary_key))
        return (await connection.execute(ignoring, values)).rowcount == 1
    # MySQL's `insert ignore` would ignore other errors too, and a statement that fails does not end its transaction.
    try:
        await connection.execute(insert(table), values)
    except IntegrityError:
        return False
    return True


def _insert_with_conflicts(table: Table, dialect: str) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
