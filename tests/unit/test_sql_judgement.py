"""Which SQL statements write."""

from typing import Any

import pytest

from anabranch.graph.kinds.db import records_effect, undoes_recorded_effect
from anabranch.graph.kinds.sql import is_write, returned_columns
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
        "select a from t where b ~ 'x' and c @> '{}'::jsonb",  # PostgreSQL's alone
        "select group_concat(a separator ',') from t",  # MySQL's alone
        "select a from t where b in :names and c = :c",
        r"select a\:\:int from t",  # colons as SQLAlchemy escapes them
        "table t",
        "show tables",
        "explain analyze select 1",
        "select 1;",
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
        "select a from t for share",
        "select a from t lock in share mode",
        "select a from t into outfile 'x'",
        "select a into @a from t",
        "select 1; delete from t",
        "explain analyze delete from t",
        "explain (analyze) delete from t",
        "call f()",
        "do $$ begin delete from t; end $$",
        "pragma user_version = 3",
        "set autocommit = 1",
        "lock table t",
        "copy t to '/tmp/t'",
        "replace into t values (1)",
        "with a as (select 1) insert into t select * from a",
        "analyze t",
        "selec 1",
        "select from where",
        "select 'without an end",
        "/* without an end",
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


HOSTILE = {
    "parentheses": "select " + "(" * 5_000 + "1" + ")" * 5_000,
    "open": "select " + "(" * 100_000,
    "subqueries": "select " + "(select " * 3_000 + "1" + ")" * 3_000,
    "not": "select " + "not " * 8_000 + "1",
    "case": "select " + "case when " * 2_000 + "1" + " then 1 end" * 2_000,
    "types": "select a::" + "int(" * 40 + "1" + ")" * 40,
    "templates": "select cast(a as " + "array<" * 2_000 + "int" + ">" * 2_000 + ")",
    "lambdas": "select f(" + "(x) -> (" * 2_000 + "x" + ")" * 2_000 + ")",
    "comments": "select 1 " + "/*" * 10_000 + "*/" * 10_000,
    "a megabyte": "select " + "a, " * 350_000 + "a from t",
    "a long text": "select '" + "x" * 1_000_000 + "'",
}


@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_too_deep_too_long_or_too_involved_counts_as_a_write(query: str) -> None:
    assert is_write(query)
    assert returned_columns(query) is None


def test_a_statement_may_be_nested_as_people_nest_them() -> None:
    nested = (
        "select " + "coalesce(" * 15 + "a" + ", 0)" * 15 + " as a from " + "(select * from " * 10 + "t" + ") x" * 10
    )
    assert not is_write(nested)
    assert returned_columns(nested) == frozenset({"a"})


def test_the_parser_s_own_warnings_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert is_write("call a_procedure_that_no_other_test_calls()")
    assert caplog.records == []


WRITE = "update t set a = 1"


def db_node(**fields: Any) -> DbNode:
    return DbNode(**{"type": "db", "connection": "DB", "query": WRITE, **fields})


def test_an_effect_is_recorded_for_writes_unless_the_node_says_otherwise() -> None:
    assert records_effect(db_node())
    assert not records_effect(db_node(query="select 1"))
    assert not records_effect(db_node(idempotent=False))
    assert records_effect(db_node(query="select 1", effect=True))
    assert records_effect(db_node(effect=False))
    assert records_effect(db_node(query="select 1", idempotent=True))
    assert records_effect(db_node(query=None, statements=({"query": "select 1"}, {"query": WRITE})))


def test_a_compensation_looks_a_recorded_effect_up_in_its_own_database_only() -> None:
    assert undoes_recorded_effect(db_node(), db_node())
    assert undoes_recorded_effect(db_node(), db_node(idempotent=False))
    assert not undoes_recorded_effect(db_node(), db_node(connection="OTHER"))
    assert not undoes_recorded_effect(db_node(query="select 1"), db_node())
    assert not undoes_recorded_effect(db_node(idempotent=False), db_node())
    assert not undoes_recorded_effect(HttpNode(type="http", url="https://host"), db_node())
    assert not undoes_recorded_effect(db_node(), HttpNode(type="http", url="https://host"))
