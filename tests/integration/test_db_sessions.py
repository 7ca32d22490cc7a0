"""A `db` node is one transaction, on a session that nobody before it has changed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from anabranch.activities.sql import handler
from anabranch.errors import NodeError
from tests.integration.databases import Bench
from tests.json_values import unchecked

CONTROL = {
    "postgresql": ("commit", "begin", "savepoint a", "set transaction read only"),
    "mysql": ("commit", "start transaction", "savepoint a", "set autocommit = 1", "lock tables stock write"),
    "sqlite": (
        "commit",
        "begin",
        "savepoint a",
        "attach database ':memory:' as other",
        "pragma user_version = 3",
        "pragma main.journal_mode(off)",
        "select load_extension('x')",
    ),
}


async def rows(bench: Bench) -> Any:
    return (await bench.run("select count(*) as n from stock")).writes["n"]


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The text of a statement is not judged, as if it held what the parser does not know."""
    monkeypatch.setattr(handler, "controls", lambda _query: None)
    yield
    handler._parse.cache_clear()


async def test_a_statement_that_controls_its_transaction_is_refused_and_nothing_is_done(bench: Bench) -> None:
    insert = {"query": f"insert into {bench.table} (id) values (601)"}
    for control in (*CONTROL[bench.kind], "rollback"):
        for _ in range(2):
            with pytest.raises(NodeError, match="a node's statements are one transaction"):
                await bench.run(
                    None, statements=[insert, {"query": control.replace("stock", bench.table)}, insert], key="one"
                )
    assert await rows(bench) == 2


@pytest.mark.parametrize("control", CONTROL["sqlite"][:-1])
@pytest.mark.usefixtures("unseen")
async def test_sqlite_itself_refuses_control_that_nobody_saw(sqlite: Bench, control: str) -> None:
    insert = {"query": f"insert into {sqlite.table} (id) values (601)"}
    with pytest.raises(NodeError, match=r"the statement failed: DatabaseError \(SQLITE_AUTH\)"):
        await sqlite.run(None, statements=[insert, {"query": control}])
    assert await rows(sqlite) == 2
    assert (await sqlite.run("pragma user_version")).writes == {"user_version": 0}


async def test_a_procedure_or_block_of_postgres_cannot_commit(postgres: Bench) -> None:
    body = "begin insert into stock (id) values (601); commit; end"
    await postgres.run(f"create procedure stock_end() language plpgsql as $$ {body} $$", idempotent=False)
    for query in ("call stock_end()", f"do $$ {body} $$"):
        with pytest.raises(NodeError, match=r"InvalidTransactionTerminationError \(2D000\)"):
            await postgres.run(query)
    assert await rows(postgres) == 2


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("then", ["", "insert into stock (id) values (1);"], ids=["succeeds", "fails"])
async def test_a_procedure_of_mysql_that_ends_the_transaction_has_happened(mysql: Bench, end: str, then: str) -> None:
    """Whatever it has committed, its compensation is not told that there is nothing to undo."""
    key = uuid.uuid4().hex
    body = f"begin insert into stock (id) values (601); {end}; insert into stock (id) values (602); {then} end"
    await mysql.run(f"create procedure stock_end() {body}", idempotent=False)
    with pytest.raises(NodeError, match="has ended the transaction") as caught:
        await mysql.run("call stock_end()", key=key)
    assert caught.value.happened
    assert await rows(mysql) == {"commit": 3, "rollback": 2}[end]
    undo = await mysql.undo("delete from stock where id > 600", forward_key=key)
    assert undo.result == {"row": {}, "rows": [], "row_count": {"commit": 1, "rollback": 0}[end]}


async def test_a_procedure_of_mysql_that_keeps_to_its_transaction_is_called_once(mysql: Bench) -> None:
    body = "begin insert into stock (id) values (601); select count(*) as n from stock; end"
    await mysql.run(f"create procedure stock_add() {body}", idempotent=False)
    key = uuid.uuid4().hex
    for _ in range(2):
        assert (await mysql.run("call stock_add()", key=key)).writes == {"n": 3}
    assert await rows(mysql) == 3


