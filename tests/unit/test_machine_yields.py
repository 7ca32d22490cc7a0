"""One event may be followed by more work than a workflow task can take: the machine yields, and goes on afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from anabranch.workflows.interpreter import snapshot
from anabranch.workflows.interpreter.commands import YIELD, CancelWork, RunNode, Yield
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.simulation import Done, drive
from anabranch.workflows.interpreter.state import RunState
from tests.unit.machine_kit import RUN, Outcome, Play, edge, failure, machine_of, python

BUDGET = 10
STEP = python(compensate=python())


def wide(count: int, node: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"nodes": {f"n{index}": node or python() for index in range(count)}, **fields}


def skipped_items(**fields: Any) -> dict[str, Any]:
    each = {"type": "foreach", "items": "xs", "body": {"nodes": {"p": python(when="item < 0")}}, **fields}
    return {"nodes": {"each": each, "after": python()}, "edges": [edge("each", "after")]}


def yields(play: Play) -> int:
    """How often a play that waits for nothing else yields until it does not."""
    count = 0
    while list(play.pending) == [YIELD]:
        play.answer(YIELD)
        count += 1
    return count


def started(
    graph: dict[str, Any], data: dict[str, Any] | None = None, script: Mapping[str, Outcome] | None = None
) -> Play:
    return Play(machine_of(graph, data, budget=BUDGET), script or {}).start()


def test_items_that_are_all_skipped_are_spread_over_yields_of_some_nodes_each() -> None:
    play = started(skipped_items(), {"xs": list(range(100))})
    assert yields(play) == 100 * 3 // BUDGET
    assert play.finish().line.data == {"xs": list(range(100))}
    assert play.ran == ["after"]


def test_turns_that_are_all_skipped_are_spread_over_yields_too() -> None:
    loop = {"type": "while", "while": "index < 100", "body": {"nodes": {"p": python(when="false")}}}
    play = started({"nodes": {"loop": loop}})
    assert 25 <= yields(play) <= 30
    assert play.state.finished is not None


def test_results_that_are_collected_across_yields_stay_in_the_order_of_the_items_that_ran() -> None:
    play = started(skipped_items(collect={"into": "seen", "value": "item * 2"}), {"xs": [-3, 1, -2] * 10})
    play.pick = lambda pending: YIELD if YIELD in pending else pending[-1]
    assert play.finish().line.data["seen"] == [-6, -4] * 10


def test_a_large_body_takes_its_share_of_the_budget_when_it_is_entered() -> None:
    names = [f"p{index}" for index in range(160)]
    chain = {"nodes": {name: python() for name in names}, "edges": [edge(*pair) for pair in pairwise(names)]}
    each = {"type": "foreach", "items": "[1, 2, 3]", "body": chain}
    play = started({"nodes": {"each": each}})
    assert (play.ran, list(play.pending)) == ([], [YIELD])


def test_skipped_nodes_take_their_share_of_the_budget() -> None:
    names = [f"n{index}" for index in range(30)]
    nodes = {name: python() for name in names} | {"n0": python(when="false"), "b": python()}
    play = started({"nodes": nodes, "edges": [edge(*pair) for pair in pairwise(names)]})
    assert (play.ran, list(play.pending)) == ([], [YIELD])
    play.answer(YIELD)
    assert play.ran == ["b"]


def test_a_wide_graph_starts_in_batches_in_the_order_of_its_nodes() -> None:
    play = started(wide(25))
    assert list(play.pending) == [*(f"n{index}" for index in range(BUDGET)), YIELD]
    play.answer("n3")
    assert play.ran == [f"n{index}" for index in range(BUDGET)]
    play.answer(YIELD)
    play.answer(YIELD)
    assert play.ran == [f"n{index}" for index in range(25)]
    assert play.finish().failure is None


def test_a_run_that_has_enough_budget_never_yields() -> None:
    play = started(wide(BUDGET - 1))
    assert play.finish().failure is None
    assert YIELD not in play.pending


def test_nothing_starts_while_the_machine_yields_whatever_ends_meanwhile() -> None:
    graph = wide(25)
    graph["nodes"]["next"] = python()
    graph["edges"] = [edge("n0", "next")]
    play = started(graph)
    for index in range(BUDGET):
        play.answer(f"n{index}")
    assert list(play.pending) == [YIELD]
    assert "next" not in play.ran


def test_work_is_cancelled_in_batches_and_the_run_ends_after_the_last() -> None:
    machine = machine_of(wide(25), budget=BUDGET)
    machine.start(0)
    for at in (1, 2):
        machine.succeeded(YIELD, None, at)
    batches = [machine.cancel("stop", 3), machine.succeeded(YIELD, None, 4), machine.succeeded(YIELD, None, 5)]
    cancelled = [[each.address for each in batch if isinstance(each, CancelWork)] for batch in batches]
    assert [len(batch) for batch in cancelled] == [5, BUDGET, BUDGET]
    assert [address for batch in cancelled for address in batch] == [f"n{index}" for index in range(25)]
    assert [any(isinstance(each, Yield) for each in batch) for batch in batches] == [True, True, False]


def test_work_that_ends_before_its_turn_to_be_cancelled_is_not_cancelled() -> None:
    machine = machine_of(wide(15), budget=BUDGET)
    machine.start(0)
    machine.succeeded(YIELD, None, 1)
    machine.cancel("stop", 2)
    machine.failed("n14", failure(), 3)
    last = machine.succeeded(YIELD, None, 4)
    assert [each.address for each in last if isinstance(each, CancelWork)] == [f"n{index}" for index in range(5, 14)]


@pytest.mark.parametrize("compensation", ["parallel", "sequential"])
def test_compensations_are_spread_over_yields_and_the_context_is_rolled_back(compensation: str) -> None:
    graph = wide(25, STEP, saga={"compensation": compensation})
    graph["nodes"]["last"] = python()
    graph["edges"] = [edge(f"n{index}", "last") for index in range(25)]
    writes = {f"n{index}": {f"k{index}": index} for index in range(25)}
    play = started(graph, script={**writes, "last": failure()})
    finish = play.finish()
    assert finish.line.data == {}
    assert finish.compensated == tuple(f"n{index}" for index in reversed(range(25)))


def test_no_more_compensations_start_at_once_than_the_budget_allows() -> None:
    graph = wide(25, STEP, saga={"compensation": "parallel"})
    graph["nodes"]["last"] = python()
    graph["edges"] = [edge(f"n{index}", "last") for index in range(25)]
    play = started(graph)
    while list(play.pending) != ["last"]:
        play.answer(next(iter(play.pending)))
    batches = [play.machine.failed("last", failure(), 50)]
    while any(isinstance(each, Yield) for each in batches[-1]):
        batches.append(play.machine.succeeded(YIELD, None, 60))
    counts = [sum(isinstance(each, RunNode) for each in batch) for batch in batches]
    assert (sum(counts), max(counts)) == (25, BUDGET)


@pytest.mark.parametrize("during", ["cancel", "fail"])
def test_a_run_that_fails_while_it_yields_undoes_what_has_happened(during: str) -> None:
    play = started(wide(25, STEP), script={"n0": {"x": 1}, "n1": failure()})
    play.answer("n0")
    if during == "cancel":
        play.take(play.machine.cancel("stop", play.now))
    else:
        play.answer("n1")
    finish = play.finish()
    assert finish.failure is not None
    assert "n0" in finish.compensated
    assert play.state.work == {}
    assert not any(name in play.ran for name in ("n10", "n24"))


def test_a_run_that_is_paused_while_it_yields_starts_nothing_until_it_is_resumed() -> None:
    play = started(wide(15))
    play.state.is_paused = True
    play.answer(YIELD)
    assert len(play.ran) == BUDGET
    play.state.is_paused = False
    play.take(play.machine.resume(play.now))
    assert len(play.ran) == 15


def test_a_run_that_continues_as_new_while_it_yields_goes_on_where_it_was() -> None:
    play = started(skipped_items(), {"xs": list(range(100))})
    play.state.is_draining = True
    play.answer(YIELD)
    assert (play.pending, play.state.under_way) == ({}, False)
    fresh = RunState(play.state.plan, {}, run=RUN, task_nodes=BUDGET)
    snapshot.load(fresh, snapshot.dump(play.state))
    after = Play(Machine(fresh), now=play.now)
    after.take(after.machine.resume_from_snapshot(play.now))
    assert yields(after) == (100 * 3 - BUDGET) // BUDGET
    assert after.finish().failure is None
    assert after.ran == ["after"]


def test_an_abort_that_is_not_over_keeps_a_run_from_continuing_as_new() -> None:
    body = {"nodes": {**wide(15)["nodes"], "bad": python()}}
    play = started({"nodes": {"each": {"type": "foreach", "items": "[1]", "body": body, "on_failure": "continue"}}})
    play.answer(YIELD)
    play.machine.failed("each[0]/bad", failure(), play.now)
    play.state.is_draining = True
    assert play.state.under_way


def test_a_simulation_yields_at_once_and_does_not_tell() -> None:
    machine = machine_of(wide(25), budget=BUDGET)
    done = drive(machine, lambda _: Done({}, seconds=1.0))
    assert done.finish is not None
    assert [entry.work.address for entry in done.timeline] == [f"n{index}" for index in range(25)]
    assert {entry.started for entry in done.timeline} == {0}


def test_a_conflict_that_is_settled_while_the_machine_yields_starts_its_node_afterwards() -> None:
    graph = {
        "nodes": {**{name: python() for name in "abjc"}, **wide(20)["nodes"]},
        "edges": [edge("a", "j"), edge("b", "j"), *(edge("c", f"n{index}") for index in range(20))],
        "context": {"conflict_resolution": "fail_on_conflict"},
    }
    play = started(graph, {"x": 0}, {"a": {"x": 1}, "b": {"x": 2}})
    for name in "abc":
        play.answer(name)
    assert YIELD in play.pending
    del play.pending["j"]
    assert play.machine.choose("j", {("x",): 7}, play.now) == []
    play.answer(YIELD)
    play.answer(YIELD)
    assert play.seen["j"] == {"x": 7}
