"""`append` in rules: what is added to lists, by one rule after the other, by branches, by items, and by what undoes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anabranch.activities.rules.handler import evaluate_rules
from anabranch.context.changes import ChangeSet, refine
from anabranch.context.merge.resolution import ConflictResolution, Reducer
from anabranch.context.values import Json
from anabranch.errors import WriteRefused
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.dataflow.reads import node_reads
from anabranch.graph.load import load_graph, load_text
from anabranch.graph.model import RuleNode
from anabranch.graph.plan import plan_graph
from anabranch.settings import Settings
from anabranch.testkit.play import Evaluate, Script, play
from anabranch.testkit.rules import rule_evaluator
from anabranch.transport.wire_json import to_array, to_named
from tests.unit.test_paths import found, played, told, trail


@pytest.fixture(scope="module")
def evaluate() -> Iterator[Evaluate]:
    with rule_evaluator(Settings()) as evaluator:
        yield evaluator


def rules(*entries: dict[str, Any], **fields: Any) -> RuleNode:
    return RuleNode.model_validate({"type": "rule", "rules": list(entries), **fields})


def adding(value: str, path: str = "log") -> str:
    return f"{{type: rule, rules: [{{append: {{{path}: {value}}}}}]}}"


FORK = """
name: g
{context}
nodes:
  start: {{type: rule, rules: [{{append: {{log: start}}}}]}}
  a: {a}
  b: {b}
  end: {{type: rule, rules: [{{append: {{log: end}}}}]}}
edges: [{{from: start, to: a}}, {{from: start, to: b}}, {{from: a, to: end}}, {{from: b, to: end}}]
"""


@pytest.mark.parametrize(
    ("steps", "data", "keys", "parts", "appended"),
    [
        ([{"append": {"log": "{{ n }}"}}, {"append": {"log": [2]}}], {}, {}, {}, {("log",): [7, [2]]}),
        ([{"then": {"log": [0]}}, {"append": {"log": 1}}], {"log": [9]}, {"log": [0, 1]}, {}, {}),
        ([{"append": {"log": 1}}, {"then": {"log": [0]}}], {"log": [9]}, {"log": [0]}, {}, {}),
        ([{"then": {"o": {"l": [0]}}}, {"append": {"o.l": 1}}], {}, {"o": {"l": [0, 1]}}, {}, {}),
        ([{"then": {"o.l": [0]}}, {"append": {"o.l": 1}}], {}, {}, {("o", "l"): [0, 1]}, {}),
        ([{"append": {"o.l": 1}}, {"then": {"o": 5}}], {"o": {"l": [9]}}, {"o": 5}, {}, {}),
        ([{"append": {"log": 1}}, {"then": {"n": "{{ size(log) }}"}}], {"log": [9]}, {"n": 2}, {}, {("log",): [1]}),
        ([{"then": {"a": 1}, "append": {"log": "{{ a }}"}}], {"a": 0}, {"a": 1}, {}, {("log",): [0]}),
        ([{"when": "n > 9", "append": {"log": 1}, "otherwise": {"a": 1}}], {}, {"a": 1}, {}, {}),
        ([{"when": "n > 1", "append": {"log": 1}}, {"otherwise": {"a": 1}}], {}, {}, {}, {("log",): [1]}),
        ([{"when": "n > 9", "append": {"log": 1}}, {"otherwise": {"a": 1}}], {}, {"a": 1}, {}, {}),
    ],
)
def test_rules_add_to_lists_in_order_and_later_ones_see_it(
    steps: list[dict[str, Any]], data: dict[str, Json], keys: Any, parts: Any, appended: Any
) -> None:
    written = evaluate_rules(rules(*steps), {"n": 7, **data}, {})
    assert (written.changes, written.parts, written.appended) == (keys, parts, appended)


def test_result_has_what_was_added() -> None:
    node = rules({"then": {"a": 1, "o.b": 2}, "append": {"o.log": "x"}})
    assert evaluate_rules(node, {"o": {"log": [1], "c": 1}}, {}).result == {"a": 1, "o": {"b": 2, "log": ["x"]}}


@pytest.mark.parametrize(("value", "kind"), [(5, "a single"), (None, "null"), ({}, "an object"), ("t", "a single")])
def test_nothing_is_added_to_what_is_no_list(value: Json, kind: str, evaluate: Evaluate) -> None:
    message = f"nothing can be appended to `log`, which is {kind}"
    with pytest.raises(WriteRefused, match=message) as caught:
        evaluate_rules(rules({"then": {"a": 1}}, {"append": {"log": 1}}), {"log": value}, {})
    assert caught.value.place == "rule 2"
    with pytest.raises(WriteRefused, match=message):
        refine({"log": value}, ChangeSet(1, {}, appended={("log",): [1]}))
    handler = "{type: rule, rules: [{then: {e: '{{ error.code }}'}}]}"
    handled = f"name: g\nnodes: {{n: {adding('1')}, h: {handler}}}"
    run = played(f"{handled}\nedges: [{{from: n, to: h, outcome: failure}}]", {"log": value}, evaluate)
    assert run.data == {"log": value, "e": "WRITE_REFUSED"}


def test_a_list_crosses_to_the_activity_only_where_rules_read_it_and_need_not_be_there() -> None:
    assert node_reads(rules({"append": {"log": 1}})) == frozenset()
    assert node_reads(rules({"append": {"log": 1}}, {"when": "size(log) > 1", "then": {"a": 1}})) == frozenset({"log"})
    reader = "{type: rule, rules: [{then: {n: '{{ size(log) }}'}}]}"
    text = f"name: g\nnodes: {{a: {adding('1')}, b: {reader}}}\nedges: [{{from: a, to: b}}]"
    assert told(text) == []
    assert list(graph_inputs(load_text(text).graph)) == []


@pytest.mark.parametrize("order", [["a", "b"], ["b", "a"]])
@pytest.mark.parametrize(("value", "other"), [("left", "right"), ("same", "same")])
def test_branches_that_both_add_keep_their_entries_each_once_in_the_order_of_their_edges(
    order: list[str], value: str, other: str, evaluate: Evaluate
) -> None:
    text = FORK.format(a=adding(value), b=adding(other), context="")
    assert told(text) == []
    plan = plan_graph(load_text(text).graph)
    run = play(plan, Script({"log": ["given"]}, order=tuple(order)), evaluate)
    assert run.data["log"] == ["given", "start", value, other, "end"]
    assert [each.changes.set for each in run.versions if each.by == "start"] == [{("log",): ["given", "start"]}]


@pytest.mark.parametrize("context", ["", "context: {conflict_resolution: fail_on_conflict}"])
def test_no_policy_of_the_graph_but_one_for_the_path_is_asked(context: str, evaluate: Evaluate) -> None:
    run = played(FORK.format(a=adding("1"), b=adding("2"), context=context), {}, evaluate)
    assert run.data["log"] == ["start", 1, 2, "end"]
    said = FORK.format(a=adding("1"), b=adding("2"), context="context: {merge: {log: union}}")
    assert played(said, {"log": [1]}, evaluate).data["log"] == [1, "start", 2, "end"]
    above = "context: {merge: {o: last_write_wins}}"
    text = FORK.format(a=adding("1", "o.l"), b=adding("2", "o.l"), context=above).replace("{log: ", "{o.l: ")
    assert played(text, {}, evaluate).data["o"] == {"l": ["start", 2, "end"]}


def test_a_branch_that_writes_the_list_anew_is_told_and_keeps_what_the_other_adds(evaluate: Evaluate) -> None:
    text = FORK.format(a="{type: rule, rules: [{then: {log: [anew]}}]}", b=adding("added"), context="")
    assert [each.code for each in found(text)] == ["PARALLEL_WRITES"]
    assert played(text, {}, evaluate).data["log"] == ["anew", "added", "end"]


def test_items_turns_blocks_and_graphs_inside_add_to_one_list(evaluate: Evaluate, tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text("name: inner\nnodes: {i: {type: rule, rules: [{append: {log: inner}}]}}\n")
    outer = f"""
