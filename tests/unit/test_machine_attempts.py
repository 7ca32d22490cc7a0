"""`retry` on composites: an attempt that failed is undone, and after a pause the next one starts, under its number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from anabranch.context.changes import ChangeSet
from anabranch.graph.drawing.summary import summary
from anabranch.graph.model import Graph
from anabranch.graph.policies import Retry
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.attempts import pause_after
from anabranch.workflows.interpreter.commands import (
    DEADLINE,
    QUEUE_TIMEOUT,
    AskConflict,
    Command,
    Failure,
    Finish,
    RunNode,
    StartChild,
    StartTimer,
)
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
from tests.unit.machine_kit import RUN, Outcome, Play, edge, failure, machine_of, python, timeout

BROKEN = failure("BROKEN")
STEP = python(compensate=python())
TRIP = {"name": "trip", "nodes": {"hotel": STEP, "flight": STEP}, "edges": [edge("hotel", "flight")]}
GRAPH = {"type": "graph", "graph": "trip"}
CHILD = {**GRAPH, "mode": "child_workflow"}
COMPOSITES: dict[str, tuple[dict[str, Any], str, str]] = {
    "graph": (GRAPH, "trip/", "trip~2/"),
    "block": ({"type": "block", "nodes": TRIP["nodes"], "edges": TRIP["edges"]}, "trip/", "trip~2/"),
    "foreach": ({"type": "foreach", "items": "[1]", "body": {**TRIP, "name": None}}, "trip[0]/", "trip~2[0]/"),
    "while": ({"type": "while", "while": "index < 1", "body": {**TRIP, "name": None}}, "trip[0]/", "trip~2[0]/"),
}
for _node, *_ in COMPOSITES.values():
    if "body" in _node:
        _node["body"] = {key: value for key, value in _node["body"].items() if key != "name"}


def retried(node: Mapping[str, Any] = GRAPH, *, attempts: int = 3, **fields: Any) -> dict[str, Any]:
    retry = {"max_attempts": attempts, "initial_interval": "10s", **fields.pop("policy", {})}
    return {**node, "retry": retry, **fields}


def played(
    node: Mapping[str, Any] | None = None,
    script: Mapping[str, Outcome] | None = None,
    *,
    data: Mapping[str, Any] | None = None,
    trip: Mapping[str, Any] = TRIP,
    beside: Mapping[str, Any] | None = None,
    edges: tuple[dict[str, Any], ...] = (edge("trip", "after"),),
    **fields: Any,
) -> Play:
    nodes = {"trip": node or retried(), "after": python(), **(beside or {})}
    graph = {"nodes": nodes, "edges": list(edges), **fields}
    return Play(machine_of(graph, data, trip=trip), script or {}, pick=oldest)


def oldest(pending: list[str]) -> str:
    """The first piece of work that is no time-out."""
    return next((each for each in pending if not each.startswith(DEADLINE)), pending[0])


def commands(play: Play, kind: type[Command]) -> list[Any]:
    return [each for each in play.pending.values() if isinstance(each, kind)]


def until(play: Play, address: str) -> Command:
    """Answer the oldest work until this is asked for."""
    if not play.pending:
        play.start()
    while address not in play.pending:
        play.answer(oldest(list(play.pending)))
    return play.pending[address]


def key_of(command: Command) -> str:
    assert isinstance(command, RunNode)
    return command.key


@pytest.mark.parametrize("kind", COMPOSITES)
def test_a_failed_attempt_is_undone_before_the_next_one_starts_after_a_pause(kind: str) -> None:
    node, first, second = COMPOSITES[kind]
    play = played(retried(node), {f"{first}flight": BROKEN})
    assert play.run().failure is None
    assert play.ran == [
        f"{first}hotel",
        f"{first}flight",
        f"undo {first}hotel",
        "trip",
        f"{second}hotel",
        f"{second}flight",
        "after",
    ]


@pytest.mark.parametrize("kind", COMPOSITES)
def test_addresses_and_keys_hold_the_number_of_the_attempt_from_the_second_on(kind: str) -> None:
    node, first, second = COMPOSITES[kind]
    play = played(retried(node), {f"{first}flight": BROKEN})
    assert key_of(until(play, f"{first}hotel")) == f"run-1/{first}hotel"
    undo = until(play, f"undo {first}hotel")
    assert key_of(undo) == f"run-1/{first}hotel/undo"
    assert key_of(until(play, f"{second}hotel")) == f"run-1/{second}hotel"


def test_steps_are_undone_in_reverse_and_see_the_error_of_the_attempt() -> None:
    trip = {"name": "trip", "nodes": dict.fromkeys("abc", STEP), "edges": [edge("a", "b"), edge("b", "c")]}
    play = played(script={"trip/c": BROKEN}, trip=trip)
    undo = until(play, "undo trip/b")
    assert isinstance(undo, RunNode)
    error = {"node": "trip/c", "code": "BROKEN", "type": "BROKEN", "message": "it broke", "outcome": "failure"}
    assert undo.roots["error"] == error
    assert "undo trip/a" not in play.pending
    play.finish()
    assert [each for each in play.ran if each.startswith("undo")] == ["undo trip/b", "undo trip/a"]


def test_the_next_attempt_starts_from_the_context_before_the_first_one() -> None:
    play = played(script={"trip/hotel": {"x": 1, "room": 7}, "trip/flight": BROKEN}, data={"x": 0})
    assert play.run().line.data == {"x": 0}
    assert play.seen["trip~2/hotel"] == {"x": 0}


def test_what_compensations_wrote_is_seen_by_the_next_attempt_and_outlives_it() -> None:
    undo = python(compensate=python(output={"refund": "result.n"}))
    trip = {**TRIP, "nodes": {"hotel": undo, "flight": python()}}
    script: dict[str, Outcome] = {"trip/flight": BROKEN, "undo trip/hotel": {"refund": 7}}
    play = played(script=script, trip=trip)
    assert play.run().line.data == {"refund": 7}
    assert play.seen["trip~2/hotel"] == {"refund": 7}
    assert [each.by for each in play.state.trail.versions if each.kind == "compensation"] == ["undo trip/hotel"]


def test_what_compensations_of_attempts_wrote_outlives_the_rollback_of_the_run() -> None:
    undo = python(compensate=python(output={"refund": "result.n"}))
    trip = {**TRIP, "nodes": {"hotel": undo, "flight": python()}}
    script: dict[str, Outcome] = {"trip/flight": BROKEN, "undo trip/hotel": {"refund": 7}, "after": BROKEN}
    assert played(script=script, trip=trip, data={"x": 0}).run().line.data == {"x": 0, "refund": 7}


def test_what_was_written_from_outside_meanwhile_is_seen_by_the_next_attempt() -> None:
    play = played(script={"trip/flight": BROKEN}, data={"x": 0})
    until(play, "trip")
    play.machine.write(ChangeSet(1, {("x",): 5}, by="crm"), play.now + 1)
    play.finish()
    assert play.seen["trip~2/hotel"] == {"x": 5}
    assert play.state.finished is not None
    assert play.state.finished.line.data == {"x": 5}


def test_a_conflict_with_what_was_written_from_outside_is_settled_before_the_next_attempt() -> None:
    first = {"first": python()}
    edges = (edge("first", "trip"), edge("trip", "after"))
    play = played(
        script={"first": {"x": 1}, "trip/flight": BROKEN},
        data={"x": 0},
        beside=first,
        edges=edges,
        context={"conflict_resolution": "fail_on_conflict", "conflict_timeout": "1m"},
    )
    until(play, "trip")
    play.machine.write(ChangeSet(1, {("x",): 5}, by="crm"), play.now + 1)
    play.answer("trip")
    question = play.pending.pop("trip")
    assert isinstance(question, AskConflict)
    assert [each.value for conflict in question.conflicts for each in conflict.candidates] == [1, 5]
    play.take(play.machine.choose("trip", {("x",): 9}, play.now + 2))
    assert play.finish().line.data == {"x": 9}
    assert play.seen["trip~2/hotel"] == {"x": 9}


def test_when_attempts_run_out_the_node_fails_and_the_last_one_is_undone_with_the_run() -> None:
    play = played(retried(attempts=2), {"trip/flight": BROKEN, "trip~2/flight": BROKEN})
    finish = play.run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("BROKEN", "trip~2/flight")
    assert finish.compensated == ("trip/hotel", "trip~2/hotel")
    undone = [each for each in play.ran if each.startswith("undo")]
    assert undone == ["undo trip/hotel", "undo trip~2/hotel"]


def test_when_attempts_run_out_a_failure_edge_handles_it_and_nothing_more_is_undone() -> None:
    edges = (edge("trip", "after", outcome="failure"),)
    play = played(retried(attempts=2), {"trip/flight": BROKEN, "trip~2/flight": BROKEN}, edges=edges)
    assert play.run().failure is None
    assert [each for each in play.ran if each.startswith("undo")] == ["undo trip/hotel"]
    assert play.ran[-1] == "after"


def test_an_undone_attempt_is_not_undone_again_with_the_run() -> None:
    play = played(script={"trip/flight": BROKEN, "after": BROKEN})
    assert play.run().compensated == ("trip/hotel", "trip~2/flight", "trip~2/hotel")
    assert play.ran.count("undo trip/hotel") == 1


@pytest.mark.parametrize(
    "final",
    [
        failure("NODE_FAILED"),
        failure("DECLINED"),
        Failure("failure", "OTHER", "no", is_final=True),
        Failure("timeout", QUEUE_TIMEOUT, "nobody"),
        Failure("cancelled", "CANCELLED", "by hand"),
    ],
    ids=lambda each: each.code,
)
def test_an_error_that_is_not_worth_a_retry_ends_the_attempts_at_once(final: Failure) -> None:
    play = played(retried(policy={"non_retryable": ["DECLINED"]}), {"trip/flight": final})
    finish = play.run()
    assert finish.failure is not None
    assert finish.failure.code == final.code
    assert "trip~2/hotel" not in play.ran


def test_without_an_own_retry_a_composite_is_tried_once_whatever_the_defaults_say() -> None:
    play = played(GRAPH, {"trip/flight": BROKEN}, defaults={"retry": {"max_attempts": 5}})
    assert play.run().failure is not None
    assert "trip~2/hotel" not in play.ran


def test_the_pauses_grow_as_those_between_the_attempts_of_an_activity() -> None:
    retry = Retry.model_validate({"initial_interval": "2s", "backoff": 3})
    assert [pause_after(attempt, retry) for attempt in (1, 2, 3, 9, 100_000)] == [2, 6, 18, 200, 200]
    capped = Retry.model_validate({"initial_interval": "2s", "max_interval": "5s"})
    assert [pause_after(attempt, capped) for attempt in (1, 2, 3)] == [2, 4, 5]


def test_the_timeout_bounds_one_attempt() -> None:
    play = played(retried(timeout="5s"))
    play.start()
    (timer,) = commands(play, StartTimer)
    play.answer(timer.address)
    assert play.cancelled == ["trip/hotel"]
    until(play, "trip~2/hotel")
    (again,) = commands(play, StartTimer)
    assert (again.seconds, again.address != timer.address) == (5, True)
    assert play.state.root.nodes["trip"].attempt == 2


def test_the_total_timeout_ends_all_attempts() -> None:
    play = played(retried(attempts=0, total_timeout="30s"), {"trip/flight": BROKEN}).start()
    (timer,) = commands(play, StartTimer)
    assert timer.seconds == 30
    play.times = {"trip": 20_000}
    until(play, "trip~2/hotel")
    (timer,) = commands(play, StartTimer)
    assert timer.seconds == 11  # of the 30 s since 1 s
    play.now = 31_000
    play.answer(timer.address)
    finish = play.finish()
    assert finish.failure is not None
    assert (finish.failure.code, "`total_timeout` of 30 s" in finish.failure.message) == ("TIMEOUT", True)


def test_no_attempt_follows_that_would_begin_after_the_total_timeout() -> None:
    play = played(retried(attempts=0, total_timeout="9s"), {"trip/flight": BROKEN})
    finish = play.run()
    assert finish.failure is not None
    assert (finish.failure.code, "trip~2/hotel" in play.ran) == ("BROKEN", False)


@pytest.mark.parametrize("pauses", [False, True])
def test_where_a_compensation_fails_no_other_attempt_starts(pauses: bool) -> None:
    saga = {"on_compensation_failure": "pause" if pauses else "report"}
    play = played(script={"trip/flight": BROKEN, "undo trip/hotel": BROKEN}, saga=saga).start()
    if pauses:
        for address in ("trip/hotel", "trip/flight", "undo trip/hotel"):
            play.answer(address)
        assert (play.state.waiting_for_operator, views.run_status(play.state)) == (("undo trip/hotel",), "paused")
        play.take(play.machine.give_up("undo trip/hotel", play.now))
    finish = play.finish() if play.state.finished is None else play.state.finished
    assert finish.failure is not None
    assert (finish.failure.code, finish.not_compensated) == ("BROKEN", ("trip/hotel",))
    assert "trip~2/hotel" not in play.ran


def test_an_operator_who_has_a_compensation_tried_again_lets_the_next_attempt_start() -> None:
    play = played(
        script={"trip/flight": BROKEN, "undo trip/hotel": BROKEN}, saga={"on_compensation_failure": "pause"}
    ).start()
    for address in ("trip/hotel", "trip/flight", "undo trip/hotel"):
        play.answer(address)
    play.script = {"trip/flight": BROKEN}
    play.take(play.machine.retry("undo trip/hotel", None, play.now))
    assert play.finish().failure is None
    assert "trip~2/flight" in play.ran


def test_after_a_pivot_in_the_attempt_no_other_one_starts() -> None:
    trip = {**TRIP, "nodes": {"hotel": python(pivot=True), "flight": STEP}}
    play = played(script={"trip/flight": BROKEN}, trip=trip)
    assert play.run().failure is not None
    assert play.ran == ["trip/hotel", "trip/flight"]


def test_behind_a_pivot_attempts_are_undone_and_tried_again_but_the_run_is_not_undone() -> None:
    edges = (edge("pay", "trip"), edge("trip", "after"))
    beside = {"pay": python(pivot=True)}
    play = played(retried(attempts=2), {"trip/flight": BROKEN, "trip~2/flight": BROKEN}, beside=beside, edges=edges)
    finish = play.run()
    assert finish.compensated == ("trip/hotel",)
    assert [each for each in play.ran if each.startswith("undo")] == ["undo trip/hotel"]


def test_a_pivot_beside_an_attempt_that_is_being_undone_leaves_it_to_be_undone() -> None:
    play = played(script={"trip/flight": BROKEN}, beside={"pay": python(pivot=True)}).start()
    for address in ("trip/hotel", "trip/flight", "pay"):
        play.answer(address)
    assert "undo trip/hotel" in play.pending
    assert play.finish().failure is None
    assert "trip~2/flight" in play.ran
    assert play.state.saga.steps == {}


def test_the_own_compensation_of_a_composite_undoes_an_attempt_that_nothing_inside_undoes() -> None:
    trip = {**TRIP, "nodes": {"hotel": python(), "flight": python()}}
    play = played(retried(compensate=python()), {"trip/flight": BROKEN, "after": BROKEN}, trip=trip)
    finish = play.run()
    assert finish.compensated == ("trip", "trip~2")
    undone = [each for each in play.ran if each.startswith("undo")]
    assert undone == ["undo trip", "undo trip~2"]


# cancelling, losing, nesting


def test_a_run_that_is_cancelled_while_an_attempt_is_undone_undoes_it_once() -> None:
    beside = {"first": STEP}
    edges = (edge("first", "trip"), edge("trip", "after"))
    play = played(script={"trip/flight": BROKEN}, beside=beside, edges=edges)
    until(play, "undo trip/hotel")
    play.take(play.machine.cancel("stop", play.now))
    assert list(play.pending) == ["undo trip/hotel"]
    finish = play.finish()
    assert (finish.cancelled, finish.compensated) == (True, ("trip/hotel", "first"))
    assert play.state.root.nodes["trip"].status.value == "cancelled"


def test_a_run_that_is_cancelled_between_attempts_starts_no_other() -> None:
    play = played(script={"trip/flight": BROKEN})
    until(play, "trip")
    play.take(play.machine.cancel("stop", play.now))
    assert play.cancelled == ["trip"]
    assert play.state.finished is not None
    assert (play.state.finished.cancelled, play.state.finished.compensated) == (True, ("trip/hotel",))


def test_a_pause_that_ends_just_when_the_run_is_cancelled_starts_no_attempt() -> None:
    play = played(script={"trip/flight": BROKEN}, beside={"slow": python()}).start()
    for address in ("trip/hotel", "trip/flight", "undo trip/hotel"):
        play.answer(address)
    play.machine.cancel("stop", play.now)
    play.machine.succeeded("trip", None, play.now)
    (finish,) = play.machine.failed("slow", Failure("cancelled", "CANCELLED", "stopped"), play.now)
    assert isinstance(finish, Finish)
    assert finish.compensated == ("trip/hotel",)


def test_a_branch_that_has_lost_is_not_tried_again() -> None:
    nodes = {"trip": retried(), "fast": python(), "join": {**python(), "join": "first"}, "end": python()}
    graph = {"nodes": nodes, "edges": [edge("trip", "join"), edge("fast", "join"), edge("join", "end")]}
    play = Play(machine_of(graph, trip=TRIP), {"trip/flight": BROKEN}).start()
    for address in ("fast", "trip/hotel", "trip/flight"):
        play.answer(address)
    assert play.finish().failure is None
    assert play.ran == ["fast", "trip/hotel", "join", "trip/flight", "end"]


def test_the_run_ends_only_after_an_attempt_that_lost_meanwhile_has_been_undone() -> None:
    nodes = {"trip": retried(), "fast": python(), "join": {**python(), "join": "first"}}
    graph = {"nodes": nodes, "edges": [edge("trip", "join"), edge("fast", "join")]}
    play = Play(machine_of(graph, trip=TRIP), {"trip/flight": BROKEN}).start()
    for address in ("trip/hotel", "trip/flight", "fast", "join"):
        play.answer(address)
    assert (list(play.pending), play.state.finished) == (["undo trip/hotel"], None)
    assert play.finish().failure is None
    assert play.ran.count("trip~2/hotel") == 0


def test_attempts_nest() -> None:
    inner = {"nodes": {"trip": retried(attempts=2)}}
    outer = retried({"type": "foreach", "items": "[1]", "body": inner}, attempts=2)
    script: dict[str, Outcome] = {"trip[0]/trip/flight": BROKEN, "trip[0]/trip~2/flight": BROKEN}
    play = played(outer, script)
    assert play.run().failure is None
    assert play.ran == [
        "trip[0]/trip/hotel",
        "trip[0]/trip/flight",
        "undo trip[0]/trip/hotel",
        "trip[0]/trip",
        "trip[0]/trip~2/hotel",
        "trip[0]/trip~2/flight",
        "undo trip[0]/trip~2/hotel",
        "trip",
        "trip~2[0]/trip/hotel",
        "trip~2[0]/trip/flight",
        "after",
    ]
    assert play.state.saga.attempts == {}


def test_the_time_out_of_a_composite_awaits_an_attempt_inside_that_is_being_undone() -> None:
    inner = {"nodes": {"trip": retried()}}
    outer = {"type": "foreach", "items": "[1]", "body": inner, "timeout": "5s"}
    play = played(outer, {"trip[0]/trip/flight": BROKEN}, edges=(edge("trip", "after", outcome="timeout"),))
    play.start()
    (timer,) = commands(play, StartTimer)
    for address in ("trip[0]/trip/hotel", "trip[0]/trip/flight", timer.address):
        play.answer(address)
    assert list(play.pending) == ["undo trip[0]/trip/hotel"]
    assert play.finish().failure is None
    assert play.ran[-1] == "after"


def test_a_paused_run_starts_the_next_attempt_when_it_is_resumed() -> None:
    play = played(script={"trip/flight": BROKEN})
    until(play, "trip")
    play.state.is_paused = True
    play.answer("trip")
    assert play.pending == {}
    play.state.is_paused = False
    play.take(play.machine.resume(play.now))
    assert play.finish().failure is None


def test_an_operator_repeats_the_last_attempt_under_its_number() -> None:
    node = retried(attempts=2, on_failure="pause")
    play = played(node, {"trip/flight": BROKEN, "trip~2/flight": BROKEN})
    until(play, "trip~2/flight")
    play.answer("trip~2/flight")
    assert list(play.state.paused_nodes) == ["trip"]
    play.script = {}
    play.take(play.machine.retry("trip", None, play.now))
    assert play.finish().failure is None
    assert play.ran.count("trip~2/hotel") == 2


def test_an_operator_who_repeats_an_attempt_that_was_undone_in_part_starts_another() -> None:
    script: dict[str, Outcome] = {"trip/flight": BROKEN, "undo trip/hotel": BROKEN}
    play = played(retried(on_failure="pause"), script).start()
    for address in ("trip/hotel", "trip/flight", "undo trip/hotel"):
        play.answer(address)
    assert list(play.state.paused_nodes) == ["trip"]
    play.take(play.machine.retry("trip", None, play.now))
    assert play.finish().failure is None
    assert play.ran[-3:] == ["trip~2/hotel", "trip~2/flight", "after"]


# child workflows


def test_each_attempt_of_a_child_workflow_is_one_of_its_own() -> None:
    play = played(retried(CHILD), {"trip": BROKEN}).start()
    play.answer("trip")
    (timer,) = commands(play, StartTimer)
    play.script = {}
    play.answer(timer.address)
    (child,) = commands(play, StartChild)
    assert (child.address, child.attempt) == ("trip", 2)
    assert play.finish().failure is None


@pytest.mark.parametrize(
    ("told", "follows"),
    [
        ({"effects_left": True}, True),
        ({"not_compensated": ["hotel"]}, False),
        ({"effects_left": True, "pivoted": True}, False),
    ],
)
def test_a_child_workflow_that_could_not_undo_itself_is_not_tried_again(told: dict[str, Any], follows: bool) -> None:
    met = Failure("failure", "BROKEN", "it broke", details=(told,), happened=True)
    play = played(retried(CHILD), {"trip": met}).start()
    play.answer("trip")
    assert bool(commands(play, StartTimer)) == follows


def test_a_child_workflow_is_undone_by_its_own_compensation_where_it_left_something_behind() -> None:
    met = Failure("failure", "BROKEN", "it broke", details=({"not_compensated": ["hotel"]},), happened=True)
    play = played(retried(CHILD, compensate=python()), {"trip": met}).start()
    play.answer("trip")
    assert key_of(play.pending["undo trip"]) == "run-1/trip/undo"
    play.answer("undo trip")
    play.script = {"after": BROKEN}
    assert play.finish().compensated == ("trip", "trip~2")


@pytest.mark.parametrize("met", [timeout(), Failure("timeout", "TERMINATED", "by hand")], ids=["timeout", "terminated"])
def test_a_child_workflow_that_was_terminated_is_not_tried_again(met: Failure) -> None:
    play = played(retried(CHILD), {"trip": met}).start()
    play.answer("trip")
    assert bool(commands(play, StartTimer)) == (met.code == "TIMEOUT")


# continue-as-new, and what is seen


def carried(play: Play, at: int) -> Play:
    fresh = RunState(play.state.plan, {}, run=RUN)
    snapshot.load(fresh, json.loads(json.dumps(snapshot.dump(play.state))))
    again = Play(Machine(fresh), play.script, now=at)
    again.take(again.machine.resume_from_snapshot(at))
    return again


def test_after_continue_as_new_between_attempts_the_pause_has_the_rest_of_its_time() -> None:
    play = played(script={"trip/flight": BROKEN}, data={"x": 1})
    until(play, "trip")
    assert not play.state.under_way
    started = play.now
    again = carried(play, started + 4_000)
    (timer,) = commands(again, StartTimer)
    assert (timer.seconds, timer.attempt) == (6, 2)
    again.script = {"after": BROKEN}
    assert again.finish().compensated == ("trip/hotel", "trip~2/flight", "trip~2/hotel")
    assert again.ran[1:3] == ["trip~2/hotel", "trip~2/flight"]


def test_after_continue_as_new_in_a_second_attempt_it_goes_on_as_that_one() -> None:
    trip = {**TRIP, "nodes": {"hotel": {"type": "wait", "for": "1h"}, "flight": STEP}}
    play = played(retried(attempts=2), {"trip/flight": BROKEN}, trip=trip)
    until(play, "trip~2/hotel")
    again = carried(play, play.now)
    again.script = {"trip~2/flight": BROKEN}
    finish = again.finish()
    assert again.ran == ["trip~2/hotel", "trip~2/flight"]
    assert (finish.failure and finish.failure.node) == "trip~2/flight"


def test_a_compensation_that_failed_before_continue_as_new_is_reported_at_the_end() -> None:
    edges = (edge("trip", "wait", outcome="failure"), edge("wait", "after"))
    beside = {"wait": {"type": "wait", "for": "1h"}}
    script: dict[str, Outcome] = {"trip/flight": BROKEN, "undo trip/hotel": failure("STUCK"), "after": BROKEN}
    play = played(script=script, beside=beside, edges=edges)
    until(play, "wait")
    finish = carried(play, play.now).finish()
    assert finish.not_compensated == ("trip/hotel",)
    assert finish.reasons["trip/hotel"].code == "STUCK"


def test_the_result_of_a_run_that_completed_all_the_same_names_what_could_not_be_undone() -> None:
    play = played(
        script={"trip/flight": BROKEN, "undo trip/hotel": failure("STUCK")},
        edges=(edge("trip", "after", outcome="failure"),),
    )
    result = views.result(play.state, play.run(), "order-1")
    assert (result["status"], result["not_compensated"]) == ("completed", ["trip/hotel"])


def test_the_drawing_says_how_often_a_composite_is_tried() -> None:
    nodes = Graph.model_validate({"name": "g", "nodes": {"a": retried(), "b": retried(attempts=0), "c": GRAPH}}).nodes
    drawn = [summary(node) for node in nodes.values()]
    assert drawn == ["trip (up to 3 attempts)", "trip (any number of attempts)", "trip"]


def test_the_status_and_the_details_show_the_attempt() -> None:
    play = played(script={"trip/flight": BROKEN})
    until(play, "trip")
    shown: Any = views.status(play.state)
    node = shown["nodes"]["trip"]
    assert (node["status"], node["attempt"], node["max_attempts"]) == ("waiting", 1, 3)
    assert (node["error"]["type"], node["next_attempt"]) == ("BROKEN", play.now + 10_000)
    assert shown["compensated"] == ["trip/hotel"]
    assert "| `trip` | waiting, attempt 1 of 3, the next one at 1970-01-01T00:00:1" in views.details(play.state)
    until(play, "trip~2/hotel")
    assert "| `trip` | running, attempt 2 of 3 |" in views.details(play.state)
    again: Any = views.status(play.state)
    assert (again["nodes"]["trip"]["attempt"], "error" in again["nodes"]["trip"]) == (2, False)
