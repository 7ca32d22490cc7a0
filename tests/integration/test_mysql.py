"""What is MySQL's own way (shown by MariaDB), and must not show in `db` nodes, stores and payloads."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from anabranch.activities.node_result import NodeResult
from anabranch.activities.sql.databases import Databases
from anabranch.activities.sql.effect_log import EFFECTS
from anabranch.activities.sql.handler import DbActivity
from anabranch.context.cache.cache import DistributedCache
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.stores.memory import InMemoryStore
from anabranch.context.stores.sql import SqlStore
from anabranch.errors import ConfigurationError, NodeError, Unavailable, VersionMismatch
from anabranch.graph.kinds.sql import ends_transaction_in_mysql
from anabranch.graph.model import DbNode
from anabranch.sql import engines
from tests.integration.sessions import Hold, holding, until_running
from tests.json_values import items, number
from tests.json_values import text as text_of
from tests.node_tasks import task_of


class Nodes:
    """Runs `db` nodes, and statements below them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.databases = Databases({"DB": url})
        self.activity = DbActivity(self.databases)
        self.table = f"stock_{uuid.uuid4().hex[:8]}"

    async def run(self, query: str, key: str = "", **fields: Any) -> NodeResult:
        node = DbNode(type="db", connection="DB", query=query.replace("stock", self.table), **fields)
        return await self.activity(task_of(key=key or uuid.uuid4().hex), node)

    async def value(self, query: str) -> Any:
        return next(iter((await self.run(query)).writes.values()))

    async def until_running(self, like: str) -> int:
        return await until_running(self.databases.get("DB").engine, like.replace("stock", self.table))

    async def kill(self, like: str) -> None:
        """End the session that runs a statement like this, as soon as there is one."""
        await self.sql(f"kill {await self.until_running(like)}")

    async def sql(self, statement: str) -> None:
        async with self.databases.get("DB").engine.begin() as connection:
            await connection.execute(text(statement.replace("stock", self.table)))


@pytest.fixture
async def nodes(mysql_url: str) -> AsyncIterator[Nodes]:
    nodes = Nodes(mysql_url)
    await nodes.sql("create table stock (id integer primary key, amount integer)")
    await nodes.sql("insert into stock values (1, 10), (2, 20)")
    yield nodes
    await nodes.sql("drop table stock")
    await nodes.activity.aclose()


async def test_keys_that_differ_in_case_accents_or_trailing_spaces_are_different(nodes: Nodes) -> None:
    run = uuid.uuid4().hex
    for key in ("order", "Order", "order ", "örder", "😀" * 400, "😀" * 399 + "😁"):
        await nodes.run("update stock set amount = amount + 1 where id = 1", f"{run}/{key}")
    assert await nodes.value("select amount from stock where id = 1") == 16


async def test_a_stored_result_may_be_larger_than_mysql_s_text(nodes: Nodes) -> None:
    query = "insert into stock values (3, 30) returning repeat('x', 100000) as much"
    key = uuid.uuid4().hex
    first = await nodes.run(query, key)
    assert await nodes.run(query, key) == first
    assert len(text_of(first.writes["much"])) == 100_000


async def test_several_statements_in_one_query_are_refused_and_none_of_them_runs(nodes: Nodes) -> None:
    for query in ("update stock set amount = 0; delete from stock", "select 1 as one; delete from stock"):
        with pytest.raises(NodeError, match=r"error 1064"):
            await nodes.run(query)
    assert await nodes.value("select sum(amount) from stock") == 30


async def test_a_statement_that_commits_is_refused_where_the_effect_and_its_key_are_one(nodes: Nodes) -> None:
    for query in ("create table stock_2 (n integer)", "truncate stock", "flush tables"):
        with pytest.raises(NodeError, match="MySQL commits at once") as caught:
            await nodes.run(query)
        assert caught.value.suggestion is not None
        assert "idempotent: false" in caught.value.suggestion
    assert await nodes.value("select sum(amount) from stock") == 30
    await nodes.run("truncate stock", idempotent=False)
    assert await nodes.value("select count(*) from stock") == 0


