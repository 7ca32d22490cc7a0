"""What goes wrong in a database: typed at whatever moment, and told without a value of a row."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from anabranch.errors import NodeError
from tests.integration.databases import Bench
from tests.integration.graph_kit import Served, chain, put

VALUE = "alice-4711"
IN = {"v": VALUE}

SETUP: dict[str, tuple[str, ...]] = {
    "postgresql": (
        "create table stock (id integer primary key, name text not null, n integer check (n > 0))",
        "alter table stock add constraint stock_name unique (name) deferrable initially deferred",
        "create function stock_raise(v text) returns int language plpgsql as $$ begin raise '%', v; end $$",
    ),
    "mysql": (
        "create table stock (id integer primary key, name varchar(20) not null unique, n integer check (n > 0))",
        "create procedure stock_raise(v text) signal sqlstate '45000' set message_text = v",
    ),
    "sqlite": (
        "create table stock (id integer primary key, name text not null unique, n integer check (n > 0))",
        "create trigger stock_raise before delete on stock begin select raise(abort, 'no alice-4711 here'); end",
    ),
}
COUNTED = "with recursive i(n) as (select 1 union all select n + 1 from i where n < 9)"
WRONG: dict[str, list[tuple[str, dict[str, Any], str]]] = {
    "postgresql": [
        ("select 1 / (i - 5) as x from generate_series(1, 10) i", {}, "DivisionByZeroError (22012)"),
        ("insert into stock values (2, null, 1, :v)", IN, "INSERT has more expressions than target columns (42601)"),
        (
            "insert into stock (id, name, n) values (2, :v, -1)",
            IN,
            "CheckViolationError, constraint stock_n_check, table stock (23514)",
        ),
        (
            "insert into stock (id, name) values (2, :v)",
            IN,
            "UniqueViolationError, constraint stock_name, table stock (23505)",
        ),
        (
            "insert into stock (id, n, name) values (2, 4711, nullif(:v, :v))",
            IN,
            "NotNullViolationError, table stock, column name (23502)",
        ),
        ("select cast(:v as integer) as n", IN, "InvalidTextRepresentationError (22P02)"),
        ("select stock_raise(:v) as n", IN, "RaiseError (P0001)"),
        ("select nme from stock where name = :v", IN, 'column "nme" does not exist (42703)'),
        ("select :v as n frm stock", IN, 'syntax error at or near "frm" (42601)'),
        ("select uuid_send(:v) as n", IN, "DataError (22000)"),
    ],
    "mysql": [
        (
            "select (select b.seq from seq_1_to_9 b where b.seq in (1, if(a.seq = 5, 2, 1))) as x from seq_1_to_9 a",
            {},
            "SUBQUERY_NO_1_ROW (error 1242)",
        ),
        ("insert into stock (id, name) values (2, :v)", IN, "Duplicate entry for key 'name' (error 1062)"),
        (
            "insert into stock (id, name) values (:v, 'b')",
            IN,
            "Incorrect integer value for column `anabranch`.`stock`.`id` at row 1 (error 1366)",
        ),
        (
            "insert into stock (id, name, n) values (2, :v, -1)",
            IN,
            "CONSTRAINT `stock.n` failed for `anabranch`.`stock` (error 4025)",
        ),
        ("call stock_raise(:v)", IN, "the server refused it (error 1644)"),
        ("select 1 1 :v", IN, "You have an error in your SQL syntax at line 1 (error 1064)"),
        ("select nme from stock where name = :v", IN, "Unknown column 'nme' in 'SELECT' (error 1054)"),
    ],
    "sqlite": [
        (
            "insert into stock (id, name, n) values (2, :v, -1)",
            IN,
            "CHECK constraint failed: n > 0 (SQLITE_CONSTRAINT_CHECK)",
        ),
        (
            "insert into stock (id, name) values (2, :v)",
            IN,
            "UNIQUE constraint failed: stock.name (SQLITE_CONSTRAINT_UNIQUE)",
        ),
        ("insert into stock (id) values (2)", {}, "NOT NULL constraint failed: stock.name"),
        ("select json_extract('{}', :v) as n", IN, "OperationalError (SQLITE_ERROR)"),
        ("delete from stock", {}, "IntegrityError (SQLITE_CONSTRAINT_TRIGGER)"),
        ("select nme from stock where name = :v", IN, "no such column: nme (SQLITE_ERROR)"),
        (
            COUNTED + " select case n when 5 then abs(-9223372036854775807 - 1) else n end as x from i",
            {},
            "OperationalError (SQLITE_ERROR)",
        ),
    ],
}


async def check(bench: Bench, query: str, params: dict[str, Any], told: str) -> None:
    """The error says this, and is silent about VALUE; nothing of the statement is left."""
    await bench.replace(*SETUP[bench.kind])
    await bench.run("insert into stock (id, name) values (1, :v)", params=IN)
    with pytest.raises(NodeError) as caught:
        await bench.run(query, params=params, result="all")
    assert told.replace("stock", bench.table) in caught.value.message
    assert VALUE not in "".join(traceback.format_exception(caught.value))
    assert (await bench.run("select count(*) as n from stock")).writes == {"n": 1}


@pytest.mark.parametrize(("query", "params", "told"), WRONG["postgresql"])
async def test_an_error_of_postgres_is_typed_and_holds_no_value(
    postgres: Bench, query: str, params: dict[str, Any], told: str
) -> None:
    await check(postgres, query, params, told)


@pytest.mark.parametrize(("query", "params", "told"), WRONG["mysql"])
async def test_an_error_of_mysql_is_typed_and_holds_no_value(
    mysql: Bench, query: str, params: dict[str, Any], told: str
) -> None:
    await check(mysql, query, params, told)


@pytest.mark.parametrize(("query", "params", "told"), WRONG["sqlite"])
async def test_an_error_of_sqlite_is_typed_and_holds_no_value(
    sqlite: Bench, query: str, params: dict[str, Any], told: str
) -> None:
    await check(sqlite, query, params, told)


async def test_a_warning_of_mysql_is_not_logged_with_the_value_that_it_quotes(
    mysql: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await mysql.run("insert ignore into stock (id, name) values (:v, 'nail')", params=IN)
    assert (await mysql.run("select id from stock where name = 'nail'")).writes == {"id": 0}
    assert VALUE not in caplog.text


async def test_a_row_that_cannot_be_computed_ends_a_read_at_once_and_nothing_is_undone(
    served: Served, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    monkeypatch.setenv("SHOP", postgres_url)
    query = "select 1 / (i - 5) as x from generate_series(1, 10) i"
    read = {"type": "db", "connection": "SHOP", "query": query, "result": "all", "compensate": put(undone=True)}
    error = await served.error(chain(read=read))
    assert (error.type, error.details[0]["compensated"]) == ("NODE_FAILED", [])
    assert error.message.startswith("node 'read': the statement failed: DivisionByZeroError (22012)")
    assert "attempt" not in error.details[0]["cause"][0]
