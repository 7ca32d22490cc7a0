"""Nodes that hold a graph: `graph` (inline), `foreach` and `while`. Each turn of a body is a scope of its own.

A body starts on the context of its node; what it changed comes back as one change set of the node.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anabranch.context.changes import ChangeSet, diff
from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.errors import EvaluationError, NodeError
from anabranch.graph.expressions.expressions import evaluate_condition
from anabranch.graph.model import ForeachNode, GraphNode, WhileNode
from anabranch.workflows.interpreter.scope import NodeRun, Scope, Status, inside
from anabranch.workflows.interpreter.work import graph_input, mapped_output

if TYPE_CHECKING:
    from anabranch.workflows.interpreter.machine import Machine

Composite = ForeachNode | WhileNode | GraphNode


@dataclass(slots=True)
class BodyRun:
    """How far a composite node has come. `results` are the items' change sets or collected values, by index."""

    scope: Scope
    run: NodeRun
    items: list[Json] = field(default_factory=list)
    begun: int = 0
    running: int = 0
    results: dict[int, ChangeSet | Json] = field(default_factory=dict)
    line: Line | None = None
    """Of a `while`: the context after the turns so far."""


class Composites:
    """The composite nodes of a run that are under way, by address."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.under_way: dict[str, BodyRun] = {}
        self.scopes: dict[str, Scope] = {}
        """Bodies under way, by prefix."""
        self.owners: dict[str, str] = {}
        """The address of the composite node to which a scope belongs, by the scope's prefix."""

    def start(self, scope: Scope, run: NodeRun) -> None:
        """Begin a composite node on the line that it stands on."""
        scope.mark(run, Status.RUNNING)
        progress = BodyRun(scope, run, line=run.line)
        self.under_way[scope.address(run)] = progress
        node = run.planned.node
        if isinstance(node, GraphNode):
            self._enter_graph(progress, node)
        elif isinstance(node, ForeachNode):
            progress.items = self._items(progress, node)
            self._advance_foreach(progress, node)
        else:
            self._advance_while(progress)

    def scope_ended(self, scope: Scope, line: Line) -> None:
        """A turn of a body is done and left this line."""
        del self.scopes[scope.prefix]
        progress = self.under_way[self.owners.pop(scope.prefix)]
        node = progress.run.planned.node
        if isinstance(node, GraphNode):
            self._leave_graph(progress, node, scope, line)
        elif isinstance(node, ForeachNode):
            progress.results[scope.turn] = self._item_result(progress, node, scope, line)
            progress.running -= 1
            self._advance_foreach(progress, node)
        else:
            before = progress.line
            assert before is not None  # noqa: S101 - set at start
            changes = diff(before.data, line.data)
            progress.line, _ = before.advance(changes, writer=0, by=scope.prefix, at=self._machine.at)
            self._advance_while(progress)

    def go_on(self, progress: BodyRun) -> None:
        """Start the items that the run before held back."""
        if isinstance(progress.run.planned.node, ForeachNode):
            self._advance_foreach(progress, progress.run.planned.node)

    def close(self, address: str) -> None:
        """Forget a composite node and its scopes: it is done, or it failed."""
        self.under_way.pop(address, None)
        for prefix in [prefix for prefix, owner in self.owners.items() if inside(owner, address)]:
            del self.owners[prefix]
            self.scopes.pop(prefix, None)

    def cancel(self) -> None:
        """Close all of them: the run has failed, and nothing inside runs any more."""
        for address, progress in list(self.under_way.items()):
            self.close(address)
            progress.scope.close(progress.run, Status.CANCELLED)

    # graph

    def _enter_graph(self, progress: BodyRun, node: GraphNode) -> None:
        scope, run = progress.scope, progress.run
        assert run.line is not None  # noqa: S101 - set at the join
        data = (
            run.line.data
            if node.input is None
            else graph_input(node, run.planned, run.line, self._machine.roots(scope, run))
        )
        plan = scope.plan.body(run.planned.id)
        self._enter(progress, Scope(plan, f"{scope.address(run)}/", Line.start(data, run.line.version)))

    def _leave_graph(self, progress: BodyRun, node: GraphNode, scope: Scope, line: Line) -> None:
        run = progress.run
        changes = diff(scope.base.data, line.data)
        if node.output is not None:
            changes = mapped_output(run.planned, line.data, run.line, self._machine.roots(progress.scope, run))
        self._done(progress, changes)

    # foreach

    def _items(self, progress: BodyRun, node: ForeachNode) -> list[Json]:
        scope, run = progress.scope, progress.run
        assert run.line is not None  # noqa: S101 - set at the join
        items = run.planned.expression(node.items).evaluate(run.line.data, self._machine.roots(scope, run))
        if not isinstance(items, list):
            raise EvaluationError(
                f"`items` gave {type(items).__name__}, not a list",
                place=f"node {scope.address(run)!r}",
                suggestion="write an expression that yields a list",
            )
        return items

    def _advance_foreach(self, progress: BodyRun, node: ForeachNode) -> None:
        while progress.begun < len(progress.items) and progress.running < node.max_concurrency:
            if self._machine.draining:
                return
            index, progress.begun, progress.running = progress.begun, progress.begun + 1, progress.running + 1
            self._enter_item(progress, node, index)
        if len(progress.results) == len(progress.items):
            self._done(progress, self._foreach_changes(progress, node))

    def _enter_item(self, progress: BodyRun, node: ForeachNode, index: int) -> None:
        scope, run = progress.scope, progress.run
        assert run.line is not None  # noqa: S101 - set at the join
        roots = {**scope.roots, node.as_: progress.items[index], "index": index}
        base = Line.start(run.line.data, run.line.version)
        prefix = f"{scope.address(run)}[{index}]/"
        self._enter(progress, Scope(scope.plan.body(run.planned.id), prefix, base, roots=roots, turn=index))

    def _item_result(self, progress: BodyRun, node: ForeachNode, scope: Scope, line: Line) -> ChangeSet | Json:
        if node.collect is not None:
            value = progress.run.planned.expression(node.collect.value, node.as_, "index")
            return value.evaluate(line.data, self._machine.roots(scope))
        return diff(scope.base.data, line.data, by=scope.prefix.rstrip("/"), at=self._machine.at)

    def _foreach_changes(self, progress: BodyRun, node: ForeachNode) -> ChangeSet:
        scope, run = progress.scope, progress.run
        assert run.line is not None  # noqa: S101 - set at the join
        ordered = [progress.results[index] for index in range(len(progress.items))]
        if node.collect is not None:
            values = [value for value in ordered if not isinstance(value, ChangeSet)]
            return ChangeSet(base_version=run.line.version, set={(node.collect.into,): values})
        base = Line.start(run.line.data, run.line.version)
        lines = [
            base.advance(changes, writer=index, by=changes.by, at=changes.at)[0]
            for index, changes in enumerate(ordered)
            if isinstance(changes, ChangeSet) and changes
        ]
        if not lines:
            return ChangeSet(base_version=run.line.version, set={})
        address = scope.address(run)
        united, run.conflicts = self._machine.branches.settled(scope, lines, writer=len(ordered), by=address)
        return diff(base.data, united.data)

    # while

    def _advance_while(self, progress: BodyRun) -> None:
        machine, scope, run = self._machine, progress.scope, progress.run
        node, line = run.planned.node, progress.line
        assert isinstance(node, WhileNode)  # noqa: S101
        assert line is not None  # noqa: S101 - set at start
        assert run.line is not None  # noqa: S101 - set at the join
        roots = {**machine.roots(scope, run), "index": progress.begun}
        if not evaluate_condition(run.planned.expression(node.while_, "index"), line.data, roots):
            self._done(progress, diff(run.line.data, line.data))
            return
        if progress.begun == node.max_iterations:
            raise NodeError(
                f"the condition still holds after max_iterations = {node.max_iterations} turns",
                place=f"node {scope.address(run)!r}",
                suggestion="let the body make the condition false, or raise max_iterations",
            )
        index, progress.begun = progress.begun, progress.begun + 1
        base = Line.start(line.data, line.version)
        prefix = f"{scope.address(run)}[{index}]/"
        roots = {**scope.roots, "index": index}
        plan, loop = scope.plan.body(run.planned.id), scope.address(run)
        self._enter(progress, Scope(plan, prefix, base, roots=roots, turn=index, loop=loop))

    def _enter(self, progress: BodyRun, inner: Scope) -> None:
        inner.versions = progress.run.versions
        self.scopes[inner.prefix] = inner
        self.owners[inner.prefix] = progress.scope.address(progress.run)
        self._machine.enter(inner)

    def _done(self, progress: BodyRun, changes: ChangeSet) -> None:
        self.close(progress.scope.address(progress.run))
        self._machine.outcomes.complete(progress.scope, progress.run, changes)
