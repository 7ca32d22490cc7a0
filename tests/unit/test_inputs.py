"""`inputs` of a graph: what a run is started with, and what other graphs must be given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anabranch.errors import GraphError, InputMissing, SchemaViolation
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.load import LoadedGraph, load_graph, load_text
from anabranch.graph.plan import plan_graph
from anabranch.settings import Settings
from anabranch.testkit.play import Script, play
from anabranch.testkit.rules import rule_evaluator
from anabranch.workflows.interpreter import views
from tests.unit.machine_kit import Play, edge, machine_of, python
from tests.unit.test_snapshot import through_json

INPUTS: dict[str, Any] = {
    "price": {"type": "number", "minimum": 0},
    "currency": {"enum": ["EUR", "USD"], "default": "EUR", "description": "What the price is in"},
    "tags": {"type": "array", "items": {"type": "string"}, "default": []},
}
GRAPH = {"inputs": INPUTS, "nodes": {"a": python()}}
BILL: dict[str, Any] = {"name": "bill", **GRAPH}


def data_of(play: Play) -> Any:
    return views.result(play.state, play.finish(), "order-1")["data"]


def test_defaults_are_there_from_the_start() -> None:
    play = Play(machine_of(GRAPH, {"price": 3, "more": 1})).start()
    assert play.seen["a"] == {"price": 3, "more": 1, "currency": "EUR", "tags": []}
    assert play.state.trail.versions[0].changes.set[("currency",)] == "EUR"
    assert data_of(play) == {"price": 3, "more": 1, "currency": "EUR", "tags": []}


def test_what_is_given_is_not_replaced() -> None:
    play = Play(machine_of(GRAPH, {"price": 3, "currency": "USD", "tags": ["x"]}))
    play.run()
    assert data_of(play) == {"price": 3, "currency": "USD", "tags": ["x"]}


def test_an_input_that_is_missing_is_named() -> None:
    graph = {**GRAPH, "inputs": {**INPUTS, "who": {}}}
    with pytest.raises(InputMissing, match="graph 'g' lacks 'price', 'who'"):
        machine_of(graph).start(1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"price": "3"}, "the input `price` of graph 'g': '3' is not of type 'number'"),
        ({"price": 3, "currency": "GBP"}, "the input `currency` of graph 'g': 'GBP' is not one of"),
        ({"price": 3, "tags": ["x", 2]}, r"the input `tags\[1\]` of graph 'g': 2 is not of type 'string'"),
    ],
)
def test_an_input_that_does_not_fit_is_named(data: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaViolation, match=message):
        machine_of(GRAPH, data).start(1)


def test_the_inputs_are_checked_when_they_come_in_alone() -> None:
    play = Play(machine_of(GRAPH, {"price": 3}), {"a": {"price": "much"}})
    assert play.run().failure is None


def test_the_schema_of_the_context_sees_the_defaults() -> None:
    graph = {**GRAPH, "context": {"schema": {"properties": {"currency": {"const": "USD"}}}}}
    with pytest.raises(SchemaViolation, match="currency: 'USD' was expected"):
        machine_of(graph, {"price": 3}).start(1)


def test_a_run_that_continued_as_new_keeps_its_defaults() -> None:
    graph = {**GRAPH, "nodes": {"a": python(), "w": {"type": "wait", "for": 1}}, "edges": [edge("a", "w")]}
    play = Play(machine_of(graph, {"price": 3}), {"a": {"currency": "USD"}}).start()
    play.answer("a")
    play.machine = through_json(play.machine, play.state.plan)
    play.pending.clear()
    play.take(play.machine.resume_from_snapshot(play.now))
    play.finish()
    assert data_of(play) == {"price": 3, "currency": "USD", "tags": []}


def test_an_inline_graph_has_its_own_defaults_and_keeps_them() -> None:
    node = {"type": "graph", "graph": "bill", "input": {"price": "{{ n }}"}}
    play = Play(machine_of({"nodes": {"b": node}}, {"n": 3}, bill=BILL), {"b/a": {"net": 6}}).start()
    assert play.seen["b/a"] == {"price": 3, "currency": "EUR", "tags": []}
    assert data_of(play) == {"n": 3, "net": 6}


@pytest.mark.parametrize(("given", "code"), [("much", "SCHEMA_VIOLATION"), (None, "INPUT_MISSING")])
def test_an_inline_graph_that_is_given_what_does_not_fit_fails_its_node(given: object, code: str) -> None:
    node = {"type": "graph", "graph": "bill", "input": {} if given is None else {"price": "{{ n }}"}}
    graph = {
        "nodes": {"b": node, "c": python()},
        "edges": [edge("b", "c", outcome="failure", when=f"error.type == '{code}'")],
    }
    play = Play(machine_of(graph, {"n": given}, bill=BILL))
    assert play.run().failure is None
    assert play.ran == ["c"]


def test_each_turn_of_a_loop_over_a_graph_is_given_its_inputs() -> None:
    loop = {"type": "foreach", "items": "[3, 4]", "as": "price", "body": {"graph": "bill"}}
    play = Play(machine_of({"nodes": {"f": loop}}, bill=BILL)).start()
    assert play.seen["f[1]/a"] == {"currency": "EUR", "tags": []}
    assert play.finish().failure is None
    wrong = Play(machine_of({"nodes": {"f": {**loop, "items": "[3, 'x']"}}}, bill=BILL)).run()
    assert wrong.failure is not None
    assert (wrong.failure.code, "`price`" in wrong.failure.message) == ("SCHEMA_VIOLATION", True)


def test_a_while_over_a_graph_is_given_its_defaults_in_each_turn() -> None:
    loop = {"type": "while", "while": "index < 2", "body": {"graph": "bill"}}
    play = Play(machine_of({"nodes": {"w": loop}}, {"price": 1}, bill=BILL))
    play.run()
    assert play.seen["w[1]/a"] == {"price": 1, "currency": "EUR", "tags": []}
    assert data_of(play) == {"price": 1}


HEAD = "name: g\ninputs:\n  price: {type: number}\n  rate: {type: number, default: 2}\n"
RULE = "nodes: {a: {type: rule, rules: [{then: {net: '{{ price * rate }}'}}]}}\n"


def found(text: str) -> list[tuple[str, str]]:
    try:
        return [(one.code, str(one.place)) for one in load_text(text).warnings]
    except GraphError as refused:
        return [(one.code, str(one.place)) for one in refused.problems]


def test_a_graph_with_inputs_is_started_with_those_without_a_default() -> None:
    assert graph_inputs(load_text(HEAD + RULE).graph) == {"price": ("inputs", "price")}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (HEAD + RULE, []),
        (HEAD + RULE.replace("rate", "rat"), [("KEY_UNKNOWN", "<inline>:5:58")]),
        (HEAD + "  bad: {type: nmber}\n" + RULE, [("SCHEMA_INVALID", "<inline>:5:15")]),
        (HEAD + "  bad: {type: text, default: 1}\n" + RULE, [("SCHEMA_INVALID", "<inline>:5:15")]),
        (HEAD + "  bad: {type: string, default: 1}\n" + RULE, [("INPUT_DEFAULT", "<inline>:5:32")]),
        (HEAD + "  run: {}\n" + RULE, [("NAME_RESERVED", "<inline>:5:3")]),
        (HEAD + "  bad: number\n" + RULE, [("DEFINITION_UNKNOWN", "<inline>:5:8")]),
        (HEAD + "context: {schema: {required: [price]}}\n" + RULE, [("INPUTS_TWICE", "<inline>:5:20")]),
        (HEAD + "context: {schema: {properties: {price: {}}}}\n" + RULE, [("INPUTS_TWICE", "<inline>:5:33")]),
        (HEAD + "context: {schema: {properties: {net: {type: number}}}}\n" + RULE, []),
    ],
)
def test_checks_of_inputs(text: str, problems: list[tuple[str, str]]) -> None:
    assert found(text) == problems


INNER = "name: inner\nnodes: {a: {type: rule, rules: [{then: {net: '{{ price * rate }}'}}]}}\n"


def outer(folder: Path, node: str, head: str = "", inner: str = INNER) -> LoadedGraph:
    (folder / "inner.yaml").write_text(inner)
    (folder / "outer.yaml").write_text(f"name: outer\n{head}nodes:\n  b: {node}\n")
    return load_graph(folder / "outer.yaml")


def codes(folder: Path, node: str, head: str = "", inner: str = INNER) -> list[tuple[str, str]]:
    try:
        problems = outer(folder, node, head, inner).warnings
    except GraphError as refused:
        problems = refused.problems
    return [(one.code, "" if one.place is None else f"{one.place.line}:{one.place.column}") for one in problems]


@pytest.mark.parametrize("mode", ["inline", "child_workflow"])
def test_what_a_graph_inside_needs_is_an_input_of_the_graph_around(mode: str, tmp_path: Path) -> None:
    loaded = outer(tmp_path, f"{{type: graph, graph: inner, mode: {mode}}}")
    assert set(graph_inputs(loaded.graph, loaded.graphs)) == {"price", "rate"}
    with rule_evaluator(Settings()) as evaluate:
        run = play(plan_graph(loaded.graph, loaded.graphs), Script({}, {}), evaluate)
    assert isinstance(run.refused, InputMissing)
    assert "graph 'outer' lacks 'price', 'rate'" in str(run.refused)


@pytest.mark.parametrize(
    ("node", "needed"),
    [
        ('{type: foreach, items: "[1]", as: price, body: {graph: inner}}', {"rate"}),
        ('{type: while, while: "false", body: {graph: inner}}', {"price", "rate"}),
        ("{type: graph, graph: inner, when: has(context.rate)}", {"price"}),
        ('{type: graph, graph: inner, input: {price: "{{ p }}", rate: 1}}', {"p"}),
    ],
)
def test_inputs_that_are_inferred_through(node: str, needed: set[str], tmp_path: Path) -> None:
    loaded = outer(tmp_path, node)
    assert set(graph_inputs(loaded.graph, loaded.graphs)) == needed


def test_graphs_that_name_others_twice_each_are_looked_at_once(tmp_path: Path) -> None:
    for level in range(30):
        nodes = ", ".join(f"{name}: {{type: graph, graph: g{level + 1}}}" for name in "xy")
        (tmp_path / f"g{level}.yaml").write_text(f"name: g{level}\nnodes: {{{nodes}}}\n")
    (tmp_path / "g30.yaml").write_text("name: g30\nnodes: {a: {type: rule, rules: [{then: {net: '{{ price }}'}}]}}\n")
    loaded = load_graph(tmp_path / "g0.yaml")
    assert set(graph_inputs(loaded.graph, loaded.graphs)) == {"price"}


TYPED = HEAD.replace("name: g", "name: inner") + RULE


@pytest.mark.parametrize(
    ("node", "inner", "problems"),
    [
        ("{type: graph, graph: inner, input: {}}", INNER, [("INPUT_LACKING", "3:34"), ("INPUT_LACKING", "3:34")]),
        ("{type: graph, graph: inner, input: {}}", TYPED, [("INPUT_LACKING", "3:34")]),
        ("{type: graph, graph: inner, input: {price: 1}}", TYPED, []),
        ("{type: graph, graph: inner, input: {price: '{{ x }}'}}", TYPED, []),
        ("{type: graph, graph: inner, input: {price: dear}}", TYPED, [("INPUT_UNFIT", "3:49")]),
        ("{type: graph, graph: inner, input: {price: 1, rat: 2}}", TYPED, [("INPUT_SIMILAR", "3:52")]),
    ],
)
def test_checks_of_what_a_graph_is_given(
    node: str, inner: str, problems: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert codes(tmp_path, node, inner=inner) == problems


def test_the_checks_of_the_graph_around_know_what_the_one_inside_needs(tmp_path: Path) -> None:
    head = "inputs: {price: {type: number}}\n"
    assert codes(tmp_path, "{type: graph, graph: inner}", head, TYPED) == []
    assert codes(tmp_path, "{type: graph, graph: inner}", head) == [("KEY_UNKNOWN", "4:3")]
