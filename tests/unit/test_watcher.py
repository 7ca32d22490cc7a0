"""What a run tells of itself while it is played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anabranch.context.merge.union import Conflict
from anabranch.graph.model import Graph
from anabranch.graph.plan import plan_graph
from anabranch.workflows.interpreter.commands import AskConflict, Failure
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.node_run import NodeRun
from anabranch.workflows.interpreter.saga import Step
from anabranch.workflows.interpreter.scope import Scope
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.trail import Version
from anabranch.workflows.interpreter.watcher import Watcher
from tests.unit.machine_kit import RUN, Play, edge, failure, python


class Heard(Watcher):
    def __init__(self) -> None:
        self.said: list[str] = []

    def node_started(self, scope: Scope, run: NodeRun) -> None:
        self.said.append(f"{scope.address(run)} starts")

    def node_ended(self, scope: Scope, run: NodeRun, failure: Failure | None) -> None:
        self.said.append(f"{scope.address(run)} {'ends' if failure is None else failure.code}")

    def context_updated(self, version: Version) -> None:
        self.said.append(f"{version.kind} {version.number} by {version.by}")

    def conflicts_found(self, address: str, conflicts: Sequence[Conflict]) -> None:
        self.said.append(f"{len(conflicts)} conflict(s) at {address}")

    def finally_failed(self, address: str, failure: Failure) -> None:
        self.said.append(f"finally of {address} {failure.code}")

    def finally_ended(self, scope: Scope, run: NodeRun, failure: Failure) -> None:
        self.said.append(f"{scope.address(run)} is over: {failure.code}")

    def undo_started(self, step: Step) -> None:
        self.said.append(f"undo {step.address}")

    def undo_ended(self, step: Step, failure: Failure | None) -> None:
        self.said.append(f"undone {step.address}" if failure is None else f"not undone {step.address}")


def played(graph: Mapping[str, Any], script: Mapping[str, Any]) -> tuple[Play, list[str]]:
    heard = Heard()
    plan = plan_graph(Graph.model_validate({"name": "g", **graph}), {})
    play = Play(Machine(RunState(plan, {}, run=RUN, watcher=heard)), script)
    return play, heard.said


def diamond(**fields: Any) -> dict[str, Any]:
    nodes = {"left": python(), "right": python(), "join": python()}
    return {"nodes": nodes, "edges": [edge("left", "join"), edge("right", "join")], **fields}


def test_a_run_tells_of_its_nodes_its_versions_and_its_conflicts() -> None:
    play, said = played(diamond(), {"left": {"a": 1}, "right": {"a": 2}})
    assert play.run().failure is None
    assert said == [
        "input 1 by input",
        "left starts",
        "right starts",
        "node 2 by left",
        "left ends",
        "node 3 by right",
        "right ends",
        "1 conflict(s) at join",
        "merge 4 by join",
        "join starts",
        "join ends",
    ]


def test_a_conflict_that_a_person_settles_is_told_of_once() -> None:
    play, said = played(
        diamond(context={"conflict_resolution": "fail_on_conflict"}), {"left": {"a": 1}, "right": {"a": 2}}
    )
    play.start()
    play.answer("left")
    play.answer("right")
    asked = play.pending.pop("join")
    assert isinstance(asked, AskConflict)
    play.take(play.machine.choose("join", {("a",): 2}, 2_000))
    assert play.finish().failure is None
    assert said.count("1 conflict(s) at join") == 1
    assert said.index("1 conflict(s) at join") < said.index("merge 4 by join")


def test_a_failed_run_tells_of_its_failure_and_of_what_it_undoes() -> None:
    nodes = {"charge": python(compensate=python()), "mail": python(compensate=python()), "boom": python()}
    graph = {"nodes": nodes, "edges": [edge("charge", "mail"), edge("mail", "boom")]}
    play, said = played(graph, {"boom": failure("NO_STOCK"), "undo mail": failure()})
    assert play.run().failure is not None
    assert said[said.index("boom starts") :] == [
        "boom starts",
        "boom NO_STOCK",
        "undo mail",
        "not undone mail",
        "undo charge",
        "undone charge",
    ]


def test_a_body_tells_of_the_node_around_it_first_and_last() -> None:
    body = {"nodes": {"weigh": python()}, "edges": []}
    nodes = {"pack": {"type": "foreach", "items": "[1, 2]", "body": body, "reads": []}}
    play, said = played({"nodes": nodes, "edges": []}, {})
    assert play.run().failure is None
    told = [each for each in said if each.startswith("pack")]
    assert told == [
        "pack starts",
        "pack[0]/weigh starts",
        "pack[1]/weigh starts",
        "pack[0]/weigh ends",
        "pack[1]/weigh ends",
        "pack ends",
    ]


def test_a_block_tells_that_its_finally_failed_before_it_ends() -> None:
    block = {"type": "block", "nodes": {"hotel": python()}, "finally": {"nodes": {"tell": python()}}}
    play, said = played({"nodes": {"trip": block}}, {"trip/finally/tell": failure("NO_ROUTE")})
    assert play.run().failure is None
    assert said[said.index("trip/finally/tell starts") :] == [
        "trip/finally/tell starts",
        "trip/finally/tell NO_ROUTE",
        "finally of trip NO_ROUTE",
        "node 2 by trip",
        "trip ends",
    ]


def test_a_block_that_failed_is_over_behind_its_finally() -> None:
    block = {"type": "block", "nodes": {"hotel": python()}, "finally": {"nodes": {"tell": python()}}}
    twice = {**block, "retry": {"max_attempts": 2}}
    play, said = played({"nodes": {"trip": twice}}, {f"trip{each}/hotel": failure("FULL") for each in ("", "~2")})
    assert play.run().failure is not None
    told = ["trip starts", "trip/hotel starts", "trip/hotel FULL", "trip FULL"]
    again = ["trip starts", "trip~2/hotel starts", "trip~2/hotel FULL", "trip FULL"]
    last = ["trip/finally/tell starts", "trip/finally/tell ends", "trip is over: FULL"]
    assert [each for each in said if each.startswith("trip")] == [*told, *again, *last]


def test_a_block_that_is_cancelled_is_over_behind_its_finally() -> None:
    block = {"type": "block", "nodes": {"hotel": python()}, "finally": {"nodes": {"tell": python()}}}
    play, said = played({"nodes": {"trip": block}}, {})
    play.start()
    play.take(play.machine.cancel("enough", 2_000))
    assert play.finish().failure is not None
    assert said[-3:] == ["trip/finally/tell starts", "trip/finally/tell ends", "trip is over: CANCELLED"]
