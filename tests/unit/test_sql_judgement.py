"""Which SQL statements write."""

import pytest

from graph.model import DbNode
from graph.sql import is_write, records_effect


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
        "",
    ],
)
def test_what_is_not_plainly_a_read_counts_as_a_write(query: str) -> None:
    assert is_write(query)


def test_an_effect_is_recorded_for_writes_unless_the_node_says_otherwise() -> None:
    def node(**fields: object) -> DbNode:
        return DbNode(type="db", connection="DB", **fields)  # type: ignore[arg-type]

    write = "update t set a = 1"
    assert records_effect(node(query=write))
    assert not records_effect(node(query="select 1"))
    assert not records_effect(node(query=write, idempotent=False))
    assert records_effect(node(statements=({"query": "select 1"}, {"query": write})))
