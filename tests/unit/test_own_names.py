"""`input` of a node: names for its own fields alone, over the keys of the context."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from anabranch.activities.python import node
from anabranch.activities.standard import node_activities
from anabranch.context.distributed import DistributedContext
from anabranch.errors import GraphError
from anabranch.graph.checks.schemas import graph_json_schema
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.drawing.tree import tree
from anabranch.graph.load import load_text
from anabranch.graph.plan import plan_graph
from anabranch.settings import Settings
from anabranch.testkit.given import GivenOutcome
from anabranch.testkit.play import Evaluate, Played, Script, play
from anabranch.testkit.rules import rule_evaluator
from tests.node_tasks import task_of


@pytest.fixture(scope="module")
def evaluate() -> Iterator[Evaluate]:
    with rule_evaluator(Settings()) as evaluator:
        yield evaluator


def played(text: str, data: dict[str, Any], evaluate: Evaluate, **outcomes: dict[str, Any]) -> Played:
    loaded = load_text(f"name: g\n{text}")
    given = {name: GivenOutcome.model_validate(each) for name, each in outcomes.items()}
    return play(plan_graph(loaded.graph), Script(data, given), evaluate)


def warnings(text: str) -> list[tuple[str, str]]:
    return [(one.code, str(one.place)) for one in load_text(f"name: g\n{text}").warnings]


ORDER = {"oms": {"demand": 12.5}, "stock": 40, "reorder": False}
RULES = '[{when: stock < daily * 7, then: {reorder: true, quantity: "{{ daily * 14 }}"}}]'
GRL = "'rule R { when stock < daily * 7 && reorder == false then reorder = true; quantity = daily * 14; }'"
TABLE = """
      nodes:
        - {id: i, type: inputNode, name: i}
        - id: t
          type: decisionTableNode
          name: t
          content:
            hitPolicy: first
            inputs: [{id: d, name: d, field: daily}]
            outputs: [{id: r, name: r, field: reorder}, {id: q, name: q, field: quantity}]
            rules: [{_id: '1', d: '> stock / 7', r: 'true', q: daily * 14}]
        - {id: o, type: outputNode, name: o}
      edges: [{id: a, sourceId: i, targetId: t}, {id: b, sourceId: t, targetId: o}]
"""


@pytest.mark.parametrize("source", [f"rules: {RULES}", f"grl: {GRL}", f"decision_table: {TABLE}"])
def test_rules_of_each_kind_read_the_names_and_the_context(source: str, evaluate: Evaluate) -> None:
    run = played(
        f'nodes:\n  a:\n    type: rule\n    input: {{daily: "{{{{ oms.demand }}}}"}}\n    {source}\n', ORDER, evaluate
    )
    assert run.failure is None
    assert run.data == {**ORDER, "reorder": True, "quantity": 175.0}


def test_a_name_covers_a_key_inside_of_the_node_alone(evaluate: Evaluate) -> None:
    text = """
nodes:
  a: {type: rule, input: {total: "{{ total * 2 }}"}, rules: [{then: {inside: "{{ total }}"}}]}
  b: {type: rule, rules: [{then: {outside: "{{ total }}"}}]}
edges: [{from: a, to: b}]
"""
    assert played(text, {"total": 4}, evaluate).data == {"total": 4, "inside": 8, "outside": 4}


def test_what_a_rule_writes_covers_a_name_in_later_rules(evaluate: Evaluate) -> None:
    text = 'nodes: {a: {type: rule, input: {n: 1}, rules: [{then: {n: "{{ n + 1 }}"}}, {then: {m: "{{ n }}"}}]}}'
    assert played(text, {}, evaluate).data == {"n": 2, "m": 2}


def test_output_and_prompt_of_an_approval_see_the_names(evaluate: Evaluate) -> None:
    text = """
nodes:
  ask:
    type: approval
    input: {who: "{{ order.customer }}"}
    prompt: "Pay {{ who }}?"
    output: {answer: "who + ': ' + string(result.ok)"}
