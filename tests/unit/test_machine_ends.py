"""`fail` and `stop`: what ends, what is cancelled, what is kept and what is undone."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.graph.plan import plan_graph
from anabranch.workflows.interpreter import snapshot
from anabranch.workflows.interpreter.ends import LONGEST_MESSAGE
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
from tests.unit.machine_kit import RUN, Play, edge, failure, machine_of, python, shuffled
from tests.unit.test_machine_properties import FEW

FAIL: dict[str, Any] = {"type": "fail", "code": "OUT_OF_STOCK", "message": "only {{ n }} left"}
STOP: dict[str, Any] = {"type": "stop"}
UNDONE = python(compensate=python())


def chain(**nodes: dict[str, Any]) -> dict[str, Any]:
    names = list(nodes)
    return {"nodes": nodes, "edges": [edge(*pair) for pair in itertools.pairwise(names)]}


def statuses(play: Play) -> dict[str, str]:
    return {name: run.status.value for name, run in play.state.root.nodes.items()}


# fail


def test_a_fail_node_fails_the_run_with_its_code_and_message() -> None:
    play = Play(machine_of(chain(a=UNDONE, sold_out=FAIL, after=python()), {"n": 2}), {"a": {"n": 3}})
    finish = play.run()
    assert finish.failure is not None
    told = {"node": "sold_out", "code": "OUT_OF_STOCK", "type": "OUT_OF_STOCK", "message": "only 3 left"}
    assert finish.failure.root() == {**told, "outcome": "failure"}
    assert (play.ran, finish.compensated) == (["a", "undo a"], ("a",))
    assert statuses(play) == {"a": "succeeded", "sold_out": "failed", "after": "cancelled"}


def test_a_fail_node_without_a_message_says_its_code() -> None:
    finish = Play(machine_of({"nodes": {"f": {"type": "fail", "code": "Sold-Out"}}})).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.message) == ("Sold-Out", "failed with Sold-Out")


def test_the_message_of_a_fail_node_is_a_text_and_has_an_end() -> None:
    for message, n, text in (("{{ n }}", {"a": 1}, '{"a":1}'), ("{{ n }}", "x" * 9000, "x" * LONGEST_MESSAGE + "…")):
        finish = Play(machine_of({"nodes": {"f": {**FAIL, "message": message}}}, {"n": n})).run()
        assert finish.failure is not None
        assert finish.failure.message == text


def test_a_message_that_cannot_be_rendered_is_the_failure() -> None:
    finish = Play(machine_of({"nodes": {"f": {**FAIL, "message": "{{ n.x }}"}}}, {"n": 1})).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("EXPRESSION_FAILED", "f")


def test_the_message_sees_the_names_of_the_input() -> None:
    finish = Play(machine_of({"nodes": {"f": {**FAIL, "input": {"n": "{{ m * 2 }}"}}}}, {"m": 4})).run()
    assert finish.failure is not None
    assert finish.failure.message == "only 8 left"


def test_a_failure_edge_around_the_body_sees_the_code() -> None:
    body = {"nodes": {"check": python(), "sold_out": FAIL}, "edges": [edge("check", "sold_out")]}
    each = {"type": "foreach", "items": "[1, 2]", "body": body}
    nodes = {"each": each, "other": python(), "handle": python(when="error.code == 'OUT_OF_STOCK'")}
    edges = [edge("each", "other"), edge("each", "handle", outcome="failure", when="error.code.startsWith('OUT')")]
    play = Play(machine_of({"nodes": nodes, "edges": edges}, {"n": 0}))
    assert play.run().failure is None
    assert play.ran == ["each[0]/check", "each[1]/check", "handle"]
    assert play.cancelled == ["each[1]/check"]


def test_a_failure_edge_of_the_node_itself_takes_it_too() -> None:
    graph = {"nodes": {"f": FAIL, "handle": python()}, "edges": [edge("f", "handle", outcome="failure")]}
    play = Play(machine_of(graph, {"n": 0}))
    assert play.run().failure is None
    assert play.ran == ["handle"]


def test_a_fail_node_cancels_the_branches_beside_it_and_undoes_what_they_did() -> None:
    graph = {"nodes": {"a": python(), "done": UNDONE, "slow": python(), "f": FAIL}, "edges": [edge("a", "f")]}
    play = Play(machine_of(graph, {"n": 0})).start()
    play.answer("done")
    play.answer("a")
    finish = play.finish()
    assert play.cancelled == ["slow"]
    assert finish.compensated == ("done",)


def test_a_body_is_tried_again_after_a_fail_node_unless_its_code_says_no() -> None:
    for final, attempts in (([], 2), (["OUT_OF_STOCK"], 1)):
        retry = {"max_attempts": 2, "initial_interval": "1s", "non_retryable": final}
        body = {"nodes": {"check": python(), "f": FAIL}, "edges": [edge("check", "f")]}
        loop = {"type": "foreach", "items": "[1]", "body": body, "retry": retry}
        play = Play(machine_of({"nodes": {"each": loop}}, {"n": 0}))
        assert play.run().failure is not None
        assert len([each for each in play.ran if each.endswith("/check")]) == attempts


def test_a_paused_fail_node_is_decided_by_the_operator() -> None:
    graph = chain(f={**FAIL, "on_failure": "pause", "when": "n < 3"}, after=python())
    play = Play(machine_of(graph, {"n": 0})).start()
    assert play.state.waiting_for_operator == ("f",)
    play.take(play.machine.retry("f", None, 2))
    assert play.state.waiting_for_operator == ("f",)
    play.take(play.machine.skip("f", None, 3))
    assert play.finish().failure is None
    assert play.ran == ["after"]


def test_a_fail_node_in_a_branch_that_lost_fails_nothing() -> None:
    nodes = {"near": python(), "far": python(), "f": FAIL, "late": python(), "first": python(join="first")}
    edges = [edge("near", "first"), edge("far", "f"), edge("f", "late", outcome="always"), edge("late", "first")]
    play = Play(machine_of({"nodes": nodes, "edges": edges}, {"n": 0})).start()
    play.answer("near")
    play.answer("far")
    assert play.finish().failure is None


# stop


def test_a_stop_node_ends_the_run_as_completed_and_keeps_what_was_done() -> None:
    nodes = {name: python() for name in ("a", "done", "slow", "after", "join")} | {"stop": STOP}
    edges = [edge("a", "stop"), edge("slow", "after"), edge("after", "join"), edge("done", "join")]
    script = {"a": {"x": 1}, "done": {"y": 2}}
    play = Play(machine_of({"nodes": nodes, "edges": edges}), script).start()
    play.answer("done")
    play.answer("a")
    finish = play.finish()
    assert (finish.failure, finish.line.data) == (None, {"x": 1, "y": 2})
    assert (play.cancelled, play.ran) == (["slow"], ["a", "done", "slow"])
    ended = {"a": "succeeded", "done": "succeeded", "stop": "succeeded", "slow": "cancelled"}
    assert statuses(play) == {**ended, "after": "skipped", "join": "skipped"}


def test_a_stop_undoes_nothing() -> None:
    finish = Play(machine_of(chain(a=UNDONE, stop=STOP))).run()
    assert (finish.failure, finish.compensated, finish.not_compensated) == (None, (), ())


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"type": "foreach", "items": "[1, 2, 3]"}, ["each[0]/a", "each[1]/a", "each[2]/a", "each[0]/b", "each[2]/b"]),
        ({"type": "while", "while": "index < 3"}, ["each[0]/a", "each[0]/b", "each[1]/a", "each[2]/a", "each[2]/b"]),
    ],
)
def test_in_a_body_a_stop_ends_this_turn_alone(node: dict[str, Any], expected: list[str]) -> None:
    body = {
        "nodes": {"a": python(), "b": python(), "stop": STOP},
        "edges": [edge("a", "stop", when="index == 1"), edge("a", "b", otherwise=True)],
    }
    graph = chain(each={**node, "body": body}, after=python())
    play = Play(machine_of(graph))
    assert play.run().failure is None
    assert play.ran == [*expected, "after"]


def test_in_a_graph_inside_a_stop_ends_that_graph_alone_and_its_changes_are_kept() -> None:
    inner = {"name": "sub", **chain(p=python(), stop=STOP)}
    inner["nodes"]["slow"] = python()
    graph = chain(sub={"type": "graph", "graph": "sub"}, after=python())
    play = Play(machine_of(graph, sub=inner), {"sub/p": {"x": 1}})
    finish = play.run()
    assert (finish.failure, finish.line.data) == (None, {"x": 1})
    assert (play.ran, play.cancelled) == (["sub/p", "sub/slow", "after"], ["sub/slow"])


def test_what_a_stopped_body_did_is_undone_where_the_run_fails_later() -> None:
    body = {**chain(p=UNDONE, stop=STOP)}
    graph = chain(each={"type": "foreach", "items": "[1]", "body": body}, after=python())
    finish = Play(machine_of(graph), {"after": failure()}).run()
    assert finish.compensated == ("each[0]/p",)


def test_a_cancelled_step_of_a_stopped_body_that_may_have_happened_is_undone_where_the_run_fails_later() -> None:
    body = {"nodes": {"p": python(), "slow": UNDONE, "stop": STOP}, "edges": [edge("p", "stop")]}
    graph = chain(each={"type": "foreach", "items": "[1]", "body": body}, after=python())
    play = Play(machine_of(graph), {"after": failure()})
    finish = play.run()
    assert play.cancelled == ["each[0]/slow"]
    assert finish.compensated == ("each[0]/slow",)


def test_a_stop_cancels_the_bodies_beside_it_and_drops_what_they_had_written() -> None:
    body = chain(p=python(), q=python())
    nodes = {"a": python(), "stop": STOP, "each": {"type": "foreach", "items": "[1, 2]", "body": body}}
    play = Play(machine_of({"nodes": nodes, "edges": [edge("a", "stop")]}), {"each[0]/p": {"x": 1}}).start()
    play.answer("each[0]/p")
    play.answer("a")
    finish = play.finish()
    assert (finish.failure, finish.line.data) == (None, {})
    assert play.cancelled == ["each[1]/p", "each[0]/q"]
    assert (play.state.bodies, play.state.scopes, play.state.work) == ({}, {}, {})


def test_a_stop_leaves_paused_nodes_and_open_questions_behind() -> None:
    nodes = {"a": python(), "stop": STOP, "stuck": python(on_failure="pause"), "ask": {"type": "approval"}}
    play = Play(machine_of({"nodes": nodes, "edges": [edge("a", "stop")]}), {"stuck": failure()}).start()
    play.answer("stuck")
    play.answer("a")
    assert play.finish().failure is None
    assert (play.state.paused_nodes, play.cancelled) == ({}, ["ask"])


def test_a_stop_while_an_attempt_is_undone_waits_for_it() -> None:
    retry = {"max_attempts": 3, "initial_interval": "1s"}
    body = {"nodes": {"p": UNDONE, "q": python()}, "edges": [edge("p", "q")]}
    each = {"type": "foreach", "items": "[1]", "body": body, "retry": retry}
    graph = {"nodes": {"a": python(), "stop": STOP, "each": each}, "edges": [edge("a", "stop")]}
    play = Play(machine_of(graph), {"each[0]/q": failure("NO_STOCK")}).start()
    play.answer("each[0]/p")
    play.answer("each[0]/q")
    play.answer("a")
    assert play.state.finished is None
    assert list(play.pending) == ["undo each[0]/p"]
    play.answer("undo each[0]/p")
    finish = play.finish()
    assert (finish.failure, finish.compensated) == (None, ())


def test_a_stop_in_a_branch_that_lost_stops_nothing() -> None:
    nodes = {"near": python(), "far": python(), "first": python(join="first"), "after": python()}
    nodes |= {"stop": {**STOP}}
    edges = [edge("near", "first"), edge("far", "stop"), edge("first", "after"), edge("stop", "first")]
    play = Play(machine_of({"nodes": nodes, "edges": edges})).start()
    play.answer("near")
    play.answer("far")
    assert statuses(play)["stop"] == "succeeded"
    play.answer("first")
    assert play.finish().failure is None
    assert "after" in play.ran


def test_conflicts_between_the_branches_of_a_stopped_run_are_settled_as_at_every_end() -> None:
    nodes = {"a": python(), "b": python(), "stop": STOP}
    graph = {"nodes": nodes, "edges": [edge("a", "stop")], "context": {"merge": {"x": "sum"}}}
    play = Play(machine_of(graph, {"x": 1}), {"a": {"x": 3}, "b": {"x": 11}}).start()
    play.answer("b")
    play.answer("a")
    assert play.finish().line.data == {"x": 13}


def test_a_stop_that_is_held_back_is_carried_into_the_next_run() -> None:
    graph = {"nodes": {"a": python(), "slow": {"type": "approval"}, "stop": STOP}, "edges": [edge("a", "stop")]}
    play = Play(machine_of(graph), {"a": {"x": 1}}).start()
    play.state.is_draining = True
    play.answer("a")
    dumped = json.loads(json.dumps(snapshot.dump(play.state)))
    state = RunState(plan_graph(play.state.plan.graph), {}, run=RUN)
    snapshot.load(state, dumped)
    later = Play(Machine(state))
    later.take(later.machine.resume_from_snapshot(2_000))
    finish = later.finish()
    assert (finish.failure, finish.line.data, later.cancelled) == (None, {"x": 1}, ["slow"])


@FEW
@given(
    count=st.integers(1, 5),
    written=st.lists(st.integers(0, 3), min_size=5, max_size=5),
    end=st.sampled_from(["stop", "fail"]),
    seed=st.integers(0, 10_000),
    budget=st.sampled_from([1, 2, 100]),
)
def test_whenever_it_comes_an_end_leaves_nothing_running_and_keeps_what_was_done(
    count: int, written: list[int], end: str, seed: int, budget: int
) -> None:
    names = [f"n{index}" for index in range(count)]
    nodes = {name: python(compensate=python()) for name in names}
    nodes |= {"decide": python(), "end": STOP if end == "stop" else FAIL}
    edges = [edge("decide", "end"), *(edge(a, b) for a, b in zip(names[::2], names[1::2], strict=False))]
    script = {name: {name: value} for name, value in zip(names, written, strict=False)}
    machine = machine_of({"nodes": nodes, "edges": edges}, {"n": 0}, budget=budget)
    play = Play(machine, script, pick=shuffled(seed))
    finish = play.run()
    state = play.state
    assert (state.work, state.bodies, state.paused_nodes, state.open_joins) == ({}, {}, {}, {})
    done = [name for name in names if state.root.nodes[name].status.value == "succeeded"]
    if end == "stop":
        assert finish.failure is None
        assert finish.line.data == {"n": 0, **{name: script[name][name] for name in done}}
        assert not [address for address in play.ran if address.startswith("undo ")]
    else:
        assert finish.failure is not None
        assert set(done) <= set(finish.compensated) <= set(names)
