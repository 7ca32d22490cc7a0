"""A graph made ready to be interpreted: neighbours, what crosses, policies, bodies, and plans that are shared."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from anabranch.context.merge.resolution import ConflictResolution, Reducer
from anabranch.errors import ExpressionError
from anabranch.graph.load import canonical, written_out
from anabranch.graph.model import Graph
from anabranch.graph.pinned import plan_of
from anabranch.graph.plan import Plan, plan_graph
from anabranch.graph.revision import REVISION
from tests.unit.machine_kit import edge, python


def plan(nodes: dict[str, Any], edges: list[dict[str, Any]] | None = None, **fields: Any) -> Plan:
    library = {name: Graph.model_validate({"name": name, **body}) for name, body in fields.pop("library", {}).items()}
    return plan_graph(Graph.model_validate({"name": "g", "nodes": nodes, "edges": edges or [], **fields}), library)


def test_nodes_know_their_edges_in_the_order_of_the_definition() -> None:
    found = plan(
        {name: python() for name in "cab"},
        [edge("b", "a"), edge("c", "a", when="x"), edge("c", "b", outcome="failure")],
    )
    assert [(node.id, node.index) for node in found.nodes.values()] == [("c", 0), ("a", 1), ("b", 2)]
    assert [each.index for each in found.nodes["a"].incoming] == [0, 1]
    assert [each.edge.target for each in found.nodes["c"].outgoing] == ["a", "b"]


def test_a_condition_is_compiled_and_no_condition_is_none() -> None:
    found = plan({"a": python(when="x > 1"), "b": python()}, [edge("a", "b", when="x > 2")])
    condition = found.nodes["a"].condition
    assert condition is not None
    assert condition.keys == frozenset({"x"})
    assert found.nodes["b"].condition is None
    assert found.nodes["a"].outgoing[0].condition is not None


def test_the_error_is_visible_behind_failure_edges_and_nowhere_else() -> None:
    nodes = {"a": python(), "b": python(when="error.type == 'X'"), "c": python()}
    found = plan(nodes, [edge("a", "b", outcome="failure"), edge("a", "c")])
    assert found.nodes["b"].roots == {"error", "errors"}
    assert found.nodes["c"].roots == frozenset()
    condition = found.nodes["b"].condition
    assert condition is not None
    assert condition.keys == frozenset()


def test_what_crosses_to_an_activity_is_what_its_node_reads() -> None:
    found = plan(
        {
            "declared": python(reads=("b", "a")),
            "code": {"type": "python", "handler": "h"},
            "inferred": {"type": "rule", "rules": [{"when": "x > y", "then": {"z": "{{ w + run.time }}"}}]},
        }
    )
    assert found.nodes["declared"].reads == ("a", "b")
    assert found.nodes["code"].reads is None
    assert found.nodes["inferred"].reads == ("w", "x", "y")


def test_an_activity_receives_its_node_without_what_only_the_workflow_acts_on() -> None:
    found = plan(
        {
            "a": python(
                args={"n": "{{ x }}"},
                when="x > 0",
                timeout="3s",
                retry={"max_attempts": 2},
                compensate=python(),
                on_failure="continue",
                join="all",
                output={"y": "result"},
            )
        }
    )
    assert found.nodes["a"].wire == {
        "type": "python",
        "handler": "h",
        "args": {"n": "{{ x }}"},
        "input": None,
        "output": {"y": "result"},
        "reads": [],
        "cache": None,
        "circuit_breaker": None,
    }


def test_a_compensation_is_a_node_of_the_same_name_that_sees_the_error() -> None:
    found = plan({"a": python(compensate={"type": "python", "handler": "undo", "args": {"why": "{{ error.type }}"}})})
    undo = found.nodes["a"].compensation
    assert undo is not None
    assert (undo.id, undo.roots, undo.wire["handler"]) == ("a", frozenset({"error"}), "undo")
    assert found.has_compensation


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ({"a": python()}, False),
        ({"a": {"type": "foreach", "items": "[1]", "body": {"nodes": {"b": python(compensate=python())}}}}, True),
        ({"a": {"type": "graph", "graph": "sub"}}, True),
        ({"a": {"type": "graph", "graph": "sub", "mode": "child_workflow"}}, False),
    ],
)
def test_compensations_in_bodies_count_and_those_of_child_workflows_are_their_own(
    nodes: dict[str, Any], expected: bool
) -> None:
    library = {"sub": {"nodes": {"b": python(compensate=python())}}}
    assert plan(nodes, library=library).has_compensation is expected


def test_inputs_are_what_is_read_and_written_by_nobody_before() -> None:
    rule = {"type": "rule", "rules": [{"when": "x > 0", "then": {"y": 1}}]}
    then = {"type": "rule", "rules": [{"when": "y > z", "then": {"w": 1}}]}
    assert plan({"a": rule, "b": then}, [edge("a", "b", when="v")]).inputs == {"x", "z", "v"}


def test_policies_are_those_of_the_graph_and_else_the_default() -> None:
    settings = {"merge": {"total": "sum", "order.status": "merge_all"}}
    found = plan({"a": python()}, context=settings).policies(ConflictResolution.HIGHER_VERSION_WINS)
    assert found.at(("total",)) is Reducer.SUM
    assert found.at(("order", "status", "deep")) is ConflictResolution.MERGE_ALL
    assert found.at(("order",)) is ConflictResolution.HIGHER_VERSION_WINS
    strict = plan({"a": python()}, context={"conflict_resolution": "fail_on_conflict"})
    assert strict.policies(ConflictResolution.MERGE_ALL).at(("x",)) is ConflictResolution.FAIL_ON_CONFLICT


def test_a_body_sees_its_item_and_index_and_has_the_settings_of_the_graph_around_it() -> None:
    foreach = {
        "type": "foreach",
        "items": "[1]",
        "as": "line",
        "body": {"nodes": {"inner": {"type": "while", "while": "index < 2", "body": {"nodes": {"w": python()}}}}},
    }
    found = plan({"a": foreach}, context={"merge": {"x": "sum"}}, defaults={"timeout": "5s"})
    body = found.body("a")
    assert body.nodes["inner"].roots == {"line", "index"}
    assert body.body("inner").nodes["w"].roots == {"line", "index", "turn"}
    assert body.graph.defaults.timeout.total_seconds() == 5
    assert body.policies(ConflictResolution.MERGE_ALL).at(("x",)) is Reducer.SUM
    assert found.body("a") is body


def test_a_named_graph_brings_its_own_settings_and_none_of_the_roots_around_it() -> None:
    sub = {"nodes": {"b": python()}, "context": {"merge": {"x": "max"}}}
    each = {"type": "foreach", "items": "[1]", "body": {"nodes": {"n": {"type": "graph", "graph": "sub"}}}}
    found = plan({"a": each}, context={"merge": {"x": "sum"}}, library={"sub": sub})
    inner = found.body("a").body("n")
    assert inner.graph.name == "sub"
    assert inner.nodes["b"].roots == frozenset()
    assert inner.policies(ConflictResolution.MERGE_ALL).at(("x",)) is Reducer.MAX


def test_a_leaf_node_has_no_body() -> None:
    with pytest.raises(TypeError, match=r"'a' of type 'python' has no body"):
        plan({"a": python()}).body("a")


def test_an_expression_of_a_node_may_use_its_roots_and_extra_ones_only() -> None:
    node = plan({"a": python()}).nodes["a"]
    assert node.expression("result.x + y", "result").keys == frozenset({"y"})
    assert node.expression("result.x").keys == frozenset({"result"})
    with pytest.raises(ExpressionError):
        node.expression("result.")


def test_runs_of_one_definition_share_one_plan() -> None:
    text = canonical(Graph.model_validate({"name": "g", "nodes": {"a": python()}}))
    other = canonical(Graph.model_validate({"name": "g", "nodes": {"a": python(), "b": python()}}))
    plan_of_text = partial(plan_of, revision=REVISION, inputs=())
    assert plan_of_text(text, {}) is plan_of_text(text, {})
    assert plan_of_text(other, {}) is not plan_of_text(text, {})
    assert list(plan_of_text(other, {"sub": text}).library) == ["sub"]
    assert json.loads(text)["nodes"].keys() == plan_of_text(text, {}).nodes.keys()


def test_a_pinned_plan_has_the_inputs_and_the_revision_that_were_pinned() -> None:
    text = written_out(Graph.model_validate({"name": "g", "nodes": {"a": python(when="x > 0")}}))
    found = plan_of(text, {}, revision=7, inputs=["y"])
    assert found.inputs == {"y"}
    assert found.revision == 7
    assert plan_of(text, {}, revision=7, inputs=["x"]).inputs == {"x"}
    assert plan_graph(found.graph).inputs == {"x"}