"""
    run = played(text, {"order": {"customer": "Ada"}}, evaluate, ask={"answer": {"ok": True}})
    assert [getattr(step.work, "prompt", "") for step in run.timeline] == ["Pay Ada?"]
    assert run.data["answer"] == "Ada: true"


@pytest.mark.parametrize(("field", "seconds"), [('for: "{{ pause }}"', 90.0), ("until: run.time + pause", None)])
def test_a_timer_sees_the_names(field: str, seconds: float | None, evaluate: Evaluate) -> None:
    run = played(
        f'nodes: {{w: {{type: wait, input: {{pause: "{{{{ opts.pause }}}}"}}, {field}}}}}',
        {"opts": {"pause": "1m30s"}},
        evaluate,
    )
    if seconds is None:  # which is no time: the name was seen all the same
        assert run.failure is not None
        assert "1m30s" in run.failure.message
    else:
        assert [step.ended - step.started for step in run.timeline] == [seconds * 1000]


def test_items_and_collect_of_a_foreach_see_the_names_of_its_start(evaluate: Evaluate) -> None:
    text = """
nodes:
  each:
    type: foreach
    input: {least: "{{ limits.least }}", since: "{{ run.time }}"}
    items: lines.filter(line, line > least)
    collect: {into: kept, value: "[item, least, since == began]"}
    body: {nodes: {slow: {type: wait, for: 5s}, note: {type: rule, rules: [{then: {limits: {least: 0}}}]}}}
"""
    text = text.replace("body: {", "body: {edges: [{from: slow, to: note}], ")
    data = {"lines": [1, 5, 7], "limits": {"least": 3}, "began": "2026-01-01T00:00:00.000Z"}
    assert played(text, data, evaluate).data["kept"] == [[5, 3, True], [7, 3, True]]


def test_the_condition_of_a_while_sees_the_names_of_its_start(evaluate: Evaluate) -> None:
    text = """
nodes:
  halve:
    type: while
    input: {goal: "{{ batch / 4 }}"}
    while: batch > goal
    body: {nodes: {split: {type: rule, rules: [{then: {batch: "{{ batch / 2 }}"}}]}}}
"""
    assert played(text, {"batch": 64.0}, evaluate).data == {"batch": 16.0}


def test_a_compensation_has_names_of_its_own_and_not_those_of_its_node(evaluate: Evaluate) -> None:
    text = """
nodes:
  book:
    type: rule
    effect: true
    input: {seat: "{{ order.seat }}"}
    rules: [{then: {booked: "{{ seat }}"}}]
    compensate: {type: rule, input: {place: "{{ booked }}"}, rules: [{then: {freed: "{{ place }}"}}]}
  pay: {type: python, handler: pay}
edges: [{from: book, to: pay}]
"""
    run = played(text, {"order": {"seat": "12a"}}, evaluate, pay={"fail": "NO"})
    assert run.data["freed"] == "12a"
    other = text.replace("{place: ", "{unused: ").replace("{{ place }}", "{{ seat }}")
    assert warnings(other) == [("INPUT_UNUSED", "<inline>:9:38"), ("INPUT_NOT_VISIBLE", "<inline>:9:90")]


def test_a_name_that_has_no_value_fails_the_node(evaluate: Evaluate) -> None:
    text = 'nodes: {a: {type: rule, input: {n: "{{ order.total }}"}, rules: [{then: {m: "{{ n }}"}}]}}'
    run = played(text, {"order": {}}, evaluate)
    assert run.failure is not None
    assert run.failure.code == "EXPRESSION_FAILED"


def test_a_handler_gets_the_names_with_its_context() -> None:
    @node("own_names_handler")
    def handler(context: DistributedContext, factor: int) -> dict[str, Any]:
        return {"seen": [context["daily"], factor]}

    assert handler.__name__ == "handler"
    loaded = load_text(
        "name: g\nnodes: {a: {type: python, handler: own_names_handler, reads: [oms],"
        ' args: {factor: "{{ daily * 2 }}"}, input: {daily: "{{ oms.demand }}"}}}'
    )
    planned = plan_graph(loaded.graph).nodes["a"]
    assert planned.reads == ("oms",)
    activities = node_activities(Settings())
    task = replace(task_of(planned.wire, {"oms": {"demand": 3}}), reads=planned.reads)
    changes = asyncio.run(activities.execute(task))
    assert dict(changes.set) == {("seen",): [3, 6]}
    assert changes.removed == ()


def test_reads_follow_from_the_names() -> None:
    text = """
