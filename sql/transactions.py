"""Transactions that are tried again where the database took them back: a deadlock, or a lock that was not to be had."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from anabranch.sql.errors import diagnose

_T = TypeVar("_T")
_TRIES: Final = 8
_LONGEST_FIRST_PAUSE: Final = 0.01
_SECONDS: Final = 15.0
"""No other try begins after these: a file of SQLite is waited for by SQLite itself for ten of them."""
_TAKEN_BACK: Final = frozenset({"40001", "40P01", "error 1213", "SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT"})
"""Deadlocks and failed serializations of PostgreSQL and MySQL, and a file of SQLite that others kept writing to.

Nothing of the transaction happened.
"""


async def in_transaction(engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
    """What `work` returns, done in a transaction of its own; up to 8 times in 15 seconds where it is taken back.

    Rows locked in one order are not enough: InnoDB locks gaps between rows too, and a reader's index before the row.
    Between attempts is a random pause, which doubles. Raises what `work`, SQLAlchemy and the system raise.
    """
    until = time.monotonic() + _SECONDS
    for tries in range(1, _TRIES + 1):
        try:
            async with engine.begin() as connection:
                return await work(connection)
        except DBAPIError as failed:
            is_last = tries == _TRIES or time.monotonic() > until
            if is_last or diagnose(failed).code not in _TAKEN_BACK:
                raise
        await asyncio.sleep(random.uniform(0, _LONGEST_FIRST_PAUSE * 2**tries))  # noqa: S311 - spreads, hides nothing
    raise AssertionError
