"""The undo plan of a run is what a cancel then undoes, in this order, on this context."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from anabranch.context.values import Json
from anabranch.graph.model import Graph
from anabranch.graph.plan import plan_graph
from anabranch.inspection.undo_plan import UndoPlan, undo_plan
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
from tests.unit.machine_kit import NODES, RUN, Play, edge, python
from tests.unit.test_machine_properties import FEW, Case, cases
from tests.unit.test_machine_properties import Run as Played
from tests.unit.varied import LAST, TRANSIENT, with_more_undone


class Cancelled(Played):
    """A run that is cancelled after some answers, and the plan just before that."""

    plan: UndoPlan | None = None

    def answer(self, address: str) -> None:
        if self.cancel_after == 0:
            self.plan = undo_plan(self.machine, ())
            self.before = list(self.ran)
        super().answer(address)

    @property
    def undone(self) -> list[str]:
        """The compensations that started after the cancel."""
        return [each.removeprefix("undo ") for each in self.ran[len(self.before) :] if each.startswith("undo ")]


FRAGILE = cases(joins=["any", "all", "first", 2], fragile=True)
MODES = st.sampled_from(["sequential", "parallel"])


@settings(FEW, max_examples=120)
@given(FRAGILE, st.integers(0, 10_000), st.integers(0, 12), MODES, st.booleans())
def test_a_cancel_undoes_what_the_plan_said(
    case: Case, seed: int, cancel_after: int, compensation: str, has_finally: bool
) -> None:
    graph = {**case.graph, "saga": {"compensation": compensation}}
    if has_finally:  # what runs behind all of it is no part of the plan, and is not undone
        graph["finally"] = {"nodes": {LAST: python()}}
    compare(replace(case, graph=graph, work={**case.work, LAST: ()}), seed, cancel_after, compensation)


@settings(FEW, max_examples=240)
@given(FRAGILE, st.integers(0, 10_000), st.integers(0, 20), MODES)
def test_so_it_does_in_bodies_blocks_with_a_finally_children_and_between_attempts(
    case: Case, seed: int, cancel_after: int, compensation: str
) -> None:
    graph = {**with_more_undone(case.graph, random.Random(seed)), "saga": {"compensation": compensation}}
    work = {
        name: replace(each, code=TRANSIENT) if isinstance(each, Failure) else each for name, each in case.work.items()
    }
    compare(replace(case, graph=graph, work={**work, LAST: ()}), seed, cancel_after, compensation)


def compare(case: Case, seed: int, cancel_after: int, compensation: str) -> None:
    """Play a run, and compare what was undone since its cancel with the plan."""
    run = Cancelled(case, seed, cancel_after, NODES)
    if (plan := run.plan) is None or plan.is_over:
        return
    event(f"steps: {min(3, len(plan.steps))}")
    event(f"in bodies: {any('/' in step.address for step in plan.steps)}")
    event(f"of later attempts: {any('~' in step.address for step in plan.steps)}")
    planned = [step.address for step in plan.steps]
    under_way = {address for address in run.before if address.startswith("undo ")} - {f"undo {a}" for a in plan.done}
    assert sorted(run.undone) == sorted(each for each in planned if f"undo {each}" not in under_way)
    if compensation == "sequential":
        assert run.undone == [each for each in planned if f"undo {each}" not in under_way]


@settings(FEW, max_examples=20)
@given(cases(fragile=True), st.integers(0, 10_000), st.integers(0, 12))
def test_a_plan_changes_nothing_of_the_run(case: Case, seed: int, cancel_after: int) -> None:
    looked, plain = Cancelled(case, seed, cancel_after), Played(case, seed, cancel_after)
    assert (looked.ran, looked.finished.compensated) == (plain.ran, plain.finished.compensated)
    assert looked.outcome == plain.outcome


UNDO: dict[str, Any] = {"compensate": python(reads=("a",))}


def plan_after(answers: int, *, saga: dict[str, Json] | None = None, **nodes: dict[str, Any]) -> UndoPlan:
    """The plan of a chain of nodes after so many answers, each of which writes the key of its node's name."""
    names = [*nodes]
    graph = {"name": "g", "nodes": nodes, "edges": [edge(a, b) for a, b in pairwise(names)]}
    if saga is not None:
        graph["saga"] = saga
    play = Play(Machine(RunState(plan_graph(Graph.model_validate(graph)), {}, run=RUN)), {n: {n: 1} for n in names})
    play.start()
    for _ in range(answers):
        play.answer(next(iter(play.pending)))
    return undo_plan(play.machine, ())


def test_a_step_that_is_done_is_certain_and_one_that_runs_is_not() -> None:
    plan = plan_after(2, a={**python(), **UNDO}, b={**python(), **UNDO}, c={**python(), **UNDO})
    assert [(step.address, step.wave, step.is_certain, step.is_under_way) for step in plan.steps] == [
        ("c", 1, False, True),
        ("b", 2, True, False),
        ("a", 3, True, False),
    ]


def test_a_compensation_sees_the_keys_that_it_reads_as_its_step_left_them() -> None:
    plan = plan_after(2, a={**python(), **UNDO}, b={**python(), **UNDO}, c=python())
    assert [(step.address, dict(step.sees)) for step in plan.steps] == [("b", {"a": 1}), ("a", {"a": 1})]


def test_behind_a_pivot_nothing_is_undone_any_more() -> None:
    plan = plan_after(2, a={**python(), **UNDO}, b={**python(), "pivot": True}, c=python())
    assert (plan.steps, plan.pivoted, plan.is_over) == ((), True, False)


def test_of_a_run_that_is_over_nothing_is_undone() -> None:
    plan = plan_after(1, a={**python(), **UNDO})
    assert (plan.steps, plan.is_over) == ((), True)
