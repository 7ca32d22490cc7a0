"""Items of a `foreach` that fail, that are skipped, and that go on past a failure: what becomes of the node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from anabranch.graph.model import Graph
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.commands import DEADLINE, AskConflict, StartTimer
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
from tests.json_values import at
from tests.unit.machine_kit import RUN, Outcome, Play, cancelled, edge, failure, machine_of, python, shuffled, timeout

BROKEN = failure("BROKEN")
STEP = python(compensate=python())
STEPS: dict[str, Any] = {"nodes": {"a": STEP, "b": python()}, "edges": [edge("a", "b")]}


ONE: dict[str, Any] = {"nodes": {"p": python()}}


def foreach(count: int = 4, *, how: str = "skip", body: Mapping[str, Any] = ONE, **fields: Any) -> dict[str, Any]:
    return {"type": "foreach", "items": str([*range(count)]), "body": body, "on_item_failure": how, **fields}


def graph(node: Mapping[str, Any], *, outcome: str = "success", **fields: Any) -> dict[str, Any]:
    nodes = {"node": node, "after": python()}
    return {"nodes": nodes, "edges": [edge("node", "after", outcome=outcome)], **fields}


def played(node: Mapping[str, Any], script: Mapping[str, Outcome], **fields: Any) -> Play:
    return Play(machine_of(graph(node, **fields)), script, pick=no_deadline)


def no_deadline(pending: list[str]) -> str:
    return next((each for each in pending if not each.startswith(DEADLINE)), pending[0])


def resumed(play: Play, at: int) -> Play:
    fresh = RunState(play.state.plan, {}, run=RUN)
    snapshot.load(fresh, json.loads(json.dumps(snapshot.dump(play.state))))
    again = Play(Machine(fresh), play.script)
    again.take(again.machine.resume_from_snapshot(at))
    return again


def items_of(play: Play, address: str = "node") -> Any:
    return at(views.status(play.state), "nodes", address, "items")


def undone(play: Play) -> list[str]:
    return [each for each in play.ran if each.startswith("undo")]


# an item that fails


@pytest.mark.parametrize("seed", range(4))
def test_the_node_goes_on_without_an_item_that_fails(seed: int) -> None:
    script: dict[str, Outcome] = {f"node[{index}]/p": {f"x{index}": index} for index in range(4)}
    play = played(foreach(), {**script, "node[1]/p": BROKEN})
    play.pick = shuffled(seed)
    assert play.run().line.data == {"x0": 0, "x2": 2, "x3": 3}
    assert play.seen["after"] == {"x0": 0, "x2": 2, "x3": 3}


def test_what_runs_in_an_item_that_fails_is_cancelled_and_awaited_and_nothing_else() -> None:
    body = {"nodes": {"p": python(), "q": python()}}
    play = played(foreach(2, body=body), {"node[0]/p": BROKEN}).start()
    play.answer("node[0]/p")
    assert play.cancelled == ["node[0]/q"]
    assert list(play.pending) == ["node[1]/p", "node[1]/q"]
    assert play.finish().failure is None


def test_an_item_that_fails_makes_room_for_the_next_one() -> None:
    play = played(foreach(3, max_concurrency=1), {"node[0]/p": BROKEN})
    assert play.run().failure is None
    assert play.ran == ["node[0]/p", "node[1]/p", "node[2]/p", "after"]


def test_what_an_item_wrote_before_it_failed_is_dropped() -> None:
    play = played(foreach(2, body=STEPS), {"node[0]/a": {"x": 1}, "node[0]/b": BROKEN, "node[1]/a": {"y": 1}})
    assert play.run().line.data == {"y": 1}


@pytest.mark.parametrize("how", ["skip", "collect"])
def test_a_node_all_of_whose_items_fail_succeeds_without_changes(how: str) -> None:
    node = foreach(2, how=how, failed="bad" if how == "collect" else None)
    play = played(node, {"node[0]/p": BROKEN, "node[1]/p": timeout()})
    assert play.run().failure is None
    assert play.state.root.nodes["node"].status.value == "succeeded"


def test_items_that_failed_are_listed_in_the_order_of_the_items_with_their_errors() -> None:
    node = foreach(3, how="collect", failed="bad", collect={"into": "good", "value": "item * 10"})
    play = played(node, {"node[2]/p": BROKEN, "node[0]/p": timeout()})
    play.pick = lambda pending: pending[-1]
    finish = play.run()
    error = {"message": "it broke", "outcome": "failure", "node": "node[2]/p", "code": "BROKEN", "type": "BROKEN"}
    late = {"message": "no answer", "outcome": "timeout", "node": "node[0]/p", "code": "TIMEOUT", "type": "TIMEOUT"}
    assert finish.line.data == {
        "good": [10],
        "bad": [{"index": 0, "item": 0, "error": late}, {"index": 2, "item": 2, "error": error}],
    }


def test_without_failures_the_list_of_them_is_empty() -> None:
    play = played(foreach(1, how="collect", failed="bad"), {"node[0]/p": {"x": 1}})
    assert play.run().line.data == {"x": 1, "bad": []}


def test_a_value_that_cannot_be_collected_is_the_failure_of_its_item() -> None:
    node = foreach(3, collect={"into": "shares", "value": "6 / item"})
    play = played(node, {})
    assert play.run().line.data == {"shares": [6, 3]}
    assert items_of(play) == {"all": 3, "done": 2, "failed": 1, "running": 0}


def test_with_fail_the_first_item_that_fails_is_the_failure_of_the_node() -> None:
    play = played(foreach(how="fail"), {"node[1]/p": BROKEN})
    finish = play.run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.message, finish.failure.node) == ("BROKEN", "it broke", "node[1]/p")
    assert items_of(play) == {"all": 4, "done": 1, "failed": 1, "running": 0}


# how many may fail


@pytest.mark.parametrize(
    ("tolerate", "fails"), [(0, 1), (1, 2), ("25%", 2), ("49%", 2), ("50%", 3), ("0%", 1), (3, 4), ("99.9%", 4)]
)
def test_the_node_fails_with_the_first_item_that_is_too_many(tolerate: int | str, fails: int) -> None:
    for count in (fails - 1, fails):
        script = {f"node[{index}]/p": BROKEN for index in range(count)}
        finish = played(foreach(tolerate=tolerate, max_concurrency=1), script).run()
        if count < fails:
            assert finish.failure is None
        else:
            assert finish.failure is not None
            assert (finish.failure.code, finish.failure.node) == ("BROKEN", f"node[{fails - 1}]/p")
            said = f"it broke ({fails} of 4 items failed, and `tolerate` is {tolerate})"
            assert finish.failure.message == said


def test_one_failure_too_many_ends_items_that_are_being_given_up_with_the_others() -> None:
    body = {"nodes": {"p": python(), "q": python(), "r": python()}}
    play = played(foreach(2, tolerate=1, body=body), {"node[0]/p": BROKEN, "node[1]/p": BROKEN}, outcome="failure")
    play.start().pending.clear()
    machine = play.machine
    for index in range(2):  # what is cancelled takes its time
        machine.failed(f"node[{index}]/p", BROKEN, play.now)
    assert play.state.aborts.keys() == {"node"}
    for each in ("node[0]/q", "node[1]/r", "node[1]/q"):
        assert machine.failed(each, cancelled(), play.now) == []
    play.take(machine.failed("node[0]/r", cancelled(), play.now))
    assert list(play.pending) == ["after"]
    assert play.finish().failure is None


# undoing


def test_the_steps_of_an_item_that_failed_are_undone_before_the_next_item_takes_its_place() -> None:
    play = played(foreach(2, body=STEPS, max_concurrency=1), {"node[0]/b": BROKEN})
    assert play.run().failure is None
    assert play.ran == ["node[0]/a", "node[0]/b", "undo node[0]/a", "node[1]/a", "node[1]/b", "after"]
    assert views.status(play.state)["compensated"] == ["node[0]/a"]


def test_each_item_is_undone_once_and_the_others_with_the_run() -> None:
    play = played(foreach(2, body=STEPS), {"node[0]/b": BROKEN, "after": BROKEN})
    assert play.run().compensated == ("node[0]/a", "node[1]/a")
    assert undone(play) == ["undo node[0]/a", "undo node[1]/a"]


def test_a_compensation_of_an_item_sees_the_error_of_that_item() -> None:
    play = played(foreach(1, body=STEPS), {"node[0]/b": BROKEN}).start()
    play.answer("node[0]/a")
    play.answer("node[0]/b")
    command: Any = play.pending["undo node[0]/a"]
    assert command.roots["error"] == {**BROKEN.root(), "node": "node[0]/b"}
    assert play.finish().failure is None


def test_what_the_compensations_of_an_item_write_outlives_it() -> None:
    body = {**STEPS, "nodes": {"a": python(compensate=python(output={"refund": "result.n"})), "b": python()}}
    script: dict[str, Outcome] = {"node[0]/a": {"x": 1}, "node[0]/b": BROKEN, "undo node[0]/a": {"refund": 7}}
    assert played(foreach(1, body=body), script).run().line.data == {"refund": 7}


def test_a_compensation_that_fails_is_told_and_the_other_items_go_on() -> None:
    play = played(foreach(2, body=STEPS), {"node[0]/b": BROKEN, "undo node[0]/a": BROKEN})
    finish = play.run()
    assert finish.failure is None
    assert views.result(play.state, finish, "s")["not_compensated"] == ["node[0]/a"]


def test_items_are_undone_behind_a_pivot_too_but_not_where_one_in_the_body_was_passed() -> None:
    nodes = {"pay": python(pivot=True), "node": foreach(1, body=STEPS)}
    behind = Play(machine_of({"nodes": nodes, "edges": [edge("pay", "node")]}), {"node[0]/b": BROKEN})
    assert behind.run().failure is None
    assert undone(behind) == ["undo node[0]/a"]
    body = {
        "nodes": {"a": STEP, "pay": python(pivot=True), "b": python()},
        "edges": [edge("a", "pay"), edge("pay", "b")],
    }
    passed = played(foreach(1, body=body), {"node[0]/b": BROKEN})
    assert passed.run().failure is None
    assert undone(passed) == []


def test_a_run_that_is_cancelled_while_an_item_is_undone_waits_for_that_and_undoes_the_others() -> None:
    play = played(foreach(2, body=STEPS), {"node[0]/b": BROKEN}).start()
    for address in ("node[0]/a", "node[1]/a", "node[0]/b"):
        play.answer(address)
    assert "undo node[0]/a" in play.pending
    play.take(play.machine.cancel("enough", play.now))
    finish = play.finish()
    assert finish.compensated == ("node[0]/a", "node[1]/a")
    assert undone(play).count("undo node[0]/a") == 1


def test_a_time_out_of_the_node_while_an_item_is_undone_ends_the_node_behind_it() -> None:
    play = played(foreach(2, body=STEPS, timeout="5s"), {"node[0]/b": BROKEN}, outcome="timeout").start()
    (timer,) = [each.address for each in play.pending.values() if isinstance(each, StartTimer)]
    for address in ("node[0]/a", "node[0]/b", timer):
        play.answer(address)
    assert "after" not in play.pending
    play.answer("undo node[0]/a")
    assert list(play.pending) == ["after"]
    assert play.finish().failure is None


def test_an_attempt_that_has_too_many_failures_is_undone_and_the_next_one_begins_anew() -> None:
    node = foreach(2, body=STEPS, tolerate=0, max_concurrency=1, retry={"max_attempts": 2})
    play = played(node, {"node[1]/b": BROKEN})
    assert play.run().failure is None
    assert undone(play) == ["undo node[1]/a", "undo node[0]/a"]
    assert play.ran[-5:] == ["node~2[0]/a", "node~2[0]/b", "node~2[1]/a", "node~2[1]/b", "after"]
    assert items_of(play) == {"all": 2, "done": 2, "failed": 0, "running": 0}


def test_an_item_of_a_later_attempt_is_undone_under_its_number() -> None:
    node = foreach(2, body=STEPS, tolerate="50%", max_concurrency=1, retry={"max_attempts": 2})
    play = played(node, {"node[0]/b": BROKEN, "node[1]/b": BROKEN, "node~2[0]/b": BROKEN})
    assert play.run().failure is None
    assert undone(play) == ["undo node[0]/a", "undo node[1]/a", "undo node~2[0]/a"]


# bodies in bodies


def test_an_item_that_fails_ends_the_bodies_inside_it() -> None:
    inner = foreach(3, how="fail", max_concurrency=1)
    body = {"nodes": {"inner": inner, "x": python()}}
    play = played(foreach(2, body=body, max_concurrency=1), {"node[0]/x": BROKEN}).start()
    play.answer("node[0]/x")
    assert play.cancelled == ["node[0]/inner[0]/p"]
    assert list(play.state.bodies) == ["node", "node[1]/inner"]
    assert play.finish().failure is None
    assert "node[0]/inner[1]/p" not in play.ran


def test_an_item_inside_an_item_fails_alone() -> None:
    body = {"nodes": {"inner": foreach(2, collect={"into": "got", "value": "item"})}}
    play = played(foreach(2, body=body, collect={"into": "all", "value": "got"}), {"node[1]/inner[0]/p": BROKEN})
    assert play.run().line.data == {"all": [[0, 1], [1]]}


def test_a_failure_inside_that_the_item_cannot_go_on_without_fails_the_item() -> None:
    body = {"nodes": {"inner": foreach(2, how="fail")}}
    play = played(foreach(2, body=body), {"node[1]/inner[0]/p": BROKEN})
    assert play.run().failure is None
    assert play.state.root.nodes["node"].progress is not None
    assert items_of(play) == {"all": 2, "done": 1, "failed": 1, "running": 0}


# interleavings


def test_an_operator_who_gives_up_a_paused_node_gives_up_its_item() -> None:
    body = {"nodes": {"p": python(on_failure="pause")}}
    play = played(foreach(2, body=body), {"node[0]/p": BROKEN}).start()
    play.answer("node[0]/p")
    play.answer("node[1]/p")
    assert list(play.state.paused_nodes) == ["node[0]/p"]
    play.take(play.machine.give_up("node[0]/p", play.now))
    assert list(play.pending) == ["after"]
    assert items_of(play) == {"all": 2, "done": 1, "failed": 1, "running": 0}


def test_a_run_that_is_paused_undoes_an_item_that_failed_and_starts_no_other() -> None:
    play = played(foreach(2, body=STEPS, max_concurrency=1), {"node[0]/b": BROKEN}).start()
    play.answer("node[0]/a")
    play.state.is_paused = True
    play.answer("node[0]/b")
    play.answer("undo node[0]/a")
    assert list(play.pending) == []
    play.state.is_paused = False
    play.take(play.machine.resume(play.now))
    assert list(play.pending) == ["node[1]/a"]
    assert play.finish().failure is None


def test_what_was_held_back_in_an_item_that_failed_never_starts() -> None:
    body = {"nodes": {name: python() for name in "pqr"}, "edges": [edge("p", "q")]}
    play = played(foreach(1, body=body), {"node[0]/r": BROKEN}).start()
    play.state.is_paused = True
    for name in "pr":
        play.answer(f"node[0]/{name}")
    play.state.is_paused = False
    play.take(play.machine.resume(play.now))
    assert list(play.pending) == ["after"]


def test_after_continue_as_new_failures_still_count_and_are_still_told() -> None:
    body = {"nodes": {"p": python(), "nap": {"type": "wait", "for": "1h"}}, "edges": [edge("p", "nap")]}
    node = foreach(3, body=body, how="collect", failed="bad", tolerate=1)
    play = played(node, {"node[0]/p": BROKEN}).start()
    for index in range(3):
        play.answer(f"node[{index}]/p")
    assert not play.state.under_way
    again = resumed(play, play.now + 1)
    assert items_of(again) == {"all": 3, "done": 0, "failed": 1, "running": 2}
    finish = again.finish()
    assert at(finish.line.data, "bad", 0, "index") == 0
    assert again.state.trail.warnings == [("node", "1 of 3 items failed: node[0] (BROKEN)")]
    twice = resumed(play, play.now + 1)
    twice.script = {"node[1]/nap": BROKEN}
    ended = twice.finish()
    assert ended.failure is not None
    assert ended.failure.message == "it broke (2 of 3 items failed, and `tolerate` is 1)"


def test_while_an_item_is_given_up_the_state_is_not_handed_on() -> None:
    play = played(foreach(1, body=STEPS), {"node[0]/b": BROKEN}).start()
    play.answer("node[0]/a")
    play.answer("node[0]/b")
    assert play.state.under_way
    play.answer("undo node[0]/a")
    assert play.finish().failure is None


def test_items_that_disagree_ask_without_those_that_failed() -> None:
    context = {"conflict_resolution": "fail_on_conflict", "conflict_timeout": "1m"}
    script: dict[str, Outcome] = {"node[0]/p": {"x": 5}, "node[1]/p": {"x": 3}, "node[2]/p": BROKEN}
    play = played(foreach(3), script, context=context).start()
    for index in (2, 0, 1):
        play.answer(f"node[{index}]/p")
    question = play.pending.pop("node")
    assert isinstance(question, AskConflict)
    assert [each.by for each in question.conflicts[0].candidates] == ["node[0]", "node[1]"]
    play.take(play.machine.choose("node", {("x",): 4}, play.now))
    assert play.finish().line.data == {"x": 4}
    assert play.state.trail.warnings == [("node", "1 of 3 items failed: node[2] (BROKEN)")]


# what is told


def test_a_run_tells_how_many_items_are_done_failed_and_running_while_they_are() -> None:
    play = played(foreach(4, max_concurrency=2), {"node[0]/p": BROKEN}).start()
    assert items_of(play) == {"all": 4, "done": 0, "failed": 0, "running": 2}
    play.answer("node[0]/p")
    play.answer("node[1]/p")
    assert items_of(play) == {"all": 4, "done": 1, "failed": 1, "running": 2}
    assert "| `node` | running, 1 of 4 items done, 1 failed, 2 running |" in views.details(play.state)
    play.finish()
    assert items_of(play) == {"all": 4, "done": 3, "failed": 1, "running": 0}
    assert "| `node` | succeeded, 3 of 4 items done, 1 failed |" in views.details(play.state)


def test_a_loop_inside_of_another_node_is_told_of_while_it_runs() -> None:
    body = {"nodes": {"inner": foreach(3)}}
    play = played(foreach(1, body=body), {"node[0]/inner[0]/p": BROKEN}).start()
    play.answer("node[0]/inner[0]/p")
    assert items_of(play, "node[0]/inner") == {"all": 3, "done": 0, "failed": 1, "running": 2}


def test_failures_that_a_node_went_on_after_are_in_the_trail_and_the_result() -> None:
    script = {f"node[{index}]/p": BROKEN for index in range(7)}
    play = played(foreach(9), script)
    finish = play.run()
    said = "7 of 9 items failed: " + ", ".join(f"node[{index}] (BROKEN)" for index in range(5)) + ", …"
    assert views.result(play.state, finish, "s")["warnings"] == [{"by": "node", "warning": said}]
    assert views.status(play.state)["warnings"] == [{"by": "node", "warning": said}]
    assert [each.changes.warnings for each in play.state.trail.versions if each.by == "node"] == [(said,)]


def test_twenty_items_two_of_which_go_on_past_a_failure_tell_so() -> None:
    body = {"nodes": {"p": python(on_failure="continue"), "q": python()}, "edges": [edge("p", "q")]}
    play = played(foreach(20, how="fail", body=body), {"node[3]/p": BROKEN, "node[7]/p": timeout()})
    finish = play.run()
    assert items_of(play) == {"all": 20, "done": 20, "failed": 0, "running": 0, "passed_over": 2}
    said = "in 2 of 20 items a node failed and was passed over: node[3]/p (BROKEN), node[7]/p (TIMEOUT)"
    assert views.result(play.state, finish, "s")["warnings"] == [{"by": "node", "warning": said}]
    assert "| `node` | succeeded, 20 of 20 items done, 2 passed over |" in views.details(play.state)


@pytest.mark.parametrize("kind", ["while", "graph", "foreach"])
def test_a_failure_that_was_passed_over_deep_inside_is_told_once_by_the_outermost_node(kind: str) -> None:
    inner = foreach(1, how="fail", body={"nodes": {"p": python(on_failure="continue")}})
    body = {"nodes": {"inner": inner}}
    cases: dict[str, tuple[dict[str, Any], str, str]] = {
        "while": ({"type": "while", "until": "true", "body": body}, "node[0]/", "in 1 of 1 turns "),
        "graph": ({"type": "graph", "graph": "sub"}, "node/", ""),
        "foreach": (foreach(1, how="fail", body=body), "node[0]/", "in 1 of 1 items "),
    }
    node, prefix, said = cases[kind]
    play = Play(machine_of(graph(node), sub={"name": "sub", **body}), {f"{prefix}inner[0]/p": BROKEN})
    assert play.run().failure is None
    told = f"{said}a node failed and was passed over: {prefix}inner[0]/p (BROKEN)"
    assert play.state.trail.warnings == [("node", told)]


# items that are skipped


def test_items_whose_nodes_were_all_skipped_leave_no_null_in_the_list() -> None:
    body = {"nodes": {"p": python(when="item > 1")}}
    play = played(foreach(4, how="fail", body=body, collect={"into": "xs", "value": "context.x"}), {})
    play.script = {"node[2]/p": {"x": 2}, "node[3]/p": {"x": 3}}
    assert play.run().line.data == {"xs": [2, 3]}
    assert items_of(play) == {"all": 4, "done": 4, "failed": 0, "running": 0, "skipped": 2}


def test_items_that_were_all_skipped_collect_to_an_empty_list() -> None:
    body = {"nodes": {"p": python(when="false")}}
    play = played(foreach(3, how="fail", body=body, collect={"into": "xs", "value": "context.x"}), {})
    assert play.run().line.data == {"xs": []}


@pytest.mark.parametrize("kind", ["foreach", "while"])
def test_collect_when_says_which_turns_have_a_value(kind: str) -> None:
    collect = {"into": "xs", "value": "x", "when": "x != 1 && index < 3"}
    node = foreach(4, how="fail", collect=collect)
    if kind == "while":
        node = {"type": "while", "until": "turn == 4", "body": node["body"], "collect": collect}
    play = played(node, {f"node[{index}]/p": {"x": index} for index in range(4)})
    assert play.run().line.data == {"xs": [0, 2]}


def test_the_language_takes_what_a_drawing_and_a_pinned_graph_hold() -> None:
    parsed = Graph.model_validate({"name": "g", "nodes": {"node": foreach(tolerate="5%", how="collect", failed="bad")}})
    again = Graph.model_validate_json(parsed.model_dump_json(by_alias=True))
    assert again == parsed
