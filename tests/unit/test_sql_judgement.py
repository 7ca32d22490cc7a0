"""Which SQL statements write."""

from typing import Any

import pytest

from anabranch.graph.kinds.db import records_effect, undoes_recorded_effect
from anabranch.graph.kinds.sql import is_write
from anabranch.graph.model import DbNode, HttpNode


@pytest.mark.parametrize(
    "query",
    [
        "select 1",
        "  SELECT a from t -- then delete it",
        "with recent as (select * from t) select * from recent",
        "values (1)",
        "/* insert */ select 'update it', \"delete\" from t",
        "select $q$ insert into t $q$",
        "explain select 1",
        "select a #> '{b}' from t",
    ],
)
def test_a_plain_read_does_not_write(query: str) -> None:
    assert not is_write(query)


@pytest.mark.parametrize(
    "query",
    [
        "insert into t values (1)",
        "update t set a = 1",
        "with gone as (delete from t returning a) select * from gone",
        "select * into copy from t",
        "select a from t for update",
        "merge into t using s on true when matched then do nothing",
        "create table t (a int)",
        "vacuum",
        r"with a as (select '\'' as q) delete from t where b = 'c'",  # as MySQL reads it
        "with a as (select '\\' as q) delete from t where b = 'c'",  # as PostgreSQL reads it
        "select 1 /*! into outfile 'x' */",
        "",
    ],
)
def test_what_is_not_plainly_a_read_counts_as_a_write(query: str) -> None:
    assert is_write(query)


WRITE = "update t set a = 1"


def db_node(**fields: Any) -> DbNode:
    return DbNode(**{"type": "db", "connection": "DB", "query": WRITE, **fields})


def test_an_effect_is_recorded_for_writes_unless_the_node_says_otherwise() -> None:
    assert records_effect(db_node())
    assert not records_effect(db_node(query="select 1"))
    assert not records_effect(db_node(idempotent=False))
    assert records_effect(db_node(query=None, statements=({"query": "select 1"}, {"query": WRITE})))


def test_a_compensation_looks_a_recorded_effect_up_in_its_own_database_only() -> None:
    assert undoes_recorded_effect(db_node(), db_node())
    assert undoes_recorded_effect(db_node(), db_node(idempotent=False))
    assert not undoes_recorded_effect(db_node(), db_node(connection="OTHER"))
    assert not undoes_recorded_effect(db_node(query="select 1"), db_node())
    assert not undoes_recorded_effect(db_node(idempotent=False), db_node())
    assert not undoes_recorded_effect(HttpNode(type="http", url="https://host"), db_node())
    assert not undoes_recorded_effect(db_node(), HttpNode(type="http", url="https://host"))
