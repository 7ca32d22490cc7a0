"""Whether a node's statements have stayed in one transaction: in MySQL a procedure may commit, and nobody is told.

A savepoint that we set before them is gone then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from anabranch.errors import NodeError
from anabranch.sql.errors import diagnose, mysql_number

T = TypeVar("T")
_SAVEPOINT: Final = "anabranch_transaction"
_NO_SAVEPOINT: Final = 1305


async def in_one_transaction(
    connection: AsyncConnection, work: Callable[[], Awaitable[T]], keep: Callable[[], Awaitable[None]]
) -> T:
    """The result of `work`. Raises NodeError where it has ended its transaction: what it committed has happened.

    `keep` notes that then, and is committed alone.
    """
    await connection.exec_driver_sql(f"savepoint {_SAVEPOINT}")
    try:
        result = await work()
    except Exception as error:
        lost = isinstance(error, SQLAlchemyError) and diagnose(error).kind == "unavailable"
        if lost or not await _has_ended(connection):
            raise
    else:
        if not await _has_ended(connection):
            return result
    await connection.exec_driver_sql("rollback")
    await keep()
    await connection.exec_driver_sql("commit")
    raise _ended()


async def _has_ended(connection: AsyncConnection) -> bool:
    try:
        await connection.exec_driver_sql(f"release savepoint {_SAVEPOINT}")
    except DBAPIError as error:
        if mysql_number(diagnose(error).driver) == _NO_SAVEPOINT:
            return True
        raise
    return False


def _ended() -> NodeError:
    error = NodeError(
        "what the query calls has ended the transaction that the node's effect and its key are committed by",
        suggestion="take `commit` and `rollback` out of the procedure, or call it from an activity of your own",
    )
    error.happened = True
    return error
