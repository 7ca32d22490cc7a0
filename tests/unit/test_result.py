"""`result` of a graph: what a run comes to, and what another graph gets of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow

from anabranch.errors import GraphError
from anabranch.events.event_workflow import EventContext, EventRun, _after
from anabranch.graph.checks.schemas import graph_json_schema
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.load import LoadedGraph, load_graph, load_text
from anabranch.graph.plan import plan_graph
from anabranch.limits import PAYLOAD_BYTES
from anabranch.settings import Settings
from anabranch.testkit.play import Evaluate, Played, Script, play
from anabranch.testkit.rules import rule_evaluator
from anabranch.workflows.interpreter import views
from tests.unit.machine_kit import Play, edge, failure, machine_of, python
from tests.unit.test_snapshot import through_json

SUM = {"a": {"type": "rule", "rules": [{"then": {"net": "{{ price * 2 }}", "draft": True}}]}}
BILL: dict[str, Any] = {"name": "bill", "nodes": {"a": python()}, "result": {"total": "net * 2", "of": "price"}}


@pytest.fixture(scope="module")
def evaluate() -> Iterator[Evaluate]:
    with rule_evaluator(Settings()) as evaluator:
        yield evaluator


def data_of(play: Play) -> Any:
    return views.result(play.state, play.finish(), "order-1")["data"]


def bill(**fields: Any) -> dict[str, Any]:
    return {"nodes": {"b": {"type": "graph", "graph": "bill", **fields}}}


def warnings(text: str) -> list[tuple[str, str]]:
    return [(one.code, str(one.place)) for one in load_text(f"name: g\n{text}").warnings]


def problems(text: str) -> list[tuple[str, str]]:
    with pytest.raises(GraphError) as refused:
        load_text(f"name: g\n{text}")
    return [(one.code, str(one.place)) for one in refused.value.problems if not one.warning]


def test_the_data_of_a_run_is_its_result_alone() -> None:
    play = Play(machine_of({"nodes": {"a": python()}, "result": {"total": "n + 1", "by": "run.session_id"}}))
    play.script = {"a": {"n": 4, "draft": True}}
    play.run()
    assert data_of(play) == {"total": 5, "by": "order-1"}
    assert play.machine.context().data == {"n": 4, "draft": True}


def test_an_empty_result_is_no_data() -> None:
    play = Play(machine_of({"nodes": {"a": python()}, "result": {}}), {"a": {"n": 4}})
    play.run()
    assert data_of(play) == {}


def test_the_result_is_that_of_all_branches_after_they_have_met() -> None:
    play = Play(machine_of({"nodes": {"a": python(), "b": python()}, "result": {"sum": "x + y"}}))
    play.script = {"a": {"x": 1}, "b": {"y": 2}}
    play.run()
    assert data_of(play) == {"sum": 3}


def test_a_result_that_fails_fails_the_run_with_its_place_and_undoes_it() -> None:
    undone = python(compensate={"type": "python", "handler": "h", "reads": []})
    play = Play(machine_of({"nodes": {"a": undone}, "result": {"total": "1 / n"}}), {"a": {"n": 0}})
    finish = play.run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("EXPRESSION_FAILED", "(end)")
    assert finish.failure.message.startswith("`result.total` of graph 'g': `1 / n`")
    assert finish.compensated == ("a",)
    assert play.ran == ["a", "undo a"]
    assert views.run_status(play.state) == "failed"


def test_a_result_over_the_limit_of_the_server_fails_the_run() -> None:
    play = Play(machine_of({"nodes": {"a": python()}, "result": {"x": "text", "twice": "text + text"}}))
    play.script = {"a": {"text": "x" * (PAYLOAD_BYTES // 3 + 1)}}
    finish = play.run()
    assert finish.failure is not None
    assert finish.failure.code == "SIZE_LIMIT_EXCEEDED"
    assert "the `result` of the graph" in finish.failure.message
    assert "the largest key is 'twice'" in finish.failure.message


def test_a_failed_run_and_a_cancelled_one_have_no_result() -> None:
    graph = {"nodes": {"a": python()}, "result": {"total": "n"}}
    failed = Play(machine_of(graph), {"a": failure()})
    assert failed.run().given is None
    cancelled = Play(machine_of(graph)).start()
    cancelled.take(cancelled.machine.cancel("enough", 2))
    assert cancelled.finish().given is None
    assert views.run_status(cancelled.state) == "cancelled"


def test_a_run_that_continued_as_new_has_its_result() -> None:
    graph = {"nodes": {"a": python(), "w": {"type": "wait", "for": 1}}, "edges": [edge("a", "w")]}
    play = Play(machine_of({**graph, "result": {"total": "n * 2"}}), {"a": {"n": 21}}).start()
    play.answer("a")
    play.machine = through_json(play.machine, play.state.plan)
    play.pending.clear()
    play.take(play.machine.resume_from_snapshot(play.now))
    play.finish()
    assert data_of(play) == {"total": 42}


@pytest.mark.parametrize("mode", ["inline", "child_workflow"])
def test_a_graph_node_gets_the_result_of_the_other_graph_and_nothing_else(mode: str) -> None:
    play = Play(machine_of(bill(mode=mode), {"price": 3, "total": 0}, bill=BILL))
    play.script = {"b/a": {"net": 6, "draft": True}, "b": {"total": 12, "of": 3}}
    play.run()
    assert data_of(play) == {"price": 3, "total": 12, "of": 3}


def test_the_output_of_an_inline_graph_sees_its_result() -> None:
    play = Play(machine_of(bill(output={"gross": "result.total", "keys": "size(result)"}), {"price": 3}, bill=BILL))
    play.script = {"b/a": {"net": 6}}
    play.run()
    assert data_of(play) == {"price": 3, "gross": 12, "keys": 2}


def test_a_result_that_fails_inside_is_the_failure_of_the_node_around() -> None:
    graph = bill()
    graph["nodes"]["c"] = python()
    graph["edges"] = [edge("b", "c", outcome="failure")]
    play = Play(machine_of(graph, {"price": 3}, bill=BILL))
    play.script = {"b/a": {"net": "no number"}, "c": {"handled": True}}
    assert play.run().failure is None
    assert play.ran == ["b/a", "c"]
    assert data_of(play) == {"price": 3, "handled": True}


def test_a_loop_over_a_graph_goes_on_with_its_results_alone() -> None:
    step = {"nodes": {"a": python()}, "result": {"n": "n + step"}, "name": "bill"}
    nodes = {"w": {"type": "while", "while": "n < 3", "body": {"graph": "bill"}}}
    play = Play(machine_of({"nodes": nodes}, {"n": 0}, bill=step))
    play.script = {f"w[{index}]/a": {"step": 2} for index in range(3)}
    play.run()
    assert data_of(play) == {"n": 4}


def test_items_of_a_graph_leave_its_results_alone() -> None:
    each = {"nodes": {"a": python()}, "result": {"sum": "sum + item"}, "name": "bill"}
    loop = {"type": "foreach", "items": "[1, 2, 3]", "body": {"graph": "bill"}}
    play = Play(machine_of({"nodes": {"f": loop}, "context": {"merge": {"sum": "sum"}}}, {"sum": 10}, bill=each))
    play.script = {f"f[{index}]/a": {"draft": index} for index in range(3)}
    play.run()
    assert data_of(play) == {"sum": 16}


def test_collect_sees_the_results_of_the_items() -> None:
    each = {"nodes": {"a": python()}, "result": {"twice": "item * 2"}, "name": "bill"}
    collect = {"into": "all", "value": "twice"}
    loop = {"type": "foreach", "items": "[1, 2]", "body": {"graph": "bill"}, "collect": collect}
    play = Play(machine_of({"nodes": {"f": loop}}, bill=each))
    play.run()
    assert data_of(play) == {"all": [2, 4]}


def test_an_event_is_published_with_the_result() -> None:
    context = EventContext("e", {"price": 3}, 1, 1, 1)
    event = EventRun("bill", "e", "q", context, "json", "1", "done", "dead")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workflow, "now", lambda: datetime(2026, 1, 1, tzinfo=UTC))
        assert _after(event, {"data": {"total": 12}, "version": 2}).data == {"total": 12}


def test_what_the_result_reads_and_nobody_writes_is_an_input() -> None:
    graph = load_text('name: g\nnodes: {a: {type: rule, rules: [{then: {x: 1}}]}}\nresult: {s: "x + y + context.z"}')
    assert graph_inputs(graph.graph) == {"y": ("result", "s")}


RULES = "nodes: {a: {type: rule, rules: [{when: vip, then: {discount: 5}}, {then: {total: 9}}]}}\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("result: {x: totel}", [("KEY_SIMILAR", "<inline>:3:13")]),
        ("result: {x: total + discount}", [("KEY_MAYBE_MISSING", "<inline>:3:21")]),
        ('result: {x: "has(context.discount) ? discount : total"}', []),
    ],
)
def test_warnings_of_a_result(text: str, found: list[tuple[str, str]]) -> None:
    assert warnings(RULES + text) == found


def test_two_cases_of_a_decision_may_both_write_what_the_result_reads() -> None:
    assert not warnings("""