CHANGED: dict[str, list[tuple[str, str, Any]]] = {
    "postgresql": [
        ("select set_config('app.tenant', 'alice', false)", "select current_setting('app.tenant', true) as x", ""),
        ("set role pg_monitor", "select current_user = session_user as x", True),
        ("set session authorization pg_monitor", "select session_user as x", "postgres"),
        ("set search_path to pg_catalog", "show search_path", '"$user", public'),
        ("create temp table t (n int)", "select count(*) as x from pg_class where relname = 't'", 0),
        ("select pg_advisory_lock(4711)", "select count(*) as x from pg_locks where locktype = 'advisory'", 0),
        ("listen news", "select count(*) as x from pg_listening_channels()", 0),
        ("declare c cursor with hold for select 1", "select count(*) as x from pg_cursors where name = 'c'", 0),
    ],
    "mysql": [
        ("set @tenant = 'alice'", "select @tenant as x", None),
        ("set session sql_mode = 'ANSI_QUOTES'", "select @@sql_mode like '%ANSI_QUOTES%' as x", 0),
        ("set names latin1", "select @@character_set_client as x", "utf8mb4"),
        ("create temporary table t (n int)", "show tables like 't'", None),
        ("select get_lock('stock', 0)", "select is_free_lock('stock') as x", 1),
        ("set session lock_wait_timeout = 7", "select @@lock_wait_timeout = 7 as x", 0),
        ("insert into stock (id) values (4711)", "select @@autocommit as x", 0),
    ],
    "sqlite": [
        ("create temp table t (n int)", "select count(*) as x from sqlite_temp_master", 0),
        ("insert into stock (id) values (4711)", "select total_changes() as x", 0),
    ],
}
SESSION = {"postgresql": "select pg_backend_pid() as x", "mysql": "select connection_id() as x"}


async def test_what_a_node_sets_in_its_session_is_gone_for_the_next_one(bench: Bench) -> None:
    for change, look, expected in CHANGED[bench.kind]:
        before = await session(bench)
        await bench.run(change, idempotent=False)
        assert await values(bench, look) == ([] if expected is None else [expected]), change
        assert await session(bench) == before, "the session is the same one"
        await bench.run("delete from stock where id = 4711")


async def values(bench: Bench, query: str) -> list[Any]:
    """The values of the row that a query finds, but for nulls."""
    row = unchecked((await bench.run(query)).result)["row"]
    return [value for value in row.values() if value is not None]


async def session(bench: Bench) -> Any:
    return None if bench.kind == "sqlite" else (await bench.run(SESSION[bench.kind])).writes["x"]


async def test_a_variable_of_mysql_does_not_outlive_a_node_that_fails(mysql: Bench) -> None:
    with pytest.raises(NodeError):
        await mysql.run(None, statements=[{"query": "set @tenant = 'alice'"}, {"query": "select nothing"}])
    assert (await mysql.run("select @tenant as x")).writes == {"x": None}


async def test_a_session_that_was_reset_still_takes_one_statement_and_reads_values_as_values(mysql: Bench) -> None:
    await mysql.run("set @used = 1")
    with pytest.raises(NodeError, match="SQL syntax"):
        await mysql.run("select 1; select 2")
    assert (await mysql.run("select :v as x", params={"v": "\\' or 1 = 1 -- ü"})).writes == {"x": "\\' or 1 = 1 -- ü"}


async def test_a_session_that_is_lost_on_its_way_back_takes_nothing_from_the_node(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = AsyncConnection.close

    async def broken(connection: AsyncConnection) -> None:
        await close(connection)
        raise ConnectionResetError

    monkeypatch.setattr(AsyncConnection, "close", broken)
    await bench.run("insert into stock (id) values (3)")
    assert await rows(bench) == 3


async def test_rows_of_another_tenant_stay_hidden_from_the_next_run(postgres: Bench) -> None:
    """Row-level security by a setting of the session: the next run has no tenant yet, and sees nothing."""
    role = f"app_{uuid.uuid4().hex[:8]}"
    for statement in (
        "alter table stock enable row level security",
        "create policy own on stock using (name = current_setting('app.tenant', true))",
        f"create role {role}",
        f"grant select on stock to {role}",
    ):
        await postgres.run(statement, idempotent=False)
    enter = [{"query": f"set role {role}", "result": "none"}]
    tenant = [{"query": "select set_config('app.tenant', 'bolt', false)", "result": "none"}]
    count = [{"query": f"select count(*) as n from {postgres.table}"}]
    first = await postgres.run(None, statements=enter + tenant + count, idempotent=False)
    second = await postgres.run(None, statements=enter + count, idempotent=False)
    assert (first.writes, second.writes) == ({"n": 1}, {"n": 0})
    await postgres.run(f"drop owned by {role}", idempotent=False)
    await postgres.run(f"drop role {role}", idempotent=False)
