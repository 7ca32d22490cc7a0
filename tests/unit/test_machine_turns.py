"""`while` in the interpreter: its two conditions, the name `turn`, the limit of its turns, and `collect`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from anabranch.errors import GraphError
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.drawing.summary import summary
from anabranch.graph.load import load_text
from anabranch.graph.model import Graph
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.commands import RunNode, StartTimer
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
from tests.unit.machine_kit import RUN, Play, edge, failure, machine_of, python

COLLECT = {"into": "found", "value": "context.x"}


def loop(*, inner: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"type": "while", "body": {"nodes": inner or {"t": python()}}, **fields}


def graph(node: Mapping[str, Any], **edges: Any) -> dict[str, Any]:
    return {"nodes": {"node": node, "after": python()}, "edges": [edge("node", "after", **edges)]}


def counting(node: Mapping[str, Any], data: Mapping[str, Any] | None = None, **fields: Any) -> Play:
    """A loop whose turn 1 writes `x = 1`, and so on."""
    play = Play(machine_of({**graph(node), **fields}, data), pick=last)
    play.script = {f"node[{index}]/t": {"x": index + 1} for index in range(9)}
    return play


def last(pending: list[str]) -> str:
    """The work of the node, where its time-out is pending too."""
    return pending[-1]


def resumed(play: Play, at: int) -> Play:
    fresh = RunState(play.state.plan, {}, run=RUN)
    snapshot.load(fresh, json.loads(json.dumps(snapshot.dump(play.state))))
    again = Play(Machine(fresh), play.script, pick=last)
    again.take(again.machine.resume_from_snapshot(at))
    return again


def turns(play: Play) -> list[str]:
    return [each for each in play.ran if each.startswith("node[")]


def test_until_is_asked_behind_each_turn_of_the_context_that_it_left() -> None:
    play = counting(loop(until="x == 3"))
    assert play.run().line.data == {"x": 3}
    assert play.ran == ["node[0]/t", "node[1]/t", "node[2]/t", "after"]


def test_until_that_holds_from_the_start_has_one_turn() -> None:
    play = counting(loop(until="true"))
    assert play.run().line.data == {"x": 1}
    assert turns(play) == ["node[0]/t"]


@pytest.mark.parametrize("condition", [{"while": "turn <= 3"}, {"until": "turn == 3"}, {"until": "index == 2"}])
def test_the_condition_sees_the_number_of_the_turn_that_it_decides_on(condition: dict[str, Any]) -> None:
    play = counting(loop(**condition))
    play.run()
    assert len(turns(play)) == 3


def test_the_body_sees_its_turn_and_a_loop_inside_has_turns_of_its_own() -> None:
    deep = loop(until="turn == 2", inner={"t": python()})
    play = counting(loop(until="turn == 2", inner={"t": python(), "deep": deep})).start()
    seen: dict[str, Any] = {}
    while play.pending:
        for address, command in play.pending.items():
            if isinstance(command, RunNode) and address != "after":
                seen[address] = (command.roots["turn"], command.roots["index"])
        play.answer(next(iter(play.pending)))
    assert seen == {
        "node[0]/t": (1, 0),
        "node[0]/deep[0]/t": (1, 0),
        "node[0]/deep[1]/t": (2, 1),
        "node[1]/t": (2, 1),
        "node[1]/deep[0]/t": (1, 0),
        "node[1]/deep[1]/t": (2, 1),
    }


@pytest.mark.parametrize("condition", [{"while": "true"}, {"until": "false"}])
def test_a_loop_fails_at_its_limit(condition: dict[str, Any]) -> None:
    play = counting(loop(max_iterations=2, **condition))
    finish = play.run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("NODE_FAILED", "node")
    assert "after max_iterations = 2 turns" in finish.failure.message
    assert len(turns(play)) == 2


@pytest.mark.parametrize(
    ("condition", "said"), [({"while": "true"}, "the condition still holds"), ({"until": "false"}, "`until` does not")]
)
def test_a_loop_that_continues_at_its_limit_keeps_what_its_turns_did_and_warns(
    condition: dict[str, Any], said: str
) -> None:
    play = counting(loop(max_iterations=2, on_limit="continue", **condition))
    finish = play.run()
    assert finish.line.data == {"x": 2}
    assert play.seen["after"] == {"x": 2}
    ((by, warning),) = play.state.trail.warnings
    assert (by, said in warning, warning.endswith("after max_iterations = 2 turns")) == ("node", True, True)
    assert views.status(play.state)["warnings"] == [{"by": "node", "warning": warning}]
    assert views.result(play.state, finish, "s")["warnings"] == [{"by": "node", "warning": warning}]


@pytest.mark.parametrize("condition", [{"while": "turn <= 2"}, {"until": "turn == 2"}])
def test_a_loop_that_is_over_at_its_limit_has_not_reached_it(condition: dict[str, Any]) -> None:
    play = counting(loop(max_iterations=2, **condition))
    assert play.run().failure is None
    assert play.state.trail.warnings == []


def test_collect_writes_one_value_of_each_turn_and_keeps_the_rest_local() -> None:
    play = counting(loop(until="x == 3", collect={"into": "found", "value": "x * 10 + turn + index"}))
    assert play.run().line.data == {"found": [11, 23, 35]}
    assert [play.seen[f"node[{index}]/t"] for index in range(3)] == [{}, {"x": 1}, {"x": 2}]


def test_a_loop_without_turns_collects_an_empty_list() -> None:
    never: dict[str, Any] = {"while": "false"}
    assert counting(loop(**never, collect=COLLECT)).run().line.data == {"found": []}


def test_collect_at_the_limit_writes_what_there_is() -> None:
    play = counting(loop(until="false", max_iterations=2, on_limit="continue", collect=COLLECT))
    assert play.run().line.data == {"found": [1, 2]}
    assert len(play.state.trail.warnings) == 1


def test_names_of_the_nodes_input_are_seen_by_until_and_collect() -> None:
    node = loop(until="x == most", input={"most": "{{ top }}"}, collect={"into": "found", "value": "most"})
    assert counting(node, {"top": 2}).run().line.data == {"top": 2, "found": [2, 2]}


@pytest.mark.parametrize("field", ["until", "collect"])
def test_a_condition_or_value_that_fails_fails_the_node(field: str) -> None:
    collect = {**COLLECT, "value": "x / 0"} if field == "collect" else None
    finish = counting(loop(until="x / 0 > 1" if field == "until" else "true", collect=collect)).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("EXPRESSION_FAILED", "node")


def test_after_continue_as_new_a_loop_goes_on_with_what_it_has_collected() -> None:
    inner = {"t": python(), "nap": {"type": "wait", "for": "1h"}}
    node = loop(until="turn == 3", inner=inner, collect={"into": "found", "value": "turn * 10 + x"})
    play = counting(node).start()
    for _ in range(2):
        for name in ("t", "nap"):
            play.answer(next(each for each in play.pending if each.endswith(f"/{name}")))
    play.answer("node[2]/t")
    again = resumed(play, play.now + 1)
    assert [type(each) for each in again.pending.values()] == [StartTimer]
    assert again.finish().line.data == {"found": [11, 22, 33]}


def test_another_attempt_of_a_loop_begins_with_its_first_turn_and_nothing_collected() -> None:
    node = loop(until="turn == 2", collect=COLLECT, retry={"max_attempts": 2}, inner={"t": python(compensate=python())})
    play = counting(node)
    play.script = {**play.script, "node[1]/t": failure("BROKEN"), "node~2[0]/t": {"x": 5}, "node~2[1]/t": {"x": 6}}
    assert play.run().line.data == {"found": [5, 6]}
    assert play.ran == ["node[0]/t", "node[1]/t", "undo node[0]/t", "node", "node~2[0]/t", "node~2[1]/t", "after"]


def test_a_run_that_is_cancelled_undoes_the_turns_from_the_last_one_back() -> None:
    play = counting(loop(until="turn == 5", inner={"t": python(compensate=python())})).start()
    for index in range(2):
        play.answer(f"node[{index}]/t")
    play.take(play.machine.cancel("enough", play.now))
    assert play.finish().compensated == ("node[2]/t", "node[1]/t", "node[0]/t")


def test_steps_of_a_loop_that_continued_at_its_limit_are_undone_with_the_run() -> None:
    inner = {"t": python(compensate=python())}
    play = counting(loop(until="false", max_iterations=2, on_limit="continue", inner=inner))
    play.script = {"after": failure()}
    assert play.run().compensated == ("node[1]/t", "node[0]/t")


def test_a_run_that_is_paused_starts_no_other_turn() -> None:
    play = counting(loop(until="turn == 2")).start()
    play.state.is_paused = True
    play.answer("node[0]/t")
    assert list(play.pending) == []
    play.state.is_paused = False
    play.take(play.machine.resume(play.now))
    assert list(play.pending) == ["node[1]/t"]
    assert play.finish().line.data == {"x": 2}


def test_what_a_loop_collects_is_all_that_it_writes_for_the_checks() -> None:
    text = (
        "name: g\nnodes:\n"
        "  node: {type: while, until: x > 3, collect: {into: found, value: x},\n"
        '    body: {nodes: {t: {type: rule, rules: [{then: {x: "{{ turn }}"}}]}}}}\n'
        '  after: {type: rule, rules: [{then: {n: "{{ size(found) + x }}"}}]}\n'
        "edges: [{from: node, to: after}]\n"
    )
    assert graph_inputs(load_text(text, "g").graph).keys() == {"x"}


def test_a_body_may_not_write_turn() -> None:
    body = "{nodes: {t: {type: rule, rules: [{then: {turn: 1}}]}}}"
    with pytest.raises(GraphError) as found:
        load_text(f"name: g\nnodes: {{n: {{type: while, until: 'true', body: {body}}}}}", "g")
    assert [each.code for each in found.value.problems] == ["NAME_RESERVED"]


def test_a_drawing_says_until_when() -> None:
    drawn = Graph.model_validate({"name": "g", "nodes": {"node": loop(until="x == 3")}})
    assert summary(drawn.nodes["node"]) == "until x == 3"
