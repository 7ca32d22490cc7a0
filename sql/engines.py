"""Engines of SQL databases from their plain URLs: the driver, the pool and each database's session are chosen here."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, StaticPool

from anabranch.errors import ConfigurationError, not_a_url
from anabranch.sql import DRIVERS, mysql_session, postgres_session
from anabranch.sql.statement_spans import trace_statements

CONNECT_SECONDS: Final = 10
"""How long a connection may take to open, and a caller waits for one of the pool."""
_OVERFLOW: Final = 10
"""Connections that a pool opens beyond its size while it is busy."""


def open_engine(
    url: str,
    *,
    variable: str | None = None,
    max_connections: int = 10,
    lock_seconds: float = 10.0,
    read_committed: bool = False,
    reset: bool = False,
) -> AsyncEngine:
    """The engine of a database by its URL, whatever driver that names. It connects at its first use.

    `lock_seconds` is how long a statement of SQLite waits for another writer. `read_committed` sets that isolation
    level in MySQL, whose default locks the gap where a row is not. `reset` is for statements of others: what they have
    set in a session is gone when it goes back to the pool. Raises ConfigurationError, which names `variable`
    (where the URL comes from) and never repeats the URL.
    """
    try:
        parsed = make_url(url)
        driver = DRIVERS[parsed.get_backend_name()]
        url_of_driver = parsed.set(drivername=driver)
        if parsed.get_backend_name() == "sqlite":
            engine = _open_sqlite(url_of_driver, lock_seconds, reset=reset)
        else:
            engine = _open_server(url_of_driver, max_connections, read_committed=read_committed, reset=reset)
    except (SQLAlchemyError, KeyError, TypeError, ValueError):
        example = "write postgresql://user@host/name, mysql://user@host/name or sqlite:///file"
        raise not_a_url("a database", variable, example) from None
    except ImportError as missing:
        extra = "mysql" if missing.name == "asyncmy" else "postgres"
        raise ConfigurationError(
            f"the database's driver {missing.name!r} is not installed",
            place=variable,
            suggestion=f"pip install 'anabranch[{extra}]'",
        ) from None
    trace_statements(engine)
    return engine


def _open_sqlite(url: URL, lock_seconds: float, *, reset: bool) -> AsyncEngine:
    options: dict[str, Any] = {"hide_parameters": True, "connect_args": {"timeout": lock_seconds}}
    engine = create_async_engine(url, **options)
    if not reset or isinstance(engine.pool, StaticPool):  # a database in memory is its one session
        return engine
    # To open a file costs no more than to clean up a session.
    return create_async_engine(url, poolclass=NullPool, **options)


def _open_server(url: URL, max_connections: int, *, read_committed: bool, reset: bool) -> AsyncEngine:
    options: dict[str, Any] = {
        "pool_size": max_connections,
        "max_overflow": _OVERFLOW,
        "pool_timeout": CONNECT_SECONDS,
        "pool_pre_ping": True,
        "hide_parameters": True,
    }
    if reset:
        options["pool_reset_on_return"] = None  # not by a rollback alone
    if url.get_backend_name() == "postgresql":
        engine = create_async_engine(_libpq_options(url), connect_args={"timeout": CONNECT_SECONDS}, **options)
        if reset:
            postgres_session.reset_sessions(engine)
        return engine
    if read_committed:
        options["isolation_level"] = "READ COMMITTED"
    connect_args = {**mysql_session.CONNECT_ARGS, "connect_timeout": CONNECT_SECONDS}
    engine = create_async_engine(url, connect_args=connect_args, **options)
    mysql_session.secure_sessions(engine)
    if reset:
        mysql_session.reset_sessions(engine)
    return engine


def _libpq_options(url: URL) -> URL:
    """Rename libpq's `sslmode`, which asyncpg calls `ssl`."""
    if (mode := url.query.get("sslmode")) is None:
        return url
    return url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
