"""Exactly once for SQL: a node's effect and its idempotency key are committed by one transaction.

The table `anabranch_effects` lives in the database that the effect happens in. The key is inserted first, so a
concurrent duplicate waits on it; a retry finds it and gets the stored outcome without executing anything.

Compensation: a forward node whose outcome is unknown may not have happened. `forestall` inserts the *forward* key as a
tombstone. If that succeeds, the forward effect did not happen and never will: a late attempt finds the tombstone
and fails. If it does not, the forward effect is committed (an attempt in flight is waited for) and must be undone.

The idea is the idempotent receiver with an inbox table (Hohpe and Woolf; Richardson).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import structlog
from sqlalchemy import BigInteger, Column, Index, MetaData, Table, Text, delete, select, update
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from anabranch.context.values import Json
from anabranch.errors import ConfigurationError, NodeError
from anabranch.sql.exact_text import ExactText
from anabranch.sql.tables import create_tables
from anabranch.sql.upsert import insert_if_absent

RETENTION_SECONDS = 365 * 86400
"""Longer than any run: without its key a retry repeats the effect, and a compensation does not know what happened."""
PRUNE_EVERY_SECONDS = 3600
_KEY_LENGTH = 512

_METADATA = MetaData()
EFFECTS = Table(
    "anabranch_effects",
    _METADATA,
    Column("key", ExactText(_KEY_LENGTH, 4 * _KEY_LENGTH), primary_key=True),
    Column(
        "outcome",
        Text().with_variant(mysql.LONGTEXT(), "mysql"),
        nullable=True,
        comment="JSON; null is a tombstone: undone before it happened",
    ),
    Column("created_at", BigInteger, nullable=False, comment="Unix seconds"),
    Index("anabranch_effects_created_at", "created_at"),
    mysql_engine="InnoDB",
)
log = structlog.get_logger("anabranch.sql")


@dataclass(frozen=True, slots=True)
class Claim:
    """Either the key is `fresh` and the caller does the work, or `outcome` is what the first attempt stored."""

    fresh: bool
    outcome: Json = None


class EffectLog:
    """The effects of one database. Every method but `ready` works inside the caller's transaction."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._due = 0.0
        self._lock = asyncio.Lock()

    async def ready(self, connection: AsyncConnection) -> None:
        """Create the table at the first use and prune it once an hour, in transactions of their own.

        ConfigurationError if the table is missing and may not be created.
        """
        if self._clock() < self._due:
            return
        async with self._lock:
            if self._clock() < self._due:
                return
            await _create(connection)
            await self._prune(connection)
            self._due = self._clock() + PRUNE_EVERY_SECONDS

    async def claim(self, connection: AsyncConnection, key: str) -> Claim:
        """Take the key for this transaction; NodeError if a compensation left a tombstone."""
        if await self._insert(connection, key):
            return Claim(fresh=True)
        stored = await connection.scalar(select(EFFECTS.c.outcome).where(EFFECTS.c.key == column_key(key)))
        if stored is None:
            raise NodeError(
                "its compensation ran before this attempt, which therefore did nothing",
                suggestion="an earlier attempt timed out; a longer `timeout` gives it the time it needs",
            )
        return Claim(fresh=False, outcome=cast("Json", json.loads(stored)))

    async def forestall(self, connection: AsyncConnection, forward_key: str) -> bool:
        """True where the forward effect never happened and now never will; False where there is something to undo."""
        if await self._insert(connection, forward_key):
            return True
        stored = await connection.scalar(select(EFFECTS.c.outcome).where(EFFECTS.c.key == column_key(forward_key)))
        return stored is None

    async def record(self, connection: AsyncConnection, key: str, outcome: Json) -> None:
        """Store what the claimed key's effect came to, for the retries to find."""
        text = json.dumps(outcome, separators=(",", ":"))
        await connection.execute(update(EFFECTS).where(EFFECTS.c.key == column_key(key)).values(outcome=text))

    async def happened(self, connection: AsyncConnection, key: str) -> None:
        """Note an effect of which nobody knows what it came to, so that its compensation undoes it."""
        await self._insert(connection, key)
        await self.record(connection, key, [])

    async def _insert(self, connection: AsyncConnection, key: str) -> bool:
        values = {"key": column_key(key), "outcome": None, "created_at": int(self._clock())}
        return await insert_if_absent(connection, EFFECTS, values)

    async def _prune(self, connection: AsyncConnection) -> None:
        horizon = int(self._clock()) - RETENTION_SECONDS
        try:
            async with connection.begin():
                await connection.execute(delete(EFFECTS).where(EFFECTS.c.created_at < horizon))
        except DBAPIError as error:
            # Nothing depends on it: the next hour, or another worker, does it.
            log.info("effects not pruned this time", reason=type(error).__name__)


async def _create(connection: AsyncConnection) -> None:
    try:
        await create_tables(connection, _METADATA)
    except (OperationalError, ProgrammingError) as failed:
        if isinstance(failed, OperationalError) and not _denied_by_mysql(failed):
            raise
        raise ConfigurationError(
            f"the database has no table {EFFECTS.name!r}, and this worker may not create it",
            suggestion="let its user create the table once, or set `idempotent: false` on the node",
        ) from None


def _denied_by_mysql(failed: OperationalError) -> bool:
    return failed.orig is not None and failed.orig.args[:1] in ((1044,), (1142,))


def column_key(key: str) -> str:
    """The key as the table holds it: itself, or where it is longer than the column, its start and its SHA-256."""
    if len(key) <= _KEY_LENGTH:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{key[: _KEY_LENGTH - len(digest) - 1]}#{digest}"
