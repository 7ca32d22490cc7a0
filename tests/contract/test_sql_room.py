"""What every user of a SQL database relies on, shown in each: tables, upserts, errors by their codes."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, event, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from anabranch.errors import ConfigurationError, Unavailable
from anabranch.loopback import free_port
from anabranch.sql.engines import open_engine
from anabranch.sql.errors import as_unavailable, diagnose
from anabranch.sql.sqlite_session import share_file
from anabranch.sql.tables import LazyTables
from anabranch.sql.upsert import insert_if_absent, upsert

Open = Callable[[], AsyncEngine]


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
async def engines(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens engines of one database, as several processes do."""
    sqlite = f"sqlite:///{tmp_path / 'room.db'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue(f"{request.param}_url")
    opened: list[AsyncEngine] = []

    def open_one() -> AsyncEngine:
        opened.append(open_engine(url, max_connections=1, read_committed=True))
        share_file(opened[-1])
        return opened[-1]

    yield open_one
    for engine in opened:
        await engine.dispose()


@pytest.fixture
def table() -> Table:
    columns = Column("key", String(20), primary_key=True), Column("one", Integer), Column("two", Integer)
    return Table(f"room_{uuid.uuid4().hex[:8]}", MetaData(), *columns, mysql_engine="InnoDB")


async def rows(engine: AsyncEngine, table: Table) -> list[tuple[object, ...]]:
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(select(table).order_by(table.c.key))]


async def test_processes_that_need_a_table_at_once_all_find_it(engines: Open, table: Table) -> None:
    opened = [engines() for _ in range(8)]
    await asyncio.gather(*(LazyTables(engine, table.metadata).ready() for engine in opened))
    assert [await rows(engine, table) for engine in opened] == [[]] * 8


async def test_a_file_that_is_written_while_its_journal_changes_is_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "written.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("create table there (key)")
        writer.execute("begin immediate")
        engine = open_engine(f"sqlite:///{file}", max_connections=1)
        share_file(engine)
        opened = asyncio.Event()
        event.listen(engine.sync_engine, "connect", lambda *_: opened.set(), insert=True)
        opening = asyncio.ensure_future(engine.connect().start())
        await opened.wait()
        await asyncio.sleep(0.2)
        assert not opening.done()
        writer.execute("rollback")
    connection = await opening
    assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one() == "wal"
    await connection.close()
    await engine.dispose()


async def test_a_race_for_a_table_may_be_lost_after_the_connection_was(engines: Open, table: Table) -> None:
    engine = engines()
    errors = iter((OperationalError("create", None, OSError()), IntegrityError("create", None, ValueError())))

    def fail_twice(*_: object, **__: object) -> None:
        for error in errors:
            raise error

    event.listen(table.metadata, "before_create", fail_twice)
    await LazyTables(engine, table.metadata).ready()
    assert await rows(engine, table) == []


async def test_an_upsert_replaces_the_named_columns_alone(engines: Open, table: Table) -> None:
    engine = engines()
    await LazyTables(engine, table.metadata).ready()
    for number in (1, 2):
        given = [{"key": key, "one": number, "two": number} for key in ("a", "b")[:number]]
        async with engine.begin() as connection:
            await connection.execute(upsert(table, engine.dialect.name, ["two"]), given)
    assert await rows(engine, table) == [("a", 1, 2), ("b", 2, 2)]


async def test_a_row_that_is_there_is_not_inserted_and_the_transaction_goes_on(engines: Open, table: Table) -> None:
    engine = engines()
    await LazyTables(engine, table.metadata).ready()
    async with engine.begin() as connection:
        assert await insert_if_absent(connection, table, {"key": "a", "one": 1})
        assert not await insert_if_absent(connection, table, {"key": "a", "one": 2})
        assert await insert_if_absent(connection, table, {"key": "b", "one": 3})
    assert await rows(engine, table) == [("a", 1, None), ("b", 3, None)]


async def test_a_broken_constraint_is_the_statement_s_fault(engines: Open, table: Table) -> None:
    engine = engines()
    await LazyTables(engine, table.metadata).ready()
    codes = {"sqlite": "SQLITE_CONSTRAINT_PRIMARYKEY", "postgresql": "23505", "mysql": "error 1062"}
    async with engine.begin() as connection:
        await connection.execute(insert(table).values(key="a"))
        with pytest.raises(IntegrityError) as caught:
            await connection.execute(insert(table).values(key="a"))
        await connection.rollback()
    found = diagnose(caught.value)
    assert (found.kind, found.code) == ("statement", codes[engine.dialect.name])


async def connect(engine: AsyncEngine) -> None:
    with as_unavailable("STORE_URL", "is it up?"):
        async with engine.connect():
            pass


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
async def test_a_server_that_is_not_there_is_unavailable_without_a_word_of_its_url(scheme: str) -> None:
    engine = open_engine(f"{scheme}://s3cret:s3cret@127.0.0.1:{free_port()}/s3cret")
    with pytest.raises(Unavailable, match=r"^STORE_URL: the database did not answer as it should: ") as caught:
        await connect(engine)
    assert "s3cret" not in str(caught.value)
    await engine.dispose()


async def test_a_database_that_does_not_exist_is_a_configuration_error(postgres_url: str) -> None:
    engine = open_engine(postgres_url.replace("/postgres?", "/s3cret?"))
    with (
        pytest.raises(
            ConfigurationError, match=r"^STORE_URL: the database refused the credentials \(3D000\)"
        ) as caught,
        as_unavailable("STORE_URL", "is it up?"),
    ):
        async with engine.connect():
            pass
    assert "s3cret" not in str(caught.value)
    await engine.dispose()
