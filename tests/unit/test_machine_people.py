"""What people and services say to a run, and when: nothing of it is lost, and nothing starts before it may."""

from __future__ import annotations

from typing import Any

import pytest

from anabranch.context.changes import ChangeSet
from anabranch.errors import SizeLimitExceeded
from anabranch.workflows.interpreter import views
from anabranch.workflows.interpreter.commands import NOT_STARTED, Failure, RunNode
from tests.json_values import at, fields
from tests.unit.machine_kit import AskConflict, Outcome, Play, changes, edge, failure, machine_of, python

ASK = {"context": {"conflict_resolution": "fail_on_conflict"}}


def outside(play: Play, base: int, **keys: Any) -> int:
    """A write from outside on the version `base`; returns the number of its own."""
    given = ChangeSet(base, {(key,): value for key, value in keys.items()}, by="crm")
    play.machine.check_write(given)
    return play.machine.write(given, play.now)


def in_conflict() -> Play:
    """A play whose node `j` waits until somebody says what `x` is."""
    graph = {"nodes": {name: python() for name in "abj"}, "edges": [edge("a", "j"), edge("b", "j")], **ASK}
    play = Play(machine_of(graph, {"x": 0}), {"a": {"x": 1}, "b": {"x": 2}}).start()
    for name in "ab":
        play.answer(name)
    return play


def asked(play: Play) -> dict[str, dict[str, Any]]:
    """What the join `j` asks now: for each key, who wants what."""
    question = play.pending["j"]
    assert isinstance(question, AskConflict)
    return {each.path[0]: {side.by: side.value for side in each.candidates} for each in question.conflicts}


def test_a_write_from_outside_is_a_candidate_at_a_join_that_waits() -> None:
    play = in_conflict()
    outside(play, 1, x=50)
    play.take(play.machine.resume(play.now))
    assert asked(play) == {"x": {"a": 1, "b": 2, "crm": 50}}
    del play.pending["j"]
    play.take(play.machine.choose("j", {("x",): 50}, play.now))
    assert play.finish().line.data == {"x": 50}


def test_a_write_from_outside_at_another_key_is_asked_for_too() -> None:
    graph = {"nodes": {name: python() for name in "abj"}, "edges": [edge("a", "j"), edge("b", "j")], **ASK}
    play = Play(machine_of(graph, {"x": 0, "y": 0}), {"a": {"x": 1, "y": 1}, "b": {"x": 2}}).start()
    for name in "ab":
        play.answer(name)
    assert list(asked(play)) == ["x"]
    outside(play, 1, y=50)
    play.take(play.machine.resume(play.now))
    assert asked(play) == {"x": {"a": 1, "b": 2}, "y": {"a": 1, "crm": 50}}


def test_a_write_from_outside_that_has_nothing_to_do_with_a_conflict_asks_nothing_anew() -> None:
    play = in_conflict()
    outside(play, 1, note="hello")
    assert play.machine.resume(play.now) == []


def test_a_write_from_outside_that_ends_a_conflict_leaves_nothing_to_choose() -> None:
    play = in_conflict()
    outside(play, 2, x=2)  # it has seen what `a` wrote, and agrees with `b`
    play.take(play.machine.resume(play.now))
    assert asked(play) == {}
    del play.pending["j"]
    play.take(play.machine.choose("j", {}, play.now))
    assert play.seen["j"] == {"x": 2}


def test_a_join_that_is_being_cancelled_asks_nothing_anew() -> None:
    play = in_conflict()
    play.machine.cancel("enough", play.now)
    outside(play, 1, x=50)
    assert not any(isinstance(each, AskConflict) for each in play.machine.resume(play.now))


@pytest.mark.parametrize("merged", [False, True], ids=["edited before", "merged before"])
def test_an_operator_s_edits_outlive_a_service_that_has_seen_what_stood_there_before(merged: bool) -> None:
    nodes = {name: python() for name in "abk"} | {"j": python(on_failure="pause")}
    graph = {"nodes": nodes, "edges": [edge("a", "j"), edge("b", "j"), edge("j", "k")]}
    play = Play(machine_of(graph, {"x": 0}), {"a": {"x": 1}, "b": {"x": 2} if merged else {}, "j": failure()}).start()
    for name in "abj":
        play.answer(name)
    if not merged:
        play.take(play.machine.retry("j", changes(x=3), play.now))
        play.answer("j")
    outside(play, play.state.trail.count, note="seen")
    play.take(play.machine.retry("j", changes(x=4, y=5), play.now))
    play.script = {}
    play.answer("j")
    assert play.seen["k"] == {"x": 4, "y": 5, "note": "seen"}


