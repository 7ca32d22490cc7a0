"""`db` nodes that only read: the database itself refuses what the parser would not have seen."""

from __future__ import annotations

import pytest

from anabranch.activities.sql import handler
from anabranch.errors import AnabranchError, NodeError
from tests.integration.databases import Bench


async def test_a_read_only_node_reads(bench: Bench) -> None:
    outcome = await bench.run("select name from stock where id = 1", read_only=True)
    assert outcome.writes == {"name": "bolt"}


async def test_a_statement_that_writes_is_refused_before_it_is_sent(bench: Bench) -> None:
    with pytest.raises(NodeError, match="the node is `read_only`"):
        await bench.run("update stock set name = 'x'", read_only=True)
    assert (await bench.run("select name from stock where id = 1")).writes == {"name": "bolt"}


async def test_the_database_refuses_a_write_that_was_taken_for_reading_and_the_session_writes_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(handler, "is_write", lambda query: False)
        with pytest.raises(AnabranchError):
            await bench.run("insert into stock (id, name) values (9, 'x')", read_only=True, idempotent=False)
    await bench.run("update stock set name = 'nail' where id = 1", result="none")
    rows = await bench.run("select id, name from stock where id in (1, 9)", result="all")
    assert list(rows.writes.values()) == [[{"id": 1, "name": "nail"}]]
