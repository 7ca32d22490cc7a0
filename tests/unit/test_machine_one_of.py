"""A child workflow whose graph the run chooses: one of those that the node lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anabranch.context.changes import ChangeSet
from anabranch.errors import GraphError
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.dataflow.reads import node_writes
from anabranch.graph.drawing.tree import tree
from anabranch.graph.leaving import may_leave_effects
from anabranch.graph.load import LoadedGraph, load_graph
from anabranch.workflows.interpreter.commands import StartChild
from tests.unit.machine_kit import Play, edge, failure, machine_of, python
from tests.unit.test_finally import anabranch, problems

CHOSEN = {"type": "graph", "graph": "{{ kind }}_order", "one_of": ["new_order", "old_order"], "mode": "child_workflow"}
LIBRARY: dict[str, Any] = {
    "new_order": {"name": "new_order", "nodes": {"p": python(effect=False)}, "result": {"x": "1", "n": "1"}},
    "old_order": {"name": "old_order", "nodes": {"p": python()}, "result": {"x": "1", "o": "1"}},
}


def started(node: dict[str, Any], data: dict[str, Any]) -> Play:
    graph = {"nodes": {"a": node, "why": python()}, "edges": [edge("a", "why", outcome="failure")]}
    return Play(machine_of(graph, data, **LIBRARY)).start()


def chosen(play: Play, address: str = "a") -> str:
    command = play.pending[address]
    assert isinstance(command, StartChild)
    return command.graph


@pytest.mark.parametrize("kind", ["new", "old"])
def test_the_child_is_the_one_that_the_run_makes(kind: str) -> None:
    assert chosen(started(CHOSEN, {"kind": kind})) == f"{kind}_order"


def test_each_item_has_a_child_of_its_own() -> None:
    node = {**CHOSEN, "graph": "{{ item }}_order"}
    play = started({"type": "foreach", "items": "['old', 'new']", "body": {"nodes": {"c": node}}}, {})
    assert [chosen(play, f"a[{index}]/c") for index in range(2)] == ["old_order", "new_order"]


def test_the_next_attempt_may_be_another_graph() -> None:
    node = {"type": "block", "nodes": {"c": CHOSEN}, "retry": {"max_attempts": 2, "initial_interval": "1s"}}
    play = started(node, {"kind": "new"})
    play.script = {"a/c": failure("TRY_AGAIN")}
    play.answer("a/c")
    play.machine.write(ChangeSet(play.state.trail.count, {("kind",): "old"}, by="shop"), play.now)
    play.answer("a")
    assert chosen(play, "a~2/c") == "old_order"


@pytest.mark.parametrize("kind", ["other", "", None, 7])
def test_another_one_fails_the_node_before_it_starts(kind: Any) -> None:
    play = started(CHOSEN, {"kind": kind})
    run = play.state.root.nodes["a"]
    assert run.failure is not None
    assert (run.failure.code, run.failure.outcome) == ("OPTION_INVALID", "failure")
    assert run.failure.message.startswith("node 'a': `graph` is none of new_order, old_order: ")
    assert list(play.pending) == ["why"]


X = "name: x\nnodes: {p: {type: wait, for: 1s}}\n"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ("graph: '{{ kind }}', mode: child_workflow", "GRAPH_TEMPLATE"),
        ("graph: '{{ kind }}', one_of: [], mode: child_workflow", "GRAPH_TEMPLATE"),
        ("graph: '{{ kind }}', one_of: [x]", "GRAPH_TEMPLATE"),
        ("graph: x, one_of: [x], mode: child_workflow", "FIELD_HAS_NO_EFFECT"),
        ("graph: '{{ kind', one_of: [x], mode: child_workflow", "EXPRESSION_INVALID"),
    ],
)
def test_what_is_wrong_with_it_is_a_problem(fields: str, code: str) -> None:
    assert [each.code for each in problems(f"name: g\nnodes: {{a: {{type: graph, {fields}}}}}\n", x=X)] == [code]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, need in (("new_order", "coupon"), ("old_order", "number")):
        (tmp_path / f"{name}.yaml").write_text(
            f"name: {name}\ninputs: {{{need}: {{type: string}}}}\n"
            f"nodes: {{p: {{type: rule, rules: [{{then: {{seen: '{{{{ {need} }}}}'}}}}]}}}}\n"
            f"result: {{x: seen, of_{need}: seen}}\n"
        )
    return tmp_path


def shop(folder: Path, **fields: str) -> LoadedGraph:
    given = {"graph": "'{{ kind }}_order'", "one_of": "[new_order, old_order]", "mode": "child_workflow", **fields}
    told = ", ".join(f"{name}: {value}" for name, value in given.items())
    (folder / "shop.yaml").write_text(f"name: shop\nnodes: {{a: {{type: graph, {told}}}}}\n")
    return load_graph(folder / "shop.yaml")


def test_checks_know_each_of_them(folder: Path) -> None:
    loaded = shop(folder)
    assert set(loaded.graphs) == {"new_order", "old_order"}
    assert set(graph_inputs(loaded.graph, loaded.graphs)) == {"kind", "coupon", "number"}
    node = loaded.graph.nodes["a"]
    assert node_writes("a", node, loaded.graphs) == frozenset({"x", "of_coupon", "of_number"})
    assert may_leave_effects(loaded.graph, loaded.graphs) is False
    assert "a (graph)\n      new_order or old_order\n" in tree(loaded.graph, details=True)


def test_one_that_is_not_there_and_one_that_is_not_given_its_inputs_are_problems_at_their_places(folder: Path) -> None:
    with pytest.raises(GraphError) as failed:
        shop(folder, one_of="[new_order, odd_order]")
    (found,) = failed.value.problems
    assert (found.code, found.message) == ("GRAPH_UNKNOWN", "there is no graph 'odd_order'")
    with pytest.raises(GraphError) as failed:
        shop(folder, input="{coupon: '1'}")
    (found,) = failed.value.problems
    assert (found.code, "the graph 'old_order' its input `number`" in found.message) == ("INPUT_LACKING", True)


def test_a_key_that_only_some_of_them_give_back_may_be_missing(folder: Path) -> None:
    loaded = shop(folder)
    assert loaded.warnings == ()
    text = (folder / "shop.yaml").read_text().rstrip("}\n")
    rule = "{type: rule, rules: [{then: {y: '{{ x + of_number }}'}}]}"
    (folder / "shop.yaml").write_text(f"{text}}}, b: {rule}}}\nedges: [{{from: a, to: b}}]\n")
    (found,) = load_graph(folder / "shop.yaml").warnings
    assert found.code == "KEY_MAYBE_MISSING"
    assert "needs `of_number`, which 'a' writes only under a condition" in found.message


def test_a_graph_that_leads_back_to_itself_by_one_of_them_is_a_problem(folder: Path) -> None:
    with pytest.raises(GraphError) as failed:
        shop(folder, one_of="[new_order, shop]")
    assert [each.code for each in failed.value.problems] == ["GRAPH_RECURSION"]


def test_a_dry_run_starts_the_one_that_its_input_says(folder: Path) -> None:
    shop(folder)
    given = ("--set", "coupon=c", "--set", "number=n")
    told = anabranch("dry-run", folder / "shop.yaml", "--set", "kind=old", *given, "--json")
    assert json.loads(told.stdout)["data"]["x"] == "n"
    refused = anabranch("dry-run", folder / "shop.yaml", "--set", "kind=odd", *given)
    assert "OPTION_INVALID" in refused.output
