"""How sessions of MySQL and MariaDB are opened: values stay values, and one statement is one statement."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

CONNECT_ARGS: Final = {"charset": "utf8mb4"}
"""For `create_async_engine`: the driver writes values into the statement, which is safe in this character set."""
_SET_OPTION: Final = 0x1B
_MULTI_STATEMENTS_OFF: Final = b"\x01\x00"
_RESET_CONNECTION: Final = 0x1F
_RESET_SECONDS: Final = 5.0
_SQL_MODE: Final = "sql_mode = trim(both ',' from replace(concat(',', @@sql_mode, ','), ',NO_BACKSLASH_ESCAPES,', ','))"


def secure_sessions(engine: AsyncEngine) -> None:
    """Make each new session of a MySQL engine read values as asyncmy writes them, and refuse `…; …`.

    asyncmy escapes bytes by backslashes whatever the mode of the server, and asks the server to take several statements
    at once, whose later errors it does not report. It logs the server's warnings, which quote values of rows.
    """
    logging.getLogger("asyncmy").setLevel(logging.ERROR)

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"set session {_SQL_MODE}")
        cursor.close()
        connection.run_async(_refuse_several_statements)


async def _refuse_several_statements(connection: Any) -> None:
    # The protocol's COM_SET_OPTION: asyncmy has no public name for it.
    await connection._execute_command(_SET_OPTION, _MULTI_STATEMENTS_OFF)  # noqa: SLF001 - see above
    await connection.read_packet()


def reset_sessions(engine: AsyncEngine) -> None:
    """Give back a session of a MySQL engine as it was when it was opened. It costs two round trips.

    One that does not answer in time, such as one whose statement was cancelled and still runs, is closed instead.
    """

    @event.listens_for(engine.sync_engine, "reset")
    def reset(connection: Any, _record: object, state: Any) -> None:
        if not state.terminate_only:
            connection.run_async(_reset)


async def _reset(connection: Any) -> None:
    # The protocol's COM_RESET_CONNECTION, which rolls back too: asyncmy has no public name for it.
    async with asyncio.timeout(_RESET_SECONDS):
        await connection._execute_command(_RESET_CONNECTION, b"")  # noqa: SLF001 - see above
        await connection.read_packet()
        await connection.query(f"set names utf8mb4, autocommit = 0, {_SQL_MODE}")
