"""`type: block`: nodes in place that fail together. What they did is undone before anything follows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from anabranch.errors import GraphError
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.drawing.mermaid import mermaid
from anabranch.graph.drawing.tree import tree
from anabranch.graph.kinds.pin import pinned
from anabranch.graph.load import LoadedGraph, load_graph, load_text, written_out
from anabranch.graph.model import BlockNode, DbNode, Graph, RuleNode
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.commands import DEADLINE, Command, Failure, RunNode, StartTimer
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
from tests.unit.machine_kit import RUN, Outcome, Play, edge, failure, machine_of, python, timeout

BROKEN = failure("BROKEN")
STEP = python(compensate=python())
ON_FAILURE = (edge("trip", "after"), edge("trip", "caught", outcome="failure"))


def block(*names: str, edges: list[dict[str, Any]] | None = None, **fields: Any) -> dict[str, Any]:
    """A block of steps one after the other; `fields` with their names are nodes, others are the block's."""
    nodes = {name: fields.pop(name, STEP) for name in names or ("hotel", "flight")}
    given = [edge(*pair) for pair in zip(nodes, list(nodes)[1:], strict=False)] if edges is None else edges
    return {"type": "block", "nodes": nodes, "edges": given, **fields}


def played(
    node: Mapping[str, Any],
    script: Mapping[str, Outcome] | None = None,
    *,
    data: Mapping[str, Any] | None = None,
    edges: tuple[dict[str, Any], ...] = (edge("trip", "after"),),
    beside: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Play:
    ends = {end for each in edges for end in (each["from"], each["to"])} - {"trip"}
    nodes = {"trip": node, **{name: python() for name in sorted(ends)}, **(beside or {})}
    return Play(machine_of({"nodes": nodes, "edges": list(edges), **fields}, data), script or {}, pick=oldest)


def oldest(pending: list[str]) -> str:
    """The first piece of work that is no time-out."""
    return next((each for each in pending if not each.startswith(DEADLINE)), pending[0])


def until(play: Play, address: str) -> Command:
    """Answer the oldest work until this is asked for."""
    if not play.pending:
        play.start()
    while address not in play.pending:
        play.answer(oldest(list(play.pending)))
    return play.pending[address]


def deadline(play: Play) -> str:
    return next(each for each in play.pending if each.startswith(DEADLINE))


def carried(play: Play) -> Play:
    """The run after it has continued as new."""
    fresh = RunState(play.state.plan, {}, run=RUN)
    snapshot.load(fresh, json.loads(json.dumps(snapshot.dump(play.state))))
    again = Play(Machine(fresh), play.script, pick=oldest, now=play.now)
    again.take(again.machine.resume_from_snapshot(play.now))
    return again


# what it sees and writes


def test_its_nodes_see_the_context_around_and_what_they_write_comes_back_as_one_version() -> None:
    play = played(
        block(), {"trip/hotel": {"room": 7}, "trip/flight": {"seat": 1, "city": "Bonn"}}, data={"city": "Ulm"}
    )
    finish = play.run()
    assert play.ran == ["trip/hotel", "trip/flight", "after"]
    assert play.seen["trip/flight"] == {"city": "Ulm", "room": 7}
    assert finish.line.data == {"city": "Bonn", "room": 7, "seat": 1}
    (version,) = [each for each in play.state.trail.versions if each.by == "trip"]
    assert version.changes.set == {("city",): "Bonn", ("room",): 7, ("seat",): 1}


def test_its_changes_merge_with_those_of_branches_beside_it() -> None:
    edges = (edge("trip", "after"), edge("beside", "after"))
    script = {"trip/hotel": {"total": 3}, "trip/flight": {"total": 5}, "beside": {"total": 2}}
    play = played(block(), script, edges=edges, data={"total": 1}, context={"merge": {"total": "sum"}})
    assert play.run().line.data == {"total": 6}


def test_its_branches_merge_by_the_policies_of_the_graph_around() -> None:
    node = block("a", "b", "j", edges=[edge("a", "j"), edge("b", "j")])
    play = played(node, {"trip/a": {"n": 1}, "trip/b": {"n": 2}}, data={"n": 0}, context={"merge": {"n": "sum"}})
    assert play.run().line.data == {"n": 3}


def test_with_an_output_it_writes_only_what_that_says() -> None:
    node = block(output={"booked": "result.room + far"}, input={"far": "{{ base }}"})
    play = played(node, {"trip/hotel": {"room": 7, "base": 9}}, data={"base": 100})
    assert play.run().line.data == {"base": 100, "booked": 107}


def test_in_a_loop_its_nodes_see_the_item_and_the_turn() -> None:
    body = {"nodes": {"book": block("p", p=python(args={"x": "{{ item }}"}))}}
    play = played({"type": "foreach", "items": "[5, 6]", "body": body}).start()
    seen = [each.roots["item"] for each in play.pending.values() if isinstance(each, RunNode)]
    assert (list(play.pending), seen) == (["trip[0]/book/p", "trip[1]/book/p"], [5, 6])


def test_a_block_whose_nodes_are_all_skipped_succeeds_and_writes_nothing() -> None:
    play = played(block("p", p=python(when="false")), data={"x": 1})
    assert play.run().line.data == {"x": 1}
    assert play.ran == ["after"]


# failures


def test_when_it_fails_its_steps_are_undone_then_its_changes_are_dropped_then_the_failure_edge_is_taken() -> None:
    play = played(block("a", "b", "c"), {"trip/a": {"x": 1}, "trip/c": BROKEN}, edges=ON_FAILURE, data={"x": 0})
    finish = play.run()
    assert play.ran == ["trip/a", "trip/b", "trip/c", "undo trip/b", "undo trip/a", "caught"]
    assert (finish.failure, finish.line.data, play.seen["caught"]) == (None, {"x": 0}, {"x": 0})
    assert play.state.saga.steps == {}


def test_the_handler_sees_the_error_and_what_compensations_wrote() -> None:
    hotel = python(compensate=python(output={"refund": "result.n"}))
    play = played(block(hotel=hotel), {"trip/flight": BROKEN, "undo trip/hotel": {"refund": 7}}, edges=ON_FAILURE)
    caught = until(play, "caught")
    assert isinstance(caught, RunNode)
    assert caught.line.data == {"refund": 7}
    assert caught.roots["error"] == BROKEN.root() | {"node": "trip/flight"}
    assert play.finish().line.data == {"refund": 7}


@pytest.mark.parametrize("around", ["", "each[0]/"], ids=["in the graph", "in an item"])
def test_all_that_compensations_of_its_attempts_wrote_is_there_behind_its_failure(around: str) -> None:
    undo: dict[str, Any] = {
        key: python(compensate=python(output={key: "result.n", "last": "result.n"})) for key in ("k", "l")
    }
    node = block("k", "l", "end", **undo, retry={"max_attempts": 2, "initial_interval": "1s"})
    body = {"nodes": {"trip": node, "caught": python()}, "edges": [edge("trip", "caught", outcome="failure")]}
    loop = {"type": "foreach", "items": "[1]", "body": body}
    graph = {"nodes": {"each": loop}} if around else body
    script: dict[str, Outcome] = {f"{around}trip/end": BROKEN, f"{around}trip~2/end": BROKEN}
    for attempt, at in (("trip", 1), ("trip~2", 3)):
        script[f"undo {around}{attempt}/l"] = {"l": at, "last": at}
        script[f"undo {around}{attempt}/k"] = {"k": at + 1, "last": at + 1}
    play = Play(machine_of(graph, {"last": 0}), script, pick=oldest)
    assert play.run().line.data == {"l": 3, "k": 4, "last": 4}
    assert play.seen[f"{around}trip~2/k"] == {"l": 1, "k": 2, "last": 2}
    assert play.seen[f"{around}caught"] == {"l": 3, "k": 4, "last": 4}


def test_a_fail_node_in_it_fails_it_and_its_failure_edge_catches_that() -> None:
    node = block("hotel", "no", no={"type": "fail", "code": "SOLD_OUT", "message": "no room in {{ city }}"})
    play = played(node, edges=ON_FAILURE, data={"city": "Ulm"})
    caught = until(play, "caught")
    assert isinstance(caught, RunNode)
    error: Any = caught.roots["error"]
    assert (error["code"], error["node"]) == ("SOLD_OUT", "trip/no")
    assert play.ran == ["trip/hotel", "undo trip/hotel", "caught"]


def test_a_stop_node_in_it_ends_the_block_alone_as_completed() -> None:
    edges = [edge("hotel", "enough", when="room > 5"), edge("hotel", "flight", when="room <= 5")]
    node = block("hotel", "enough", "flight", enough={"type": "stop"}, edges=edges)
    play = played(node, {"trip/hotel": {"room": 7}}, edges=ON_FAILURE)
    assert play.run().line.data == {"room": 7}
    assert play.ran == ["trip/hotel", "after"]


@pytest.mark.parametrize("ended", [{}, {"a": BROKEN}], ids=["completed", "failed"])
def test_in_finally_a_block_is_tried_again_and_its_failure_is_caught(ended: dict[str, Outcome]) -> None:
    tell = {"type": "block", "nodes": {"p": python()}, "retry": {"max_attempts": 2, "initial_interval": "1s"}}
    last = {"nodes": {"tell": tell, "caught": python()}, "edges": [edge("tell", "caught", outcome="failure")]}
    graph = {"nodes": {"first": STEP, "a": python()}, "edges": [edge("first", "a")], "finally": last}
    script = {**ended, "finally/tell/p": BROKEN, "finally/tell~2/p": BROKEN}
    play = Play(machine_of(graph), script, pick=oldest)
    finish = play.run()
    assert play.ran[-4:] == ["finally/tell/p", "finally/tell", "finally/tell~2/p", "finally/caught"]
    assert (finish.failure is None, finish.compensated) == (not ended, ("first",) if ended else ())
    assert finish.afterwards is not None
    assert finish.afterwards.failure is None


def test_undone_steps_are_not_undone_again_with_the_run() -> None:
    play = played(block(), {"trip/flight": BROKEN, "caught": BROKEN}, edges=ON_FAILURE)
    assert play.run().compensated == ("trip/hotel",)
    assert play.ran.count("undo trip/hotel") == 1


def test_where_nothing_handles_it_it_is_undone_first_and_then_the_run() -> None:
    edges = (edge("first", "trip"), edge("trip", "after"))
    play = played(block(), {"trip/flight": BROKEN}, edges=edges, beside={"first": STEP})
    finish = play.run()
    assert finish.failure is not None
    assert (finish.failure.node, finish.compensated) == ("trip/flight", ("trip/hotel", "first"))


def test_a_block_that_succeeded_is_undone_step_by_step_with_the_run() -> None:
    finish = played(block(), {"after": BROKEN}).run()
    assert finish.compensated == ("trip/flight", "trip/hotel")


def test_its_own_compensation_replaces_those_of_its_steps_once_it_has_succeeded() -> None:
    play = played(block(compensate=python()), {"after": BROKEN})
    assert play.run().compensated == ("trip",)


def test_what_nothing_inside_undoes_its_own_compensation_undoes_at_once() -> None:
    node = block(compensate=python(), hotel=python())
    play = played(node, {"trip/flight": BROKEN}, edges=ON_FAILURE)
    play.run()
    assert play.ran == ["trip/hotel", "trip/flight", "undo trip", "caught"]


@pytest.mark.parametrize(
    ("on_failure", "data", "last"),
    [("continue", {"x": 0}, "after"), ({"use": {"x": 5}}, {"x": 5}, "after")],
    ids=["continue", "use"],
)
def test_whatever_follows_its_failure_follows_the_undoing(on_failure: Any, data: Mapping[str, Any], last: str) -> None:
    play = played(block(on_failure=on_failure), {"trip/hotel": {"x": 1}, "trip/flight": BROKEN}, data={"x": 0})
    assert play.run().line.data == data
    assert play.ran == ["trip/hotel", "trip/flight", "undo trip/hotel", last]


def test_a_step_whose_outcome_is_not_known_is_undone_too() -> None:
    edges = (edge("trip", "caught", outcome=["failure", "timeout"]),)
    play = played(block(), {"trip/flight": timeout()}, edges=edges)
    play.run()
    assert play.ran == ["trip/hotel", "trip/flight", "undo trip/flight", "undo trip/hotel", "caught"]


def test_a_failure_edge_inside_of_it_keeps_it_from_failing() -> None:
    inner = [edge("hotel", "flight"), edge("flight", "train", outcome="failure")]
    play = played(block("hotel", "flight", "train", edges=inner), {"trip/flight": BROKEN})
    assert play.run().failure is None
    assert play.ran == ["trip/hotel", "trip/flight", "trip/train", "after"]


def test_a_compensation_that_fails_is_told_and_the_failure_edge_is_taken_all_the_same() -> None:
    play = played(block(), {"trip/flight": BROKEN, "undo trip/hotel": failure("STUCK")}, edges=ON_FAILURE)
    finish = play.run()
    assert play.ran[-1] == "caught"
    assert views.result(play.state, finish, "s")["not_compensated"] == ["trip/hotel"]


def test_what_runs_beside_the_failed_node_is_cancelled_and_awaited_before_the_steps_are_undone() -> None:
    node = block("a", "b", edges=[])
    play = played(node, {"trip/a": BROKEN}, edges=ON_FAILURE)
    play.run()
    assert (play.cancelled, play.ran[2:]) == (["trip/b"], ["undo trip/b", "caught"])


def test_behind_a_pivot_in_it_nothing_is_undone() -> None:
    node = block("a", "b", "c", b=python(pivot=True))
    play = played(node, {"trip/c": BROKEN}, edges=ON_FAILURE)
    play.run()
    assert play.ran == ["trip/a", "trip/b", "trip/c", "caught"]


def test_behind_a_pivot_before_it_it_is_undone_when_it_fails_and_stays_when_it_succeeds() -> None:
    edges = (edge("pay", "trip"), *ON_FAILURE)
    beside = {"pay": python(pivot=True)}
    failing = played(block(), {"trip/flight": BROKEN}, edges=edges, beside=beside)
    failing.run()
    assert failing.ran == ["pay", "trip/hotel", "trip/flight", "undo trip/hotel", "caught"]
    passed = played(block(), {"after": BROKEN}, edges=edges, beside=beside)
    assert (passed.run().compensated, passed.state.saga.steps) == ((), {})


# time-outs and attempts


def test_its_timeout_ends_what_runs_in_it_then_it_is_undone_and_the_timeout_edge_is_taken() -> None:
    edges = (edge("trip", "after"), edge("trip", "late", outcome="timeout"))
    play = played(block(timeout="5s"), edges=edges).start()
    play.answer("trip/hotel")
    play.answer(deadline(play))
    assert play.cancelled == ["trip/flight"]
    assert play.finish().failure is None
    assert play.ran[-3:] == ["undo trip/flight", "undo trip/hotel", "late"]


def test_its_timeout_does_not_bound_the_undoing() -> None:
    play = played(block(timeout="5s"), {"trip/flight": BROKEN}, edges=ON_FAILURE)
    until(play, "undo trip/hotel")
    assert [each for each in play.cancelled if each.startswith(DEADLINE)] != []
    assert not any(each.startswith(DEADLINE) for each in play.pending)
    play.finish()
    assert play.ran[-1] == "caught"


def test_a_time_out_of_what_is_around_awaits_the_undoing_of_a_block_inside() -> None:
    body = {"nodes": {"book": block()}}
    outer = {"type": "foreach", "items": "[1]", "body": body, "timeout": "5s"}
    play = played(outer, {"trip[0]/book/flight": BROKEN}, edges=(edge("trip", "late", outcome="timeout"),))
    until(play, "undo trip[0]/book/hotel")
    play.answer(deadline(play))
    assert list(play.pending) == ["undo trip[0]/book/hotel"]
    play.finish()
    assert play.ran.count("undo trip[0]/book/hotel") == 1
    assert play.ran[-1] == "late"


def test_a_time_out_of_a_block_around_undoes_what_a_block_inside_did_and_did_not_undo_yet() -> None:
    outer = block("first", "book", book=block(), timeout="5s")
    play = played(outer, edges=(edge("trip", "late", outcome="timeout"),)).start()
    play.answer("trip/first")
    play.answer("trip/book/hotel")
    play.answer(deadline(play))
    play.finish()
    undone = ["undo trip/book/flight", "undo trip/book/hotel", "undo trip/first"]
    assert play.ran[-4:] == [*undone, "late"]


def retried(**fields: Any) -> dict[str, Any]:
    return block(**{"retry": {"max_attempts": 2, "initial_interval": "10s"}, **fields})


def test_its_last_attempt_is_undone_as_those_before() -> None:
    play = played(retried(), {"trip/flight": BROKEN, "trip~2/flight": BROKEN}, edges=ON_FAILURE)
    assert play.run().failure is None
    assert play.ran == [
        "trip/hotel",
        "trip/flight",
        "undo trip/hotel",
        "trip",
        "trip~2/hotel",
        "trip~2/flight",
        "undo trip~2/hotel",
        "caught",
    ]
    assert play.state.saga.compensated == ("trip/hotel", "trip~2/hotel")


def test_an_error_that_is_not_worth_a_retry_is_undone_all_the_same() -> None:
    play = played(retried(), {"trip/flight": failure("NODE_FAILED")}, edges=ON_FAILURE)
    play.run()
    assert play.ran == ["trip/hotel", "trip/flight", "undo trip/hotel", "caught"]


def test_a_second_attempt_that_succeeds_is_undone_with_the_run_under_its_number() -> None:
    finish = played(retried(), {"trip/flight": BROKEN, "after": BROKEN}).run()
    assert finish.compensated == ("trip/hotel", "trip~2/flight", "trip~2/hotel")


def test_an_operator_who_retries_a_paused_block_starts_another_attempt() -> None:
    play = played(block(on_failure="pause"), {"trip/flight": BROKEN}).start()
    for address in ("trip/hotel", "trip/flight", "undo trip/hotel"):
        play.answer(address)
    assert list(play.state.paused_nodes) == ["trip"]
    play.script = {}
    play.take(play.machine.retry("trip", None, play.now))
    assert play.finish().failure is None
    assert play.ran[-3:] == ["trip~2/hotel", "trip~2/flight", "after"]


def test_an_operator_who_skips_a_paused_block_leaves_nothing_to_undo() -> None:
    play = played(block(on_failure="pause"), {"trip/flight": BROKEN, "after": BROKEN}).start()
    for address in ("trip/hotel", "trip/flight", "undo trip/hotel"):
        play.answer(address)
    play.take(play.machine.skip("trip", None, play.now))
    assert play.finish().compensated == ("trip/hotel",)
    assert play.ran.count("undo trip/hotel") == 1


# cancelling, racing, nesting


def test_a_run_that_is_cancelled_while_a_block_is_undone_undoes_it_once() -> None:
    edges = (edge("first", "trip"), *ON_FAILURE)
    play = played(block(), {"trip/flight": BROKEN}, edges=edges, beside={"first": STEP})
    until(play, "undo trip/hotel")
    play.take(play.machine.cancel("stop", play.now))
    assert list(play.pending) == ["undo trip/hotel"]
    finish = play.finish()
    assert (finish.cancelled, finish.compensated) == (True, ("trip/hotel", "first"))
    assert "caught" not in play.ran


def test_a_run_that_is_cancelled_in_a_block_is_undone_as_a_whole() -> None:
    edges = (edge("first", "trip"), *ON_FAILURE)
    play = played(block(), edges=edges, beside={"first": STEP})
    until(play, "trip/flight")
    play.take(play.machine.cancel("stop", play.now))
    assert play.finish().compensated == ("trip/flight", "trip/hotel", "first")


def test_a_failure_beside_a_block_cancels_it_and_the_run_undoes_it() -> None:
    play = played(block(), {"beside": BROKEN}, edges=(edge("trip", "after"), edge("beside", "after"))).start()
    play.answer("trip/hotel")
    play.answer("beside")
    assert play.finish().compensated == ("trip/flight", "trip/hotel")


def test_a_block_that_lost_a_race_is_not_undone_when_it_fails() -> None:
    beside = {"fast": python(), "join": python(join="first"), "end": python()}
    edges = (edge("trip", "join"), edge("fast", "join"), edge("join", "end"))
    play = played(block(), {"trip/flight": BROKEN}, edges=edges, beside=beside).start()
    for address in ("fast", "trip/hotel", "trip/flight"):
        play.answer(address)
    assert play.finish().failure is None
    assert "undo trip/hotel" not in play.ran


def test_the_run_waits_with_its_end_for_a_block_that_lost_while_it_was_undone() -> None:
    beside = {"fast": python(), "join": python(join="first")}
    edges = (edge("trip", "join"), edge("fast", "join"))
    play = played(block(), {"trip/flight": BROKEN}, edges=edges, beside=beside).start()
    for address in ("trip/hotel", "trip/flight", "fast", "join"):
        play.answer(address)
    assert (list(play.pending), play.state.finished) == (["undo trip/hotel"], None)
    assert play.finish().failure is None


def test_a_block_in_a_block_is_undone_first_and_its_failure_edge_is_the_outer_one_s_own() -> None:
    inner = [edge("hotel", "fly"), edge("fly", "train", outcome="failure")]
    outer = block("hotel", "fly", "train", fly=block("seat", "meal"), edges=inner)
    play = played(outer, {"trip/fly/meal": BROKEN, "trip/train": BROKEN}, edges=ON_FAILURE)
    play.run()
    assert play.ran == [
        "trip/hotel",
        "trip/fly/seat",
        "trip/fly/meal",
        "undo trip/fly/seat",
        "trip/train",
        "undo trip/hotel",
        "caught",
    ]


def test_an_item_that_fails_for_its_block_is_undone_with_what_the_block_left() -> None:
    body = {"nodes": {"first": STEP, "book": block()}, "edges": [edge("first", "book")]}
    each = {"type": "foreach", "items": "[1, 2]", "body": body, "on_item_failure": "skip", "max_concurrency": 1}
    play = played(each, {"trip[0]/book/flight": BROKEN})
    assert play.run().failure is None
    assert play.ran[:5] == [
        "trip[0]/first",
        "trip[0]/book/hotel",
        "trip[0]/book/flight",
        "undo trip[0]/book/hotel",
        "undo trip[0]/first",
    ]
    assert play.ran[5:] == ["trip[1]/first", "trip[1]/book/hotel", "trip[1]/book/flight", "after"]


def test_a_block_in_an_item_is_tried_again_there_alone() -> None:
    body = {"nodes": {"book": retried()}}
    each = {"type": "foreach", "items": "[1, 2]", "body": body, "collect": {"into": "n", "value": "index"}}
    play = played(each, {"trip[1]/book/flight": BROKEN})
    assert play.run().line.data == {"n": [0, 1]}
    assert [name for name in play.ran if "~" in name] == ["trip[1]/book~2/hotel", "trip[1]/book~2/flight"]
    assert "undo trip[0]/book/hotel" not in play.ran


def test_in_parallel_the_steps_of_a_block_are_undone_as_its_graph_allows() -> None:
    node = block("a", "b", "c", edges=[edge("a", "c"), edge("b", "c")])
    play = played(node, {"trip/c": BROKEN}, edges=ON_FAILURE, saga={"compensation": "parallel"})
    until(play, "undo trip/a")
    assert list(play.pending) == ["undo trip/a", "undo trip/b"]


# continue-as-new


def test_a_run_continues_as_new_in_a_block_and_goes_on_in_it() -> None:
    node = block("hotel", "nap", "flight", nap={"type": "wait", "for": "1h"})
    play = played(node, {"trip/hotel": {"room": 7}, "trip/flight": BROKEN}, edges=ON_FAILURE)
    until(play, "trip/nap")
    assert not play.state.under_way
    again = carried(play)
    assert again.finish().failure is None
    assert again.ran == ["trip/nap", "trip/flight", "undo trip/hotel", "caught"]
    assert again.seen["trip/flight"] == {"room": 7}


def test_a_run_does_not_continue_as_new_while_a_block_is_undone() -> None:
    play = played(block(), {"trip/flight": BROKEN}, edges=ON_FAILURE)
    until(play, "undo trip/hotel")
    assert play.state.under_way


def test_behind_a_block_that_was_undone_a_run_that_continued_as_new_knows_it() -> None:
    edges = (edge("trip", "nap", outcome="failure"), edge("nap", "after"))
    play = played(
        block(), {"trip/flight": BROKEN, "after": BROKEN}, edges=edges, beside={"nap": {"type": "wait", "for": "1h"}}
    )
    until(play, "nap")
    assert carried(play).finish().compensated == ("trip/hotel",)


def test_a_second_attempt_goes_on_after_continue_as_new_with_the_rest_of_its_time() -> None:
    nap = {"type": "wait", "for": "1h"}
    node = retried(**block("hotel", "nap", nap=nap), timeout="30s")
    play = played(node, {"trip/hotel": BROKEN})
    until(play, "trip~2/nap")
    play.now += 10_000
    again = carried(play)
    timer = again.pending[deadline(again)]
    assert isinstance(timer, StartTimer)
    assert 19 < timer.seconds < 20.1
    assert "trip~2/nap" in again.pending


# what is seen


def test_while_it_is_undone_it_runs_and_its_failure_is_shown() -> None:
    play = played(retried(), {"trip/flight": BROKEN})
    until(play, "undo trip/hotel")
    status: Any = views.status(play.state)
    node = status["nodes"]["trip"]
    assert (node["type"], node["status"], node["attempt"], node["max_attempts"]) == ("block", "running", 1, 2)
    assert node["error"]["type"] == "BROKEN"


def test_nodes_in_it_that_were_passed_over_are_told_by_the_outermost_body() -> None:
    play = played(block("a", "b", a=python(on_failure="continue")), {"trip/a": BROKEN})
    result: Any = views.result(play.state, play.run(), "s")
    assert result["warnings"] == [{"by": "trip", "warning": "a node failed and was passed over: trip/a (BROKEN)"}]


TEXT = """\
name: g
nodes:
  book:
    type: block
    timeout: 5m
    retry: {max_attempts: 3}
    nodes:
      quote: {type: rule, rules: [{then: {price: "{{ pieces * each }}"}}]}
      check: {type: rule, rules: [{when: price > 10, then: {dear: true}}]}
    edges: [{from: quote, to: check, when: price > 5}]
  after: {type: rule, rules: [{then: {total: "{{ price * 2 }}"}}]}
edges: [{from: book, to: after}]
"""


def loaded(old: str = "", new: str = "") -> LoadedGraph:
    assert old in TEXT
    return load_text(TEXT.replace(old, new) if old else TEXT, "g")


def codes(old: str, new: str) -> list[str]:
    try:
        found = loaded(old, new).warnings
    except GraphError as error:
        found = error.problems
    return [f"{str(each.place).removeprefix('g:')} {each.code}" for each in found]


def test_what_it_reads_and_writes_is_what_its_nodes_do() -> None:
    assert loaded().warnings == ()
    assert set(graph_inputs(loaded().graph)) == {"pieces", "each"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("to: check,", "to: nowhere,", "10:31 EDGE_UNKNOWN_NODE"),
        ("{{ pieces * each }}", "{{ pieces * }}", "8:62 EXPRESSION_INVALID"),
        ("type: rule, rules: [{when", "type: rulez, rules: [{when", "9:21 NODE_TYPE_UNKNOWN"),
        ("timeout: 5m", "max_concurrency: 5", "5:5 FIELD_UNKNOWN"),
        ("timeout: 5m", "heartbeat: 5m", "5:16 FIELD_HAS_NO_EFFECT"),
        ("timeout: 5m", "cache: {key: a}", "5:5 FIELD_HAS_NO_EFFECT"),
        ("timeout: 5m", "input: {far: 1}", "5:13 INPUT_UNUSED"),
        ("then: {dear: true}", "then: {run: true}", "9:61 NAME_RESERVED"),
    ],
)
def test_problems_in_a_block_are_found_at_their_places(old: str, new: str, problem: str) -> None:
    assert codes(old, new) == [problem]


