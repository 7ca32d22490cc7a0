"""`join: first` and `join: 2`: who comes too late is not waited for, changes nothing, is undone only with the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from anabranch.workflows.interpreter import snapshot
from anabranch.workflows.interpreter.commands import CancelWork, Failure
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.node_run import Status
from anabranch.workflows.interpreter.state import RunState
from tests.unit.machine_kit import RUN, AskConflict, Play, changes, edge, failure, machine_of, python, timeout

Script = Mapping[str, Any]


def race(losers: str = "drop", *, last: Mapping[str, Any] | None = None, **nodes: Any) -> dict[str, Any]:
    """`fast` and `slow`, `late` race for `won`, behind which comes `last`."""
    leaves = {name: python() for name in ("start", "fast", "slow", "late")}
    return {
        "nodes": {**leaves, "won": python(join="first", losers=losers), "last": last or python(), **nodes},
        "edges": [
            edge("start", "fast"),
            edge("start", "slow"),
            edge("slow", "late"),
            edge("fast", "won"),
            edge("late", "won"),
            edge("won", "last"),
        ],
    }


def won(graph: Mapping[str, Any], script: Script | None = None, **library: Any) -> Play:
    """The race, up to the moment at which `fast` has won."""
    play = Play(machine_of(graph, {"x": 0}, **library), script or {}).start()
    play.answer("start")
    play.answer("fast")
    return play


def quorum(join: int = 2, losers: str = "drop", *, of: str = "abc", **nodes: Any) -> dict[str, Any]:
    """Branches of one node each race for the places of `won`, behind which comes `last`."""
    leaves = {name: python() for name in of}
    return {
        "nodes": {**leaves, "won": python(join=join, losers=losers), "last": python(), **nodes},
        "edges": [*(edge(name, "won") for name in of), edge("won", "last")],
    }


def status(play: Play, name: str) -> Status:
    return play.state.root.nodes[name].status


def test_a_run_does_not_wait_for_a_loser_and_cancels_it_at_the_end() -> None:
    play = won(race(), {"fast": {"x": 1}})
    play.answer("won")
    assert play.cancelled == []
    play.answer("last")
    assert play.state.finished is not None
    assert (play.state.finished.line.data, play.cancelled) == ({"x": 1}, ["slow"])
    assert (status(play, "slow"), status(play, "late")) == (Status.CANCELLED, Status.CANCELLED)


def test_what_a_loser_writes_reaches_nobody_but_its_own_branch() -> None:
    play = won(race(), {"fast": {"x": 1}, "slow": {"x": 2, "y": 2}, "late": {"x": 3, "z": 3}})
    for name in ("slow", "late", "won"):
        play.answer(name)
    assert play.machine.context().data == {"x": 1}
    finish = play.finish()
    assert finish.line.data == {"x": 1}
    assert (play.seen["late"], play.seen["last"]) == ({"x": 2, "y": 2}, {"x": 1})
    assert [each.by for each in play.state.trail.versions] == ["input", "fast"]
    assert finish.line.version == 2


def test_what_was_written_before_the_join_fired_stays() -> None:
    play = Play(machine_of(race(), {"x": 0}), {"slow": {"y": 2}, "fast": {"x": 1}, "late": {"y": 3}}).start()
    for name in ("start", "slow", "fast", "late"):
        play.answer(name)
    assert play.finish().line.data == {"x": 1, "y": 2}


def test_with_cancel_the_losers_are_cancelled_when_the_join_fires() -> None:
    play = won(race("cancel"))
    assert play.cancelled == ["slow"]
    assert (status(play, "slow"), status(play, "late")) == (Status.CANCELLED, Status.CANCELLED)
    assert list(play.pending) == ["won"]
    assert play.finish().failure is None


def test_a_loser_that_is_cancelled_late_is_not_waited_for() -> None:
    play = Play(machine_of(race("cancel"), {"x": 0})).start()
    play.answer("start")
    del play.pending["fast"]
    commands = play.machine.succeeded("fast", None, 20)
    assert CancelWork("slow") in commands
    play.machine.succeeded("won", None, 30)
    play.machine.succeeded("last", None, 40)
    assert play.state.finished is not None
    assert play.machine.succeeded("slow", None, 50) == []


@pytest.mark.parametrize("losers", ["drop", "cancel"])
@pytest.mark.parametrize("how", [failure(), timeout()], ids=["failure", "timeout"])
def test_a_loser_that_fails_fails_nothing_and_nobody_handles_it(losers: str, how: Failure) -> None:
    graph = race(losers, alarm=python(), slow=python(on_failure="pause"))
    graph["edges"] += [edge("slow", "alarm", outcome="failure"), edge("slow", "alarm", outcome="timeout")]
    play = won(graph, {"slow": how})
    if "slow" in play.pending:
        play.answer("slow")
    assert play.finish().failure is None
    assert status(play, "alarm") is Status.SKIPPED
    assert play.state.paused_nodes == {}


def test_a_branch_that_has_another_use_is_no_loser() -> None:
    graph = race(report=python(join="all"))
    graph["edges"] += [edge("slow", "report", outcome="always"), edge("fast", "report", outcome="always")]
    play = won(graph, {"slow": {"y": 2}})
    for name in ("won", "last"):
        play.answer(name)
    assert play.state.finished is None
    assert play.finish().line.data == {"x": 0, "y": 2}
    assert "report" in play.ran


@pytest.mark.parametrize("losers", ["drop", "cancel"])
def test_a_loser_s_step_is_undone_only_if_the_run_is(losers: str) -> None:
    steps = {name: python(compensate=python()) for name in ("fast", "slow")}
    assert won(race(losers, **steps)).finish().compensated == ()
    play = won(race(losers, **steps), {"last": failure()})
    if losers == "drop":
        play.answer("slow")
    finish = play.finish()
    assert finish.failure is not None
    assert finish.compensated == ("slow", "fast")


def test_a_loser_that_was_cancelled_but_did_its_work_all_the_same_is_undone_with_the_run() -> None:
    play = Play(machine_of(race("cancel", slow=python(compensate=python())), {"x": 0})).start()
    play.answer("start")
    del play.pending["fast"]
    play.machine.succeeded("fast", None, 20)
    play.machine.succeeded("slow", None, 30)
    play.take(play.machine.failed("won", failure(), 40))
    assert play.ran[-1] == "undo slow"


def test_a_run_that_fails_waits_for_what_its_losers_did() -> None:
    play = Play(machine_of(race("cancel", slow=python(compensate=python())), {"x": 0})).start()
    play.answer("start")
    play.machine.succeeded("fast", None, 20)
    assert play.machine.failed("won", failure(), 40) == [CancelWork("slow")]
    play.take(play.machine.failed("slow", timeout(), 50))
    assert play.ran[-1] == "undo slow"


BODIES: dict[str, dict[str, Any]] = {
    "foreach": {"type": "foreach", "items": "[1, 2]", "body": {"nodes": {"p": python()}}},
    "while": {"type": "while", "while": "index < 2", "body": {"nodes": {"p": python()}}},
    "graph": {"type": "graph", "graph": "sub"},
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("losers", ["drop", "cancel"])
def test_a_loser_with_a_body_is_given_up_with_all_that_runs_in_it(kind: str, losers: str) -> None:
    play = won(race(losers, slow=BODIES[kind]), sub={"name": "sub", "nodes": {"p": python()}})
    for name in ("won", "last"):
        play.answer(name)
    inside = {"foreach": ["slow[0]/p", "slow[1]/p"], "while": ["slow[0]/p"], "graph": ["slow/p"]}[kind]
    assert play.cancelled == inside
    assert (play.state.bodies, play.state.scopes, play.state.work) == ({}, {}, {})


def test_a_race_in_an_item_ends_with_the_item() -> None:
    inner = race()
    each = {"type": "foreach", "items": "[1]", "body": inner}
    graph = {"nodes": {"each": each, "after": python()}, "edges": [edge("each", "after")]}
    play = Play(machine_of(graph, {"x": 0}), {"each[0]/fast": {"x": 1}}).start()
    for name in ("start", "fast", "won", "last"):
        play.answer(f"each[0]/{name}")
    assert (play.cancelled, list(play.pending)) == (["each[0]/slow"], ["after"])
    assert play.finish().line.data == {"x": 1}


def test_a_race_within_a_race() -> None:
    graph = race(slow=python(), inner=python(join="first"), other=python())
    graph["edges"] = [
        *(edge("start", name) for name in ("fast", "slow", "other", "late")),
        edge("slow", "inner"),
        edge("other", "inner"),
        *(edge(name, "won") for name in ("fast", "inner", "late")),
        edge("won", "last"),
    ]
    play = Play(machine_of(graph, {"x": 0})).start()
    for name in ("start", "slow", "fast"):
        play.answer(name)
    assert sorted(play.state.root.lost) == ["inner", "late", "other", "slow"]
    for name in ("won", "last"):
        play.answer(name)
    assert play.state.finished is not None
    assert sorted(play.cancelled) == ["inner", "late", "other"]


def test_a_question_of_a_loser_is_withdrawn_at_the_end() -> None:
    graph = race(slow=python(), beside=python(), late=python(join="all"))
    graph["edges"] += [edge("start", "beside"), edge("beside", "late")]
    graph["context"] = {"conflict_resolution": "fail_on_conflict"}
    play = won(graph, {"slow": {"y": 1}, "beside": {"y": 2}})
    for name in ("slow", "beside"):
        play.answer(name)
    assert isinstance(play.pending["late"], AskConflict)
    for name in ("won", "last"):
        play.answer(name)
    assert play.state.finished is not None
    assert (play.cancelled, play.state.open_joins) == (["late"], {})


def test_losers_are_still_losers_after_continue_as_new() -> None:
    graph = race(slow={"type": "wait", "for": "1h"}, before=python())
    graph["edges"] = [
        edge("start", "fast"),
        edge("start", "before"),
        edge("before", "slow"),
        edge("slow", "late"),
        edge("fast", "won"),
        edge("late", "won"),
        edge("won", "last"),
    ]
    play = Play(machine_of(graph, {"x": 0}), {"before": {"y": 1}}).start()
    for name in ("start", "before"):
        play.answer(name)
    play.state.is_draining = True
    play.answer("fast")
    assert not play.state.under_way
    fresh = RunState(play.state.plan, {}, run=RUN)
    snapshot.load(fresh, json.loads(json.dumps(snapshot.dump(play.state))))
    again = Play(Machine(fresh), {"late": {"y": 9}})
    again.take(again.machine.resume_from_snapshot(play.now))
    for name in ("slow", "late", "won", "last"):
        again.answer(name)
    assert again.state.finished is not None
    assert again.state.finished.line.data == {"x": 0, "y": 1}


# so many of them


@pytest.mark.parametrize(("first", "second", "loser"), ["abc", "bca", "cab"])
def test_a_join_of_two_starts_at_the_second_edge_with_what_these_two_wrote(first: str, second: str, loser: str) -> None:
    play = Play(machine_of(quorum()), {name: {name: 1} for name in "abc"}).start()
    play.answer(first)
    assert "won" not in play.pending
    play.answer(second)
    assert dict(play.seen["won"]) == {first: 1, second: 1}
    play.answer(loser)
    finish = play.finish()
    assert finish.line.data == {first: 1, second: 1}
    assert status(play, loser) is Status.SUCCEEDED


def test_those_that_arrived_meet_in_the_order_of_the_edges_by_the_policies_of_the_graph() -> None:
    graph = quorum(of="abcd", join=3) | {"context": {"merge": {"tags": "append", "n": "sum"}}}
    play = Play(machine_of(graph, {"n": 1}), {name: {"tags": [name], "n": 11} for name in "abcd"}).start()
    for name in "dbac":
        play.answer(name)
    assert play.finish().line.data == {"tags": ["a", "b", "d"], "n": 31}


@pytest.mark.parametrize(("losers", "cancelled"), [("drop", ["c"]), ("cancel", ["c"])])
def test_losers_of_a_join_of_two_are_dropped_or_cancelled(losers: str, cancelled: list[str]) -> None:
    play = Play(machine_of(quorum(losers=losers))).start()
    for name in "ab":
        play.answer(name)
    assert play.cancelled == (cancelled if losers == "cancel" else [])
    for name in ("won", "last"):
        play.answer(name)
    assert (play.cancelled, status(play, "c")) == (cancelled, Status.CANCELLED)
    assert play.state.finished is not None


@pytest.mark.parametrize("losers", ["drop", "cancel"])
def test_a_loser_that_completes_in_the_same_task_as_the_last_winner_changes_nothing_and_is_undone(losers: str) -> None:
    graph = quorum(losers=losers, c=python(compensate=python()))
    play = Play(machine_of(graph, {"x": 0})).start()
    play.answer("a")
    play.machine.succeeded("b", changes(x=1), 20)
    play.machine.succeeded("c", changes(x=2, y=2), 20)
    assert play.machine.context().data == {"x": 1}
    play.take(play.machine.failed("won", failure(), 20))
    assert play.ran[-1] == "undo c"
    assert play.finish().compensated == ("c",)


def test_a_join_of_two_whose_other_branches_fail_is_skipped_once_all_are_settled() -> None:
    graph = quorum(alarm=python(join=2))
    graph["edges"] += [edge(name, "alarm", outcome="failure") for name in "abc"]
    play = Play(machine_of(graph), {"a": failure(), "b": failure(), "c": {"c": 1}}).start()
    play.answer("a")
    assert "alarm" not in play.pending
    play.answer("b")
    assert "alarm" in play.pending
    play.answer("c")
    assert play.finish().line.data == {"c": 1}
    assert (status(play, "won"), status(play, "last")) == (Status.SKIPPED, Status.SKIPPED)


def test_a_branch_that_fails_before_so_many_arrived_fails_the_run_unless_it_is_handled() -> None:
    play = Play(machine_of(quorum(c=python(compensate=python()))), {"b": failure()}).start()
    play.answer("c")
    play.answer("b")
    finish = play.finish()
    assert finish.failure is not None
    assert finish.compensated == ("c",)
    handled = Play(machine_of(quorum(b=python(on_failure="continue"))), {"b": failure(), "a": {"a": 1}}).start()
    handled.answer("b")
    handled.answer("a")
    assert "won" in handled.pending


def test_a_join_of_all_edges_waits_for_all() -> None:
    play = Play(machine_of(quorum(join=3)), {name: {name: 1} for name in "abc"})
    assert play.run().line.data == {"a": 1, "b": 1, "c": 1}
    assert play.state.root.lost == {}


def test_edges_that_are_taken_at_once_beyond_so_many_are_not_entered() -> None:
    graph = quorum(of="ab", go=python())
    graph["edges"] = [edge("go", "a"), edge("a", "won", when="true"), edge("a", "won"), edge("b", "won")]
    play = Play(machine_of(graph), {"a": {"x": 1}, "b": {"x": 2}}).start()
    for name in ("go", "a"):
        play.answer(name)
    assert (play.seen["won"], list(play.state.root.lost)) == ({"x": 1}, ["b"])


def test_who_arrived_first_still_has_after_continue_as_new() -> None:
    graph = quorum(b={"type": "wait", "for": "1h"}, c={"type": "wait", "for": "2h"})
    play = Play(machine_of(graph), {"a": {"a": 1}}).start()
    play.state.is_draining = True
    play.answer("a")
    fresh = RunState(play.state.plan, {}, run=RUN)
    snapshot.load(fresh, json.loads(json.dumps(snapshot.dump(play.state))))
    again = Play(Machine(fresh))
    again.take(again.machine.resume_from_snapshot(play.now))
    again.answer("c")
    assert (list(again.pending), list(again.state.root.lost)) == (["b", "won"], ["b"])
    for name in ("won", "last"):
        again.answer(name)
    assert again.cancelled == ["b"]
    assert again.state.finished is not None
    assert again.state.finished.line.data == {"a": 1}