@pytest.mark.parametrize(
    ("query", "ends"),
    [
        ("alter table a add b integer", True),
        ("DROP TABLE a", True),
        ("# first\n/*!50000 truncate a */", True),
        ("# truncate a\nupdate a set b = 1", False),
        ("create temporary table a (b integer)", False),
        ("begin not atomic insert into a values (1); end", False),
        ("set @now = 'autocommit'", False),
        ("insert into a values ('commit')", False),
        ("", False),
    ],
)
def test_a_statement_ends_a_transaction_of_mysql_by_its_first_words(query: str, ends: bool) -> None:
    assert ends_transaction_in_mysql(query) is ends


async def test_first_of_a_huge_result_fetches_one_row_and_limits_nothing_else(nodes: Nodes) -> None:
    assert await nodes.value("select seq from seq_1_to_1000000000") == 1
    with pytest.raises(NodeError, match="is of type bytes"):
        await nodes.run("select x'00' as photo")
    both = await nodes.run("select id from stock order by id for update", result="all")
    assert both.writes == {"reserve": [{"id": 1}, {"id": 2}]}


async def test_mysql_types_become_json(nodes: Nodes) -> None:
    row = await nodes.run(
        "select true yes, time '-01:00:30.5' as pause, date '2026-01-02' as day, cast(1.50 as decimal(5, 2)) as price"
        ", sum(amount) as whole, timestamp '2026-01-02 03:04:05' as at, cast('0000-00-00' as date) as never, "
        "18446744073709551615 as most, json_object('a', 1) as doc from stock"
    )
    assert row.writes == {
        "yes": 1,
        "pause": -3630.5,
        "day": "2026-01-02",
        "price": 1.5,
        "whole": 30,
        "at": "2026-01-02T03:04:05",
        "never": "0000-00-00",
        "most": 18446744073709551615,
        "doc": '{"a": 1}',
    }


async def test_an_update_counts_what_it_found_though_nothing_changed(nodes: Nodes) -> None:
    assert (await nodes.run("update stock set amount = 10 where id = 1", result="none")).result == {
        "row": {},
        "rows": [],
        "row_count": 1,
    }


async def test_a_percent_sign_and_a_backslash_are_characters(nodes: Nodes) -> None:
    found = await nodes.run(r"select '100%' like '100\%' as yes, :evil as same", params={"evil": "\\' or 1 -- %s"})
    assert found.writes == {"yes": 1, "same": "\\' or 1 -- %s"}


@asynccontextmanager
async def global_sql_mode(nodes: Nodes, mode: str) -> AsyncGenerator[None]:
    """What sessions have that are opened from now on."""
    before = await nodes.value("select @@global.sql_mode")
    await nodes.sql(f"set global sql_mode = concat(@@sql_mode, ',{mode}')")
    yield
    await nodes.sql(f"set global sql_mode = '{before}'")


async def test_values_stay_values_where_the_server_takes_backslashes_as_they_are(nodes: Nodes) -> None:
    evil = "'; drop table stock; -- \\' 1"
    async with global_sql_mode(nodes, "NO_BACKSLASH_ESCAPES,ANSI_QUOTES"):
        new, store = Nodes(nodes.url), SqlStore.from_url(nodes.url)
        assert await new.value("select @@sql_mode like '%ANSI_QUOTES%' and @@sql_mode not like '%BACKSLASH%'") == 1
        new.table = nodes.table
        await new.run("update stock set amount = 11 where id = 1 and '' <> :evil", evil, params={"evil": evil})
        await store.save(DistributedContext(evil, {"text": evil}))
        loaded = await store.load(evil)
        assert loaded is not None
        assert loaded.data == {"text": evil}
        assert [each async for each in store.list_sessions(evil)] == [evil]
        await store.aclose()
        await new.activity.aclose()
    async with nodes.databases.get("DB").engine.connect() as connection:
        assert await connection.scalar(EFFECTS.select().with_only_columns(EFFECTS.c.key).where(EFFECTS.c.key == evil))
    assert await nodes.value("select amount from stock where id = 1") == 11


