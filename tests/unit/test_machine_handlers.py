"""`error` and `errors`: what the nodes behind a failure edge know of it, along their whole branch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from anabranch.graph.checks.checks import check_graph
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.dataflow.handlers import handlers
from anabranch.graph.load import load_text
from anabranch.graph.parts import Edge
from anabranch.workflows.interpreter import snapshot
from anabranch.workflows.interpreter.commands import RunNode
from anabranch.workflows.interpreter.handled import MAX_ERRORS
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
from tests.unit.machine_kit import RUN, Outcome, Play, edge, failure, machine_of, python, timeout

BROKEN = failure("BROKEN")
ON_FAILURE: dict[str, Any] = {"outcome": "failure"}


def chain(*pairs: str, **fields: Any) -> tuple[dict[str, Any], ...]:
    """`a>b` is an edge on success, `a!b` one on a failure, `a=b` one that is always taken."""
    outcomes = {">": "success", "!": ["failure", "timeout"], "=": "always"}
    return tuple(edge(pair[0], pair[2], outcome=outcomes[pair[1]], **fields) for pair in pairs)


def played(
    *pairs: str, script: Mapping[str, Outcome] | None = None, nodes: Mapping[str, Any] | None = None, **fields: Any
) -> Play:
    names = dict.fromkeys(name for pair in pairs for name in (pair[0], pair[2]))
    given = {name: (nodes or {}).get(name, python()) for name in names}
    graph = {"nodes": given, "edges": [*chain(*pairs)], **fields}
    return Play(machine_of(graph, {"x": 1}), {"a": BROKEN} if script is None else script)


def told(play: Play) -> dict[str, tuple[Any, Any]]:
    """For each node that ran: the code of its `error`, and the nodes of its `errors`."""
    found: dict[str, tuple[Any, Any]] = {}
    play.start()
    while play.state.finished is None:
        for address, command in play.pending.items():
            if isinstance(command, RunNode):
                error: Any = command.roots.get("error", "-")
                errors: Any = command.roots.get("errors", "-")
                code = error["code"] if isinstance(error, dict) else error
                found[address] = (code, [each["node"] for each in errors] if isinstance(errors, list) else errors)
        play.answer(next(iter(play.pending)))
    return found


# where


@pytest.mark.parametrize(
    ("pairs", "branch"),
    [
        (("a>b", "b>c"), ""),
        (("a>b", "a!h", "h>i", "i>j"), "hij"),
        (("a>b", "a!h", "h>i", "i>e", "b>e"), "hi"),
        (("a!h", "b!h", "h>i"), "hi"),
        (("a!h", "b>h", "h>i"), ""),
        (("a=c", "c>d"), "cd"),
        (("a!h", "h>i", "h>j", "i>k", "j>k"), "hijk"),
        (("a!h", "h!i", "i>j"), "hij"),
        (("a!h", "h>i", "i>h"), ""),
    ],
)
def test_a_branch_goes_from_the_failure_edge_to_where_it_joins_another_way(pairs: tuple[str, ...], branch: str) -> None:
    edges = [Edge.model_validate(each) for each in chain(*pairs)]
    found = handlers(dict.fromkeys("".join(pairs)), edges)
    assert "".join(sorted(found.branches)) == branch
    assert {each.target for each in edges if each.outcome != "success"} == found.reached


def test_each_node_of_the_branch_knows_the_error_until_it_joins_the_main_path() -> None:
    play = played("a>b", "a!h", "h>i", "i>j", "j>e", "b>e")
    assert told(play) == {
        "a": ("-", "-"),
        "h": ("BROKEN", ["a"]),
        "i": ("BROKEN", ["a"]),
        "j": ("BROKEN", ["a"]),
        "e": ("-", "-"),
    }


def test_behind_always_the_branch_knows_of_no_error_where_there_is_none() -> None:
    assert told(played("a=c", "c>d", script={})) == {"a": ("-", "-"), "c": (None, []), "d": (None, [])}
    assert told(played("a=c", "c>d"))["d"] == ("BROKEN", ["a"])


def test_the_nearest_failure_is_the_error_and_all_before_it_are_the_errors() -> None:
    play = played("a!h", "h!i", "i>j", script={"a": BROKEN, "h": timeout()})
    assert told(play) == {
        "a": ("-", "-"),
        "h": ("BROKEN", ["a"]),
        "i": ("TIMEOUT", ["a", "h"]),
        "j": ("TIMEOUT", ["a", "h"]),
    }


def test_errors_are_in_the_order_of_the_graph_whichever_came_first() -> None:
    play = played("a!h", "b!h", "c!h", "h>i", script={name: failure(name.upper()) for name in "abc"})
    play.pick = lambda pending: pending[-1]
    assert told(play)["i"] == ("A", ["a", "b", "c"])


def test_errors_are_those_in_the_past_of_the_node_alone() -> None:
    play = played("a!h", "b!g", "h>i", script={"a": BROKEN, "b": BROKEN}).start()
    play.answer("b")
    play.answer("a")
    play.answer("h")
    command = play.pending["i"]
    assert isinstance(command, RunNode)
    errors: Any = command.roots["errors"]
    assert [each["node"] for each in errors] == ["a"]


def test_nodes_that_were_passed_over_are_among_the_errors() -> None:
    nodes = {"p": python(on_failure="continue"), "q": python(on_failure={"use": {"x": 2}})}
    play = played("p>q", "q>a", "a!h", nodes=nodes, script=dict.fromkeys("pqa", BROKEN))
    assert told(play)["h"] == ("BROKEN", ["p", "q", "a"])


def test_a_node_that_an_operator_has_tried_again_with_success_is_no_error_any_more() -> None:
    nodes = {"p": python(on_failure="pause")}
    play = played("p>a", "a!h", nodes=nodes, script=dict.fromkeys("pa", BROKEN)).start()
    play.answer("p")
    play.script = {"a": BROKEN}
    play.take(play.machine.retry("p", None, play.now))
    play.answer("p")
    play.answer("a")
    command = play.pending["h"]
    assert isinstance(command, RunNode)
    errors: Any = command.roots["errors"]
    assert [each["node"] for each in errors] == ["a"]


def test_there_are_no_more_errors_than_an_activity_can_be_sent() -> None:
    names = [f"n{index}" for index in range(MAX_ERRORS + 5)]
    edges = [edge(name, "h", **ON_FAILURE) for name in names]
    graph = {"nodes": {**{name: python() for name in names}, "h": python()}, "edges": edges}
    play = Play(machine_of(graph), dict.fromkeys(names, BROKEN))
    assert told(play)["h"][1] == names[:MAX_ERRORS]


# what evaluates them


def test_conditions_and_rules_of_the_branch_read_them() -> None:
    rule = {"type": "rule", "rules": [{"then": {"why": "{{ errors.map(e, e.code) }}"}}]}
    nodes = {"a": python(), "h": python(), "i": {**python(), "when": "error.code == 'BROKEN'"}, "j": rule}
    edges = [
        edge("a", "h", outcome="failure", when="size(errors) == 1"),
        edge("h", "i", when="error.code == 'BROKEN' && errors[0].node == 'a'"),
        edge("i", "j", when="errors.exists(e, e.code == 'BROKEN')"),
    ]
    play = Play(machine_of({"nodes": nodes, "edges": edges}), {"a": BROKEN})
    assert play.run().failure is None
    assert play.ran == ["a", "h", "i", "j"]


def test_on_the_main_path_errors_is_a_key_of_the_context() -> None:
    edges = [edge("a", "b", when="errors == 7"), edge("a", "h", outcome="failure", when="size(errors) == 1")]
    graph = {"nodes": {name: python() for name in "abh"}, "edges": edges}
    main = Play(machine_of(graph, {"errors": 7}))
    main.run()
    assert main.ran == ["a", "b"]
    failed = Play(machine_of(graph, {"errors": 7}), {"a": BROKEN})
    failed.run()
    assert failed.ran == ["a", "h"]


def test_an_edge_that_is_always_taken_asks_for_errors_where_there_are_none() -> None:
    edges = [edge("a", "b", outcome="always", when="size(errors) == 0 && error == null")]
    play = Play(machine_of({"nodes": {name: python() for name in "ab"}, "edges": edges}))
    play.run()
    assert play.ran == ["a", "b"]


@pytest.mark.parametrize(
    ("node", "inner"),
    [
        ({"type": "block", "nodes": {"p": python()}}, "h/p"),
        ({"type": "foreach", "items": "[1]", "body": {"nodes": {"p": python()}}}, "h[0]/p"),
        ({"type": "while", "while": "index < 1", "body": {"nodes": {"p": python()}}}, "h[0]/p"),
    ],
    ids=lambda each: each["type"] if isinstance(each, dict) else "",
)
def test_in_a_body_in_the_branch_the_error_around_is_known_and_its_key_may_be_written(
    node: Mapping[str, Any], inner: str
) -> None:
    script: dict[str, Outcome] = {"a": BROKEN, inner: {"error": "told", "errors": 1}}
    play = played("a>b", "a!h", "h>e", "b>e", nodes={"h": node}, script=script)
    assert told(play)[inner] == ("BROKEN", ["a"])
    assert play.machine.context().data == {"x": 1, "error": "told", "errors": 1}


def test_in_a_block_the_errors_are_those_of_its_own_nodes() -> None:
    inner = {"type": "block", "nodes": {"p": python(), "q": python()}, "edges": [edge("p", "q", **ON_FAILURE)]}
    play = played("a!h", "h>i", nodes={"h": inner}, script={"a": BROKEN, "h/p": failure("INNER")})
    assert told(play) == {
        "a": ("-", "-"),
        "h/p": ("BROKEN", ["a"]),
        "h/q": ("INNER", ["h/p"]),
        "i": ("BROKEN", ["a"]),
    }


def test_a_graph_that_a_loop_of_the_branch_names_knows_nothing_of_it() -> None:
    nodes = {"h": {"type": "foreach", "items": "[1]", "body": {"graph": "other"}}}
    graph = {"nodes": {"a": python(), **nodes}, "edges": [*chain("a!h")]}
    other = {"name": "other", "nodes": {"p": python()}}
    play = Play(machine_of(graph, {"x": 1}, other=other), {"a": BROKEN})
    assert told(play)["h[0]/p"] == ("-", "-")


def test_after_continue_as_new_the_branch_still_knows() -> None:
    nodes = {"n": {"type": "wait", "for": "1h"}}
    play = played("a>b", "a!h", "h>n", "n>i", nodes=nodes).start()
    play.answer("a")
    play.answer("h")
    fresh = RunState(play.state.plan, {}, run=RUN)
    snapshot.load(fresh, json.loads(json.dumps(snapshot.dump(play.state))))
    again = Play(Machine(fresh), {}, now=play.now)
    again.take(again.machine.resume_from_snapshot(play.now))
    again.answer("n")
    command = again.pending["i"]
    assert isinstance(command, RunNode)
    assert (command.roots["error"], command.roots["errors"]) == (
        BROKEN.root() | {"node": "a"},
        [BROKEN.root() | {"node": "a"}],
    )


# what is checked

TEXT = """\
name: g
nodes:
  a: {type: python, handler: h, reads: []}
  h: {type: python, handler: h, reads: []}
  i: {type: rule, rules: [{then: {why: "{{ error.code }} {{ size(errors) }}"}}]}
  b: {type: python, handler: h, reads: []}
edges:
  - {from: a, to: h, outcome: failure}
  - {from: h, to: i}
  - {from: a, to: b}
"""


def test_what_the_branch_reads_of_its_error_is_no_input() -> None:
    loaded = load_text(TEXT, "g")
    assert loaded.warnings == ()
    assert graph_inputs(loaded.graph) == {}
    assert list(check_graph(loaded.graph, loaded.source)) == []


def test_behind_the_join_with_the_main_path_it_is_a_key_and_that_is_told() -> None:
    text = TEXT.replace("  - {from: a, to: b}", "  - {from: a, to: b}\n  - {from: b, to: i}")
    text = text.replace("reads: []", "output: {z: '1'}")
    found = [(each.code, str(each.place)) for each in load_text(text, "g").warnings]
    assert found == [("NAME_NOT_VISIBLE", "g:5:44"), ("NAME_NOT_VISIBLE", "g:5:66")]
