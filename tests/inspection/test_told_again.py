"""What a run was told, told again to a fresh machine, leads to the same; and a rerun from each node can be planned."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from anabranch.context.changes import ChangeSet
from anabranch.errors import RerunRefused
from anabranch.inspection.history import History
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.inspection import Inspection
from anabranch.rerun.past import Past, Told, machine_for, rebuilt
from anabranch.rerun.preparing import Prepared, prepare
from anabranch.transport.converter import data_converter
from anabranch.transport.rerun import RerunRequest
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.journal import catch_up
from anabranch.workflows.interpreter.node_run import NodeRun
from anabranch.workflows.interpreter.rerun import RerunMachine
from anabranch.workflows.interpreter.scope import Scope
from anabranch.workflows.interpreter.taken_over import TakenOver
from anabranch.workflows.interpreter.trail import Version
from anabranch.workflows.interpreter.watcher import Watcher
from tests.replay.record import HISTORIES

MOST = 12
"""Nodes of each graph that are tried."""
LATER = 10**9
"""Milliseconds: what runs again does so after all that was before."""
DISAGREEING = frozenset({"conflict_anew", "diamond_with_conflicts", "people", "received", "tried_again"})
"""Runs in which the last write wins, or an event comes too late: what runs again writes later, and has the event."""
NAMES = sorted(path.name.removesuffix(".json.gz") for path in HISTORIES.glob("*.json.gz"))


def text_of(name: str) -> str:
    """The JSON of a recorded history."""
    return gzip.decompress((HISTORIES / f"{name}.json.gz").read_bytes()).decode()


def end_of(name: str) -> str:
    """How the run of a recorded history ended, as its last event says it."""
    *_, last = re.finditer(r'"EVENT_TYPE_WORKFLOW_EXECUTION_([A-Z_]+)"', text_of(name))
    return last[1]


WHOLE = [name for name in NAMES if end_of(name) != "CONTINUED_AS_NEW"]
COMPLETED = [name for name in WHOLE if end_of(name) == "COMPLETED"]


@pytest.fixture
async def inspector() -> AsyncIterator[Inspector]:
    made = Inspector(data_converter())
    yield made
    made.close()


async def inspected(inspector: Inspector, name: str) -> Inspection:
    return await inspector.inspect(History.from_json(text_of(name)))


@pytest.mark.parametrize("name", NAMES)
async def test_a_machine_that_is_told_the_same_comes_to_the_same(inspector: Inspector, name: str) -> None:
    seen = await inspected(inspector, name)
    assert seen.plan is not None
    assert seen.pinned is not None
    told = Told(seen.plan, seen.pinned, [seen])
    told.play()
    state = told.machine.state
    if seen.closing is not None and seen.closing.kind == "completed" and state.ending is None:
        assert told.machine.context().data == seen.last.context
        nodes = {address: node.status for address, node in seen.nodes().items() if "/" not in address}
        assert {name: run.status for name, run in state.main.nodes.items()} == nodes
    before = [frame for frame in seen.frames if frame.failure is None and frame.status != "finishing"]
    if not seen.journal.is_ended and before:
        steps = {step.address for step in before[-1].saga}
        assert steps <= told.steps


@pytest.mark.parametrize("name", WHOLE)
async def test_from_each_node_a_rerun_keeps_or_runs_every_node_that_was_done(inspector: Inspector, name: str) -> None:
    seen = await inspected(inspector, name)
    assert seen.plan is not None
    past = rebuilt([seen])
    for node in [*seen.plan.nodes][:MOST]:
        for unchanged in (False, True):
            request = RerunRequest(seen.workflow_id, nodes=(node,), keep_unchanged=unchanged)
            made = attempted(past, request)
            if isinstance(made, RerunRefused):
                assert (node in past.done, f"nothing leads to {node!r}" in made.message) == (False, True)
                continue
            plan = made.plan
            assert node in (*plan.first, *plan.behind)
            assert not {*plan.kept} & {*plan.first, *plan.behind}
            assert past.done <= {*plan.kept, *plan.first, *plan.behind}
            assert TakenOver.from_wire(made.taken.to_wire()) == made.taken


@pytest.mark.parametrize("name", [name for name in COMPLETED if name not in DISAGREEING])
async def test_a_rerun_whose_nodes_do_the_same_ends_alike(inspector: Inspector, name: str) -> None:
    """From each node: what runs again is answered as it was before."""
    seen = await inspected(inspector, name)
    assert seen.plan is not None
    past = rebuilt([seen])
    for node in [*seen.plan.nodes][:MOST]:
        made = attempted(past, RerunRequest(seen.workflow_id, nodes=(node,)))
        if isinstance(made, RerunRefused):
            continue
        machine = machine_for(seen.plan, made.pinned, seen, made.taken)
        machine.begin()
        assert not machine.take(10**6)
        machine.go_on(machine.state.at + 1)
        for entry in past.entries:
            machine.tell(replace(entry, at=entry.at + LATER))
            catch_up(machine)
        if machine.state.finished is not None and machine.state.root is machine.state.main:
            assert (node, machine.context().data) == (node, seen.last.context)


class Heard(Watcher):
    """The starts, ends and versions that one hears of."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def node_started(self, scope: Scope, run: NodeRun) -> None:
        self.told.append(f"{scope.address(run)} starts")

    def node_ended(self, scope: Scope, run: NodeRun, failure: Failure | None) -> None:
        self.told.append(f"{scope.address(run)} ends")

    def context_updated(self, version: Version) -> None:
        self.told.append(f"{version.by} writes")


async def test_only_the_replay_hears_of_what_is_kept(inspector: Inspector) -> None:
    """Nobody counts, logs or traces again what was done before."""
    seen = await inspected(inspector, "chain")
    assert seen.plan is not None
    made = prepare(rebuilt([seen]), RerunRequest(seen.workflow_id, nodes=("b",), keep_unchanged=True))
    assert (made.plan.kept, made.plan.first, made.plan.if_unchanged) == (("a",), ("b",), ("c",))
    others, replay = Heard(), Heard()
    state = machine_for(seen.plan, made.pinned, seen, made.taken).state
    state.listen(others)
    machine = RerunMachine(state, made.taken, replay)
    machine.begin()
    machine.take(100)
    machine.go_on(machine.state.at + 1)
    machine.succeeded("b", ChangeSet(1, {("y",): 5}), machine.state.at + 1)
    assert machine.state.finished is not None
    assert replay.told == ["input writes", "a starts", "a writes", "a ends", "c starts", "c writes", "c ends"]
    assert others.told == [f"rerun of {seen.workflow_id} writes", "b starts", "b writes", "b ends"]


def attempted(past: Past, request: RerunRequest) -> Prepared | RerunRefused:
    try:
        return prepare(past, request)
    except RerunRefused as refused:
        return refused