def test_a_problem_names_the_node_and_the_edge_with_the_block_around() -> None:
    with pytest.raises(GraphError) as caught:
        loaded("to: check,", "to: check, outcome: sucess,")
    assert caught.value.problems[0].message.startswith("`outcome` of edge 1 in the body of node 'book' must be one of")
    with pytest.raises(GraphError) as caught:
        loaded("price > 10", "price >")
    assert "`rules.0.when` of node 'book/check'" in caught.value.problems[0].message


def test_a_block_without_nodes_is_refused() -> None:
    with pytest.raises(GraphError) as caught:
        load_text("name: g\nnodes: {a: {type: block, nodes: {}}}", "g")
    assert [each.code for each in caught.value.problems] == ["VALUE_INVALID"]


def test_effects_inside_that_nothing_undoes_are_a_warning_where_it_is_tried_again() -> None:
    step = "{type: python, handler: h, reads: []}"
    text = f"name: g\nnodes: {{a: {{type: block, retry: {{max_attempts: 2}}, nodes: {{p: {step}}}}}}}\n"
    (problem,) = load_text(text, "g").warnings
    assert (problem.code, "nothing undoes 'p'" in problem.message) == ("EFFECT_REPEATED", True)


def test_a_pinned_definition_has_the_judgement_of_the_types_inside() -> None:
    query = "{type: db, connection: X_URL, query: select 1 as x}"
    graph = load_text(f"name: g\nnodes: {{a: {{type: block, nodes: {{p: {query}}}}}}}\n", "g").graph
    node = pinned(graph).nodes["a"]
    assert isinstance(node, BlockNode)
    inner = node.nodes["p"]
    assert isinstance(inner, DbNode)
    assert (inner.effect, inner.idempotent, node.effect) == (False, False, None)
    assert Graph.model_validate_json(written_out(graph)).nodes["a"].type == "block"


