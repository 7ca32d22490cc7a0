"""What a node reads, requires and writes, from its definition."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from anabranch.graph.dataflow.reads import condition_reads, node_reads, node_writes, required_reads
from anabranch.graph.model import Node

_NODE: TypeAdapter[Node] = TypeAdapter(Node)


def node(**fields: Any) -> Node:
    return _NODE.validate_python(fields)


def rules(*entries: dict[str, Any], **fields: Any) -> Node:
    return node(type="rule", rules=list(entries), **fields)


TABLE = {
    "nodes": [
        {"id": "i", "type": "inputNode", "name": "in", "content": {}},
        {
            "id": "t",
            "type": "decisionTableNode",
            "name": "fees",
            "content": {
                "hitPolicy": "first",
                "inputs": [{"id": "a", "name": "Total", "field": "order.total"}],
                "outputs": [{"id": "f", "name": "Fee", "field": "fee.amount"}],
                "rules": [{"_id": "1", "a": "> 100", "f": "0"}],
            },
        },
    ],
    "edges": [{"id": "e", "sourceId": "i", "targetId": "t"}],
}
PACK = {
    "nodes": {
        "weigh": {"type": "rule", "rules": [{"then": {"kg": "{{ pack.grams / 1000 * factor + index }}"}}]},
        "send": {"type": "http", "url": "http://carrier/{{ kg }}/{{ item }}"},
    },
    "edges": [{"from": "weigh", "to": "send", "when": "kg > limit"}],
}


@pytest.mark.parametrize(
    ("fields", "reads", "required", "writes"),
    [
        (
            {"type": "db", "connection": "PG", "query": "…", "params": {"p": "{{ sku }}"}, "result": "all"},
            {"sku"},
            {"sku"},
            {"me"},
        ),
        ({"type": "db", "connection": "PG", "query": "…", "result": "scalar"}, set(), set(), {"me"}),
        ({"type": "db", "connection": "PG", "query": "…", "result": "none"}, set(), set(), set()),
        ({"type": "db", "connection": "PG", "query": "select * from t"}, set(), set(), None),
        ({"type": "db", "connection": "PG", "query": "select id, a > 1 as b from t"}, set(), set(), {"id", "b"}),
        (
            {"type": "db", "connection": "PG", "query": "…", "output": {"price": "result.row.price * rate"}},
            {"rate"},
            {"rate"},
            {"price"},
        ),
        (
            {
                "type": "db",
                "connection": "PG",
                "statements": [{"query": "…", "params": {"p": "{{ a }}"}, "result": "none"}],
            },
            {"a"},
            {"a"},
            set(),
        ),
        (
            {"type": "ai", "model": "m", "prompt": "Dear {{ name }}", "system": "{{ context.tone }}"},
            {"name", "tone"},
            {"name"},
            {"me"},
        ),
        (
            {"type": "ai", "model": "m", "prompt": "x", "output_schema": {"properties": {"score": {}, "why": {}}}},
            set(),
            set(),
            {"score", "why"},
        ),
        (
            {
                "type": "http",
                "url": "http://x/{{ a }}",
                "headers": {"X-Id": "{{ b }}"},
                "query": {"q": "{{ c }}"},
                "body": {"list": ["{{ d }}"]},
            },
            {"a", "b", "c", "d"},
            {"a", "b", "c", "d"},
            {"me"},
        ),
        ({"type": "activity", "activity": "f", "args": ["{{ a }}", {"b": "{{ b }}"}]}, {"a", "b"}, {"a", "b"}, None),
        ({"type": "python", "handler": "h", "args": {"x": "{{ a }}"}}, None, {"a"}, None),
        ({"type": "python", "handler": "h", "args": {"x": "{{ a }}"}, "reads": ["b"]}, {"a", "b"}, {"a"}, None),
        ({"type": "graph", "graph": "g"}, None, set(), None),
        ({"type": "graph", "graph": "g", "input": {"x": "{{ a }}"}, "output": {"y": "result.z"}}, {"a"}, {"a"}, {"y"}),
        ({"type": "wait", "for": "{{ pause }}"}, {"pause"}, {"pause"}, set()),
        ({"type": "wait", "for": "1h"}, set(), set(), set()),
        ({"type": "wait", "until": "timestamp(due)"}, {"due"}, {"due"}, set()),
        ({"type": "approval", "prompt": "{{ who }}?"}, {"who"}, {"who"}, None),
        ({"type": "approval", "schema": {"properties": {"approved": {"type": "boolean"}}}}, set(), set(), {"approved"}),
        ({"type": "rule", "decision_table": TABLE}, None, {"order"}, {"fee"}),
        ({"type": "rule", "decision_table": TABLE, "reads": ["order"]}, {"order"}, {"order"}, {"fee"}),
        ({"type": "foreach", "items": "packs", "body": {"graph": "g"}}, None, {"packs"}, None),
    ],
)
def test_each_type_of_node_tells_its_reads_and_writes(
    fields: dict[str, Any], reads: set[str] | None, required: set[str], writes: set[str] | None
) -> None:
    parsed = node(**fields)
    assert node_reads(parsed) == reads
    assert required_reads(parsed) == required
    assert node_writes("me", parsed) == writes


def test_a_rule_does_not_read_what_a_rule_before_it_surely_wrote() -> None:
    parsed = rules(
        {"then": {"fee": "{{ base * 2 }}"}},
        {"when": "fee > 1", "then": {"tier": "a"}, "otherwise": {"tier": "b"}},
        {"when": "tier == 'a'", "then": {"done": True}},
    )
    assert node_reads(parsed) == frozenset({"base"})
    assert node_writes("me", parsed) == frozenset({"fee", "tier", "done"})


def test_a_rule_may_read_what_another_may_have_written_but_nothing_requires_it() -> None:
    parsed = rules({"when": "total > 100", "then": {"discount": 5}}, {"when": "discount > 1", "then": {"big": True}})
    assert node_reads(parsed) == frozenset({"total", "discount"})
    assert required_reads(parsed) == {"total"}


def test_salience_decides_which_rule_comes_before() -> None:
    parsed = rules({"when": "fee > 1", "then": {"x": 1}}, {"then": {"fee": 2}, "salience": 10})
    assert node_reads(parsed) == frozenset()
    assert required_reads(rules({"when": "fee > 1", "then": {"x": 1}}, {"then": {"fee": 2}})) == {"fee"}


def test_what_a_condition_asks_for_is_not_required_where_it_holds() -> None:
    parsed = rules({"when": "has(context.coupon)", "then": {"code": "{{ coupon + suffix }}"}})
    assert required_reads(parsed) == {"suffix"}
    guarded = node(type="ai", model="m", prompt="{{ coupon }}", when="has(context.coupon) && vip")
    assert required_reads(guarded) == {"vip"}


def test_a_nodes_when_is_required_but_does_not_cross_to_its_activity() -> None:
    parsed = node(type="ai", model="m", prompt="{{ a }}", when="b")
    assert node_reads(parsed) == frozenset({"a"})
    assert required_reads(parsed) == {"a", "b"}
    assert condition_reads(parsed.when) == frozenset({"b"})
    assert condition_reads(None) == frozenset()
    assert condition_reads("error.type == kind", frozenset({"error"})) == frozenset({"kind"})
    assert condition_reads("size(context) > 1") is None


def test_a_foreach_reads_what_its_body_reads_without_item_and_index() -> None:
    parsed = node(type="foreach", items="packs", **{"as": "pack"}, body=PACK, collect={"into": "all", "value": "kg"})
    assert required_reads(parsed) == {"packs", "factor", "limit", "item"}
    assert node_reads(parsed) == frozenset({"packs", "factor", "limit", "item", "kg"})
    assert node_writes("me", parsed) == frozenset({"all"})
    assert node_writes("me", node(type="foreach", items="packs", body=PACK)) == frozenset({"kg", "send"})


def test_a_while_requires_what_its_first_turn_needs() -> None:
    body = {"nodes": {"step": {"type": "rule", "rules": [{"then": {"n": "{{ n + step + index }}"}}]}}}
    parsed = node(type="while", **{"while": "n < most"}, body=body)
    assert required_reads(parsed) == {"n", "most", "step"}
    assert node_writes("me", parsed) == frozenset({"n"})


def test_compensations_in_a_body_see_what_their_node_wrote() -> None:
    undo = {"type": "http", "url": "http://x/{{ book.id }}/{{ error.message }}/{{ reason }}"}
    body = {"nodes": {"book": {"type": "http", "url": "http://x", "compensate": undo}}}
    parsed = node(type="foreach", items="trips", body=body)
    assert required_reads(parsed) == {"trips", "reason"}


GRL = """
rule Net salience 10 { when Order.gross > 0 then Order.net = Order.gross / rate; }
rule Big { when Order.net > 100 then Result.big = true; state = "big"; }
rule Done { when Result.big && state == "big" && run.id != nil then done = true; }
"""


def test_grl_reads_what_its_rules_read_and_requires_what_none_assigns() -> None:
    parsed = node(type="rule", grl=GRL)
    assert node_reads(parsed) == frozenset({"Order", "rate", "Result", "state"})
    assert required_reads(parsed) == {"Order", "rate"}
    assert node_writes("me", parsed) == frozenset({"Order", "Result", "state", "done"})


def test_an_expression_over_the_whole_context_reads_everything() -> None:
    assert node_reads(rules({"when": "size(context) > 3", "then": {"many": True}})) is None
    assert node_reads(node(type="http", url="http://x", body="{{ context }}", reads=["a"])) is None