name: g
nodes:
  a: {type: rule, input: {daily: "{{ oms.demand }}"}, rules: [{when: daily > 1 && stock > 2, then: {x: 1}}]}
"""
    graph = load_text(text).graph
    assert plan_graph(graph).nodes["a"].reads == ("oms", "stock")
    assert list(graph_inputs(graph)) == ["oms", "stock"]


def test_a_name_that_nothing_reads_is_a_warning() -> None:
    assert warnings(
        'nodes:\n  a: {type: rule, input: {n: 1, m: 2}, rules: [{then: {x: "{{ n }}"}}]}\n'
        "  b: {type: python, handler: h, input: {n: 1}}\n  c: {type: wait, for: 1s, input: {n: 1}}"
    ) == [("INPUT_UNUSED", "<inline>:3:33"), ("INPUT_UNUSED", "<inline>:5:36")]


@pytest.mark.parametrize("name", ["run", "context"])
def test_a_reserved_name_is_refused(name: str) -> None:
    with pytest.raises(GraphError) as caught:
        load_text(f"name: g\nnodes: {{a: {{type: python, handler: h, input: {{{name}: 1}}}}}}")
    assert [(one.code, str(one.place)) for one in caught.value.problems] == [("NAME_RESERVED", "<inline>:2:47")]


def test_the_name_of_an_item_is_reserved_in_its_body() -> None:
    text = "nodes: {e: {type: foreach, items: l, body: {nodes: {a: {type: python, handler: h, input: {item: 1}}}}}}"
    with pytest.raises(GraphError) as caught:
        load_text(f"name: g\n{text}")
    assert [one.code for one in caught.value.problems if not one.warning] == ["NAME_RESERVED"]


def test_names_are_not_known_to_when_to_edges_and_to_bodies() -> None:
    text = """
nodes:
  a: {type: rule, input: {n: 1}, when: n > 0, rules: [{then: {x: "{{ n }}"}}]}
  b: {type: foreach, items: "[m]", input: {m: 1}, body: {nodes: {c: {type: rule, rules: [{then: {y: "{{ m }}"}}]}}}}
edges: [{from: a, to: b, when: n > 1}]
context: {merge: {y: sum}}
"""
    assert warnings(text) == [
        ("INPUT_NOT_VISIBLE", "<inline>:4:40"),
        ("INPUT_NOT_VISIBLE", "<inline>:5:105"),
        ("INPUT_NOT_VISIBLE", "<inline>:6:32"),
    ]


def test_a_slip_in_a_name_is_a_warning() -> None:
    text = 'nodes: {a: {type: rule, input: {demand: 1}, rules: [{then: {x: "{{ demnad }}", y: "{{ demand }}"}}]}}'
    (warning,) = load_text(f"name: g\n{text}").warnings
    assert (warning.code, warning.suggestion) == ("KEY_SIMILAR", "did you mean `demand`?")


def test_an_expression_of_a_name_that_does_not_compile_has_its_place() -> None:
    with pytest.raises(GraphError) as caught:
        load_text('name: g\nnodes:\n  a: {type: python, handler: h, input: {n: "{{ 1 + }}"}}')
    assert [one.code for one in caught.value.problems] == ["EXPRESSION_INVALID"]
    assert str(caught.value.problems[0].place).startswith("<inline>:3:")


def test_a_drawing_with_details_names_them() -> None:
    graph = load_text("name: g\nnodes: {a: {type: python, handler: h, input: {n: 1, m: 2}}}").graph
    assert "   input n, m" in tree(graph, details=True)
    assert "input" not in tree(graph)


def test_the_json_schema_has_it_for_each_type() -> None:
    schema = graph_json_schema()
    nodes = [each for each in schema["$defs"].values() if "type" in each.get("properties", {})]
    assert [each["title"] for each in nodes if "const" in each["properties"]["type"]] != []
    assert [
        each["title"] for each in nodes if "const" in each["properties"]["type"] and "input" not in each["properties"]
    ] == []
