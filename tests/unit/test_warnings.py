"""What a node warns of, wherever somebody looks: the audit trail, `status`, the details, the result."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from anabranch.cli.versions import versions_table
from anabranch.context.changes import ChangeSet
from anabranch.graph.load import load_graph
from anabranch.graph.plan import plan_graph
from anabranch.settings import Settings
from anabranch.testkit.play import Evaluate, Played, Script, play
from anabranch.testkit.rules import rule_evaluator
from anabranch.transport.wire_json import to_array, to_named
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.state import RunState

GRAPH = """
name: counting
nodes:
  count: {type: rule, grl: "rule Up { when n >= 0 then n = n + 1; }"}
  toggle: {type: rule, grl: "rule A { when a then a = false; } rule B { when !a then a = true; }"}
edges: [{from: count, to: toggle}]
"""
COUNT = "the rules were stopped after 100 cycles while 'Up' still fired"
TOGGLE = "the rules were stopped after 100 cycles while 'A', 'B' still fired"


@pytest.fixture(scope="module")
def evaluate() -> Iterator[Evaluate]:
    with rule_evaluator(Settings()) as evaluator:
        yield evaluator


@pytest.fixture
def played(evaluate: Evaluate, tmp_path: Path) -> Played:
    (tmp_path / "counting.yaml").write_text(GRAPH)
    loaded = load_graph(tmp_path / "counting.yaml")
    return play(plan_graph(loaded.graph, loaded.graphs), Script({"n": 0, "a": True}), evaluate)


def test_the_run_completes_with_what_the_rules_had_written(played: Played) -> None:
    assert (played.status, played.data) == ("completed", {"n": 100, "a": True})


def test_the_audit_trail_has_the_warnings_also_of_a_node_that_changed_nothing(played: Played) -> None:
    given, count, toggle = cast("list[dict[str, Any]]", views.history(played.state))
    assert "warnings" not in given
    assert [text.partition(";")[0] for text in (*count["warnings"], *toggle["warnings"])] == [COUNT, TOGGLE]
    assert (count["set"], toggle["set"]) == ({"n": 100}, {})


def test_the_status_the_details_and_the_result_have_the_warnings(played: Played) -> None:
    told = json.dumps(views.status(played.state)["warnings"])
    assert '{"by": "count", "warning": "' + COUNT in told
    finish = played.state.finished
    assert finish is not None
    assert views.result(played.state, finish, "s")["warnings"] == views.status(played.state)["warnings"]
    assert f"\nWarnings:\n\n- `count`: `{COUNT}; give" in views.details(played.state)
    history = cast("list[dict[str, Any]]", views.history(played.state))
    assert f"warning {TOGGLE}" in "".join(str(cell) for cell in versions_table(history).columns[2].cells)


def test_a_run_without_warnings_says_nothing_of_them(evaluate: Evaluate, tmp_path: Path) -> None:
    (tmp_path / "still.yaml").write_text("name: still\nnodes: {a: {type: rule, rules: [{then: {x: 1}}]}}\n")
    loaded = load_graph(tmp_path / "still.yaml")
    state = play(plan_graph(loaded.graph, loaded.graphs), Script({}), evaluate).state
    assert state.finished is not None
    assert "warnings" not in views.status(state)
    assert "warnings" not in views.result(state, state.finished, "s")
    assert "Warnings" not in views.details(state)


def test_warnings_travel_when_the_run_continues_as_new(played: Played) -> None:
    fresh = RunState(played.state.plan, {}, run=played.state.run)
    snapshot.load(fresh, json.loads(json.dumps(snapshot.dump(played.state))))
    assert fresh.trail.warnings == played.state.trail.warnings
    assert views.history(fresh) == views.history(played.state)


def test_a_change_set_with_warnings_crosses_the_wire_in_both_forms() -> None:
    changes = ChangeSet(1, {("a",): 2}, (), "n", 3, ("look here", "and there"))
    assert ChangeSet.from_wire(changes.to_wire()) == changes
    assert ChangeSet.from_wire(to_array("ChangeSet", to_named(changes))) == changes
    assert len(ChangeSet(1, {}).to_wire()) == 5
