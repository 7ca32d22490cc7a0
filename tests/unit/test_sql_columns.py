"""Which columns a statement plainly returns."""

from collections.abc import Set as AbstractSet

import pytest

from anabranch.graph.kinds.sql import returned_columns


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        (
            "select product_id, available >= :quantity as in_stock from inventory where x = 1",
            {"product_id", "in_stock"},
        ),
        ("SELECT p.id, coalesce(max(a - b, 0), 0) AS stock FROM p JOIN q USING (id)", {"id", "stock"}),
        ("select distinct a, (select b from c limit 1) as d from e", {"a", "d"}),
        ("select 1 as one", {"one"}),
        ("select '(,' as text, a -- , b\n from t", {"text", "a"}),
        ("select a from t union select b from u", {"a"}),
        ("select count(*) n from t", {"n"}),
        ("with x as (select 1 as a) select a from x", {"a"}),
        ("(select a from t)", {"a"}),
        (r"select '\:b' as text, a\:\:int as b from t", {"text", "b"}),
        ("insert into t (a, b) values (:a, :b) returning id, a as x", {"id", "x"}),
        ("update t set a = 1 where id = :id returning id", {"id"}),
    ],
)
def test_plainly_named_columns_are_known(query: str, columns: AbstractSet[str]) -> None:
    assert returned_columns(query) == columns


@pytest.mark.parametrize(
    "query",
    [
        "select * from t",
        "select t.*, a from t",
        "select count(*) from t",
        'select "a b" from t',
        "select Price from t",
        "with x as (select 1) select a, Total from x",
        "select a from t; select b from t",
        "update t set a = 1 returning *",
        "update t set a = 1",
        "select",
        "",
        "select " + "(" * 10_000,
    ],
)
def test_what_the_text_does_not_tell_is_not_guessed(query: str) -> None:
    assert returned_columns(query) is None
