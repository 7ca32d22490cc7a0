"""`on_failure: {use: …}`: where a node fails, the run goes on with values that the graph gives, and says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from anabranch.errors import GraphError
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.drawing.tree import tree
from anabranch.graph.load import canonical, load_text, written_out
from anabranch.graph.model import Graph
from anabranch.graph.policies import Fallback
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
from tests.unit.machine_kit import (
    RUN,
    Outcome,
    Play,
    cancelled,
    edge,
    failure,
    machine_of,
    python,
    timeout,
)

BROKEN = failure("BROKEN")
USE: dict[str, Any] = {"on_failure": {"use": {"rate": 1.0}}}
SAID = "failed (BROKEN), and the run went on with its `on_failure`"


def played(
    node: Mapping[str, Any],
    script: Mapping[str, Outcome] | None = None,
    *,
    data: Mapping[str, Any] | None = None,
    edges: tuple[dict[str, Any], ...] = (edge("a", "b"),),
    **fields: Any,
) -> Play:
    nodes = {"a": node, "b": python(), **fields.pop("beside", {})}
    graph = {"nodes": nodes, "edges": list(edges), **fields}
    return Play(machine_of(graph, data), {"a": BROKEN} if script is None else script)


@pytest.mark.parametrize("failed", [BROKEN, timeout(), cancelled()], ids=lambda each: each.outcome)
def test_the_run_goes_on_with_the_values_however_the_node_failed(failed: Outcome) -> None:
    play = played(python(output={"rate": "result.rate"}, **USE), {"a": failed}, data={"x": 1})
    assert play.run().line.data == {"x": 1, "rate": 1.0}
    assert play.seen["b"] == {"x": 1, "rate": 1.0}


def test_a_node_that_succeeds_writes_its_own_values() -> None:
    play = played(python(**USE), {"a": {"rate": 7}})
    finish = play.run()
    assert finish.line.data == {"rate": 7}
    assert "warnings" not in views.result(play.state, finish, "s")


def test_values_are_templates_over_the_context_that_the_node_saw_and_its_error() -> None:
    values = {"rate": "{{ last * 2 }}", "why": "{{ error.type }} at {{ error.node }}", "fixed": [True, None]}
    play = played(python(on_failure={"use": values}), data={"last": 2})
    assert play.run().line.data == {"last": 2, "rate": 4, "why": "BROKEN at a", "fixed": [True, None]}


def test_the_names_of_its_input_are_gone_when_the_node_has_failed() -> None:
    own = played(python(input={"far": 2}, on_failure={"use": {"rate": "{{ far }}"}}), data={"far": 5})
    assert own.run().line.data["rate"] == 5


def test_the_trail_the_status_and_the_result_say_that_and_why() -> None:
    play = played(python(**USE))
    finish = play.run()
    (version,) = [each for each in play.state.trail.versions if each.kind == "fallback"]
    assert (version.by, version.changes.set, version.changes.warnings) == ("a", {("rate",): 1.0}, (SAID,))
    assert views.result(play.state, finish, "s")["warnings"] == [{"by": "a", "warning": SAID}]
    status: Any = views.status(play.state)
    assert status["warnings"] == [{"by": "a", "warning": SAID}]
    assert (status["nodes"]["a"]["status"], status["nodes"]["a"]["error"]["type"]) == ("failed", "BROKEN")
    assert SAID in views.details(play.state)


def test_values_that_were_there_already_are_told_too() -> None:
    play = played(python(**USE), data={"rate": 1.0})
    finish = play.run()
    assert views.result(play.state, finish, "s")["warnings"] == [{"by": "a", "warning": SAID}]


def test_it_takes_the_edges_of_a_success_and_those_that_are_always_taken() -> None:
    edges = (
        edge("a", "high", when="rate > 5"),
        edge("a", "low", otherwise=True),
        edge("a", "b", outcome="always"),
    )
    play = played(python(**USE), edges=edges, beside={"high": python(), "low": python()})
    play.run()
    assert play.ran == ["a", "low", "b"]
    assert play.machine.state.roots(play.state.root, play.state.root.nodes["b"])["error"] == BROKEN.root() | {
        "node": "a"
    }


def test_nodes_behind_it_merge_its_values_as_those_of_a_branch() -> None:
    beside = {"other": python(), "start": python()}
    edges = (edge("start", "a"), edge("start", "other"), edge("a", "b"), edge("other", "b"))
    play = played(
        python(**USE), {"a": BROKEN, "other": {"rate": 2.0}}, edges=edges, beside=beside,
        context={"merge": {"rate": "sum"}}, data={"rate": 0},
    )  # fmt: skip
    assert play.run().line.data == {"rate": 3.0}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"rate": "{{ 1 / zero }}"}, "divide by zero"),
        ({"rate": "text"}, "rate: 'text' is not of type 'number'"),
        ({"run": 1}, "'run' is a reserved name"),
    ],
)
def test_values_that_cannot_be_written_fail_the_node_with_both_errors(values: dict[str, Any], why: str) -> None:
    schema = {"properties": {"rate": {"type": "number"}}}
    play = played(python(on_failure={"use": values}), context={"schema": schema}, data={"zero": 0})
    finish = play.run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node, play.ran) == ("BROKEN", "a", ["a"])
    assert finish.failure.message.startswith("it broke; then: ")
    assert why in finish.failure.message


@pytest.mark.parametrize(("failed", "undone"), [(BROKEN, ["first"]), (timeout(), ["a", "first"])])
def test_the_node_is_undone_later_only_where_it_may_have_had_its_effect(failed: Outcome, undone: list[str]) -> None:
    beside = {"first": python(compensate=python())}
    edges = (edge("first", "a"), edge("a", "b"))
    play = played(python(compensate=python(), **USE), {"a": failed, "b": BROKEN}, edges=edges, beside=beside)
    assert list(play.run().compensated) == undone
    assert all(play.seen[f"undo {each}"] == {} for each in undone)  # the context as the node itself left it


BODIES: dict[str, dict[str, Any]] = {
    "foreach": {"type": "foreach", "items": "[1, 2]", "collect": {"into": "all", "value": "item"}},
    "while": {"type": "while", "while": "index < 2"},
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_composite_that_fails_gives_way_to_its_values(kind: str) -> None:
    node = {**BODIES[kind], "body": {"nodes": {"p": python()}}, **USE}
    play = played(node, {"a[0]/p": {"x": 1}, "a[1]/p": BROKEN})
    assert play.run().line.data == {"rate": 1.0}
    assert play.ran[-1] == "b"


def test_a_composite_goes_on_with_its_values_only_after_its_last_attempt() -> None:
    step = python(compensate=python())
    body = {"nodes": {"p": step, "q": python()}, "edges": [edge("p", "q")]}
    node = {"type": "foreach", "items": "[1]", "body": body, "retry": {"max_attempts": 2}, **USE}
    play = played(node, {"a[0]/q": BROKEN, "a~2[0]/q": BROKEN})
    assert play.run().line.data == {"rate": 1.0}
    assert play.ran == ["a[0]/p", "a[0]/q", "undo a[0]/p", "a", "a~2[0]/p", "a~2[0]/q", "b"]


def test_of_fallbacks_in_a_body_the_node_around_it_tells_once() -> None:
    body = {"nodes": {"p": python(**USE)}}
    node = {"type": "foreach", "items": "[1, 2, 3]", "body": body, "collect": {"into": "rates", "value": "rate"}}
    play = played(node, {"a[0]/p": BROKEN, "a[1]/p": {"rate": 5}, "a[2]/p": timeout()})
    finish = play.run()
    assert finish.line.data == {"rates": [1.0, 5, 1.0]}
    told = (
        "in 2 of 3 items a node failed and was passed over: a[0]/p (BROKEN, its fallback was used), "
        "a[2]/p (TIMEOUT, its fallback was used)"
    )
    assert views.result(play.state, finish, "s")["warnings"] == [{"by": "a", "warning": told}]
    fallbacks = [each for each in play.state.trail.versions if each.kind == "fallback"]
    assert [each.by for each in fallbacks] == ["a[0]/p", "a[2]/p"]
    assert fallbacks[0].changes.warnings == (SAID,)


def test_a_branch_that_lost_a_race_writes_its_values_for_itself_alone() -> None:
    nodes = {"near": python(), "far": python(**USE), "later": python(), "won": python(join="first")}
    edges = [edge("near", "won"), edge("far", "later"), edge("later", "won")]
    play = Play(machine_of({"nodes": nodes, "edges": edges}), {"far": BROKEN}).start()
    for address in ("near", "far"):
        play.answer(address)
    assert play.seen["later"] == {"rate": 1.0}
    assert play.finish().line.data == {}
    assert [each.kind for each in play.state.trail.versions] == ["input"]


def test_a_run_that_continued_as_new_behind_a_fallback_has_its_values_and_says_so() -> None:
    graph = {"nodes": {"a": python(**USE), "nap": {"type": "wait", "for": "1h"}}, "edges": [edge("a", "nap")]}
    play = Play(machine_of({**graph, "name": "g"}), {"a": BROKEN}).start()
    play.answer("a")
    state = RunState(play.state.plan, {}, run=RUN)
    snapshot.load(state, json.loads(json.dumps(snapshot.dump(play.state))))
    again = Play(Machine(state))
    again.take(again.machine.resume_from_snapshot(play.now))
    finish = again.finish()
    assert finish.line.data == {"rate": 1.0}
    assert views.result(state, finish, "s")["warnings"] == [{"by": "a", "warning": SAID}]


# the language

NODE = "a: {type: python, handler: h, output: {rate: result.rate}, on_failure: {use: %s}}"


def found(use: str, edges: str = "[]", more: str = "") -> list[str]:
    text = f"name: g\nnodes:\n  {NODE % use}\n{more}edges: {edges}\n"
    try:
        return [f"{str(each.place).removeprefix('g:')} {each.code}" for each in load_text(text, "g").warnings]
    except GraphError as error:
        return [f"{str(each.place).removeprefix('g:')} {each.code}" for each in error.problems]


RULE = "  b: {type: rule, rules: [{then: {y: '{{ rate }}'}}]}\n"


@pytest.mark.parametrize("outcome", ["failure", "timeout", "[failure, timeout]", "[success, failure]"])
def test_an_edge_for_the_same_outcome_is_an_error(outcome: str) -> None:
    assert found("{rate: 1}", f"[{{from: a, to: b, outcome: {outcome}}}]", RULE) == ["5:26 EDGE_FALLBACK"]


@pytest.mark.parametrize("outcome", ["success", "always"])
def test_edges_of_a_success_stand_beside_it(outcome: str) -> None:
    assert found("{rate: 1}", f"[{{from: a, to: b, outcome: {outcome}}}]", RULE) == []


@pytest.mark.parametrize("use", ["1", "{}", "[1]", "text"])
def test_use_is_an_object_with_at_least_one_key(use: str) -> None:
    assert [each.split()[-1] for each in found(use)] == ["VALUE_INVALID"]


def test_a_misspelt_word_is_refused_with_the_right_one() -> None:
    with pytest.raises(GraphError) as caught:
        load_text("name: g\nnodes: {a: {type: python, handler: h, on_failure: contineu}}", "g")
    (problem,) = caught.value.problems
    assert (problem.code, problem.suggestion) == ("VALUE_INVALID", "did you mean `continue`?")


def test_its_expressions_are_checked_at_their_place_and_may_use_the_error() -> None:
    assert found('{rate: "{{ 1 + }}"}') == ["3:94 EXPRESSION_INVALID"]
    assert found('{rate: "{{ error.code }}"}') == []


def test_what_it_reads_is_an_input_unless_the_node_s_own_input_has_the_name_alone() -> None:
    use = "{rate: '{{ last }}'}"
    graph = load_text(f"name: g\nnodes:\n  {NODE % use}\n").graph
    assert set(graph_inputs(graph)) == {"last"}
    text = (
        "name: g\nnodes:\n  a: {type: rule, input: {far: '{{ x }}'}, rules: [{then: {rate: '{{ far }}'}}],"
        " on_failure: {use: {rate: '{{ far }}'}}}\n"
    )
    assert [each.code for each in load_text(text, "g").warnings] == ["INPUT_NOT_VISIBLE"]


@pytest.mark.parametrize(("use", "codes"), [("{rate: 1}", []), ("{other: 1}", ["4:42 KEY_MAYBE_MISSING"])])
def test_a_key_is_surely_there_where_both_the_node_and_its_fallback_write_it(use: str, codes: list[str]) -> None:
    assert found(use, "[{from: a, to: b}]", RULE) == codes


def test_its_reserved_and_rival_keys_are_found() -> None:
    assert found("{run: 1}") == ["3:81 NAME_RESERVED"]
    more = "  b: {type: rule, rules: [{then: {other: 1}}]}\n"
    assert [each.split()[-1] for each in found("{other: 1}", more=more)] == ["PARALLEL_WRITES"]


def test_the_canonical_text_and_the_pinned_one_keep_it() -> None:
    graph = load_text(f"name: g\nnodes:\n  {NODE % '{rate: 1.5}'}\n").graph
    assert json.loads(canonical(graph))["nodes"]["a"]["on_failure"] == {"use": {"rate": 1.5}}
    assert Graph.model_validate_json(written_out(graph)).nodes["a"].on_failure == Fallback(use={"rate": 1.5})


def test_the_tree_says_what_the_run_goes_on_with() -> None:
    graph = load_text(f"name: g\nnodes:\n  {NODE % '{rate: 1.5, why: x}'}\n").graph
    assert "      on failure goes on with rate, why" in tree(graph, details=True).splitlines()
