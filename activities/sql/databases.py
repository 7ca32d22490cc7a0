"""The databases that this worker's graphs name: one engine per connection URL, opened at first use.

A graph names an environment variable, never the URL. Nothing of the URL appears in an error, a log or the history.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from anabranch.activities.sql import postgres_types
from anabranch.activities.sql.errors import connect_error, database_error, value_error
from anabranch.activities.sql.idempotency import EffectLog
from anabranch.errors import AnabranchError, ConfigurationError
from anabranch.sql import mysql_session

_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
}
_EXTRAS = {"postgresql": "postgres", "mysql": "mysql"}
_CONNECT_SECONDS = 10
SQLITE_CONNECT = {"timeout": 5.0}
"""Seconds that a statement waits for a lock."""
_POOL: dict[str, Any] = {"pool_size": 10, "max_overflow": 10, "pool_timeout": _CONNECT_SECONDS, "pool_pre_ping": True}


@dataclass(frozen=True, slots=True)
class Database:
    """One database: its engine, its log of effects, and what must not be said about it."""

    variable: str
    engine: AsyncEngine
    effects: EffectLog
    secrets: tuple[str, ...]

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A pooled connection; what SQLAlchemy and the driver raise comes out typed and tells nothing of the URL."""
        try:
            connection = await self.engine.connect()
        except Exception as error:
            raise connect_error(error, self.variable) from None
        try:
            yield connection
        except (SQLAlchemyError, OSError) as error:
            raise database_error(error, self.variable, self.secrets) from None
        except AnabranchError:
            raise
        except (ArithmeticError, TypeError, ValueError) as error:
            raise value_error(error, self.secrets) from None
        finally:
            await connection.close()


class Databases:
    """Opens databases by the names of environment variables; `aclose` closes them all."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._open: dict[tuple[str, str], Database] = {}

    def get(self, variable: str) -> Database:
        """The database of the variable's present value; ConfigurationError where that is none."""
        value = self._environ.get(variable, "")
        if (variable, value) not in self._open:
            self._open[variable, value] = _database(variable, value)
        return self._open[variable, value]

    async def aclose(self) -> None:
        """Close every connection."""
        while self._open:
            _, database = self._open.popitem()
            await database.engine.dispose()


def _database(variable: str, value: str) -> Database:
    url = _url(variable, value)
    try:
        engine = _engine(url)
    except ImportError:
        raise ConfigurationError(
            f"the environment variable {variable} names a {url.get_backend_name()} database, whose driver is missing",
            suggestion=f"install anabranch[{_EXTRAS[url.get_backend_name()]}]",
        ) from None
    except (SQLAlchemyError, TypeError, ValueError) as error:
        raise connect_error(error, variable) from None
    return Database(variable, engine, EffectLog(), (value, url.password or ""))


def _url(variable: str, value: str) -> URL:
    if not value:
        raise ConfigurationError(
            f"the environment variable {variable} is not set, and a node's `connection` names it",
            suggestion="set it in the worker's environment, e.g. to postgres://user:password@host/database",
        )
    try:
        url = make_url(value)
        return url.set(drivername=_DRIVERS[url.get_backend_name()])
    except (ArgumentError, NoSuchModuleError, KeyError, ValueError):
        raise ConfigurationError(
            f"the environment variable {variable} is not the URL of a database",
            suggestion="write postgres://…, mysql://… or sqlite:///file",
        ) from None


def _engine(url: URL) -> AsyncEngine:
    backend = url.get_backend_name()
    if backend == "sqlite":
        engine = create_async_engine(url, hide_parameters=True, connect_args=SQLITE_CONNECT)
        _own_transactions(engine)
        return engine
    if backend == "mysql":
        connect_args = {**mysql_session.CONNECT_ARGS, "connect_timeout": _CONNECT_SECONDS}
        engine = create_async_engine(url, hide_parameters=True, connect_args=connect_args, **_POOL)
        mysql_session.secure_sessions(engine)
        return engine
    engine = create_async_engine(
        _libpq_options(url), hide_parameters=True, connect_args={"timeout": _CONNECT_SECONDS}, **_POOL
    )
    _json_types(engine)
    return engine


def _libpq_options(url: URL) -> URL:
    """Rename libpq's `sslmode`, which asyncpg calls `ssl`."""
    if (mode := url.query.get("sslmode")) is None:
        return url
    return url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})


def _json_types(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def install(connection: Any, _record: object) -> None:
        connection.run_async(postgres_types.install)


def _own_transactions(engine: AsyncEngine) -> None:
    """Begin SQLite's transactions ourselves: Python's driver begins none for DDL, `select` and `with … update`."""

    @event.listens_for(engine.sync_engine, "connect")
    def leave_to_us(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")