@pytest.mark.parametrize("held_back", ["is_paused", "is_draining"])
def test_a_node_whose_conflict_is_settled_waits_while_the_run_is_paused_or_drained(held_back: str) -> None:
    play = in_conflict()
    setattr(play.state, held_back, True)
    del play.pending["j"]
    play.take(play.machine.choose("j", {("x",): 7}, play.now))
    assert play.pending == {}
    setattr(play.state, held_back, False)
    play.take(play.machine.resume(play.now))
    assert play.seen["j"] == {"x": 7}
    assert [version.kind for version in play.state.trail.versions] == ["input", "node", "node", "merge"]


def test_what_is_settled_at_the_end_of_a_paused_run_ends_it() -> None:
    graph = {"nodes": {name: python() for name in "ab"}, **ASK}
    play = Play(machine_of(graph, {"x": 0}), {"a": {"x": 1}, "b": {"x": 2}}).start()
    for name in "ab":
        play.answer(name)
    play.state.is_paused = True
    play.take(play.machine.choose("(end)", {("x",): 7}, play.now))
    assert play.state.finished is not None
    assert play.state.finished.line.data == {"x": 7}


@pytest.mark.parametrize(("code", "undone"), [(NOT_STARTED, ("each[0]/b", "each[0]/a")), ("CANCELLED", ("each",))])
def test_a_node_that_is_cancelled_at_its_join_did_nothing_that_its_composite_must_undo(code: str, undone: Any) -> None:
    steps = {name: python(compensate=python()) for name in "ab"}
    body = {"nodes": {**steps, "j": python()}, "edges": [edge("a", "j"), edge("b", "j")]}
    graph = {"nodes": {"each": {"type": "foreach", "items": "[1]", "body": body, "compensate": python()}}, **ASK}
    play = Play(machine_of(graph, {"x": 0}), {"each[0]/a": {"x": 1}, "each[0]/b": {"x": 2}}).start()
    for name in "ab":
        play.answer(f"each[0]/{name}")
    play.machine.cancel("enough", play.now)
    del play.pending["each[0]/j"]
    play.take(play.machine.failed("each[0]/j", Failure("cancelled", code, "cancelled"), play.now))
    assert play.finish().compensated == undone


def test_what_comes_from_outside_is_weighed_with_what_the_run_has_written() -> None:
    play = Play(machine_of({"nodes": {"a": python()}}, {"x": "x" * 1_500_000})).start()
    given = ChangeSet(1, {("y",): "y" * 700_000}, by="crm")
    with pytest.raises(SizeLimitExceeded, match="the largest key is 'x'"):
        play.machine.check_write(given)
    play.machine.check_write(ChangeSet(1, {("x",): "y" * 700_000}, by="crm"))


def test_a_node_that_an_operator_skips_has_no_error_for_what_comes_after_it() -> None:
    nodes = {"p": python(on_failure="pause"), "t": python(), "r": python(when="error != null"), "c": python()}
    edges = [
        edge("p", "t", when="error == null"),
        edge("p", "r", outcome="always"),
        edge("p", "c", outcome="always", when="error == null"),
    ]
    play = Play(machine_of({"nodes": nodes, "edges": edges}), {"p": failure()}).start()
    play.answer("p")
    play.take(play.machine.skip("p", changes(x=1), 50))
    assert play.finish().line.data == {"x": 1}
    assert play.ran == ["p", "t", "c"]
    assert "error" not in fields(at(views.status(play.state), "nodes", "p"))


@pytest.mark.parametrize("written", [{}, {"x": 2**70}])
def test_a_node_that_cannot_be_skipped_with_such_changes_fails_anew(written: Any) -> None:
    nodes = {"p": python(on_failure="pause"), "q": python()}
    schema = {"type": "object", "properties": {"x": {"type": "string"}}}
    graph = {"nodes": nodes, "edges": [edge("p", "q")], "context": {"schema": schema}}
    play = Play(machine_of(graph), {"p": failure()}).start()
    play.answer("p")
    play.take(play.machine.skip("p", changes(**written), 50))
    assert ("p" in play.state.paused_nodes) is bool(written)


@pytest.mark.parametrize("cancelled", [True, False], ids=["the run is cancelled", "a body fails"])
def test_a_choice_that_comes_too_late_starts_nothing(cancelled: bool) -> None:
    """The driver may hand on what somebody chose in the very task in which the join is cancelled."""
    inner = {"nodes": {name: python() for name in "abjx"}, "edges": [edge("a", "j"), edge("b", "j")]}
    graph = {"nodes": {"each": {"type": "foreach", "items": "[1]", "body": inner}}, **ASK}
    script: dict[str, Outcome] = {"each[0]/a": {"x": 1}, "each[0]/b": {"x": 2}, "each[0]/x": failure()}
    play = Play(machine_of(graph, {"x": 0}), script).start()
    for name in "ab":
        play.answer(f"each[0]/{name}")
    if cancelled:
        play.machine.cancel("stop", play.now)
    else:
        play.machine.failed("each[0]/x", failure(), play.now)
    late = play.machine.choose("each[0]/j", {("x",): 7}, play.now)
    assert not any(isinstance(command, RunNode) for command in late)
    assert "each[0]/j" not in play.state.work