name: outer
nodes:
  each: {{type: foreach, items: "[1, 2, 3]", body: {{nodes: {{n: {adding("'{{ item }}'")} }} }} }}
  turns: {{type: while, until: turn == 2, body: {{nodes: {{n: {adding("'turn {{ turn }}'")} }} }} }}
  block: {{type: block, nodes: {{n: {adding("block")} }} }}
  graph: {{type: graph, graph: inner}}
"""
    (tmp_path / "outer.yaml").write_text(outer)
    loaded = load_graph(tmp_path / "outer.yaml")
    assert [each.code for each in loaded.warnings] == []
    run = play(plan_graph(loaded.graph, loaded.graphs), Script({"log": []}), evaluate)
    assert run.data["log"] == [1, 2, 3, "turn 1", "turn 2", "block", "inner"]


def test_what_is_not_the_node_s_own_write_has_no_policy() -> None:
    nodes = f"""
  a: {adding("1")}
  b: {{type: rule, rules: [{{append: {{other: 1}}}}], output: {{x: result.other}}}}
  c: {{type: foreach, items: x, collect: {{into: d, value: log}}, body: {{nodes: {{n: {adding("1", "inner")} }} }} }}
"""
    policies = plan_graph(load_text(f"name: g\nnodes: {nodes}").graph).policies(ConflictResolution.LAST_WRITE_WINS)
    assert policies.by_path == {("log",): Reducer.APPEND}


def test_a_run_that_is_undone_takes_back_what_was_added_and_compensations_add_their_own(evaluate: Evaluate) -> None:
    step = """{type: http, method: POST, url: "https://x.example", output: {%s: result.body},
      compensate: {type: rule, rules: [{append: {undone: "%s"}}]}}"""
    text = f"""
name: g
saga: {{}}
nodes:
  log: {adding("booked")}
  a: {step % ("x", "a")}
  b: {step % ("y", "b")}
  charge: {{type: python, handler: h, reads: []}}