nodes:
  a: {type: rule, rules: [{then: {ok: "{{ n > 1 }}"}}]}
  b: {type: rule, rules: [{then: {state: good}}]}
  c: {type: rule, rules: [{then: {state: bad}}]}
edges: [{from: a, to: b, when: ok}, {from: a, to: c, when: "!ok"}]
result: {state: state}
""")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("result: {x: total +}", [("EXPRESSION_INVALID", "<inline>:3:19")]),
        ("result: {run: total}", [("NAME_RESERVED", "<inline>:3:10")]),
        ("context: {schema: {properties: {vip: {}}}}\nresult: {x: other}", [("KEY_UNKNOWN", "<inline>:4:13")]),
        ("result: [total]", [("VALUE_INVALID", "<inline>:3:1")]),
        ("result: {x: 1}", [("VALUE_INVALID", "<inline>:3:13")]),
    ],
)
def test_errors_of_a_result(text: str, found: list[tuple[str, str]]) -> None:
    assert problems(RULES + text) == found


INNER = "name: inner\nnodes: {a: {type: rule, rules: [{then: {net: 1, rate: 2}}]}}\nresult: {total: net * rate}\n"
SCHEMA = "context: {schema: {properties: {unused: {}}}}\n"


def outer(folder: Path, node: str, read: str) -> LoadedGraph:
    (folder / "inner.yaml").write_text(INNER)
    body = f"nodes:\n  b: {node}\n  c: {{type: rule, rules: [{{then: {{seen: '{{{{ {read} }}}}'}}}}]}}\n"
    (folder / "outer.yaml").write_text(f"name: outer\n{SCHEMA}{body}edges: [{{from: b, to: c}}]\n")
    return load_graph(folder / "outer.yaml")


NODES = [
    "{type: graph, graph: inner}",
    "{type: graph, graph: inner, mode: child_workflow, input: {}}",
    '{type: while, while: "index < 1", body: {graph: inner}}',
]


@pytest.mark.parametrize("node", NODES)
def test_the_checks_know_which_keys_a_graph_gives_back(node: str, tmp_path: Path) -> None:
    assert not outer(tmp_path, node, "total").warnings
    with pytest.raises(GraphError) as refused:
        outer(tmp_path, node, "net")
    (problem,) = refused.value.problems
    assert problem.code == "KEY_UNKNOWN"


def test_two_graphs_at_once_meet_only_in_what_they_give_back(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(INNER)
    nodes = "b: {type: graph, graph: inner}, c: {type: rule, rules: [{then: {KEY: 3}}]}"
    found = {}
    for key in ("net", "total"):
        (tmp_path / "outer.yaml").write_text(f"name: outer\nnodes: {{{nodes.replace('KEY', key)}}}\n")
        found[key] = [one.code for one in load_graph(tmp_path / "outer.yaml").warnings]
    assert found == {"net": [], "total": ["PARALLEL_WRITES"]}


def test_the_dry_run_of_a_child_gives_its_result(tmp_path: Path, evaluate: Evaluate) -> None:
    (tmp_path / "inner.yaml").write_text(INNER)
    node = "{type: graph, graph: inner, mode: child_workflow, input: {}}"
    (tmp_path / "outer.yaml").write_text(f"name: outer\nnodes: {{b: {node}}}\nresult: {{all: total}}\n")
    loaded = load_graph(tmp_path / "outer.yaml")
    run: Played = play(plan_graph(loaded.graph, loaded.graphs), Script({}, {}, assume=True), evaluate)
    assert (run.data, run.result) == ({"total": 2}, {"all": 2})


def test_what_only_the_result_reads_is_assumed_of_code(evaluate: Evaluate) -> None:
    loaded = load_text("name: g\nnodes: {a: {type: python, handler: h, reads: []}}\nresult: {total: total}")
    run = play(plan_graph(loaded.graph), Script({}, {}, assume=True), evaluate)
    assert run.result == {"total": 1}


def test_editors_know_the_result() -> None:
    assert "result" in graph_json_schema()["properties"]
