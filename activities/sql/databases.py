"""The databases that this worker's graphs name: one engine per connection URL, opened at first use.

A graph names an environment variable, never the URL. Nothing of the URL appears in an error, a log or the history.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from anabranch.activities.sql import postgres_types
from anabranch.activities.sql.effect_log import EffectLog
from anabranch.activities.sql.errors import connect_error, database_error
from anabranch.errors import AnabranchError, ConfigurationError
from anabranch.graph.kinds.sql_control import changes_sqlite
from anabranch.settings import may_open
from anabranch.sql.engines import open_engine
from anabranch.sql.sqlite_session import begin_explicitly, guard_sessions

log = structlog.get_logger("anabranch.sql")


@dataclass(frozen=True, slots=True)
class Database:
    """One database: its engine, its log of effects, and the secrets to mask in messages."""

    variable: str
    engine: AsyncEngine
    effects: EffectLog
    secrets: tuple[str, ...]

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[AsyncConnection]:
        """A pooled connection. Whatever is raised while it is used becomes an error of ours, without a word of the URL.

        What its return to the pool meets concerns nobody: what the node did is committed by then, or rolled back.
        """
        cancellations = _cancellations()
        try:
            connection = await self.engine.connect()
        except Exception as error:
            refused = connect_error(error, self.variable)
            refused.happened = False
            raise refused from None
        try:
            _heed_cancellation(cancellations)
            yield connection
        except AnabranchError:
            raise
        except Exception as error:
            raise database_error(error, self.variable, self.secrets) from None
        finally:
            await _returned(connection)


def _cancellations() -> int:
    """How often the current task was cancelled."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _heed_cancellation(known: int) -> None:
    """Raise CancelledError if the task was cancelled since, and nobody has said so.

    Pool and driver wait by `asyncio.wait_for`, which in Python 3.11 forgets a cancellation that comes when its work has
    just ended: a statement that waits for a lock would then never be given up.
    """
    if _cancellations() > known:
        raise asyncio.CancelledError


async def _returned(connection: AsyncConnection) -> None:
    try:
        await connection.close()
    except Exception as error:
        log.info("a connection was lost on its way back to the pool", reason=type(error).__name__)


class Databases:
    """Opens databases by the names of environment variables; `aclose` closes them all.

    `names` are those that may be opened, `*` at the end of one stands for any rest; the worker's own variables never.
    `lock_seconds` is how long a statement of SQLite waits for a lock.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        names: Sequence[str] = ("*",),
        lock_seconds: float = 5.0,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._names = names
        self._lock_seconds = lock_seconds
        self._open: dict[tuple[str, str], Database] = {}

    def get(self, variable: str) -> Database:
        """The database that the variable names now. Raises ConfigurationError: a graph learns of no other variable."""
        value = self._environ.get(variable, "") if may_open(variable, self._names) else ""
        if (variable, value) not in self._open:
            self._open[variable, value] = _open(variable, value, self._lock_seconds)
        return self._open[variable, value]

    async def aclose(self) -> None:
        """Close every connection."""
        while self._open:
            _, database = self._open.popitem()
            await database.engine.dispose()


def _open(variable: str, url: str, lock_seconds: float) -> Database:
    if not url:
        raise ConfigurationError(
            f"this worker has no connection {variable} for graphs",
            suggestion=f"set {variable} in the worker's environment, e.g. to postgres://user:password@host/database,"
            " and list it in ANABRANCH_CONNECTIONS",
        )
    engine = open_engine(url, variable=variable, lock_seconds=lock_seconds, reset=True)
    begin_explicitly(engine)
    guard_sessions(engine, changes_sqlite)
    if engine.dialect.name == "postgresql":
        _json_types(engine)
    return Database(variable, engine, EffectLog(), (url, engine.url.password or ""))


def _json_types(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def install(connection: Any, _record: object) -> None:
        connection.run_async(postgres_types.install)