edges: [{{from: log, to: a}}, {{from: a, to: b}}, {{from: b, to: charge}}]
"""
    run = played(text, {"log": [0]}, evaluate, charge={"fail": "NO_MONEY"})
    assert run.undone == ["b", "a"]
    assert run.data == {"log": [0], "undone": ["b", "a"]}


def test_an_attempt_of_a_block_that_is_undone_leaves_what_its_compensations_add(evaluate: Evaluate) -> None:
    text = f"""
name: g
nodes:
  block:
    type: block
    retry: {{max_attempts: 2}}
    nodes:
      a:
        type: http
        method: POST
        url: "https://x.example"
        output: {{x: result.body}}
        compensate: {{type: rule, rules: [{{append: {{log: undone}}}}]}}
      b: {adding("'attempt'")}
      c: {{type: python, handler: h, reads: []}}
    edges: [{{from: a, to: b}}, {{from: b, to: c}}]
"""
    outcomes = {"block~1/c": {"fail": "DOWN"}, "block/c": {"fail": "DOWN"}, "block~2/c": {}}
    run = played(text, {"log": [0]}, evaluate, **outcomes)
    assert run.failure is None
    assert run.data["log"] == [0, "undone", "attempt"]


def test_the_trail_names_the_path_and_the_whole_list(evaluate: Evaluate) -> None:
    text = f"name: g\nnodes: {{a: {adding('1', 'o.log')}, b: {adding('2', 'o.log')}}}\nedges: [{{from: a, to: b}}]"
    assert trail(played(text, {}, evaluate)) == [("a", {"o.log": [1]}), ("b", {"o.log": [1, 2]})]


def test_changes_that_append_cross_as_little_as_they_say() -> None:
    changes = ChangeSet(3, {("a",): 1}, by="n", at=5, appended={("o", "log"): ["x"]})
    assert changes.to_wire() == [3, [("a",), 1], (), "n", 5, [], [("o", "log"), ["x"]]]
    assert ChangeSet.from_wire(changes.to_wire()) == changes
    assert ChangeSet.from_wire(to_array("ChangeSet", to_named(changes))) == changes
    assert bool(ChangeSet(1, {}, appended={("log",): [1]}))
    assert refine({"o": {"log": [0]}}, changes).set == {("a",): 1, ("o", "log"): [0, "x"]}


@pytest.mark.parametrize(
    ("context", "codes"),
    [("", []), ("context: {merge: {log: fail_on_conflict}}", []), ("context: {merge: {lag: sum}}", ["MERGE_UNUSED"])],
)
def test_a_policy_for_a_list_that_branches_add_to_is_no_mistake(context: str, codes: list[str]) -> None:
    assert [each.code for each in found(FORK.format(a=adding("1"), b=adding("2"), context=context))] == codes


@pytest.mark.parametrize(
    ("inside", "codes"),
    [
        ("{append: {log: 1}}", []),
        ("{append: {o.log: 1}}", []),
        ("{append: {log: 1}, then: {log2: 1}}", ["PARALLEL_WRITES"]),
        ("{append: {o.log: 1}, then: {o.x: 1}}", ["PARALLEL_WRITES"]),
    ],
)
def test_items_that_only_add_need_no_policy(inside: str, codes: list[str]) -> None:
    body = f"body: {{nodes: {{n: {{type: rule, rules: [{inside}]}}}}}}"
    assert [each.code for each in found(f"name: g\nnodes: {{e: {{type: foreach, items: '[1]', {body}}}}}")] == codes


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("{then: {log: []}, §append: {log: 1}}", "KEY_OVERLAP"),
        ("{then: {o: {}}, §append: {o.log: 1}}", "KEY_OVERLAP"),
        ("{§append: {'{{ k }}': 1}}", "KEY_TEMPLATE"),
        ("{§append: {run.log: 1}}", "NAME_RESERVED"),
        ("{append: {log: 1}, §otherwise: {a: 1}}", "RULE_OTHERWISE"),
    ],
)
def test_what_is_wrong_with_append_is_told(rule: str, code: str) -> None:
    problems = told(f"name: g\nnodes: {{n: {{type: rule, rules: [{rule.replace('§', '')}]}}}}")
    assert [each.partition(" ")[2] for each in problems] == [code]


APPENDING = """
name: g
context: {{merge: {{{merge}}}}}
nodes:
  a: {{type: rule, rules: [{{append: {{log: 1, order.log: 1}}}}]}}
  b: {{type: rule, rules: [{{append: {{log: 2}}, then: {{n: 1}}}}]}}
"""


@pytest.mark.parametrize("merge", ["log: sum", "log: max", "order: min", "order.log: sum"])
def test_a_reducer_of_numbers_for_a_list_that_rules_append_to_is_an_error_at_its_policy(merge: str) -> None:
    (found,) = told(APPENDING.format(merge=merge))
    assert found.split(" ")[1] == "MERGE_OF_LIST"


@pytest.mark.parametrize("merge", ["log: append", "log: union", "n: sum", "order: sum, order.log: append"])
def test_other_policies_of_paths_that_are_appended_to_are_none(merge: str) -> None:
    assert [each for each in told(APPENDING.format(merge=merge)) if "MERGE_OF_LIST" in each] == []
