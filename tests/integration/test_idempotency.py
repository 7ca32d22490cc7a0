"""Exactly once: duplicates, retries and compensations of writing `db` nodes, on PostgreSQL, SQLite and MySQL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from anabranch.activities.idempotency_key import header_key
from anabranch.activities.node_result import NodeResult
from anabranch.activities.sql.databases import Databases
from anabranch.activities.sql.effect_log import EFFECTS, RETENTION_SECONDS, EffectLog, column_key
from anabranch.activities.sql.handler import DbActivity
from anabranch.context.values import Json
from anabranch.errors import ConfigurationError, NodeError
from anabranch.graph.model import DbNode
from tests.integration.sessions import Hold, holding
from tests.node_tasks import task_of


class Account:
    """A table with one balance, and nodes that move it."""

    def __init__(self, url: str) -> None:
        self.databases = Databases({"DB": url})
        self.activity = DbActivity(self.databases)
        self.is_mysql = url.startswith("mysql")
        self.table = f"account_{uuid.uuid4().hex[:8]}"
        self.run_id = uuid.uuid4().hex

    async def add(
        self,
        amount: int,
        key: str,
        *,
        forward_key: str | None = None,
        activity: DbActivity | None = None,
        **fields: Any,
    ) -> NodeResult:
        if "query" in fields:
            fields["params"] = {"amount": amount}
        node = DbNode(type="db", connection="DB", **({} if "query" in fields else self.addition(amount)), **fields)
        roots: dict[str, Any] = {} if forward_key is None else {"forward_key": f"{self.run_id}/{forward_key}"}
        return await (activity or self.activity)(task_of(key=f"{self.run_id}/{key}", **roots), node)

    def addition(self, amount: int) -> dict[str, Any]:
        """Adds to the balance and reads it; MySQL has no `update … returning`."""
        add = f"update {self.table} set balance = balance + :amount"
        if not self.is_mysql:
            return {"query": f"{add} returning balance", "params": {"amount": amount}}
        then = {"query": f"select balance from {self.table}"}
        return {"statements": [{"query": add, "params": {"amount": amount}, "result": "none"}, then]}

    async def balance(self) -> Any:
        node = DbNode(type="db", connection="DB", query=f"select balance from {self.table}")
        return (await self.activity(task_of(), node)).writes["balance"]

    async def __aenter__(self) -> Account:
        await self.sql(f"create table {self.table} (balance integer)")
        await self.sql(f"insert into {self.table} values (100)")
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.sql(f"drop table {self.table}")
        await self.activity.aclose()

    async def sql(self, statement: str) -> None:
        async with self.databases.get("DB").engine.begin() as connection:
            await connection.execute(text(statement))


@pytest.fixture(params=["postgres", "sqlite", "mysql"])
async def account(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Account]:
    sqlite = f"sqlite:///{tmp_path / 'test.sqlite'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue(f"{request.param}_url")
    async with Account(url) as account:
        yield account


@pytest.fixture(params=["postgres", "mysql"])
async def on_server(request: pytest.FixtureRequest) -> AsyncIterator[Account]:
    """An account where statements of several sessions really run at once."""
    async with Account(request.getfixturevalue(f"{request.param}_url")) as account:
        yield account


async def test_a_retry_after_the_commit_gets_the_stored_result_and_does_nothing(account: Account) -> None:
    first = await account.add(10, "debit")
    again = await account.add(10, "debit")
    assert first == again
    assert first.writes == {"balance": 110}
    assert await account.balance() == 110


async def test_another_key_is_another_effect(account: Account) -> None:
    await account.add(10, "debit[0]")
    await account.add(10, "debit[1]")
    assert await account.balance() == 120


async def test_concurrent_duplicates_have_one_effect_and_one_result(account: Account) -> None:
    outcomes = await asyncio.gather(*(account.add(10, "debit") for _ in range(8)))
    assert [outcome.writes for outcome in outcomes] == [{"balance": 110}] * 8
    assert await account.balance() == 110


async def test_a_failed_attempt_leaves_no_key_so_that_the_retry_does_the_work(account: Account) -> None:
    with pytest.raises(NodeError):
        await account.add(10, "debit", query=f"update {account.table} set nothing = :amount")
    assert (await account.add(10, "debit")).writes == {"balance": 110}


async def test_a_node_that_is_not_idempotent_is_done_at_every_attempt(account: Account) -> None:
    await account.add(10, "debit", idempotent=False)
    await account.add(10, "debit", idempotent=False)
    assert await account.balance() == 120


async def test_a_read_leaves_no_key_and_is_done_anew(account: Account) -> None:
    query = f"select balance + :amount as balance from {account.table}"
    assert (await account.add(0, "look", query=query)).writes == {"balance": 100}
    await account.add(10, "debit")
    assert (await account.add(0, "look", query=query)).writes == {"balance": 110}


async def test_a_compensation_of_what_happened_undoes_it_once(account: Account) -> None:
    await account.add(10, "debit")
    await account.add(-10, "debit/undo", forward_key="debit")
    await account.add(-10, "debit/undo", forward_key="debit")
    assert await account.balance() == 100


async def test_a_compensation_of_what_never_happened_does_nothing_and_forestalls_it(account: Account) -> None:
    undone = await account.add(-10, "debit/undo", forward_key="debit")
    nothing: dict[str, Json] = {"row": None, "rows": [], "row_count": 0}
    assert undone == NodeResult({**nothing, "statements": [nothing]} if account.is_mysql else nothing)
    with pytest.raises(NodeError, match="its compensation ran before this attempt"):
        await account.add(10, "debit")
    assert await account.add(-10, "debit/undo", forward_key="debit") == undone
    assert await account.balance() == 100


async def test_a_compensation_without_a_forward_key_is_done(account: Account) -> None:
    await account.add(-10, "debit/undo")
    assert await account.balance() == 90


def held_addition(account: Account, hold: Hold) -> str:
    """Adds when it may go on."""
    if account.is_mysql:
        return f"update {account.table} set balance = balance + :amount where {hold.wait} = 1"
    return f"with pause as (select {hold.wait}) update {account.table} set balance = balance + :amount from pause"


async def test_a_compensation_waits_for_a_forward_attempt_in_flight_and_undoes_it(on_server: Account) -> None:
    async with holding(on_server.databases.get("DB").engine) as hold:
        forward = asyncio.create_task(on_server.add(10, "debit", query=held_addition(on_server, hold)))
        await hold.until_blocked(1)
        undo = asyncio.create_task(on_server.add(-10, "debit/undo", forward_key="debit"))
        await hold.until_blocked(2)
    await undo
    assert (await forward).result == {"row": {}, "rows": [], "row_count": 1}
    assert await on_server.balance() == 100


async def test_an_attempt_that_is_cancelled_in_flight_has_no_effect_and_its_retry_has_one(on_server: Account) -> None:
    async with holding(on_server.databases.get("DB").engine) as hold:
        attempt = asyncio.create_task(on_server.add(10, "debit", query=held_addition(on_server, hold)))
        await hold.until_blocked(1)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
    assert (await on_server.add(10, "debit")).writes == {"balance": 110}


async def test_a_cancellation_that_the_driver_forgets_while_it_connects_has_no_effect(
    on_server: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = on_server.databases.get("DB").engine
    connecting, connect = asyncio.Event(), type(engine).connect

    async def forgetful(self: AsyncEngine) -> AsyncConnection:
        connecting.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return await connect(self)

    monkeypatch.setattr(type(engine), "connect", forgetful)
    attempt = asyncio.create_task(on_server.add(10, "debit"))
    await connecting.wait()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    monkeypatch.undo()
    assert await on_server.balance() == 100


async def test_workers_that_start_at_once_create_the_table_once(on_server: Account) -> None:
    await on_server.sql(f"drop table if exists {EFFECTS.name}")
    url = on_server.databases.get("DB").engine.url.render_as_string(hide_password=False)
    workers = [DbActivity(Databases({"DB": url})) for _ in range(6)]
    await asyncio.gather(*(on_server.add(1, f"n{i}", activity=worker) for i, worker in enumerate(workers)))
    assert await on_server.balance() == 106
    for activity in workers:
        await activity.aclose()


async def test_old_keys_are_pruned_once_an_hour(account: Account) -> None:
    await account.add(10, "old")
    now = [1_000_000_000.0]
    log = EffectLog(clock=lambda: now[0])
    key = f"{account.run_id}/old"

    async def known() -> bool:
        async with account.databases.get("DB").engine.connect() as connection:
            await log.ready(connection)
            return await _stored(connection, key) is not None

    assert await known()
    now[0] = 4_000_000_000.0
    await account.sql(f"update {EFFECTS.name} set created_at = {int(now[0]) - RETENTION_SECONDS - 1}")
    assert not await known()


async def _stored(connection: AsyncConnection, key: str) -> Any:
    stored = await connection.scalar(EFFECTS.select().with_only_columns(EFFECTS.c.outcome).where(EFFECTS.c.key == key))
    await connection.rollback()
    return None if stored is None else json.loads(stored)


async def test_a_user_who_may_not_create_the_table_is_told_what_to_do(postgres_url: str) -> None:
    account = Account(postgres_url)
    schema = f"s_{account.run_id[:8]}"
    await account.sql(f"create role r_{schema} login")
    await account.sql(f"create schema {schema}")
    await account.sql(f"alter role r_{schema} set search_path = {schema}")
    await account.sql(f"grant usage on schema {schema} to r_{schema}")
    other = DbActivity(Databases({"DB": postgres_url.replace("postgres@", f"r_{schema}@")}))
    node = DbNode(type="db", connection="DB", query="delete from pg_temp.nothing")
    with pytest.raises(ConfigurationError, match="has no table 'anabranch_effects', and this worker may not create it"):
        await other(task_of(), node)
    await other.aclose()
    await account.sql(f"drop schema {schema}")
    await account.sql(f"drop role r_{schema}")
    await account.activity.aclose()


def test_a_key_longer_than_the_column_is_cut_and_stays_unique() -> None:
    one, two = column_key("n/" * 300 + "1"), column_key("n/" * 300 + "2")
    assert len(one) == len(two) == 512
    assert one != two
    assert column_key("run/n") == "run/n"


def test_a_key_as_a_header_is_ascii_and_at_most_255_long() -> None:
    assert header_key("run/näh[3]") == "run/n%C3%A4h[3]"
    assert len(header_key("ä" * 200)) == 64
