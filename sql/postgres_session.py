"""How sessions of PostgreSQL are left for the next one who uses them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

_RESET: Final = "; ".join(
    (
        "close all",
        "set session authorization default",  # and the role
        "reset all",
        "unlisten *",
        "select pg_advisory_unlock_all()",
        "discard temp",
        "discard sequences",
    )
)
"""What `discard all` does, but for the driver's own prepared statements."""


def reset_sessions(engine: AsyncEngine) -> None:
    """Give back a session of a PostgreSQL engine as it was when it was opened. It costs a round trip."""

    @event.listens_for(engine.sync_engine, "reset")
    def reset(connection: Any, _record: object, state: Any) -> None:
        if not state.terminate_only:
            connection.rollback()
            connection.run_async(lambda driver: driver.execute(_RESET))
