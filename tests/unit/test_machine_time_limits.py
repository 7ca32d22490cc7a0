"""A `timeout` that a run makes of a template: of work, of people, of bodies, of children, of a `finally`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.load import load_text, written_out
from anabranch.graph.model import Graph
from anabranch.workflows.interpreter.commands import DEADLINE, AskPerson, RunNode, StartTimer
from tests.unit.machine_kit import Play, edge, failure, machine_of, python
from tests.unit.test_finally import codes
from tests.unit.test_machine_blocks import carried, deadline
from tests.unit.test_machine_routes import planned, started

LIMIT = "{{ minutes }}m"
DATA = {"minutes": 5}
NAP = {"type": "wait", "for": "1h"}
CHILD = {"type": "graph", "graph": "sub", "mode": "child_workflow", "timeout": LIMIT}
SUB = {"name": "sub", "nodes": {"p": python()}}


def seconds(play: Play) -> float:
    command = play.pending[deadline(play)]
    assert isinstance(command, StartTimer)
    return command.seconds


@pytest.mark.parametrize("limit", [LIMIT, "{{ minutes * 60 }}", "{{ string(minutes) + 'm' }}", "{{ 300.0 }}"])
def test_an_activity_has_the_time_that_the_run_makes(limit: str) -> None:
    assert planned(started(python(timeout=limit), DATA), "a").node.timeout == timedelta(minutes=5)


def test_a_person_has_the_time_that_the_run_makes_and_the_rest_of_it_after_continue_as_new() -> None:
    soon = "{{ run.time < '1970-01-01T00:01:00Z' ? 300 : 9999 }}"
    play = started({"type": "approval", "prompt": "p", "timeout": soon}, {})
    asked = play.pending["a"]
    assert isinstance(asked, AskPerson)
    assert asked.timeout == 300
    play.now += 100_000
    again = carried(play).pending["a"]
    assert isinstance(again, AskPerson)
    assert again.timeout == 200


def test_a_body_has_the_time_that_the_run_makes_and_the_rest_of_it_after_continue_as_new() -> None:
    soon = "{{ run.time < '1970-01-01T00:01:00Z' ? 300 : 9999 }}"
    play = started({"type": "block", "timeout": soon, "nodes": {"nap": NAP}}, {})
    assert seconds(play) == 300
    play.now += 100_000
    again = carried(play)
    assert seconds(again) == 200
    again.answer(deadline(again))
    run = again.state.root.nodes["a"]
    assert run.failure is not None
    assert (run.failure.code, run.failure.message) == (
        "TIMEOUT",
        "node 'a' did not end within its `timeout` of 300 s",
    )


def test_each_item_and_each_attempt_has_a_time_of_its_own() -> None:
    inner = {"type": "block", "timeout": "{{ item }}s", "nodes": {"nap": NAP}}
    play = started({"type": "foreach", "items": "[1, 2]", "body": {"nodes": {"trip": inner}}})
    timers = [play.pending[each] for each in play.pending if each.startswith(DEADLINE)]
    assert [each.seconds for each in timers if isinstance(each, StartTimer)] == [1, 2]


def test_a_child_workflow_has_the_time_that_the_run_makes() -> None:
    assert seconds(started(CHILD, DATA, sub=SUB)) == 300


@pytest.mark.parametrize(
    "node",
    [
        python(timeout=LIMIT),
        {"type": "approval", "prompt": "p", "timeout": LIMIT},
        {"type": "block", "timeout": LIMIT, "nodes": {"nap": NAP}},
        {"type": "foreach", "items": "[1]", "timeout": LIMIT, "body": {"nodes": {"nap": NAP}}},
        {"type": "while", "until": "true", "timeout": LIMIT, "body": {"nodes": {"nap": NAP}}},
        {"type": "graph", "graph": "sub", "timeout": LIMIT},
        CHILD,
    ],
    ids=["activity", "approval", "block", "foreach", "while", "graph", "child"],
)
@pytest.mark.parametrize("value", [0, -1, "soon", None, 10**9])
def test_what_is_no_time_fails_the_node_before_it_does_anything(node: dict[str, Any], value: Any) -> None:
    play = started(node, {"minutes": value}, sub=SUB)
    run = play.state.root.nodes["a"]
    assert run.failure is not None
    assert (run.failure.code, run.failure.outcome) == ("OPTION_INVALID", "failure")
    assert run.failure.message.startswith("node 'a': `timeout` is not a duration above zero, of at most ten years: ")
    assert [each for each in play.ran if not each.startswith(("a/", "a[", DEADLINE))] == ["why"]
    assert not [each for each in play.ran if each.startswith("a") and each not in play.cancelled]


def test_the_time_of_a_compensation_is_made_when_its_node_starts_also_in_another_run() -> None:
    nodes = {"a": python(compensate=python(timeout=LIMIT)), "nap": NAP, "b": python()}
    graph = {"nodes": nodes, "edges": [edge("a", "nap"), edge("nap", "b")]}
    play = Play(machine_of(graph, DATA), {"a": {"minutes": 9}, "b": failure()}).start()
    play.answer("a")
    again = carried(play)
    for name in ("nap", "b"):
        again.answer(name)
    undo = again.pending["undo a"]
    assert isinstance(undo, RunNode)
    assert undo.planned.node.timeout == timedelta(minutes=5)


NAPS = "{w: {type: wait, for: 1s}}"
LAST = {"nodes": {"tell": python()}, "timeout": "{{ outcome.status == 'completed' ? minutes : 0 }}m"}


@pytest.mark.parametrize("of_block", [False, True])
def test_a_finally_has_the_time_that_the_run_makes_when_it_begins(of_block: bool) -> None:
    work = {"a": python()}
    nodes = {"trip": {"type": "block", "nodes": work, "finally": LAST}} if of_block else work
    graph = {"nodes": nodes, **({} if of_block else {"finally": LAST})}
    play = Play(machine_of(graph), {"trip/a" if of_block else "a": {"minutes": 5}}).start()
    play.answer("trip/a" if of_block else "a")
    assert seconds(play) == 300
    play.answer(deadline(play))
    finish = play.finish()
    assert finish.failure is None
    told = [text for version in play.state.trail.versions for text in version.changes.warnings]
    told += (
        [] if finish.afterwards is None or finish.afterwards.failure is None else [finish.afterwards.failure.message]
    )
    assert [each[-40:] for each in told] == ["did not end within its `timeout` of 300 s"[-40:]]


@pytest.mark.parametrize("of_block", [False, True])
def test_a_finally_whose_time_is_none_fails_before_it_begins(of_block: bool) -> None:
    work = {"a": python(compensate=python())}
    nodes = {"trip": {"type": "block", "nodes": work, "finally": LAST}} if of_block else work
    graph = {"nodes": nodes, **({} if of_block else {"finally": LAST})}
    play = Play(machine_of(graph, {"minutes": 5}), {"trip/a" if of_block else "a": failure("BROKEN")})
    finish = play.run()
    assert finish.failure is not None
    assert finish.failure.code == "BROKEN"
    assert not [each for each in play.ran if "finally" in each]
    if finish.afterwards is not None:
        assert finish.afterwards.failure is not None
        assert finish.afterwards.failure.code == "OPTION_INVALID"
    else:
        (told,) = [text for version in play.state.trail.versions for text in version.changes.warnings]
        assert told.startswith("finally_failed at 'trip/finally': OPTION_INVALID: 'trip/finally': `timeout` is not")


def test_times_are_read_from_the_context_and_stay_in_a_pinned_graph() -> None:
    text = (
        "name: g\nnodes:\n  a: {type: block, timeout: '{{ x }}m', nodes: {w: {type: wait, for: 1s}},"
        " finally: {timeout: '{{ y }}s', nodes: {w: {type: wait, for: 1s}}}}\n"
        "finally: {timeout: '{{ z }}s', nodes: {w: {type: wait, for: 1s}}}\n"
    )
    graph = load_text(text).graph
    assert set(graph_inputs(graph)) == {"x", "y", "z"}
    again = Graph.model_validate_json(written_out(graph))
    assert again.nodes["a"].timeout == "{{ x }}m"
    assert written_out(again) == written_out(graph)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{type: wait, for: 1s, timeout: '{{ x }}m'}", "FIELD_HAS_NO_EFFECT"),
        ("{type: python, handler: h, reads: [], timeout: '{{ x +'}", "EXPRESSION_INVALID"),
        ("{type: python, handler: h, reads: [], timeout: 5 minutes}", "VALUE_INVALID"),
        (
            f"{{type: block, nodes: {NAPS}, finally: {{timeout: '{{{{ nope( }}}}', nodes: {NAPS}}}}}",
            "EXPRESSION_INVALID",
        ),
    ],
)
def test_what_is_wrong_with_it_is_a_problem(text: str, code: str) -> None:
    assert [each.split()[1] for each in codes(f"name: g\nnodes: {{a: {text}}}\n")] == [code]
