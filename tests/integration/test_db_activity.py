"""`db` nodes on PostgreSQL, SQLite and MySQL (by MariaDB)."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter

from anabranch.activities.sql.databases import Databases
from anabranch.activities.sql.handler import DbActivity
from anabranch.errors import (
    AnabranchError,
    ConfigurationError,
    NodeError,
    SizeLimitExceeded,
    Unavailable,
    WireFormatError,
)
from anabranch.graph.model import DbNode
from anabranch.limits import NodeLimits
from anabranch.loopback import free_port
from anabranch.transport.failures import application_error
from tests.integration.databases import Bench
from tests.integration.sessions import until_running
from tests.node_tasks import task_of


async def test_first_writes_the_columns_of_the_first_row_as_keys(bench: Bench) -> None:
    outcome = await bench.run("select id, name from stock order by id", result="first")
    assert outcome.writes == {"id": 1, "name": "bolt"}
    assert outcome.result == {"row": {"id": 1, "name": "bolt"}, "rows": [{"id": 1, "name": "bolt"}], "row_count": 1}


async def test_first_of_no_row_writes_null_into_every_column(bench: Bench) -> None:
    outcome = await bench.run("select id, name from stock where id = :id", params={"id": 9})
    assert outcome.writes == {"id": None, "name": None}
    assert outcome.result == {"row": {"id": None, "name": None}, "rows": [], "row_count": 0}


async def test_all_writes_the_rows_under_the_node_s_id(bench: Bench) -> None:
    outcome = await bench.run("select id from stock order by id", result="all")
    assert outcome.writes == {"reserve": [{"id": 1}, {"id": 2}]}


async def test_scalar_writes_one_value_under_the_node_s_id_or_null(bench: Bench) -> None:
    assert (await bench.run("select count(*) from stock", result="scalar")).writes == {"reserve": 2}
    assert (await bench.run("select name from stock where id = 9", result="scalar")).writes == {"reserve": None}


async def test_none_writes_nothing_and_an_update_tells_its_row_count(bench: Bench) -> None:
    outcome = await bench.run("update stock set name = :name", params={"name": "x"}, result="none")
    assert outcome.writes == {}
    assert outcome.result == {"row": {}, "rows": [], "row_count": 2}


async def test_context_values_reach_sql_as_binds_and_are_never_parsed(bench: Bench) -> None:
    evil = "x'; drop table stock; -- {{ 1 + 1 }}"
    await bench.run("insert into stock (id, name) values (3, :name)", {"who": evil}, params={"name": "{{ who }}"})
    found = await bench.run("select name from stock where name = :name", {"who": evil}, params={"name": "{{ who }}"})
    assert found.writes == {"name": evil}


async def test_json_numbers_and_text_fit_columns_of_other_types(bench: Bench) -> None:
    at = "2026-01-02T03:04:05.5" if bench.kind == "mysql" else "2026-01-02T03:04:05Z"  # MySQL rejects a zone
    params = {"id": 7.0, "name": 5, "price": "19.90", "at": at, "notes": {"tags": ["a"]}}
    await bench.run("insert into stock values (:id, :name, :price, :at, :notes)", params=params)
    row = (await bench.run("select * from stock where id = :id", params={"id": "7"})).writes
    came_back = {
        "postgresql": ("2026-01-02T03:04:05+00:00", {"tags": ["a"]}),
        "sqlite": ("2026-01-02T03:04:05Z", '{"tags":["a"]}'),
        "mysql": ("2026-01-02T03:04:05.500000", '{"tags":["a"]}'),
    }
    assert row == {"id": 7, "name": "5", "price": 19.9} | dict(zip(("at", "notes"), came_back[bench.kind], strict=True))


async def test_postgres_types_become_json(postgres: Bench) -> None:
    row = await postgres.run(
        "select 'infinity'::timestamptz as never, interval '90 s' as pause, "
        "interval '1 month' as month, '{1,2}'::int[] as list, "
        "date '2026-01-02' as day, 'NaN'::numeric is null as no, '10.0.0.1'::inet as ip, 3::numeric as whole"
    )
    assert row.writes == {
        "never": "infinity",
        "pause": 90.0,
        "month": 30 * 86_400.0,
        "list": [1, 2],
        "day": "2026-01-02",
        "no": False,
        "ip": "10.0.0.1",
        "whole": 3,
    }


PRECISE = "cast('1234567890.123456789012345678' as {}) as price"


@pytest.mark.parametrize(("kind", "decimal"), [("postgres", "numeric(38, 18)"), ("mysql", "decimal(38, 18)")])
async def test_a_decimal_loses_no_digit_in_silence(postgres: Bench, mysql: Bench, kind: str, decimal: str) -> None:
    bench, query = {"postgres": postgres, "mysql": mysql}[kind], f"select {PRECISE.format(decimal)}, 1.50 as fee"
    with pytest.raises(NodeError, match=r"column 'price' has a decimal .* \(say `decimals: text` on the node"):
        await bench.run(query)
    assert (await bench.run(query, decimals="text")).writes == {"price": "1234567890.123456789012345678", "fee": "1.50"}
    assert (await bench.run(query, decimals="round")).writes == {"price": 1234567890.1234567, "fee": 1.5}


async def test_sqlite_has_no_decimals_but_the_nearest_number_and_text(sqlite: Bench) -> None:
    query = "select cast('1234567890.123456789012345678' as decimal) as price, '1.50' as fee"
    for decimals in (None, "text", "round"):
        assert (await sqlite.run(query, decimals=decimals)).writes == {"price": 1234567890.1234567, "fee": "1.50"}


async def test_a_number_in_a_json_column_of_postgres_loses_no_digit_in_silence(postgres: Bench) -> None:
    for column in ("json", "jsonb"):
        query = f"""select cast('{{"a": [1.5, 12345678901234567890123, 7]}}' as {column}) as notes"""
        with pytest.raises(NodeError, match="column 'notes' has a decimal"):
            await postgres.run(query)
        texts = await postgres.run(query, decimals="text")
        assert texts.writes == {"notes": {"a": [1.5, "12345678901234567890123", 7]}}
        rounded = await postgres.run(query, decimals="round")
        assert rounded.writes == {"notes": {"a": [1.5, 1.2345678901234568e22, 7]}}


async def test_a_whole_number_over_64_bits_is_refused_and_one_below_is_kept(mysql: Bench, postgres: Bench) -> None:
    assert (await mysql.run("select cast(18446744073709551615 as unsigned) as n")).writes == {"n": 2**64 - 1}
    for bench in (mysql, postgres):
        assert (await bench.run("select 18446744073709551615 as n")).writes == {"n": 2**64 - 1}
        with pytest.raises(NodeError, match="column 'n' has a decimal that no JSON number is equal to"):
            await bench.run("select 18446744073709551617 as n")


async def test_a_write_that_returns_a_decimal_that_does_not_fit_is_undone(postgres: Bench) -> None:
    with pytest.raises(NodeError, match="column 'price'"):
        await postgres.run("insert into stock (id) values (7) returning 0.12345678901234567890 as price")
    assert (await postgres.run("select count(*) as n from stock where id = 7")).writes == {"n": 0}


EFFECTS = {
    "postgresql": "create function stock_take() returns bigint language sql as"
    " $$ update stock set price = price + 1; select count(*) from stock where id < 100 $$",
    "mysql": "create function stock_take() returns bigint"
    " begin update stock set price = price + 1; return (select count(*) from stock where id < 100); end",
}


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_a_function_with_an_effect_happens_once_where_the_node_says_so(
    postgres: Bench, mysql: Bench, kind: str
) -> None:
    bench = {"postgresql": postgres, "mysql": mysql}[kind]
    await bench.run(EFFECTS[kind], idempotent=False)
    answers = [await bench.run("select stock_take() as taken", effect=True, key="once") for _ in range(3)]
    assert [answer.writes for answer in answers] == [{"taken": 2}] * 3
    assert (await bench.run("select max(price) as most from stock")).writes == {"most": 3}


async def test_a_read_that_says_it_has_an_effect_is_executed_to_its_end_though_one_row_is_wanted(
    postgres: Bench,
) -> None:
    take = "create function stock_mark(n int) returns int language sql as $$ update stock set price = 9 where id = n;"
    await postgres.run(take + " select n $$", idempotent=False)
    await postgres.run("select stock_mark(id) as taken from stock order by id", effect=True)
    assert (await postgres.run("select count(*) as n from stock where price = 9")).writes == {"n": 2}


async def test_a_read_that_says_it_has_an_effect_is_answered_from_the_log_in_every_database(bench: Bench) -> None:
    count = "select count(*) as n from stock"
    assert (await bench.run(count, effect=True, key="k")).writes == {"n": 2}
    await bench.run("insert into stock (id) values (9)")
    assert (await bench.run(count, effect=True, key="k")).writes == {"n": 2}
    assert (await bench.run(count, effect=True, key="another")).writes == {"n": 3}


async def test_statements_run_in_one_transaction_and_each_gives_its_result(bench: Bench) -> None:
    statements = [
        {"query": f"update {bench.table} set price = price + 1 where id = 1", "result": "none"},
        {"query": f"select price from {bench.table} where id = :id", "params": {"id": 1}},
        {"query": f"select id from {bench.table} order by id", "result": "all"},
    ]
    outcome = await bench.run(None, statements=statements)
    assert outcome.writes == {"price": 2.5, "reserve": [{"id": 1}, {"id": 2}]}
    assert isinstance(outcome.result, dict)
    assert outcome.result["statements"] == [
        {"row": {}, "rows": [], "row_count": 1},
        {"row": {"price": 2.5}, "rows": [{"price": 2.5}], "row_count": 1},
        {"row": {"id": 1}, "rows": [{"id": 1}, {"id": 2}], "row_count": 2},
    ]


async def test_a_statement_that_fails_undoes_those_before_it(bench: Bench) -> None:
    with_one = "" if bench.kind == "mysql" else "with x as (select 9 as n) "
    statements = [
        {"query": f"{with_one}update {bench.table} set price = 9"},
        {"query": f"insert into {bench.table} (id) values (1)"},
    ]
    with pytest.raises(NodeError, match=r"(?i)unique|duplicate"):
        await bench.run(None, statements=statements)
    assert (await bench.run("select max(price) as most from stock")).writes == {"most": 2}


@pytest.mark.parametrize(
    ("query", "params", "message"),
    [
        ("select :a, :b", {"a": 1}, "binds without a value: :b"),
        ("select 1", {"c": 1, "d": 2}, "does not bind: c, d"),
        ("select '{{ name }}'", {}, "SQL is static"),
        ("select 1 as a, 2 as a", {}, "two columns named a"),
        ("select nothing from nowhere", {}, "the statement failed"),
        ("selec", {}, "(?i)syntax"),
    ],
)
async def test_a_wrong_statement_is_a_definite_error(bench: Bench, query: str, params: Any, message: str) -> None:
    with pytest.raises(NodeError, match=message):
        await bench.run(query, params=params)


async def test_a_statement_s_error_carries_its_sqlstate(postgres: Bench) -> None:
    with pytest.raises(NodeError, match=r"UniqueViolationError, constraint stock_\w+_pkey, table stock_\w+ \(23505\)"):
        await postgres.run("insert into stock (id) values (1)")


async def test_bytes_are_refused_naming_the_column(bench: Bench) -> None:
    query = "select '\\\\x00'::bytea as photo" if bench.kind == "postgresql" else "select x'00' as photo"
    with pytest.raises(NodeError, match="column 'photo' is of type bytes"):
        await bench.run(query)


async def not_data_is_undone(bench: Bench, price: str) -> None:
    with pytest.raises(WireFormatError, match=r"the value at 'rows\.0\.price' is (nan|inf), which JSON cannot express"):
        await bench.run(f"insert into stock (id, price) values (3, {price}) returning price")
    assert (await bench.run("select count(*) as n from stock where id = 3")).writes == {"n": 0}


async def test_a_write_that_returns_what_is_no_json_is_undone_in_postgres(postgres: Bench) -> None:
    await not_data_is_undone(postgres, "'NaN'")


async def test_a_write_that_returns_what_is_no_json_is_undone_in_sqlite(sqlite: Bench) -> None:
    await not_data_is_undone(sqlite, "9e999")


async def test_a_value_that_the_driver_cannot_send_or_read_is_a_definite_error(postgres: Bench, sqlite: Bench) -> None:
    with pytest.raises(NodeError, match=r"cannot convert a value \(OverflowError\)"):
        await sqlite.run("select :n as n", params={"n": 2**63})
    with pytest.raises(NodeError, match=r"cannot convert a value \(ValueError\)"):
        await postgres.run("select row(1, 2) as pair")


async def test_more_rows_than_the_limit_are_refused(bench: Bench) -> None:
    await bench.activity.aclose()
    bench.activity = DbActivity(Databases(bench.environ), limits=NodeLimits(rows=1))
    with pytest.raises(SizeLimitExceeded, match="more than 1 rows"):
        await bench.run("select id from stock", result="all")


async def test_first_of_a_huge_result_fetches_one_row(postgres: Bench) -> None:
    outcome = await postgres.run("select generate_series(1, 100000000) as n")
    assert outcome.writes == {"n": 1}


async def test_a_deadlock_and_a_lock_timeout_are_tried_again(postgres: Bench) -> None:
    for state in ("40P01", "40001", "55P03", "57P01"):
        with pytest.raises(Unavailable, match=state):
            await postgres.run(f"do $$ begin raise exception 'x' using errcode = '{state}'; end $$")


async def test_a_locked_sqlite_is_tried_again(sqlite: Bench) -> None:
    await sqlite.activity.aclose()
    sqlite.activity = DbActivity(Databases(sqlite.environ, lock_seconds=0.05))
    other = sqlite3.connect(sqlite.environ["DB"].removeprefix("sqlite:///"), isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(Unavailable, match="SQLITE_BUSY"):
        await sqlite.run("update stock set name = 'x'")
    other.close()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "this worker has no connection DB for graphs"),
        ("", "this worker has no connection DB for graphs"),
        ("s3cr3t", "DB is not the URL of a database"),
        ("s3cr3t://user:s3cr3t@host/x", "DB is not the URL of a database"),
        ("postgres://user:s3cr3t@host:99999999/x", "DB"),
        ("postgres://user:s3cr3t@127.0.0.1/x?s3cr3t=1", "the driver does not know its options"),
        ("sqlite:////nowhere/s3cr3t/x.db", "does not open a database"),
    ],
)
async def test_a_wrong_variable_is_named_and_its_value_is_not(value: str | None, message: str) -> None:
    threads = set(threading.enumerate())
    activity = DbActivity(Databases({} if value is None else {"DB": value}))
    with pytest.raises((ConfigurationError, Unavailable), match=message) as caught:
        await activity(task_of(), DbNode(type="db", connection="DB", query="select 1"))
    assert_silent(caught.value)
    await activity.aclose()
    for thread in set(threading.enumerate()) - threads:  # aiosqlite awaits none whose file does not open
        if not thread.name.startswith("asyncio"):
            await asyncio.to_thread(thread.join, 60)


def assert_silent(error: AnabranchError) -> None:
    """Nothing of the URL in what a person, a log or the history gets of the error."""
    failure = Failure()
    converter = DataConverter.default
    converter.failure_converter.to_failure(application_error(error), converter.payload_converter, failure)
    reported = "".join(traceback.format_exception(error)) + str(failure) + repr(error)
    assert "s3cr3t" not in reported
    assert failure.HasField("cause") is False


@pytest.fixture
async def guest(postgres: Bench) -> AsyncIterator[str]:
    """The URL of a user whom PostgreSQL asks for a password, with a wrong one."""
    await postgres.run("create role guest login password 'right'")
    rules = str((await postgres.run("show hba_file")).writes["hba_file"])
    before = await asyncio.to_thread(Path(rules).read_text)
    await asyncio.to_thread(Path(rules).write_text, f"local all guest scram-sha-256\n{before}")
    await postgres.run("select pg_reload_conf()")
    yield postgres.environ["DB"].replace("postgres@", "guest:s3cr3t@")
    await asyncio.to_thread(Path(rules).write_text, before)
    await postgres.run("select pg_reload_conf()")
    await postgres.run("drop role guest")


async def test_no_secret_is_told_of_a_refused_password(guest: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    query = DbNode(type="db", connection="DB", query="select 1")

    async def until_refused() -> None:
        """Until the server has read its rules again."""
        for _ in range(600):
            activity = DbActivity(Databases({"DB": guest}))
            try:
                await activity(task_of(), query)
            finally:
                await activity.aclose()
            await asyncio.sleep(0.05)

    with pytest.raises(
        ConfigurationError, match=r"DB does not open a database: the database refused it \(28P01\)"
    ) as caught:
        await until_refused()
    assert_silent(caught.value)
    assert "s3cr3t" not in caplog.text


async def test_no_secret_is_told_of_a_host_that_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    activity = DbActivity(Databases({"DB": f"postgres://s3cr3t:s3cr3t@127.0.0.1:{free_port()}/s3cr3t"}))
    with pytest.raises(Unavailable, match=r"database of DB is not available now \(ConnectionRefusedError\)") as caught:
        await activity(task_of(), DbNode(type="db", connection="DB", query="select 1"))
    assert_silent(caught.value)
    assert "s3cr3t" not in caplog.text
    await activity.aclose()


async def test_a_password_in_a_statement_s_error_is_masked(postgres_url: str) -> None:
    url = postgres_url.replace("postgres@", "postgres:s3cr3t@")
    activity = DbActivity(Databases({"DB": url}))
    query = DbNode(type="db", connection="DB", query="select * from s3cr3t_table")
    with pytest.raises(NodeError, match=r"relation \"\*\*\*_table\" does not exist") as caught:
        await activity(task_of(), query)
    assert_silent(caught.value)
    await activity.aclose()


async def test_a_lost_connection_is_tried_again_and_replaced(postgres: Bench) -> None:
    lost = asyncio.create_task(postgres.run("select pg_sleep(600)"))
    session = await until_running(postgres.databases.get("DB").engine, "%pg_sleep(600)%")
    await postgres.run(f"select pg_terminate_backend({session})")
    with pytest.raises(Unavailable):
        await lost
    assert (await postgres.run("select 1 as one")).writes == {"one": 1}


async def test_the_variable_is_read_at_each_call(tmp_path: Path) -> None:
    environ = {"DB": f"sqlite:///{tmp_path / 'one.sqlite'}"}
    activity = DbActivity(Databases(environ))
    await activity(task_of(key="1"), DbNode(type="db", connection="DB", query="create table t (a int)"))
    environ["DB"] = f"sqlite:///{tmp_path / 'two.sqlite'}"
    with pytest.raises(NodeError, match="no such table"):
        await activity(task_of(), DbNode(type="db", connection="DB", query="select * from t"))
    await activity.aclose()


async def test_a_list_is_an_array_where_the_statement_casts_it_to_one(postgres: Bench) -> None:
    query = (
        "select count(*) as found from stock where name = any(cast(:names as text[])) and id = any(cast(:ids as int[]))"
    )
    params = {"names": "{{ names }}", "ids": "{{ [1, 2] }}"}
    found = await postgres.run(query, {"names": ["bolt", "screw"]}, params=params)
    assert found.writes == {"found": 1}
