"""`foreach`, `while` and `graph` in the interpreter: what a body sees, what comes back, and what its failure does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from anabranch.context.changes import ChangeSet
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.commands import (
    NOT_STARTED,
    AskConflict,
    CancelWork,
    Failure,
    RunNode,
    StartChild,
    StartTimer,
)
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.trail import describe_conflict
from tests.json_values import at, fields, items
from tests.unit.machine_kit import RUN, Play, edge, failure, machine_of, python, shuffled, timeout


def body(*names: str, **nodes: Any) -> dict[str, Any]:
    return {"nodes": {name: nodes.get(name, python()) for name in names}, "edges": [edge(*p) for p in pairwise(names)]}


def foreach(
    over: str = "[1, 2, 3]", inner: Mapping[str, Any] | None = None, *, named: str = "item", **fields: Any
) -> dict[str, Any]:
    return {"type": "foreach", "items": over, "as": named, "body": inner or body("p"), **fields}


def loop(condition: str, inner: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"type": "while", "while": condition, "body": inner or body("t"), **fields}


def one(node: Mapping[str, Any], after: bool = True, **fields: Any) -> dict[str, Any]:
    """A graph of the node, and one that sees what it left."""
    nodes = {"node": node, "after": python()} if after else {"node": node}
    return {"nodes": nodes, "edges": [edge("node", "after")] if after else [], **fields}


def item(command: RunNode) -> Any:
    return command.roots["item"]


# foreach


def test_each_item_runs_the_body_on_the_context_of_the_node() -> None:
    play = Play(machine_of(one(foreach(inner=body("p", "q"))), {"x": 1})).start()
    assert list(play.pending) == ["node[0]/p", "node[1]/p", "node[2]/p"]
    commands = [play.pending[address] for address in play.pending]
    assert [each.roots["item"] for each in commands if isinstance(each, RunNode)] == [1, 2, 3]
    assert [each.roots["index"] for each in commands if isinstance(each, RunNode)] == [0, 1, 2]
    play.finish()
    assert play.seen["node[1]/q"] == {"x": 1}


def test_an_item_does_not_see_what_another_wrote() -> None:
    play = Play(machine_of(one(foreach(max_concurrency=1))), {f"node[{index}]/p": {"x": index} for index in range(3)})
    play.run()
    assert play.seen["node[2]/p"] == {}


@pytest.mark.parametrize("seed", range(5))
def test_items_changes_merge_in_the_order_of_the_items_whatever_ends_first(seed: int) -> None:
    graph = one(foreach(), context={"merge": {"total": "sum", "names": "append"}})
    script = {
        f"node[{index}]/p": {"total": 10 + index, "names": ["first", f"n{index}"], f"own{index}": True}
        for index in range(3)
    }
    play = Play(machine_of(graph, {"total": 10, "names": ["first"]}), script, pick=shuffled(seed))
    assert play.run().line.data == {
        "total": 13,
        "names": ["first", "n0", "n1", "n2"],
        "own0": True,
        "own1": True,
        "own2": True,
    }


def test_what_items_disagree_about_is_in_the_audit_trail() -> None:
    graph = one(foreach("[1, 2]"), after=False, context={"merge": {"x": "max"}})
    play = Play(machine_of(graph, {"x": 0}), {"node[0]/p": {"x": 5}, "node[1]/p": {"x": 3}})
    assert play.run().line.data == {"x": 5}
    (version,) = [each for each in play.state.trail.versions if each.by == "node"]
    (conflict,) = version.conflicts
    reported = describe_conflict(conflict)
    assert (version.kind, reported["path"], reported["base"], reported["choice"]) == ("node", "x", 0, 5)
    assert [at(each, "by") for each in items(reported["candidates"])] == ["node[0]", "node[1]"]


def test_items_that_disagree_where_nobody_may_choose_fail_the_node() -> None:
    graph = one(foreach("[1, 2]"), context={"conflict_resolution": "fail_on_conflict", "conflict_timeout": 0})
    finish = Play(machine_of(graph), {"node[0]/p": {"x": 5}, "node[1]/p": {"x": 3}}).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("CONFLICT", "node")


ASK = {"conflict_resolution": "fail_on_conflict", "conflict_timeout": "1m"}


def disagreeing(**fields: Any) -> Play:
    """A `foreach` whose two items have ended, and want different things of `x`."""
    play = Play(machine_of(one(foreach("[1, 2]", **fields), context=ASK)), {"node[0]/p": {"x": 5}}).start()
    play.script = {"node[0]/p": {"x": 5, "y": 1}, "node[1]/p": {"x": 3}}
    for address in list(play.pending):
        play.answer(address)
    return play


def test_items_that_disagree_ask_as_a_join_does() -> None:
    play = disagreeing()
    question = play.pending.pop("node")
    assert isinstance(question, AskConflict)
    (conflict,) = question.conflicts
    assert [(each.by, each.value) for each in conflict.candidates] == [("node[0]", 5), ("node[1]", 3)]
    assert question.timeout == 60
    assert play.state.root.nodes["node"].status.value == "conflict"
    play.take(play.machine.choose("node", {("x",): 4}, 50))
    assert play.finish().line.data == {"x": 4, "y": 1}
    (version,) = [each for each in play.state.trail.versions if each.by == "node"]
    assert [(each.path, each.value) for each in version.conflicts] == [(("x",), 4)]


def test_items_about_which_nobody_decides_in_time_fail_the_node_with_the_conflict() -> None:
    play = disagreeing()
    del play.pending["node"]
    play.take(play.machine.failed("node", timeout(), 70_000))
    finish = play.finish()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("CONFLICT", "node")


def test_nothing_asks_twice_about_items_that_disagree() -> None:
    play = disagreeing()
    assert play.machine.resume(50) == []


def test_after_continue_as_new_items_that_disagree_ask_again_for_the_rest_of_the_time() -> None:
    play = disagreeing()
    asked = play.state.root.nodes["node"].asked
    assert asked is not None
    fresh = RunState(play.state.plan, {}, run=RUN)
    snapshot.load(fresh, json.loads(json.dumps(snapshot.dump(play.state))))
    again = Play(Machine(fresh))
    again.take(again.machine.resume_from_snapshot(asked + 20_000))
    question = again.pending.pop("node")
    assert isinstance(question, AskConflict)
    assert (len(question.conflicts), question.timeout) == (1, 40)
    again.take(again.machine.choose("node", {("x",): 4}, asked + 20_001))
    assert again.finish().line.data == {"x": 4, "y": 1}


def test_a_run_that_is_cancelled_while_items_disagree_withdraws_the_question_and_undoes_the_items() -> None:
    play = disagreeing(inner={"nodes": {"p": python(compensate=python())}})
    play.take(play.machine.cancel("enough", 50))
    assert play.cancelled == ["node"]
    assert play.finish().compensated == ("node[1]/p", "node[0]/p")


@pytest.mark.parametrize("seed", range(5))
def test_collect_writes_one_list_in_item_order_and_keeps_the_rest_local(seed: int) -> None:
    node = foreach(collect={"into": "weights", "value": "weight * 2 + index"})
    script = {f"node[{index}]/p": {"weight": index * 10} for index in range(3)}
    play = Play(machine_of(one(node)), script, pick=shuffled(seed))
    assert play.run().line.data == {"weights": [0, 21, 42]}


def test_at_most_max_concurrency_items_are_in_flight_in_a_sliding_window() -> None:
    play = Play(machine_of(one(foreach("[1, 2, 3, 4, 5]", max_concurrency=2)))).start()
    assert list(play.pending) == ["node[0]/p", "node[1]/p"]
    play.answer("node[1]/p")
    assert list(play.pending) == ["node[0]/p", "node[2]/p"]
    play.answer("node[2]/p")
    assert list(play.pending) == ["node[0]/p", "node[3]/p"]
    assert play.finish().failure is None


def test_no_items_is_a_success_without_changes() -> None:
    play = Play(machine_of(one(foreach("[]"))))
    assert play.run().line.version == 1
    assert play.ran == ["after"]


def test_no_items_collect_to_an_empty_list() -> None:
    node = foreach("[]", collect={"into": "found", "value": "item"})
    assert Play(machine_of(one(node))).run().line.data == {"found": []}


def test_items_that_are_no_list_fail_the_node_naming_what_they_are() -> None:
    finish = Play(machine_of(one(foreach("x")), {"x": "abc"})).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("EXPRESSION_FAILED", "node")
    assert "gave str, not a list" in finish.failure.message


def test_the_item_may_have_a_name_of_its_own() -> None:
    play = Play(machine_of(one(foreach("[7]", named="parcel")))).start()
    command = play.pending["node[0]/p"]
    assert isinstance(command, RunNode)
    assert (command.roots["parcel"], "item" in command.roots) == (7, False)


def test_a_failed_item_cancels_the_others_and_fails_the_node() -> None:
    play = Play(machine_of(one(foreach())), {"node[1]/p": failure("BROKEN")}).start()
    play.answer("node[1]/p")
    finish = play.finish()
    assert play.cancelled == ["node[0]/p", "node[2]/p"]
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("BROKEN", "node[1]/p")


def test_nothing_of_a_failed_foreach_reaches_the_context() -> None:
    graph = one(foreach(max_concurrency=1))
    graph["edges"] = [edge("node", "after", outcome="failure")]
    play = Play(machine_of(graph), {"node[0]/p": {"x": 1}, "node[1]/p": failure("BROKEN")})
    assert play.run().line.data == {}
    assert play.ran == ["node[0]/p", "node[1]/p", "after"]


def test_a_failure_edge_inside_the_body_keeps_the_item_alive() -> None:
    inner = {"nodes": {"p": python(), "q": python()}, "edges": [edge("p", "q", outcome="failure")]}
    play = Play(machine_of(one(foreach("[1, 2]", inner))), {"node[0]/p": failure(), "node[0]/q": {"repaired": True}})
    assert play.run().line.data == {"repaired": True}
    assert play.ran == ["node[0]/p", "node[1]/p", "node[0]/q", "after"]


def test_on_failure_continue_of_the_node_goes_on_without_the_items_changes() -> None:
    play = Play(machine_of(one(foreach(on_failure="continue")), {"x": 0}), {"node[0]/p": {"x": 1}})
    play.script = {**play.script, "node[2]/p": failure()}
    assert play.run().line.data == {"x": 0}
    assert play.seen["after"] == {"x": 0}


def test_foreach_inside_foreach_names_its_nodes_by_both_indexes() -> None:
    inner = {"nodes": {"inner": foreach("[item, item * 10]", named="part")}}
    play = Play(machine_of(one(foreach("[1, 2]", inner), after=False))).start()
    assert list(play.pending) == [
        "node[0]/inner[0]/p",
        "node[0]/inner[1]/p",
        "node[1]/inner[0]/p",
        "node[1]/inner[1]/p",
    ]
    command = play.pending["node[1]/inner[1]/p"]
    assert isinstance(command, RunNode)
    assert (command.roots["item"], command.roots["part"]) == (2, 20)
    assert command.key == "run-1/node[1]/inner[1]/p"


def test_an_empty_path_through_a_body_ends_the_item() -> None:
    inner = body("p", p=python(when="item > 1"))
    play = Play(machine_of(one(foreach("[1, 2]", inner), after=False)))
    assert play.run().failure is None
    assert play.ran == ["node[1]/p"]


# while


def test_a_while_s_changes_flow_from_one_turn_to_the_next() -> None:
    play = Play(machine_of(one(loop("n < 3")), {"n": 0}))
    play.script = {f"node[{index}]/t": {"n": index + 1} for index in range(5)}
    assert play.run().line.data == {"n": 3}
    assert play.ran == ["node[0]/t", "node[1]/t", "node[2]/t", "after"]
    assert [play.seen[f"node[{index}]/t"] for index in range(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_a_while_whose_condition_never_held_changes_nothing() -> None:
    play = Play(machine_of(one(loop("false"))))
    assert play.run().line.version == 1
    assert play.ran == ["after"]


def test_a_while_s_condition_and_body_see_the_turn() -> None:
    play = Play(machine_of(one(loop("index < 2")))).start()
    command = play.pending["node[0]/t"]
    assert isinstance(command, RunNode)
    assert command.roots["index"] == 0
    play.finish()
    assert play.ran == ["node[0]/t", "node[1]/t", "after"]


def test_a_while_that_reaches_max_iterations_fails_naming_them() -> None:
    finish = Play(machine_of(one(loop("true", max_iterations=3)))).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("NODE_FAILED", "node")
    assert "max_iterations = 3" in finish.failure.message


def test_a_while_that_ends_exactly_at_max_iterations_succeeds() -> None:
    assert Play(machine_of(one(loop("index < 3", max_iterations=3)))).run().failure is None


def test_a_failed_turn_fails_the_while_and_leaves_the_context_as_it_was() -> None:
    graph = one(loop("n < 3"))
    graph["edges"] = [edge("node", "after", outcome="failure")]
    play = Play(machine_of(graph, {"n": 0}), {"node[0]/t": {"n": 1}, "node[1]/t": failure()})
    assert play.run().line.data == {"n": 0}
    assert play.ran == ["node[0]/t", "node[1]/t", "after"]


def test_a_removal_in_a_turn_holds_in_the_next() -> None:
    graph = one(loop("has(context.todo)"), after=False)
    machine = machine_of(graph, {"todo": 1})
    play = Play(machine).start()
    play.pending.clear()
    play.take(machine.succeeded("node[0]/t", ChangeSet(0, {}, (("todo",),)), 5))
    assert play.finish().line.data == {}


# graph


def test_an_inline_graph_runs_on_the_context_and_writes_back() -> None:
    play = Play(machine_of(one({"type": "graph", "graph": "sub"}), {"x": 1}, sub={"name": "sub", **body("p", "q")}))
    play.script = {"node/p": {"y": 2}}
    assert play.run().line.data == {"x": 1, "y": 2}
    assert play.ran == ["node/p", "node/q", "after"]
    assert (play.seen["node/p"], play.seen["node/q"]) == ({"x": 1}, {"x": 1, "y": 2})


def test_an_inline_graph_with_input_and_output_sees_and_writes_only_those() -> None:
    node = {"type": "graph", "graph": "sub", "input": {"n": "{{ x + 1 }}"}, "output": {"doubled": "result.n2"}}
    play = Play(machine_of(one(node), {"x": 1, "other": 0}, sub={"name": "sub", **body("p")}))
    play.script = {"node/p": {"n2": 4, "local": True}}
    assert play.run().line.data == {"x": 1, "other": 0, "doubled": 4}
    assert play.seen["node/p"] == {"n": 2}


@pytest.mark.parametrize("how", [failure("BROKEN"), timeout()], ids=["failure", "timeout"])
def test_a_node_s_failure_inside_is_the_graph_node_s_own_outcome(how: Failure) -> None:
    graph = one({"type": "graph", "graph": "sub"})
    graph["edges"] = [edge("node", "after", outcome=how.outcome)]
    play = Play(machine_of(graph, sub={"name": "sub", **body("p")}), {"node/p": how})
    assert play.run().failure is None
    assert play.ran == ["node/p", "after"]


def test_graphs_inside_bodies_inside_graphs() -> None:
    sub = {"name": "sub", "nodes": {"each": foreach("[1, 2]", {"nodes": {"deep": {"type": "graph", "graph": "leaf"}}})}}
    graph = one({"type": "graph", "graph": "sub"}, context={"merge": {"n": "sum"}})
    machine = machine_of(
        graph, {"n": 0}, sub={**sub, "context": {"merge": {"n": "sum"}}}, leaf={"name": "leaf", **body("p")}
    )
    play = Play(machine, {f"node/each[{index}]/deep/p": {"n": index + 1} for index in range(2)})
    assert play.run().line.data == {"n": 3}
    assert play.ran == ["node/each[0]/deep/p", "node/each[1]/deep/p", "after"]


def test_a_child_workflow_is_started_on_its_mapped_input_and_writes_its_data() -> None:
    node = {"type": "graph", "graph": "sub", "mode": "child_workflow", "input": {"n": "{{ x }}"}}
    play = Play(machine_of(one(node), {"x": 1}, sub={"name": "sub", **body("p")}), {"node": {"m": 2}}).start()
    command = play.pending["node"]
    assert isinstance(command, StartChild)
    assert (command.graph, command.data) == ("sub", {"n": 1})
    assert play.finish().line.data == {"x": 1, "m": 2}


# all of them


COMPOSITES = {
    "foreach": foreach("[1, 2]"),
    "while": loop("index < 2"),
    "graph": {"type": "graph", "graph": "sub"},
}


@pytest.mark.parametrize("kind", COMPOSITES)
def test_a_body_makes_one_version_of_its_node(kind: str) -> None:
    machine = machine_of(one(COMPOSITES[kind], after=False), sub={"name": "sub", **body("p")})
    play = Play(machine).start()
    while play.state.finished is None:
        address = next(iter(play.pending))
        play.script = {address: {"x": 1, "y": {"z": 2}}}
        play.answer(address)
    assert machine.state.finished is not None
    assert (machine.state.finished.line.data, machine.state.finished.line.version) == ({"x": 1, "y": {"z": 2}}, 2)
    last = machine.state.trail.versions[-1]
    assert (last.by, last.parents) == ("node", (1,))


@pytest.mark.parametrize("kind", COMPOSITES)
def test_cancelling_the_run_cancels_what_runs_inside(kind: str) -> None:
    play = Play(machine_of(one(COMPOSITES[kind]), sub={"name": "sub", **body("p")})).start()
    running = list(play.pending)
    play.take(play.machine.cancel("stop", 50))
    finish = play.finish()
    assert play.cancelled == running
    assert finish.failure is not None
    assert finish.failure.code == "CANCELLED"
    assert play.state.root.nodes["node"].status.value == "cancelled"


@pytest.mark.parametrize("kind", COMPOSITES)
def test_a_failing_branch_beside_it_cancels_what_runs_inside(kind: str) -> None:
    graph = {"nodes": {"beside": python(), "node": COMPOSITES[kind]}}
    play = Play(machine_of(graph, sub={"name": "sub", **body("p")}), {"beside": failure()}).start()
    running = [address for address in play.pending if address != "beside"]
    play.answer("beside")
    play.finish()
    assert play.cancelled == running


@pytest.mark.parametrize("kind", COMPOSITES)
def test_a_paused_node_inside_a_body_waits_for_its_operator_by_its_address(kind: str) -> None:
    inner = {"nodes": {"p": python(on_failure="pause")}}
    node = {**COMPOSITES[kind], "body": inner} if kind != "graph" else COMPOSITES[kind]
    play = Play(machine_of(one(node), sub={"name": "sub", **inner})).start()
    first = next(iter(play.pending))
    play.script = {first: failure()}
    play.answer(first)
    assert list(play.state.paused_nodes) == [first]
    play.script = {}
    play.take(play.machine.retry(first, None, 50))
    assert play.finish().failure is None
    assert play.ran.count(first) == 2


def test_a_paused_composite_runs_anew_when_its_operator_retries_it() -> None:
    play = Play(
        machine_of(one(foreach("[1, 2]", on_failure="pause", max_concurrency=1))), {"node[1]/p": failure()}
    ).start()
    play.answer("node[0]/p")
    play.answer("node[1]/p")
    assert list(play.state.paused_nodes) == ["node"]
    play.script = {"node[0]/p": {"x": 1}}
    play.take(play.machine.retry("node", None, 50))
    assert play.finish().line.data == {"x": 1}
    assert play.ran == ["node[0]/p", "node[1]/p", "node[0]/p", "node[1]/p", "after"]


TIMED = {name: {**node, "timeout": "2s"} for name, node in COMPOSITES.items()}
DEADLINE = "timeout of node since 1970-01-01T00:00:01.000Z"


def timed(kind: str, **fields: Any) -> Play:
    """A graph of a composite with a `timeout`, and of nodes behind each of its outcomes."""
    nodes = {"node": {**TIMED[kind], **fields}, "late": python(), "fine": python()}
    graph = {"nodes": nodes, "edges": [edge("node", "late", outcome="timeout"), edge("node", "fine")]}
    return Play(machine_of(graph, {"x": 0}, sub={"name": "sub", **body("p")})).start()


@pytest.mark.parametrize("kind", COMPOSITES)
def test_a_body_that_is_not_over_in_time_is_cancelled_and_its_node_timed_out(kind: str) -> None:
    play = timed(kind)
    timer = play.pending[DEADLINE]
    assert isinstance(timer, StartTimer)
    assert timer.seconds == 2
    inside = [address for address in play.pending if address != DEADLINE]
    play.answer(DEADLINE)
    assert play.cancelled == inside
    assert play.finish().failure is None
    assert play.ran[-1] == "late"
    node = play.state.root.nodes["node"]
    assert (node.status.value, node.failure and node.failure.code) == ("timed_out", "TIMEOUT")


@pytest.mark.parametrize("kind", COMPOSITES)
def test_a_body_that_is_over_in_time_stops_its_timer(kind: str) -> None:
    play = timed(kind)
    while play.state.finished is None:
        play.answer(next(address for address in play.pending if address != DEADLINE))
    assert (play.cancelled, play.state.timers, play.state.deadlines) == ([DEADLINE], {}, {})
    assert play.ran[-1] == "fine"


@pytest.mark.parametrize("kind", COMPOSITES)
def test_a_time_out_that_nothing_handles_fails_the_run_and_undoes_what_was_done_inside(kind: str) -> None:
    inner = body("p", "q", p=python(compensate=python()))
    node = {**TIMED[kind], **({} if kind == "graph" else {"body": inner})}
    play = Play(machine_of({"nodes": {"node": node}}, sub={"name": "sub", **inner})).start()
    first = next(address for address in play.pending if address != DEADLINE)
    play.answer(first)
    play.answer(DEADLINE)
    finish = play.finish()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("TIMEOUT", "node")
    running = {"foreach": ("node[1]/p",)}.get(kind, ())  # it was cancelled, and may have done its work
    assert finish.compensated == (*running, first)


def test_what_answers_after_the_time_out_is_awaited_and_changes_nothing() -> None:
    play = timed("foreach")
    play.machine.succeeded(DEADLINE, None, 50)
    assert play.machine.succeeded("node[0]/p", None, 60) == []
    commands = play.machine.failed("node[1]/p", failure(), 70)
    assert [each.address for each in commands if isinstance(each, RunNode)] == ["late"]


@pytest.mark.parametrize("how", ["cancelled", "succeeded", "never started"])
def test_a_child_workflow_whose_time_is_up_is_cancelled_and_awaited(how: str) -> None:
    node = {"type": "graph", "graph": "sub", "mode": "child_workflow", "timeout": "2s", "compensate": python()}
    graph = {"nodes": {"node": node, "late": python()}, "edges": [edge("node", "late", outcome="timeout")]}
    play = Play(machine_of(graph, sub={"name": "sub", **body("p")})).start()
    assert play.machine.succeeded(DEADLINE, None, 50) == [CancelWork("node")]
    if how == "succeeded":
        play.take(play.machine.succeeded("node", {"x": 1}, 60))
        assert play.state.finished is not None
        assert play.state.finished.line.data == {"x": 1}
        return
    happened = True if how == "cancelled" else None
    told = Failure("cancelled", "CANCELLED" if happened else NOT_STARTED, "stopped", happened=happened)
    play.take(play.machine.failed("node", told, 60))
    play.pending = {"late": play.pending["late"]}
    play.script = {"late": failure()}
    assert play.finish().compensated == (("node",) if happened else ())


def test_items_that_disagree_for_too_long_time_their_node_out() -> None:
    node = foreach("[1, 2]", timeout="2s")
    graph = {**one(node, context=ASK), "edges": [edge("node", "after", outcome="timeout")]}
    play = Play(machine_of(graph), {"node[0]/p": {"x": 5}, "node[1]/p": {"x": 3}}).start()
    for index in range(2):
        play.answer(f"node[{index}]/p")
    play.answer(DEADLINE)
    assert play.cancelled == ["node"]
    assert play.finish().failure is None
    assert play.state.root.nodes["node"].status.value == "timed_out"


def test_after_continue_as_new_a_body_has_the_rest_of_its_time() -> None:
    play = Play(machine_of(one({**TIMED["foreach"], "body": {"nodes": {"p": {"type": "wait", "for": "1h"}}}}))).start()
    fresh = RunState(play.state.plan, {}, run=RUN)
    snapshot.load(fresh, json.loads(json.dumps(snapshot.dump(play.state))))
    again = Play(Machine(fresh))
    again.take(again.machine.resume_from_snapshot(2_500))
    (timer,) = [each for address, each in again.pending.items() if address.startswith("timeout of ")]
    assert isinstance(timer, StartTimer)
    assert timer.seconds == 0.5
    again.answer(timer.address)
    assert again.cancelled == ["node[0]/p", "node[1]/p"]


def test_the_status_shows_what_runs_inside_bodies_and_no_more_than_that() -> None:
    play = Play(machine_of(one(foreach("[1, 2]", body("p", "q"))))).start()
    play.answer("node[0]/p")
    nodes = views.status(play.state)["nodes"]
    assert isinstance(nodes, dict)
    states = {address: each["status"] for address, each in nodes.items() if isinstance(each, dict)}
    assert states == {"node": "running", "after": "pending", "node[1]/p": "running", "node[0]/q": "running"}
    play.finish()
    assert list(fields(views.status(play.state)["nodes"])) == ["node", "after"]


def test_the_status_names_the_nodes_that_are_paused_in_bodies() -> None:
    play = Play(machine_of(one(foreach("[1]", body("p", p=python(on_failure="pause"))))), {"node[0]/p": failure()})
    play.start().answer("node[0]/p")
    reported: Any = views.status(play.state)["nodes"]
    assert (reported["node[0]/p"]["status"], reported["node[0]/p"]["error"]["type"]) == ("paused", "NODE_FAILED")


@pytest.mark.parametrize("held_back", ["is_paused", "is_draining"])
def test_what_was_held_back_in_a_body_that_failed_never_starts(held_back: str) -> None:
    inner = {"nodes": {name: python() for name in "pqr"}, "edges": [edge("p", "q")]}
    play = Play(machine_of(one(foreach("[1]", inner, on_failure="continue"))), {"node[0]/r": failure()}).start()
    setattr(play.state, held_back, True)
    for name in "pr":
        play.answer(f"node[0]/{name}")
    assert [scope.address(run) for scope, run in play.state.ready] == ["after"]
    setattr(play.state, held_back, False)
    play.take(play.machine.resume(50))
    assert list(play.pending) == ["after"]
    assert play.finish().failure is None


def test_a_body_inside_one_that_failed_enters_no_more_items_when_the_run_is_resumed() -> None:
    inner = foreach(max_concurrency=2)
    outer = foreach("[1]", {"nodes": {"inner": inner, "x": python()}}, on_failure="continue")
    play = Play(machine_of(one(outer)), {"node[0]/x": failure()}).start()
    play.state.is_draining = True
    play.answer("node[0]/inner[0]/p")
    play.answer("node[0]/x")
    assert (play.state.bodies, play.state.scopes) == ({}, {})
    play.state.is_draining = False
    play.take(play.machine.resume(play.now))
    assert list(play.pending) == ["after"]
    assert play.finish().failure is None
