"""What the sessions of a database server are doing, and statements that wait until a test lets them go on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_BLOCKED = {
    "postgresql": "select count(*) from pg_stat_activity where wait_event_type = 'Lock'",
    "mysql": "select (select count(*) from information_schema.processlist where state = 'User lock')"
    " + (select count(*) from information_schema.innodb_trx where trx_state = 'LOCK WAIT')",
}
_RUNNING = {
    "postgresql": "select pid from pg_stat_activity"
    " where query like :like and state = 'active' and pid <> pg_backend_pid()",
    "mysql": "select id from information_schema.processlist where info like :like and id <> connection_id()",
}
_EVERY = 0.15
"""InnoDB looks again only when it was not asked for a tenth of a second."""
_HOLD = {
    "postgresql": ("select pg_advisory_lock(hashtext('{0}'))", "select pg_advisory_unlock(hashtext('{0}'))"),
    "mysql": ("select get_lock('{0}', 600)", "select release_lock('{0}')"),
}


async def until_running(engine: AsyncEngine, like: str) -> int:
    """Wait until a session runs such a statement; the session's number."""
    statement = text(_RUNNING[engine.dialect.name])
    async with engine.connect() as connection:
        for _ in range(3000):
            if (session := (await connection.execute(statement, {"like": like})).scalar()) is not None:
                return int(session)
            await connection.rollback()  # PostgreSQL shows a transaction the sessions of its beginning
            await asyncio.sleep(0.02)
    raise AssertionError(f"nobody runs {like!r}")


@dataclass(frozen=True, slots=True)
class Hold:
    """A lock that a test holds; statements that call `wait` go on when it is let go."""

    connection: AsyncConnection
    name: str

    @property
    def wait(self) -> str:
        """The call, as an expression of SQL."""
        if self.connection.dialect.name == "mysql":
            return f"get_lock('{self.name}', 600)"
        return f"pg_advisory_xact_lock(hashtext('{self.name}'))"

    async def until_blocked(self, count: int) -> None:
        """Wait until so many sessions wait for a lock, this one or another."""
        for _ in range(400):
            blocked = await self.connection.scalar(text(_BLOCKED[self.connection.dialect.name]))
            await self.connection.rollback()
            if blocked is not None and blocked >= count:
                return
            await asyncio.sleep(_EVERY)
        raise AssertionError(f"there are no {count} sessions that wait for a lock")


@asynccontextmanager
async def holding(engine: AsyncEngine) -> AsyncGenerator[Hold]:
    """Hold a lock of our own while the block runs."""
    name = uuid.uuid4().hex
    take, let_go = (each.format(name) for each in _HOLD[engine.dialect.name])
    async with engine.connect() as connection:
        await connection.execute(text(take))
        try:
            yield Hold(connection, name)
        finally:
            await connection.execute(text(let_go))
