"""A store's transaction that the database takes back to resolve a deadlock is done again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import event, text

from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.stores.sql import SqlStore
from anabranch.errors import Unavailable
from anabranch.sql import transactions
from anabranch.sql.errors import Diagnosis, diagnose
from tests.integration.sessions import Hold

# Who is made to go back: PostgreSQL's choice is who waits first for this long, InnoDB's who changed fewer rows.
PATIENT = {"postgresql": "set deadlock_timeout = '60s'", "mysql": "do 0"}


def context(session_id: str, **data: int) -> DistributedContext:
    return DistributedContext(session_id, dict(data), ContextMetadata(1, 1, 1, "test", ()))


@pytest.fixture(params=["postgres", "mysql"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SqlStore]:
    store = SqlStore.from_url(str(request.getfixturevalue(f"{request.param}_url")).replace("+asyncpg", ""))
    yield store
    await store.aclose()


async def deadlock(store: SqlStore, prefix: str) -> None:
    """Have a store write `a` and then `b` while a heavier transaction has `b` and then wants `a`."""
    engine = store._engine
    many = [context(f"{prefix}/c{index}") for index in range(50)]
    await store.save_many([context(f"{prefix}/a"), context(f"{prefix}/b"), *many])
    # Changed in fact: InnoDB does not count what stays the same.
    change = "update anabranch_contexts set expires_at = 99999999999999 where session_id"
    async with engine.begin() as connection, engine.connect() as looking:
        await connection.execute(text(PATIENT[engine.dialect.name]))
        await connection.execute(text(f"{change} like '{prefix}/c%'"))
        await connection.execute(text(f"{change} = '{prefix}/b'"))
        writing = asyncio.create_task(store.save_many([context(f"{prefix}/{name}", n=1) for name in "ab"]))
        await asyncio.sleep(0.3)  # what InnoDB tells of locks may be that old, and of the test before
        await Hold(looking, prefix).until_blocked(1)
        await connection.execute(text(f"{change} = '{prefix}/a'"))
    await writing


async def test_a_store_s_write_that_lost_a_deadlock_is_written(store: SqlStore, task_queue: str) -> None:
    await deadlock(store, task_queue)
    found = await store.load_many([f"{task_queue}/a", f"{task_queue}/b"])
    assert [each.data if each else None for each in found] == [{"n": 1}, {"n": 1}]


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[tuple[SqlStore, sqlite3.Connection]]:
    """A store in a file of SQLite that gives up a lock almost at once, and somebody else who writes to the file."""
    store = SqlStore.from_url(f"sqlite:///{tmp_path}/contexts.db")
    event.listen(store._engine.sync_engine, "connect", lambda opened, _: opened.execute("PRAGMA busy_timeout = 1"))
    await store.save(context("a"))
    other = sqlite3.connect(tmp_path / "contexts.db", isolation_level=None)
    yield store, other
    other.close()
    await store.aclose()


async def test_a_file_that_somebody_writes_to_is_written_when_they_have_ended(
    file: tuple[SqlStore, sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = file
    refused = asyncio.Event()

    def seen(error: Exception) -> Diagnosis:
        refused.set()
        return diagnose(error)

    monkeypatch.setattr(transactions, "diagnose", seen)
    other.execute("begin immediate")
    writing = asyncio.create_task(store.save(context("a", n=1)))
    await refused.wait()
    other.execute("commit")
    await writing
    found = await store.load("a")
    assert found is not None
    assert found.data == {"n": 1}


async def test_a_file_that_somebody_goes_on_writing_to_is_unavailable(
    file: tuple[SqlStore, sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = file
    monkeypatch.setattr(transactions, "_SECONDS", 0.0)
    other.execute("begin immediate")
    with pytest.raises(Unavailable, match="SQLITE_BUSY"):
        await store.save(context("a", n=1))
    other.execute("rollback")


async def test_without_another_try_it_would_fail(
    store: SqlStore, task_queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "_TRIES", 1)
    with pytest.raises(Unavailable, match=r"40P01|error 1213"):
        await deadlock(store, task_queue)
