"""Nodes that have a body: `graph` (inline), `foreach` and `while`. Each turn of a body is a scope of its own.

A body starts on the context of its node. What it changed comes back as one change set of the node.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from anabranch.context.changes import ChangeSet, diff
from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json, Missing, Path
from anabranch.errors import EvaluationError
from anabranch.graph.model import ForeachNode, GraphNode, WhileNode
from anabranch.workflows.interpreter.endings import Endings
from anabranch.workflows.interpreter.merging import Merging
from anabranch.workflows.interpreter.scope import BodyRun, Scope, Started, Status
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.turn_context import entered, fresh, seen
from anabranch.workflows.interpreter.turns import Turns
from anabranch.workflows.interpreter.work import graph_input, mapped_output


class Bodies:
    """The nodes of one run that have a body."""

    def __init__(self, state: RunState, merging: Merging, endings: Endings) -> None:
        self._state = state
        self._merging = merging
        self._endings = endings
        self._turns = Turns(state, endings)

    def start(self, node: Started, definition: ForeachNode | WhileNode | GraphNode) -> None:
        """Start a node that has a body."""
        node.scope.mark(node.run, Status.RUNNING)
        node.run.asked = None
        body = BodyRun(node, node.line)
        self._state.bodies[body.address] = body
        self._state.start_deadline(node)
        match definition:
            case GraphNode():
                self._enter_graph(body, definition)
            case ForeachNode():
                body.items = self._items(body, definition)
                self._advance_foreach(body, definition)
            case WhileNode():
                self._turns.advance(body, definition)

    def turn_ended(self, body: BodyRun, scope: Scope, line: Line, given: dict[str, Json] | None) -> None:
        """A turn of a body has ended with this context. `given` is what the graph's own `result` came to."""
        self._state.leave_turn(body, scope)
        if given is not None and not isinstance(body.node.run.planned.node, GraphNode):
            line = Line.start({**scope.base.data, **given}, line.version)
        match body.node.run.planned.node:
            case GraphNode() as definition:
                self._leave_graph(body, definition, scope, line, given)
            case ForeachNode() as definition:
                self._keep_result(body, definition, scope, line)
                self._advance_foreach(body, definition)
            case WhileNode() as definition:
                self._turns.end(body, definition, scope, line)

    def ask_again(self) -> None:
        """After a snapshot: bodies have the rest of their time."""
        state = self._state
        for body in state.bodies.values():
            state.start_deadline(body.node, (state.at - body.node.at) / 1000)

    def settle(self, body: BodyRun, choices: Mapping[Path, Json | Missing]) -> None:
        """Every conflict between the items of a `foreach` is settled."""
        definition = body.node.run.planned.node
        if isinstance(definition, ForeachNode):
            self._end_foreach(body, definition, choices)

    def resume(self) -> None:
        """Enter the items that `foreach` nodes could not enter so far."""
        for address, body in list(self._state.bodies.items()):
            node, definition = body.node, body.node.run.planned.node
            if isinstance(definition, ForeachNode) and not self._state.is_aborting(address):
                self._endings.guarded(node.scope, node.run, partial(self._advance_foreach, body, definition))

    def _enter_graph(self, body: BodyRun, definition: GraphNode) -> None:
        scope, run, line = body.node.scope, body.node.run, body.node.line
        data = line.data
        if definition.input is not None:
            with self._state.budget.evaluating() as cost:
                data = graph_input(definition, run.planned, line, self._state.roots(scope, run), cost)
        plan, prefix = scope.plan.body(run.planned.id), f"{body.attempt}/"
        turn = Scope(plan, prefix, entered(plan, data, line), body=body, versions=run.versions)
        self._state.enter_turn(body, turn)

    def _leave_graph(
        self, body: BodyRun, definition: GraphNode, scope: Scope, line: Line, given: dict[str, Json] | None
    ) -> None:
        node = body.node
        if definition.output is None and given is None:
            self._endings.complete_body(body, diff(scope.base.data, line.data))
            return
        result, roots = line.data if given is None else given, self._state.roots(node.scope, node.run)
        with self._state.budget.evaluating() as cost:
            changes = mapped_output(node.run.planned, result, node.line, roots, cost)
        self._endings.complete_body(body, changes)

    def _items(self, body: BodyRun, definition: ForeachNode) -> list[Json]:
        planned = body.node.run.planned
        roots = self._state.roots(body.node.scope, body.node.run)
        with self._state.budget.evaluating() as cost:
            data = planned.seen(body.node.line.data, roots, cost)
            items = planned.expression(definition.items).evaluate(data, roots, cost)
        if not isinstance(items, list):
            raise EvaluationError(
                f"`items` gave {type(items).__name__}, not a list",
                place=f"node {body.address!r}",
                suggestion="write an expression that yields a list",
            )
        return items

    def _advance_foreach(self, body: BodyRun, definition: ForeachNode) -> None:
        """Enter as many items as may run at once; complete the node when all have ended."""
        while body.entered < len(body.items) and len(body.turns) < definition.max_concurrency:
            if self._state.is_draining or not self._state.budget.allows():
                return
            self._enter_item(body, definition)
        is_asking = body.address in self._state.open_joins
        if not body.turns and body.entered == len(body.items) and not is_asking:
            self._end_foreach(body, definition, {})

    def _enter_item(self, body: BodyRun, definition: ForeachNode) -> None:
        scope, run, line = body.node.scope, body.node.run, body.node.line
        index, body.entered = body.entered, body.entered + 1
        roots = {**scope.roots, definition.as_: body.items[index], "index": index}
        plan, prefix = scope.plan.body(run.planned.id), f"{body.attempt}[{index}]/"
        base = entered(plan, line.data, line, roots)
        turn = Scope(plan, prefix, base, body=body, versions=run.versions, roots=roots, turn=index)
        self._state.enter_turn(body, turn)

    def _keep_result(self, body: BodyRun, definition: ForeachNode, scope: Scope, line: Line) -> None:
        if definition.collect is not None:
            value = body.node.run.planned.expression(definition.collect.value, definition.as_, "index")
            with self._state.budget.evaluating() as cost:
                data = seen(self._state, body, line.data, cost)
                body.results[scope.turn] = value.evaluate(data, self._state.roots(scope), cost)
        elif changes := diff(scope.base.data, line.data, by=scope.prefix.rstrip("/"), at=self._state.at):
            body.results[scope.turn] = changes

    def _end_foreach(self, body: BodyRun, definition: ForeachNode, choices: Mapping[Path, Json | Missing]) -> None:
        """Complete the node with what its items came to, unless a person must settle a conflict between them first."""
        # In the order of the items, whichever ended first.
        results = [(index, body.results[index]) for index in range(len(body.items)) if index in body.results]
        if definition.collect is not None:
            values = [value for _, value in results if not isinstance(value, ChangeSet)]
            self._endings.complete_body(body, _changes(body, {(definition.collect.into,): values}))
            return
        base = fresh(body.node.line)
        lines = [
            base.advance(changes, writer=index, by=changes.by, at=changes.at)[0]
            for index, changes in results
            if isinstance(changes, ChangeSet)
        ]
        merged = self._merging.items(body.node, lines, choices, writer=len(body.items)) if lines else base
        if merged is not None:
            self._endings.complete_body(body, diff(base.data, merged.data))


def _changes(body: BodyRun, written: dict[Path, Json]) -> ChangeSet:
    return ChangeSet(base_version=body.node.line.version, set=written)