async def test_a_deadlock_is_tried_again(nodes: Nodes) -> None:
    def crossing(first: int, second: int, hold: Hold) -> DbNode:
        lock = f"update {nodes.table} set amount = amount + 1 where id = "
        pauses = [{"query": f"do {hold.wait}"}, {"query": f"do release_lock('{hold.name}')"}]
        statements = [{"query": f"{lock}{first}"}, *pauses, {"query": f"{lock}{second}"}]
        body = {"statements": [{**each, "result": "none"} for each in statements]}
        return DbNode.model_validate({"type": "db", "connection": "DB", **body})

    async with holding(nodes.databases.get("DB").engine) as hold:
        both = asyncio.gather(
            *(nodes.activity(task_of(key=uuid.uuid4().hex), crossing(*ids, hold)) for ids in ((1, 2), (2, 1))),
            return_exceptions=True,
        )
        await hold.until_blocked(2)
    ended = await both
    (failed,) = [each for each in ended if isinstance(each, BaseException)]
    assert isinstance(failed, Unavailable)
    assert "error 1213" in str(failed)
    assert await nodes.value("select sum(amount) from stock") == 32


async def test_a_lock_timeout_is_tried_again(nodes: Nodes) -> None:
    async with nodes.databases.get("DB").engine.connect() as other:
        await other.execute(text(f"update {nodes.table} set amount = 0"))
        with pytest.raises(Unavailable, match="error 1205"):
            await nodes.run("set statement innodb_lock_wait_timeout = 0 for update stock set amount = 1")
        await other.rollback()


@pytest.mark.parametrize("number", [1020, 1053, 1114, 1317, 1836, 1927, 1969, 3024])
async def test_what_may_pass_is_tried_again(nodes: Nodes, number: int) -> None:
    with pytest.raises(Unavailable, match=f"error {number}"):
        await nodes.run(f"signal sqlstate 'HY000' set mysql_errno = {number}")


async def test_a_broken_constraint_is_definite_and_its_mend_is_told(nodes: Nodes) -> None:
    with pytest.raises(NodeError, match=r"Duplicate entry for key 'PRIMARY' \(error 1062\)") as caught:
        await nodes.run("insert into stock values (1, 1)")
    assert "outcome: failure" in str(caught.value.suggestion)


async def test_a_lost_connection_is_tried_again_and_replaced(nodes: Nodes) -> None:
    lost = asyncio.create_task(nodes.run("select sleep(600)"))
    await nodes.kill("select sleep(600)%")
    with pytest.raises(Unavailable, match="database of DB is not available now"):
        await lost
    assert await nodes.value("select 1") == 1


async def test_an_effect_whose_connection_is_lost_before_its_commit_happens_at_the_retry(nodes: Nodes) -> None:
    key = uuid.uuid4().hex
    slow = "update stock set amount = amount + 1 where id = 1 and sleep(600) = 0"
    lost = asyncio.create_task(nodes.run(slow, key))
    await nodes.kill("update stock%")
    with pytest.raises(Unavailable):
        await lost
    for _ in range(2):
        await nodes.run("update stock set amount = amount + 1 where id = 1", key)
    assert await nodes.value("select amount from stock where id = 1") == 11


async def test_a_statement_that_was_cancelled_leaves_its_connection_to_nobody(nodes: Nodes) -> None:
    cancelled = asyncio.create_task(nodes.run("select sleep(600)"))
    await nodes.until_running("select sleep(600)%")
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert [await nodes.value(f"select {n} from seq_1_to_3") for n in range(3)] == [0, 1, 2]
    assert len(items((await nodes.run("select id from stock", result="all")).writes["reserve"])) == 2


@asynccontextmanager
async def guest(nodes: Nodes, *rights: str) -> AsyncGenerator[str]:
    """The URL of a user who has these rights in a database of its own."""
    name = f"guest_{uuid.uuid4().hex[:8]}"
    statements = [f"create database {name}", f"create user {name}@'127.0.0.1' identified by 'right'"]
    for statement in (*statements, *(f"grant {right} on {name}.* to {name}@'127.0.0.1'" for right in rights)):
        await nodes.sql(statement)
    yield nodes.url.replace("root@", f"{name}:right@").replace("/anabranch", f"/{name}")
    await nodes.sql(f"drop user {name}@'127.0.0.1'")
    await nodes.sql(f"drop database {name}")


