"""A run that continues as new, at whatever point, goes on to the end that it would have come to anyway."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from anabranch.graph.plan import Plan
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.commands import AskConflict, AskPerson, Finish, RunNode, StartChild, StartTimer
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.trail_wire import MAX_VERSIONS
from tests.examples import examples
from tests.json_values import at
from tests.unit.machine_kit import RUN, Play, changes, edge, failure, machine_of, python, timeout
from tests.unit.test_machine_properties import Case, Run, cases

FEW = settings(max_examples=examples(75), deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def through_json(machine: Machine, plan: Plan) -> Machine:
    """A fresh machine in the state of this one, which has travelled as JSON text."""
    fresh = RunState(plan, {}, run=RUN)
    snapshot.load(fresh, json.loads(json.dumps(snapshot.dump(machine.state))))
    return Machine(fresh)


class Carried(Run):
    """Continues as new after each of so many answers: starts nothing more, lets activities finish, and goes on."""

    def __init__(self, case: Case, seed: int, after: list[int]) -> None:
        self.after = set(after)
        self.answers = 0
        super().__init__(case, seed)

    def answer(self, address: str) -> None:
        super().answer(address)
        self.answers += 1
        if self.answers in self.after and self.state.finished is None:
            self.state.is_draining = True
        if self.state.is_draining and self.state.failure is None and not self.running():
            self.go_on()

    def running(self) -> bool:
        return any(isinstance(command, RunNode | StartChild) for command in self.pending.values())

    def go_on(self) -> None:
        self.machine = through_json(self.machine, self.state.plan)
        self.pending.clear()
        self.take(self.machine.resume_from_snapshot(self.now))


def end(run: Run) -> dict[str, Any]:
    """How a run came out; conflicts of versions that stayed behind are not reported again."""
    finish = run.finished
    reported = {key: value for key, value in run.outcome.items() if key != "conflicts"}
    return {**reported, "compensated": sorted(finish.compensated), "rolled back": finish.line.data}


@FEW
@given(
    cases(joins=["any", "any", "all", "first", 2], fragile=True),
    st.integers(0, 10_000),
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
)
def test_a_run_continued_as_new_comes_to_the_same_end(case: Case, seed: int, after: list[int]) -> None:
    plain, carried = Run(case, seed), Carried(case, seed, after)
    event(f"failed: {plain.finished.failure is not None}, continued: {carried.machine is not plain.machine}")
    if plain.finished.failure is None and not _depends_on_order(case):
        assert end(carried) == end(plain)
    else:
        assert (carried.pending, carried.machine.state.work, carried.machine.state.paused_nodes) == ({}, {}, {})


def _depends_on_order(case: Case) -> bool:
    """A race is over at whichever edges are taken first, and draining changes which these are."""
    return any(node["join"] in ("first", 2) for node in case.graph["nodes"].values())


@FEW
@given(cases(joins=["any", "all"]), st.integers(0, 10_000), st.integers(1, 10))
def test_what_is_carried_is_the_same_again_when_it_is_carried_on(case: Case, seed: int, after: int) -> None:
    play = Carried(case, seed, [after])
    machine = play.machine
    if machine.state.failure is None:
        state = json.dumps(snapshot.dump(machine.state))
        assert json.dumps(snapshot.dump(through_json(machine, machine.state.plan).state)) == state


def carried(play: Play, plan: Plan | None = None) -> Play:
    """The same play on a machine that has continued as new."""
    fresh = Play(through_json(play.machine, plan or play.state.plan), play.script, play.times, now=play.now)
    fresh.take(fresh.machine.resume_from_snapshot(fresh.now))
    return fresh


def line(*names: str, **nodes: Any) -> dict[str, Any]:
    pairs = pairwise(names)
    return {"nodes": {name: nodes.get(name, python()) for name in names}, "edges": [edge(*pair) for pair in pairs]}


def drained(graph: Mapping[str, Any], script: Mapping[str, Any] | None = None, *answers: str) -> Play:
    """A play after these answers, ready to continue as new."""
    play = Play(machine_of(graph, {"n": 0}), script or {}).start()
    for index, address in enumerate(answers):
        play.state.is_draining = index == len(answers) - 1
        play.answer(address)
    return play


def test_steps_before_and_after_are_undone_alike() -> None:
    step = python(compensate=python())
    graph = line("a", "b", "c", a=step, b=step)
    play = carried(drained(graph, {"a": {"n": 1}, "b": {"n": 2}, "c": failure()}, "a"))
    finish = play.finish()
    assert finish.compensated == ("b", "a")
    assert (play.seen["undo a"], play.seen["undo b"]) == ({"n": 1}, {"n": 2})
    assert finish.line.data == {"n": 0}


@pytest.mark.parametrize("compensation", ["sequential", "parallel"])
def test_steps_in_bodies_are_undone_in_the_same_order(compensation: str) -> None:
    body = {"nodes": {"p": python(compensate=python())}}
    loop = {"type": "while", "while": "index < 3", "body": body}
    graph = {**line("a", "loop", "c", a=python(compensate=python()), loop=loop), "saga": {"compensation": compensation}}
    play = carried(drained(graph, {"c": failure()}, "a", "loop[0]/p", "loop[1]/p"))
    assert play.finish().compensated == ("loop[2]/p", "loop[1]/p", "loop[0]/p", "a")


def test_an_unknown_outcome_stays_unknown() -> None:
    graph = line("a", "late", "b", "c", late=python(compensate=python(), on_failure="continue"))
    play = carried(drained(graph, {"late": timeout(), "c": failure()}, "a", "late"))
    assert play.finish().compensated == ("late",)


def test_past_a_pivot_nothing_is_undone_after_either() -> None:
    graph = line("a", "pay", "b", a=python(compensate=python()), pay=python(pivot=True))
    play = carried(drained(graph, {"b": failure()}, "a", "pay"))
    assert play.finish().compensated == ()


def test_the_keys_of_effects_stay_the_same() -> None:
    play = carried(drained(line("a", "b"), {}, "a"))
    command = play.pending["b"]
    assert isinstance(command, RunNode)
    assert command.key == "run-1/b"


def test_a_timer_goes_on_for_what_is_left_of_it() -> None:
    play = drained(line("a", "nap", nap={"type": "wait", "for": "10s"}), {}, "a")
    play.state.is_draining = False
    play.take(play.machine.resume(5_000))
    play.now = 9_000
    assert carried(play).pending == {"nap": StartTimer("nap", 6.0)}


def test_a_person_is_asked_again_for_what_is_left_of_the_time() -> None:
    play = drained(line("a", "ask", ask={"type": "approval", "prompt": "Yes?", "timeout": "1m"}), {}, "a")
    play.state.is_draining = False
    play.take(play.machine.resume(5_000))
    play.now = 25_000
    asked = carried(play).pending["ask"]
    assert isinstance(asked, AskPerson)
    assert (asked.prompt, asked.timeout) == ("Yes?", 40.0)


def test_a_conflict_is_asked_again_with_the_same_candidates() -> None:
    graph = {
        "nodes": {name: python() for name in "abj"},
        "edges": [edge("a", "j"), edge("b", "j")],
        "context": {"conflict_resolution": "fail_on_conflict"},
    }
    play = Play(machine_of(graph, {"x": 0}), {"a": {"x": 1}, "b": {"x": 2}}).start()
    play.answer("a")
    play.answer("b")
    asked = carried(play).pending["j"]
    assert isinstance(asked, AskConflict)
    (conflict,) = asked.conflicts
    assert (conflict.path, conflict.base, [each.value for each in conflict.candidates]) == (("x",), 0, [1, 2])


def test_a_paused_node_still_waits_for_its_operator_and_knows_its_failure() -> None:
    play = drained(line("a", "b", b=python(on_failure="pause")), {}, "a")
    play.state.is_draining = False
    play.script = {"b": failure("NO_STOCK")}
    play.take(play.machine.resume(play.now))
    play.answer("b")
    play = carried(play)
    status = views.status(play.state)
    nodes = status["nodes"]
    assert isinstance(nodes, dict)
    assert at(nodes, "b", "error", "type") == "NO_STOCK"
    play.take(play.machine.skip("b", changes(x=1), 50))
    assert play.finish().line.data == {"n": 0, "x": 1}


def test_items_that_were_held_back_start_and_results_stay_in_the_order_of_the_items() -> None:
    each = {
        "type": "foreach",
        "items": "[1, 2, 3, 4]",
        "max_concurrency": 2,
        "body": {"nodes": {"p": python()}},
        "collect": {"into": "seen", "value": "item * 10"},
    }
    play = Play(machine_of({"nodes": {"each": each}})).start()
    play.state.is_draining = True
    play.answer("each[1]/p")
    play.answer("each[0]/p")
    play = carried(play)
    assert list(play.pending) == ["each[2]/p", "each[3]/p"]
    assert play.finish().line.data == {"seen": [10, 20, 30, 40]}


def test_items_that_were_held_back_start_when_the_run_goes_on_without_continuing_as_new() -> None:
    each = {"type": "foreach", "items": "[1, 2, 3, 4]", "max_concurrency": 2, "body": {"nodes": {"p": python()}}}
    play = Play(machine_of({"nodes": {"each": each, "a": python(), "b": python()}, "edges": [edge("a", "b")]})).start()
    play.state.is_draining = True
    for address in ("each[1]/p", "a"):
        play.answer(address)
    assert list(play.pending) == ["each[0]/p"]
    play.state.is_draining = False
    play.take(play.machine.resume(50))
    assert sorted(play.pending) == ["b", "each[0]/p", "each[2]/p"]
    assert play.finish().failure is None


def test_what_services_wrote_from_outside_still_rejoins_by_three_way_merge() -> None:
    graph = {**line("a", "b"), "context": {"merge": {"n": "sum"}}}
    play = Play(machine_of(graph, {"n": 10}), {"b": {"m": 1}}).start()
    assert play.machine.write(changes_on(1, n=15), 50) == 2
    play.state.is_draining = True
    play.answer("a")
    play = carried(play)
    assert play.machine.write(changes_on(1, n=11), 60) == 3
    assert play.finish().line.data == {"n": 16, "m": 1}


def changes_on(base: int, **keys: Any) -> Any:
    given = changes(**keys)
    return type(given)(base_version=base, set=given.set, by="crm")


def test_versions_go_on_counting_and_the_newest_go_along() -> None:
    play = carried(drained(line("a", "b"), {"a": {"n": 1}, "b": {"n": 2}}, "a"))
    finish = play.finish()
    assert [(each.number, each.kind, each.by) for each in play.state.trail.versions] == [
        (1, "input", "input"),
        (2, "node", "a"),
        (3, "node", "b"),
    ]
    assert isinstance(finish, Finish)
    assert finish.line.version == 3


def test_only_so_many_versions_go_along() -> None:
    names = [f"n{index}" for index in range(MAX_VERSIONS + 10)]
    play = drained(line(*names, "last"), {name: {name: 1} for name in names}, *names)
    state = snapshot.dump(play.state)
    assert (len(state["trail"]["versions"]), state["trail"]["count"]) == (MAX_VERSIONS, len(names) + 1)


def test_of_large_versions_only_the_newest_that_fit_go_along() -> None:
    """The first of them is the input, which the lines of descent hold anyway."""
    names = [f"n{index}" for index in range(6)]
    play = drained(line(*names, "last"), {name: {"k": name * 500_000} for name in names}, *names)
    versions = snapshot.dump(play.state)["trail"]["versions"]
    assert [by for _, _, _, by, *_ in versions] == names[2:]
    assert carried(play).finish().line.data["k"] == "n5" * 500_000


def test_who_settled_and_answered_is_known_in_the_next_run_too() -> None:
    graph = {
        "nodes": {"a": python(), "b": python(), "ask": {"type": "approval"}, "c": python()},
        "edges": [edge("a", "ask"), edge("b", "ask"), edge("ask", "c")],
        "context": {"conflict_resolution": "fail_on_conflict"},
    }
    play = Play(machine_of(graph), {"a": {"x": 1}, "b": {"x": 2}, "ask": {"ok": True}}).start()
    play.answer("a")
    play.answer("b")
    del play.pending["ask"]
    play.take(play.machine.choose("ask", {("x",): 2}, 50, {("x",): "ada"}))
    play.state.decisions.note("ask", "answered", "bob")
    play.state.is_draining = True
    play.now = 60
    play.answer("ask")
    play = carried(play)
    _, merge, answer = play.state.trail.versions[-3:]
    assert [each.settled_by for each in (*merge.conflicts, *play.state.trail.settled)] == ["ada", "ada"]
    assert (answer.by, answer.answered_by, play.state.decisions.described()) == (
        "ask",
        "bob",
        {"ask": {"did": "answered", "by": "bob"}},
    )
    play.state.decisions.note("ask", "retried", None)
    assert (play.state.decisions.newest, play.finish().failure) == ({}, None)


def test_a_held_run_stays_held() -> None:
    play = Play(machine_of(line("a", "b"))).start()
    play.state.is_paused = True
    play.answer("a")
    play = carried(play)
    assert (play.pending, play.state.is_paused) == ({}, True)
