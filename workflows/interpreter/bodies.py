"""Nodes that have a body: `block`, `graph` (inline), `foreach`, `while`, and `ai` with tools.

Each turn of a body is a scope of its own. A body starts on the context of its node. What it changed comes back as one
change set of the node; an `ai` node writes its answer alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from anabranch.context.changes import diff
from anabranch.context.merge.lineage import Line
from anabranch.context.nested import check_ways
from anabranch.context.values import Json, Missing, Path
from anabranch.graph.model import AiNode, BlockNode, ForeachNode, GraphNode, WhileNode
from anabranch.workflows.interpreter.endings import Endings
from anabranch.workflows.interpreter.items import Items
from anabranch.workflows.interpreter.merging import Merging
from anabranch.workflows.interpreter.node_run import Status
from anabranch.workflows.interpreter.scope import BodyRun, Scope, Started
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.talks import Talks
from anabranch.workflows.interpreter.tolerance import warnings_of
from anabranch.workflows.interpreter.turn_context import entered, names_around
from anabranch.workflows.interpreter.turns import Turns
from anabranch.workflows.interpreter.work import graph_input, mapped_output

_NO_NAMES: Mapping[str, Json] = MappingProxyType({})


class Bodies:
    """The nodes of one run that have a body."""

    def __init__(self, state: RunState, merging: Merging, endings: Endings) -> None:
        self._state = state
        self._endings = endings
        self._items = Items(state, merging, endings)
        self._turns = Turns(state, endings)
        self._talks = Talks(state, endings)

    def start(self, node: Started, definition: AiNode | BlockNode | ForeachNode | WhileNode | GraphNode) -> None:
        """Start a node that has a body."""
        node.scope.mark(node.run, Status.RUNNING)
        node.run.asked = None
        body = BodyRun(node, node.line)
        self._state.bodies[body.address] = body
        self._state.start_deadline(node)
        match definition:
            case BlockNode() | GraphNode():
                self._enter_once(body, definition)
            case ForeachNode():
                self._items.begin(body, definition)
            case WhileNode():
                self._turns.advance(body, definition)
            case AiNode():
                self._talks.begin(body)

    def turn_ended(self, body: BodyRun, scope: Scope, line: Line, given: dict[str, Json] | None) -> None:
        """A turn of a body has ended with this context. `given` is what the graph's own `result` came to."""
        if body.end is not None:
            self._endings.end_last(body, line, None)
            return
        if given is not None and not isinstance(body.node.run.planned.node, GraphNode):
            line = Line.start({**scope.base.data, **given}, line.version)
        match body.node.run.planned.node:
            case BlockNode() | GraphNode() as definition:
                self._state.leave_turn(body, scope)
                self._leave_once(body, definition, scope, line, given)
            case ForeachNode() as definition:
                self._items.end(body, definition, scope, line)
            case WhileNode() as definition:
                self._state.leave_turn(body, scope)
                self._turns.end(body, definition, scope, line)
            case AiNode():
                self._talks.end(body, scope)

    def item_failed(self, item: Scope) -> None:
        """An item of a `foreach`, or a call of a model, failed, and is undone: the others go on."""
        if item.body is not None and item.body.talk is not None:
            self._talks.failed(item)
        else:
            self._items.failed(item)

    def ask_again(self) -> None:
        """After a snapshot: bodies have the rest of their time."""
        state = self._state
        for body in state.bodies.values():
            state.start_deadline(body.node, (state.at - body.node.at) / 1000)

    def settle(self, body: BodyRun, choices: Mapping[Path, Json | Missing]) -> None:
        """Every conflict between the items of a `foreach` is settled."""
        definition = body.node.run.planned.node
        if isinstance(definition, ForeachNode):
            self._items.complete(body, definition, choices)

    def resume(self) -> None:
        """Enter the items that `foreach` nodes could not enter so far."""
        for address, body in list(self._state.bodies.items()):
            node, definition = body.node, body.node.run.planned.node
            if isinstance(definition, ForeachNode) and not self._state.is_aborting(address):
                self._endings.guarded(node.scope, node.run, partial(self._items.advance, body, definition))

    def _enter_once(self, body: BodyRun, definition: BlockNode | GraphNode) -> None:
        scope, run, line = body.node.scope, body.node.run, body.node.line
        data, roots = line.data, _NO_NAMES
        if isinstance(definition, BlockNode):
            roots = names_around(self._state, body)
        elif definition.input is not None:
            with self._state.budget.evaluating() as cost:
                data = graph_input(definition, run.planned, line, self._state.roots(scope, run), cost)
        plan, prefix = scope.plan.body(run.planned.id), f"{body.attempt}/"
        turn = Scope(plan, prefix, entered(plan, data, line), body=body, versions=run.versions, roots=roots)
        self._state.enter_turn(body, turn)

    def _leave_once(
        self, body: BodyRun, definition: BlockNode | GraphNode, scope: Scope, line: Line, given: dict[str, Json] | None
    ) -> None:
        node = body.node
        if definition.output is None and given is None:
            changes = diff(scope.base.data, line.data)
        else:
            result = line.data if given is None else given
            roots, begun = (self._state.roots(node.scope, node.run, at=at) for at in (None, node.at))
            with self._state.budget.evaluating() as cost:
                changes = mapped_output(node.run.planned, result, node.line, roots, cost, begun=begun)
            if len(max(changes.set, key=len, default=())) > 1:
                check_ways(node.line.data, changes.set)
        if not isinstance(definition, BlockNode) or definition.finally_ is None:
            self._endings.complete_body(body, changes)
            return
        if body.failures or body.passed_over:
            changes = replace(changes, warnings=(*changes.warnings, *warnings_of(body)))
        self._endings.go_on_with_last(node, changes)