async def test_a_user_who_may_not_create_the_table_is_told_what_to_do(nodes: Nodes) -> None:
    async with guest(nodes, "select, insert, update, delete") as url:
        other = Nodes(url)
        with pytest.raises(ConfigurationError, match="has no table 'anabranch_effects', and this worker may not"):
            await other.run("delete from nothing")
        with pytest.raises(NodeError, match=r"command denied to user \*\*\* for table .*\(error 1142\)"):
            await other.run("create table x (n integer)", idempotent=False)
        await other.activity.aclose()


async def test_a_refused_password_or_database_is_the_variable_s_fault(nodes: Nodes) -> None:
    async with guest(nodes, "select") as url:
        for wrong in (url.replace(":right@", ":s3cr3t@"), url.replace("/guest_", "/s3cr3t_")):
            other = Nodes(wrong)
            with pytest.raises(ConfigurationError, match=r"DB does not open a database: .* \(error 10") as caught:
                await other.run("select 1")
            assert "s3cr3t" not in f"{caught.value!r}{caught.value.__cause__}"
            assert "guest" not in str(caught.value)
            await other.activity.aclose()


@contextmanager
def no_driver(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    def missing(*_arguments: object, **_options: object) -> None:
        raise ImportError(name="asyncmy")

    with monkeypatch.context() as patch:
        patch.setattr(engines, "create_async_engine", missing)
        yield


def test_a_missing_driver_s_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with no_driver(monkeypatch):
        with pytest.raises(ConfigurationError, match="DB: the database's driver 'asyncmy' is not installed") as caught:
            Databases({"DB": "mariadb://host/x"}).get("DB")
        assert caught.value.suggestion == "pip install 'anabranch[mysql]'"


def context(session_id: str, version: int = 1, **data: int) -> DistributedContext:
    return DistributedContext(session_id, dict(data), ContextMetadata(1, 1, version, "test", ()))


@pytest.fixture
async def stores(mysql_url: str) -> AsyncIterator[list[SqlStore]]:
    """Eight clients of one store, as eight processes have them."""
    stores = [SqlStore.from_url(mysql_url, max_connections=2) for _ in range(8)]
    yield stores
    for store in stores:
        await store.aclose()


async def test_of_those_who_create_neighbouring_contexts_one_wins_each_and_none_deadlocks(
    stores: list[SqlStore], task_queue: str
) -> None:
    async def create(store: SqlStore, index: int) -> int:
        try:
            await store.save(context(f"{task_queue}/{index}"), expected_version=0)
        except VersionMismatch:
            return 0
        return 1

    async def create_all(store: SqlStore) -> int:
        return sum([await create(store, index) for index in range(15)])

    assert sum(await asyncio.gather(*map(create_all, stores))) == 15


async def test_writers_of_many_and_those_who_prune_never_deadlock(stores: list[SqlStore], task_queue: str) -> None:
    async def write_and_prune(store: SqlStore) -> None:
        for start in range(8):
            many = [context(f"{task_queue}/{index:03}") for index in range(start, start + 30)]
            await store.save_many(many, ttl=0.03)
            await store.prune()

    await asyncio.gather(*map(write_and_prune, stores))
    await asyncio.sleep(0.05)
    await stores[0].prune()
    assert [each async for each in stores[0].list_sessions(task_queue)] == []


async def test_eight_writers_through_caches_of_their_own_lose_no_update(
    stores: list[SqlStore], task_queue: str
) -> None:
    def add_one(changing: DistributedContext) -> None:
        changing.set("count", number(changing.get("count", 0)) + 1)

    caches = [DistributedCache(store, InMemoryStore()) for store in stores]
    await asyncio.gather(*(cache.update(task_queue, add_one) for cache in caches for _ in range(10)))
    for cache in caches:
        final = await cache.get(task_queue)
        assert final is not None
        assert (final.data, final.metadata.version) == ({"count": 80}, 81)


async def test_a_store_s_session_takes_one_statement(stores: list[SqlStore]) -> None:
    async with stores[0]._engine.connect() as connection:
        with pytest.raises(ProgrammingError, match="1064"):
            await connection.execute(text("select 1; select 2"))


async def test_what_was_saved_is_saved_though_nothing_could_be_pruned(
    stores: list[SqlStore], task_queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> int:
        raise Unavailable("a deadlock")

    monkeypatch.setattr(stores[0], "prune", fail)
    await stores[0].save(context(task_queue), expected_version=0)
    assert await stores[1].exists(task_queue)