def test_files_that_nodes_inside_name_are_read(tmp_path: Any) -> None:
    (tmp_path / "rules.grl").write_text('rule R "r" { when x > 1 then y = 2; }')
    path = tmp_path / "g.yaml"
    path.write_text("name: g\nnodes: {a: {type: block, nodes: {p: {type: rule, grl: rules.grl}}}}\n")
    node = load_graph(path).graph.nodes["a"]
    assert isinstance(node, BlockNode)
    inner = node.nodes["p"]
    assert isinstance(inner, RuleNode)
    assert inner.grl is not None
    assert inner.grl.startswith("rule R")


def test_nodes_inside_may_be_a_list_as_in_rust_logic_graph() -> None:
    text = (
        "name: g\nnodes:\n  a:\n    type: block\n    nodes:\n      - {id: p, type: RuleNode, rules: [{then: {x: 1}}]}\n"
    )
    node = load_text(text, "g").graph.nodes["a"]
    assert isinstance(node, BlockNode)
    assert isinstance(node.nodes["p"], RuleNode)


def test_drawings_show_what_is_in_it_and_how_often_it_is_tried() -> None:
    graph = loaded().graph
    lines = mermaid(graph, {"book/quote": "succeeded"}).splitlines()
    assert lines[1:5] == [
        '  subgraph n0 ["book: block of 2 nodes (up to 3 attempts)"]',
        '    n1{{"quote"}}',
        '    n2{{"check"}}',
        '    n1 -->|"price #62; 5"| n2',
    ]
    assert "  class n1 succeeded" in lines
    assert tree(graph).splitlines() == [
        "g 1.0.0",
        "└─ book (block)",
        "    ▢ block of 2 nodes (up to 3 attempts)",
        "      └─ quote (rule)",
        "         ↓  [price > 5] check (rule)",
        "   ↓  after (rule)",
    ]


def test_a_failure_carries_the_address_of_the_node_inside() -> None:
    finish = played(block(), {"trip/hotel": Failure("failure", "SOLD_OUT", "no room")}).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("SOLD_OUT", "trip/hotel")
